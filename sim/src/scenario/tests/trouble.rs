//! `disrupt`, `clock`, `expire`, `fill`, `tear`, what `heal` mends of that, and `for`.

use super::{open, refused, refused_step, steps};

#[test]
fn services_clocks_tokens_and_volumes_are_disturbed_and_healed() {
    let fine = "- disrupt: {service: ca, error: UNAVAILABLE}\n  for: 10m\n\
                - disrupt: {service: xds, to: echo-v1/0, error: PERMISSION_DENIED, delay: 1s..5s}\n\
                - disrupt: {service: ca, to: shop/echo-v2, delay: 5s}\n- heal: {service: ca, to: echo-v1}\n\
                - clock: {of: istiod, behind: 1h}\n- clock: {of: echo-v1/0, ahead: 25h}\n  for: 5s\n- heal: {clock: istiod}\n\
                - expire: {tokens: echo-v1}\n- expire: {tokens: echo-v1, in: 10m}\n  for: 1h\n- heal: {tokens: echo-v1}\n\
                - fill: {volume: istio-data, of: echo-v1}\n  for: 5s\n- tear: {volume: istio-data, of: echo-v1, count: 3}\n\
                - heal: {volume: istio-data, of: echo-v1}\n- pause: echo-v1\n  for: 5s\n\
                - partition: [echo-v1, echo-v2]\n  for: 5s\n\
                - together:\n  - {at: 1s..2s, jam: [echo-v1, echo-v2], for: 2s}\n  - {at: 1s, pause: echo-v1, for: 1ms}";
    open(&steps(fine)).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    refused(
        &steps(
            "- disrupt: {service: ca}\n- disrupt: {error: UNAVAILABLE}\n- disrupt: {service: cb, error: UNAVAILBLE}\n\
             - disrupt: {service: ca, delay: 0s}\n- disrupt: {service: ca, error: INTERNAL, for: 5s}\n\
             - clock: {of: echo-v1}\n- clock: {of: echo-v1, ahead: 1s, behind: 1s}\n- clock: {of: echo-v1, ahead: 0s}\n\
             - expire: echo-v1\n- fill: {volume: istio-data}\n- tear: {volume: istio-data, of: echo-v1, count: 0}\n\
             - heal: {clock: echo-v1, tokens: echo-v1}\n- heal: {}\n- heal: {clok: echo-v1}",
        ),
        &[
            "s.yaml:8:12: steps[1].disrupt: nothing is wrong with the service; expected an `error` or a `delay`",
            "s.yaml:9:12: steps[2].disrupt: field `service` is missing",
            "s.yaml:10:22: steps[3].disrupt.service: unknown service of istiod \"cb\"; expected ca or xds",
            "s.yaml:10:33: steps[3].disrupt.error: unknown status code \"UNAVAILBLE\"; did you mean `UNAVAILABLE`?",
            "s.yaml:11:33: steps[4].disrupt.delay: a delay of no time is none; expected 1ms at least",
            "s.yaml:12:43: steps[5].disrupt.for: `for` stands beside the step's verb, not in it",
            "s.yaml:13:10: steps[6].clock: expected `ahead` or `behind`; what sets a clock right is `heal`",
            "s.yaml:14:10: steps[7].clock: a clock is `ahead` or `behind`; write one of them",
            "s.yaml:15:31: steps[8].clock.ahead: expected 1ms at least, found no time at all",
            "s.yaml:16:11: steps[9].expire: expected whose tokens: a mapping such as `{tokens: web, in: 10m}`, found the \
             text \"echo-v1\"",
            "s.yaml:17:9: steps[10].fill: field `of` is missing",
            "s.yaml:18:50: steps[11].tear.count: expected a whole number from 1 to 1000, found the number 0",
            "s.yaml:19:34: steps[12].heal.tokens: one thing is mended, and this step has clock too; make it two steps",
            "s.yaml:20:9: steps[13].heal: expected `all`, a list of two workloads or pods, or a mapping with service, \
             clock, tokens or volume",
            "s.yaml:21:9: steps[14].heal: expected `all`, a list of two workloads or pods, or a mapping with service, \
             clock, tokens or volume",
        ],
    );
}

