//! The scenarios in `examples/certificates` hold, and a run of theirs is the same when it is repeated.

use std::path::PathBuf;

use hermesh::scenario::{RunOptions, Scenario, Verdict};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/certificates");

fn holds(name: &str) {
    let path = PathBuf::from(FOLDER).join(name).with_extension("yaml");
    let scenario = Scenario::open(&path).unwrap_or_else(|error| panic!("{error}"));
    let run = |seed| {
        let run = scenario.run(&RunOptions::seed(seed)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "{name} with seed {seed}: {:#?}", run.steps.last());
        run.trace.digest_hex()
    };
    run(2);
    assert_eq!(run(1), run(1), "{name}");
}

macro_rules! examples {
    ($($name:ident $file:literal)*) => {$(
        #[test]
        fn $name() {
            holds($file);
        }
    )*};
}

examples! {
    ca_away "ca-away"
    clock_skew "clock-skew"
    expired_token "expired-token"
    full_disk "full-disk"
    slow_ca "slow-ca"
    torn_files "torn-files"
}
