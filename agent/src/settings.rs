//! What an agent is told: command line, environment and the files a pod mounts for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hermesh_runtime::{Runtime, go_duration};

use crate::proxy_config::{ProxyConfig, ProxyConfigError, Sources};
use crate::rotation::RotationPolicy;

/// Where the pod's labels are mounted.
const LABELS_FILE: &str = "./etc/istio/pod/labels";
/// Where the pod's annotations are mounted.
const ANNOTATIONS_FILE: &str = "./etc/istio/pod/annotations";
/// `--meshConfig`, unless given.
const MESH_FILE: &str = "./etc/istio/config/mesh";
/// `GRPC_XDS_BOOTSTRAP`, unless given; an empty value turns the bootstrap off.
const BOOTSTRAP_FILE: &str = "./etc/istio/proxy/grpc-bootstrap.json";
/// The projected service account token.
const TOKEN_FILE: &str = "./var/run/secrets/tokens/istio-token";
/// The root that istiod puts into every namespace.
const ISTIOD_ROOT_FILE: &str = "./var/run/secrets/istio/root-cert.pem";
/// A root that takes precedence over istiod's, for the xDS connection.
const MOUNTED_ROOT_FILE: &str = "./etc/certs/root-cert.pem";
/// The root among provisioned certificates.
const ROOT_FILE: &str = "root-cert.pem";
/// `PILOT_CERT_PROVIDER`, unless given.
const CERT_PROVIDER: &str = "istiod";

/// Whether the agent repeats the known defects of istio-agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// No: as many ADS streams as the applications open, a stale bootstrap removed at the start.
    #[default]
    Hermesh,
    /// Yes: one ADS stream per pod, and a new one closes its predecessor (istio#53532); a bootstrap left by an earlier
    /// run stays, so that readiness may pass before the socket listens.
    Istio,
}

/// Metadata to send along, by name. Values may be credentials: `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl std::ops::Deref for Headers {
    type Target = [(String, String)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Everything an agent is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Stands for `/` in all paths of the agent, those in the bootstrap included; `/` in a pod.
    pub root: PathBuf,
    /// Whether known defects are repeated.
    pub profile: Profile,
    /// The effective ProxyConfig.
    pub proxy: ProxyConfig,
    /// `POD_NAME`.
    pub pod_name: String,
    /// `POD_NAMESPACE`.
    pub pod_namespace: String,
    /// `SERVICE_ACCOUNT`.
    pub service_account: String,
    /// `INSTANCE_IP`, then the other addresses of the host.
    pub addresses: Vec<IpAddr>,
    /// `--domain`, or `<namespace>.svc.cluster.local`.
    pub dns_domain: String,
    /// `TRUST_DOMAIN`.
    pub trust_domain: String,
    /// `GRPC_XDS_BOOTSTRAP`.
    pub bootstrap: Option<PathBuf>,
    /// `OUTPUT_CERTS`.
    pub output_certs: Option<PathBuf>,
    /// `PROV_CERT`: the directory with a certificate for the control plane, and the root that it is trusted by.
    pub provisioned_certs: Option<PathBuf>,
    /// The service account token's file.
    pub token: PathBuf,
    /// The roots that istiod's xDS server must chain to.
    pub xds_root: PathBuf,
    /// The roots that the certificate authority's server must chain to.
    pub ca_root: PathBuf,
    /// `CA_ADDR`, or the discovery address.
    pub ca_address: String,
    /// `ISTIOD_SAN`, or the host of the discovery address.
    pub istiod_name: String,
    /// The name that the certificate authority's server must have.
    pub ca_name: String,
    /// `ISTIO_META_CLUSTER_ID`; sent as `ClusterID`.
    pub cluster_id: String,
    /// `ISTIO_META_CERT_SIGNER`.
    pub cert_signer: String,
    /// `XDS_HEADER_*`.
    pub xds_headers: Headers,
    /// `CA_HEADER_*`.
    pub ca_headers: Headers,
    /// `SECRET_TTL`.
    pub secret_ttl: Duration,
    /// `SECRET_GRACE_PERIOD_RATIO` and its jitter.
    pub rotation: RotationPolicy,
    /// Permission bits of the certificate files: 0644 under Kubernetes, else 0600.
    pub certificate_mode: u32,
    /// Node metadata as the environment gives it: `ISTIO_META_*` with the prefix taken off.
    pub metadata: BTreeMap<String, String>,
    /// Node metadata given as JSON: `ISTIO_METAJSON_*`.
    pub json_metadata: BTreeMap<String, String>,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
    /// `WORKLOAD_IDENTITY_SOCKET_FILE`.
    pub workload_socket: String,
}

