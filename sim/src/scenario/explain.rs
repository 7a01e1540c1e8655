//! Why an expectation failed: the trace's causes, walked back from the event that tells of the failure.

use hermesh_runtime::http2::ConnectionFailed;
use hermesh_runtime::server::ConnectionRejected;
use hermesh_xds::ConfigApplied;
use serde::Serialize;
use serde_json::Value;

use crate::engine::NetConnect;
use crate::trace::{Recorded, Trace};

/// How many events of a chain of causes are shown.
const CHAIN_MAX: usize = 12;

/// How long after its client a server may notice that a connection failed.
const PEER_LATE_US: u64 = 1_000_000;

/// Long field values are cut in explanations; the trace has all of them.
const VALUE_MAX: usize = 160;

/// What went wrong with a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where the expectation stands: `file:line:column`.
    pub place: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// What led there, the earliest first.
    pub why: Vec<String>,
    /// The command that repeats it.
    pub again: String,
}

/// The causes of the event `seq`, the earliest first, and the event itself; of a failed connection also what the server
/// said of it.
pub(super) fn causes(trace: &Trace, seq: u64) -> Vec<String> {
    let mut chain: Vec<&Recorded> = trace.causes(seq).take(CHAIN_MAX).collect();
    let rejections: Vec<&Recorded> = chain.iter().filter_map(|recorded| rejection(trace, recorded)).collect();
    chain.extend(rejections);
    chain.sort_by_key(|recorded| recorded.seq);
    chain.into_iter().map(line).collect()
}

/// What the server said of a connection that failed at its client.
fn rejection<'t>(trace: &'t Trace, recorded: &Recorded) -> Option<&'t Recorded> {
    let failed: &ConnectionFailed = recorded.get()?;
    let index = usize::try_from(recorded.seq - 1).ok()?;
    let (before, after) = trace.events().split_at_checked(index)?;
    let (connect, from) = before.iter().enumerate().rev().find_map(|(index, event)| {
        let connect: &NetConnect = event.get().filter(|_| event.at == recorded.at)?;
        let to = connect.backend.as_ref().unwrap_or(&connect.to);
        (*to == failed.address).then_some((index, &connect.from))
    })?;
    let said = before[connect..].iter().chain(after);
    said.take_while(|event| event.t_us <= recorded.t_us + PEER_LATE_US)
        .find(|event| event.get::<ConnectionRejected>().is_some_and(|rejected| rejected.peer == *from))
}

/// The configuration that the process `at` (or a container of the pod `at`) last had in use for `target`.
pub(super) fn configuration(trace: &Trace, at: &str, target: &str) -> Vec<String> {
    let applied = trace
        .of::<ConfigApplied>()
        .filter(|(recorded, applied)| recorded.is_at(at) && *applied.target == *target)
        .last();
    applied.map(|(recorded, _)| causes(trace, recorded.seq)).unwrap_or_default()
}

/// One event as people read it: `12.310s echo-grpc/echo-v1-x/app conn.failed address=10.0.0.5:17070
/// stage=tls-handshake`.
fn line(recorded: &Recorded) -> String {
    let mut json = Vec::new();
    recorded.event.write_json(&mut json);
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(&json).unwrap_or_default();
    let fields = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!(" {name}={}", cut(&plain(value))));
    let seconds = recorded.t_us / 1_000_000;
    let millis = recorded.t_us / 1_000 % 1_000;
    format!("{seconds}.{millis:03}s {} {}{}", recorded.at, recorded.kind, fields.collect::<String>())
}

/// A value without JSON's quotes, and without the versions of parts, which only the trace needs.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, value)| !name.ends_with("version") && !value.is_null());
            let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", plain(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hermesh_runtime::{AnyEvent, Level};

    use super::*;
    use crate::trace::Header;

    hermesh_runtime::event! {
        /// Something broke.
        Broke = "test.broke" { what: String, detail: Option<String>, }
    }

    #[test]
    fn values_read_without_quotes_and_versions() {
        let value = serde_json::json!([{"name": "a", "version": "1", "endpoints": 2, "error": null}, "b"]);
        assert_eq!(plain(&value), "[{name=a, endpoints=2}, b]");
    }

    #[test]
    fn causes_read_from_the_earliest_to_the_failure() {
        let header = Header {
            format: Header::FORMAT,
            version: "0.0.0",
            seed: 1,
            scenario: None,
            profile: "istio".into(),
            epoch_s: 0,
        };
        let mut trace = Trace::new(header, Level::Info, true);
        let mut record = |ms, cause, what: &str| {
            let event: Arc<dyn AnyEvent> = Arc::new(Broke { what: what.into(), detail: None });
            trace.record(Duration::from_millis(ms), &"ns/pod/app".into(), cause, event)
        };
        let first = record(1_500, None, "cable");
        record(1_600, None, "nothing to do with it");
        let last = record(2_000, first, &"x".repeat(200));
        let lines = causes(&trace, last.unwrap().seq());
        assert_eq!(lines[0], "1.500s ns/pod/app test.broke what=cable");
        assert_eq!(lines[1], format!("2.000s ns/pod/app test.broke what={}...", "x".repeat(160)));
        assert_eq!(lines.len(), 2);
    }
}
