//! Runs: a simulation is one thread, and a panic in it must not take the report along.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use hermesh::scenario::{InputError, Run, RunError, RunOptions, Scenario};

/// A run and the time it took.
pub(super) type Played = Result<(Run, Duration), NotPlayed>;

/// Why there is no run.
#[derive(Debug)]
pub(super) enum NotPlayed {
    /// The mesh cannot start as the scenario has it.
    Setting(InputError),
    /// A fault of Hermesh.
    Fault(String),
}

/// Plays a scenario on this thread. The main one is the better for it: the heap of a fresh one grows page by page with
/// the allocator of Linux.
pub(super) fn play(scenario: &Scenario, options: &RunOptions) -> Played {
    let begin = now();
    let fault = |error: String| NotPlayed::Fault(format!("{error}\nto repeat it: {}", scenario.again(options)));
    match catch_unwind(AssertUnwindSafe(|| scenario.run(options))) {
        Ok(Ok(run)) => Ok((run, begin.elapsed())),
        Ok(Err(RunError::Setting(error))) => Err(NotPlayed::Setting(error)),
        Ok(Err(error)) => Err(fault(error.to_string())),
        Err(panic) => Err(fault(format!("panic: {}", message(&*panic)))),
    }
}

/// Plays a scenario on a fresh thread.
pub(super) fn apart(scenario: &Scenario, options: &RunOptions) -> Played {
    std::thread::scope(|scope| scope.spawn(|| play(scenario, options)).join())
        .unwrap_or_else(|panic| Err(NotPlayed::Fault(format!("panic: {}", message(&*panic)))))
}

/// Plays a scenario twice at the same time.
pub(super) fn twice(scenario: &Scenario, options: &RunOptions) -> (Played, Played) {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| play(scenario, options));
        let other = scope.spawn(|| play(scenario, options));
        let join = |thread: std::thread::ScopedJoinHandle<'_, Played>| {
            thread.join().unwrap_or_else(|panic| Err(NotPlayed::Fault(format!("panic: {}", message(&*panic)))))
        };
        (join(one), join(other))
    })
}

/// Plays one seed after the other on as many threads as there are processors, and hands each result to `done` as it
/// comes. Once that breaks off no other seed begins; all below those that were played have been played too.
pub(super) fn seeds(
    scenario: &Scenario,
    seeds: std::ops::RangeInclusive<u64>,
    options: impl Fn(u64) -> RunOptions + Sync,
    done: impl FnMut(u64, Played) -> ControlFlow<()> + Send,
) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = Mutex::new(Some(seeds));
    let done = Mutex::new(done);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let take = || next.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(Iterator::next);
                while let Some(seed) = take() {
                    let played = play(scenario, &options(seed));
                    if (done.lock().unwrap_or_else(PoisonError::into_inner))(seed, played).is_break() {
                        *next.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    }
                }
            });
        }
    });
}

/// Real time, for how long a run took.
#[expect(clippy::disallowed_methods, reason = "reports tell how long a run took in real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
