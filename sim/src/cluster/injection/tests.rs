//! Who is injected, and what the templates make of a pod.

mod refused;
mod shown;
mod table;

use std::sync::Arc;

use hermesh_istiod::objects::{Container, EnvVar, Kind, Object, Probe, ProbeHandler, TcpSocketAction, load};
use serde_json::Value;

use super::*;

const PROXY_CONFIG: &str = "proxy.istio.io/config";

fn values() -> Values {
    Values {
        image: "docker.io/istio/proxyv2:1.32.0".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        istio_namespace: "istio-system".to_owned(),
        hold_application: false,
    }
}

fn try_injected(pod: Pod) -> Result<Injected, InjectionError> {
    let labels = Labels::from([("istio-injection".to_owned(), "enabled".to_owned())]);
    let workload = ObjectKey::new(Kind::Deployment, "shop", "traffic-v1");
    try_injected_with(pod, &labels, &workload, &Sources::default())
}

fn try_injected_with(
    pod: Pod,
    labels: &Labels,
    workload: &ObjectKey,
    proxy_configs: &Sources,
) -> Result<Injected, InjectionError> {
    let values = values();
    let (namespace_labels, workload) = (labels, Some(workload));
    inject(pod, &Request { namespace: "shop", namespace_labels, workload, values: &values, proxy_configs })
}

fn injected(pod: Pod) -> Pod {
    try_injected(pod).expect("the pod is sound").pod
}

fn probe() -> Probe {
    Probe::new(ProbeHandler::TcpSocket(TcpSocketAction { port: 80.into(), host: None }))
}

/// The pod of Istio's own golden test `grpc-agent.yaml`.
fn traffic() -> Pod {
    let mut pod = Pod::default();
    pod.metadata.labels.insert("app".to_owned(), "traffic".to_owned());
    pod.spec.containers.push(Container {
        name: "traffic".to_owned(),
        image: "fake.docker.io/google-samples/traffic-go-gke:1.0".to_owned(),
        readiness_probe: Some(probe()),
        ..Container::default()
    });
    with_annotation(pod, TEMPLATES, GRPC_AGENT)
}

fn with_annotation(mut pod: Pod, name: &str, value: &str) -> Pod {
    pod.metadata.annotations.insert(name.to_owned(), value.to_owned());
    pod
}

fn names(pod: &Pod) -> Vec<&str> {
    pod.spec.containers.iter().map(|container| container.name.as_str()).collect()
}

fn container<'a>(pod: &'a Pod, name: &str) -> &'a Container {
    pod.spec.containers.iter().find(|container| container.name == name).expect("the pod has this container")
}

fn variable<'a>(container: &'a Container, name: &str) -> &'a str {
    let variable = container.env.iter().find(|variable| variable.name == name).expect("the variable is set");
    variable.value.as_deref().expect("its value stands in the template")
}

