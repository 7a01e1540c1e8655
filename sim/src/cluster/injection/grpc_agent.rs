//! The template `grpc-agent`: a container `istio-proxy` that runs the agent, and what the application needs to find it.

use hermesh_istiod::objects::{
    ConfigMapVolume, Container, ContainerPort, DownwardApiItem, DownwardApiVolume, EmptyDirVolume, EnvVar, ExecAction,
    FieldReference, HttpGetAction, HttpScheme, IntOrString, Labels, Lifecycle, LifecycleHandler, Pod, Probe,
    ProbeHandler, ProjectedSource, ProjectedVolume, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeSource,
};
use serde_json::{Value, json};

use super::annotations::{self, STATUS_PORT_ANNOTATION};
use super::metrics;
use super::overlay::Overlay;
use super::proxy_config::Effective;
use super::{InjectionError, Request};

/// The agent's container.
pub(crate) const AGENT: &str = "istio-proxy";

/// `meshConfig.defaultConfig.statusPort`: where the template's probes look, whatever the agent was told.
pub(super) const STATUS_PORT: u16 = 15020;
/// The directories that agent and application share.
const DATA: &str = "/var/lib/istio/data";
const PROXY: &str = "/etc/istio/proxy";
const CREDENTIALS: &str = "/var/run/secrets/workload-spiffe-credentials";
/// Whether probes of the application are sent through the agent.
pub(super) const PROBERS: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
/// What the kubelet makes a token for, and for how long.
const TOKEN_AUDIENCE: &str = "istio-ca";
const TOKEN_SECONDS: u64 = 43_200;

