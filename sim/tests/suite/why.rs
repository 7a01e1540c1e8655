//! What a failed expectation gives as its reason. Each scenario under `why/` fails on purpose, in its last step.

use hermesh::scenario::{RunOptions, Scenario, Verdict};

const TRACE_FORMAT: &str = include_str!("../../../docs/trace.md");

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/why/");

/// Expected, seen and why of the scenario's last step.
fn story(name: &str) -> String {
    let scenario = Scenario::open(format!("{FOLDER}{name}.yaml")).unwrap_or_else(|error| panic!("{error}"));
    let run = scenario.run(&RunOptions::seed(1)).unwrap();
    assert_eq!(run.verdict, Verdict::Failed, "{name} fails");
    let failure = run.steps.last().and_then(|step| step.failure.as_ref()).expect("the last step fails");
    let why = failure.why.join("\n  ");
    let text = format!("expected {}\nseen {}\nwhy\n  {why}\n", failure.expected, failure.seen);
    // Where the files lie differs from machine to machine.
    let examples =
        ["grpc-echo", "authorization", "virtual-machines"].map(|topic| format!("../../../examples/{topic}/"));
    examples.iter().fold(text.replace(FOLDER, ""), |text, folder| text.replace(folder, ""))
}

macro_rules! stories {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(story(stringify!($name)));
        }
    )*};
}

stories! {
    all_at_once
    ca_away
    client_mtls_only
    clock_ahead
    cut_off_machine
    deleted_server
    deleted_slice
    denied_by_policy
    expired_token
    full_volume
    hung_machine
    istiod_cut_off
    killed_agent
    killed_caller
    killed_istiod
    killed_machine_agent
    killed_one
    killed_server
    late_xds
    lost_endpoint
    lost_node
    missing_service
    missing_subset
    never_converged
    never_ready
    no_endpoints
    no_xds
    not_allowed
    other_split
    partition
    paused_server
    plain_call
    restarted_server
    server_mtls_only
    shut_machine
    slow_link
    slow_pull
    slow_xds
    stale_xds
    stopped_agent
    unreachable_server
    wrong_selector
}

/// A wait for one workload is not told what befell another.
#[test]
fn a_wait_for_one_workload_tells_nothing_of_others() {
    let story = story("killed_one");
    assert!(!story.contains("The other dies") && !story.contains("Cable out"), "{story}");
}

/// People look for the deed behind a failure first.
#[test]
fn every_failure_that_a_step_brought_about_leads_back_to_that_step() {
    let brought_about = [
        ("ca_away", "The CA is away"),
        ("client_mtls_only", "mTLS for clients"),
        ("clock_ahead", "The clock steps ahead"),
        ("cut_off_machine", "Cable out"),
        ("deleted_server", "v2 goes"),
        ("deleted_slice", "The slice goes"),
        ("denied_by_policy", "Nobody may"),
        ("expired_token", "Tokens run out"),
        ("full_volume", "No room"),
        ("hung_machine", "The machine hangs"),
        ("istiod_cut_off", "Cable out"),
        ("killed_agent", "The agent dies"),
        ("killed_caller", "The caller dies"),
        ("killed_istiod", "istiod dies"),
        ("killed_machine_agent", "The agent dies"),
        ("killed_one", "The server dies"),
        ("killed_server", "The server dies"),
        ("late_xds", "Streams are late"),
        ("missing_subset", "Routes to subsets"),
        ("never_converged", "Cable out"),
        ("never_ready", "The server dies"),
        ("no_endpoints", "A Service for nobody"),
        ("no_xds", "istiod refuses"),
        ("not_allowed", "Only web may"),
        ("other_split", "20 to 80"),
        ("partition", "Cable out"),
        ("paused_server", "The server is paused"),
        ("plain_call", "Cable out"),
        ("restarted_server", "The server restarts"),
        ("server_mtls_only", "mTLS for servers"),
        ("shut_machine", "The machine goes"),
        ("slow_link", "A slow cable"),
        ("slow_xds", "Streams are late"),
        ("stale_xds", "istiod refuses"),
        ("stopped_agent", "The agent stops"),
        ("unreachable_server", "Cable out"),
        ("wrong_selector", "The selector changes"),
    ];
    // `docs/trace.md` has a row for each kind.
    let kinds: Vec<&str> = TRACE_FORMAT.split("\n| `").filter_map(|row| row.split('`').next()).collect();
    assert!(kinds.contains(&"xds.stream.closed"), "{kinds:?}");
    for (name, step) in brought_about {
        let story = story(name);
        assert!(story.contains(&format!(", {step}\n")), "{name}: {story}");
        let raw = kinds.iter().find(|kind| story.contains(&format!(": {kind} ")));
        assert_eq!(raw, None, "{name} has an event that nobody has put into words: {story}");
    }
}