#[test]
fn the_golden_pod_gets_what_istio_gives_it() {
    let pod = injected(traffic());
    assert_eq!(names(&pod), ["traffic", "istio-proxy"]);
    let app = container(&pod, "traffic");
    assert_eq!(app.readiness_probe, Some(probe()));
    let variables: Vec<&str> = app.env.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(variables, ["GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "GRPC_XDS_BOOTSTRAP"]);
    let mounts: Vec<&str> = app.volume_mounts.iter().map(|mount| mount.mount_path.as_str()).collect();
    assert_eq!(mounts, ["/var/lib/istio/data", "/etc/istio/proxy", "/var/run/secrets/workload-spiffe-credentials"]);
    let volumes: Vec<&str> = pod.spec.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(
        volumes,
        [
            "workload-socket",
            "workload-certs",
            "istio-xds",
            "istio-data",
            "istio-podinfo",
            "istio-token",
            "istiod-ca-cert"
        ]
    );
    let agent = container(&pod, "istio-proxy");
    assert_eq!(variable(agent, "PROXY_CONFIG"), "{}");
    assert_eq!(variable(agent, "ISTIO_META_POD_PORTS"), "[ ]");
    let status: Value = serde_json::from_str(&pod.metadata.annotations["sidecar.istio.io/status"]).unwrap();
    assert_eq!(status["containers"], serde_json::json!(["istio-proxy", "traffic"]));
    assert_eq!(status["volumes"], serde_json::json!(volumes));
    assert_eq!(pod.metadata.labels["service.istio.io/canonical-name"], "traffic");
    assert_eq!(pod.metadata.labels["service.istio.io/canonical-revision"], "latest");
    assert!(!pod.metadata.labels.contains_key("security.istio.io/tlsMode"));
}

#[test]
fn the_agents_variables_come_in_istios_order() {
    let pod = with_annotation(traffic(), PROXY_CONFIG, r#"{"proxyMetadata": {"SECRET_TTL": "1h"}}"#);
    let pod = injected(pod);
    let names: Vec<&str> = container(&pod, "istio-proxy").env.iter().map(|variable| variable.name.as_str()).collect();
    let expected = "ISTIO_META_GENERATOR OUTPUT_CERTS PILOT_CERT_PROVIDER CA_ADDR POD_NAME POD_NAMESPACE INSTANCE_IP \
                    SERVICE_ACCOUNT HOST_IP PROXY_CONFIG ISTIO_META_POD_PORTS ISTIO_META_APP_CONTAINERS \
                    ISTIO_META_CLUSTER_ID ISTIO_META_NODE_NAME ISTIO_META_WORKLOAD_NAME ISTIO_META_OWNER \
                    ISTIO_META_MESH_ID TRUST_DOMAIN SECRET_TTL ISTIO_META_DNS_CAPTURE DISABLE_ENVOY";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn hold_puts_the_agent_first_and_its_wait_is_there_with_or_without() {
    let held = injected(with_annotation(traffic(), PROXY_CONFIG, r#"{"holdApplicationUntilProxyStarts": true}"#));
    assert_eq!(names(&held), ["istio-proxy", "traffic"]);
    assert_eq!(
        variable(container(&held, "istio-proxy"), "PROXY_CONFIG"),
        r#"{"holdApplicationUntilProxyStarts":true}"#
    );
    for pod in [held, injected(traffic())] {
        let hook = container(&pod, "istio-proxy").lifecycle.post_start.clone();
        let command = ["pilot-agent", "wait", "--url=http://localhost:15020/healthz/ready"].map(str::to_owned);
        let expected = hermesh_istiod::objects::ExecAction { command: command.into() };
        assert_eq!(hook, Some(hermesh_istiod::objects::LifecycleHandler::Exec(expected)));
    }
}

#[test]
fn a_proxy_config_may_be_written_as_yaml() {
    let pod = injected(with_annotation(traffic(), PROXY_CONFIG, "holdApplicationUntilProxyStarts: true\n"));
    assert_eq!(names(&pod), ["istio-proxy", "traffic"]);
    let error = try_injected(with_annotation(traffic(), PROXY_CONFIG, "[hold]")).unwrap_err();
    assert!(error.to_string().starts_with("annotation proxy.istio.io/config: expected a mapping"), "{error}");
}

#[test]
fn what_only_looks_like_a_value_of_the_right_type_holds_nothing_back() {
    let hold = r#"{"holdApplicationUntilProxyStarts": "true"}"#;
    let error = try_injected(with_annotation(traffic(), PROXY_CONFIG, hold)).unwrap_err();
    let expected = "annotation proxy.istio.io/config: holdApplicationUntilProxyStarts: expected true or false without \
                    quotation marks, found `\"true\"`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_empty_name_is_no_template() {
    for templates in ["", "grpc-agent,"] {
        let error = try_injected(with_annotation(traffic(), "inject.istio.io/templates", templates)).unwrap_err();
        let expected = "annotation inject.istio.io/templates: unknown template ``; expected one of ";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn what_the_user_wrote_wins() {
    let mut pod = traffic();
    pod.spec.containers[0].env = vec![EnvVar::new("GRPC_XDS_BOOTSTRAP", "/mine.json")];
    pod.spec.containers.push(Container {
        name: "istio-proxy".to_owned(),
        image: "auto".to_owned(),
        env: vec![EnvVar::new("TRUST_DOMAIN", "corp")],
        ..Container::default()
    });
    let pod = injected(pod);
    assert_eq!(names(&pod), ["traffic", "istio-proxy"]);
    assert_eq!(variable(container(&pod, "traffic"), "GRPC_XDS_BOOTSTRAP"), "/mine.json");
    let agent = container(&pod, "istio-proxy");
    assert_eq!(agent.image, values().image);
    assert_eq!(variable(agent, "TRUST_DOMAIN"), "corp");
}

#[test]
fn without_a_status_port_the_mounts_go_too_as_in_istio() {
    let pod = injected(with_annotation(traffic(), "status.sidecar.istio.io/port", "0"));
    let agent = container(&pod, "istio-proxy");
    assert!(agent.volume_mounts.is_empty());
    assert_eq!(agent.readiness_probe, None);
    assert!(agent.lifecycle.post_start.is_some());
}

#[test]
fn a_pod_that_would_get_envoy_runs_without_and_is_told_so() {
    let mut pod = traffic();
    pod.metadata.annotations.clear();
    let Injected { pod: result, notes } = try_injected(pod.clone()).unwrap();
    assert_eq!(result, pod);
    assert!(notes[0].contains("Envoy") && notes[0].contains("grpc-agent"), "{notes:?}");
}

/// The ProxyConfigs of a text, each younger than the one before, and the mesh's configuration.
fn sources(mesh: Option<&str>, objects: &str) -> Sources {
    let loaded = load("test.yaml", objects, "shop");
    assert_eq!(loaded.errors, [], "the objects are valid");
    let configs = loaded.objects.into_iter().enumerate().filter_map(|(age, object)| match object {
        Object::ProxyConfig(mut config) => {
            Arc::make_mut(&mut config).metadata.creation_timestamp = Some(age as u64);
            Some(config)
        }
        _ => None,
    });
    Sources { mesh: mesh.map(str::to_owned), objects: configs.collect() }
}

fn config(namespace: &str, selector: &str, value: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1beta1\nkind: ProxyConfig\nmetadata: {{name: c{value}, namespace: {namespace}}}\n\
         spec: {{{selector}environmentVariables: {{WHO: {value}, {value}: \"1\"}}}}\n"
    )
}

/// Each row: what is there, whether the pod has an annotation, and whose value counts. Source: facts of Istio's
/// `EffectiveProxyConfig`, weakest first.
#[test]
fn of_all_proxy_configs_the_nearest_counts() {
    let labels = Labels::from([("istio-injection".to_owned(), "enabled".to_owned())]);
    let workload = ObjectKey::new(Kind::Deployment, "shop", "traffic-v1");
    let mesh = "defaultConfig: {proxyMetadata: {WHO: mesh, MESH: \"1\"}}";
    let root = config("istio-system", "", "root");
    let own = config("shop", "", "own");
    let younger = config("shop", "", "younger");
    let fitting = config("shop", "selector: {matchLabels: {app: traffic}}, ", "selected");
    let other = config("shop", "selector: {matchLabels: {app: other}}, ", "other");
    let elsewhere = config("bank", "", "elsewhere")
        + &config("istio-system", "selector: {matchLabels: {app: traffic}}, ", "rooted");
    for (objects, annotated, who) in [
        (String::new(), false, "mesh"),
        (root.clone(), false, "root"),
        (root.clone() + &own, false, "own"),
        (own.clone() + &younger + &root, false, "own"),
        (root.clone() + &own, true, "annotation"),
        (own.clone() + &other + &elsewhere, true, "annotation"),
        (root.clone() + &own + &fitting, true, "selected"),
        (elsewhere.clone() + &other, false, "mesh"),
    ] {
        let pod = if annotated {
            with_annotation(traffic(), PROXY_CONFIG, r#"{"proxyMetadata": {"WHO": "annotation"}}"#)
        } else {
            traffic()
        };
        let injected = try_injected_with(pod, &labels, &workload, &sources(Some(mesh), &objects)).unwrap().pod;
        let agent = container(&injected, "istio-proxy");
        assert_eq!(variable(agent, "WHO"), who, "{annotated} {objects}");
        assert_eq!(variable(agent, "MESH"), "1", "metadata is merged");
        let told: Value = serde_json::from_str(variable(agent, "PROXY_CONFIG")).unwrap();
        assert_eq!(told["proxyMetadata"]["WHO"], who);
    }
}

#[test]
fn hold_is_the_annotation_s_or_the_mesh_s_and_what_is_default_is_left_out() {
    let labels = Labels::from([("istio-injection".to_owned(), "enabled".to_owned())]);
    let workload = ObjectKey::new(Kind::Deployment, "shop", "traffic-v1");
    let mesh =
        "defaultConfig:\n  holdApplicationUntilProxyStarts: true\n  discoveryAddress: istiod.istio-system.svc:15012\n";
    let with = |pod| try_injected_with(pod, &labels, &workload, &sources(Some(mesh), "")).unwrap().pod;
    let held = with(traffic());
    assert_eq!(names(&held), ["istio-proxy", "traffic"]);
    let told = variable(container(&held, "istio-proxy"), "PROXY_CONFIG");
    assert_eq!(told, r#"{"holdApplicationUntilProxyStarts":true}"#);
    let not = with(with_annotation(traffic(), PROXY_CONFIG, "holdApplicationUntilProxyStarts: false"));
    assert_eq!(names(&not), ["traffic", "istio-proxy"]);
    let error = try_injected_with(traffic(), &labels, &workload, &sources(Some("[a]"), "")).unwrap_err().to_string();
    assert!(error.starts_with("ConfigMap istio of the root namespace, key mesh: expected a mapping"), "{error}");
}

#[test]
fn the_image_has_the_variant_that_is_asked_for() {
    let labels = Labels::from([("istio-injection".to_owned(), "enabled".to_owned())]);
    let workload = ObjectKey::new(Kind::Deployment, "shop", "traffic-v1");
    let image = |pod, objects: &str| {
        let pod = try_injected_with(pod, &labels, &workload, &sources(None, objects)).unwrap().pod;
        container(&pod, "istio-proxy").image.clone()
    };
    let release = values().image;
    assert_eq!(image(traffic(), ""), release);
    let distroless = config("shop", "image: {imageType: distroless}, ", "a");
    assert_eq!(image(traffic(), &distroless), format!("{release}-distroless"));
    let debug = with_annotation(traffic(), "sidecar.istio.io/proxyImageType", "debug");
    assert_eq!(image(debug, &distroless), format!("{release}-debug"));
    let own = with_annotation(traffic(), "sidecar.istio.io/proxyImage", "corp/agent:1");
    assert_eq!(image(own, &distroless), "corp/agent:1");
}

#[test]
fn what_the_pod_says_of_metrics_the_agent_is_told() {
    let pod = with_annotation(traffic(), "prometheus.io/scrape", "true");
    let pod = injected(with_annotation(pod, "prometheus.io/port", "9090"));
    let told: Value =
        serde_json::from_str(variable(container(&pod, "istio-proxy"), "ISTIO_PROMETHEUS_ANNOTATIONS")).unwrap();
    assert_eq!(told, serde_json::json!({"scrape": "true", "path": "", "port": "9090"}));
    assert_eq!(pod.metadata.annotations["prometheus.io/port"], "15020", "the agent merges both");
    let pod = injected(with_annotation(traffic(), "prometheus.io/scrape", "false"));
    assert!(!container(&pod, "istio-proxy").env.iter().any(|it| it.name == "ISTIO_PROMETHEUS_ANNOTATIONS"));
    assert!(!pod.metadata.annotations.contains_key("prometheus.io/port"));
}
