//! Code that leaves the simulation: what gives it away, and what it should have done.
//!
//! The simulation's tokio runtime has a clock and nothing else, so that tokio itself stops whoever asks it for the
//! operating system's sockets, files or threads, at the line that asks; what it says there is put into words that help.
//! Tasks of tokio's own are counted after each poll. What asks the operating system without tokio, such as
//! `std::thread` and `std::net`, is not seen from here.

/// For tasks that tokio would run, where no container ends them.
pub(super) fn started_task(by: &str) -> String {
    format!("{FOREIGN}: task `{by}` did; use `hermesh::spawn`, or `Runtime::spawn`, which takes its place")
}

/// The beginning of what is said of such a task.
pub(super) const FOREIGN: &str = "a task was started with `tokio::spawn` or the like, where a kill could not reach it";

/// tokio asks for a thread's name before it starts one, which only its pool for blocking work does here.
///
/// # Panics
/// Always: the thread is not started, and what was to run there never does.
pub(super) fn refuse_thread() -> String {
    panic!("{THREAD}")
}

const THREAD: &str = "`tokio::task::spawn_blocking` needs a thread of the operating system, and so do `tokio::fs`, \
    tokio's standard input and output, and host names given to `tokio::net`: a simulation has one thread. Compute in \
    place, which takes no simulated time; files are `Runtime::read`, `Runtime::write` and so on, names \
    `Runtime::resolve`";

const SOCKET: &str = "`tokio::net`, `tokio::signal` and `tokio::process` are of the operating system, and the simulation has \
    sockets and signals of its own: use `XdsChannel` or `hermesh_runtime::channel::Channel` for gRPC clients, `XdsServer` \
    or `hermesh_runtime::server::Server` for servers, `Runtime::connect` and `Runtime::listen` for anything else, and \
    `Runtime::terminated` for SIGTERM";

const BLOCKING: &str = "`tokio::task::block_in_place` needs a runtime of many threads, and a simulation has one: compute in \
    place, which takes no simulated time";

const NESTED: &str = "a tokio runtime was started in a container's program, or `Handle::block_on` called: what is to run is \
    awaited there, or started with `hermesh::spawn`";

/// What tokio says to those who ask it for what its runtime has not, and what they need to know.
const TOKIO: [(&str, &str); 3] = [
    ("but IO is disabled", SOCKET),
    ("can call blocking only when running on the multi-threaded runtime", BLOCKING),
    ("Cannot start a runtime from within a runtime", NESTED),
];

/// What a panic means that comes of leaving the simulation.
pub(super) fn explained(panic: &str) -> Option<String> {
    let known = TOKIO.iter().find(|(said, _)| panic.contains(said)).map(|(_, means)| *means);
    let means = known.or_else(|| (panic == THREAD).then_some(THREAD))?;
    Some(format!("{means} (RUST_BACKTRACE=1 shows the line)"))
}
