//! Typed reading: what is wanted decides what a scalar means, and every mistake has a field and a place.

use std::collections::BTreeMap;

use hermesh_istiod::yaml::{self, Location, Nulls, Spanned};
use serde::Deserialize;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Everything {
    text: String,
    number: u16,
    signed: i64,
    fraction: f64,
    flag: bool,
    maybe: Option<String>,
    list: Vec<u8>,
    map: BTreeMap<String, String>,
    by_number: BTreeMap<u32, String>,
    choice: Option<Choice>,
    inner: Inner,
    spanned: Spanned<String>,
    spanned_list: Vec<Spanned<u8>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Inner {
    #[serde(default)]
    required: u8,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename = "xDS type", rename_all = "camelCase")]
enum Choice {
    Lds,
    Rds,
    Hold { seconds: u8 },
    Wait(String),
}

fn read(text: &str) -> Result<Everything, Vec<String>> {
    let documents = yaml::parse("f", text).expect("the text is YAML");
    let at = Location::in_file("f");
    yaml::from_node(&documents[0].root, &at)
        .map_err(|errors| errors.iter().map(|error| error.to_string().replacen("f:", "", 1)).collect())
}

#[test]
fn what_is_wanted_decides_what_a_scalar_means() {
    let read = read(
        "text: no\nnumber: 0x10\nsigned: -5\nfraction: 2\nflag: true\nmaybe: '012'\nlist: [1, 2]\n\
         map: {a: b}\nbyNumber: {8080: x}\nchoice: lds\ninner: {required: 3}\nspanned: on\nspannedList: [7]\n",
    )
    .unwrap();
    let expected = Everything {
        text: "no".into(),
        number: 16,
        signed: -5,
        fraction: 2.0,
        flag: true,
        maybe: Some("012".into()),
        list: vec![1, 2],
        map: [("a".into(), "b".into())].into(),
        by_number: [(8080, "x".into())].into(),
        choice: Some(Choice::Lds),
        inner: Inner { required: 3 },
        spanned: "on".into(),
        spanned_list: vec![7.into()],
    };
    assert_eq!(read, expected);
}

#[test]
fn enums_are_a_name_or_a_mapping_with_one_entry() {
    assert_eq!(read("choice: rds").unwrap().choice, Some(Choice::Rds));
    assert_eq!(read("choice: {rds: }").unwrap().choice, Some(Choice::Rds));
    assert_eq!(read("choice: {hold: {seconds: 2}}").unwrap().choice, Some(Choice::Hold { seconds: 2 }));
    assert_eq!(read("choice: {wait: 5s}").unwrap().choice, Some(Choice::Wait("5s".into())));
}

#[test]
fn spanned_values_know_their_place_and_compare_by_value() {
    let read = read("text: x\nspanned: here\n").unwrap();
    let position = read.spanned.position.unwrap();
    assert_eq!((position.line, position.column), (2, 10));
    assert_eq!(read.spanned, Spanned::from("here"));
    let elsewhere: Spanned<String> = serde_json::from_str("\"here\"").unwrap();
    assert_eq!(elsewhere, Spanned { value: "here".to_owned(), position: None });
}

