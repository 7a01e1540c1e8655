//! `$(VAR)` in commands, arguments and values of environment variables.
//!
//! Source: kubernetes `third_party/forked/golang/expansion`.

use std::collections::BTreeMap;

/// Replaces every `$(NAME)` by its value. A name without a value stays as written, `$$` is a dollar sign, and a dollar
/// sign before anything else stands for itself.
pub(crate) fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match values.get(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_as_the_kubelet_replaces_them() {
        let values = [("NS", "shop"), ("A", "$(NS)"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, expected) in [
            ("--domain=$(NS).svc", "--domain=shop.svc"),
            ("$(NS)$(NS)", "shopshop"),
            ("$(MISSING)", "$(MISSING)"),
            ("[$(EMPTY)]", "[]"),
            ("$$(NS)", "$(NS)"),
            ("$$$(NS)", "$shop"),
            ("$NS", "$NS"),
            ("cost: 5$", "cost: 5$"),
            ("$(NS", "$(NS"),
            ("$(A)", "$(NS)"),
            ("é$(NS)é", "éshopé"),
        ] {
            assert_eq!(expand(text, &values), expected, "{text}");
        }
    }
}
