//! One pod's life: volumes, network, containers in order, and the end of it all.
//!
//! Source: kubernetes `pkg/kubelet/kuberuntime/kuberuntime_manager.go` (`SyncPod`) and `kuberuntime_container.go`.

mod ending;
mod outage;
mod slot;
mod start;
mod status;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hermesh_istiod::objects::{ObjectKey, Pod, VolumeSource};
use hermesh_runtime::EventId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::backoff::FillBackoff;
use super::order::{self, Role, Stage};
use super::probe::{Purpose, Verdict};
use super::pull::PullBackoff;
use super::{Shared, Tokens, volumes};
use crate::cluster::events::{PodWaits, TokensSet};
use crate::engine::{ContainerId, ExitStatus, PodId, PodSpec, Volume};
use slot::Slot;
use start::facts;

/// `ConfigMap`s are looked at once a minute, at a time of the pod's own, in milliseconds.
const CONFIGURATION_MS: (u64, u64) = (1_000, 60_000);

/// How often the kubelet looks at a pod's tokens at most (`syncFrequency`).
const SYNC: Duration = Duration::from_secs(60);

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Message {
    /// The pod is to end: it was deleted at this wall time, in seconds.
    Delete { at: u64, grace: Duration, cause: Option<EventId> },
    /// A container is to be stopped gently; it starts again.
    Restart { container: String, cause: Option<EventId> },
    /// The clock of the pod's node was set.
    Clock,
    /// What becomes of the pod's tokens.
    Tokens { tokens: Tokens, cause: Option<EventId> },
    /// What others say of the pod, which its readiness gates ask for.
    Conditions { conditions: BTreeMap<String, bool>, cause: Option<EventId> },
    /// The pod is none of the cluster's any more.
    Forget { cause: Option<EventId> },
    /// The node has lost power, and with it all that ran there.
    PowerOff,
    /// It has power again.
    PowerOn { cause: Option<EventId> },
    /// A container ended.
    Exited { index: usize, id: ContainerId, status: ExitStatus },
    /// A run of probes changed what a container is taken for.
    Probe { index: usize, id: ContainerId, purpose: Purpose, verdict: Verdict, cause: Option<EventId> },
}

