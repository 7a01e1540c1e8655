//! How controllers make pods of templates, and end them.

use std::sync::Arc;

use hermesh_istiod::objects::{Kind, Labels, Metadata, Object, ObjectKey, OwnerReference, Pod, PodTemplate};
use hermesh_runtime::EventId;

use super::events::InjectionNoted;
use super::injection::{self, Injected, InjectionError};
use super::service_accounts::ServiceAccounts;
use super::store::Store;
use crate::engine::World;

/// Makes and ends pods; clones share the store.
#[derive(Clone)]
pub(crate) struct Pods {
    pub(super) world: World,
    pub(super) store: Store,
    values: Arc<injection::Values>,
    accounts: ServiceAccounts,
}

impl Pods {
    pub(crate) fn new(world: &World, store: &Store, values: injection::Values, accounts: &ServiceAccounts) -> Self {
        Self { world: world.clone(), store: store.clone(), values: Arc::new(values), accounts: accounts.clone() }
    }

    /// What injection would make of the pods of a workload, or of a pod of its own. The namespace's labels are those in
    /// the store unless others are about to be applied.
    pub(crate) fn inject(
        &self,
        pod: Pod,
        workload: Option<&ObjectKey>,
        namespace_labels: Option<&Labels>,
    ) -> Result<Injected, InjectionError> {
        let namespace = pod.metadata.namespace.clone();
        let stored = || self.store.get(&ObjectKey::new(Kind::Namespace, "", &namespace));
        let labels = match namespace_labels {
            Some(labels) => labels.clone(),
            None => stored().map(|object| object.metadata().labels.clone()).unwrap_or_default(),
        };
        let values = &self.values;
        let proxy_configs = &self.proxy_configs();
        let namespace_labels = &labels;
        let request = injection::Request { namespace: &namespace, namespace_labels, workload, values, proxy_configs };
        injection::inject(pod, &request)
    }

    /// What there is of settings for agents besides annotations.
    fn proxy_configs(&self) -> injection::Sources {
        let (name, key) = injection::MESH_CONFIG;
        let mesh = self.store.get(&ObjectKey::new(Kind::ConfigMap, &self.values.istio_namespace, name));
        let mesh = mesh.and_then(|object| match object {
            Object::ConfigMap(map) => map.data.get(key).cloned(),
            _ => None,
        });
        let objects = self.store.list(Kind::ProxyConfig).into_iter().filter_map(|object| match object {
            Object::ProxyConfig(config) => Some(config),
            _ => None,
        });
        injection::Sources { mesh, objects: objects.collect() }
    }

    /// Makes a pod of the workload `owner`, whose UID is `uid`; `None` if the API server refuses it.
    pub(crate) fn create(
        &self,
        mut pod: Pod,
        owner: &ObjectKey,
        uid: &str,
        cause: Option<EventId>,
    ) -> Option<ObjectKey> {
        pod.metadata.owner = Some(OwnerReference { kind: owner.kind, name: owner.name.clone(), uid: uid.to_owned() });
        if !self.accounts.admit(&pod, owner, uid, cause) {
            return None;
        }
        let name = format!("{}/{}", owner.namespace, pod.metadata.name);
        let injected = match self.inject(pod, Some(owner), None) {
            Ok(injected) => injected,
            Err(error) => {
                // The API server refuses the pod; a changed template is the next chance.
                self.world.emit("cluster", cause, InjectionNoted { pod: name, note: error.to_string() });
                return None;
            }
        };
        for note in injected.notes {
            self.world.emit("cluster", cause, InjectionNoted { pod: name.clone(), note });
        }
        let key = injected.pod.key();
        self.store.apply(injected.pod.into(), cause);
        Some(key)
    }

    /// Why the API server lets nobody make pods of a workload, in a list of what is wrong with it.
    pub(super) fn refusal(&self, workload: &ObjectKey) -> String {
        self.accounts.refusal(workload).map(|why| format!(", none can be made: {why}")).unwrap_or_default()
    }

    /// All the pods of a workload that its controller wants are made.
    pub(super) fn settled(&self, workload: &ObjectKey) {
        self.accounts.settled(workload);
    }

    /// Asks the kubelet to end a pod.
    pub(crate) fn delete(&self, pod: &ObjectKey, cause: Option<EventId>) {
        let now = self.world.wall().as_secs();
        self.store.modify(pod, cause, |object| {
            object.metadata_mut().deletion_timestamp.get_or_insert(now);
        });
    }

    /// The pods that this very workload has made: those of one that had its name before belong to nobody any more.
    pub(crate) fn of(&self, owner: &ObjectKey, uid: &str) -> Vec<Arc<Pod>> {
        let own = |reference: &OwnerReference| reference.kind == owner.kind && reference.uid == uid;
        let pods = self.store.list(Kind::Pod).into_iter().filter_map(|object| match object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        });
        pods.filter(|pod| pod.metadata.owner.as_ref().is_some_and(own)).collect()
    }
}

/// The pod that a template describes, without a name.
pub(crate) fn of_template(namespace: &str, template: &PodTemplate) -> Pod {
    let metadata = Metadata {
        namespace: namespace.to_owned(),
        labels: template.metadata.labels.clone(),
        annotations: template.metadata.annotations.clone(),
        ..Metadata::default()
    };
    Pod { metadata, spec: template.spec.clone(), ..Pod::default() }
}

/// The hash of a template. Where it stands in its file is no part of it.
pub(crate) fn template_hash(template: &PodTemplate) -> String {
    let text = format!("{:?} {:?} {:?}", template.metadata.labels, template.metadata.annotations, template.spec);
    super::names::template_hash(text.as_bytes())
}

/// The pod `name` beside its workload.
pub(crate) fn key(workload: &ObjectKey, name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Pod, &workload.namespace, name)
}
