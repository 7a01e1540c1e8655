//! `latency`, `attempts`, `codes`, `causes`, `versions`, `callers` and `pods`: figures that calls are to keep to.

mod judge;
mod sense;
mod shapes;
mod values;

use schemars::JsonSchema;

use super::read::{At, Cursor, Fields, Place, is_decimal, unknown};
use super::reader::is_spiffe;
use super::schema::Spiffe;
use super::words::{ALL_CODES, CAUSES};
use shapes::{AttemptsShape, CallersShape, CausesShape, CodesShape, CountShape, LatencyShape, VersionsShape};
use values::{Amount, Attempts, Bound, Count, Quantile};

pub(super) use judge::judge;
pub(super) use sense::Sense;

/// The fields of [`Figures`].
pub(super) const FIGURES: [&str; 8] =
    ["caller", "latency", "attempts", "codes", "causes", "versions", "callers", "pods"];

/// Those of them that say that calls succeed, or that not all fail alike.
pub(super) const OF_OUTCOMES: [&str; 6] = ["caller", "codes", "causes", "versions", "callers", "pods"];

/// Who a server takes a caller for that shows no certificate.
const NOBODY: &str = "nobody";

/// The version of an answer that names none.
const NO_VERSION: &str = "none";

/// What calls are to keep to, beside who answers and how they fail.
#[derive(Clone, Debug, Default, JsonSchema)]
pub(super) struct Figures {
    /// Whom every server that was reached takes the caller for: a SPIFFE identity.
    #[schemars(with = "Option<Spiffe>")]
    pub caller: Option<At<String>>,
    /// How long the calls take that succeed, or that fail where `error` or `cause` expects it, by quantile.
    #[schemars(with = "Option<LatencyShape>")]
    pub latency: Option<At<Latency>>,
    /// How many attempts each call takes, or how many calls take how many.
    #[schemars(with = "Option<AttemptsShape>")]
    pub attempts: Option<At<Attempts>>,
    /// How many calls end with which status code; with others none may.
    #[schemars(with = "Option<CodesShape>")]
    pub codes: Option<At<Tally>>,
    /// How many of the calls that fail do so because of what; because of anything else none may.
    #[schemars(with = "Option<CausesShape>")]
    pub causes: Option<At<Tally>>,
    /// How many calls each version of the echo application answers; others answer none.
    #[schemars(with = "Option<VersionsShape>")]
    pub versions: Option<At<Tally>>,
    /// How many calls are answered by servers that take the caller for which identity, or for `nobody`.
    #[schemars(with = "Option<CallersShape>")]
    pub callers: Option<At<Tally>>,
    /// How many pods answer.
    #[schemars(with = "Option<CountShape>")]
    pub pods: Option<At<Count>>,
}

/// Bounds by quantile, in the order of the file.
pub(super) type Latency = Vec<(At<Quantile>, At<Bound>)>;

/// How many calls by key, in the order of the file.
pub(super) type Tally = Vec<(At<String>, At<Amount>)>;

impl Figures {
    /// Whether nothing is expected.
    pub(super) fn is_empty(&self) -> bool {
        self.of_each_call().is_none() && self.of_outcomes().next().is_none()
    }

    /// Whether something is that ForwardEcho's answers do not tell.
    pub(super) fn are_of_channels(&self) -> bool {
        self.of_each_call().is_some()
    }

    /// Whether they say how many calls may fail, so that the others are judged by themselves.
    pub(super) fn let_fail(&self) -> bool {
        self.codes.is_some() || self.causes.is_some()
    }

    /// The fields that say that calls succeed, or that not all fail alike.
    fn of_outcomes(&self) -> impl Iterator<Item = (&'static str, &Place)> {
        let tallies = [
            ("codes", &self.codes),
            ("causes", &self.causes),
            ("versions", &self.versions),
            ("callers", &self.callers),
        ];
        let tallies = tallies.into_iter().filter_map(|(name, tally)| Some((name, &tally.as_ref()?.place)));
        let caller = self.caller.iter().map(|caller| ("caller", &caller.place));
        caller.chain(tallies).chain(self.pods.iter().map(|pods| ("pods", &pods.place)))
    }

    /// The first field that only a channel with xDS tells of, with its name.
    fn of_each_call(&self) -> Option<(&'static str, &Place)> {
        let latency = self.latency.as_ref().map(|latency| ("latency", &latency.place));
        let attempts = self.attempts.as_ref().map(|attempts| ("attempts", &attempts.place));
        let codes = self.codes.as_ref().map(|codes| ("codes", &codes.place));
        let causes = self.causes.as_ref().map(|causes| ("causes", &causes.place));
        latency.or(attempts).or(codes).or(causes)
    }
}

