//! Every rule of the format with its exact message.

mod bounds;
mod calls;
mod changes;
mod eventually;
mod figures;
mod files;
mod inject;
mod links;
mod loads;
mod machines;
mod nodes;
mod one_pass;
mod reach;
mod rejection;
mod sense;
mod together;
mod trouble;
mod xds;

use hermesh_istiod::yaml;

use super::*;

const ECHO: &str = "\
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: grpc, port: 7070}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo-v1}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
      - name: app
        image: registry.istio.io/testing/app:latest
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo-v2}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
      - name: app
        image: registry.istio.io/testing/app:latest
";

/// With the pods `db-0` and `db-1`.
const SET: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: app, image: \"registry.istio.io/testing/app:latest\"}]}
";

/// What a cluster would take and Hermesh does not play.
const LATER: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: echo}\nspec: {parentRefs: [{kind: Service, name: echo}]}\n";

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

const HEADER: &str = "\
apiVersion: hermesh/v1alpha1
kind: Scenario
name: test
namespace: shop
mesh: {istio: \"1.32\"}
steps:
";

/// Reads `text` as `s.yaml` beside `echo.yaml` and `more/namespace.yaml`; diagnostics come without the folder's name.
#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
fn open(text: &str) -> Result<Scenario, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("s.yaml", text);
    write("echo.yaml", ECHO);
    write("many.yaml", &ECHO.replace("name: echo-v1}\nspec:", "name: many}\nspec:\n  replicas: 10001"));
    write("nginx.yaml", &ECHO.replace("registry.istio.io/testing/app:latest", "docker.io/nginx:1"));
    write("set.yaml", SET);
    write("set-parallel.yaml", &SET.replace("  replicas: 2\n", "  podManagementPolicy: Parallel\n"));
    write("nobodys.yaml", &ECHO.replace("{name: echo", "{namespace: nobody, name: nobody"));
    write("broken.yaml", "a: b: c\n");
    write("later.yaml", LATER);
    std::fs::create_dir(folder.path().join("more")).unwrap();
    write("more/namespace.yaml", NAMESPACE);
    std::fs::create_dir(folder.path().join("none")).unwrap();
    let prefix = format!("{}/", folder.path().display());
    Scenario::open(folder.path().join("s.yaml")).map_err(|error| {
        let errors = error.diagnostics.iter().filter(|diagnostic| diagnostic.severity == yaml::Severity::Error);
        errors.map(|error| error.to_string().replace(&prefix, "")).collect()
    })
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    match open(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(messages) => assert_eq!(messages, expected, "\n{text}"),
    }
}

/// A scenario of these steps, which begin at line 8: line 7 applies `echo.yaml`.
fn steps(steps: &str) -> String {
    format!("{HEADER}- apply: [more, echo.yaml]\n{steps}\n")
}

#[track_caller]
fn refused_step(step: &str, expected: &str) {
    refused(&steps(step), &[expected]);
}