pub(super) fn render(pod: &Pod, effective: &Effective, request: &Request<'_>) -> Result<Overlay, InjectionError> {
    Ok(Overlay {
        containers: vec![agent(pod, effective, request)?],
        application: Container {
            env: vec![
                EnvVar::new("GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "true"),
                EnvVar::new("GRPC_XDS_BOOTSTRAP", format!("{PROXY}/grpc-bootstrap.json")),
            ],
            volume_mounts: vec![
                mount("istio-data", DATA),
                mount("istio-xds", PROXY),
                mount("workload-certs", CREDENTIALS),
            ],
            ..Container::default()
        },
        volumes: volumes(&pod.metadata.annotations)?,
        labels: labels(pod, request),
        annotations: annotations(pod),
        mounts_volumes: has_status_port(&pod.metadata.annotations),
        first: effective.hold,
        ..Overlay::default()
    })
}

fn agent(pod: &Pod, effective: &Effective, request: &Request<'_>) -> Result<Container, InjectionError> {
    let annotations = &pod.metadata.annotations;
    let config = &effective.config;
    let text = |name: &str, default: &str| annotations.get(name).map_or(default, String::as_str).to_owned();
    let of_config = config.get("image").and_then(|image| image.get("imageType")?.as_str());
    let mut container = Container {
        name: AGENT.to_owned(),
        image: image(annotations, of_config, &request.values.image),
        ports: vec![ContainerPort {
            name: Some("mesh-metrics".to_owned()),
            container_port: STATUS_PORT,
            ..ContainerPort::default()
        }],
        args: vec![
            "proxy".to_owned(),
            "sidecar".to_owned(),
            "--domain".to_owned(),
            "$(POD_NAMESPACE).svc.cluster.local".to_owned(),
            format!("--proxyLogLevel={}", text("sidecar.istio.io/logLevel", "warning")),
            format!("--proxyComponentLogLevel={}", text("sidecar.istio.io/componentLogLevel", "misc:error")),
            format!("--log_output_level={}", text("sidecar.istio.io/agentLogLevel", "default:info")),
        ],
        lifecycle: Lifecycle {
            post_start: Some(LifecycleHandler::Exec(ExecAction {
                command: vec![
                    "pilot-agent".to_owned(),
                    "wait".to_owned(),
                    format!("--url=http://localhost:{STATUS_PORT}/healthz/ready"),
                ],
            })),
            pre_stop: None,
        },
        env: environment(pod, effective, request),
        ..Container::default()
    };
    // Istio's template closes this condition too late: without a status port resources and mounts are gone as well.
    if has_status_port(annotations) {
        container.readiness_probe = Some(readiness(pod)?);
        container.resources = annotations::resources(annotations)?;
        container.volume_mounts = vec![
            mount("workload-socket", "/var/run/secrets/workload-spiffe-uds"),
            mount("workload-certs", CREDENTIALS),
            mount("istiod-ca-cert", "/var/run/secrets/istio"),
            mount("istio-data", DATA),
            mount("istio-xds", PROXY),
            mount("istio-token", "/var/run/secrets/tokens"),
            mount("istio-podinfo", "/etc/istio/pod"),
        ];
        let own = annotations::user_mounts(annotations, &container.volume_mounts)?;
        container.volume_mounts.extend(own);
    }
    Ok(container)
}

fn has_status_port(annotations: &Labels) -> bool {
    annotations.get(STATUS_PORT_ANNOTATION).is_none_or(|port| port != "0")
}

/// The image that an annotation names, or the release's, of the variant that an annotation or the ProxyConfig ask for.
pub(super) fn image(annotations: &Labels, of_config: Option<&str>, release: &str) -> String {
    if let Some(image) = annotations.get("sidecar.istio.io/proxyImage").filter(|image| image.contains('/')) {
        return image.clone();
    }
    let annotation = annotations.get("sidecar.istio.io/proxyImageType").map(String::as_str);
    match annotation.or(of_config) {
        None | Some("" | "default") => release.to_owned(),
        Some(variant) => format!("{release}-{variant}"),
    }
}

fn readiness(pod: &Pod) -> Result<Probe, InjectionError> {
    let number = |name: &str| {
        let name = format!("readiness.status.sidecar.istio.io/{name}");
        annotations::parsed(&pod.metadata.annotations, &name, "a number from 0 to 4294967295")
    };
    // As in any probe, zero stands for the default of Kubernetes.
    let at_least_one = |number: Option<u32>, of_template, of_kubernetes| match number {
        None => of_template,
        Some(0) => of_kubernetes,
        Some(number) => number,
    };
    let handler = ProbeHandler::HttpGet(HttpGetAction {
        path: "/healthz/ready".to_owned(),
        port: IntOrString::from(STATUS_PORT),
        host: None,
        scheme: HttpScheme::HTTP,
        http_headers: Vec::new(),
    });
    let of_kubernetes = Probe::new(handler);
    Ok(Probe {
        initial_delay_seconds: number("initialDelaySeconds")?.unwrap_or(0),
        period_seconds: at_least_one(number("periodSeconds")?, 15, of_kubernetes.period_seconds),
        timeout_seconds: 3,
        failure_threshold: at_least_one(number("failureThreshold")?, 4, of_kubernetes.failure_threshold),
        ..of_kubernetes
    })
}

fn environment(pod: &Pod, effective: &Effective, request: &Request<'_>) -> Vec<EnvVar> {
    let (values, config) = (request.values, &effective.config);
    let apps = || pod.spec.containers.iter().filter(|container| container.name != AGENT);
    let names: Vec<&str> = apps().map(|app| app.name.as_str()).collect();
    let mut env = vec![EnvVar::new("ISTIO_META_GENERATOR", "grpc"), EnvVar::new("OUTPUT_CERTS", DATA)];
    if effective.inbound_to_localhost {
        env.push(EnvVar::new("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", "true"));
    }
    env.extend([
        EnvVar::new("PILOT_CERT_PROVIDER", "istiod"),
        EnvVar::new("CA_ADDR", format!("istiod.{}.svc:15012", values.istio_namespace)),
        EnvVar::from_field("POD_NAME", "metadata.name"),
        EnvVar::from_field("POD_NAMESPACE", "metadata.namespace"),
        EnvVar::from_field("INSTANCE_IP", "status.podIP"),
        EnvVar::from_field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        EnvVar::from_field("HOST_IP", "status.hostIP"),
        EnvVar::new("PROXY_CONFIG", Value::Object(config.clone()).to_string()),
        EnvVar::new("ISTIO_META_POD_PORTS", pod_ports(apps().flat_map(|app| &app.ports))),
        EnvVar::new("ISTIO_META_APP_CONTAINERS", names.join(",")),
        EnvVar::new("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        EnvVar::from_field("ISTIO_META_NODE_NAME", "spec.nodeName"),
    ]);
    if let Some(workload) = request.workload {
        let (namespace, name, version) = (request.namespace, &workload.name, workload.kind.api_versions()[0]);
        let plural = format!("{}s", workload.kind.name().to_lowercase());
        let owner = format!("kubernetes://apis/{version}/namespaces/{namespace}/{plural}/{name}");
        env.push(EnvVar::new("ISTIO_META_WORKLOAD_NAME", name));
        env.push(EnvVar::new("ISTIO_META_OWNER", owner));
    }
    env.push(EnvVar::new("ISTIO_META_MESH_ID", &values.trust_domain));
    env.push(EnvVar::new("TRUST_DOMAIN", &values.trust_domain));
    let metadata = config.get("proxyMetadata").and_then(Value::as_object).into_iter().flatten();
    env.extend(metadata.filter_map(|(name, value)| Some(EnvVar::new(name, value.as_str()?))));
    // After the user's metadata, so that these win.
    env.push(EnvVar::new("ISTIO_META_DNS_CAPTURE", "false"));
    env.push(EnvVar::new("DISABLE_ENVOY", "true"));
    env.extend(metrics::of_user(pod, effective));
    env
}

/// The template's own spelling of an empty list is kept: it ends up in the bootstrap.
fn pod_ports<'a>(ports: impl Iterator<Item = &'a ContainerPort>) -> String {
    let ports: Vec<Value> = ports
        .map(|port| {
            let mut json = json!({ "containerPort": port.container_port, "protocol": format!("{:?}", port.protocol) });
            if let Some(name) = &port.name {
                json["name"] = json!(name);
            }
            json
        })
        .collect();
    if ports.is_empty() { "[ ]".to_owned() } else { Value::Array(ports).to_string() }
}

/// The template's volumes, and those that a pod's annotations add.
pub(super) fn volumes(annotations: &Labels) -> Result<Vec<Volume>, InjectionError> {
    let volume = |name: &str, source| Volume { name: name.to_owned(), source };
    let empty = |medium: &str| VolumeSource::EmptyDir(EmptyDirVolume { medium: medium.to_owned() });
    let field = |path: &str| DownwardApiItem {
        path: path.to_owned(),
        field_ref: FieldReference { field_path: format!("metadata.{path}") },
    };
    let token = ServiceAccountTokenProjection {
        audience: TOKEN_AUDIENCE.to_owned(),
        expiration_seconds: TOKEN_SECONDS,
        path: "istio-token".to_owned(),
    };
    let token = ProjectedSource { service_account_token: Some(token), ..ProjectedSource::default() };
    let root = ConfigMapVolume { name: "istio-ca-root-cert".to_owned(), ..ConfigMapVolume::default() };
    let mut volumes = vec![volume("workload-socket", empty("")), volume("workload-certs", empty(""))];
    // Envoy's, which nothing here mounts; the pod waits for the ConfigMap all the same.
    if let Some(name) = annotations.get("sidecar.istio.io/bootstrapOverride") {
        let map = ConfigMapVolume { name: name.clone(), ..ConfigMapVolume::default() };
        volumes.push(volume("custom-bootstrap-volume", VolumeSource::ConfigMap(map)));
    }
    volumes.extend([
        volume("istio-xds", empty("Memory")),
        volume("istio-data", empty("")),
        volume(
            "istio-podinfo",
            VolumeSource::DownwardApi(DownwardApiVolume { items: vec![field("labels"), field("annotations")] }),
        ),
        volume("istio-token", VolumeSource::Projected(ProjectedVolume { sources: vec![token] })),
        volume("istiod-ca-cert", VolumeSource::ConfigMap(root)),
    ]);
    let own = annotations::user_volumes(annotations, &volumes)?;
    volumes.extend(own);
    Ok(volumes)
}

/// `security.istio.io/tlsMode` is left out on purpose: only the application knows whether it takes xDS credentials.
fn labels(pod: &Pod, request: &Request<'_>) -> Vec<(String, String)> {
    const NAME: &str = "service.istio.io/canonical-name";
    const REVISION: &str = "service.istio.io/canonical-revision";
    let first = |names: &[&str]| names.iter().find_map(|name| pod.metadata.labels.get(*name)).cloned();
    let workload = request.workload.map_or(&pod.metadata.name, |workload| &workload.name);
    let name = first(&[NAME, "app.kubernetes.io/name", "app"]).unwrap_or_else(|| workload.clone());
    let revision = first(&[REVISION, "app.kubernetes.io/version", "version"]).unwrap_or_else(|| "latest".to_owned());
    vec![(NAME.to_owned(), name), (REVISION.to_owned(), revision)]
}

fn annotations(pod: &Pod) -> Vec<(String, String)> {
    let present = &pod.metadata.annotations;
    let apps: Vec<&str> =
        pod.spec.containers.iter().map(|container| container.name.as_str()).filter(|name| *name != AGENT).collect();
    let mut added = vec![("istio.io/rev".to_owned(), "default".to_owned())];
    let mut add = |name: &str, value: &str| added.push((name.to_owned(), value.to_owned()));
    if let Some(first) = apps.first() {
        for name in ["kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container"] {
            add(name, present.get(name).map_or(first, String::as_str));
        }
    }
    add(PROBERS, "false");
    added
}

pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: false }
}
