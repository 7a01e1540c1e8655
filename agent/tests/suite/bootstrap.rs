//! The bootstrap an agent writes for the application beside it.

use crate::common::{PodFiles, process};
use hermesh_agent::Settings;
use hermesh_agent::bootstrap::{bootstrap, bootstrap_file, certificate_files};
use serde_json::{Value, json};

const ARGS: &[&str] =
    &["proxy", "sidecar", "--domain", "echo-grpc.svc.cluster.local", "--log_output_level=default:info"];

async fn settings(args: &[&str], vars: &[(&str, &str)]) -> Settings {
    Settings::read(&process(args, vars).rt).await.unwrap()
}

#[tokio::test]
async fn the_injected_environment_gives_istio_s_bootstrap() {
    let settings = settings(
        ARGS,
        &[
            ("ISTIO_META_GENERATOR", "grpc"),
            ("OUTPUT_CERTS", "/var/lib/istio/data"),
            ("CA_ADDR", "istiod.istio-system.svc:15012"),
            ("POD_NAME", "echo-v1-0"),
            ("POD_NAMESPACE", "echo-grpc"),
            ("INSTANCE_IP", "10.0.0.5"),
            ("SERVICE_ACCOUNT", "default"),
            ("PROXY_CONFIG", "{}"),
            ("ISTIO_META_POD_PORTS", "[{\"containerPort\":7070}]"),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_UNKNOWN", "dropped"),
            ("ISTIO_META_DNS_CAPTURE", "false"),
        ],
    )
    .await;
    let mut written = bootstrap(&settings);
    let proxy_config = written["node"]["metadata"]["PROXY_CONFIG"].take();
    assert_eq!(proxy_config["discoveryAddress"], "istiod.istio-system.svc:15012");
    written["node"]["metadata"].as_object_mut().unwrap().shift_remove("PROXY_CONFIG");
    let expected = json!({
        "xds_servers": [{
            "server_uri": "unix:///etc/istio/proxy/XDS",
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }],
        "node": {
            "id": "sidecar~10.0.0.5~echo-v1-0.echo-grpc~echo-grpc.svc.cluster.local",
            "metadata": {
                "CLUSTER_ID": "Kubernetes",
                "ENVOY_PROMETHEUS_PORT": 15090,
                "ENVOY_SKIP_DEPRECATED_LOGS": "true",
                "ENVOY_STATUS_PORT": 15021,
                "GENERATOR": "grpc",
                "INSTANCE_IPS": "10.0.0.5",
                "ISTIO_VERSION": "1.32.0",
                "METADATA_DISCOVERY": "false",
                "NAME": "echo-v1-0",
                "NAMESPACE": "echo-grpc",
                "PILOT_SAN": ["istiod.istio-system.svc"],
                "POD_PORTS": "[{\"containerPort\":7070}]",
                "SERVICE_ACCOUNT": "default",
                "WORKLOAD_IDENTITY_SOCKET_FILE": "socket",
            },
            "locality": {},
            "UserAgentVersionType": null,
        },
        "certificate_providers": {
            "default": {
                "plugin_name": "file_watcher",
                "config": {
                    "certificate_file": "/var/lib/istio/data/cert-chain.pem",
                    "private_key_file": "/var/lib/istio/data/key.pem",
                    "ca_certificate_file": "/var/lib/istio/data/root-cert.pem",
                    "refresh_interval": "900s",
                },
            },
        },
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s",
    });
    // As text: the order of fields is Istio's too.
    assert_eq!(serde_json::to_string_pretty(&written).unwrap(), serde_json::to_string_pretty(&expected).unwrap());
}

#[tokio::test]
async fn the_file_is_indented_by_two_and_ends_without_a_newline() {
    let file = String::from_utf8(bootstrap_file(&settings(ARGS, &[]).await)).unwrap();
    assert!(file.starts_with("{\n  \"xds_servers\": [\n    {\n"), "{file}");
    assert!(file.ends_with('}'));
}

