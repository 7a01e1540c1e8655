//! When the server ends after SIGTERM: once a second passes without a request, at most ten seconds later, so that
//! callers whose view of the endpoints is old still find it (`pkg/test/echo/cmd/server`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const QUIET: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(10);

/// When the last request came; shared by all endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<Mutex<Option<Instant>>>);

impl Activity {
    /// A request has come.
    pub(crate) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when a server that was asked to terminate just now may.
    pub(crate) async fn quiet(&self) {
        let asked = Instant::now();
        loop {
            let end = end(asked, self.last());
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// When a server that was asked to terminate at `asked` ends, if no request follows that at `last`.
fn end(asked: Instant, last: Option<Instant>) -> Instant {
    let quiet_since = last.map_or(asked, |last| last.max(asked));
    (quiet_since + QUIET).min(asked + LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_a_second_after_the_last_request_and_ten_after_being_asked_at_most() {
        let asked = Instant::now() + Duration::from_secs(100);
        let at = |seconds: f64| asked + Duration::from_secs_f64(seconds);
        assert_eq!(end(asked, None), at(1.0));
        assert_eq!(end(asked, Some(asked - Duration::from_secs(50))), at(1.0));
        assert_eq!(end(asked, Some(at(0.5))), at(1.5));
        assert_eq!(end(asked, Some(at(9.5))), at(10.0));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_put_the_end_off() {
        let activity = Activity::default();
        let begin = Instant::now();
        let noting = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(800)).await;
                activity.note();
            }
        };
        tokio::join!(activity.quiet(), noting);
        assert_eq!(begin.elapsed(), Duration::from_millis(3 * 800 + 1000));
    }
}
