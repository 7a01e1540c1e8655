//! What has the right shape and makes no sense.

use super::{open, refused, refused_step, steps};

#[test]
fn a_network_has_two_ends() {
    let apart = "expected two workloads or pods with a network between them";
    refused_step(
        "- partition: [echo-v1/0, echo-v1]",
        &format!("s.yaml:8:26: steps[1].partition[1]: `echo-v1/0` is a pod of `echo-v1`; {apart}"),
    );
    refused_step(
        "- partition: [shop/echo-v1, echo-v1]",
        &format!("s.yaml:8:29: steps[1].partition[1]: `shop/echo-v1` and `echo-v1` are the same; {apart}"),
    );
    refused_step(
        "- heal: [echo-v1, echo-v1/0]",
        &format!("s.yaml:8:19: steps[1].heal[1]: `echo-v1/0` is a pod of `echo-v1`; {apart}"),
    );
    assert!(open(&steps("- partition: [echo-v1/0, echo-v2]\n- heal: [istiod, istio-system/istiod/0]")).is_ok());
}

#[test]
fn a_step_does_a_thing_to_a_target_once() {
    refused_step(
        "- kill: [echo-v1/0/app, echo-v1/0/istio-proxy, shop/echo-v1/0/app]",
        "s.yaml:8:48: steps[1].kill[2]: `shop/echo-v1/0/app` stands here twice",
    );
    refused_step(
        "- restart: [echo-v1, echo-v1/0]",
        "s.yaml:8:22: steps[1].restart[1]: `echo-v1/0` is part of `echo-v1`, which stands here already",
    );
    refused_step(
        "- restart: [echo-v1/0, echo-v1]",
        "s.yaml:8:24: steps[1].restart[1]: `echo-v1/0`, which stands here already, is part of `echo-v1`",
    );
    refused_step(
        "- wait: {ready: [echo-v1, echo-v1]}",
        "s.yaml:8:27: steps[1].wait.ready[1]: `echo-v1` stands here twice",
    );
    assert!(open(&steps("- kill: [echo-v1/0/app, echo-v1/0/istio-proxy, echo-v2/0/app]")).is_ok());
}

#[test]
fn headers_are_what_http_can_carry() {
    let call = |headers: &str| format!("- call: {{from: echo-v1, url: \"xds:///echo:7070\", headers: {headers}}}");
    refused_step(
        &call("{\":path\": x}"),
        "s.yaml:8:60: steps[1].call.headers.:path: `:path` is no header: the URL decides what such fields say; `Host` sets the authority",
    );
    refused_step(
        &call("{\"A B\": x}"),
        "s.yaml:8:60: steps[1].call.headers[\"A B\"]: \"A B\" is no name of a header: letters, digits and !#$%&'*+-.^_`|~",
    );
    refused_step(
        &call("{a: \"x\\ny\"}"),
        "s.yaml:8:63: steps[1].call.headers.a: expected the header's value in one line of ASCII, found \"x\\ny\"",
    );
    refused_step(
        &call("{X-Trace-Bin: x}"),
        "s.yaml:8:60: steps[1].call.headers.X-Trace-Bin: `X-Trace-Bin` is binary metadata, as `-bin` says, and a scenario's headers are texts",
    );
    assert!(open(&steps(&call("{Host: shop.example, x-tries: 5, x-debug: true}"))).is_ok());
}

#[test]
fn texts_that_look_like_numbers_stand_in_quotes() {
    refused(
        &steps("- name: 5\n  wait: 1s").replace("\"1.32\"", "1.32"),
        &[
            "s.yaml:5:15: mesh.istio: expected a version of Istio, found the number 1.32; put it into quotes if it is meant: \"1.32\"",
            "s.yaml:8:9: steps[1].name: expected a name, found the number 5; put it into quotes if it is meant: \"5\"",
        ],
    );
    refused_step(
        "- kill: 5",
        "s.yaml:8:9: steps[1].kill: expected a container: workload/ordinal/container, found the number 5; \
         put it into quotes if it is meant: \"5\"",
    );
    assert!(open(&steps("- call: {from: echo-v1, url: \"xds:///echo:7070\", message: 5, grep: 200}")).is_ok());
}

#[test]
fn all_is_a_word_and_no_name() {
    refused_step(
        "- wait: {ready: [all]}",
        "s.yaml:8:18: steps[1].wait.ready[0]: `all` stands alone, without a list: `ready: all`",
    );
    refused_step(
        "- restart: all",
        "s.yaml:8:12: steps[1].restart: `all` is no workload; name those that are meant, one of that name as `shop/all`",
    );
}

#[test]
fn identities_and_times_are_more_than_a_beginning() {
    let call = |field: &str, expect: &str| {
        format!("- call: {{from: echo-v1, url: \"xds:///echo:7070\"{field}}}\n  expect: {expect}")
    };
    for caller in ["spiffe://", "spiffe://cluster.local", "spiffe://cluster.local/", "spiffe://a//b"] {
        refused_step(
            &call("", &format!("{{caller: \"{caller}\"}}")),
            &format!(
                "s.yaml:9:20: steps[1].expect.caller: expected a SPIFFE identity such as \
                 `spiffe://cluster.local/ns/shop/sa/default`, found \"{caller}\""
            ),
        );
    }
    refused_step(
        &call(", timeout: 0s", "{ok: all}"),
        "s.yaml:8:59: steps[1].call.timeout: no call ends in no time; expected 1ms at least",
    );
    refused_step(
        "- wait: nan",
        "s.yaml:8:9: steps[1].wait: expected a time with its unit, such as `500ms`, `2s` or `1m30s`, found \"nan\"",
    );
    refused(
        &steps("").replace("\"1.32\"", "\"1.32\", latency: inf"),
        &["s.yaml:5:32: mesh.latency: expected a time with its unit, such as `500ms`, `2s` or `1m30s`, found \"inf\""],
    );
}
