//! What istiod's validation webhook refuses of the conditions of routes, and what gRPC clients do not look at.
//!
//! Source: Istio `pkg/config/validation/virtualservice.go` (`validateHTTPRouteMatchRequest`).

use super::Check;
use super::istio::gateways;
use crate::objects::names::is_mesh_label;
use crate::objects::{HttpMatch, StringMatch};
use crate::yaml::field_path;

/// How long a regular expression can be.
const REGEX_MAX: usize = 1024;

/// Whether `*` may stand for any value: it is no regular expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Star {
    IsPresence,
    IsWrong,
}

fn string_match(check: &mut Check<'_>, path: &str, condition: Option<&StringMatch>, star: Star) {
    check.only_one(path, &["exact", "prefix", "regex"], "expected one of exact, prefix or regex");
    let regex = format!("{path}.regex");
    match condition {
        Some(StringMatch::Regex(text)) if text.len() > REGEX_MAX => {
            let message = format!("{} characters are more than the {REGEX_MAX} that istiod takes", text.len());
            check.error("out-of-range", &regex, message);
        }
        Some(StringMatch::Present) if check.has(&regex) && star == Star::IsWrong => {
            check.error("invalid-value", &regex, "\"*\" is not a regular expression; `.*` is one");
        }
        _ => {}
    }
}

/// An empty prefix is one of every path, and of nothing else.
fn not_empty(check: &mut Check<'_>, path: &str, condition: Option<&StringMatch>) {
    if condition == Some(&StringMatch::Prefix(String::new())) {
        let message = "an empty prefix says nothing; leave the condition out, or write `regex: .*`";
        check.error("missing-field", &format!("{path}.prefix"), message);
    }
}

pub(super) fn match_fields(check: &mut Check<'_>, path: &str, http_match: &HttpMatch) {
    string_match(check, &format!("{path}.uri"), http_match.uri.as_ref(), Star::IsWrong);
    let headers = [("headers", &http_match.headers), ("withoutHeaders", &http_match.without_headers)];
    for (field, headers) in headers {
        let star = if field == "headers" { Star::IsWrong } else { Star::IsPresence };
        for (name, condition) in headers {
            let path = field_path(&format!("{path}.{field}"), name);
            string_match(check, &path, Some(condition), star);
            not_empty(check, &path, Some(condition));
            let is_token = |b: u8| b.is_ascii_graphic() && !br#"(),/:;<=>?@[\]{}""#.contains(&b);
            if name.starts_with('@') {
                check.error("not-supported", &path, "matching on JWT claims is not supported yet");
            } else if name.is_empty() || !name.bytes().all(is_token) {
                check.error("invalid-name", &path, format!("invalid header name {name:?}"));
            } else if field == "headers" && name.to_ascii_lowercase().ends_with("-bin") {
                // gRFC A28: they count as absent.
                let message = "gRPC clients keep binary metadata (-bin) out of routing: no call takes the route";
                check.warning("never-matches", &path, message);
            }
        }
    }
    if let Some(port) = http_match.port.filter(|port| *port != 0) {
        check.port(&format!("{path}.port"), port);
    }
    check.labels(&format!("{path}.sourceLabels"), &http_match.source_labels);
    gateways(check, &format!("{path}.gateways"), &http_match.gateways);
    if let Some(namespace) = http_match.source_namespace.as_deref().filter(|it| !it.is_empty() && !is_mesh_label(it)) {
        let message = format!("expected a namespace, found {namespace:?}; use letters, digits and inner dashes");
        check.error("invalid-name", &format!("{path}.sourceNamespace"), message);
    }
    let pseudo = [("method", &http_match.method), ("authority", &http_match.authority), ("scheme", &http_match.scheme)];
    for (field, condition) in pseudo {
        string_match(check, &format!("{path}.{field}"), condition.as_ref(), Star::IsWrong);
        not_empty(check, &format!("{path}.{field}"), condition.as_ref());
        if condition.is_some() {
            let message = "gRPC clients match metadata only, never this: no call takes the route";
            check.warning("never-matches", &format!("{path}.{field}"), message);
        }
    }
    for (name, condition) in &http_match.query_params {
        let path = field_path(&format!("{path}.queryParams"), name);
        string_match(check, &path, Some(condition), Star::IsWrong);
        not_empty(check, &path, Some(condition));
    }
    if !http_match.query_params.is_empty() {
        let message = "gRPC clients leave out routes with query parameters: no call takes the route";
        check.warning("never-matches", &format!("{path}.queryParams"), message);
    }
}
