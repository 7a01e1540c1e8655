//! What connections tell of themselves, and how the OS runtime passes it on to `tracing`.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use crate::common::{Ca, DB, NOW, WEB, client_tls, meet, nobody, only, server_tls};
use hermesh_runtime::http2::{ConnectOptions, connect};
use hermesh_runtime::tls::ClientAuth;
use hermesh_runtime::{Level, os};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;

hermesh_runtime::event! {
    /// Why the test connects.
    Reason = "test.reason" {
        why: &'static str,
    }
}

/// Keeps every `tracing` event of target `hermesh` as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn record() -> (Self, DefaultGuard) {
        let lines = Self::default();
        (lines.clone(), tracing::subscriber::set_default(lines))
    }

    fn of_kind(&self, kind: &str) -> Vec<String> {
        let kind = format!("kind={kind:?} ");
        self.0.lock().unwrap().iter().filter(|line| line.contains(&kind)).cloned().collect()
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "hermesh" && *metadata.level() <= tracing::Level::INFO
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

#[tokio::test]
async fn both_ends_tell_of_a_connection() {
    let (lines, _guard) = Lines::record();
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    let server = server_tls(&rt, ca.identity(DB, NOW), ClientAuth::Required(ca.trust()));
    let client = client_tls(&rt, ca.trust(), Some(ca.identity(WEB, NOW)), only(DB));
    let (client, served) = meet(&rt, Some(client), Some(server)).await;
    assert!(client.is_ok() && served.is_ok());
    let [ready] = &lines.of_kind("conn.ready")[..] else { panic!("{lines:?}", lines = lines.0) };
    assert!(ready.contains("\"tls\":true") && ready.contains(&format!("\"peer_spiffe\":\"{DB}\"")), "{ready}");
    let [accepted] = &lines.of_kind("conn.accepted")[..] else { panic!("{lines:?}", lines = lines.0) };
    assert!(accepted.contains(&format!("\"peer_spiffe\":\"{WEB}\"")), "{accepted}");
}

#[tokio::test]
async fn both_ends_tell_of_a_refusal_and_its_stage() {
    let (lines, _guard) = Lines::record();
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    let server = server_tls(&rt, ca.identity(DB, NOW), ClientAuth::Required(ca.trust()));
    let client = client_tls(&rt, ca.trust(), None, only(DB));
    let (client, served) = meet(&rt, Some(client), Some(server)).await;
    assert!(client.is_err_and(|error| error.event.is_some()) && served.is_err());
    for kind in ["conn.failed", "conn.rejected"] {
        let [line] = &lines.of_kind(kind)[..] else { panic!("{lines:?}", lines = lines.0) };
        assert!(line.contains("\"stage\":\"tls-handshake\""), "{line}");
    }
    assert!(lines.of_kind("conn.ready").is_empty(), "TLS was done for the client, but it was never ready");
}

#[tokio::test]
async fn an_event_names_its_cause() {
    let (lines, _guard) = Lines::record();
    let rt = os::runtime();
    let cause = rt.emit(Reason { why: "to see it fail" });
    let options = ConnectOptions { cause, ..ConnectOptions::default() };
    let error = connect(&rt, nobody(), &options).await.unwrap_err();
    assert!(error.event > cause, "later events have higher numbers");
    let [failed] = &lines.of_kind("conn.failed")[..] else { panic!("{lines:?}", lines = lines.0) };
    assert!(failed.contains(&format!("cause={} ", cause.unwrap().seq())), "{failed}");
}

#[test]
fn nothing_is_recorded_where_nobody_listens() {
    let rt = os::runtime();
    assert!(!rt.records(Level::Info));
    assert_eq!(rt.emit(Reason { why: "in vain" }), None);
    let (_lines, _guard) = Lines::record();
    assert!(rt.records(Level::Info) && !rt.records(Level::Wire));
    assert!(rt.emit(Reason { why: "for the record" }).is_some());
}
