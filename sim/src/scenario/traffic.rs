//! `load` and `stop`: traffic at a steady rate over one channel, and what must have come of it.

use std::str::FromStr;

use schemars::JsonSchema;

use super::figures::{FIGURES, Figures, figures};
use super::file::{ByWorkload, TIMEOUT_MAX, WAIT_MAX};
use super::read::{At, Cursor, Place};
use super::reader::{by_workload, headers, positive_time, target, time};
use super::schema::{
    CallTime, CauseWord, Code, ErrorCount, Headers, LoadName, LoadRate, LoadUrl, PerWorkload, Pod, ScalarText, Text,
    WaitTime,
};
use super::target::Target;
use super::units::{Calls, Percent, Time};
use super::words::{CAUSES, CODES};

/// How many calls a second a load makes at most.
pub(super) const LOAD_RATE_MAX: u64 = 10_000;

/// Calls at a steady rate over one channel, until the load is stopped.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Load {
    /// By which `stop` knows it: lower-case letters, digits and `-`.
    #[schemars(with = "LoadName")]
    pub name: At<String>,
    /// The workload that calls; its first pod does.
    #[schemars(with = "Pod")]
    pub from: At<Target>,
    /// Whom to call: `xds:///host:port`.
    #[schemars(with = "LoadUrl")]
    pub url: At<String>,
    /// Calls a second.
    #[schemars(with = "LoadRate")]
    pub qps: u64,
    /// Metadata to send; `Host` becomes the authority.
    #[schemars(with = "Headers")]
    #[schemars(default)]
    pub headers: Vec<(At<String>, String)>,
    /// The text to have echoed.
    #[schemars(with = "Option<ScalarText>")]
    pub message: Option<String>,
    /// For each call; 5s if left out.
    #[schemars(with = "Option<CallTime>")]
    pub timeout: Option<At<Time>>,
}

/// What must have come of a load, or of the part of it that was sent in a window. All of it must hold.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1), transform = super::schema::load_expectation)]
pub(super) struct LoadExpect {
    /// `none`, or how many calls failed: a number or a range.
    #[schemars(with = "Option<ErrorCount>")]
    pub errors: Option<At<Errors>>,
    /// How many calls each workload answers; workloads that are not named answer none.
    #[schemars(with = "Option<PerWorkload<Calls>>")]
    pub to: Option<At<ByWorkload<Calls>>>,
    /// Which share of the calls each workload answers, judged by exact binomial bounds.
    #[schemars(with = "Option<PerWorkload<Percent>>")]
    pub share: Option<At<ByWorkload<Percent>>>,
    /// The status code with which every call fails.
    #[schemars(with = "Option<Code>")]
    pub error: Option<At<&'static str>>,
    /// Why every call fails.
    #[schemars(with = "Option<CauseWord>")]
    pub cause: Option<At<&'static str>>,
    /// Figures that they keep to.
    #[schemars(flatten)]
    pub figures: Figures,
    /// The name of a step: of the calls sent after it was done.
    #[schemars(with = "Option<Text>")]
    pub since: Option<At<String>>,
    /// The name of a step: of the calls sent from its beginning until the next named step begins.
    #[schemars(with = "Option<Text>")]
    pub throughout: Option<At<String>>,
    /// The name of a step: of the calls sent when `within` has passed since it was done, until the end.
    #[schemars(with = "Option<Text>")]
    pub eventually: Option<At<String>>,
    /// How long it may take until it is so for good; 60s if left out.
    #[schemars(with = "Option<WaitTime>")]
    pub within: Option<At<Time>>,
    /// Where it begins.
    #[schemars(skip)]
    pub place: Place,
}

/// How many calls may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errors {
    pub low: u64,
    pub high: u64,
}

impl FromStr for Errors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected `none`, or how many calls fail, such as `3` or `0..3`, found {text:?}");
        match text {
            "none" => Ok(Self { low: 0, high: 0 }),
            text => match text.parse() {
                Ok(Calls::Between(low, high)) => Ok(Self { low, high }),
                Ok(Calls::All) => Err(expected()),
                Err(error) if text.contains("..") => Err(error),
                Err(_) => Err(expected()),
            },
        }
    }
}

impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { high: 0, .. } => f.write_str("no call fails"),
            Self { low, high } => write!(f, "{} calls fail", Calls::Between(*low, *high)),
        }
    }
}

pub(super) fn load(cursor: &Cursor<'_>) -> Option<Load> {
    let mut fields = cursor.fields("a load: a mapping with `name`, `from`, `url` and `qps`")?;
    let name = fields.required("name").and_then(|field| name(&field));
    let from = fields.required("from").and_then(|field| target(&field, "the workload that calls"));
    let url = fields.required("url").and_then(|field| field.text("a URL such as `xds:///echo:7070`"));
    let qps = fields.required("qps").and_then(|field| field.integer(1, LOAD_RATE_MAX));
    let headers = fields.optional("headers").and_then(|field| headers(&field)).unwrap_or_default();
    let message = fields.optional("message").and_then(|field| field.scalar("a text")).map(|text| text.value);
    let timeout = fields.optional("timeout").and_then(|field| positive_time(&field, TIMEOUT_MAX));
    fields.finish(&[("count", "a load goes on until it is stopped; for a number of calls write `call`")]);
    Some(Load { name: name?, from: from?, url: url?, qps: qps?.value, headers, message, timeout })
}

/// What `stop` names.
pub(super) fn name(field: &Cursor<'_>) -> Option<At<String>> {
    let name = field.text("the name of a load")?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let text = &name.value;
    if text.len() > 40 || !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        let message = format!("{text:?} is no name of a load: up to 40 lower-case letters, digits and `-`");
        field.error("bad-value", message);
        return None;
    }
    Some(name)
}

/// One expectation, or a list of them.
pub(super) fn expectations(cursor: &Cursor<'_>) -> Vec<LoadExpect> {
    cursor.one_or_many("what to expect, such as `{errors: none}`").iter().filter_map(expectation).collect()
}

fn expectation(cursor: &Cursor<'_>) -> Option<LoadExpect> {
    let mut fields = cursor.fields("what to expect of a load: a mapping such as `{errors: none}`")?;
    let expect = LoadExpect {
        errors: fields.optional("errors").and_then(|field| field.parsed("`none`, or how many calls fail")),
        to: fields.optional("to").and_then(|field| by_workload(&field, "calls", "a number such as `2..3`")),
        share: fields.optional("share").and_then(|field| by_workload(&field, "shares", "a share such as `20%`")),
        error: fields.optional("error").and_then(|field| field.word("status code", CODES)),
        cause: fields.optional("cause").and_then(|field| field.word("cause", &CAUSES)),
        figures: figures(&mut fields),
        since: fields.optional("since").and_then(|field| field.text("the name of a step")),
        throughout: fields.optional("throughout").and_then(|field| field.text("the name of a step")),
        eventually: fields.optional("eventually").and_then(|field| field.text("the name of a step")),
        within: fields.optional("within").and_then(|field| time(&field, "a time such as `30s`", WAIT_MAX)),
        place: cursor.place(),
    };
    if !["errors", "to", "share", "error", "cause"].into_iter().chain(FIGURES).any(|name| fields.has(name)) {
        let message = "expects nothing; write what must come of the calls, such as `{errors: none}`";
        cursor.error("empty", message);
    }
    let windows = [("since", &expect.since), ("throughout", &expect.throughout), ("eventually", &expect.eventually)];
    let given: Vec<_> = windows.iter().filter_map(|(name, window)| Some((name, window.as_ref()?))).collect();
    if let [(first, _), (second, at), ..] = given.as_slice() {
        cursor.error_in(&at.place, "contradiction", format!("`{first}` and `{second}` exclude each other"));
    }
    if let (Some(within), false) = (&expect.within, fields.has("eventually")) {
        let message = "`within` is how long `eventually` may take: write `eventually` with the name of a step";
        cursor.error_in(&within.place, "contradiction", message);
    }
    fields.finish(&[("ok", "`ok` is for `call`; for a load write `errors: none`")]);
    Some(expect)
}