/// Why an agent does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Another subcommand or node type.
    #[error("arguments `{0}`: this agent knows only `proxy sidecar`")]
    Arguments(String),
    /// A variable has a value that cannot work.
    #[error("environment variable {name}=`{value}`: {expected}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would work.
        expected: String,
    },
    /// The ProxyConfig is wrong.
    #[error(transparent)]
    ProxyConfig(#[from] ProxyConfigError),
}

impl Settings {
    /// Reads arguments, environment and mounted files. `HERMESH_ROOT` stands for `/`, and `HERMESH_PROFILE` chooses a
    /// [`Profile`]; all else is istio-agent's.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub async fn read(rt: &Runtime) -> Result<Self, SettingsError> {
        let flags = Flags::parse(&rt.args())?;
        let var = |name: &str| rt.var(name).filter(|value| !value.is_empty());
        let root = PathBuf::from(var("HERMESH_ROOT").unwrap_or_else(|| "/".to_owned()));
        let profile = match var("HERMESH_PROFILE").as_deref() {
            None | Some("hermesh") => Profile::Hermesh,
            Some("istio") => Profile::Istio,
            Some(other) => return Err(variable("HERMESH_PROFILE", other, "expected `hermesh` or `istio`")),
        };
        let text = async |path: &str| {
            let contents = rt.read(at(&root, path)).await.ok()?;
            Some(String::from_utf8_lossy(&contents).into_owned())
        };
        let labels = text(LABELS_FILE).await.map(|text| downward_api(&text)).unwrap_or_default();
        let annotations = text(ANNOTATIONS_FILE).await.map(|text| downward_api(&text)).unwrap_or_default();
        let mesh_file = text(flags.mesh_config.as_deref().unwrap_or(MESH_FILE)).await;
        let environment = var("PROXY_CONFIG");
        let proxy = ProxyConfig::effective(&Sources {
            mesh_file: mesh_file.as_deref(),
            environment: environment.as_deref(),
            annotations: Some(&annotations),
        })?;

        let pod_namespace = var("POD_NAMESPACE").unwrap_or_default();
        let istiod_name = var("ISTIOD_SAN").unwrap_or_else(|| server_name(&proxy.discovery_address));
        let ca_address = var("CA_ADDR");
        let mut xds_root = root_file(rt, "XDS_ROOT_CA")?.map(|path| at(&root, &path));
        if xds_root.is_none() && rt.exists(at(&root, MOUNTED_ROOT_FILE)).await {
            xds_root = Some(at(&root, MOUNTED_ROOT_FILE));
        }
        let provisioned = var("PROV_CERT");
        if let Some(path) = provisioned.as_ref().filter(|_| var("FILE_MOUNTED_CERTS").as_deref() == Some("true")) {
            return Err(variable("PROV_CERT", path, "excludes FILE_MOUNTED_CERTS; leave one of them out"));
        }
        let provisioned_certs = provisioned.map(|path| at(&root, &path));
        let provisioned_root = provisioned_certs.as_ref().map(|directory| directory.join(ROOT_FILE));
        xds_root = xds_root.or_else(|| provisioned_root.clone());
        let provider = var("PILOT_CERT_PROVIDER").unwrap_or_else(|| CERT_PROVIDER.to_owned());
        let istiod_root = match provider.as_str() {
            "custom" => at(&root, MOUNTED_ROOT_FILE),
            _ if provisioned_root.is_some() => provisioned_root.unwrap_or_default(),
            "none" if xds_root.is_none() && proxy.control_plane_tls => {
                return Err(variable("PILOT_CERT_PROVIDER", "none", "needs XDS_ROOT_CA, or no root is known"));
            }
            _ => at(&root, ISTIOD_ROOT_FILE),
        };
        let bootstrap = match rt.var("GRPC_XDS_BOOTSTRAP") {
            None => Some(BOOTSTRAP_FILE.to_owned()),
            Some(path) => Some(path).filter(|path| !path.is_empty()),
        };
        let workload_socket = var("WORKLOAD_IDENTITY_SOCKET_FILE").unwrap_or_else(|| "socket".to_owned());
        if workload_socket.contains('/') {
            return Err(variable("WORKLOAD_IDENTITY_SOCKET_FILE", &workload_socket, "expected a bare file name"));
        }

