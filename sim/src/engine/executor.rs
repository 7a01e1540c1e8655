//! Runs tasks in waves: all that are ready, in the order they were spawned, then all those have made ready.
//!
//! Why not tokio's tasks: a kill must drop futures at once and in order; and the order in which a library wakes its
//! waiters must not matter (`tokio::sync::watch` wakes them in an order drawn from a generator no seed reaches).
//! Within a wave it does not.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use tokio::task::coop::{Unconstrained, unconstrained};

use super::scope::Scope;
use super::slab::{Key, Slab};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Scope>>> = const { RefCell::new(None) };
}

/// The scope whose task is being polled or dropped on this thread.
pub(super) fn current() -> Option<Arc<Scope>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs `f`, which must not panic, on behalf of `scope`, and hands `scope` back.
pub(super) fn within<T>(scope: Arc<Scope>, f: impl FnOnce() -> T) -> (T, Arc<Scope>) {
    let outer = CURRENT.replace(Some(scope));
    let result = f();
    let scope = CURRENT.replace(outer).expect("whoever replaces the current scope restores it");
    (result, scope)
}

/// After the last poll of a simulation, which may have panicked.
pub(super) fn clear_current() {
    CURRENT.set(None);
}

/// A task's place among all of its simulation: tasks run in this order.
pub(super) type Seq = u64;

/// The tasks of one simulation.
pub(super) struct Executor {
    tasks: Mutex<Slab<Option<Task>>>,
    next_seq: AtomicU64,
    ready: Arc<Ready>,
}

/// Who is ready to run.
pub(super) struct Ready {
    tasks: Mutex<Vec<(Seq, Key)>>,
    pub(super) root: AtomicWaker,
}

struct Task {
    future: Unconstrained<BoxFuture<'static, ()>>,
    scope: Arc<Scope>,
    name: &'static str,
    handle: Arc<Handle>,
    waker: Waker,
    /// Polls within `instant`.
    polls: u64,
    instant: u64,
}

struct Handle {
    seq: Seq,
    key: Key,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Relaxed) {
            self.ready.tasks.lock().expect(UNPOISONED).push((self.seq, self.key));
            self.ready.root.wake();
        }
    }
}

/// What one poll of a task came to.
pub(super) enum Polled {
    /// It runs on, has ended, or was gone already.
    Quiet,
    /// It panicked.
    Panicked(Arc<Scope>, Box<dyn Any + Send>),
}

impl Executor {
    pub(super) fn new() -> Self {
        let ready = Ready { tasks: Mutex::new(Vec::new()), root: AtomicWaker::new() };
        Self { tasks: Mutex::new(Slab::new()), next_seq: AtomicU64::new(1), ready: Arc::new(ready) }
    }

    pub(super) fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }

    /// Adds a task to `scope`, which has just said that it takes one.
    pub(super) fn spawn(&self, scope: Arc<Scope>, name: &'static str, future: BoxFuture<'static, ()>) -> (Seq, Key) {
        let seq = self.next_seq.fetch_add(1, Relaxed);
        let mut tasks = self.tasks.lock().expect(UNPOISONED);
        let key = tasks.insert(None);
        let handle = Arc::new(Handle { seq, key, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        let waker = Waker::from(Arc::clone(&handle));
        handle.wake_by_ref();
        let future = unconstrained(future);
        *tasks.get_mut(key).expect("inserted above") =
            Some(Task { future, scope, name, handle, waker, polls: 0, instant: 0 });
        (seq, key)
    }

    /// Takes the tasks that are ready now, in the order they were spawned.
    pub(super) fn take_wave(&self, wave: &mut Vec<(Seq, Key)>) {
        wave.clear();
        std::mem::swap(wave, &mut *self.ready.tasks.lock().expect(UNPOISONED));
        wave.sort_unstable();
    }

    /// Puts back tasks that are ready and have not run.
    pub(super) fn put_back(&self, rest: &[(Seq, Key)]) {
        self.ready.tasks.lock().expect(UNPOISONED).extend_from_slice(rest);
        self.ready.root.wake();
    }

    /// Polls a task once at time `now`. `after` is asked about the scope right after the poll.
    pub(super) fn poll(&self, key: Key, now: u64, after: impl FnOnce(&Arc<Scope>, &'static str)) -> Polled {
        let task = {
            let mut tasks = self.tasks.lock().expect(UNPOISONED);
            let ready = |task: &mut Task| !task.scope.keeps(task.handle.seq, key);
            tasks.get_mut(key).and_then(|place| place.take_if(ready))
        };
        let Some(mut task) = task else {
            return Polled::Quiet;
        };
        if task.instant != now {
            task.instant = now;
            task.polls = 0;
        }
        task.polls += 1;
        task.handle.queued.store(false, Relaxed);
        let Task { mut future, scope, name, handle, waker, polls, instant } = task;
        let (polled, scope) = within(scope, || {
            catch_unwind(AssertUnwindSafe(|| {
                // Its values are dropped while its scope is the current one.
                let polled = std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
                match polled {
                    Poll::Ready(()) => drop(future),
                    Poll::Pending => return Some(future),
                }
                None
            }))
        });
        after(&scope, name);
        match polled {
            Ok(Some(future)) => {
                let mut tasks = self.tasks.lock().expect(UNPOISONED);
                let task = Task { future, scope, name, handle, waker, polls, instant };
                match tasks.get_mut(key) {
                    Some(place) => *place = Some(task),
                    // It was killed while it ran.
                    None => {
                        drop(tasks);
                        drop_within(task.scope, task.future);
                    }
                }
                Polled::Quiet
            }
            Ok(None) => {
                self.tasks.lock().expect(UNPOISONED).remove(key);
                scope.forget(handle.seq);
                Polled::Quiet
            }
            Err(panic) => {
                self.tasks.lock().expect(UNPOISONED).remove(key);
                scope.forget(handle.seq);
                Polled::Panicked(scope, panic)
            }
        }
    }

    /// Drops a task where it stands. One that is being polled is dropped when the poll returns.
    pub(super) fn kill(&self, key: Key) {
        let task = self.tasks.lock().expect(UNPOISONED).remove(key).flatten();
        if let Some(task) = task {
            drop_within(task.scope, task.future);
        }
    }

    /// The tasks polled most often within the instant `now`.
    pub(super) fn busiest(&self, now: u64, count: usize) -> Vec<(String, u64)> {
        let tasks = self.tasks.lock().expect(UNPOISONED);
        let mut busiest: Vec<(u64, Seq, String)> = tasks
            .iter()
            .filter_map(|(_, task)| task.as_ref())
            .filter(|task| task.instant == now && task.polls > 0)
            .map(|task| (task.polls, task.handle.seq, format!("{}: {}", task.scope.at(), task.name)))
            .collect();
        busiest.sort_unstable_by_key(|(polls, seq, _)| (std::cmp::Reverse(*polls), *seq));
        busiest.truncate(count);
        busiest.into_iter().map(|(polls, _, name)| (name, polls)).collect()
    }
}

const UNPOISONED: &str = "nothing panics while it holds the task table";

/// A destructor that panics in a dying process is not heard.
fn drop_within(scope: Arc<Scope>, future: Unconstrained<BoxFuture<'static, ()>>) {
    let (_panic, _scope) = within(scope, || catch_unwind(AssertUnwindSafe(|| drop(future))));
}
