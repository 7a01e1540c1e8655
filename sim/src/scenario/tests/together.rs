//! `together`.

use super::{open, refused, steps};

#[test]
fn things_are_done_together_at_times_or_within_ranges() {
    let fine = "- together:\n  - {at: 0s, apply: echo.yaml}\n  - {at: 500ms..2s, restart: istiod}\n  \
                - {at: 1s, partition: [echo-v1, istiod]}\n  - {at: 3s, heal: all}";
    assert!(open(&steps(fine)).is_ok());
}

#[test]
fn what_is_not_done_at_once_has_no_place_there() {
    refused(
        &steps("- together:\n  - {at: 1s, wait: 5s}\n  - {at: 1s, name: x, restart: istiod}"),
        &[
            "s.yaml:9:14: steps[1].together[0].wait: `wait` takes time or shows something; only what is done at once has \
             a place here",
            "s.yaml:10:14: steps[1].together[1].name: what is done together has one name, that of the step",
        ],
    );
    refused(
        &steps(
            "- together:\n  - {at: 1s}\n  - {at: 1s, kil: istiod}\n  - {at: 1s, heal: all, restart: istiod}\n  - 5s",
        ),
        &[
            "s.yaml:9:5: steps[1].together[0]: nothing is done here; expected apply, delete, scale, label, patch, \
             rollout, kill, restart, pause, resume, power, boot, shutdown, partition, slow, \
             lossy, jam, reset, disrupt, clock, expire, fill, tear, heal, inject, eject, hold, release, drop, delay or reorder",
            "s.yaml:10:14: steps[1].together[1].kil: unknown thing to do \"kil\"; did you mean `kill`?",
            "s.yaml:11:20: steps[1].together[2].heal: one thing has one time, and this one has restart too; write it as \
             two",
            "s.yaml:12:5: steps[1].together[3]: expected a thing to do at its time: a mapping such as `{at: 1s..3s, \
             restart: istiod}`, found the text \"5s\"",
        ],
    );
}

#[test]
fn times_and_names_are_checked_as_everywhere() {
    refused(
        &steps("- together:\n  - {restart: istiod}\n  - {at: 3s..1s, restart: echo-v3}\n  - {at: 200h, kill: istiod}"),
        &[
            "s.yaml:9:5: steps[1].together[0]: field `at` is missing",
            "s.yaml:10:10: steps[1].together[1].at: the range 3s..1s is empty: 3s is longer than 1s",
            "s.yaml:11:10: steps[1].together[2].at: expected 168h at most, found 200h",
        ],
    );
    refused(
        &steps("- together:\n  - {at: 1s, restart: echo-v3}\n  - {at: 1s, apply: nowhere.yaml}"),
        &[
            "s.yaml:9:23: steps[1].together[0].restart: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:10:21: steps[1].together[1].apply: no file or folder `nowhere.yaml` (looked for nowhere.yaml)",
        ],
    );
}
