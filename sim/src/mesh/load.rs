//! Traffic at a steady rate over one channel that is kept until the load is stopped.
//!
//! A load is open-loop: an RPC is sent when its time has come, whatever became of those before it. So what a rollout, a
//! rotation or a fault does to a channel in use shows here, and what is lost is not hidden by waiting for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_runtime::{EventId, Runtime};
use hermesh_xds::{ChannelCredentials, XdsChannel, XdsClientPool};
use http::uri::Authority;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::{Request, Status};

use super::calls::Calls;
use super::events::{LoadEnded, LoadStarted};
use super::{CallError, Fault, Mesh, PATIENCE};
use crate::engine::{ContainerId, ContainerSpec, ExitReason, ExitStatus, World};
use crate::image::Process;
use crate::signal::Signal;
use crate::trace::Recorded;

/// Traffic from one pod to one target, as many RPCs a second.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Its name in the trace; `load` if not given.
    pub name: String,
    /// The workload that sends, as in [`Call::from`](super::Call::from): its first ready pod does, and goes on for as
    /// long as it is there.
    pub from: String,
    /// The target, such as `xds:///echo:7070`.
    pub url: String,
    /// How many RPCs a second; 10 if not given.
    pub qps: u32,
    /// Metadata of each RPC.
    pub headers: Vec<(String, String)>,
    /// What to have echoed.
    pub message: String,
    /// The longest an RPC may take; 5 s if not given.
    pub timeout: Duration,
}

impl Load {
    /// Ten RPCs a second from `from` to `url`.
    pub fn new(from: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: "load".to_owned(),
            from: from.into(),
            url: url.into(),
            qps: 10,
            headers: Vec::new(),
            message: String::new(),
            timeout: Duration::from_secs(5),
        }
    }

    /// Under this name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// So many a second.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn qps(mut self, qps: u32) -> Self {
        assert!(qps > 0, "a load sends something");
        self.qps = qps;
        self
    }

    /// With this metadata.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Each within this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The `Host` header: the authority of all RPCs.
    fn authority(&self) -> Result<Option<Authority>, CallError> {
        let host = self.headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let parse = |(_, host): &(String, String)| {
            host.parse().map_err(|_| CallError::Client { message: format!("header Host: `{host}` is no authority") })
        };
        host.map(parse).transpose()
    }

    /// The RPC that a load sends unless it is given a client: `proto.EchoTestService/Echo`.
    fn echo(&self) -> Result<impl Fn(XdsChannel) -> EchoCall + Send + 'static, Status> {
        let mut metadata = tonic::metadata::MetadataMap::new();
        for (name, value) in self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
            let name: AsciiMetadataKey =
                name.parse().map_err(|_| Status::invalid_argument(format!("{name:?} is no metadata key")))?;
            let value: AsciiMetadataValue =
                value.parse().map_err(|_| Status::invalid_argument(format!("{value:?} is no metadata value")))?;
            metadata.append(name, value);
        }
        let (message, timeout) = (self.message.clone(), self.timeout);
        Ok(move |channel| {
            let mut request = Request::new(EchoRequest { message: message.clone() });
            *request.metadata_mut() = metadata.clone();
            request.set_timeout(timeout);
            let call: EchoCall =
                Box::pin(async move { EchoTestServiceClient::new(channel).echo(request).await.map(|_answer| ()) });
            call
        })
    }
}

type EchoCall = futures::future::BoxFuture<'static, Result<(), Status>>;

/// A load under way. It ends with [`Mesh::stop`], with its pod, or with the mesh; dropping this does nothing.
#[derive(Clone)]
pub struct RunningLoad {
    world: World,
    load: Load,
    container: ContainerId,
    /// `namespace/pod/container`.
    at: Arc<str>,
    stop: Signal,
    started: Option<EventId>,
    /// That of the mesh.
    namespace: String,
}

impl RunningLoad {
    /// The pod it comes from, `namespace/name`.
    #[must_use]
    pub fn pod(&self) -> &str {
        self.at.rsplit_once('/').map_or("", |(pod, _)| pod)
    }

