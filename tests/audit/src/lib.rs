//! Who asks the kernel for time or entropy while a simulation runs?
//!
//! Linked into a test binary, this crate stands in for libc's `getrandom` and `clock_gettime`. Calls pass through to
//! the kernel; on a thread that is being audited each caller's backtrace is noted first.
//!
//! ring asks for entropy by a raw system call and so cannot be seen here. In a simulation it is never asked: the
//! determinism tests would differ if it were.

#![allow(unsafe_code, reason = "a function in libc's place has C's signature")]

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};

thread_local! {
    static AUDITED: Cell<bool> = const { Cell::new(false) };
    static SEEN: RefCell<BTreeMap<Finding, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// What was asked for, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// `entropy`, `wall clock` or `monotonic clock`.
    pub asked: &'static str,
    /// The functions on the stack that are neither std's nor this crate's, innermost first: the first one asked.
    pub by: Vec<String>,
}

impl Finding {
    /// Who asked: the innermost function that is neither std's nor libc's.
    #[must_use]
    pub fn caller(&self) -> &str {
        self.by.first().map_or("unknown", String::as_str)
    }
}

/// Runs `work` and tells who asked for what on this thread meanwhile, and how often.
pub fn audit<T>(work: impl FnOnce() -> T) -> (T, BTreeMap<Finding, u64>) {
    SEEN.take();
    AUDITED.set(true);
    let result = work();
    AUDITED.set(false);
    (result, SEEN.take())
}

/// How many frames name a caller well enough.
const FRAMES: usize = 4;

fn note(asked: &'static str) {
    // Taking a backtrace may itself ask for something.
    if !AUDITED.try_with(|audited| audited.replace(false)).unwrap_or(false) {
        return;
    }
    let by = callers(&Backtrace::force_capture().to_string());
    SEEN.with_borrow_mut(|seen| *seen.entry(Finding { asked, by }).or_default() += 1);
    AUDITED.set(true);
}

fn callers(backtrace: &str) -> Vec<String> {
    let own = ["std::", "core::", "alloc::", "<std", "<core", "hermesh_audit", "__", "clock_gettime", "getrandom"];
    backtrace
        .lines()
        .filter_map(|line| line.trim_start().split_once(": ").map(|(_, function)| function.trim()))
        .filter(|function| *function != "note" && !own.iter().any(|prefix| function.starts_with(prefix)))
        .take(FRAMES)
        .map(str::to_owned)
        .collect()
}

/// In libc's place.
///
/// # Safety
/// As libc's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if length > 0 {
        note("entropy");
    }
    // SAFETY: the caller's promise is the kernel's.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as ssize_t }
}

/// In libc's place.
///
/// # Safety
/// As libc's: `time` points to a `timespec` or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    note(if clock == libc::CLOCK_REALTIME { "wall clock" } else { "monotonic clock" });
    // SAFETY: the caller's promise is the kernel's.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int }
}
