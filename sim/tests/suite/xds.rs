//! Scenarios with istiod's responses in hand, played: those of `examples/xds`, and what is told where one fails.

use std::time::Duration;

use hermesh::engine::Network;
use hermesh::scenario::{Run, RunOptions, Verdict};
use hermesh::{Load, RecordedError, Resource, ResourceType, Responses, report};

use super::played::{EXAMPLES, example, play};

/// What the failure of the last step says: what was seen, then why, a line each.
fn why(run: &Run) -> Vec<String> {
    assert_eq!(run.verdict, Verdict::Failed);
    let failure = run.steps.last().unwrap().failure.as_ref().unwrap();
    std::iter::once(failure.seen.clone()).chain(failure.why.iter().cloned()).collect()
}

/// That lines with these parts come one after the other.
#[track_caller]
fn in_order(lines: &[String], parts: &[&str]) {
    let mut rest = lines.iter();
    for part in parts {
        assert!(rest.any(|line| line.contains(part)), "{part:?} is missing, or in another order: {lines:#?}");
    }
}

#[test]
fn the_examples_hold_with_any_seed_and_on_both_networks() {
    for name in [
        "late-endpoints.yaml",
        "late-routes.yaml",
        "recorded-routes.yaml",
        "rejected-cluster.yaml",
        "what-clients-use.yaml",
    ] {
        let scenario = example(&format!("xds/{name}"));
        for (seed, network) in
            [(1, Network::Simulated), (2, Network::Simulated), (3, Network::Simulated), (1, Network::Turmoil)]
        {
            let run = scenario.run(&RunOptions::seed(seed).network(network)).unwrap();
            assert_eq!(run.verdict, Verdict::Held, "{name}\n{}", report::human(&run, &report::Styles::plain()));
        }
    }
}

