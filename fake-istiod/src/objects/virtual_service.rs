//! Istio's VirtualService: which request goes where.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::{HttpFaultInjection, Labels, Metadata, duration, numbers};
use crate::yaml::Spanned;

/// `networking.istio.io VirtualService`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: VirtualServiceSpec,
}

/// A VirtualService's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualServiceSpec {
    /// The hosts requests are addressed to; without dots they are services of the object's namespace.
    pub hosts: Vec<Spanned<String>>,
    /// The gateways the routes are for; `mesh` if empty.
    pub gateways: Vec<String>,
    /// The routes, in order.
    pub http: Vec<HttpRoute>,
    /// The namespaces whose clients see the routes: names, `.` or `*`; all if empty.
    pub export_to: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// A name for people.
    pub name: String,
    /// The requests it is for, any of them; all requests if empty.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Where they go.
    pub route: Vec<HttpRouteDestination>,
    /// Where clients are sent instead; RPCs fail on it.
    pub redirect: Option<HttpRedirect>,
    /// What is answered instead; RPCs fail on it.
    pub direct_response: Option<HttpDirectResponse>,
    /// How long a call may take.
    #[serde(deserialize_with = "duration::optional")]
    pub timeout: Option<Duration>,
    /// How failed calls are repeated.
    pub retries: Option<HttpRetry>,
    /// Which calls are held back or fail on purpose.
    pub fault: Option<HttpFaultInjection>,
}

/// The requests a rule is for: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// A name for people.
    pub name: String,
    /// The path, `/package.Service/Method` for gRPC.
    pub uri: Option<StringMatch>,
    /// Whether the path's case is ignored.
    pub ignore_uri_case: bool,
    /// Headers (metadata) that must match.
    pub headers: BTreeMap<String, StringMatch>,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// The HTTP method, which gRPC clients never match.
    pub method: Option<StringMatch>,
    /// The authority, which gRPC clients never match.
    pub authority: Option<StringMatch>,
    /// The scheme, which gRPC clients never match.
    pub scheme: Option<StringMatch>,
    /// Query parameters, whose routes gRPC clients leave out.
    pub query_params: BTreeMap<String, StringMatch>,
    /// The service's port.
    #[serde(deserialize_with = "numbers::optional_port")]
    pub port: Option<u32>,
    /// Labels of the client's workload.
    pub source_labels: Labels,
    /// The client's namespace.
    pub source_namespace: Option<String>,
    /// The gateways this match is for; those of the object if empty.
    pub gateways: Vec<String>,
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawStringMatch")]
pub enum StringMatch {
    /// The whole text.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// The whole text, by an RE2 expression.
    Regex(String),
    /// Any text.
    Present,
}

#[derive(Default, Deserialize)]
#[serde(rename = "StringMatch", rename_all = "camelCase", default)]
struct RawStringMatch {
    exact: Option<String>,
    prefix: Option<String>,
    #[serde(deserialize_with = "regular_expression")]
    regex: Option<String>,
}

impl From<RawStringMatch> for StringMatch {
    /// That there is no second condition is looked at where the rest of the match is.
    fn from(raw: RawStringMatch) -> Self {
        match (raw.exact, raw.prefix, raw.regex) {
            (Some(text), ..) => Self::Exact(text),
            (None, Some(text), _) => Self::Prefix(text),
            // No regular expression: Istio takes it for any value.
            (None, None, Some(text)) if text == "*" => Self::Present,
            (None, None, Some(text)) => Self::Regex(text),
            (None, None, None) => Self::Present,
        }
    }
}

/// Reads an optional regular expression; for `#[serde(deserialize_with)]`.
fn regular_expression<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if text.is_empty() {
        return Err(de::Error::custom("an empty regular expression matches nothing"));
    }
    // That is no expression, and where it may be there is looked at with the rest of the match.
    if text == "*" {
        return Ok(Some(text));
    }
    match regex::Regex::new(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            Err(de::Error::custom(format!("{text:?} is not a regular expression: {reason}")))
        }
    }
}

/// Where requests go, and which share of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteDestination {
    /// Where.
    pub destination: Destination,
    /// The share, in proportion to the sum of all weights.
    pub weight: i32,
}

/// A service, or a subset of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// The service; without dots it is one of the object's namespace.
    pub host: Spanned<String>,
    /// A subset that a DestinationRule defines.
    pub subset: Option<Spanned<String>>,
    /// The service's port; the one the request was for if absent.
    pub port: Option<PortSelector>,
}

/// A service's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// Its number.
    #[serde(deserialize_with = "numbers::port")]
    pub number: u32,
}

/// Where clients are sent instead. gRPC has no redirects: RPCs fail on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// The new path.
    pub uri: String,
    /// The new authority.
    pub authority: String,
    /// The HTTP status; 301 if 0.
    pub redirect_code: u32,
}

/// What is answered instead. gRPC clients do not do that: RPCs fail on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDirectResponse {
    /// The HTTP status.
    pub status: u32,
}

/// How failed calls are repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// How often at most; 0 turns retries off.
    pub attempts: i32,
    /// How long each may take.
    #[serde(deserialize_with = "duration::optional")]
    pub per_try_timeout: Option<Duration>,
    /// On which failures, comma separated.
    pub retry_on: String,
    /// The pause before the first repetition.
    #[serde(deserialize_with = "duration::optional")]
    pub backoff: Option<Duration>,
}
