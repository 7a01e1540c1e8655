//! What a bootstrap may say and what happens when it says something else (gRFC A27, A29, A36, A47).

use std::path::PathBuf;
use std::time::Duration;

use hermesh_runtime::channel::Target;
use hermesh_xds::Bootstrap;
use hermesh_xds::bootstrap::ChannelCreds;
use serde_json::{Value, json};

fn parse(value: &Value) -> Result<Bootstrap, String> {
    Bootstrap::from_json("b.json", value.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn minimal() -> Value {
    json!({"xds_servers": [{"server_uri": "istiod:15010", "channel_creds": [{"type": "insecure"}]}]})
}

fn with(key: &str, value: Value) -> Value {
    let mut bootstrap = minimal();
    bootstrap[key] = value;
    bootstrap
}

// B-02
#[test]
fn what_istio_agent_writes_is_understood_whole() {
    let bootstrap = parse(&json!({
        "xds_servers": [{
            "server_uri": "unix:///etc/istio/proxy/XDS",
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"]
        }],
        "node": {
            "id": "sidecar~10.0.0.5~pod.ns~ns.svc.cluster.local",
            "metadata": {"GENERATOR": "grpc", "LABELS": {"app": "echo"}},
            "locality": {"region": "r", "zone": "z", "sub_zone": "s"},
            "UserAgentVersionType": null
        },
        "certificate_providers": {
            "default": {
                "plugin_name": "file_watcher",
                "config": {
                    "certificate_file": "/var/lib/istio/data/cert-chain.pem",
                    "private_key_file": "/var/lib/istio/data/key.pem",
                    "ca_certificate_file": "/var/lib/istio/data/root-cert.pem",
                    "refresh_interval": "900s"
                }
            }
        },
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s"
    }))
    .unwrap();

    let server = &bootstrap.xds_servers[0];
    assert_eq!(server.target, Target::Unix("/etc/istio/proxy/XDS".into()));
    assert_eq!(server.channel_creds, ChannelCreds::Insecure);
    assert!(!server.ignores_resource_deletion());
    assert_eq!(bootstrap.node.metadata["GENERATOR"], "grpc");
    assert_eq!(bootstrap.node.locality.to_string(), "r/z/s");
    let provider = &bootstrap.certificate_providers["default"];
    assert_eq!(provider.refresh_interval, Duration::from_secs(900));
    assert_eq!(provider.ca_certificate_file, Some(PathBuf::from("/var/lib/istio/data/root-cert.pem")));
    assert_eq!(bootstrap.server_listener_name("0.0.0.0:7070").unwrap(), "xds.istio.io/grpc/lds/inbound/0.0.0.0:7070");
    assert_eq!(bootstrap.client_listener_name("", "echo:80").unwrap(), "echo:80");
}

#[test]
fn every_spelling_of_a_server_uri_names_its_target() {
    for (uri, expected) in [
        ("unix:///etc/istio/proxy/XDS", "unix:/etc/istio/proxy/XDS"),
        ("unix:////etc/istio/proxy/XDS", "unix:/etc/istio/proxy/XDS"),
        ("unix:etc/istio/proxy/XDS", "unix:etc/istio/proxy/XDS"),
        ("10.0.0.1:15010", "10.0.0.1:15010"),
        ("[::1]:15010", "[::1]:15010"),
        ("dns:///10.0.0.1:15010", "10.0.0.1:15010"),
        ("dns:///istiod.istio-system.svc:15010", "istiod.istio-system.svc port 15010"),
        ("istiod.istio-system.svc", "istiod.istio-system.svc port 443"),
    ] {
        let mut bootstrap = minimal();
        bootstrap["xds_servers"][0]["server_uri"] = json!(uri);
        let found = match &parse(&bootstrap).unwrap().xds_servers[0].target {
            Target::Unix(path) => format!("unix:{}", path.display()),
            Target::Ip(address) => address.to_string(),
            Target::Host(host, port) => format!("{host} port {port}"),
        };
        assert_eq!(found, expected, "{uri}");
    }
}

// B-01, B-04, B-06
#[test]
fn a_bad_bootstrap_is_refused_by_file_field_and_remedy() {
    let server = |server: Value| json!({"xds_servers": [server]});
    let provider =
        |config: Value| with("certificate_providers", json!({"x": {"plugin_name": "file_watcher", "config": config}}));
    for (bootstrap, parts) in [
        (json!([]), &["b.json", "error normalizing JSON"][..]),
        (json!({}), &["b.json: xds_servers:", "required field `xds_servers` not found"]),
        (json!({"xds_servers": {}}), &["xds_servers: expected a list, found an object"]),
        (server(json!({})), &["xds_servers[0]:", "`server_uri` field in server config cannot be empty"]),
        (server(json!({"server_uri": 5})), &["xds_servers[0].server_uri: expected a string, found a number"]),
        (server(json!({"server_uri": "xds:///x"})), &["`server_uri`: target `xds:///x`", "expected `host:port`"]),
        (server(json!({"server_uri": "a:99999"})), &["port \"99999\""]),
        (server(json!({"server_uri": "a:1"})), &["`channel_creds` field in server config cannot be empty"]),
        (
            server(json!({"server_uri": "a:1", "channel_creds": [{"type": "magic"}]})),
            &["xds_servers[0]:", "`channel_creds`", "`insecure` or `tls`"],
        ),
        (
            server(
                json!({"server_uri": "a:1", "channel_creds": [{"type": "tls", "config": {"certificate_file": "c"}}]}),
            ),
            &["failed to build credentials bundle from bootstrap for \"tls\"", "set together"],
        ),
        (with("node", json!("me")), &["node: expected an object, found a string"]),
        (provider(json!({})), &["certificate_providers.x:", "plugin \"file_watcher\" failed", "at least one"]),
        (provider(json!({"certificate_file": "/a/c"})), &["must be set together"]),
        (provider(json!({"certificate_file": "/a/c", "private_key_file": "/b/k"})), &["the same directory"]),
        (provider(json!({"ca_certificate_file": "/c", "refresh_interval": "15m"})), &["`refresh_interval`", "`900s`"]),
        (provider(json!({"ca_certificate_file": "/c", "refresh_interval": "-1s"})), &["`refresh_interval`"]),
        (
            with("authorities", json!({"a": {"client_listener_resource_name_template": "xdstp://b/x/%s"}})),
            &["authorities.a:", "doesn't start with prefix \"xdstp://a/\""],
        ),
    ] {
        let error = parse(&bootstrap).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{bootstrap}\n gave {error:?}\n without {part:?}");
        }
    }
    assert!(Bootstrap::from_json("b.json", b"{").unwrap_err().to_string().contains("line 1"));
}

// B-04
#[test]
fn a_certificate_provider_of_an_unknown_plugin_is_left_out() {
    let bootstrap = with("certificate_providers", json!({"vault": {"plugin_name": "vault", "config": {"a": 1}}}));
    assert!(parse(&bootstrap).unwrap().certificate_providers.is_empty());
}

#[test]
fn a_file_watcher_looks_every_ten_minutes_unless_told_otherwise() {
    for (interval, seconds) in [(json!(null), 600.0), (json!("1.5s"), 1.5), (json!("0s"), 3600.0)] {
        let config = json!({"ca_certificate_file": "/c", "refresh_interval": interval});
        let bootstrap = with("certificate_providers", json!({"x": {"plugin_name": "file_watcher", "config": config}}));
        let provider = parse(&bootstrap).unwrap().certificate_providers.remove("x").unwrap();
        assert_eq!(provider.refresh_interval, Duration::from_secs_f64(seconds), "{interval}");
    }
}

#[test]
fn the_first_supported_channel_credentials_are_used() {
    let mut bootstrap = minimal();
    bootstrap["xds_servers"][0]["channel_creds"] = json!([{"type": "magic"}, {"type": "tls"}, {"type": "insecure"}]);
    bootstrap["xds_servers"][0]["server_features"] = json!(["ignore_resource_deletion", 7]);
    let server = parse(&bootstrap).unwrap().xds_servers.remove(0);
    assert!(matches!(server.channel_creds, ChannelCreds::Tls(_)));
    assert!(server.ignores_resource_deletion());
}

// B-06, R-02, R-03
#[test]
fn targets_with_an_authority_use_its_template() {
    let bootstrap = parse(&with(
        "authorities",
        json!({"a": {}, "b": {
            "client_listener_resource_name_template": "xdstp://b/envoy.config.listener.v3.Listener/grpc/%s?project=1"
        }}),
    ))
    .unwrap();
    let name = |authority| bootstrap.client_listener_name(authority, "x y");
    assert_eq!(name("a").unwrap(), "xdstp://a/envoy.config.listener.v3.Listener/x%20y");
    assert_eq!(name("b").unwrap(), "xdstp://b/envoy.config.listener.v3.Listener/grpc/x%20y?project=1");
    let error = name("c").unwrap_err().to_string();
    assert!(error.contains("authority \"c\" specified in dial target \"xds://c/x y\" is not found"), "{error}");
}
