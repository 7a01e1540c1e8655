//! Call deadlines: the `grpc-timeout` header, and bodies that end when time is up (gRPC `PROTOCOL-HTTP2.md`,
//! "Timeout").

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

/// The header that carries a call's timeout.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The largest number a timeout may have: eight digits.
const MAX_AMOUNT: u128 = 99_999_999;

/// The value of `grpc-timeout` is not one to eight digits and a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed grpc-timeout {0:?}; expected at most eight digits and one of H, M, S, m, u, n")]
pub struct MalformedTimeout(String);

/// The timeout a call asks for.
///
/// # Errors
/// If the header is malformed.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// assert_eq!(hermesh_runtime::deadline::timeout(&headers), Ok(None));
/// headers.insert("grpc-timeout", "250m".parse().unwrap());
/// let timeout = std::time::Duration::from_millis(250);
/// assert_eq!(hermesh_runtime::deadline::timeout(&headers), Ok(Some(timeout)));
/// ```
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, MalformedTimeout> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let parse = |text: &str| {
        let (amount, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        if amount.is_empty() || amount.len() > 8 || !amount.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let amount: u64 = amount.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(amount * 3600),
            "M" => Duration::from_secs(amount * 60),
            "S" => Duration::from_secs(amount),
            "m" => Duration::from_millis(amount),
            "u" => Duration::from_micros(amount),
            "n" => Duration::from_nanos(amount),
            _ => return None,
        })
    };
    let timeout = value.to_str().ok().and_then(parse);
    timeout.map(Some).ok_or_else(|| MalformedTimeout(String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

/// The header value for `timeout`: in the finest unit that holds it, rounded up, as grpc-go does.
#[must_use]
pub fn header(timeout: Duration) -> HeaderValue {
    let nanos = timeout.as_nanos();
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S'), (60_000_000_000, 'M')];
    let fitting = units.iter().map(|(size, unit)| (nanos.div_ceil(*size), *unit));
    let (amount, unit) = fitting
        .into_iter()
        .find(|(amount, _)| *amount <= MAX_AMOUNT)
        .unwrap_or_else(|| (nanos.div_ceil(3_600_000_000_000).min(MAX_AMOUNT), 'H'));
    HeaderValue::try_from(format!("{amount}{unit}")).expect("digits and a letter make a header value")
}

/// The status of a call whose time is up.
#[must_use]
pub fn exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// A request's or response's body which fails with DEADLINE_EXCEEDED when it has not ended by `deadline`.
#[must_use]
pub fn fail_at(body: Body, deadline: Instant) -> Body {
    Body::new(Limited::new(body, deadline, Late::Error))
}

/// A server's response body which ends with a DEADLINE_EXCEEDED trailer when it has not ended by `deadline`.
#[must_use]
pub fn end_at(body: Body, deadline: Instant) -> Body {
    Body::new(Limited::new(body, deadline, Late::Trailers))
}

#[derive(Clone, Copy)]
enum Late {
    Error,
    Trailers,
}

struct Limited {
    /// `None` once time is up: what works on it is dropped then.
    body: Option<Body>,
    sleep: Pin<Box<Sleep>>,
    late: Late,
}

impl Limited {
    fn new(body: Body, deadline: Instant, late: Late) -> Self {
        Self { body: Some(body), sleep: Box::pin(tokio::time::sleep_until(deadline)), late }
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        // First the clock: a body that always has more would otherwise never see it.
        if this.sleep.as_mut().poll(cx).is_pending() {
            return Pin::new(body).poll_frame(cx);
        }
        this.body = None;
        Poll::Ready(Some(match this.late {
            Late::Error => Err(exceeded()),
            Late::Trailers => {
                let mut trailers = HeaderMap::new();
                exceeded().add_header(&mut trailers).map(|()| Frame::trailers(trailers))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        timeout(&HeaderMap::from_iter([(GRPC_TIMEOUT.parse().unwrap(), text.parse().unwrap())])).ok().flatten()
    }

    #[test]
    fn timeouts_are_read_in_all_units() {
        assert_eq!(parsed("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parsed("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parsed("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parsed("2m"), Some(Duration::from_millis(2)));
        assert_eq!(parsed("2u"), Some(Duration::from_micros(2)));
        assert_eq!(parsed("99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn malformed_timeouts_are_refused() {
        for text in ["", "S", "1", "-1S", "1s", "123456789n", "1.5S", "1 S"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_written_timeout_is_never_shorter_than_the_one_meant() {
        for timeout in [0, 1, 99_999_999, 100_000_000, 100_000_001, 7_000_000_000, 360_000_000_000_001] {
            let timeout = Duration::from_nanos(timeout);
            let read = parsed(header(timeout).to_str().unwrap()).unwrap();
            assert!(
                read >= timeout && read.as_secs_f64() <= timeout.as_secs_f64() * 1.001 + 1e-6,
                "{timeout:?} {read:?}"
            );
        }
        assert_eq!(header(Duration::from_millis(100)), "100000u");
        assert_eq!(header(Duration::MAX), "99999999H");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_body_ends_with_a_trailer() {
        let endless = futures::stream::repeat_with(|| Ok::<_, Status>(Frame::data(Bytes::from_static(b"more"))));
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut body = end_at(Body::new(StreamBody::new(endless)), deadline);
        assert!(body.frame().await.unwrap().unwrap().is_data());
        tokio::time::advance(Duration::from_secs(1)).await;
        let last = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(last["grpc-status"], "4");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_fails() {
        let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Status>>());
        let mut body = fail_at(Body::new(silent), Instant::now() + Duration::from_secs(1));
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
    }
}
