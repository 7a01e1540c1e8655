//! Hosts, namespaces and pods that are not there.

use super::{HEADER, open, refused, refused_step, steps};

#[test]
fn calls_that_are_to_be_answered_go_to_services_that_are_there() {
    let help = "if the call is to fail, expect its `error`";
    for (url, message) in [
        ("xds:///ecoh:7070", "no Service `ecoh` in namespace shop; did you mean `echo`?"),
        ("grpc://echo.shpo:7070", "no Service `echo` in namespace shpo; did you mean `echo.shop.svc.cluster.local`?"),
        ("http://echo/", "Service `echo` has no port 80; expected 7070"),
    ] {
        refused_step(
            &format!("- call: {{from: echo-v1, url: \"{url}\"}}"),
            &format!("s.yaml:8:30: steps[1].call.url: {message}; {help}"),
        );
        refused_step(
            &format!("- call: {{from: echo-v1, url: \"{url}\"}}\n  expect: {{ok: all}}"),
            &format!("s.yaml:8:30: steps[1].call.url: {message}; {help}"),
        );
    }
    refused_step(
        "- delete: echo.yaml\n- call: {from: istiod, url: \"xds:///echo.shop.svc.cluster.local:7070\"}",
        &format!(
            "s.yaml:9:29: steps[2].call.url: Service `echo` of namespace shop is not applied at this step; {help}"
        ),
    );
}

#[test]
fn calls_that_are_to_fail_may_go_anywhere() {
    for (url, error) in [("xds:///ecoh:7070", "UNAVAILABLE"), ("grpc://echo:1", "UNAVAILABLE"), ("http://x", "UNKNOWN")]
    {
        let step = format!("- call: {{from: echo-v1, url: \"{url}\"}}\n  expect: {{error: {error}}}");
        assert!(open(&steps(&step)).is_ok(), "{step}");
    }
    assert!(open(&steps("- call: {from: echo-v1, url: \"xds:///a:1\"}\n  expect: {cause: name-resolution}")).is_ok());
}

#[test]
fn of_calls_without_xds_only_what_is_known_can_be_expected() {
    let call = |url: &str, expect: &str| format!("- call: {{from: echo-v1, url: {url}}}\n  expect: {expect}");
    let cause = "why a call failed is known of xds:/// only; leave `cause` out and expect the `error`";
    for url in ["\"grpc://x:1\"", "\"http://x\"", "[\"xds:///x:1\", \"grpc://x:1\"]"] {
        refused_step(&call(url, "{cause: tcp-connect}"), &format!("s.yaml:9:19: steps[1].expect.cause: {cause}"));
    }
    refused_step(
        &call("\"http://x\"", "{error: UNAVAILABLE}"),
        "s.yaml:9:19: steps[1].expect.error: HTTP has no status codes of gRPC: ForwardEcho ends a call to http:// that \
         fails with UNKNOWN; write `error: UNKNOWN`",
    );
    refused_step(
        &call("\"grpc://x:1\", count: 2", "{error: UNAVAILABLE}"),
        "s.yaml:9:19: steps[1].expect.error: of a batch to grpc:// the code of the first failure is known, and of no \
         other; leave `count` out and list the URL as often as it is to be called",
    );
    assert!(open(&steps(&call("[\"grpc://x:1\", \"grpc://x:1\"]", "{error: UNAVAILABLE}"))).is_ok());
    assert!(open(&steps(&call("\"http://x\", count: 2", "{error: UNKNOWN}"))).is_ok());
}

#[test]
fn namespaces_are_there_before_what_is_in_them() {
    refused(
        &format!("{HEADER}- apply: echo.yaml\n"),
        &["s.yaml:4:12: namespace: no manifest creates namespace `shop`; apply a Namespace shop first"],
    );
    refused(
        &format!("{HEADER}- apply: [more, echo.yaml]\n").replace("namespace: shop", "namespace: shpo"),
        &["s.yaml:4:12: namespace: no manifest creates namespace `shpo`; did you mean `shop`?"],
    );
    let late = "namespace `shop` is not there at this step; apply Namespace shop before what is in it";
    for steps in ["- apply: [echo.yaml, more]\n", "- apply: echo.yaml\n- apply: more\n"] {
        refused(&format!("{HEADER}{steps}"), &[&format!("echo.yaml:3:11: metadata.namespace: {late}")]);
    }
    refused_step("- delete: more\n- apply: echo.yaml", &format!("echo.yaml:3:11: metadata.namespace: {late}"));
    let own = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shpo}\nspec: {ports: [{port: 1}]}\n";
    refused(
        &format!("{}{own}", steps("")),
        &["s.yaml:12:32: metadata.namespace: no manifest creates namespace `shpo`; did you mean `shop`?"],
    );
}

#[test]
fn what_has_no_pods_does_nothing() {
    let with = |step: &str| {
        let own = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: idle, namespace: default}\n\
                   spec:\n  replicas: 0\n  selector: {matchLabels: {app: idle}}\n  template:\n\
                   \x20   metadata: {labels: {app: idle}}\n    spec:\n\
                   \x20     containers: [{name: app, image: registry.istio.io/testing/app:latest}]\n";
        format!("{}{own}", steps(step))
    };
    let none = "workload `idle` has no pods: its Deployment says `replicas: 0`";
    refused(
        &with("- call: {from: default/idle, url: \"xds:///echo.shop.svc.cluster.local:7070\"}"),
        &[&format!("s.yaml:8:16: steps[1].call.from: {none}")],
    );
    refused(&with("- restart: default/idle"), &[&format!("s.yaml:8:12: steps[1].restart: {none}")]);
    assert!(open(&with("- wait: {ready: default/idle}")).is_ok());
}
