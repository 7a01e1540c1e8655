//! Requests counted by protocol and port, as Prometheus reads them: `istio_echo_{http,grpc,tcp}_requests_total{port}`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Grpc,
    Http,
    Tcp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// The counters; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(Arc<Mutex<BTreeMap<(Protocol, u16), u64>>>);

impl Metrics {
    pub(crate) fn count(&self, protocol: Protocol, port: u16) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((protocol, port)).or_default() += 1;
    }

    /// The text exposition format.
    pub(crate) fn text(&self) -> String {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut last = None;
        for ((protocol, port), count) in &*counters {
            let name = format!("istio_echo_{}_requests_total", protocol.name());
            if last.replace(*protocol) != Some(*protocol) {
                writeln!(text, "# TYPE {name} counter").expect("writing to a String cannot fail");
            }
            writeln!(text, "{name}{{port=\"{port}\"}} {count}").expect("writing to a String cannot fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_grouped_by_protocol() {
        let metrics = Metrics::default();
        metrics.count(Protocol::Tcp, 19090);
        metrics.count(Protocol::Grpc, 17171);
        metrics.count(Protocol::Grpc, 17070);
        metrics.count(Protocol::Grpc, 17070);
        assert_eq!(
            metrics.text(),
            "# TYPE istio_echo_grpc_requests_total counter\n\
             istio_echo_grpc_requests_total{port=\"17070\"} 2\n\
             istio_echo_grpc_requests_total{port=\"17171\"} 1\n\
             # TYPE istio_echo_tcp_requests_total counter\n\
             istio_echo_tcp_requests_total{port=\"19090\"} 1\n"
        );
    }
}
