//! Scenarios with istiod's responses in hand, played: those of `examples/xds`, and what is told where one fails.

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{Run, RunOptions, Verdict};

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
    for name in ["late-endpoints.yaml", "late-routes.yaml"] {
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
