//! [`spawn`]: a task of the process whose code calls it, for code that was not handed a [`Runtime`].

use std::any::type_name;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use tokio::sync::oneshot;

use crate::{Runtime, Task, TaskGuard, os};

/// Tells whose code is running on the thread that asks.
pub type CurrentProcess = fn() -> Option<Runtime>;

thread_local! {
    static CURRENT: Cell<Option<CurrentProcess>> = const { Cell::new(None) };
}

/// For worlds that run many processes on one thread: from now on [`spawn`] asks `current` for the process that calls
/// it, on this thread. With `None` the thread is the operating system's again.
pub fn processes_on_this_thread(current: Option<CurrentProcess>) {
    CURRENT.set(current);
}

/// Runs `future` as a task of the process that calls this: in a simulation, of the container whose code does, where a
/// kill takes it along; in a program on the operating system with `tokio::spawn`, whose place it takes in code that is
/// to run in both.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let sum = hermesh_runtime::spawn(async { 1 + 1 });
/// assert_eq!(sum.await.unwrap(), 2);
/// # }
/// ```
///
/// # Panics
/// In the code around a simulation, which is no process of it, and outside of a tokio runtime.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let task = future.map(|output| {
        // Whoever does not wait for the answer lets the task run on.
        let _ = answer.send(output);
    });
    let task = match CURRENT.get() {
        Some(current) => current().expect(NO_PROCESS).spawn(type_name::<F>(), task),
        None => os::spawn(task),
    };
    JoinHandle { task, answered }
}

const NO_PROCESS: &str = "`spawn` starts a task of the process that calls it, and this is the code around the \
    simulation: call it in a container's program, such as an image or what `run_in` runs";

/// Waits for the answer of a task that [`spawn`] started. Dropping it lets the task run on.
pub struct JoinHandle<T> {
    task: Task,
    answered: oneshot::Receiver<T>,
}

impl<T> JoinHandle<T> {
    /// Ends the task at its next turn; its values are dropped there.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Ties the task to the answer's life. What it answers is lost.
    #[must_use]
    pub fn abort_on_drop(self) -> TaskGuard {
        self.task.abort_on_drop()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answered.poll_unpin(cx).map_err(|_ended| JoinError(()))
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").finish_non_exhaustive()
    }
}

/// The task ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task was aborted, or panicked, before it had an answer")]
pub struct JoinError(());

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn on_the_operating_system_a_task_is_one_of_tokios() {
        let (begin, begun) = oneshot::channel::<()>();
        let task = spawn(async move { begun.await.is_ok() });
        begin.send(()).unwrap();
        assert_eq!(task.await, Ok(true));
    }

    #[tokio::test]
    async fn a_task_that_is_aborted_has_no_answer() {
        let task = spawn(std::future::pending::<()>());
        task.abort();
        assert_eq!(task.await, Err(JoinError(())));
        let task = spawn(std::future::pending::<oneshot::Receiver<()>>());
        let (held, dropped) = oneshot::channel::<()>();
        let guard = spawn(async move {
            let _held = held;
            task.await
        })
        .abort_on_drop();
        drop(guard);
        assert!(dropped.await.is_err());
    }

    #[test]
    fn code_around_a_simulation_is_told_that_it_is_no_process() {
        processes_on_this_thread(Some(|| None));
        let panic = std::panic::catch_unwind(|| spawn(async {})).map(drop).unwrap_err();
        processes_on_this_thread(None);
        let text = panic.downcast_ref::<String>().map(String::as_str);
        assert_eq!(text.or_else(|| panic.downcast_ref::<&str>().copied()), Some(NO_PROCESS));
    }
}
