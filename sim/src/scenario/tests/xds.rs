//! `hold`, `release`, `drop`, `delay`, `reorder` and `get: {config: ...}`.

use super::{open, refused, refused_step, steps};

#[test]
fn responses_are_chosen_by_type_and_client() {
    let fine = "- hold: {type: EDS, to: echo-v1, for: 2s}\n- hold: {}\n- release: {type: [CDS, EDS], to: echo-v1/0}\n\
                - drop: {to: shop/echo-v2, count: 3}\n- delay: {type: RDS, by: 1s..5s}\n- delay: {by: 5s}\n\
                - reorder: {to: echo-v1, count: 4}\n- release: all\n- get: {config: echo-v1/0}\n\
                - together:\n  - {at: 1s..3s, hold: {type: EDS, to: echo-v1, for: 2s}}\n  - {at: 4s, release: all}";
    if let Err(errors) = open(&steps(fine)) {
        panic!("{errors:?}");
    }
}

#[test]
fn types_are_the_four() {
    refused_step(
        "- together:\n  - {at: 1s, hold: {type: EDs, to: echo-v1}}",
        "s.yaml:9:27: steps[1].together[0].hold.type: unknown xDS type \"EDs\"; expected LDS, RDS, CDS or EDS",
    );
    refused(
        &steps(
            "- hold: {type: [CDS, XDS]}\n- drop: {type: []}\n- delay: {type: [LDS, LDS], by: 1s}\n- hold: {type: 5}",
        ),
        &[
            "s.yaml:8:22: steps[1].hold.type[1]: unknown xDS type \"XDS\"; expected LDS, RDS, CDS or EDS",
            "s.yaml:9:16: steps[2].drop.type: expected an xDS type, found an empty list",
            "s.yaml:10:23: steps[3].delay.type[1]: `LDS` stands here twice",
            "s.yaml:11:16: steps[4].hold.type: expected an xDS type: LDS, RDS, CDS or EDS, found the number 5; put it into quotes if it is \
             meant: \"5\"",
        ],
    );
}

#[test]
fn each_verb_has_its_own_fields() {
    refused(
        &steps(
            "- hold: {by: 2s}\n- release: {}\n- release: EDS\n- drop: {count: 0}\n- delay: {type: EDS, for: 5s}\n\
             - delay: {by: 0s}\n- reorder: {type: EDS}\n- reorder: {count: 1}\n- hold: {for: 200h}\n- drop: {cuont: 1}",
        ),
        &[
            "s.yaml:8:10: steps[1].hold.by: `by` is for `delay`; a hold lasts `for` a time",
            "s.yaml:9:12: steps[2].release: expected which responses; to release all of them write `release: all`",
            "s.yaml:10:12: steps[3].release: expected `all`, or which responses: a mapping such as `{type: EDS, to: \
             web}`, found the text \"EDS\"",
            "s.yaml:11:17: steps[4].drop.count: expected a whole number from 1 to 1000, found the number 0",
            "s.yaml:12:10: steps[5].delay: field `by` is missing",
            "s.yaml:12:22: steps[5].delay.for: `for` is for `hold`; a delay lasts until `release`, and is `by` a time",
            "s.yaml:13:15: steps[6].delay.by: a delay of no time is none; expected 1ms at least",
            "s.yaml:14:12: steps[7].reorder: field `count` is missing",
            "s.yaml:15:20: steps[8].reorder.count: expected a whole number from 2 to 1000, found the number 1",
            "s.yaml:16:15: steps[9].hold.for: expected 168h at most, found 200h",
            "s.yaml:17:10: steps[10].drop.cuont: unknown field; did you mean `count`?",
        ],
    );
}

#[test]
fn clients_are_pods_that_are_deployed() {
    refused(
        &steps(
            "- hold: {to: echo-v3}\n- release: {to: echo-v1/1}\n- delay: {to: echo-v1/0/app, by: 1s}\n- get: {config: echo}",
        ),
        &[
            "s.yaml:8:14: steps[1].hold.to: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:9:17: steps[2].release.to: workload `echo-v1` has no pod 1; its only pod is `echo-v1/0`",
            "s.yaml:10:15: steps[3].delay.to: istiod knows the clients of a pod as one node: leave the container out",
            "s.yaml:11:17: steps[4].get.config: no workload `echo` in namespace shop; the manifests \
             deploy echo-v1 or echo-v2",
        ],
    );
}