        let vars = rt.vars();
        let with_prefix = |prefix: &str| -> BTreeMap<String, String> {
            let stripped =
                vars.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())));
            stripped.filter(|(name, _)| !name.is_empty()).collect()
        };
        let mut metadata: BTreeMap<String, String> = proxy
            .proxy_metadata
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("ISTIO_META_")?.to_owned(), value.clone())))
            .collect();
        metadata.extend(with_prefix("ISTIO_META_"));
        let mut json_metadata = with_prefix("ISTIO_METAJSON_");
        json_metadata.retain(|_, value| !value.is_empty());

        Ok(Self {
            pod_name: var("POD_NAME").unwrap_or_else(|| rt.hostname()),
            service_account: var("SERVICE_ACCOUNT").unwrap_or_default(),
            addresses: addresses(rt)?,
            dns_domain: flags.domain.unwrap_or_else(|| format!("{pod_namespace}.svc.cluster.local")),
            trust_domain: var("TRUST_DOMAIN").unwrap_or_else(|| "cluster.local".to_owned()),
            bootstrap: bootstrap.map(|path| at(&root, &path)),
            output_certs: var("OUTPUT_CERTS").map(|path| at(&root, &path)),
            provisioned_certs,
            token: at(&root, TOKEN_FILE),
            xds_root: xds_root.unwrap_or_else(|| istiod_root.clone()),
            ca_root: root_file(rt, "CA_ROOT_CA")?.map_or(istiod_root, |path| at(&root, &path)),
            ca_name: match &ca_address {
                Some(address) => server_name(address),
                None => istiod_name.clone(),
            },
            ca_address: ca_address.unwrap_or_else(|| proxy.discovery_address.clone()),
            istiod_name,
            cluster_id: metadata.get("CLUSTER_ID").cloned().unwrap_or_default(),
            cert_signer: metadata.get("CERT_SIGNER").cloned().unwrap_or_default(),
            xds_headers: Headers(with_prefix("XDS_HEADER_").into_iter().collect()),
            ca_headers: Headers(with_prefix("CA_HEADER_").into_iter().collect()),
            secret_ttl: duration(rt, "SECRET_TTL", Duration::from_secs(24 * 3600))?,
            rotation: RotationPolicy {
                grace_ratio: ratio(rt, "SECRET_GRACE_PERIOD_RATIO", 0.5)?,
                jitter: ratio(rt, "SECRET_GRACE_PERIOD_RATIO_JITTER", 0.01)?,
            },
            certificate_mode: if var("KUBERNETES_SERVICE_HOST").is_some() { 0o644 } else { 0o600 },
            pod_namespace,
            metadata,
            json_metadata,
            labels,
            annotations,
            workload_socket,
            root,
            profile,
            proxy,
        })
    }

    /// Where the applications reach the agent's xDS proxy.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        at(&self.root, &self.proxy.config_path).join("XDS")
    }

    /// The socket's path as the bootstrap gives it: relative if `configPath` is, which makes `unix:///` and it together
    /// an absolute URI.
    #[must_use]
    pub fn socket_path_in_bootstrap(&self) -> String {
        let relative = self.proxy.config_path.trim_start_matches("./");
        if self.root == Path::new("/") && !relative.starts_with('/') {
            format!("{}/XDS", relative.trim_end_matches('/'))
        } else {
            self.socket().display().to_string()
        }
    }
}

/// `path` as seen from `/`, when `/` is `root`.
pub(crate) fn at(root: &Path, path: &str) -> PathBuf {
    let mut full = root.to_owned();
    full.extend(Path::new(path).components().filter(|part| matches!(part, std::path::Component::Normal(_))));
    full
}

/// The name that the server at `address` must show; `localhost` stands for a forwarded istiod.
fn server_name(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    match host {
        host if host.contains("localhost") => "istiod.istio-system.svc".to_owned(),
        host => host.trim_start_matches('[').trim_end_matches(']').to_owned(),
    }
}

/// What counts on the command line; unknown flags are tolerated, as by pilot-agent.
#[derive(Default)]
struct Flags {
    domain: Option<String>,
    mesh_config: Option<String>,
}

