//! Just enough YAML for a ProxyConfig: mappings, lists and plain values, as people write them into annotations.
//!
//! Values become JSON. Anchors, tags and several documents in one text are refused. Istiod's reader of manifests, with
//! its positions and diagnostics, is not shared: the agent does not depend on istiod, and needs a tenth of it.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Reads one document; an empty text is null.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut documents = 0;
    let mut open: Vec<Open> = Vec::new();
    let mut root = Value::Null;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let at = |what: &str| format!("{what} at line {}", span.start.line());
        let finished = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(at("second document"));
                }
                None
            }
            Event::Scalar(text, style, anchor, tag) if anchor == 0 && tag.is_none() => Some(scalar(&text, style)),
            Event::SequenceStart(anchor, tag) if anchor == 0 && tag.is_none() => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(anchor, tag) if anchor == 0 && tag.is_none() => {
                open.push(Open::Map(Map::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(Open::close),
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {
                return Err(at("anchor, alias or tag"));
            }
            _ => None,
        };
        let Some(value) = finished else { continue };
        match open.last_mut() {
            None => root = value,
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(fields, key @ None)) => {
                let name = match value {
                    Value::String(name) => name,
                    Value::Array(_) | Value::Object(_) | Value::Null => return Err(at("field name is no text")),
                    other => other.to_string(),
                };
                if fields.contains_key(&name) {
                    return Err(at(&format!("field `{name}` stands twice, again")));
                }
                *key = Some(name);
            }
            Some(Open::Map(fields, key @ Some(_))) => {
                fields.insert(key.take().expect("the pattern says so"), value);
            }
        }
    }
    Ok(root)
}

/// A mapping or list whose end has not come.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

impl Open {
    fn close(self) -> Value {
        match self {
            Self::List(items) => Value::Array(items),
            Self::Map(fields, _) => Value::Object(fields),
        }
    }
}

/// A plain scalar of YAML's core schema; a quoted one is text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => number.into(),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_read_alike() {
        let expected =
            json!({"statusPort": 15020, "proxyMetadata": {"A": "1", "B": "x: y"}, "list": ["a", true], "n": null});
        let yaml = "statusPort: 15020\nproxyMetadata:\n  A: \"1\"\n  B: 'x: y'\nlist: [a, true]\nn:\n";
        assert_eq!(parse(yaml).unwrap(), expected);
        assert_eq!(parse(&expected.to_string()).unwrap(), expected);
        assert_eq!(parse("").unwrap(), Value::Null);
    }

    #[test]
    fn text_that_looks_like_a_duration_or_an_address_stays_text() {
        assert_eq!(parse("a: 45s\nb: istiod:15012").unwrap(), json!({"a": "45s", "b": "istiod:15012"}));
    }

    #[test]
    fn what_is_refused_says_where() {
        for (text, part) in [
            ("a: 1\na: 2", "line 2"),
            ("a: &x 1\nb: *x", "anchor"),
            ("a: 1\n---\nb: 2", "second document"),
            ("a: [1", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
