//! What is on a machine before it boots: the files and variables that `istioctl x workload entry configure` makes of
//! its WorkloadGroup.

use std::collections::BTreeMap;

use hermesh_istiod::objects::{Labels, WorkloadGroup};
use serde_json::json;

use crate::cluster::{ISTIO_NAMESPACE, TRUST_DOMAIN};
use crate::engine::Volume;

/// Where the machine keeps them.
const ROOT_FILE: &str = "/etc/certs/root-cert.pem";
const TOKEN_FILE: &str = "/var/run/secrets/tokens/istio-token";
const MESH_FILE: &str = "/etc/istio/config/mesh";
const DATA: &str = "/var/lib/istio/data";
const BOOTSTRAP_FILE: &str = "/etc/istio/proxy/grpc-bootstrap.json";

/// The disk of a machine.
pub(super) fn disk(root_certificate: String, token: String, group: &WorkloadGroup) -> Volume {
    let root = Volume::new();
    // Made by the agent's package.
    root.create_dir_all(DATA, 0o755).expect("a new volume has room for a folder");
    // The agent's settings; what the variables do not say.
    let mut settings = json!({"defaultConfig": {}});
    if let Some(probe) = &group.spec.probe {
        settings["defaultConfig"]["readinessProbe"] = json!(probe);
    }
    for (path, contents) in [(ROOT_FILE, root_certificate), (TOKEN_FILE, token), (MESH_FILE, settings.to_string())] {
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let written = root.create_dir_all(folder, 0o755).and_then(|()| root.write(path, contents, 0o644));
        written.expect("a new volume has room for three files");
    }
    root
}

/// What `cluster.env` of `istioctl x workload entry configure --autoregister` says, and what a proxyless agent needs.
pub(super) fn environment(
    namespace: &str,
    group_name: &str,
    account: &str,
    group: &WorkloadGroup,
) -> BTreeMap<String, String> {
    let labels = serde_json::to_string(&labels(group_name, group)).expect("labels are text");
    let network = group.spec.template.as_ref().map(|template| template.network.clone()).unwrap_or_default();
    let mut env: BTreeMap<String, String> = [
        ("CA_ADDR", format!("istiod.{ISTIO_NAMESPACE}.svc:15012")),
        ("CA_ROOT_CA", ROOT_FILE.to_owned()),
        ("DISABLE_ENVOY", "true".to_owned()),
        ("GRPC_XDS_BOOTSTRAP", BOOTSTRAP_FILE.to_owned()),
        ("GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "true".to_owned()),
        ("ISTIO_METAJSON_LABELS", labels),
        ("ISTIO_META_AUTO_REGISTER_GROUP", group_name.to_owned()),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes".to_owned()),
        ("ISTIO_META_GENERATOR", "grpc".to_owned()),
        ("ISTIO_META_MESH_ID", TRUST_DOMAIN.to_owned()),
        ("ISTIO_META_WORKLOAD_NAME", group_name.to_owned()),
        ("OUTPUT_CERTS", DATA.to_owned()),
        // What it got by its token it goes on with: the token lives an hour.
        ("PROV_CERT", DATA.to_owned()),
        ("POD_NAMESPACE", namespace.to_owned()),
        ("SERVICE_ACCOUNT", account.to_owned()),
        ("TRUST_DOMAIN", TRUST_DOMAIN.to_owned()),
        ("XDS_ROOT_CA", ROOT_FILE.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if !network.is_empty() {
        env.insert("ISTIO_META_NETWORK".to_owned(), network);
    }
    env
}

/// The labels that `istioctl` writes into a machine's metadata: those of its group, and whose version of what it is.
pub(super) fn labels(group_name: &str, group: &WorkloadGroup) -> Labels {
    let mut labels = group.spec.metadata.labels.clone();
    labels.extend(group.spec.template.iter().flat_map(|template| template.labels.clone()));
    let first = |names: &[&str], default: &str| {
        names.iter().find_map(|name| labels.get(*name)).map_or(default, String::as_str).to_owned()
    };
    let service = "service.istio.io/canonical-name";
    let revision = "service.istio.io/canonical-revision";
    let canonical = [
        (service, first(&[service, "app.kubernetes.io/name", "app"], group_name)),
        (revision, first(&[revision, "app.kubernetes.io/version", "version"], "latest")),
    ];
    labels.extend(canonical.map(|(name, value)| (name.to_owned(), value)));
    labels
}