#[test]
fn what_clients_have_shows_as_their_own_status_tells() {
    let run = play(
        "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 10}\n- wait: 1s\n- get: {config: echo-v1}\n- stop: a\n",
    );
    let text = report::human(&run, &report::Styles::plain());
    let table: Vec<&str> = text.lines().skip_while(|line| !line.contains("PROCESS")).take(6).collect();
    let cells = |line: &str, columns: [usize; 3]| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        columns.map(|column| cells[column].to_owned())
    };
    assert_eq!(cells(table[0], [1, 2, 4]), ["CLIENT", "TYPE", "STATUS"], "{text}");
    assert_eq!(cells(table[1], [1, 2, 4]), ["#server", "LDS", "ACKED"], "{text}");
    let rows = table[2..].iter().map(|row| cells(row, [1, 2, 4]));
    let expected = ["LDS", "RDS", "CDS", "EDS"].map(|kind| ["xds:///echo:7070", kind, "ACKED"].map(str::to_owned));
    assert_eq!(rows.collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn what_clients_use_shows_as_json_that_can_be_injected_again() {
    let run = example("xds/what-clients-use.yaml").run(&RunOptions::seed(1)).unwrap();
    let text = report::human(&run, &report::Styles::plain());
    let shown = text.lines().skip_while(|line| !line.contains("get config of echo-v1, as JSON")).skip(1);
    let shown: Vec<&str> = shown.take_while(|line| !line.contains("held")).collect();
    let json: serde_json::Value = serde_json::from_str(&shown.join("\n")).unwrap();
    insta::assert_snapshot!(shown.join("\n"));

    let mut whole = report::Report::default();
    whole.add(&run, Duration::ZERO);
    let steps = whole.to_json()["runs"][0]["steps"].clone();
    let step = steps.as_array().unwrap().iter().find(|step| step["name"] == "What its clients have").unwrap();
    assert_eq!(step["config"], json);

    let read = Resource::read("shown.json", &json.to_string()).unwrap();
    let again: Vec<serde_json::Value> = read.iter().map(Resource::to_json).collect();
    let rows = json.as_array().unwrap();
    assert_eq!(again, rows.iter().map(|row| row["resource"].clone()).collect::<Vec<_>>());
    let types: Vec<&str> = read.iter().map(|resource| resource.resource_type().short()).collect();
    assert_eq!(types, ["LDS", "LDS", "RDS", "CDS", "CDS", "EDS", "EDS"]);
}

#[test]
fn a_wait_that_a_hold_keeps_from_its_end_says_so_and_leads_to_the_step() {
    let run = play(&format!(
        "- name: Endpoints are late\n  hold: {{type: EDS, to: echo-v1}}\n\
         - load: {{name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 10}}\n\
         - apply: {EXAMPLES}/xds/echo-v3.yaml\n- wait: {{converged: all, within: 5s}}\n- stop: a\n"
    ));
    in_order(
        &why(&run),
        &[
            "not converged in time",
            "is kept back by a `hold`",
            "step 4, Endpoints are late",
            "hold EDS to echo-v1",
            "holds back a response of EDS to echo-v1-",
        ],
    );
}

#[test]
fn calls_that_miss_what_was_dropped_lead_to_the_step_that_dropped_it() {
    let run = play(
        "- name: A slip\n  drop: {type: EDS, to: echo-v1}\n\
         - name: Call\n  call: {from: echo-v1, url: \"xds:///echo:7070\", timeout: 3s}\n  expect: {ok: all}\n",
    );
    in_order(
        &why(&run),
        &["step 4, A slip", "drop EDS to echo-v1", "a response of EDS to echo-v1-", "the call ends with"],
    );
}

#[test]
fn a_call_that_a_rejected_resource_fails_leads_through_the_nack_to_the_step_that_injected_it() {
    let run = play(
        "- name: A bad cluster\n  inject: {to: echo-v1, resource: {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, \
         name: outbound|7070||echo.echo-grpc.svc.cluster.local, type: STRICT_DNS}}\n\
         - name: Call\n  call: {from: echo-v1, url: \"xds:///echo:7070\", timeout: 3s}\n  expect: {ok: all}\n",
    );
    in_order(
        &why(&run),
        &[
            "step 4, A bad cluster",
            "inject CDS outbound|7070||echo.echo-grpc.svc.cluster.local to echo-v1",
            "rejects a response",
            "the call ends with",
        ],
    );
}

#[test]
fn clients_that_do_not_have_what_is_expected_fail_the_step_and_lead_to_the_nack() {
    let load = "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 10}\n- wait: 1s\n";
    let run = play(&format!(
        "{load}- name: A bad cluster\n  inject: {{to: echo-v1, resource: {{\"@type\": \
         type.googleapis.com/envoy.config.cluster.v3.Cluster, name: outbound|7070||echo.echo-grpc.svc.cluster.local, \
         type: STRICT_DNS}}}}\n- wait: {{nacked: {{type: CDS, to: echo-v1}}}}\n\
         - get: {{config: echo-v1}}\n  expect: [{{type: EDS, status: ACKED}}, {{type: CDS, status: ACKED}}]\n- stop: a\n"
    ));
    let why = why(&run);
    assert!(
        why[0].starts_with("CDS outbound|7070||echo.echo-grpc.svc.cluster.local of xds:///echo:7070 NACKED"),
        "{why:?}"
    );
    in_order(&why, &["A bad cluster", "inject CDS", "rejects a response"]);
}

#[test]
fn a_wait_for_a_nack_that_never_comes_says_what_the_clients_said() {
    let run = play(
        "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 10}\n\
         - wait: {nacked: {type: CDS, to: echo-v1}, within: 5s}\n- stop: a\n",
    );
    in_order(&why(&run), &["not rejected in time", "is accepted"]);
}

#[test]
fn the_library_injects_what_a_text_has_and_waits_for_its_rejection() {
    let mut mesh = hermesh::mesh().seed(7).namespace("echo-grpc").start();
    let objects = ["namespace.yaml", "grpc-echo.yaml"].map(|file| format!("{EXAMPLES}/grpc-echo/{file}"));
    objects.into_iter().for_each(|file| {
        mesh.apply(file);
    });
    mesh.wait_ready();
    let load = mesh.load(Load::new("echo-v1", "xds:///echo:7070"));
    mesh.run_for(Duration::from_secs(2));

    let cluster = "{\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\", \
                   \"name\": \"outbound|7070||echo.echo-grpc.svc.cluster.local\"}";
    let about = |kind| Responses::of([kind]).to("echo-v1");
    mesh.inject_all("echo-v1", &Resource::read("bad.json", cluster).unwrap());
    mesh.wait_nacked(about(ResourceType::Cluster));
    let error = mesh.try_wait_nacked(&about(ResourceType::Endpoints), Duration::from_secs(5)).unwrap_err().to_string();
    assert!(error.starts_with("not rejected within 5s: node") && error.contains(" is accepted"), "{error}");
    mesh.eject(Responses::all()).wait_converged();
    mesh.stop(&load).assert_no_errors();

    let recorded = Resource::open(format!("{EXAMPLES}/xds/recorded-routes.json")).unwrap();
    let names: Vec<String> = recorded.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["LDS echo:7070", "RDS outbound|7070||echo.echo-grpc.svc.cluster.local"]);
    let twice = format!("[{cluster},\n{}]", cluster.replace("\"}", "\", \"type\": \"EDS\"}"));
    let RecordedError::Mistakes(mistakes) = Resource::read("two.json", &twice).unwrap_err() else { panic!("{twice}") };
    let told = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            "two.json:2:1: [1]: another CDS resource \"outbound|7070||echo.echo-grpc.svc.cluster.local\" with other content \
          stands before this one; leave the one in that is to be used"
        ]
    );
}
