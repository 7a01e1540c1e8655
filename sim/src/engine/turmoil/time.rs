//! When turmoil must step, and what else falls due.

use std::collections::BTreeMap;

use super::super::net::Latency;
use super::super::slab::Key;
use super::Net;

/// How long one step of turmoil is, in nanoseconds: the resolution of all timers.
pub(in super::super) const STEP: u64 = 1_000_000;

/// Turmoil's clock beside ours, and a queue of timers.
///
/// Turmoil need not step while nothing is under way in it. Whatever gets under way there is sent by a task of a host,
/// or by turmoil itself in answer to such a segment (RST); it arrives after the greatest latency at the latest, or is
/// held, and wakes a task. So once no task has run for the time of two segments and of the steps between, the next
/// thing to happen is brought about by us. Until then turmoil's clock may stand still: it measures latencies only.
pub(super) struct Clock {
    stepped_at: Option<u64>,
    /// Steps since something last stirred.
    quiet: u64,
    /// All of them.
    pub(super) steps: u64,
    patience: u64,
    timers: BTreeMap<Timer, Key>,
    timers_set: u64,
}

/// When a timer is due, and its number.
pub(super) type Timer = (u64, u64);

impl Clock {
    pub(super) fn new((_, slowest): Latency) -> Self {
        // A segment waits for the step that sends it, and one more for the task it wakes.
        let patience = 2 * slowest.div_ceil(STEP) + 4;
        Self { stepped_at: None, quiet: patience, steps: 0, patience, timers: BTreeMap::new(), timers_set: 0 }
    }

    /// Something happens in turmoil, or is to happen there.
    pub(super) fn stir(&mut self) {
        self.quiet = 0;
    }

    fn is_busy(&self) -> bool {
        self.quiet < self.patience
    }

    pub(super) fn set_timer(&mut self, at: u64, conn: Key) -> Timer {
        self.timers_set += 1;
        let timer = (at, self.timers_set);
        self.timers.insert(timer, conn);
        timer
    }

    pub(super) fn unset_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }
}

impl Net {
    /// Whether turmoil must step before time passes.
    pub(in super::super) fn is_step_due(&self, now: u64) -> bool {
        self.clock.is_busy() && self.clock.stepped_at.is_none_or(|stepped| stepped < now)
    }

    /// Turmoil has stepped.
    pub(super) fn stepped(&mut self, now: u64) {
        self.clock.stepped_at = Some(now);
        self.clock.quiet += 1;
        self.clock.steps += 1;
    }

    /// When turmoil next steps or a timer is due, in nanoseconds.
    pub(in super::super) fn next_at(&self) -> Option<u64> {
        let step = self.clock.stepped_at.map_or(0, |stepped| stepped + STEP);
        let step = self.clock.is_busy().then_some(step);
        let timer = self.clock.timers.first_key_value().map(|((at, _), _)| *at);
        step.into_iter().chain(timer).min()
    }

    /// Handles the timers due by `now`.
    pub(in super::super) fn advance(&mut self, now: u64) {
        while let Some(entry) = self.clock.timers.first_entry()
            && entry.key().0 <= now
        {
            let conn = entry.remove();
            self.on_timer(conn);
        }
    }

    pub(in super::super) fn has_arrived(&self, now: u64) -> bool {
        self.clock.timers.first_key_value().is_some_and(|((at, _), _)| *at <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use hermesh_runtime::{Address, Level, Runtime};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::sleep;

    use crate::engine::{Config, ContainerSpec, Network, PodSpec, Simulation};

    fn address(port: u16) -> Address {
        Address::Tcp(SocketAddr::from(([10, 0, 0, 2], port)))
    }

    /// Leaves part of what it gets unread, so that some connections end with RST.
    async fn serve(rt: Runtime) -> io::Result<()> {
        let mut listener = rt.listen(address(80)).await?;
        loop {
            let mut stream = listener.accept().await?;
            let first = stream.read_u8().await?;
            stream.write_all(&[first; 100]).await?;
        }
    }

    async fn call(rt: Runtime) {
        for pause in [0, 1, 2, 3, 5, 20, 300, 2000] {
            sleep(Duration::from_millis(pause)).await;
            if let Ok(mut stream) = rt.connect(address(80)).await {
                let _broken = stream.write_all(&[7; 1000]).await;
                let _reset = stream.read_to_end(&mut Vec::new()).await;
            }
            assert!(rt.connect(address(81)).await.is_err());
        }
    }

    /// The digest of a run, and how often turmoil stepped.
    fn played(rests: bool) -> (String, u64) {
        let mut config = Config::new(1);
        config.network = Network::Turmoil;
        config.level = Level::Wire;
        config.latency = Duration::from_millis(1)..=Duration::from_millis(9);
        let mut simulation = Simulation::new(config);
        simulation.turmoil(|net| net.clock.patience = if rests { net.clock.patience } else { u64::MAX });
        let [a, b] = [("d/a", 1), ("d/b", 2)]
            .map(|(name, last)| simulation.add_pod(PodSpec::new(name, [[10, 0, 0, last].into()]), None));
        simulation.start(b, ContainerSpec::new("server", serve), None);
        let client = simulation.start(a, ContainerSpec::new("client", call), None);
        simulation.run_for(Duration::from_millis(100)).unwrap();
        simulation.partition(a, b, None);
        simulation.run_for(Duration::from_millis(500)).unwrap();
        simulation.heal(a, b, None);
        let exited = simulation.exited(client);
        assert_eq!(simulation.block_on(exited).unwrap().code, 0);
        let steps = simulation.turmoil(|net| net.clock.steps);
        (simulation.finish().digest_hex(), steps)
    }

    #[test]
    fn a_run_in_which_turmoil_rests_is_the_one_in_which_it_never_does() {
        let ((rested, few), (other, many)) = (played(true), played(false));
        assert_eq!(rested, other);
        assert!(few < many / 2, "{few} steps of {many}");
    }
}
