//! Scenarios in which something is expected to be rejected, played.

use std::path::Path;

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{Run, RunError, RunOptions, Scenario, Verdict};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

#[test]
fn the_example_holds_on_both_networks() {
    let scenario = Scenario::open(Path::new(EXAMPLES).join("kubernetes/rejected.yaml")).unwrap();
    for network in [Network::Simulated, Network::Turmoil] {
        let run = scenario.run(&RunOptions::seed(1).network(network)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    }
}

/// What `kubectl apply` would send, the API server refuses; nothing is guessed in its place.
#[test]
fn a_manifest_that_does_not_fit_what_others_have_set_is_refused() {
    let rule = |balancer: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web}}\n\
             spec: {{host: web, trafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}}}\n"
        )
    };
    let mut mesh = hermesh::mesh().start();
    mesh.apply(rule("ROUND_ROBIN"));
    let hash = "spec: {trafficPolicy: {loadBalancer: {simple: null, consistentHash: {httpHeaderName: x}}}}";
    mesh.patch("dr/web", hash);
    let error = mesh.try_apply(rule("LEAST_REQUEST")).unwrap_err().to_string();
    let expected =
        "spec.trafficPolicy.loadBalancer: expected one of simple or consistentHash; others have changed the object";
    assert!(error.contains(expected), "{error}");
    mesh.patch("dr/web", "spec: {trafficPolicy: {loadBalancer: {consistentHash: null}}}").apply(rule("LEAST_REQUEST"));
}

#[test]
fn an_endpoint_that_only_its_own_pod_could_call_is_refused() {
    let slice = |address: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: a}}\naddressType: IPv4\n\
             endpoints: [{{addresses: [{address}]}}]\nports: [{{port: 80}}]\n"
        )
    };
    let mut mesh = hermesh::mesh().start();
    let error = mesh.try_apply(slice("127.0.0.1")).unwrap_err().to_string();
    assert!(error.contains("endpoints[0].addresses[0]: 127.0.0.1 is a loopback address"), "{error}");
    mesh.apply(slice("10.0.0.1"));
}

/// Plays steps after the one that deploys echo.
#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
fn play(steps: &str) -> Result<Run, RunError> {
    let folder = tempfile::tempdir().unwrap();
    for file in ["namespace.yaml", "grpc-echo.yaml"] {
        std::fs::copy(Path::new(EXAMPLES).join("grpc-echo").join(file), folder.path().join(file)).unwrap();
    }
    let other = "apiVersion: v1\nkind: Service\nmetadata: {name: other}\nspec:\n  clusterIP: 10.96.0.77\n  ports: [{port: 1}]\n";
    std::fs::write(folder.path().join("service.yaml"), other).unwrap();
    std::fs::write(folder.path().join("same.yaml"), other.replace("other", "same")).unwrap();
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nnamespace: echo-grpc\nmesh: {{istio: \"1.32\"}}\nsteps:\n\
         - apply: [namespace.yaml, grpc-echo.yaml]\n{steps}"
    );
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::open(&path).unwrap_or_else(|error| panic!("{error}"));
    scenario.run(&RunOptions::seed(1))
}

#[test]
fn what_other_objects_decide_shows_when_the_step_comes() {
    let run = play("- apply: service.yaml\n- apply: same.yaml\n  expect: {rejected: is the address of}\n").unwrap();
    assert_eq!(run.verdict, Verdict::Held);
    let refused: Vec<String> =
        run.trace.events().iter().map(|event| event.to_json()).filter(|json| json.contains("mesh.rejected")).collect();
    assert!(refused.len() == 1 && refused[0].contains("10.96.0.77 is the address of Service echo-grpc/other already"));
}

#[test]
fn what_is_accepted_fails_the_step_and_so_does_another_reason() {
    for (steps, seen) in [
        ("- apply: service.yaml\n  expect: rejected\n", "accepted: 1 created"),
        ("- scale: {echo-v1: 2}\n  expect: rejected\n", "accepted: 1 configured"),
        (
            "- label: {service/echo: {bad label: x}}\n  expect: {rejected: no such reason}\n",
            "steps[1].label[\"service/echo\"][\"bad label\"]: invalid label key \"bad label\"",
        ),
    ] {
        let run = play(steps).unwrap();
        assert_eq!(run.verdict, Verdict::Failed, "{steps}");
        let failure = run.steps.last().unwrap().failure.as_ref().unwrap();
        assert!(failure.seen.ends_with(seen), "{failure:?}");
    }
}

#[test]
fn what_is_beyond_hermesh_is_refused_before_the_first_step() {
    let RunError::Setting(error) = play("- scale: {echo-v1: 20000}\n").unwrap_err() else { panic!("it starts") };
    let told = error.to_string();
    assert!(told.contains("steps[1].scale.echo-v1: 2000") && told.contains("more than the 10000"), "{told}");
}

#[test]
fn a_scale_beyond_hermesh_is_no_rejection() {
    let run = play("- scale: {echo-v1: 20000}\n  expect: rejected\n").unwrap();
    assert_eq!(run.verdict, Verdict::Failed);
    let seen = &run.steps.last().unwrap().failure.as_ref().unwrap().seen;
    assert!(seen.contains("more than the 10000"), "{seen}");
}

#[test]
fn numbers_that_the_api_server_or_istiod_refuses_are_rejections() {
    for step in [
        "- patch: {object: deployment/echo-v1, with: {spec: {replicas: -1}}}\n  expect: rejected\n",
        "- patch: {object: service/echo, with: {spec: {ports: [{name: grpc, port: 70700}]}}}\n  expect: rejected\n",
    ] {
        let run = play(step).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_eq!(run.verdict, Verdict::Held, "{step}");
    }
}

#[test]
fn a_text_that_only_says_where_is_no_reason() {
    let patch = "- patch: {object: deployment/echo-v1, with: {spec: {replicas: -1}}}";
    let run = play(&format!("{patch}\n  expect: {{rejected: patch}}\n")).unwrap();
    assert_eq!(run.verdict, Verdict::Failed);
}

/// A cluster takes the workload, and its pods do not come.
#[test]
fn an_annotation_that_the_injection_webhook_refuses_is_no_rejection_of_a_workload() {
    let with = "{spec: {template: {metadata: {annotations: {sidecar.istio.io/proxyCPU: half}}}}}";
    let patch = format!("- patch: {{object: deployment/echo-v1, with: {with}}}\n  expect: rejected\n");
    let run = play(&patch).unwrap();
    assert_eq!(run.verdict, Verdict::Failed);
    let seen = &run.steps.last().unwrap().failure.as_ref().unwrap().seen;
    assert!(seen.contains("annotation sidecar.istio.io/proxyCPU: `half`"), "{seen}");
}
