//! What a failed expectation gives as its reason. Each scenario under `why/` fails on purpose, in its last step.

use hermesh::scenario::{RunOptions, Scenario, Verdict};

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
    text.replace(FOLDER, "").replace("../../../examples/grpc-echo/", "")
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
    client_mtls_only
    killed_server
    missing_service
    missing_subset
    no_endpoints
    other_split
    partition
    server_mtls_only
}

/// People look for the deed behind a failure first.
#[test]
fn every_failure_that_a_step_brought_about_leads_back_to_that_step() {
    let brought_about = [
        ("client_mtls_only", "mTLS for clients"),
        ("killed_server", "The server dies"),
        ("missing_subset", "Routes to subsets"),
        ("no_endpoints", "A Service for nobody"),
        ("other_split", "20 to 80"),
        ("partition", "Cable out"),
        ("server_mtls_only", "mTLS for servers"),
    ];
    for (name, step) in brought_about {
        let story = story(name);
        assert!(story.contains(&format!(", {step}\n")), "{name}: {story}");
    }
}
