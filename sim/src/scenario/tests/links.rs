//! `partition`, `slow`, `lossy`, `jam` and `reset`.

use super::{open, refused, refused_step, steps};

#[test]
fn links_are_named_by_both_ends_or_in_one_direction() {
    let fine = "- partition: {from: echo-v1, to: istiod}\n- jam: [echo-v1, echo-v2]\n- jam: {from: echo-v1/0, to: echo-v2}\n\
                - slow: {between: [echo-v1, echo-v2], latency: 5ms}\n- slow: {from: istiod, to: echo-v2, latency: 0s..30s}\n\
                - lossy: {between: [echo-v1, echo-v2], loss: 0.5%}\n- lossy: {from: echo-v1, to: echo-v2, loss: 99.999%}\n\
                - reset: [echo-v1, istiod]\n- together:\n  - {at: 1s..2s, slow: {from: echo-v1, to: echo-v2, latency: 1s}}";
    open(&steps(fine)).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    refused(
        &steps(
            "- partition: {from: echo-v1}\n- slow: {from: echo-v1, to: echo-v2}\n\
             - lossy: {between: [echo-v1, echo-v2], from: echo-v1, loss: 10%}\n- jam: {between: [echo-v1, echo-v2]}\n\
             - slow: {from: echo-v1, to: echo-v2, latency: 1s, loss: 1%}\n- reset: {from: echo-v1, to: echo-v2}\n\
             - jam: echo-v1\n- jam: {link: [echo-v1, echo-v2]}\n- partition: {between: [echo-v1, echo-v2], to: echo-v1}",
        ),
        &[
            "s.yaml:8:14: steps[1].partition: field `to` is missing",
            "s.yaml:9:9: steps[2].slow: field `latency` is missing",
            "s.yaml:10:46: steps[3].lossy.from: `from` is for one direction, `between` for both; write one of them",
            "s.yaml:11:9: steps[4].jam.between: for both directions write a list of the two: `[web, cart]`",
            "s.yaml:12:51: steps[5].slow.loss: packets are lost by `lossy`; make it two steps",
            "s.yaml:13:10: steps[6].reset: expected a list of two workloads or pods, found a mapping",
            "s.yaml:14:8: steps[7].jam: expected a list of two workloads or pods, or a mapping with `from` and `to`, found \
             the text \"echo-v1\"",
            "s.yaml:15:9: steps[8].jam.link: `link` is of `hold` and `release`; write the two without it: `[web, cart]`, or \
             `from` and `to`",
            "s.yaml:16:14: steps[9].partition: field `from` is missing",
            "s.yaml:16:15: steps[9].partition.between: for both directions write a list of the two: `[web, cart]`",
        ],
    );
}

#[test]
fn links_are_held_and_released_by_the_words_for_responses() {
    let fine = "- hold: {link: [echo-v1, echo-v2]}\n- hold: {link: {from: echo-v1, to: istiod}, for: 2s}\n\
                - release: {link: {from: echo-v1, to: echo-v2/0}}\n- release: all\n\
                - together:\n  - {at: 1s, hold: {link: [echo-v1, echo-v2], for: 1s}}\n\
                \x20 - {at: 3s, release: {link: [echo-v1, echo-v2]}}";
    open(&steps(fine)).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    refused(
        &steps(
            "- hold: {link: [echo-v1], type: EDS}\n- hold: {link: {from: echo-v1, to: echo-v1}, for: 0s}\n\
             - release: {link: [echo-v1, ehco-v2], for: 2s}\n- eject: {link: [echo-v1, echo-v2]}\n\
             - hold: {link: [echo-v1, echo-v2]}\n  for: 5s\n- hold: {lnik: [echo-v1, echo-v2], to: echo-v1}",
        ),
        &[
            "s.yaml:8:16: steps[1].hold.link: expected two workloads or pods, found 1",
            "s.yaml:8:27: steps[1].hold.type: `type` is of responses, which have no `link`; make it two steps",
            "s.yaml:9:36: steps[2].hold.link.to: expected two different workloads or pods, found the same twice",
            "s.yaml:9:51: steps[2].hold.for: expected 1ms at least, found no time at all",
            "s.yaml:10:29: steps[3].release.link[1]: no workload `ehco-v2` in namespace shop; did you mean `echo-v2`?",
            "s.yaml:10:39: steps[3].release.for: unknown field; expected link",
            "s.yaml:11:11: steps[4].eject.link: unknown field; expected type or to",
            "s.yaml:13:8: steps[5].for: of a `hold`, `for` stands in it: `hold: {type: EDS, for: 2s}`, \
             `hold: {link: [web, cart], for: 2s}`",
            "s.yaml:14:10: steps[6].hold.lnik: unknown field; did you mean `link`?",
        ],
    );
}

#[test]
fn how_slow_and_how_lossy_has_bounds() {
    refused(
        &steps(
            "- slow: {from: echo-v1, to: echo-v2, latency: 31s}\n- slow: {from: echo-v1, to: echo-v2, latency: 0s}\n\
             - lossy: {from: echo-v1, to: echo-v2, loss: 100%}\n- lossy: {from: echo-v1, to: echo-v2, loss: 0%}\n\
             - lossy: {from: echo-v1, to: echo-v2, loss: 10}",
        ),
        &[
            "s.yaml:8:47: steps[1].slow.latency: expected 30s at most, found 31s",
            "s.yaml:9:47: steps[2].slow.latency: no packet is slower by no time; expected 1ms at least",
            "s.yaml:10:45: steps[3].lossy.loss: if every packet is lost, that is a `partition`; expected less than 100%",
            "s.yaml:11:45: steps[4].lossy.loss: no packet is lost of 0%; expected more",
            "s.yaml:12:45: steps[5].lossy.loss: expected a share such as `10%`, found the bare number 10",
        ],
    );
}

#[test]
fn the_ends_of_a_link_are_checked_as_those_of_a_partition() {
    refused_step(
        "- slow: {from: echo-v1, to: echo-v3, latency: 1s}",
        "s.yaml:8:29: steps[1].slow.to: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
    );
    refused_step(
        "- jam: {from: echo-v1, to: echo-v1/0}",
        "s.yaml:8:28: steps[1].jam.to: `echo-v1/0` is a pod of `echo-v1`; expected two workloads or pods with a network \
         between them",
    );
    refused_step(
        "- lossy: {from: echo-v1, to: echo-v1, loss: 1%}",
        "s.yaml:8:30: steps[1].lossy.to: expected two different workloads or pods, found the same twice",
    );
    refused_step(
        "- reset: [echo-v1/0/app, echo-v2]",
        "s.yaml:8:11: steps[1].reset[0]: the network ends at pods: leave the container out",
    );
}
