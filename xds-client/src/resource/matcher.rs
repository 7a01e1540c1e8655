//! Matchers of strings, paths and headers (gRFC A28, A63).

use std::fmt;

use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher as StringMatcherProto};
use regex::Regex;

use crate::resource::DecodeError;

/// A regular expression that must match the whole input.
#[derive(Clone)]
pub struct FullRegex {
    pattern: String,
    regex: Regex,
}

impl FullRegex {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// If it is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Ok(Self { regex: Regex::new(&format!("^(?:{pattern})$"))?, pattern: pattern.to_owned() })
    }

    /// Whether the pattern matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

impl PartialEq for FullRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for FullRegex {}

impl fmt::Debug for FullRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullRegex({:?})", self.pattern)
    }
}

/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatcher {
    /// What to look for.
    pub kind: StringMatcherKind,
    /// Whether case is ignored; has no effect on regular expressions.
    pub ignore_case: bool,
}

/// What a [`StringMatcher`] looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the protocol's own")]
pub enum StringMatcherKind {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(FullRegex),
}

impl StringMatcher {
    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let folded = |pattern: &str, test: fn(&str, &str) -> bool| {
            if self.ignore_case { test(&text.to_lowercase(), &pattern.to_lowercase()) } else { test(text, pattern) }
        };
        match &self.kind {
            StringMatcherKind::Exact(pattern) => folded(pattern, |text, pattern| text == pattern),
            StringMatcherKind::Prefix(pattern) => folded(pattern, |text, pattern| text.starts_with(pattern)),
            StringMatcherKind::Suffix(pattern) => folded(pattern, |text, pattern| text.ends_with(pattern)),
            StringMatcherKind::Contains(pattern) => folded(pattern, |text, pattern| text.contains(pattern)),
            StringMatcherKind::Regex(regex) => regex.matches(text),
        }
    }
}

/// Matches the full name of a method, such as `/echo.EchoService/Echo`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the protocol's own")]
pub enum PathMatcher {
    Exact { path: String, ignore_case: bool },
    Prefix { prefix: String, ignore_case: bool },
    Regex(FullRegex),
}

impl PathMatcher {
    /// Whether `path` matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact { path: pattern, ignore_case: false } => path == pattern,
            Self::Exact { path: pattern, ignore_case: true } => path.to_uppercase() == pattern.to_uppercase(),
            Self::Prefix { prefix, ignore_case: false } => path.starts_with(prefix),
            Self::Prefix { prefix, ignore_case: true } => path.to_uppercase().starts_with(&prefix.to_uppercase()),
            Self::Regex(regex) => regex.matches(path),
        }
    }
}

/// `envoy.config.route.v3.HeaderMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatcher {
    /// The header's name in lower case. grpc-go keeps the case and then never finds the header.
    pub name: String,
    /// What its value must be.
    pub kind: HeaderMatcherKind,
    /// Whether the outcome is inverted, once there is a value.
    pub invert: bool,
}

/// What a [`HeaderMatcher`] wants of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderMatcherKind {
    /// That it matches.
    String(StringMatcher),
    /// That it is a decimal number from `start` to below `end`.
    Range {
        /// Included.
        start: i64,
        /// Excluded.
        end: i64,
    },
    /// That it is there, or with `false` that it is not.
    Present(bool),
}

impl HeaderMatcher {
    /// Whether a header of this value matches; several values are joined by `,` first, and `None` means that there is
    /// no such header. A missing header matches nothing, inverted or not, unless presence itself is asked for.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let matched = match (&self.kind, value) {
            // grpc-go takes a header with an empty value for missing.
            (HeaderMatcherKind::Present(wanted), value) => value.is_some_and(|value| !value.is_empty()) == *wanted,
            (_, None) => return false,
            (HeaderMatcherKind::String(matcher), Some(value)) => matcher.matches(value),
            (HeaderMatcherKind::Range { start, end }, Some(value)) => {
                value.parse::<i64>().is_ok_and(|number| (*start..*end).contains(&number))
            }
        };
        matched != self.invert
    }
}

