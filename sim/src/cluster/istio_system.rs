//! istiod as an installation leaves it: its namespace, Deployment and Service, and the image that runs there.

use std::sync::{Arc, Mutex, PoisonError};

use hermesh_istiod::ca::{SignedTokens, StoredRoot};
use hermesh_istiod::objects::{
    Container, ContainerPort, Deployment, HttpGetAction, HttpScheme, IntOrString, Metadata, Namespace, Object, Probe,
    ProbeHandler, Service, ServiceAccount, ServicePort,
};
use hermesh_istiod::push::{Gate, IstiodStatus};
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
}

impl ControlPlane {
    pub(crate) fn new(store: &Store, tokens: SignedTokens) -> Self {
        let root = Latest::new(None);
        Self { store: store.clone(), tokens: Arc::new(tokens), root, status: Arc::default(), gate: Gate::new() }
    }

    /// The root certificate, once there is one.
    pub(crate) fn root(&self) -> Reader<Option<StoredRoot>> {
        self.root.reader()
    }

    /// What is done to the responses of every istiod.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
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
        let istiod = Istiod::new(rt, config, source)?;
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(istiod.status());
        istiod.run().await
    }
}

/// The objects of the installation, in the order in which they are applied.
pub(crate) fn objects(image: &str) -> Vec<Object> {
    let labels = || [("app", "istiod"), ("istio", "pilot")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let metadata = |name: &str| Metadata { labels: labels(), ..Metadata::named(NAMESPACE, name) };
    let service_port = |name: &str, port: u16, target: u16| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(target.into()),
        ..ServicePort::default()
    };
    let mut service = Service { metadata: metadata(ISTIOD), ..Service::default() };
    service.spec.selector = labels();
    service.spec.ports = vec![
        service_port("grpc-xds", 15010, 15010),
        service_port("https-dns", 15012, 15012),
        service_port("https-webhook", 443, 15017),
        service_port("http-monitoring", 15014, 15014),
    ];

    let mut deployment = Deployment { metadata: metadata(ISTIOD), ..Deployment::default() };
    deployment.spec.selector.match_labels = labels();
    deployment.spec.template.metadata.labels = labels();
    deployment.spec.template.spec.service_account_name = ISTIOD.to_owned();
    deployment.spec.template.spec.containers = vec![discovery(image)];

    vec![
        Namespace { metadata: Metadata::named("", NAMESPACE) }.into(),
        ServiceAccount { metadata: metadata(ISTIOD) }.into(),
        service.into(),
        deployment.into(),
    ]
}

fn discovery(image: &str) -> Container {
    let port = |number| ContainerPort { container_port: number, ..ContainerPort::default() };
    let ready = HttpGetAction {
        path: "/ready".to_owned(),
        port: IntOrString::from(8080),
        host: None,
        scheme: HttpScheme::HTTP,
        http_headers: Vec::new(),
    };
    Container {
        name: "discovery".to_owned(),
        image: image.to_owned(),
        args: vec!["discovery".to_owned()],
        ports: vec![port(8080), port(15010), port(15012), port(15017)],
        readiness_probe: Some(Probe {
            initial_delay_seconds: 1,
            period_seconds: 3,
            timeout_seconds: 5,
            ..Probe::new(ProbeHandler::HttpGet(ready))
        }),
        ..Container::default()
    }
}
