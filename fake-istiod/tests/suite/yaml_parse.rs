//! What is YAML here, what is refused, and where.

use hermesh_istiod::yaml::{self, Node, Value};
use proptest::prelude::*;

/// All errors of a text, one line each, without the file's name.
fn errors(text: &str) -> Vec<String> {
    match yaml::parse("f", text) {
        Ok(documents) => panic!("{text:?} should be refused, not be read as {documents:?}"),
        Err(errors) => errors.iter().map(|error| error.to_string().replacen("f:", "", 1)).collect(),
    }
}

fn documents(text: &str) -> Vec<Node> {
    yaml::parse("f", text).unwrap_or_else(|errors| panic!("{errors:?}")).into_iter().map(|it| it.root).collect()
}

#[test]
fn a_stream_has_many_documents_and_empty_ones_are_left_out() {
    let roots = documents("# a comment\n---\na: 1\n---\n---\n# nothing\n---\n- b\n...\n");
    assert_eq!(roots.len(), 2);
    assert_eq!(roots[0].get("a").unwrap().text(), Some("1"));
    assert_eq!(roots[1].items().unwrap().len(), 1);
    assert_eq!(documents("").len(), 0);
    assert_eq!(documents("\u{feff}a: 1").len(), 1);
}

#[test]
fn nodes_know_their_line_and_column() {
    let roots = documents("a:\n  - b\n  - {c: d}\nempty:\nnext: x\n---\nsecond: y\n");
    let position = |path: &str| roots[0].at_path(path).position.to_string();
    assert_eq!(position("a"), "2:3");
    assert_eq!(position("a[0]"), "2:5");
    assert_eq!(position("a[1].c"), "3:9");
    assert_eq!(position("empty"), "4:1", "an empty value stands where its key does");
    assert_eq!(position("a[1].nothing.here"), "3:5", "what is missing stands where its parent does");
    assert_eq!(roots[1].get("second").unwrap().position.to_string(), "7:9");
}

#[test]
fn scalars_keep_the_text_their_author_wrote() {
    let roots = documents("a: 012\nb: no\nc: 'it''s'\nd: \"x\\ty\"\ne: |\n  two\n  lines\nf: 1.10\n");
    let text = |key: &str| roots[0].get(key).unwrap().text().unwrap();
    assert_eq!(
        [text("a"), text("b"), text("c"), text("d"), text("e"), text("f")],
        ["012", "no", "it's", "x\ty", "two\nlines\n", "1.10"]
    );
    let plain = |key: &str| matches!(&roots[0].get(key).unwrap().value, Value::Scalar(scalar) if scalar.plain);
    assert!(plain("a") && plain("b") && !plain("c") && !plain("d") && !plain("e"));
}

#[test]
fn what_makes_files_surprising_is_refused_with_its_place() {
    for (text, expected) in [
        ("a: 1\nb: 2\na: 3\n", &["3:1: duplicate key `a`; it is already at line 1"][..]),
        ("x: {a: 1, a: 2}\n", &["1:11: duplicate key `a`; it is already at line 1"]),
        (
            "a: &x 1\nb: *x\n",
            &[
                "1:4: anchors (`&name`) are not supported; write the value out where it is used",
                "2:4: aliases (`*name`) are not supported; write the value out",
            ],
        ),
        ("a: &x {b: 1}\n", &["1:4: anchors (`&name`) are not supported; write the value out where it is used"]),
        ("<<: {a: 1}\n", &["1:1: merge keys (`<<`) are not supported; write the fields out"]),
        (
            "a: !!str 1\n",
            &["1:4: tags (`!name`) are not supported; leave it out, and quote the value if it is a string"],
        ),
        ("? [a, b]\n: c\n", &["1:3: a key must be a plain name, not a list or a mapping"]),
        ("a:\n\tb: 1\n", &["2:1: a tab cannot indent YAML; use spaces"]),
        ("a: \u{7}\n", &["1:4: the control character \\u{7} is not allowed in YAML"]),
    ] {
        assert_eq!(errors(text), expected, "{text:?}");
    }
}

#[test]
fn a_syntax_error_says_where_and_what_to_look_for() {
    let found = errors("a: b: c\n");
    assert!(found[0].starts_with("1:") && found[0].contains("does a value with `: ` need quotes?"), "{found:?}");
    let found = errors("a: [1, 2\nb: 3\n");
    assert!(found[0].contains("invalid YAML"), "{found:?}");
}

#[test]
fn nesting_has_a_limit() {
    for open in ["[", "{a: ", "- "] {
        let found = errors(&open.repeat(5000));
        assert!(
            found[0].contains("nested more than 100 levels deep") || found[0].contains("invalid YAML"),
            "{open}: {found:?}"
        );
    }
    let block: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(errors(&block)[0].contains("nested more than 100 levels deep"));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = yaml::parse("f", &text);
    }

    #[test]
    fn no_text_of_yaml_s_own_characters_does(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \n\tab1~<]{0,60}") {
        if let Err(errors) = yaml::parse("f", &text) {
            for error in errors {
                prop_assert!(error.location.line >= 1 && error.location.column >= 1);
                prop_assert!(!error.render(&text, &yaml::Styles::coloured()).is_empty());
            }
        }
    }

    #[test]
    fn what_was_read_is_where_it_says(key in "[a-z]{1,8}", value in "[a-z]{1,8}", depth in 0_usize..10) {
        let mut text: String = (0..depth).map(|level| format!("{}k:\n", "  ".repeat(level))).collect();
        text.push_str(&format!("{}{key}: {value}", "  ".repeat(depth)));
        let root = &yaml::parse("f", &text).unwrap()[0].root;
        let path = "k.".repeat(depth) + &key;
        let node = root.at_path(&path);
        let line = text.lines().nth(node.position.line as usize - 1).unwrap();
        prop_assert_eq!(&line[node.position.column as usize - 1..], value);
    }
}