    /// Its target.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.load.url
    }

    /// The RPCs that have ended by now.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let since = self.started.map_or(0, EventId::seq);
        let own = |event: &Recorded| event.seq > since && event.at == self.at;
        self.world.with_trace(|trace| Calls::of(trace, &self.namespace, |event, _| own(event)))
    }

    /// The RPCs that were sent within a time, such as that of [`Mesh::run_for`], and have ended by now.
    #[must_use]
    pub fn during(&self, time: std::ops::Range<Duration>) -> Calls {
        self.calls().during(time)
    }

    /// Why it ended by itself, if it did: its pod went away, the client panicked, or it made all calls that a load may.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let status = self.status()?;
        let how = match status.reason {
            ExitReason::Killed | ExitReason::PowerOff => "its pod is gone".to_owned(),
            _ => status.message.unwrap_or_else(|| format!("exit code {}", status.code)),
        };
        Some(format!("{} ended before it was stopped: {how}", self.at))
    }

    /// What led to its end, if it ended by itself.
    pub(crate) fn ended_by(&self) -> Option<EventId> {
        self.status()?.event
    }

    /// How it ended by itself; one that was stopped ends well.
    fn status(&self) -> Option<ExitStatus> {
        self.world.status(self.container).filter(|status| status.code != 0 || !self.stop.is_raised())
    }
}

impl fmt::Debug for RunningLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningLoad").field("load", &self.load).field("at", &self.at).finish_non_exhaustive()
    }
}

/// Loads.
impl Mesh {
    /// Begins to send `proto.EchoTestService/Echo` as the images `echo` and `stand-in` serve it.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use hermesh::Load;
    ///
    /// let mut mesh = hermesh::mesh().namespace("echo-grpc").start();
    /// mesh.apply("examples/grpc-echo/namespace.yaml").apply("examples/grpc-echo/grpc-echo.yaml").wait_ready();
    /// let load = mesh.load(Load::new("echo-v1", "xds:///echo:7070").qps(100));
    /// mesh.restart("echo-v2");
    /// let during = load.during(mesh.run_for(Duration::from_secs(20)));
    /// assert!(!during.is_empty());
    /// mesh.stop(&load).assert_no_errors();
    /// ```
    ///
    /// # Panics
    /// If there is nobody to send, or no bootstrap in the pod.
    #[track_caller]
    pub fn load(&mut self, load: Load) -> RunningLoad {
        let result = self.try_load(load);
        self.must("load", result)
    }

    /// [`load`](Self::load) without panics.
    ///
    /// # Errors
    /// If there is nobody to send, or no channel to send over.
    pub fn try_load(&mut self, load: Load) -> Result<RunningLoad, CallError> {
        let echo = load.echo().map_err(|status| CallError::Client { message: status.message().to_owned() })?;
        self.try_load_with(load, echo)
    }

    /// Begins to call your own services by the client that tonic generated: `client` is called with the channel at each
    /// RPC's time. Metadata, message and timeout are its own business.
    ///
    /// # Panics
    /// If there is nobody to send, or no bootstrap in the pod.
    #[track_caller]
    pub fn load_with<F, T>(&mut self, load: Load, client: impl Fn(XdsChannel) -> F + Send + 'static) -> RunningLoad
    where
        F: Future<Output = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let result = self.try_load_with(load, client);
        self.must("load", result)
    }

