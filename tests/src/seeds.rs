//! One test under many seeds.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::thread;

/// Runs `test` under each seed, one simulation a thread on all cores.
///
/// # Panics
/// As the failing test with the lowest seed does; that seed is printed first.
pub fn for_each_seed(seeds: RangeInclusive<u64>, test: impl Fn(u64) + Sync) {
    let next = Mutex::new(seeds);
    let failed = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = next.lock().expect("no test runs under this lock").next() {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
                        let mut failed = failed.lock().expect("no test runs under this lock");
                        if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                            *failed = Some((seed, panic));
                        }
                        // Lower seeds are under way already.
                        return;
                    }
                }
            });
        }
    });
    if let Some((seed, panic)) = failed.into_inner().expect("no test runs under this lock") {
        #[expect(clippy::print_stderr, reason = "tells which seed it was")]
        {
            eprintln!("failed under seed {seed}");
        }
        resume_unwind(panic);
    }
}
