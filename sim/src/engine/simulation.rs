//! [`Simulation`]: the thread, the clock and the loop that drives everything.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::ops::{Deref, RangeInclusive};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hermesh_runtime::{Draws, Level};
use tokio::runtime::{Builder, Handle, RuntimeMetrics};
use tokio::time::{Instant, Sleep, sleep_until};

use super::container::ExitReason;
use super::executor::{self, Polled, Ready};
use super::leaving::{self, FOREIGN};
use super::network::Network;
use super::slab::Key;
use super::turmoil;
use super::world::{Ending, World};
use crate::trace::{Header, Trace};

/// What a simulation is a function of, besides what is done in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Decides every random choice.
    pub seed: u64,
    /// Wall time at the start, since 1970-01-01T00:00:00Z.
    pub epoch: Duration,
    /// How long packets between pods take, drawn for each one; within a pod they take no time.
    pub latency: RangeInclusive<Duration>,
    /// Who carries the packets.
    pub network: Network,
    /// Which events are recorded.
    pub level: Level,
    /// Whether events are kept, or go into the digest only.
    pub keep_events: bool,
    /// Whether tasks that are ready at the same time run in an order drawn from the seed, rather than in the order they
    /// were spawned: explores interleavings.
    pub shuffle_tasks: bool,
    /// How many polls may happen without time passing.
    pub max_polls_per_instant: u64,
    /// For the trace's header.
    pub scenario_digest: Option<String>,
    /// For the trace's header.
    pub profile: String,
}

impl Config {
    /// 2025-01-01T00:00:00Z, 0.5 to 1.5 ms between pods, and every event of level `Info` kept.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            epoch: Duration::from_secs(1_735_689_600),
            latency: Duration::from_micros(500)..=Duration::from_micros(1500),
            network: Network::Simulated,
            level: Level::Info,
            keep_events: true,
            shuffle_tasks: false,
            max_polls_per_instant: 5_000_000,
            scenario_digest: None,
            profile: "istio".to_owned(),
        }
    }
}

/// Why a simulation cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// Tasks keep one another busy and time stands still.
    #[error("more than {bound} polls at {at:?} without time passing; busiest: {}", list(.busiest))]
    Spinning {
        /// When.
        at: Duration,
        /// [`Config::max_polls_per_instant`].
        bound: u64,
        /// Tasks as `at: name`, and how often each was polled.
        busiest: Vec<(String, u64)>,
    },
    /// Nothing runs, nothing is on its way and no timer is set: what is waited for cannot happen.
    #[error("nothing is left to happen after {at:?}, and what is waited for has not happened")]
    Deadlock {
        /// When the last thing happened.
        at: Duration,
    },
}

fn list(busiest: &[(String, u64)]) -> String {
    busiest.iter().map(|(name, polls)| format!("{name} ({polls} polls)")).collect::<Vec<_>>().join(", ")
}

thread_local! {
    static LIVE: Cell<bool> = const { Cell::new(false) };
}

/// A timer further off than any real one, so that time can tell when nothing else is left.
const FOREVER: Duration = Duration::from_secs(400 * 24 * 3600);

/// One simulation: one thread, one clock. What can be done in it, [`World`] tells.
pub struct Simulation {
    world: World,
    runtime: Option<tokio::runtime::Runtime>,
    turmoil: Option<turmoil::World>,
    metrics: RuntimeMetrics,
    start: Instant,
    schedule: Option<Draws>,
    max_polls_per_instant: u64,
    /// Polls at `instant`.
    polls: u64,
    instant: u64,
    polls_total: u64,
    /// When something last ran.
    active: Duration,
    /// Tasks started behind our back, for which their containers have paid.
    foreign_tasks: usize,
    wave: Vec<(u64, Key)>,
    /// Not to be sent to another thread.
    _thread: PhantomData<*const ()>,
}