#[test]
fn only_faults_end_after_a_time() {
    refused(
        &steps(
            "- kill: echo-v1/0/app\n  for: 5s\n- hold: {}\n  for: 5s\n- pause: echo-v1\n  for: 0s\n- pause: echo-v1\n  for: 5\n\
             - wait: 5s\n  for: 5s\n- tear: {volume: istio-data, of: echo-v1}\n  for: 5s",
        ),
        &[
            "s.yaml:9:8: steps[1].for: only faults end after a time; `for` goes with pause, partition, slow, lossy, jam, \
             disrupt, clock, expire or fill",
            "s.yaml:11:8: steps[2].for: of a `hold`, `for` stands in it: `hold: {type: EDS, for: 2s}`, \
             `hold: {link: [web, cart], for: 2s}`",
            "s.yaml:13:8: steps[3].for: expected 1ms at least, found no time at all",
            "s.yaml:15:8: steps[4].for: expected a time with its unit, such as `5s` or `5ms`, found the bare number 5",
            "s.yaml:17:8: steps[5].for: only faults end after a time; `for` goes with pause, partition, slow, lossy, jam, \
             disrupt, clock, expire or fill",
            "s.yaml:19:8: steps[6].for: only faults end after a time; `for` goes with pause, partition, slow, lossy, jam, \
             disrupt, clock, expire or fill",
        ],
    );
}

#[test]
fn targets_are_pods_that_are_deployed() {
    refused(
        &steps(
            "- disrupt: {service: ca, to: echo-v3, error: INTERNAL}\n- clock: {of: echo-v1/0/app, ahead: 1s}\n\
             - fill: {volume: istio-data, of: echo-v1/0/app}\n- heal: {service: ca, to: echo-v1/0/app}",
        ),
        &[
            "s.yaml:8:30: steps[1].disrupt.to: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:9:15: steps[2].clock.of: the containers of a pod share the clock of its node: leave the container out",
            "s.yaml:10:34: steps[3].fill.of: the containers of a pod share its volumes: leave the container out",
            "s.yaml:11:27: steps[4].heal.to: istiod knows its callers by their pods' addresses: leave the container out",
        ],
    );
    refused_step(
        "- heal: {tokens: echo-v1/1}",
        "s.yaml:8:18: steps[1].heal.tokens: workload `echo-v1` has no pod 1; its only pod is `echo-v1/0`",
    );
}

#[test]
fn delays_are_of_containers_that_some_step_deploys() {
    let with = |delays: &str| {
        steps("").replace("mesh: {istio: \"1.32\"}", &format!("mesh: {{istio: \"1.32\", delays: {delays}}}"))
    };
    open(&with("{echo-v1: {app: 5s, istio-proxy: 1s..3s}, shop/echo-v2: {app: 1ms}}")).unwrap();
    for (delays, expected) in [
        ("{echo-v3: {app: 5s}}", "no workload `echo-v3` in namespace shop; did you mean `echo-v1`?"),
        ("{echo-v1/0: {app: 5s}}", "expected a workload, such as `echo-v1`, found `echo-v1/0`"),
        ("{echo-v1: {ap: 5s}}", "unknown container \"ap\"; expected app or istio-proxy"),
        ("{istiod: {discovery: 5s}}", "istiod runs before the first step; to have it late, pause or restart it"),
        ("{echo-v1: {app: 0s}}", "a delay of no time is none; expected 1ms at least"),
        ("{echo-v1: {}}", "expected at least one container, found an empty mapping"),
        ("{echo-v1: 5s}", "expected times by container: a mapping such as `app: 5s`, found the text \"5s\""),
    ] {
        let errors = open(&with(delays)).expect_err(delays);
        assert!(errors.len() == 1 && errors[0].ends_with(expected), "{delays}: {errors:?}");
    }
}

#[test]
fn volumes_are_those_that_the_pods_can_have() {
    let names = "istio-xds, istio-data, istio-podinfo, istio-token or istiod-ca-cert";
    refused(
        &steps(
            "- fill: {volume: istio-date, of: echo-v1}\n- tear: {volume: logs, of: echo-v1/0}\n\
             - heal: {volume: istio_data, of: echo-v1}\n- fill: {volume: anything, of: istiod}",
        ),
        &[
            "s.yaml:8:18: steps[1].fill.volume: the pods of `echo-v1` have no volume `istio-date`; did you mean \
             `istio-data`?",
            &format!(
                "s.yaml:9:18: steps[2].tear.volume: the pods of `echo-v1` have no volume `logs`; they can have \
                 workload-socket, workload-certs, {names}"
            ),
            "s.yaml:10:18: steps[3].heal.volume: the pods of `echo-v1` have no volume `istio_data`; did you mean \
             `istio-data`?",
            "s.yaml:11:18: steps[4].fill.volume: istiod keeps nothing in volumes",
        ],
    );
}
