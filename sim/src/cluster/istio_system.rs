//! istiod as an installation leaves it: its namespace, Deployment and Service, and the image that runs there.

use std::sync::{Arc, Mutex, PoisonError};

use hermesh_istiod::ca::{SignedTokens, StoredRoot};
use hermesh_istiod::disruption::Disruptions;
use hermesh_istiod::objects::{Object, load};
use hermesh_istiod::push::{Gate, IstiodStatus, Write};
use hermesh_istiod::watch::{KINDS, WatchEvent, watch};
use hermesh_istiod::{Config, Istiod, IstiodError};
use hermesh_runtime::latest::{Latest, Reader};

use super::store::{Change, Store};
use crate::image::{Images, Process, as_istio_exits};

/// The namespace of the control plane.
pub(crate) const NAMESPACE: &str = "istio-system";
/// The control plane's Deployment.
pub(crate) const ISTIOD: &str = "istiod";

/// What istiod has of the cluster, and the cluster of istiod; clones share it.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    store: Store,
    tokens: Arc<SignedTokens>,
    /// The Secret `istio-ca-secret`: it outlives every istiod.
    root: Latest<Option<StoredRoot>>,
    status: Arc<Mutex<Option<IstiodStatus>>>,
    /// It too outlives every istiod.
    gate: Gate,
    /// And so do these.
    disruptions: Disruptions,
}

impl ControlPlane {
    pub(crate) fn new(store: &Store, tokens: SignedTokens) -> Self {
        let root = Latest::new(None);
        let (gate, disruptions) = (Gate::new(), Disruptions::new());
        Self { store: store.clone(), tokens: Arc::new(tokens), root, status: Arc::default(), gate, disruptions }
    }

    /// The root certificate, once there is one.
    pub(crate) fn root(&self) -> Reader<Option<StoredRoot>> {
        self.root.reader()
    }

    /// What is done to the responses of every istiod.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What makes the services of every istiod late or wrong.
    pub(crate) fn disruptions(&self) -> &Disruptions {
        &self.disruptions
    }

    /// What the latest istiod is doing.
    pub(crate) fn status(&self) -> Option<IstiodStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the image `pilot`.
    pub(crate) fn add_image(&self, images: &mut Images) {
        let own = self.clone();
        images.insert("*/pilot:*", true, move |process| {
            let pilot = own.clone().pilot(process);
            async { as_istio_exits(pilot.await) }
        });
    }

    async fn pilot(self, process: Process) -> Result<(), IstiodError> {
        let rt = process.runtime();
        let (sender, source) = watch();
        let mut changes = self.store.watch(ISTIOD, &KINDS);
        rt.spawn("informer", async move {
            loop {
                let delivery = changes.next().await;
                let event = match delivery.change {
                    Change::Applied(object) => WatchEvent::Applied(object),
                    Change::Deleted(key) => WatchEvent::Deleted(key),
                    Change::Synced(kind) => WatchEvent::Synced(kind),
                };
                sender.send(event, delivery.cause);
            }
        });
        let tokens: Arc<SignedTokens> = Arc::clone(&self.tokens);
        let mut config = Config::new(tokens);
        config.stored_root = self.root.look(Option::clone);
        let root = self.root.clone();
        config.publish_root = Arc::new(move |published: &StoredRoot| {
            if root.look(|stored| stored.as_ref() != Some(published)) {
                root.replace(Some(published.clone()));
            }
        });
        config.gate = Some(self.gate.clone());
        config.disruptions = Some(self.disruptions.clone());
        let store = self.store.clone();
        config.writer = Some(Arc::new(move |write, cause| match write {
            Write::Apply(object) => drop(store.apply(object, cause)),
            Write::Delete(key) => drop(store.delete(&key, cause)),
        }));
        let istiod = Istiod::new(rt, config, source)?;
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(istiod.status());
        istiod.run().await
    }
}

/// The objects of a new cluster with an installation of this release of Istio, in the order in which they are applied.
pub(crate) fn objects(istio: &str) -> Vec<Object> {
    let loaded = load("istio-system", &OBJECTS.replace("RELEASE", istio), NAMESPACE);
    assert!(loaded.errors.is_empty(), "the installation is in order: {:?}", loaded.errors);
    loaded.objects
}

const OBJECTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: istiod, labels: {app: istiod, istio: pilot}}
---
apiVersion: v1
kind: Service
metadata: {name: istiod, labels: {app: istiod, istio: pilot}}
spec:
  selector: {app: istiod, istio: pilot}
  ports:
  - {name: grpc-xds, port: 15010, targetPort: 15010}
  - {name: https-dns, port: 15012, targetPort: 15012}
  - {name: https-webhook, port: 443, targetPort: 15017}
  - {name: http-monitoring, port: 15014, targetPort: 15014}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, labels: {app: istiod, istio: pilot}}
spec:
  selector: {matchLabels: {app: istiod, istio: pilot}}
  template:
    metadata: {labels: {app: istiod, istio: pilot}}
    spec:
      serviceAccountName: istiod
      containers:
      - name: discovery
        image: docker.io/istio/pilot:RELEASE.0
        args: [discovery]
        ports:
        - {containerPort: 8080}
        - {containerPort: 15010}
        - {containerPort: 15012}
        - {containerPort: 15017}
        readinessProbe:
          httpGet: {path: /ready, port: 8080, scheme: HTTP}
          initialDelaySeconds: 1
          periodSeconds: 3
          timeoutSeconds: 5
";