/// Whatever was going on with the pod ends here.
enum Interrupted {
    /// It is being deleted.
    Deleted,
    /// Its node has lost power.
    PowerOff,
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    key: ObjectKey,
    pod: Pod,
    inbox: mpsc::UnboundedReceiver<Message>,
    messages: mpsc::UnboundedSender<Message>,
    added: Instant,
    /// Where it runs, once that is decided.
    node: Option<usize>,
    net: Option<(PodId, IpAddr)>,
    /// The addresses of sandboxes that are gone: nobody else gets them before the pod has another.
    left: Vec<IpAddr>,
    volumes: BTreeMap<String, Volume>,
    /// Why the pod has no volumes yet.
    unfilled: Option<String>,
    /// Names the state of the volumes.
    version: u64,
    tokens: Tokens,
    /// When the tokens were made, and when they are made anew.
    minted: Instant,
    refresh: Option<Instant>,
    fill_backoff: FillBackoff,
    slots: Vec<Slot>,
    /// The images that could not be pulled, and how often that was so of all of them.
    pulls: BTreeMap<String, PullBackoff>,
    pull_failures: u64,
    /// How often a container could not be made for what it lacks.
    config_failures: u64,
    /// Whether the pod has nothing left to do, and what still runs in it is being stopped.
    over: bool,
    deletion: Option<(Instant, Option<EventId>)>,
    cause: Option<EventId>,
    shown: Option<(String, String, u32)>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        pod: Pod,
        inbox: mpsc::UnboundedReceiver<Message>,
        messages: mpsc::UnboundedSender<Message>,
        cause: Option<EventId>,
    ) -> Self {
        let path = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        let slots = Slot::all(&path, &pod.spec);
        Self {
            shared,
            key: pod.key(),
            pod,
            inbox,
            messages,
            added: Instant::now(),
            node: None,
            net: None,
            left: Vec::new(),
            volumes: BTreeMap::new(),
            unfilled: None,
            version: 0,
            tokens: Tokens::default(),
            minted: Instant::now(),
            refresh: None,
            fill_backoff: FillBackoff::default(),
            slots,
            pulls: BTreeMap::new(),
            pull_failures: 0,
            config_failures: 0,
            over: false,
            deletion: None,
            cause,
            shown: None,
        }
    }

    pub(super) async fn run(mut self) {
        while let Err(Interrupted::PowerOff) = self.live().await {
            self.outage().await;
            if self.deletion.is_some() {
                break;
            }
        }
        self.shut_down().await;
    }

    async fn live(&mut self) -> Result<(), Interrupted> {
        if !self.over {
            self.set_up().await?;
        }
        self.keep_running().await
    }

    /// Node, address and volumes, before the first container.
    async fn set_up(&mut self) -> Result<(), Interrupted> {
        self.bind().await?;
        if self.net.is_none() {
            self.join();
        }
        let mut configuration = self.shared.configuration.listen();
        while let Err(reason) = self.fill_volumes() {
            if self.unfilled.as_ref() != Some(&reason) {
                self.unfilled = Some(reason.clone());
                let waits = PodWaits { pod: self.path(), reason };
                self.cause = self.emit(self.cause, waits);
                self.publish(self.cause);
            }
            let again = self.fill_backoff.next();
            let _ = self.meanwhile(tokio::time::timeout(again, configuration.raised())).await?;
        }
        self.unfilled = None;
        self.filled();
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.volumes = self.volumes.clone();
        }
        Ok(())
    }

    fn join(&mut self) {
        let address = self.shared.take_address();
        self.left.drain(..).for_each(|left| self.shared.release_address(left));
        let mut spec = PodSpec::new(self.path(), [address]);
        self.pod.hostname().clone_into(&mut spec.hostname);
        let net = self.shared.world.add_pod(spec, self.cause);
        self.net = Some((net, address));
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.net = Some(net);
        }
        self.publish(self.cause);
    }

    fn fill_volumes(&mut self) -> Result<(), String> {
        self.version += 1;
        let node = self.node_name();
        let facts = facts(&self.pod, self.net, self.host_ip(), &node);
        let tokens = (&self.shared.tokens, self.tokens);
        volumes::fill(&mut self.volumes, &facts, &self.shared.store, tokens, self.version)
    }

    async fn keep_running(&mut self) -> Result<(), Interrupted> {
        let mut configuration = self.shared.configuration.listen();
        let mut look: Option<Instant> = None;
        let sources: Vec<VolumeSource> = self.pod.spec.volumes.iter().map(|volume| volume.source.clone()).collect();
        let has_config = sources.iter().any(|source| !matches!(source, VolumeSource::EmptyDir(_)));
        loop {
            if let Some(index) = self.due(Instant::now()) {
                self.start(index).await?;
                continue;
            }
            let (next_start, next_look) = (self.next_start(), self.next_look());
            tokio::select! {
                biased;
                message = self.inbox.recv() => {
                    let message = message.expect("the worker holds a sender of its own");
                    self.handle(message)?;
                }
                () = configuration.raised(), if has_config && look.is_none() => {
                    let delay = self.draw("configuration", CONFIGURATION_MS);
                    look = Some(Instant::now() + delay);
                }
                () = at(look), if look.is_some() => {
                    look = None;
                    self.update_volumes();
                }
                () = at(self.refresh), if self.refresh.is_some() => self.renew_volumes(),
                () = at(next_look), if next_look.is_some() => self.look_at_pulls(),
                () = at(next_start), if next_start.is_some() => {}
            }
        }
    }

    /// Files stay as they are where something they need is gone.
    fn update_volumes(&mut self) {
        if let Err(reason) = self.fill_volumes() {
            let waits = PodWaits { pod: self.path(), reason };
            self.emit(None, waits);
        }
    }

    /// A pod that has no volumes yet, or none any more as its node has no power, gets them with such tokens.
    pub(super) fn set_tokens(&mut self, tokens: Tokens, cause: Option<EventId>) {
        let life_s = if let Tokens::Last { life } = tokens { Some(life.as_secs()) } else { None };
        let event = TokensSet { pod: self.path(), refreshed: tokens == Tokens::Renewed, life_s };
        let at = if self.node.is_some() { self.at_node() } else { "cluster".to_owned() };
        self.shared.world.emit(&at, cause, event);
        self.tokens = tokens;
        if tokens != Tokens::Kept && self.has_power() {
            self.renew_volumes();
        }
    }

    /// Writes the volumes anew, and their tokens with them. What cannot be written is tried again.
    fn renew_volumes(&mut self) {
        match self.fill_volumes() {
            Ok(()) => self.filled(),
            Err(reason) => {
                let waits = PodWaits { pod: self.path(), reason };
                self.emit(None, waits);
                self.refresh = Some(Instant::now() + self.fill_backoff.next());
            }
        }
    }

    /// The volumes have what they should have.
    fn filled(&mut self) {
        self.fill_backoff = FillBackoff::default();
        if let Tokens::Last { .. } = self.tokens {
            self.tokens = Tokens::Kept;
        }
        self.minted = Instant::now();
        self.refresh = self.next_refresh();
    }

    fn next_refresh(&self) -> Option<Instant> {
        if self.tokens != Tokens::Renewed {
            return None;
        }
        let sources = self.pod.spec.volumes.iter().map(|volume| volume.source.clone());
        let life = volumes::token_refresh(sources)?;
        // The API server says when a token expires; the kubelet looks at the clock of its node.
        let skew_ns = self.net.map_or(0, |(net, _)| self.shared.world.clock_skew(net));
        let skew = Duration::from_nanos(skew_ns.unsigned_abs());
        let wait = if skew_ns < 0 { life + skew } else { life.saturating_sub(skew) };
        Some(self.minted + wait.max(SYNC))
    }

    /// How far the containers are.
    fn stages(&self) -> Vec<(Role, Stage)> {
        self.slots.iter().map(Slot::stage).collect()
    }

    /// The containers that start as soon as it is their time, with that.
    fn starting(&self) -> impl Iterator<Item = (usize, Option<Instant>)> {
        let stages = self.stages();
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.wanted);
        slots
            .filter(move |(index, _)| order::may_start(&stages, *index))
            .map(|(index, slot)| (index, slot.next_start()))
    }

    /// The first container, in order, that is to be started now.
    fn due(&self, now: Instant) -> Option<usize> {
        self.starting().find(|(_, at)| at.is_none_or(|at| at <= now)).map(|(index, _)| index)
    }

    fn next_start(&self) -> Option<Instant> {
        self.starting().filter_map(|(_, at)| at).min()
    }

    /// Waits for `future` and goes on listening to what the pod is told.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Interrupted> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                message = self.inbox.recv() => {
                    let message = message.expect("the worker holds a sender of its own");
                    self.handle(message)?;
                }
                result = &mut future => return Ok(result),
            }
        }
    }

    fn handle(&mut self, message: Message) -> Result<(), Interrupted> {
        match message {
            Message::Delete { at, grace, cause } => {
                if self.deletion.is_none() {
                    self.deletion = Some((Instant::now() + grace, cause));
                    self.pod.metadata.deletion_timestamp = Some(at);
                    self.publish(cause);
                }
                return Err(Interrupted::Deleted);
            }
            Message::Restart { container, cause } => {
                if let Some(index) = self.slots.iter().position(|slot| slot.container.name == container) {
                    self.stop(index, self.grace(), cause);
                }
            }
            Message::Conditions { conditions, cause } => {
                if self.pod.status.conditions != conditions {
                    self.pod.status.conditions = conditions;
                    self.publish(cause);
                }
            }
            Message::Tokens { tokens, cause } => self.set_tokens(tokens, cause),
            Message::Clock => self.refresh = self.refresh.and_then(|_| self.next_refresh()),
            Message::Forget { cause } => {
                self.deletion = Some((Instant::now(), cause));
                return Err(Interrupted::Deleted);
            }
            Message::PowerOff => return Err(Interrupted::PowerOff),
            // It was told before it knew that the node was off.
            Message::PowerOn { .. } => {}
            Message::Exited { index, id, status } => self.exited(index, id, status),
            Message::Probe { index, id, purpose, verdict, cause } => self.probed(index, id, purpose, verdict, cause),
        }
        Ok(())
    }

    async fn shut_down(mut self) {
        let (deadline, cause) = self.deletion.unwrap_or_else(|| (Instant::now(), None));
        let grace = deadline.saturating_duration_since(Instant::now());
        self.stop_all(grace, cause);
        while self.slots.iter().any(|slot| slot.run.is_some()) {
            let message = self.inbox.recv().await.expect("the worker holds a sender of its own");
            // A second deletion has nothing to add.
            if let Err(Interrupted::PowerOff) = self.handle(message) {
                self.outage().await;
            }
        }
        if let Some((net, address)) = self.net.take() {
            self.shared.world.remove_pod(net, cause);
            self.shared.release_address(address);
        }
        self.left.drain(..).for_each(|left| self.shared.release_address(left));
        self.shared.lock().pods.remove(&self.key);
        self.shared.store.delete(&self.key, cause);
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.pod.spec.termination_grace_period_seconds)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.key.namespace, self.key.name)
    }

    fn emit<E: hermesh_runtime::Event>(&self, cause: Option<EventId>, event: E) -> Option<EventId> {
        self.shared.world.emit(&self.at_node(), cause, event).or(cause)
    }

    fn draw(&self, what: &str, (low, high): (u64, u64)) -> Duration {
        let mut draws = self.shared.world.runtime().draws(&format!("kubelet/{}/{what}", self.path()));
        Duration::from_millis(draws.between(low, high))
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
