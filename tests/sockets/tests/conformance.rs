//! Every network answers as the cases tell, and `docs/sockets.md` says so.

#![allow(missing_docs, reason = "tests")]
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "compares a page of the repository")]
#![expect(clippy::print_stderr, reason = "says what a machine cannot")]

use std::collections::BTreeSet;
use std::path::Path;

use hermesh::engine::{self, Config};
use hermesh_socket_conformance::{
    Answer, Case, DIFFERENCES, Difference, Kernel, Network, Pods, Run, Simulated, page, run, run_all, table, topics,
};

/// All networks. Another one is another line here, and its list among the differences.
fn networks() -> Vec<Box<dyn Network>> {
    vec![
        Box::new(Kernel { program: env!("CARGO_BIN_EXE_socket-process").into() }),
        Box::new(Simulated { name: "one pod", pods: Pods::Shared, config: Config::new(1) }),
        Box::new(Simulated { name: "pods apart", pods: Pods::Apart, config: Config::new(1) }),
        Box::new(Simulated { name: "turmoil, one pod", pods: Pods::Shared, config: turmoil() }),
        Box::new(Simulated { name: "turmoil, pods apart", pods: Pods::Apart, config: turmoil() }),
    ]
}

fn turmoil() -> Config {
    let mut config = Config::new(1);
    config.network = engine::Network::Turmoil;
    config
}

#[test]
fn every_network_answers_as_told() {
    let (topics, networks) = (topics(), networks());
    let only = std::env::var("SOCKETS_CASE").unwrap_or_default();
    let cases: Vec<&Case> =
        topics.iter().flat_map(|topic| &topic.cases).filter(|case| case.title.contains(&only)).collect();
    let runs = run_all(&cases, &networks);
    let differing = table(&runs, DIFFERENCES);
    assert!(differing.is_empty(), "\n{differing}");
    if !only.is_empty() {
        return;
    }

    let beyond = |run: &&Run| run.network == "kernel" && run.mismatches.is_none();
    let beyond: Vec<&str> = runs.iter().filter(beyond).map(|run| run.case.as_str()).collect();
    if !beyond.is_empty() {
        eprintln!("docs/sockets.md is not compared, since this machine cannot run: {}", beyond.join("; "));
        return;
    }

    let names: Vec<&str> = networks.iter().map(|network| network.name()).collect();
    let seen = page(&topics, &names, &runs);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sockets.md");
    if std::env::var("SOCKETS_PAGE").is_ok_and(|how| how == "write") {
        std::fs::write(&path, &seen).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == seen, "docs/sockets.md is out of date: run this test with SOCKETS_PAGE=write");
}

#[test]
fn differences_are_those_of_cases_there_are() {
    let titles: Vec<String> = topics().into_iter().flat_map(|topic| topic.cases).map(|case| case.title).collect();
    let names: Vec<&str> = networks().iter().map(|network| network.name()).collect();
    let unique: BTreeSet<&String> = titles.iter().collect();
    assert_eq!(unique.len(), titles.len(), "two cases have one title");
    for difference in DIFFERENCES {
        for it in difference.answers {
            assert!(titles.iter().any(|title| title == it.case), "no case `{}`", it.case);
        }
        for network in difference.networks {
            assert!(names.contains(network), "no network `{network}`");
        }
    }
}

/// The suite can fail: a case that tells otherwise, and a difference that is none, stand in the table.
#[test]
fn what_is_not_as_told_is_shown_and_so_is_what_is_listed_for_nothing() {
    let mut case = topics().remove(0).cases.remove(0);
    let step = case.steps[0].to_string();
    case.steps[0].answer = "address in use".to_owned();
    let network = Simulated { name: "one pod", pods: Pods::Shared, config: Config::new(1) };
    let step: &'static str = String::leak(step);
    let title: &'static str = String::leak(case.title.clone());
    let difference = |answer| {
        let answers = Vec::leak(vec![Answer { case: title, step, answer }]);
        Difference { networks: &["one pod"], reason: "for this test", answers }
    };
    let runs = [run(&case, &network)];
    let shown = table(&runs, &[]);
    assert!(shown.contains(step) && shown.contains("address in use"), "{shown}");
    assert_eq!(table(&runs, &[difference("ok")]), "");
    let shown = table(&runs, &[difference("ok"), difference("pending")]);
    assert!(shown.contains("no such difference"), "{shown}");
}
