//! Where hyper's tasks run.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Runtime, Task};

/// Runs hyper's tasks through the runtime, so that a killed process takes them along.
#[derive(Clone)]
pub(crate) struct Executor {
    rt: Runtime,
    tasks: Tasks,
}

/// The tasks begun so far; `None` once they live on their own.
type Tasks = Arc<Mutex<Option<Vec<Task>>>>;

impl Executor {
    /// Tasks live on their own from the beginning.
    pub(crate) fn new(rt: &Runtime) -> Self {
        Self { rt: rt.clone(), tasks: Tasks::default() }
    }

    /// Tasks die with `nursery` until it releases them.
    pub(crate) fn within(rt: &Runtime, nursery: &Nursery) -> Self {
        Self { rt: rt.clone(), tasks: Arc::clone(&nursery.0) }
    }

    pub(crate) fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let task = self.rt.spawn(name, future);
        if let Some(tasks) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            tasks.push(task);
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        self.spawn("http2", async {
            future.await;
        });
    }
}

/// Aborts its tasks when dropped, unless it has released them.
pub(crate) struct Nursery(Tasks);

impl Default for Nursery {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }
}

impl Nursery {
    pub(crate) fn release(&self) {
        self.take();
    }

    fn take(&self) -> Vec<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        self.take().iter().for_each(Task::abort);
    }
}
