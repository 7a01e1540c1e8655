//! Who asks the kernel for time, entropy, sockets or threads while a simulation runs?
//!
//! Linked into a test binary, this crate stands in for libc's `getrandom`, `clock_gettime`, `socket` and
//! `pthread_create`. Calls pass through to the kernel; on a thread that is being audited each caller's backtrace is
//! noted first. It works on Linux.
//!
//! ```no_run
//! let ((), findings) = hermesh_audit::audit(|| { /* a mesh with your images in it */ });
//! assert_eq!(hermesh_audit::outside(&findings), [""; 0]);
//! ```
//!
//! ring asks for entropy by a raw system call and so cannot be seen here. In a simulation it is never asked: the
//! determinism tests would differ if it were.

#![allow(unsafe_code, reason = "a function in libc's place has C's signature")]

mod known;

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use libc::{c_int, c_uint, c_void, clockid_t, pthread_attr_t, pthread_t, size_t, ssize_t, timespec};

pub use known::outside;

thread_local! {
    static AUDITED: Cell<bool> = const { Cell::new(false) };
    static SEEN: RefCell<BTreeMap<Finding, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// What was asked for, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// `entropy`, `wall clock`, `monotonic clock`, `socket` or `thread`.
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

/// How many frames name a caller well enough: inlined functions of std have lost their path, and count.
const FRAMES: usize = 8;

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
    let own = [
        "std::",
        "core::",
        "alloc::",
        "<std",
        "<core",
        "hermesh_audit",
        "__",
        "clock_gettime",
        "getrandom",
        "socket",
        "pthread_create",
    ];
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

/// In libc's place.
///
/// # Safety
/// As libc's, which asks for nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    note("socket");
    // SAFETY: the kernel looks at three numbers.
    unsafe { libc::syscall(libc::SYS_socket, domain, kind, protocol) as c_int }
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type PthreadCreate = unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int;

/// In libc's place.
///
/// # Safety
/// As libc's: `thread` has room for an id, `attributes` are initialised or null, `start` may be called with `argument`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    note("thread");
    // SAFETY: the name is a C string.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
    assert!(!next.is_null(), "libc has pthread_create");
    // SAFETY: what has that name in libc is of that type.
    let next = unsafe { std::mem::transmute::<*mut c_void, PthreadCreate>(next) };
    // SAFETY: the caller's promise is libc's.
    unsafe { next(thread, attributes, start, argument) }
}
