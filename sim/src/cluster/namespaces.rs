//! What every namespace has: the ServiceAccount `default`, and the ConfigMap with istiod's root certificate.

use hermesh_istiod::ca::StoredRoot;
use hermesh_istiod::objects::{ConfigMap, Kind, Metadata, Object, ObjectKey, ServiceAccount};
use hermesh_runtime::EventId;
use hermesh_runtime::latest::Reader;

use super::store::{Change, Store, Watch};

/// The account of pods that name none.
pub(super) const DEFAULT_ACCOUNT: &str = "default";
/// `PILOT_CA_CERT_CONFIGMAP`.
const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";
const ROOT_FILE: &str = "root-cert.pem";
/// Where istiod does not write it.
const WITHOUT_ROOT: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];

/// The controllers of Kubernetes and of istiod that fill namespaces.
pub(crate) struct Namespaces {
    store: Store,
    root: Reader<Option<StoredRoot>>,
}

impl Namespaces {
    pub(crate) const WATCHED: [Kind; 1] = [Kind::Namespace];

    pub(crate) fn new(store: &Store, root: Reader<Option<StoredRoot>>) -> Self {
        Self { store: store.clone(), root }
    }

    /// Follows the store for good.
    pub(crate) async fn run(mut self, mut watch: Watch) {
        loop {
            tokio::select! {
                biased;
                () = self.root.changed() => {
                    for key in self.store.keys(Kind::Namespace) {
                        self.publish_root(&key.name, None);
                    }
                }
                delivery = watch.next() => {
                    if let Change::Applied(Object::Namespace(namespace)) = delivery.change {
                        self.fill(&namespace.metadata.name, delivery.cause);
                    }
                }
            }
        }
    }

    fn fill(&self, namespace: &str, cause: Option<EventId>) {
        // Deleted meanwhile: nothing is to be left behind.
        if !self.store.contains(&ObjectKey::new(Kind::Namespace, "", namespace)) {
            return;
        }
        let account = ObjectKey::new(Kind::ServiceAccount, namespace, DEFAULT_ACCOUNT);
        if !self.store.contains(&account) {
            let metadata = Metadata::named(namespace, DEFAULT_ACCOUNT);
            self.store.apply(ServiceAccount { metadata }.into(), cause);
        }
        self.publish_root(namespace, cause);
    }

    fn publish_root(&self, namespace: &str, cause: Option<EventId>) {
        let Some(root) = self.root.peek(Option::clone) else { return };
        if WITHOUT_ROOT.contains(&namespace) {
            return;
        }
        let mut metadata = Metadata::named(namespace, ROOT_CONFIG_MAP);
        metadata.labels.insert("istio.io/config".to_owned(), "true".to_owned());
        let data = [(ROOT_FILE.to_owned(), root.cert_pem)].into();
        self.store.apply(ConfigMap { metadata, data, immutable: false }.into(), cause);
    }
}