impl Flags {
    fn parse(args: &[String]) -> Result<Self, SettingsError> {
        let mut flags = Self::default();
        let mut positional = Vec::new();
        let mut args_left = args.iter();
        while let Some(arg) = args_left.next() {
            let Some(flag) = arg.strip_prefix("--") else {
                positional.push(arg.as_str());
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "domain" => flags.domain = value.or_else(|| args_left.next().cloned()),
                "meshConfig" => flags.mesh_config = value.or_else(|| args_left.next().cloned()),
                _ => {}
            }
        }
        flags.domain = flags.domain.filter(|domain| !domain.is_empty());
        // Values of unknown flags that stand apart look like positional arguments; they come last.
        match positional.as_slice() {
            [] | ["proxy"] | ["proxy", "sidecar", ..] => Ok(flags),
            _ => Err(SettingsError::Arguments(args.join(" "))),
        }
    }
}

fn addresses(rt: &Runtime) -> Result<Vec<IpAddr>, SettingsError> {
    let mut addresses = Vec::new();
    if let Some(value) = rt.var("INSTANCE_IP").filter(|value| !value.is_empty()) {
        addresses.push(value.parse().map_err(|_| variable("INSTANCE_IP", &value, "expected an IP address"))?);
    }
    for address in rt.local_addresses() {
        let usable = match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        };
        if usable && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        addresses.push(IpAddr::from([127, 0, 0, 1]));
    }
    Ok(addresses)
}

/// The lines `key="quoted value"` of the downward API.
fn downward_api(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (key, value) = line.split_once('=')?;
        // Go's %q is JSON's quoting for all that a label or an annotation holds in practice.
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.trim_matches('"').to_owned());
        Some((key.to_owned(), value))
    };
    text.lines().filter_map(line).collect()
}

fn duration(rt: &Runtime, name: &'static str, default: Duration) -> Result<Duration, SettingsError> {
    let Some(value) = rt.var(name).filter(|value| !value.is_empty()) else { return Ok(default) };
    go_duration::parse(&value).map_err(|error| variable(name, &value, error.to_string()))
}

/// A file with roots. istio-agent also knows `SYSTEM`, for those of the operating system.
fn root_file(rt: &Runtime, name: &'static str) -> Result<Option<String>, SettingsError> {
    match rt.var(name).filter(|value| !value.is_empty()) {
        Some(value) if value == "SYSTEM" => Err(variable(
            name,
            &value,
            "the operating system's roots are not supported here; expected the path of a PEM file",
        )),
        path => Ok(path),
    }
}

fn ratio(rt: &Runtime, name: &'static str, default: f64) -> Result<f64, SettingsError> {
    let Some(value) = rt.var(name).filter(|value| !value.is_empty()) else { return Ok(default) };
    match value.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(variable(name, &value, "expected a number from 0 to 1")),
    }
}

fn variable(name: &'static str, value: &str, expected: impl Into<String>) -> SettingsError {
    SettingsError::Variable { name, value: value.to_owned(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_show_no_values_for_they_may_be_credentials() {
        let headers = Headers(vec![("x-token".to_owned(), "hidden".to_owned())]);
        assert_eq!(format!("{headers:?}"), r#"["x-token"]"#);
    }

    #[test]
    fn downward_api_files_are_read() {
        let read = downward_api("app=\"echo\"\nnote=\"a=b \\\"c\\\"\\nd\"\nbad\n");
        assert_eq!(read["app"], "echo");
        assert_eq!(read["note"], "a=b \"c\"\nd");
        assert_eq!(read.len(), 2);
        assert!(downward_api("").is_empty());
    }

    #[test]
    fn the_injected_command_line_is_understood_and_others_are_not() {
        let args = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let flags = Flags::parse(&args("proxy sidecar --domain ns.svc.x --proxyLogLevel=warning --stsPort 5")).ok();
        assert_eq!(flags.and_then(|flags| flags.domain).as_deref(), Some("ns.svc.x"));
        for line in ["proxy router", "request GET /x"] {
            assert!(Flags::parse(&args(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn paths_start_at_the_root_that_is_set() {
        assert_eq!(at(Path::new("/"), "./etc/x"), Path::new("/etc/x"));
        assert_eq!(at(Path::new("/tmp/pod"), "/etc/x"), Path::new("/tmp/pod/etc/x"));
        assert_eq!(server_name("localhost:15012"), "istiod.istio-system.svc");
        assert_eq!(server_name("[::1]:15012"), "::1");
    }
}
