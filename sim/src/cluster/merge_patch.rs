//! JSON merge patches on trees that know where they stand, and what `kubectl apply` makes of a tree.
//!
//! Source: RFC 7386, and kubernetes `apimachinery/pkg/util/jsonmergepatch` (`CreateThreeWayJSONMergePatch`).

use hermesh_istiod::yaml::{Entry, Meaning, Node, Value};

/// What `patch` makes of `target`: mappings are merged, `null` removes a field, and everything else, lists among it,
/// takes the place of what was there.
pub(crate) fn merge(target: Option<&Node>, patch: &Node) -> Node {
    let Some(changes) = patch.entries() else { return patch.clone() };
    let before = target.filter(|target| target.entries().is_some());
    let mut entries = before.and_then(Node::entries).unwrap_or_default().to_vec();
    for change in changes {
        let there = entries.iter().position(|entry| entry.key.text == change.key.text);
        match there {
            Some(index) if change.value.is_null() => drop(entries.remove(index)),
            Some(index) => entries[index].value = merge(Some(&entries[index].value), &change.value),
            None if change.value.is_null() => {}
            None => entries.push(Entry { key: change.key.clone(), value: merge(None, &change.value) }),
        }
    }
    Node { value: Value::Mapping(entries), position: before.unwrap_or(patch).position }
}

/// What `kubectl apply` makes of `live`: what the manifest `last` had and `new` has not goes, what `new` has comes, and
/// what others have set stays. Lists are taken as a whole.
pub(crate) fn apply(last: &Node, live: &Node, new: &Node) -> Node {
    let kept = without(live, last, new);
    Node { position: new.position, ..merge(Some(&kept), new) }
}

/// `live` without what `last` had and `new` has not.
fn without(live: &Node, last: &Node, new: &Node) -> Node {
    let (Some(entries), Some(_), Some(_)) = (live.entries(), last.entries(), new.entries()) else {
        return live.clone();
    };
    let kept = entries.iter().filter_map(|entry| match (last.get(&entry.key.text), new.get(&entry.key.text)) {
        (Some(_), None) => None,
        (Some(last), Some(new)) => Some(Entry { key: entry.key.clone(), value: without(&entry.value, last, new) }),
        (None, _) => Some(entry.clone()),
    });
    Node { value: Value::Mapping(kept.collect()), position: live.position }
}

/// The tree as JSON: whole numbers, booleans and `null` as such, every other scalar as its text.
pub(crate) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Mapping(entries) => entries.iter().map(|entry| (entry.key.text.clone(), json(&entry.value))).collect(),
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => serde_json::Value::Null,
            Meaning::Bool(value) => value.into(),
            Meaning::Int(number) => {
                i64::try_from(number).map_or_else(|_| scalar.text.as_str().into(), serde_json::Value::from)
            }
            _ => scalar.text.as_str().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::yaml;

    use super::*;

    fn tree(text: &str) -> Node {
        yaml::parse("t", text).unwrap().remove(0).root
    }

    /// The examples of RFC 7386, appendix A, whose documents are mappings or are made one.
    #[test]
    fn patches_do_what_the_rfc_shows() {
        for (target, patch, result) in [
            ("{a: b}", "{a: c}", "{a: c}"),
            ("{a: b}", "{b: c}", "{a: b, b: c}"),
            ("{a: b}", "{a: null}", "{}"),
            ("{a: b, b: c}", "{a: null}", "{b: c}"),
            ("{a: [b]}", "{a: c}", "{a: c}"),
            ("{a: c}", "{a: [b]}", "{a: [b]}"),
            ("{a: {b: c}}", "{a: {b: d, c: null}}", "{a: {b: d}}"),
            ("{a: [{b: c}]}", "{a: [1]}", "{a: [1]}"),
            ("[a, b]", "[c, d]", "[c, d]"),
            ("{a: b}", "[c]", "[c]"),
            ("{e: null}", "{a: 1}", "{e: null, a: 1}"),
            ("[1, 2]", "{a: b, c: null}", "{a: b}"),
            ("{}", "{a: {bb: {ccc: null}}}", "{a: {bb: {}}}"),
        ] {
            assert_eq!(json(&merge(Some(&tree(target)), &tree(patch))), json(&tree(result)), "{target} and {patch}");
        }
    }

    #[test]
    fn an_apply_takes_back_its_own_and_leaves_what_others_set() {
        let last = tree("{spec: {replicas: 2, paused: false}, labels: {app: web, tier: front}}");
        let live = tree("{spec: {replicas: 5, paused: false, extra: 1}, labels: {app: web, tier: front, own: x}}");
        for (new, result) in [
            (
                "{spec: {replicas: 2}, labels: {app: web}}",
                "{spec: {replicas: 2, extra: 1}, labels: {app: web, own: x}}",
            ),
            ("{spec: {}}", "{spec: {extra: 1}}"),
            (
                "{spec: {paused: false}, labels: {app: web, own: y}}",
                "{spec: {paused: false, extra: 1}, labels: {app: web, own: y}}",
            ),
        ] {
            assert_eq!(json(&apply(&last, &live, &tree(new))), json(&tree(result)), "{new}");
        }
        // What others set beside a field that the manifest never had is not taken back.
        let never = apply(&tree("{spec: {}}"), &tree("{spec: {replicas: 5}}"), &tree("{spec: {}}"));
        assert_eq!(json(&never), json(&tree("{spec: {replicas: 5}}")));
    }
}
