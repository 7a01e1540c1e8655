//! How long a connection has had no call (gRFC A9, `MAX_CONNECTION_IDLE`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Counts the calls of one connection.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The last call has ended.
    idle: Notify,
}

#[derive(Clone, Copy)]
struct State {
    active: usize,
    since: Instant,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let state = Mutex::new(State { active: 0, since: Instant::now() });
        Self(Arc::new(Shared { state, idle: Notify::new() }))
    }

    /// A call begins; it lasts until the answer is dropped.
    pub(crate) fn begin(&self) -> Call {
        self.change(|state| state.active += 1);
        Call(self.clone())
    }

    /// Ends when there was no call for `limit`.
    pub(crate) async fn idle_for(&self, limit: Duration) {
        loop {
            let State { active, since } = self.change(|_| {});
            if active > 0 {
                self.0.idle.notified().await;
            } else if since.elapsed() >= limit {
                return;
            } else {
                tokio::time::sleep_until(since + limit).await;
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> State {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        *state
    }
}

pub(crate) struct Call(Calls);

impl Drop for Call {
    fn drop(&mut self) {
        let state = self.0.change(|state| {
            state.active -= 1;
            state.since = Instant::now();
        });
        if state.active == 0 {
            self.0.0.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idleness_counts_from_the_end_of_the_last_call() {
        let begin = Instant::now();
        let calls = Calls::new();
        let second = Duration::from_secs(1);
        let (first, other) = (calls.begin(), calls.begin());
        let work = async {
            tokio::time::sleep(3 * second).await;
            drop(first);
            tokio::time::sleep(3 * second).await;
            drop(other);
        };
        tokio::join!(calls.idle_for(2 * second), work);
        assert_eq!(begin.elapsed(), 8 * second);
    }
}