impl Simulation {
    /// Starts the clock.
    ///
    /// # Panics
    /// If another simulation lives on this thread, or within a tokio runtime.
    #[must_use]
    pub fn new(config: Config) -> Self {
        assert!(
            Handle::try_current().is_err(),
            "a simulation has a clock of its own: hold it in a plain `#[test]` or `fn main`, not in `#[tokio::test]` or \
             `#[tokio::main]`"
        );
        assert!(!LIVE.replace(true), "another simulation lives on this thread: finish it first, or use another thread");
        hermesh_runtime::processes_on_this_thread(Some(super::current_runtime));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .thread_name_fn(leaving::refuse_thread)
            .build()
            .expect("a runtime without I/O needs nothing that could be missing");
        let start = runtime.block_on(async { Instant::now() });
        let header = Header {
            format: Header::FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            seed: config.seed,
            scenario: config.scenario_digest.clone(),
            profile: config.profile.clone(),
            network: Some(config.network).filter(|network| *network != Network::Simulated).map(Network::name),
            epoch_s: config.epoch.as_secs(),
            level: config.level,
        };
        let trace = Trace::new(header, config.keep_events);
        Self {
            world: World::new(&config, trace),
            metrics: runtime.metrics(),
            runtime: Some(runtime),
            turmoil: (config.network == Network::Turmoil).then(|| turmoil::World::new(&config)),
            start,
            schedule: config.shuffle_tasks.then(|| Draws::new(config.seed, "schedule", 0)),
            max_polls_per_instant: config.max_polls_per_instant,
            polls: 0,
            instant: 0,
            polls_total: 0,
            active: Duration::ZERO,
            foreign_tasks: 0,
            wave: Vec::new(),
            _thread: PhantomData,
        }
    }

    /// The handle for controllers.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// How often tasks were polled so far.
    #[must_use]
    pub fn polls_total(&self) -> u64 {
        self.polls_total
    }

    /// How many packets and network timers were handled so far.
    #[must_use]
    pub fn packets_total(&self) -> u64 {
        self.world.net(|net| net.packets())
    }