    /// [`load_with`](Self::load_with) without panics.
    ///
    /// # Errors
    /// If there is nobody to send, or no channel to send over.
    pub fn try_load_with<F, T>(
        &mut self,
        load: Load,
        client: impl Fn(XdsChannel) -> F + Send + 'static,
    ) -> Result<RunningLoad, CallError>
    where
        F: Future<Output = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        if load.qps == 0 {
            return Err(CallError::Client { message: "a load sends something: qps is 0".to_owned() });
        }
        let authority = load.authority()?;
        let (pod, row) = self.caller(&load.from)?;
        let inside = self.inside(&row);
        let name = format!("load-{}", load.name);
        let count = self.loads.entry(format!("{}/{}/{name}", row.namespace, row.name)).or_default();
        *count += 1;
        // The trace tells two loads of one name apart.
        let name = if *count == 1 { name } else { format!("{name}-{count}") };
        let at: Arc<str> = format!("{}/{}/{name}", row.namespace, row.name).into();
        let from = format!("{}/{}", row.namespace, row.name);
        let started = LoadStarted { load: load.name.clone(), from, url: load.url.clone(), qps: load.qps };
        let started = self.simulation.emit("mesh", self.cause, started).or(self.cause);
        let (stop, (connected, begun)) = (Signal::default(), oneshot::channel());
        let (sent, stopped) = (load.clone(), stop.clone());
        let program = move |rt: Runtime| async move {
            let process = Process::new(rt, Arc::new([]), None);
            let credentials = ChannelCredentials::xds_with_insecure_fallback();
            let pool = XdsClientPool::new(&process.runtime());
            let channel = XdsChannel::connect_with_authority(&pool, &sent.url, credentials, authority).await;
            let channel = match channel {
                Ok(channel) => channel,
                Err(error) => {
                    // Whoever asked is waiting, unless the run has ended.
                    let _ = connected.send(Err(format!("{}: {error}", sent.url)));
                    return Ok(());
                }
            };
            let _ = connected.send(Ok(()));
            send(&sent, &stopped, move || client(channel.clone())).await
        };
        let mut spec = ContainerSpec::new(&name, program);
        (spec.env, spec.mounts) = (inside.env, inside.mounts);
        let container = self.simulation.start(pod, spec, started);
        let world = World::clone(&self.simulation);
        let answered = self.simulation.block_on(async {
            match begun.await {
                Ok(answer) => answer,
                Err(_) => Err(world.exited(container).await.message.unwrap_or_else(|| "it ended at once".to_owned())),
            }
        });
        self.check_fault()?;
        answered.map_err(Fault::from)?.map_err(|message| CallError::Client { message })?;
        let (world, namespace) = (World::clone(&self.simulation), self.namespace.clone());
        Ok(RunningLoad { world, load, container, at, stop, started, namespace })
    }

    /// Stops a load: it sends nothing more, and the RPCs under way come to their ends, or are cancelled once their time
    /// is long over. The answer is all of them.
    ///
    /// # Panics
    /// If the load ended by itself before.
    #[track_caller]
    pub fn stop(&mut self, load: &RunningLoad) -> Calls {
        let result = self.try_stop(load);
        let calls = self.must("stop", result);
        let ended = load.ended().map_or(Ok(()), |message| Err(CallError::Client { message }));
        self.must("stop", ended);
        calls
    }

    /// [`stop`](Self::stop) without panics. Whether the load had ended by itself tells [`RunningLoad::ended`].
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn try_stop(&mut self, load: &RunningLoad) -> Result<Calls, Fault> {
        let world = World::clone(&self.simulation);
        let over = async {
            load.stop.raise();
            world.exited(load.container).await;
        };
        let stopped = self.simulation.block_on(over);
        self.check_fault()?;
        stopped?;
        let calls = load.calls();
        let (answers, errors) = (calls.workloads(), calls.errors().count() as u64);
        let ended = LoadEnded { load: load.load.name.clone(), calls: calls.len() as u64, answers, errors };
        self.simulation.emit("mesh", load.started, ended);
        Ok(calls)
    }
}

/// How many calls a load makes at most: each is held in memory until the mesh ends, in some 1.4 KiB.
pub const LOAD_CALLS_MAX: u64 = 500_000;

/// Sends until it is told to stop, and waits for what is under way then, but not for ever.
async fn send<F: Future>(load: &Load, stop: &Signal, call: impl Fn() -> F) -> Result<(), String> {
    let began = Instant::now();
    let mut under_way = FuturesUnordered::new();
    for number in 0..LOAD_CALLS_MAX {
        let due = began
            + Duration::from_secs(1) * u32::try_from(number / u64::from(load.qps)).unwrap_or(u32::MAX)
            + Duration::from_secs(1) * u32::try_from(number % u64::from(load.qps)).unwrap_or(0) / load.qps;
        loop {
            tokio::select! {
                biased;
                () = stop.first() => {
                    let all = async { while under_way.next().await.is_some() {} };
                    let _cancelled = tokio::time::timeout(load.timeout.max(PATIENCE) + MARGIN, all).await;
                    return Ok(());
                }
                Some(_ended) = under_way.next(), if !under_way.is_empty() => {}
                () = sleep_until(due) => break,
            }
        }
        under_way.push(call());
    }
    Err(format!("it has made {LOAD_CALLS_MAX} calls, and no load makes more"))
}

/// How much later than at its deadline an RPC may end.
const MARGIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_load_makes_half_a_million_calls_and_no_more() {
        let made = Cell::new(0_u64);
        let call = || {
            made.set(made.get() + 1);
            std::future::ready(())
        };
        let (load, began) = (Load::new("web", "xds:///cart:7070").qps(10_000), Instant::now());
        let ended = send(&load, &Signal::default(), call).await;
        assert_eq!(ended, Err("it has made 500000 calls, and no load makes more".to_owned()));
        assert_eq!((made.get(), LOAD_CALLS_MAX), (500_000, 500_000));
        assert_eq!(began.elapsed(), Duration::from_secs(50), "the last is due in the last tick of the fiftieth second");
    }
}