#[test]
fn every_mistake_names_its_field_and_its_place() {
    for (text, expected) in [
        ("text: 012", "1:7: text: expected a string, found a number (012); write it in quotes: \"012\""),
        ("text: 1.32", "1:7: text: expected a string, found a number (1.32); write it in quotes: \"1.32\""),
        ("text: true", "1:7: text: expected a string, found a boolean (true); write it in quotes: \"true\""),
        ("text: [a]", "1:7: text: expected a string, found a list"),
        ("text:", "1:1: text: expected a string, found nothing"),
        ("number: 70000", "1:9: number: 70000 is out of range; expected 0 to 65535"),
        ("number: -1", "1:9: number: -1 is out of range; expected 0 to 65535"),
        ("number: '80'", "1:9: number: expected a number, found a string (80); leave out the quotes"),
        ("number: 1.5", "1:9: number: expected a whole number, found a number (1.5)"),
        (
            "number: 0644",
            "1:9: number: `0644` is decimal in YAML 1.2 and octal in YAML 1.1, which kubectl reads; write the decimal number without a leading zero",
        ),
        ("flag: yes", "1:7: flag: expected `true` or `false`, found a string (yes); write `true`"),
        ("flag: 1", "1:7: flag: expected `true` or `false`, found a number (1)"),
        ("list: {a: 1}", "1:7: list: expected a list, found a mapping"),
        ("list:\n- 1\n- x\n", "3:3: list[1]: expected a whole number, found a string (x)"),
        (
            "map:\n  a.b/c: 1\n",
            "2:10: map[\"a.b/c\"]: expected a string, found a number (1); write it in quotes: \"1\"",
        ),
        ("byNumber: {http: x}", "1:12: byNumber.http: expected a number as key, found \"http\""),
        (
            "choice: rdss",
            "1:9: choice: unknown xDS type \"rdss\"; expected lds, rds, hold or wait; did you mean `rds`?",
        ),
        (
            "choice: {hold: {seconds: 1}, wait: x}",
            "1:9: choice: expected exactly one of lds, rds, hold or wait, found a mapping",
        ),
        ("choice: wait", "1:9: choice: `wait` needs a value"),
        ("choice: {lds: 5}", "1:15: choice.lds: expected nothing after `lds`, found a number (5)"),
        ("choice: {hold: {seconds: x}}", "1:26: choice.hold.seconds: expected a whole number, found a string (x)"),
        ("inner: 5", "1:8: inner: expected a mapping with required, found a number (5)"),
        ("spanned: 5", "1:10: spanned: expected a string, found a number (5); write it in quotes: \"5\""),
    ] {
        assert_eq!(read(text).unwrap_err(), [expected], "{text:?}");
    }
}

#[test]
fn unknown_fields_are_all_reported_with_the_nearest_name() {
    let errors = read("txet: a\ninner:\n  requird: 1\n  other: 2\nnumber: x\n").unwrap_err();
    assert_eq!(
        errors,
        [
            "1:1: txet: unknown field; did you mean `text`?",
            "3:3: inner.requird: unknown field; did you mean `required`?",
            "4:3: inner.other: unknown field; expected required",
            "5:9: number: expected a whole number, found a string (x)",
        ]
    );
}

#[test]
fn one_wrong_value_hides_no_other() {
    let errors = read("number: x\ntext: [a]\nlist: [x, 1, 300]\nchoice: {hold: {seconds: y}}\ninner: 5\n").unwrap_err();
    assert_eq!(
        errors,
        [
            "1:9: number: expected a whole number, found a string (x)",
            "2:7: text: expected a string, found a list",
            "3:8: list[0]: expected a whole number, found a string (x)",
            "3:14: list[2]: 300 is out of range; expected 0 to 255",
            "4:26: choice.hold.seconds: expected a whole number, found a string (y)",
            "5:8: inner: expected a mapping with required, found a number (5)",
        ]
    );
    assert_eq!(read("- a\n").unwrap_err(), ["1:1: expected a mapping, found a list"]);
}

#[test]
fn nulls_are_unset_for_kubernetes_and_mistakes_elsewhere() {
    let document = &yaml::parse("f", "text:\nmaybe: ~\nlist: null\n").unwrap()[0];
    let at = Location::in_file("f");
    let reading = yaml::read::<Everything>(&document.root, &at, Nulls::AreUnset);
    assert_eq!(reading.value.unwrap(), Everything::default());
    assert!(yaml::from_node::<Everything>(&document.root, &at).is_err());
    assert_eq!(read("maybe: ~").unwrap().maybe, None);
}

#[test]
fn words_that_kubectl_takes_for_booleans_are_strings_and_get_a_warning() {
    let document = &yaml::parse("f", "text: no\nmap: {a: On}\n").unwrap()[0];
    let reading = yaml::read::<Everything>(&document.root, &Location::in_file("f"), Nulls::AreUnset);
    assert_eq!(reading.value.unwrap().text, "no");
    let warnings: Vec<String> = reading.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "f:1:7: warning: text: `no` is a string here, but kubectl reads YAML 1.1 and takes it for `false`; write it in quotes: \"no\"",
            "f:2:10: warning: map.a: `On` is a string here, but kubectl reads YAML 1.1 and takes it for `true`; write it in quotes: \"On\"",
        ]
    );
}

#[test]
fn a_node_inside_a_document_is_read_under_its_path() {
    let document = &yaml::parse("f", "steps:\n- x\n- number: y\n").unwrap()[0];
    let at = Location::in_file("f").field("steps[1]");
    let errors = yaml::from_node::<Everything>(document.root.at_path("steps[1]"), &at).unwrap_err();
    assert_eq!(errors[0].to_string(), "f:3:11: steps[1].number: expected a whole number, found a string (y)");
}