    /// Lets the simulation run until `future` is ready.
    ///
    /// # Errors
    /// If time stands still or nothing is left to happen.
    ///
    /// # Panics
    /// As `future` or a task of the cluster does, and if either starts a task behind the simulator's back.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, SimulationError> {
        let runtime = self.runtime.take().expect("taken only here and put back, unless a panic ended the run");
        let result = {
            // What is dropped may look at the clock: let it be the simulation's.
            let _context = runtime.enter();
            let mut future = pin!(future);
            let root =
                Arc::new(Root { woken: AtomicBool::new(true), ready: Arc::clone(self.world.executor().ready()) });
            let waker = Waker::from(Arc::clone(&root));
            let mut sleep = pin!(sleep_until(self.start + FOREVER));
            let mut idle = Some(self.polls_total);
            loop {
                let rested = runtime.block_on(poll_fn(|context| {
                    root.ready.root.register(context.waker());
                    if let Some(result) = self.turn(&root, |polled| future.as_mut().poll(polled), &waker) {
                        return Poll::Ready(Rested::Over(result));
                    }
                    if self.turmoil.is_some() && self.world.turmoil(|net| net.is_step_due(self.instant)) {
                        return Poll::Ready(Rested::Step);
                    }
                    self.rest(sleep.as_mut(), &mut idle, context).map(|error| Rested::Over(Err(error)))
                }));
                match rested {
                    Rested::Over(result) => break result,
                    Rested::Step => self.turmoil.as_mut().expect("only turmoil steps").step(&self.world),
                }
            }
        };
        self.runtime = Some(runtime);
        result
    }

    /// Lets the simulation run for so long.
    ///
    /// # Errors
    /// If time stands still.
    pub fn run_for(&mut self, time: Duration) -> Result<(), SimulationError> {
        self.block_on(async move { tokio::time::sleep(time).await })
    }

    /// Ends the run and hands out its trace. What happens while everything is torn down is not recorded.
    ///
    /// # Panics
    /// If a task lives on that no container has paid for.
    #[must_use]
    pub fn finish(mut self) -> Trace {
        self.tear_down();
        let left = self.metrics.num_alive_tasks();
        assert!(left == 0 || self.foreign_tasks > 0, "{left} tasks were started behind the simulator's back");
        self.world.with_trace(Trace::clone)
    }

    fn tear_down(&mut self) {
        self.world.recorder().close();
        // What is dropped may look at the clock: let it be the simulation's.
        let _context = self.runtime.as_ref().map(|runtime| runtime.enter());
        self.world.shut_down();
    }

    /// Runs everything that can run now. Answers if the root future is ready or the run cannot go on.
    fn turn<T>(
        &mut self,
        root: &Root,
        mut poll_root: impl FnMut(&mut Context<'_>) -> Poll<T>,
        waker: &Waker,
    ) -> Option<Result<T, SimulationError>> {
        let now = u64::try_from(self.start.elapsed().as_nanos()).expect("a run is shorter than 500 years");
        if now != self.instant {
            self.instant = now;
            self.polls = 0;
        }
        self.world.recorder().set_now(now);
        loop {
            self.world.net(|net| net.advance(now));
            if root.woken.swap(false, Relaxed) {
                self.polls_total += 1;
                self.active = Duration::from_nanos(now);
                let before = self.metrics.num_alive_tasks();
                let (polled, _) = executor::within(self.world.cluster(), || poll_root(&mut Context::from_waker(waker)));
                assert_eq!(self.metrics.num_alive_tasks(), before, "{FOREIGN}: the future given to `block_on` did");
                if let Poll::Ready(output) = polled {
                    return Some(Ok(output));
                }
            }
            let mut wave = std::mem::take(&mut self.wave);
            self.world.executor().take_wave(&mut wave);
            let result = self.run_wave(&mut wave, now);
            let was_empty = wave.is_empty();
            self.wave = wave;
            if let Err(error) = result {
                return Some(Err(error));
            }
            let arrived = self.world.net(|net| net.has_arrived(now));
            if was_empty && !arrived && !root.woken.load(Relaxed) {
                return None;
            }
        }
    }

    fn run_wave(&mut self, wave: &mut [(u64, Key)], now: u64) -> Result<(), SimulationError> {
        if let Some(draws) = &mut self.schedule {
            for index in (1..wave.len()).rev() {
                wave.swap(index, draws.below(index as u64 + 1) as usize);
            }
        }
        for (index, &(_, key)) in wave.iter().enumerate() {
            if self.polls >= self.max_polls_per_instant {
                self.world.executor().put_back(&wave[index..]);
                return Err(SimulationError::Spinning {
                    at: Duration::from_nanos(now),
                    bound: self.max_polls_per_instant,
                    busiest: self.world.executor().busiest(now, 5),
                });
            }
            self.polls += 1;
            self.polls_total += 1;
            self.active = Duration::from_nanos(now);
            self.poll_task(key, now);
        }
        Ok(())
    }

    fn poll_task(&mut self, key: Key, now: u64) {
        let before = self.metrics.num_alive_tasks();
        let mut foreign = None;
        let polled = self.world.executor().poll(key, now, |scope, name| {
            if self.metrics.num_alive_tasks() > before {
                foreign = Some((Arc::clone(scope), name));
            }
        });
        if let Some((scope, name)) = foreign {
            self.foreign_tasks += 1;
            assert!(scope.pod.is_some(), "{FOREIGN}: the cluster's task `{name}` did");
            let message = Some(leaving::started_task(name));
            self.world.end(&scope, Ending { code: 101, reason: ExitReason::LeftSimulation, message }, None);
        }
        if let Polled::Panicked(scope, panic) = polled {
            if scope.pod.is_none() {
                resume_unwind(panic);
            }
            let said = text(&*panic);
            let (reason, message) = match leaving::explained(&said) {
                Some(explained) => (ExitReason::LeftSimulation, explained),
                None => (ExitReason::Panicked, said),
            };
            self.world.end(&scope, Ending { code: 101, reason, message: Some(message) }, None);
        }
    }

    /// Waits for what arrives next; without that, for [`FOREVER`]. `idle` is the number of polls when that wait began:
    /// if there were none since, there never will be.
    fn rest(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        idle: &mut Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<SimulationError> {
        let next = self.world.net(|net| net.next_at());
        if let Some(at) = next {
            *idle = None;
            let deadline = self.start + Duration::from_nanos(at);
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
        } else {
            if *idle == Some(self.polls_total) && sleep.is_elapsed() {
                return Poll::Ready(SimulationError::Deadlock { at: self.active });
            }
            if idle.is_none() || sleep.is_elapsed() {
                *idle = Some(self.polls_total);
                sleep.as_mut().reset(Instant::now() + FOREVER);
            }
        }
        if sleep.poll(context).is_ready() {
            // What was due far away or between two ticks of the clock is due now.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a text".to_owned(),
    }
}

/// Why our own runtime is left.
enum Rested<T> {
    /// What it was waited for is there, or cannot come.
    Over(Result<T, SimulationError>),
    /// Nothing can run, and turmoil, whose hosts are runtimes of their own, has something to do.
    Step,
}

/// Wakes the future given to `block_on`.
struct Root {
    woken: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Relaxed);
        self.ready.root.wake();
    }
}

impl Deref for Simulation {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.tear_down();
        self.turmoil = None;
        self.runtime = None;
        executor::clear_current();
        hermesh_runtime::processes_on_this_thread(None);
        LIVE.set(false);
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("world", &self.world).finish_non_exhaustive()
    }
}