#[test]
fn what_the_format_documents_is_accepted() {
    let scenario = open(&format!(
        "{HEADER}\
- name: Deploy
  apply: [more, echo.yaml]
- wait: {{ready: all, within: 2m}}
- wait: {{ready: [echo-v1, shop/echo-v2]}}
- get: pods
- name: Call
  call: {{from: echo-v1/0, url: [\"xds:///echo:7070\", \"grpc://echo:7070\"], count: 60, qps: 10, headers: {{end-user: j}}, message: hi, timeout: 20s, newConnectionPerRequest: true, grep: StatusCode}}
  expect: {{ok: all, to: {{echo-v1: 0..120, echo-v2: 0..120}}, share: {{echo-v1: 20%, echo-v2: 80%}}, caller: \"spiffe://a/b\"}}
- call: {{from: echo-v1, url: \"http://echo/path\"}}
  expect: {{error: UNKNOWN}}
- call: {{from: echo-v1, url: \"xds:///nobody:1\"}}
  expect: {{error: UNAVAILABLE, cause: tcp-connect}}
- kill: echo-v1/0/istio-proxy
- restart: [istiod, echo-v2]
- partition: [echo-v1, istiod]
- wait: 1m30s
- heal: [echo-v1, istiod]
- heal: all
- delete: echo.yaml
- wait: {{converged: all}}
"
    ));
    let scenario = scenario.unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    assert_eq!((scenario.name(), scenario.seed()), ("test", None));
    assert_eq!(scenario.digest().len(), 64);
}

#[test]
fn the_envelope_names_format_mesh_and_steps() {
    refused("", &["s.yaml:1:1: the file is empty; expected a scenario"]);
    refused(
        "steps: []\n",
        &[
            "s.yaml:1:1: field `apiVersion` is missing",
            "s.yaml:1:1: field `kind` is missing",
            "s.yaml:1:1: field `mesh` is missing",
            "s.yaml:1:1: field `name` is missing",
            "s.yaml:1:8: steps: expected at least one step",
        ],
    );
    refused(
        "apiVersion: hermesh/v2\nkind: Scenaro\nname: ''\nmesh: {istio: \"1.11\"}\nseed: -1\nnamespace: Shop\nsteps: {}\nabuot: x\n",
        &[
            "s.yaml:1:13: apiVersion: unknown version \"hermesh/v2\"; this Hermesh reads hermesh/v1alpha1",
            "s.yaml:2:7: kind: unknown kind \"Scenaro\"; did you mean `Scenario`?",
            "s.yaml:3:7: name: expected a name, found an empty text",
            "s.yaml:4:15: mesh.istio: Istio 1.11 is not played; 1.32 is",
            "s.yaml:5:7: seed: expected a whole number from 0, found the number -1",
            "s.yaml:6:12: namespace: \"Shop\" is no namespace: lower-case letters, digits and `-`",
            "s.yaml:7:8: steps: expected a list of steps, found a mapping",
            "s.yaml:8:1: abuot: unknown field; did you mean `about`?",
        ],
    );
}

#[test]
fn every_mistake_is_found_in_one_pass() {
    refused(
        &steps(
            "- wiat: 5s\n- wait: 60\n- call: {from: echo-v3, url: \"xds:///echo\"}\n  expect: {eror: X}\n- apply: [eco.yaml]",
        ),
        &[
            "s.yaml:8:3: steps[1].wiat: unknown step \"wiat\"; did you mean `wait`?",
            "s.yaml:9:9: steps[2].wait: expected a time with its unit, such as `60s` or `60ms`, found the bare number 60",
            "s.yaml:10:16: steps[3].call.from: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:10:30: steps[3].call.url: \"xds:///echo\" names no port; expected xds:///echo:7070 or the like",
            "s.yaml:11:12: steps[3].expect.eror: unknown field; did you mean `error`?",
            "s.yaml:12:11: steps[4].apply[0]: no file or folder `eco.yaml`; did you mean `echo.yaml`?",
        ],
    );
}

#[test]
fn a_step_does_one_thing_that_this_version_plays() {
    refused_step(
        "- {}",
        "s.yaml:8:3: steps[1]: the step does nothing; expected apply, delete, scale, label, patch, rollout, wait, get, call, load, stop, together, kill, restart, pause, resume, power, boot, shutdown, partition, slow, lossy, jam, reset, disrupt, clock, expire, fill, tear, heal, inject, eject, hold, release, drop, delay or reorder",
    );
    refused_step(
        "- wait: 5s\n  get: pods",
        "s.yaml:9:8: steps[1].get: a step does one thing, and this one has wait too; make it two steps",
    );
    refused_step(
        "- 5s",
        "s.yaml:8:3: steps[1]: expected a step: a mapping such as `apply: echo.yaml`, found the text \"5s\"",
    );
    refused_step(
        "- exec: x",
        "s.yaml:8:3: steps[1].exec: `exec` is a step of the format that this version of Hermesh does not play yet",
    );
    refused_step(
        "- wait: 5s\n  expect: {ok: all}",
        "s.yaml:9:11: steps[1].expect: only a `call`, a `stop`, `get: {config: ...}` and what changes objects have something to expect",
    );
    refused_step(
        "- get: routes",
        "s.yaml:8:8: steps[1].get: unknown thing to get \"routes\"; expected pods, nodes, deployments, statefulsets, jobs, \
         services or endpoints",
    );
}

#[test]
fn names_of_steps_are_unique() {
    refused_step(
        "- name: a\n  wait: 1s\n- name: a\n  wait: 1s",
        "s.yaml:10:9: steps[2].name: another step has this name already, at line 8",
    );
}

#[test]
fn waits_are_for_a_time_for_readiness_or_for_convergence() {
    refused_step(
        "- wait: {}",
        "s.yaml:8:9: steps[1].wait: nothing to wait for; expected a time such as `30s`, `{ready: all}`, `{converged: all}` or `{nacked: {type: CDS}}`",
    );
    refused_step(
        "- wait: {ready: all, converged: all}",
        "s.yaml:8:33: steps[1].wait.converged: a wait is for `ready` or for `converged`; make it two steps",
    );
    refused_step(
        "- wait: {converged: echo-v1}",
        "s.yaml:8:21: steps[1].wait.converged: unknown extent \"echo-v1\"; expected all",
    );
    refused_step(
        "- wait: {ready: all, within: 60}",
        "s.yaml:8:30: steps[1].wait.within: expected a time with its unit, such as `60s` or `60ms`, found the bare number 60",
    );
    refused_step(
        "- wait: {ready: echo-v1/0}",
        "s.yaml:8:17: steps[1].wait.ready: expected a workload, such as `echo-v1`, found `echo-v1/0`",
    );
    refused_step(
        "- wait: {ready: []}",
        "s.yaml:8:17: steps[1].wait.ready: expected a workload, or `all`, found an empty list",
    );
    refused(
        &format!("{HEADER}- wait: {{ready: all}}\n"),
        &["s.yaml:7:9: steps[0].wait: no step before this one deploys anything"],
    );
}

#[test]
fn calls_have_a_caller_a_url_and_numbers_that_make_sense() {
    refused_step("- call: {count: 2, qps: 10, from: echo-v1}", "s.yaml:8:9: steps[1].call: field `url` is missing");
    refused(
        &steps(
            "- call: {from: echo-v1, url: [], count: 0, qps: '10', timeout: 5, newConnectionPerRequest: yes, cont: 1}",
        ),
        &[
            "s.yaml:8:30: steps[1].call.url: expected a URL such as `xds:///echo:7070`, found an empty list",
            "s.yaml:8:41: steps[1].call.count: expected a whole number from 1 to 100000, found the number 0",
            "s.yaml:8:49: steps[1].call.qps: expected a whole number from 1 to 100000, found the text \"10\"",
            "s.yaml:8:64: steps[1].call.timeout: expected a time with its unit, such as `5s` or `5ms`, found the bare number 5",
            "s.yaml:8:92: steps[1].call.newConnectionPerRequest: expected true or false, found the text \"yes\"",
            "s.yaml:8:97: steps[1].call.cont: unknown field; did you mean `count`?",
        ],
    );
}

#[test]
fn expectations_are_of_success_or_of_failure() {
    let call =
        |expect: &str| format!("- call: {{from: echo-v1, url: \"xds:///echo:7070\", count: 5}}\n  expect: {expect}");
    let refused_expect = |expect: &str, message: &str| refused_step(&call(expect), &format!("s.yaml:9:{message}"));
    refused_expect("{}", "11: steps[1].expect: expects nothing; write what must come of the call, such as `{ok: all}`");
    refused_expect("{ok: some}", "16: steps[1].expect.ok: unknown extent \"some\"; expected all");
    refused_expect(
        "{error: UNAVAILABEL}",
        "19: steps[1].expect.error: unknown status code \"UNAVAILABEL\"; did you mean `UNAVAILABLE`?",
    );
    refused_expect(
        "{cause: tls}",
        "19: steps[1].expect.cause: unknown cause \"tls\"; expected name-resolution, no-route, no-cluster, no-endpoints, dropped, max-requests, fault-injected, tcp-connect, tls-handshake, connection-lost, deadline, application, rbac-denied or xds-server-not-serving",
    );
    refused_expect(
        "{caller: default}",
        "20: steps[1].expect.caller: expected a SPIFFE identity such as `spiffe://cluster.local/ns/shop/sa/default`, found \"default\"",
    );
    refused_expect(
        "{ok: all, error: UNAVAILABLE}",
        "16: steps[1].expect.ok: `ok` is about calls that succeed, and the same step expects every call to fail",
    );
    refused_expect(
        "{errors: none}",
        "12: steps[1].expect.errors: `errors` is for a load that is stopped; for a call write `ok: all`",
    );
    refused_expect(
        "{to: {echo-v1: 3}}",
        "16: steps[1].expect.to: these are at most 3 of the 5 calls the step makes; name who answers the others",
    );
    refused_expect(
        "{to: {echo-v1: all, echo-v2: 1}}",
        "16: steps[1].expect.to: these are at least 6 calls, and the step makes 5",
    );
    refused_expect("{to: {echo-v1: 3..2}}", "26: steps[1].expect.to.echo-v1: the range 3..2 is empty: 3 is above 2");
    refused_expect(
        "{to: {echo-v1: 2..3, shop/echo-v1: 2..3}}",
        "32: steps[1].expect.to[\"shop/echo-v1\"]: workload `shop/echo-v1` stands here twice",
    );
    refused_expect(
        "{to: {echo: all}}",
        "17: steps[1].expect.to.echo: no workload `echo` in namespace shop; the manifests deploy echo-v1 or echo-v2",
    );
}

#[test]
fn shares_sum_up_and_can_be_told_from_others() {
    let call = |count: u64, share: &str| {
        format!("- call: {{from: echo-v1, url: \"xds:///echo:7070\", count: {count}}}\n  expect: {{share: {share}}}")
    };
    let refused_share =
        |count, share: &str, message: &str| refused_step(&call(count, share), &format!("s.yaml:9:{message}"));
    refused_share(
        1000,
        "{echo-v1: 20%, echo-v2: 70%}",
        "19: steps[1].expect.share: the shares sum to 90%; expected 100%",
    );
    refused_share(
        1000,
        "{echo-v1: 20, echo-v2: 80%}",
        "29: steps[1].expect.share.echo-v1: expected a share such as `20%`, found the bare number 20",
    );
    refused_share(
        10,
        "{echo-v1: 20%, echo-v2: 80%}",
        "19: steps[1].expect.share: 10 calls cannot tell echo-v1 20% and echo-v2 80% from the swapped split; it takes 96",
    );
    refused_share(
        1,
        "{echo-v1: 50%, echo-v2: 50%}",
        "19: steps[1].expect.share: 1 call cannot tell echo-v1 50% from none or all; it takes 31",
    );
    assert!(open(&steps(&call(96, "{echo-v1: 20%, echo-v2: 80%}"))).is_ok());
}

#[test]
fn faults_name_what_is_there() {
    refused_step(
        "- kill: echo-v1",
        "s.yaml:8:9: steps[1].kill: expected a container, such as `echo-v1/0/istio-proxy`, found the workload `echo-v1`",
    );
    refused_step(
        "- kill: istiod/0",
        "s.yaml:8:9: steps[1].kill: expected a container, such as `istiod/0/discovery`, found the pod `istiod/0`",
    );
    refused_step(
        "- kill: echo-v1/1/app",
        "s.yaml:8:9: steps[1].kill: workload `echo-v1` has no pod 1; its only pod is `echo-v1/0`",
    );
    refused_step(
        "- kill: echo-v1/0/ap",
        "s.yaml:8:9: steps[1].kill: unknown container \"ap\"; expected app or istio-proxy",
    );
    refused_step(
        "- restart: [istoid]",
        "s.yaml:8:13: steps[1].restart[0]: no workload `istoid` in namespace shop; did you mean `istiod`?",
    );
    refused_step("- partition: [echo-v1]", "s.yaml:8:14: steps[1].partition: expected two workloads or pods, found 1");
    refused_step(
        "- partition: [echo-v1, echo-v1]",
        "s.yaml:8:24: steps[1].partition[1]: expected two different workloads or pods, found the same twice",
    );
    refused_step(
        "- heal: everything",
        "s.yaml:8:9: steps[1].heal: expected a list of two workloads or pods, found the text \"everything\"",
    );
}

#[test]
fn a_workload_must_be_deployed_before_it_is_named() {
    refused(
        &format!("{HEADER}- call: {{from: echo-v1, url: \"xds:///echo:7070\"}}\n- apply: [more, echo.yaml]\n"),
        &["s.yaml:7:16: steps[0].call.from: workload `echo-v1` is not deployed at this step"],
    );
    refused_step(
        "- delete: echo.yaml\n- wait: {ready: echo-v1}",
        "s.yaml:9:17: steps[2].wait.ready: workload `echo-v1` is not deployed at this step",
    );
}

#[test]
fn files_and_folders_must_be_there() {
    refused_step(
        "- apply: none",
        "s.yaml:8:10: steps[1].apply: folder `none` holds no manifest (.yaml, .yml or .json)",
    );
    refused_step("- apply: []", "s.yaml:8:10: steps[1].apply: expected a file, a folder or `-`, found an empty list");
    let messages = open(&steps("- delete: deploy/shop.yaml")).unwrap_err();
    assert!(
        messages[0].starts_with("s.yaml:8:11: steps[1].delete: no file or folder `deploy/shop.yaml` (looked for "),
        "{messages:?}"
    );
}

#[test]
fn images_are_played_and_globs_used() {
    refused(
        &format!("{HEADER}- apply: [more, nginx.yaml]\n"),
        &[
            "nginx.yaml:18:16: spec.template.spec.containers[0].image: nothing plays image \"docker.io/nginx:1\"; under `mesh.images` add `\"docker.io/nginx:*\": stand-in`",
            "nginx.yaml:30:16: spec.template.spec.containers[0].image: nothing plays image \"docker.io/nginx:1\"; under `mesh.images` add `\"docker.io/nginx:*\": stand-in`",
        ],
    );
    let with_images = |images: &str| steps("").replace("\"1.32\"", &format!("\"1.32\", images: {images}"));
    refused(
        &with_images("{\"registry.corp/*\": standin}"),
        &[
            "s.yaml:5:51: mesh.images[\"registry.corp/*\"]: unknown built-in image \"standin\"; did you mean `stand-in`?",
        ],
    );
    refused(
        &with_images("{\"registry.corp/*\": stand-in}"),
        &[
            "s.yaml:5:32: mesh.images[\"registry.corp/*\"]: no container wants an image that matches \"registry.corp/*\"; remove it",
        ],
    );
    refused(
        &with_images("{\"docker.io/*\": stand-in}").replace("echo.yaml", "nginx.yaml"),
        &["s.yaml:5:32: mesh.images[\"docker.io/*\"]: \"docker.io/*\" would also play Istio's own image \
           \"docker.io/istio/pilot:1.32.0\"; write a narrower glob"],
    );
    assert!(open(&with_images("{\"*\": stand-in}")).is_ok());
    assert!(
        open(
            &steps("")
                .replace("echo.yaml", "nginx.yaml")
                .replace("\"1.32\"", "\"1.32\", images: {\"docker.io/nginx:*\": stand-in}")
        )
        .is_ok()
    );
}

#[test]
fn latency_has_units_and_a_direction() {
    let with = |latency: &str| steps("").replace("\"1.32\"", &format!("\"1.32\", latency: {latency}"));
    refused(
        &with("5"),
        &["s.yaml:5:32: mesh.latency: expected a time with its unit, such as `5s` or `5ms`, found the bare number 5"],
    );
    refused(&with("20ms..1ms"), &["s.yaml:5:32: mesh.latency: the range 20ms..1ms is empty: 20ms is longer than 1ms"]);
    assert!(open(&with("1ms..20ms")).is_ok());
}

#[test]
fn objects_in_the_same_file_keep_their_lines() {
    let own = format!("{HEADER}- wait: {{ready: all}}\n---\n{NAMESPACE}---\n{ECHO}");
    assert!(open(&own).is_ok());
    let broken = own.replacen("kind: Deployment", "kind: Deploymnet", 1);
    let line = broken.lines().position(|line| line == "kind: Deploymnet").unwrap() + 1;
    let messages = open(&broken).unwrap_err();
    assert!(messages.iter().any(|message| message.starts_with(&format!("s.yaml:{line}:"))), "{messages:?}");
}

#[test]
fn yaml_that_does_not_parse_says_where() {
    let messages = open("apiVersion: hermesh/v1alpha1\nsteps: [\n").unwrap_err();
    assert!(messages[0].starts_with("s.yaml:"), "{messages:?}");
    let messages = open(&steps("- wait: 5s\n  wait: 6s")).unwrap_err();
    assert!(messages[0].starts_with("s.yaml:9:3: "), "{messages:?}");
    assert!(Scenario::open(Path::new("no/such.yaml")).unwrap_err().to_string().starts_with("no/such.yaml:1:1: "));
}

#[test]
fn a_call_right_after_an_apply_gets_a_note() {
    let scenario = open(&steps("- call: {from: echo-v1, url: \"xds:///echo:7070\"}")).unwrap();
    let notes: Vec<_> = scenario.notes().iter().filter(|note| note.code == "unsettled").collect();
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].location.line, 8);
    let settled = open(&steps("- wait: {converged: all}\n- call: {from: echo-v1, url: \"xds:///echo:7070\"}")).unwrap();
    assert!(settled.notes().iter().all(|note| note.code != "unsettled"));
}

/// A whole scenario, to be damaged.
const WHOLE: &str = "\
apiVersion: hermesh/v1alpha1
kind: Scenario
name: test
about: Something.
namespace: shop
seed: 3
mesh: {istio: \"1.32\", latency: 1ms..20ms}
steps:
- name: Deploy
  apply: [more, echo.yaml]
- wait: {ready: all, within: 2m}
- get: pods
- name: Call
  call: {from: echo-v1, url: [\"xds:///echo:7070\"], count: 100, qps: 10, headers: {a: b}}
  expect: {ok: all, share: {echo-v1: 20%, echo-v2: 80%}, to: {echo-v1: 0..100, echo-v2: 0..100}}
- call: {from: echo-v1, url: \"xds:///echo:7070\"}
  expect: {error: UNAVAILABLE, cause: tls-handshake}
- kill: echo-v1/0/app
- partition: [echo-v1, istiod]
- heal: all
";

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(500))]

    /// Whatever happens to a file, it is understood or refused with places, and never more than that.
    #[test]
    fn damaged_files_are_refused_without_a_panic(
        edits in proptest::collection::vec((0..WHOLE.len(), 0_usize..12, "[ -~\n]{0,6}"), 1..4)
    ) {
        let mut text = WHOLE.to_owned();
        for (at, length, insert) in edits {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.replace_range(at..end, &insert);
        }
        if let Err(messages) = open(&text) {
            proptest::prop_assert!(!messages.is_empty());
            for message in messages {
                let place = message.split(": ").next().unwrap_or_default();
                let numbers: Vec<&str> = place.rsplitn(3, ':').take(2).collect();
                proptest::prop_assert!(numbers.iter().all(|number| number.parse::<u32>().is_ok()), "{}", message);
            }
        }
    }
}

#[test]
fn the_file_that_is_damaged_above_is_whole() {
    open(WHOLE).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
}