/// Takes the figures out of an expectation's fields.
pub(super) fn figures(fields: &mut Fields<'_>) -> Figures {
    let code = |key: &str| ALL_CODES.contains(&key).then_some(()).ok_or_else(|| unknown("status code", key, ALL_CODES));
    let cause = |key: &str| CAUSES.contains(&key).then_some(()).ok_or_else(|| unknown("cause", key, &CAUSES));
    let version = |key: &str| {
        let blank = key.trim().is_empty();
        if blank { Err("expected a version such as `v1`, or `none`, found an empty text".to_owned()) } else { Ok(()) }
    };
    let identity = |key: &str| {
        let expected = "expected `nobody`, or a SPIFFE identity such as `spiffe://cluster.local/ns/shop/sa/default`";
        (key == NOBODY || is_spiffe(key)).then_some(()).ok_or_else(|| format!("{expected}, found {key:?}"))
    };
    Figures {
        caller: fields.optional("caller").and_then(|field| self::caller(&field)),
        latency: fields.optional("latency").and_then(|field| latency(&field)),
        attempts: fields.optional("attempts").and_then(|field| attempts(&field)),
        codes: fields
            .optional("codes")
            .and_then(|field| tally(&field, "by code, such as `{OK: 70%, UNAVAILABLE: 30%}`", code)),
        causes: fields
            .optional("causes")
            .and_then(|field| tally(&field, "by cause, such as `{deadline: 1..3}`", cause)),
        versions: fields
            .optional("versions")
            .and_then(|field| tally(&field, "by version, such as `{v1: all}`", version)),
        callers: fields.optional("callers").and_then(|field| tally(&field, "by identity, or for `nobody`", identity)),
        pods: fields.optional("pods").and_then(|field| field.parsed("how many pods answer, such as `1` or `2..3`")),
    }
}

fn caller(field: &Cursor<'_>) -> Option<At<String>> {
    let caller = field.text("a SPIFFE identity")?;
    if !is_spiffe(&caller.value) {
        let expected = "expected a SPIFFE identity such as `spiffe://cluster.local/ns/shop/sa/default`";
        field.error("bad-value", format!("{expected}, found {:?}", caller.value));
        return None;
    }
    Some(caller)
}

fn latency(field: &Cursor<'_>) -> Option<At<Latency>> {
    let entries = filled(field, "bounds by quantile: a mapping such as `{p50: <20ms, max: <1s}`")?;
    let whole = entries.len();
    let bound = |(key, value): (At<String>, Cursor<'_>)| {
        let bound: Option<At<Bound>> = value.parsed("a bound such as `<20ms`");
        match key.value.parse() {
            Ok(quantile) => Some((At { value: quantile, place: key.place }, bound?)),
            Err(message) => {
                value.error_in(&key.place, "bad-value", message);
                None
            }
        }
    };
    let value: Vec<_> = entries.into_iter().filter_map(bound).collect();
    (value.len() == whole).then(|| At { value, place: field.place() })
}

fn attempts(field: &Cursor<'_>) -> Option<At<Attempts>> {
    if field.node.entries().is_none() {
        let each: At<Count> = field.parsed("how many attempts each call takes, or calls by attempts: `{1: all}`")?;
        return Some(At { value: Attempts::Each(each.value), place: each.place });
    }
    let number = |key: &str| {
        let plain = key == "0" || is_decimal(key) && !key.starts_with('0');
        let number: Option<u32> = key.parse().ok().filter(|_| plain);
        number.map(|_| ()).ok_or_else(|| format!("expected a number of attempts such as `1`, found {key:?}"))
    };
    let of = tally(field, "by attempts, such as `{1: 99%, 2: 1%}`", number)?;
    Some(At { value: Attempts::Calls(of.value), place: of.place })
}

fn tally(field: &Cursor<'_>, what: &str, is_key: impl Fn(&str) -> Result<(), String>) -> Option<At<Tally>> {
    let entries = filled(field, &format!("how many calls {what}"))?;
    let whole = entries.len();
    let amount = |(key, value): (At<String>, Cursor<'_>)| {
        let amount = value.parsed("a number or a share such as `3`, `2..3`, `all`, `20%` or `0%..1%`");
        match is_key(&key.value) {
            Ok(()) => Some((key, amount?)),
            Err(message) => {
                value.error_in(&key.place, "unknown-value", message);
                None
            }
        }
    };
    let value: Vec<_> = entries.into_iter().filter_map(amount).collect();
    // Sums over a part would be nonsense.
    (value.len() == whole).then(|| At { value, place: field.place() })
}

fn filled<'n>(field: &Cursor<'n>, expected: &str) -> Option<Vec<(At<String>, Cursor<'n>)>> {
    let entries = field.entries(expected)?;
    if entries.is_empty() {
        field.error("empty", format!("expected {expected}, found an empty one"));
        return None;
    }
    Some(entries)
}