#[tokio::test]
async fn an_absolute_config_path_makes_four_slashes() {
    let settings = settings(ARGS, &[("PROXY_CONFIG", r#"{"configPath":"/etc/istio/proxy"}"#)]).await;
    assert_eq!(bootstrap(&settings)["xds_servers"][0]["server_uri"], "unix:////etc/istio/proxy/XDS");
}

#[tokio::test]
async fn without_an_output_directory_there_is_no_certificate_provider() {
    let settings = settings(ARGS, &[]).await;
    assert_eq!(bootstrap(&settings).get("certificate_providers"), None);
    assert_eq!(certificate_files(&bootstrap_file(&settings)), Ok(Vec::new()));
}

#[tokio::test]
async fn readiness_finds_the_files_that_the_bootstrap_names() {
    let settings = settings(ARGS, &[("OUTPUT_CERTS", "/certs")]).await;
    let files = certificate_files(&bootstrap_file(&settings)).unwrap();
    assert_eq!(files, ["/certs/cert-chain.pem", "/certs/key.pem", "/certs/root-cert.pem"]);
    for unusable in ["", "[]", "{}", r#"{"xds_servers":[]}"#] {
        assert!(certificate_files(unusable.as_bytes()).is_err(), "{unusable}");
    }
}

#[tokio::test]
async fn labels_annotations_and_locality_come_from_the_mounted_files() {
    let pod = PodFiles::new();
    let root = pod.root().display().to_string();
    let process = process(ARGS, &[("HERMESH_ROOT", &root), ("ISTIO_METAJSON_LABELS", r#"{"team":"a"}"#)]);
    let labels = "app=\"echo\"\npod-template-hash=\"5d8\"\nistio-locality=\"eu.west.rack1\"\n";
    pod.write(&process.rt, "etc/istio/pod/labels", labels).await;
    pod.write(&process.rt, "etc/istio/pod/annotations", "proxy.istio.io/config=\"statusPort: 0\"\n").await;
    let settings = Settings::read(&process.rt).await.unwrap();
    assert_eq!(settings.proxy.status_port, 0);
    let node = bootstrap(&settings)["node"].take();
    assert_eq!(node["locality"], json!({"region": "eu", "zone": "west", "sub_zone": "rack1"}));
    let labels = json!({"app": "echo", "istio-locality": "eu/west/rack1", "team": "a"});
    assert_eq!(node["metadata"]["LABELS"], labels);
    assert_eq!(node["metadata"]["STATIC_LABELS"], json!({"team": "a"}));
    assert_eq!(node["metadata"]["ANNOTATIONS"]["proxy.istio.io/config"], "statusPort: 0");
}

#[tokio::test]
async fn proxy_metadata_is_overridden_by_the_environment() {
    let config = r#"{"proxyMetadata":{"ISTIO_META_NETWORK":"from-config","ISTIO_META_MESH_ID":"mesh"}}"#;
    let settings = settings(ARGS, &[("PROXY_CONFIG", config), ("ISTIO_META_NETWORK", "from-env")]).await;
    let metadata = bootstrap(&settings)["node"]["metadata"].take();
    assert_eq!((&metadata["NETWORK"], &metadata["MESH_ID"]), (&Value::from("from-env"), &Value::from("mesh")));
}

#[tokio::test]
async fn what_cannot_work_is_refused_in_one_line() {
    for (vars, part) in [
        (&[("INSTANCE_IP", "pod")][..], "INSTANCE_IP=`pod`: expected an IP address"),
        (&[("SECRET_TTL", "soon")], "SECRET_TTL=`soon`: expected numbers with the units"),
        (&[("SECRET_TTL", "9999999h")], "SECRET_TTL=`9999999h`: expected at most 2562047h"),
        (&[("SECRET_TTL", "9e9999h")], "SECRET_TTL=`9e9999h`: expected numbers with the units"),
        (&[("SECRET_TTL", "-1h")], "SECRET_TTL=`-1h`: expected a duration that is not negative"),
        (&[("XDS_ROOT_CA", "SYSTEM")], "XDS_ROOT_CA=`SYSTEM`: the operating system's roots are not supported here"),
        (&[("CA_ROOT_CA", "SYSTEM")], "CA_ROOT_CA=`SYSTEM`: the operating system's roots are not supported here"),
        (&[("SECRET_GRACE_PERIOD_RATIO", "2")], "a number from 0 to 1"),
        (&[("PROXY_CONFIG", "{\"statusPort\": -1}")], "`statusPort`"),
        (&[("HERMESH_PROFILE", "envoy")], "expected `hermesh` or `istio`"),
        (&[("PILOT_CERT_PROVIDER", "none")], "XDS_ROOT_CA"),
        (&[("WORKLOAD_IDENTITY_SOCKET_FILE", "a/b")], "bare file name"),
    ] {
        let error = Settings::read(&process(ARGS, vars).rt).await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{vars:?}: {error}");
    }
    let error = Settings::read(&process(&["proxy", "router"], &[]).rt).await.unwrap_err();
    assert!(error.to_string().contains("proxy sidecar"), "{error}");
}
