//! Values of annotations that the webhook refuses, and why.

use hermesh_istiod::objects::Labels;

use super::table::{inject_input, read};
use super::volume_names;

#[test]
fn values_that_cannot_work_are_refused() {
    let volume = "expected JSON such as {\"extra\": {\"configMap\": {\"name\": \"extra\"}}}";
    for (annotation, value, expected) in [
        ("inject.istio.io/rev", "canary", None),
        ("status.sidecar.istio.io/port", "99999", Some("`99999`: expected a port from 0 to 65535")),
        ("prometheus.istio.io/merge-metrics", "maybe", Some("`maybe`: expected `true` or `false`")),
        (
            "readiness.status.sidecar.istio.io/initialDelaySeconds",
            "1s",
            Some("`1s`: expected a number from 0 to 4294967295"),
        ),
        ("readiness.status.sidecar.istio.io/periodSeconds", "-1", Some("`-1`: expected a number from 0 to 4294967295")),
        ("readiness.status.sidecar.istio.io/failureThreshold", "", Some("``: expected a number from 0 to 4294967295")),
        ("sidecar.istio.io/proxyCPU", "lots", Some("`lots`: expected an amount such as `100m` or `128Mi`")),
        ("sidecar.istio.io/proxyMemory", "1gb", Some("`1gb`: expected an amount such as `100m` or `128Mi`")),
        ("sidecar.istio.io/proxyCPULimit", "-2", Some("`-2`: expected an amount such as `100m` or `128Mi`")),
        ("sidecar.istio.io/proxyMemoryLimit", "1 Gi", Some("`1 Gi`: expected an amount such as `100m` or `128Mi`")),
        ("sidecar.istio.io/userVolume", "x", Some(volume)),
        ("sidecar.istio.io/userVolume", "\"x\"", Some(volume)),
        ("sidecar.istio.io/userVolume", "{\"x\": 1}", Some(volume)),
        ("sidecar.istio.io/userVolume", "[{\"emptyDir\": {}}]", Some("an entry has no name")),
        ("sidecar.istio.io/userVolume", "{\"x\": {\"configMap\": 1}}", Some("configMap of `x`: expected")),
        (
            "sidecar.istio.io/userVolume",
            "{\"istio-data\": {\"configMap\": {\"name\": \"c\"}}}",
            Some("name of `istio-data`: volume \"istio-data\" is already there"),
        ),
        (
            "sidecar.istio.io/userVolume",
            "[{\"name\": \"x\"}, {\"name\": \"x\"}]",
            Some("volume \"x\" is already there"),
        ),
        (
            "sidecar.istio.io/userVolume",
            "{\"x\": {\"emptyDir\": {}, \"configMap\": {\"name\": \"c\"}}}",
            Some("`x`: a volume has exactly one source"),
        ),
        (
            "sidecar.istio.io/userVolume",
            "{\"X_y\": {\"configMapp\": {}}, \"z\": {\"configMap\": {}}}",
            Some(
                "configMapp of `X_y`: unknown field; did you mean `configMap`?; name of `X_y`: invalid or missing \
                 volume name \"X_y\"; configMap.name of `z`: missing",
            ),
        ),
        ("sidecar.istio.io/userVolume", "{\"X_y\": {}}", Some("name of `X_y`: invalid or missing volume name \"X_y\"")),
        ("sidecar.istio.io/userVolumeMount", "{\"x\": {}}", Some("mountPath of `x`: missing; where")),
        (
            "sidecar.istio.io/userVolumeMount",
            "{\"istio-data\": {\"mountPath\": \"/etc/istio/pod\"}}",
            Some("mountPath of `istio-data`: \"/etc/istio/pod\" is already there"),
        ),
        (
            "sidecar.istio.io/userVolumeMount",
            "{\"istio-data\": {\"mountPath\": \"/x\", \"readonly\": true}}",
            Some("readonly of `istio-data`: unknown field; did you mean `readOnly`?"),
        ),
        (
            "sidecar.istio.io/userVolumeMount",
            "{\"x\": {\"mountPath\": \"/x\"}}",
            Some("the pod has no volume `x`; sidecar.istio.io/userVolume adds one"),
        ),
    ] {
        let input = serde_json::json!({"annotations": {annotation: value}});
        let refused = inject_input("grpc-agent", &input).err().map(|error| error.to_string());
        let is_right = match (&refused, expected) {
            (Some(refused), Some(expected)) => {
                refused.starts_with(&format!("annotation {annotation}: ")) && refused.contains(expected)
            }
            (None, None) => true,
            _ => false,
        };
        assert!(is_right, "{annotation}: {value:?}: {refused:?}, expected {expected:?}");
    }
}

#[test]
fn mounts_are_looked_at_only_where_the_agent_has_any() {
    let nothing_there = "{\"x\": {\"mountPath\": \"/x\"}}";
    let mount = serde_json::json!({"annotations": {"sidecar.istio.io/userVolumeMount": nothing_there}});
    assert!(inject_input("grpc-agent", &mount).is_err());
    assert_eq!(inject_input("grpc-simple", &mount).map(|_| ()), Ok(()));
    let mut without_port = mount;
    without_port["annotations"]["status.sidecar.istio.io/port"] = "0".into();
    assert_eq!(inject_input("grpc-agent", &without_port).map(|_| ()), Ok(()));
}

#[test]
fn of_volumes_that_cannot_be_read_nobody_knows_the_names() {
    let annotations = |volumes: &str| Labels::from([("sidecar.istio.io/userVolume".to_owned(), volumes.to_owned())]);
    let names = volume_names(&annotations("{\"roots\": {}}")).expect("it can be read");
    assert!(["istio-data", "roots"].iter().all(|name| names.iter().any(|other| other == name)), "{names:?}");
    assert_eq!(volume_names(&annotations("{\"roots\": {}")), None);
}

#[test]
fn nobody_may_ask_for_more_than_they_get_at_most() {
    let input = "{annotations: {sidecar.istio.io/proxyCPU: '2', sidecar.istio.io/proxyCPULimit: 500m}}";
    let error = inject_input("grpc-agent", &read(input)).unwrap_err().to_string();
    assert!(error.contains("asks for 2 of cpu, and may have 500m at most"), "{error}");
    let input = "{annotations: {sidecar.istio.io/proxyMemory: 1Gi, sidecar.istio.io/proxyMemoryLimit: 1024Mi}}";
    assert!(inject_input("grpc-agent", &read(input)).is_ok());
}

#[test]
fn the_template_that_is_meant_is_named() {
    for (templates, remedy) in [
        ("grpc-agnet", "unknown template `grpc-agnet`; did you mean `grpc-agent`?"),
        ("grpc-agent,mine", "unknown template `mine`; expected one of sidecar, gateway, grpc-simple, grpc-agent, "),
    ] {
        let error = inject_input(templates, &serde_json::Value::Null).unwrap_err().to_string();
        assert!(error.contains(remedy), "{error}");
    }
}
