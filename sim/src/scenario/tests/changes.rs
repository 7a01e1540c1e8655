//! `scale`, `label`, `patch` and `rollout`.

use super::{open, refused, refused_step, steps};

#[test]
fn objects_are_changed_by_name() {
    let fine = "\
- scale: {echo-v1: 3, echo-v2: 0, istiod: 2}
- label: {namespace/shop: {istio-injection: disabled, old: null, empty: \"\"}, svc/echo: {tier: \"1\"}}
- patch: {object: deployment/echo-v1, with: {spec: {minReadySeconds: 5, template: {metadata: {labels: {new: x}}}}}}
- patch: {object: istio-system/deploy/istiod, with: {metadata: {annotations: {a: b}}}}
- rollout: {restart: [echo-v1, istio-system/istiod]}
- restart: echo-v1/2
- together:
  - {at: 0s, scale: {echo-v1: 1}}
  - {at: 1s, rollout: {restart: echo-v1}}
  - {at: 1s, label: {deployment/echo-v1: {a: b}}}
  - {at: 2s, patch: {object: deployment/echo-v1, with: {spec: {paused: null}}}}";
    assert_eq!(open(&steps(fine)).map(|_| ()), Ok(()));
}

#[test]
fn what_is_not_there_is_told_with_the_nearest_name() {
    refused(
        &steps(
            "\
- scale: {echo-v3: 2}
- rollout: {restart: echo-v1/0}
- label: {deploymnt/echo-v1: {a: b}, deployment/ehco-v1: {a: b}, namespace/shpo: {a: b}}
- label: {service/echo-v1: {a: b}, configmap/none: {a: b}, bank/service/echo: {a: b}}
- patch: {object: echo-v1, with: {spec: {replicas: 1}}}
- delete: echo.yaml
- scale: {echo-v1: 2}
- patch: {object: deployment/echo-v1, with: {spec: {replicas: 1}}}",
        ),
        &[
            "s.yaml:8:11: steps[1].scale.echo-v3: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:9:22: steps[2].rollout.restart: expected a workload, such as `echo-v1`, found `echo-v1/0`",
            "s.yaml:10:11: steps[3].label[\"deploymnt/echo-v1\"]: unknown kind \"deploymnt\" in \"deploymnt/echo-v1\"; \
             did you mean `deployment`?",
            "s.yaml:10:38: steps[3].label[\"deployment/ehco-v1\"]: no Deployment `ehco-v1` in namespace shop; did you \
             mean `echo-v1`?",
            "s.yaml:10:66: steps[3].label[\"namespace/shpo\"]: no Namespace `shpo`; did you mean `shop`?",
            "s.yaml:11:11: steps[4].label[\"service/echo-v1\"]: no Service `echo-v1` in namespace shop; did you mean \
             `deployment/echo-v1`?",
            "s.yaml:11:36: steps[4].label[\"configmap/none\"]: no ConfigMap `none` in namespace shop; no manifest has \
             one there",
            "s.yaml:11:60: steps[4].label[\"bank/service/echo\"]: no Service `echo` in namespace bank; no manifest has \
             one there",
            "s.yaml:12:19: steps[5].patch.object: expected an object such as `deployment/web` or `shop/service/web`, \
             found \"echo-v1\"",
            "s.yaml:14:11: steps[7].scale.echo-v1: workload `echo-v1` is not deployed at this step",
            "s.yaml:15:19: steps[8].patch.object: Deployment `echo-v1` is not there at this step",
        ],
    );
}

#[test]
fn no_deployment_is_restarted_while_it_is_paused() {
    refused(
        &steps(
            "\
- patch: {object: deployment/echo-v1, with: {spec: {paused: true}}}
- rollout: {restart: [echo-v1, echo-v2]}
- patch: {object: deployment/echo-v1, with: {spec: {paused: false}}}
- rollout: {restart: echo-v1}",
        ),
        &[
            "s.yaml:9:23: steps[2].rollout.restart[0]: Deployment shop/echo-v1 is paused, and kubectl restarts none that \
           is; patch it first, with {spec: {paused: false}}",
        ],
    );
}

#[test]
fn what_a_patch_makes_of_an_object_is_looked_at_in_the_patch() {
    refused(
        &steps(
            "\
- patch:
    object: deployment/echo-v1
    with:
      spec:
        replicas: many
        template:
          metadata: {labels: {app: other}}
- patch: {object: deployment/echo-v1, with: {spec: {replcas: 2, selector: null}}}
- patch: {object: deployment/echo-v1, with: {metadata: {name: web}}}
- patch: {object: deployment/echo-v1, with: {spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}}}
- patch: {object: deployment/echo-v1, with: {spec: {template: {spec: {containers: [{name: app, image: \"nobody/knows:1\"}]}}}}}
- label: {service/echo: {bad label: x, fine: \"no/good\"}}",
        ),
        &[
            "s.yaml:12:9: steps[1].patch.with.spec.selector.matchLabels: does not match the template's labels; add \
             `app: echo` to spec.template.metadata.labels",
            "s.yaml:12:19: steps[1].patch.with.spec.replicas: expected a whole number, found a string (many)",
            "s.yaml:15:62: steps[2].patch.with.spec.replcas: unknown field; did you mean `replicas`?",
            "s.yaml:15:75: steps[2].patch.with.spec.selector: missing; a Deployment needs the labels of its pods, such \
             as `matchLabels: {app: echo}`",
            "s.yaml:16:63: steps[3].patch.with.metadata.name: no patch makes another object of Deployment shop/echo-v1",
            "s.yaml:17:63: steps[4].patch.with.spec.selector: field is immutable; delete the Deployment first",
            "s.yaml:18:103: steps[5].patch.with.spec.template.spec.containers[0].image: nothing plays image \
             \"nobody/knows:1\"; under `mesh.images` add `\"nobody/*\": stand-in`",
            "s.yaml:19:37: steps[6].label[\"service/echo\"][\"bad label\"]: invalid label key \"bad label\"",
            "s.yaml:19:46: steps[6].label[\"service/echo\"].fine: invalid label value \"no/good\"; use up to 63 letters, \
             digits, dashes, underscores and dots, a letter or digit first and last",
        ],
    );
}

#[test]
fn shapes_are_told_as_everywhere() {
    refused(
        &steps(
            "\
- scale: {echo-v1: -1}
- scale: {}
- scale: {echo-v1: 2, shop/echo-v1: 3}
- label: {deployment/echo-v1: {a: 5}}
- label: {deployment/echo-v1: {}}
- patch: {with: {spec: {}}}
- patch: {object: deployment/echo-v1, with: {}, type: merge}
- rollout: {undo: echo-v1}
- rollout: {restart: []}
- rollout: {restart: [echo-v1, echo-v1]}",
        ),
        &[
            "s.yaml:8:20: steps[1].scale.echo-v1: expected a whole number from 0 to 2147483647, found the number -1",
            "s.yaml:9:10: steps[2].scale: expected how many pods each workload is to have: a mapping such as `{web: \
             5}`, found an empty one",
            "s.yaml:10:23: steps[3].scale[\"shop/echo-v1\"]: `shop/echo-v1` stands here twice",
            "s.yaml:11:35: steps[4].label[\"deployment/echo-v1\"].a: expected the label's value, or `null` to remove it, \
             found the number 5; put it into quotes if it is meant: \"5\"",
            "s.yaml:12:31: steps[5].label[\"deployment/echo-v1\"]: expected labels: a mapping such as \
             `{istio-injection: disabled}`, found an empty one",
            "s.yaml:13:10: steps[6].patch: field `object` is missing",
            "s.yaml:14:45: steps[7].patch.with: expected what to change: a mapping such as `{spec: {replicas: 3}}`, \
             found an empty one",
            "s.yaml:14:49: steps[7].patch.type: a patch is a JSON merge patch; leave the type out",
            "s.yaml:15:12: steps[8].rollout: field `restart` is missing",
            "s.yaml:15:13: steps[8].rollout.undo: only `restart` is played; apply or patch the object, and wait until it \
             is ready",
            "s.yaml:16:22: steps[9].rollout.restart: expected a workload, found an empty list",
            "s.yaml:17:32: steps[10].rollout.restart[1]: `echo-v1` stands here twice",
        ],
    );
    refused_step(
        "- label: {deployment/echo-v1: [a]}",
        "s.yaml:8:31: steps[1].label[\"deployment/echo-v1\"]: expected labels: a mapping such as `{istio-injection: \
         disabled}`, found a list",
    );
}

#[test]
fn calls_and_ordinals_know_what_was_changed() {
    refused(
        &steps(
            "\
- scale: {echo-v1: 3}
- kill: echo-v1/3/app
- scale: {echo-v1: 0}
- restart: echo-v1
- patch: {object: service/echo, with: {spec: {ports: [{name: grpc, port: 8080}]}}}
- call: {from: echo-v2, url: \"xds:///echo:7070\"}
- apply: echo.yaml
- call: {from: echo-v2, url: \"xds:///echo:8080\"}",
        ),
        &[
            "s.yaml:9:9: steps[2].kill: workload `echo-v1` has no pod 3; its pods are 0 to 2",
            "s.yaml:11:12: steps[4].restart: workload `echo-v1` has no pods: its Deployment says `replicas: 0`",
            "s.yaml:13:30: steps[6].call.url: Service `echo` has no port 7070; expected 8080; if the call is to fail, \
             expect its `error`",
            "s.yaml:15:30: steps[8].call.url: Service `echo` has no port 8080; expected 7070; if the call is to fail, \
             expect its `error`",
        ],
    );
}

#[test]
fn what_manifests_may_not_change_is_known_before_the_first_step() {
    refused_step(
        "- apply: set.yaml\n- wait: 1s\n- apply: set-parallel.yaml",
        "set-parallel.yaml:5:24: spec.podManagementPolicy: field is immutable; delete the StatefulSet first",
    );
    for fine in [
        "- apply: set.yaml\n- delete: set.yaml\n- apply: set-parallel.yaml",
        "- apply: set.yaml\n- apply: set-parallel.yaml\n  expect: {rejected: immutable}",
    ] {
        open(&steps(fine)).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    }
}