impl StringMatcher {
    pub(crate) fn from_proto(proto: &StringMatcherProto) -> Result<Self, DecodeError> {
        let non_empty = |kind: &str, text: &String| {
            if text.is_empty() {
                Err(DecodeError::new(format!("empty {kind} is not allowed in StringMatcher")))
            } else {
                Ok(text.clone())
            }
        };
        let kind = match &proto.match_pattern {
            Some(MatchPattern::Exact(text)) => StringMatcherKind::Exact(text.clone()),
            Some(MatchPattern::Prefix(text)) => StringMatcherKind::Prefix(non_empty("prefix", text)?),
            Some(MatchPattern::Suffix(text)) => StringMatcherKind::Suffix(non_empty("suffix", text)?),
            Some(MatchPattern::Contains(text)) => StringMatcherKind::Contains(non_empty("contains", text)?),
            Some(MatchPattern::SafeRegex(regex)) => StringMatcherKind::Regex(full_regex(regex)?),
            Some(MatchPattern::Custom(_)) | None => {
                return Err(DecodeError::new(
                    "unrecognized string matcher: none of exact, prefix, suffix, contains, safe_regex",
                ));
            }
        };
        Ok(Self { kind, ignore_case: proto.ignore_case })
    }
}

impl PathMatcher {
    pub(super) fn from_proto(proto: &proto::RouteMatch) -> Result<Self, DecodeError> {
        let ignore_case = proto.case_sensitive.is_some_and(|sensitive| !sensitive.value);
        match &proto.path_specifier {
            Some(PathSpecifier::Prefix(prefix)) => Ok(Self::Prefix { prefix: prefix.clone(), ignore_case }),
            Some(PathSpecifier::Path(path)) => Ok(Self::Exact { path: path.clone(), ignore_case }),
            Some(PathSpecifier::SafeRegex(regex)) => Ok(Self::Regex(full_regex(regex)?)),
            Some(PathSpecifier::ConnectMatcher(_)) => Err(unsupported_path("connect_matcher")),
            Some(PathSpecifier::PathSeparatedPrefix(_)) => Err(unsupported_path("path_separated_prefix")),
            Some(PathSpecifier::PathMatchPolicy(_)) => Err(unsupported_path("path_match_policy")),
            None => Err(DecodeError::new("route match doesn't have path specifier set")),
        }
    }
}

impl HeaderMatcher {
    pub(super) fn from_proto(proto: &proto::HeaderMatcher) -> Result<Self, DecodeError> {
        let string = |pattern| {
            let matcher = StringMatcherProto { ignore_case: false, match_pattern: Some(pattern) };
            StringMatcher::from_proto(&matcher).map(HeaderMatcherKind::String)
        };
        let kind = match proto.header_match_specifier.clone() {
            #[expect(deprecated, reason = "gRPC reads what servers sent before `string_match`")]
            Some(HeaderMatchSpecifier::ExactMatch(text)) => string(MatchPattern::Exact(text)),
            #[expect(deprecated, reason = "gRPC reads what servers sent before `string_match`")]
            Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => string(MatchPattern::SafeRegex(regex)),
            #[expect(deprecated, reason = "gRPC reads what servers sent before `string_match`")]
            Some(HeaderMatchSpecifier::PrefixMatch(text)) => string(MatchPattern::Prefix(text)),
            #[expect(deprecated, reason = "gRPC reads what servers sent before `string_match`")]
            Some(HeaderMatchSpecifier::SuffixMatch(text)) => string(MatchPattern::Suffix(text)),
            #[expect(deprecated, reason = "gRPC reads what servers sent before `string_match`")]
            Some(HeaderMatchSpecifier::ContainsMatch(text)) => string(MatchPattern::Contains(text)),
            Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
                StringMatcher::from_proto(&matcher).map(HeaderMatcherKind::String)
            }
            Some(HeaderMatchSpecifier::RangeMatch(range)) => {
                Ok(HeaderMatcherKind::Range { start: range.start, end: range.end })
            }
            Some(HeaderMatchSpecifier::PresentMatch(present)) => Ok(HeaderMatcherKind::Present(present)),
            None => Err(DecodeError::new("unrecognized header match specifier: none is set")),
        }
        .map_err(|error| DecodeError::new(format!("header matcher {:?}: {error}", proto.name)))?;
        Ok(Self { name: proto.name.to_lowercase(), kind, invert: proto.invert_match })
    }
}

fn full_regex(proto: &RegexMatcher) -> Result<FullRegex, DecodeError> {
    FullRegex::new(&proto.regex).map_err(|error| {
        DecodeError::new(format!("safe_regex {:?} is not a valid regular expression: {error}", proto.regex))
    })
}

fn unsupported_path(field: &str) -> DecodeError {
    DecodeError::new(format!("unsupported path specifier: {field}; gRPC knows prefix, path and safe_regex"))
}
