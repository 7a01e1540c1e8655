//! Files that are missing, no text, or something else than a scenario.

use super::super::{RunOptions, Scenario};
use super::{ECHO, HEADER, open, refused, refused_step, steps};
use crate::engine::Network;

#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
fn open_bytes(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scenario.yaml"), bytes).unwrap();
    let error = Scenario::open(folder.path().join(name)).unwrap_err();
    error.render(&super::yaml::Styles::plain()).replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_missing_scenario_is_looked_for_under_names_that_are_near() {
    let told = open_bytes("scenraio.yaml", b"");
    assert!(told.starts_with("error[unreadable]: no file or folder `scenraio.yaml`; did you mean `scenario.yaml`?\n"));
    let told = open_bytes("other.yaml", b"");
    assert!(told.starts_with("error[unreadable]: no file or folder `other.yaml`\n"), "{told}");
}

#[test]
fn a_file_that_is_no_text_is_called_that() {
    let told = open_bytes("scenario.yaml", b"\xff\xfe\x00");
    assert!(told.starts_with("error[unreadable]: `scenario.yaml` is no text: it is not UTF-8\n"), "{told}");
}

#[test]
fn a_line_without_end_is_shown_in_part() {
    let told = open_bytes("scenario.yaml", "x".repeat(100_000).as_bytes());
    assert!(told.len() < 1_000 && told.contains("expected a scenario"), "{told}");
    let told = open_bytes("scenario.yaml", format!("{{a: {}}}", "x".repeat(100_000)).as_bytes());
    assert!(told.lines().all(|line| line.chars().count() <= 110), "{told}");
}

#[test]
fn what_is_wrong_at_the_root_has_no_field() {
    let told = open_bytes("scenario.yaml", b"kind: Scenario\n");
    assert!(told.contains("error[missing-field]: field `mesh` is missing\n"), "{told}");
}

#[test]
fn a_manifest_is_no_scenario() {
    refused(
        ECHO,
        &[
            "s.yaml:2:7: kind: this is a manifest of Kubernetes (a Service) and not a scenario; run a scenario with a step `apply: s.yaml`; \
           docs/scenario.md shows how to write one",
        ],
    );
}

#[test]
fn what_a_missing_manifest_would_bring_is_not_missed_as_well() {
    refused(
        &format!("{HEADER}- apply: [mroe, echo.yaml]\n- wait: {{redy: all}}\n"),
        &[
            "s.yaml:7:11: steps[0].apply[0]: no file or folder `mroe`; did you mean `more`?",
            "s.yaml:8:10: steps[1].wait.redy: unknown field; did you mean `ready`?",
        ],
    );
}

#[test]
fn the_command_that_repeats_a_run_is_one_for_a_shell() {
    let mut scenario = open(&steps("")).unwrap();
    for (path, command) in [
        ("tests/a.yaml", "hermesh run tests/a.yaml --seed 7"),
        ("my tests/a.yaml", "hermesh run 'my tests/a.yaml' --seed 7"),
        ("-a.yaml", "hermesh run ./-a.yaml --seed 7"),
        ("-", "hermesh run - --seed 7 < FILE, where FILE holds the scenario that standard input held"),
    ] {
        path.clone_into(&mut scenario.path);
        assert_eq!(scenario.again(&RunOptions::seed(7)), command);
    }
    let mut scenario = open(&format!("{HEADER}- apply: [more, echo.yaml]\n")).unwrap();
    scenario.file.steps[0].apply.as_mut().unwrap()[0].value = "-".to_owned();
    "a.yaml".clone_into(&mut scenario.path);
    let input = "hermesh run a.yaml --seed 1 < FILE, where FILE holds what standard input held";
    assert_eq!(scenario.again(&RunOptions::seed(1)), input);
    let elsewhere = RunOptions::seed(1).network(Network::Turmoil);
    assert_eq!(scenario.again(&elsewhere), input.replace("--seed 1", "--seed 1 --network turmoil"));
}

#[test]
fn a_file_holds_one_scenario() {
    let one = format!("{HEADER}- wait: 1s\n");
    refused(
        &format!("{one}---\n{one}"),
        &[
            "s.yaml:9:1: a second scenario; a file holds one, and the first begins at line 1; move it to a file of its own",
        ],
    );
}

#[test]
fn a_bracket_is_told_where_it_opens_and_a_tab_where_it_stands() {
    for (step, told) in [
        ("- wait: {ready: [a, b\n- wait: 1s", "s.yaml:8:17: this `[` is not closed; close it with `]`"),
        ("- wait: {ready: all\n", "s.yaml:8:9: this `{` is not closed; close it with `}`"),
        (
            "- wait: {ready: [a, b}\n- wait: 1s",
            "s.yaml:8:17: this `[` is closed by `}` at line 8, column 22; close it with `]`",
        ),
        ("- name: a\n\twait: 1s", "s.yaml:9:1: a tab cannot indent YAML; use spaces"),
        (
            "- apply: [-, echo.yaml]",
            "s.yaml:8:11: a `-` that stands alone cannot be an item of a list in brackets; put it into quotes: \"-\"",
        ),
        (
            "- name: \"a\n  wait: 1s\n- get: pods",
            "s.yaml:8:9: invalid YAML: invalid indentation in quoted scalar; is the quote that opens here closed?",
        ),
        (
            "- wait: {ready: all: b}\n- get: pods",
            "s.yaml:8:20: invalid YAML: while parsing a flow mapping, did not find expected ',' or '}'; \
             is a line near here indented differently from its neighbours?",
        ),
    ] {
        refused_step(step, told);
    }
    let manifest = ECHO.replace("selector: {app: echo}", "selector: {app: echo");
    let line = HEADER.lines().count() + 2 + 5;
    refused(
        &format!("{HEADER}- wait: 1s\n---\n{manifest}"),
        &[&format!("s.yaml:{line}:13: this `{{` is not closed; close it with `}}`")],
    );
}
