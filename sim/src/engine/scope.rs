//! What lives and dies together: the tasks of a container, or those of the cluster around the containers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_runtime::{Draws, ProcessState};

use super::executor::Seq;
use super::net::Owner;
use super::slab::Key;
use super::volume::Files;
use super::world::World;
use super::{ExitStatus, PodId};
use crate::signal::{Once, Signal};

/// The processes of one container run, or the cluster.
pub(super) struct Scope {
    pub(super) world: World,
    pub(super) owner: Owner,
    /// The first part of its draws' paths.
    pub(super) draws_path: String,
    pub(super) incarnation: u64,
    pub(super) pod: Option<Arc<Namespace>>,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) files: Files,
    /// What the runtimes made for it share.
    pub(super) state: ProcessState,
    pub(super) entropy: Mutex<Draws>,
    /// Raised by SIGTERM.
    pub(super) terminated: Signal,
    pub(super) exited: Once<ExitStatus>,
    life: Mutex<Life>,
}

/// What the containers of a pod share besides the network.
pub(super) struct Namespace {
    pub(super) id: PodId,
    pub(super) name: Arc<str>,
    pub(super) hostname: String,
    /// How far the node's wall clock is ahead, in nanoseconds.
    pub(super) skew_ns: AtomicI64,
}

struct Life {
    tasks: BTreeMap<Seq, Key>,
    ended: bool,
    /// While it is paused, the tasks that would run.
    paused: Option<Vec<(Seq, Key)>>,
}

/// What a [`Scope`] is made from.
pub(super) struct Parts {
    pub(super) owner: Owner,
    pub(super) draws_path: String,
    pub(super) incarnation: u64,
    pub(super) pod: Option<Arc<Namespace>>,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) files: Files,
}

impl Scope {
    pub(super) fn new(world: World, parts: Parts) -> Arc<Self> {
        let Parts { owner, draws_path, incarnation, pod, args, env, files } = parts;
        let entropy = Draws::new(world.seed(), &format!("{draws_path}/entropy"), incarnation);
        Arc::new(Self {
            world,
            owner,
            draws_path,
            incarnation,
            pod,
            args,
            env,
            files,
            state: ProcessState::default(),
            entropy: Mutex::new(entropy),
            terminated: Signal::default(),
            exited: Once::default(),
            life: Mutex::new(Life { tasks: BTreeMap::new(), ended: false, paused: None }),
        })
    }

    /// The trace's name for it.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.owner.at
    }

    /// Whether its processes have ended.
    pub(super) fn ended(&self) -> bool {
        self.life.lock().expect(UNPOISONED).ended
    }

    /// Adds a task; one that comes after the end is dropped unrun.
    pub(super) fn spawn(self: &Arc<Self>, name: &'static str, future: BoxFuture<'static, ()>) {
        let mut life = self.life.lock().expect(UNPOISONED);
        if life.ended {
            drop(life);
            drop(future);
            return;
        }
        let (seq, key) = self.world.executor().spawn(Arc::clone(self), name, future);
        life.tasks.insert(seq, key);
    }

    /// A task has ended.
    pub(super) fn forget(&self, seq: Seq) {
        self.life.lock().expect(UNPOISONED).tasks.remove(&seq);
    }

    /// SIGSTOP: its tasks wait. Whether they ran before.
    pub(super) fn pause(&self) -> bool {
        let mut life = self.life.lock().expect(UNPOISONED);
        if life.ended || life.paused.is_some() {
            return false;
        }
        life.paused = Some(Vec::new());
        true
    }

    /// Whether its processes do not run.
    pub(super) fn is_paused(&self) -> bool {
        self.life.lock().expect(UNPOISONED).paused.is_some()
    }

    /// SIGCONT: hands out the tasks that have waited; `None` if it was not paused.
    pub(super) fn resume(&self) -> Option<Vec<(Seq, Key)>> {
        self.life.lock().expect(UNPOISONED).paused.take()
    }

    /// Keeps a task that is ready to run, if it is paused.
    pub(super) fn keeps(&self, seq: Seq, key: Key) -> bool {
        match &mut self.life.lock().expect(UNPOISONED).paused {
            Some(waiting) => {
                waiting.push((seq, key));
                true
            }
            None => false,
        }
    }

    /// Ends it: takes no more tasks and hands out those it has, in the order they were spawned; `None` if it has ended
    /// before.
    pub(super) fn end(&self) -> Option<BTreeMap<Seq, Key>> {
        let mut life = self.life.lock().expect(UNPOISONED);
        if std::mem::replace(&mut life.ended, true) {
            return None;
        }
        life.paused = None;
        Some(std::mem::take(&mut life.tasks))
    }

    pub(super) fn fill(&self, bytes: &mut [u8]) {
        self.entropy.lock().expect(UNPOISONED).fill(bytes);
    }

    pub(super) fn draws(&self, stream: &str) -> Draws {
        Draws::new(self.world.seed(), &format!("{}/{stream}", self.draws_path), self.incarnation)
    }

    pub(super) fn wall(&self) -> Duration {
        let skew_ns = self.pod.as_ref().map_or(0, |pod| pod.skew_ns.load(Relaxed));
        let skew = Duration::from_nanos(skew_ns.unsigned_abs());
        let wall = self.world.wall();
        if skew_ns < 0 { wall.saturating_sub(skew) } else { wall + skew }
    }
}

const UNPOISONED: &str = "nothing panics while it holds a scope's state";
