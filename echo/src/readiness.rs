//! When the server says it is ready: once every port is bound and every gRPC port has answered a call from the server
//! itself, or has had ten seconds to (`pkg/test/echo/server/endpoint/grpc.go`).
//!
//! As upstream, a port whose self-check fails counts as ready all the same: a port with strict mutual TLS refuses the
//! check, which carries no certificate, and would never be ready otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hermesh_xds::XdsClientPool;
use tokio::time::Instant;

use crate::event::EchoReady;
use crate::forward::forward;
use crate::proto::ForwardEchoRequest;

const LIMIT: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many endpoints have yet to report.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(Arc<AtomicUsize>);

impl Readiness {
    pub(crate) fn waiting_for(endpoints: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(endpoints)))
    }

    /// One endpoint is ready.
    pub(crate) fn report(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "each endpoint reports once");
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Calls `port` of this host until it answers or its time is up, and reports it ready.
pub(crate) async fn self_check(pool: XdsClientPool, host: std::net::IpAddr, port: u16, readiness: Readiness) {
    let request = ForwardEchoRequest {
        url: format!("grpc://{}", std::net::SocketAddr::new(host, port)),
        message: "hello".into(),
        timeout_micros: i64::try_from(TIMEOUT.as_micros()).expect("two seconds are few"),
        ..ForwardEchoRequest::default()
    };
    let end = Instant::now() + LIMIT;
    let error = loop {
        let Err(error) = forward(&pool, request.clone()).await else { break None };
        if Instant::now() + PERIOD > end {
            break Some(error.to_string());
        }
        tokio::time::sleep(PERIOD).await;
    };
    pool.runtime().emit(EchoReady { port, error });
    readiness.report();
}
