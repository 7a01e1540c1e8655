//! The operating system, with its events kept.

use hermesh_runtime::Runtime;
use hermesh_test_support::{Process, Setup};

pub(crate) use hermesh_test_support::Recorder;

pub(crate) fn runtime() -> (Runtime, Recorder) {
    let Process { rt, events, .. } = Process::new(Setup::new());
    (rt, events)
}
