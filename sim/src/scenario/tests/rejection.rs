//! `expect: rejected`.

use super::{open, refused, refused_step, steps};

#[test]
fn what_is_expected_to_be_rejected_is_no_mistake() {
    let fine = "\
- apply: nobodys.yaml
  expect: {rejected: \"namespace \\\"nobody\\\" not found\"}
- patch: {object: deployment/echo-v1, with: {spec: {replicas: many}}}
  expect: rejected
- patch: {object: deployment/echo-v1, with: {spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}}}
  expect: {rejected: immutable}
- label: {service/echo: {bad label: x}}
  expect: rejected
- scale: {echo-v1: 2}
  expect: rejected
- restart: echo-v1/0";
    assert_eq!(open(&steps(fine)).map(|_| ()), Ok(()));
}

#[test]
fn what_is_rejected_is_not_there_later_on() {
    refused(
        &steps(
            "\
- scale: {echo-v1: 3}
  expect: rejected
- kill: echo-v1/2/app
- apply: nobodys.yaml
  expect: rejected
- restart: nobody",
        ),
        &[
            "s.yaml:10:9: steps[2].kill: workload `echo-v1` has no pod 2; its only pod is `echo-v1/0`",
            "s.yaml:13:12: steps[4].restart: no workload `nobody` in namespace shop; the manifests deploy echo-v1 or \
             echo-v2",
        ],
    );
}

#[test]
fn what_a_cluster_would_not_reject_is_a_mistake_all_the_same() {
    refused(
        &steps(
            "\
- apply: [nowhere.yaml, broken.yaml, later.yaml]
  expect: rejected
- patch: {object: deployment/ehco-v1, with: {spec: {replicas: many}}}
  expect: rejected
- label: {service/echo: {a: b}, deployment/echo-v1: {a: b}}
  expect: rejected",
        ),
        &[
            "broken.yaml:1:5: invalid YAML: mapping values are not allowed in this context; is a line indented too far, or \
             does a value with `: ` need quotes?",
            "later.yaml:2:7: kind: HTTPRoute is not supported yet; a real mesh would act on it",
            "s.yaml:8:11: steps[1].apply[0]: no file or folder `nowhere.yaml` (looked for nowhere.yaml)",
            "s.yaml:10:19: steps[2].patch.object: no Deployment `ehco-v1` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:13:11: steps[3].expect: several objects are changed here, one after the other; expect a rejection of \
             one",
        ],
    );
    refused_step(
        "- apply: echo.yaml\n  expect: refused",
        "s.yaml:9:11: steps[1].expect: unknown expectation \"refused\"; expected rejected",
    );
    refused_step(
        "- apply: echo.yaml\n  expect: {ok: all}",
        "s.yaml:9:12: steps[1].expect.ok: unknown field; expected rejected",
    );
    refused_step("- apply: echo.yaml\n  expect: {}", "s.yaml:9:11: steps[1].expect: field `rejected` is missing");
    refused_step(
        "- rollout: {restart: echo-v1}\n  expect: rejected",
        "s.yaml:9:11: steps[1].expect: only a `call`, a `stop`, `get: {config: ...}` and what changes objects have something to expect",
    );
}
