//! [`XdsChannel`]: a gRPC channel whose routes, backends and security come from a control plane.
//!
//! gRFC A27, A28, A29, A31, A44, A74. The channel is lazy: the first RPC makes it ask for its configuration, RPCs wait
//! until there is one, and after 30 minutes without RPCs it lets go of everything until the next. RPCs fail fast: when
//! a cluster has no working connection they fail with UNAVAILABLE and the last connection error.
//!
//! # Retries
//!
//! What a call sends is kept until response headers come, up to 256 KiB: all of a unary request, and of a stream what
//! was written so far. A route's retry policy (gRFC A44) applies to such calls: another attempt sends what is kept, and
//! goes on with what the application writes then. Policy or not, they are sent once more if a server refuses them
//! unseen (REFUSED_STREAM, or GOAWAY with a lower last stream ID). Calls that send more are not tried again. Any
//! request that never left is sent elsewhere, as often as it takes. Once response headers have come there are no more
//! attempts.

mod actor;
mod body;
mod call;
mod connector;
mod events;
mod faults;
mod selector;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_runtime::latest::{Latest, Reader};
use hermesh_runtime::{Draws, Runtime, TaskGuard};
use http::uri::Authority;
use tokio::sync::Notify;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::bootstrap::{Bootstrap, BootstrapError, UnknownAuthority, percent_encode};
use crate::client::{XdsClientPool, draws_path};
use crate::credentials::ChannelCredentials;
use actor::{Actor, Parts, Snapshot};
pub use events::{
    AppliedCluster, AppliedDigest, ClusterPriority, ConfigApplied, ConfigFailed, RpcFault, RpcFinished, RpcPick,
    SubchannelStateChanged,
};

/// How long a channel without RPCs keeps its connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A channel to an `xds:` target; cheap to clone, and ready for every client that tonic generates.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hermesh_xds::{ChannelCredentials, XdsChannel};
///
/// let rt = hermesh_runtime::os::runtime();
/// let credentials = ChannelCredentials::xds_with_insecure_fallback();
/// let channel = XdsChannel::connect(&rt, "xds:///echo.echo-grpc.svc.cluster.local:7070", credentials).await?;
/// let client = tonic::client::Grpc::new(channel); // or EchoTestServiceClient::new(channel)
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct XdsChannel {
    shared: Arc<Shared>,
}

/// Why there is no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XdsChannelError {
    /// The target is not of the form that gRFC A27 and A47 describe.
    #[error("target {target:?} is not an xDS target: {problem}; expected `xds:///name:port` or `xds://authority/name`")]
    Target {
        /// The target.
        target: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no usable bootstrap.
    #[error("xds: failed to create xds-client: {0}")]
    Bootstrap(#[from] BootstrapError),
    /// The bootstrap does not know the target's authority.
    #[error(transparent)]
    Authority(#[from] UnknownAuthority),
}

impl XdsChannel {
    /// A channel to `target`, with an xDS client of its own. Reads the bootstrap and waits for nothing else.
    ///
    /// # Errors
    /// If the target or the bootstrap is unusable. Whatever the control plane has to say comes with the first RPC.
    pub async fn connect(rt: &Runtime, target: &str, credentials: ChannelCredentials) -> Result<Self, XdsChannelError> {
        Self::connect_in(&XdsClientPool::new(rt), target, credentials).await
    }

    /// A channel to `target` that shares its xDS client with the other channels to that target in `pool`.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn connect_in(
        pool: &XdsClientPool,
        target: &str,
        credentials: ChannelCredentials,
    ) -> Result<Self, XdsChannelError> {
        Self::connect_with_authority(pool, target, credentials, None).await
    }

    /// As [`connect_in`](Self::connect_in), with an authority to use instead of the target's name: in requests, and, as
    /// with grpc-go's `WithAuthority`, to choose the virtual host.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn connect_with_authority(
        pool: &XdsClientPool,
        target: &str,
        credentials: ChannelCredentials,
        authority: Option<Authority>,
    ) -> Result<Self, XdsChannelError> {
        let rt = pool.runtime().clone();
        let Target { authority: xds_authority, endpoint } = Target::parse(target)?;
        let bootstrap = pool.bootstrap().await?;
        let listener_name = bootstrap.client_listener_name(&xds_authority, &endpoint)?;
        let problem = "its name cannot be an HTTP authority";
        let unusable = |_| XdsChannelError::Target { target: target.to_owned(), problem };
        let authority = match authority {
            Some(authority) => authority,
            None => data_plane_authority(&endpoint).parse().map_err(unusable)?,
        };
        let draws = draws_path(&rt, &format!("xds-channel/{target}"));
        let shared = Shared {
            draws: Mutex::new(CallDraws {
                route: rt.draws(&format!("{draws}/route")),
                pick: rt.draws(&format!("{draws}/pick")),
                retry: rt.draws(&format!("{draws}/retry")),
                fault: rt.draws(&format!("{draws}/fault")),
                hash: rt.draws(&format!("{draws}/hash")),
            }),
            channel_id: rt.draws(&format!("{draws}/channel-id")).next(),
            draws_name: draws,
            rt,
            pool: pool.clone(),
            bootstrap,
            target: target.into(),
            listener_name,
            authority,
            credentials,
            snapshots: Latest::new(Snapshot::pending()),
            activity: Mutex::default(),
            call_ended: Arc::new(Notify::new()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The target as it was given.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.shared.target
    }
}

impl Service<http::Request<Body>> for XdsChannel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(call::run(self.shared.clone(), request))
    }
}

impl fmt::Debug for XdsChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdsChannel").field("target", &self.shared.target).finish_non_exhaustive()
    }
}

/// What clones of a channel and its RPCs share.
struct Shared {
    rt: Runtime,
    pool: XdsClientPool,
    bootstrap: Arc<Bootstrap>,
    target: Arc<str>,
    listener_name: String,
    authority: Authority,
    credentials: ChannelCredentials,
    /// What stands for the channel in hashes (gRFC A42).
    channel_id: u64,
    draws_name: String,
    draws: Mutex<CallDraws>,
    snapshots: Latest<Snapshot>,
    activity: Mutex<Activity>,
    call_ended: Arc<Notify>,
}

/// The random choices of RPCs, by what they decide.
struct CallDraws {
    route: Draws,
    pick: Draws,
    retry: Draws,
    fault: Draws,
    hash: Draws,
}

#[derive(Default)]
struct Activity {
    calls: usize,
    task: Option<TaskGuard>,
}

impl Shared {
    /// Counts an RPC in, and wakes the channel if it is idle.
    fn enter(self: &Arc<Self>) -> CallGuard {
        let mut activity = self.activity();
        activity.calls += 1;
        if activity.task.is_none() {
            let client = self.pool.client(&self.target, &self.bootstrap);
            let actor = Actor::new(Parts {
                rt: self.rt.clone(),
                pool: self.pool.clone(),
                client,
                target: self.target.clone(),
                listener_name: self.listener_name.clone(),
                authority: self.authority.to_string(),
                server_name: self.authority.host().trim_matches(['[', ']']).to_owned(),
                credentials: self.credentials.clone(),
                draws: self.draws_name.clone(),
                publish: self.snapshots.clone(),
            });
            let (shared, call_ended) = (Arc::downgrade(self), self.call_ended.clone());
            let task = async move {
                let idle = async {
                    loop {
                        let quiet = tokio::time::timeout(IDLE_TIMEOUT, call_ended.notified()).await.is_err();
                        let Some(shared) = shared.upgrade() else { return };
                        if quiet && shared.go_idle() {
                            return;
                        }
                    }
                };
                tokio::select! {
                    biased;
                    () = actor.run() => {}
                    () = idle => {}
                }
            };
            activity.task = Some(self.rt.spawn("xds-channel", task).abort_on_drop());
        }
        CallGuard { shared: self.clone() }
    }

    /// Lets go of everything unless an RPC is in flight; the task that asks is over then.
    fn go_idle(&self) -> bool {
        let mut activity = self.activity();
        if activity.calls > 0 {
            return false;
        }
        self.snapshots.replace(Snapshot::pending());
        activity.task = None;
        true
    }

    fn snapshots(&self) -> Reader<Snapshot> {
        self.snapshots.reader()
    }

    fn draws(&self) -> MutexGuard<'_, CallDraws> {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an RPC out when dropped.
struct CallGuard {
    shared: Arc<Shared>,
}

impl CallGuard {
    fn rt(&self) -> &Runtime {
        &self.shared.rt
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.shared.activity().calls -= 1;
        self.shared.call_ended.notify_one();
    }
}

/// `xds:name`, `xds:///name` or `xds://authority/name`.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    authority: String,
    endpoint: String,
}

impl Target {
    fn parse(target: &str) -> Result<Self, XdsChannelError> {
        let error = |problem| XdsChannelError::Target { target: target.to_owned(), problem };
        let rest = target.strip_prefix("xds:").ok_or_else(|| error("its scheme is not `xds`"))?;
        let (authority, endpoint) = match rest.strip_prefix("//") {
            None => ("", rest),
            Some(rest) => rest.split_once('/').ok_or_else(|| error("it has no name after the authority"))?,
        };
        if endpoint.is_empty() {
            return Err(error("its name is empty"));
        }
        Ok(Self { authority: authority.to_owned(), endpoint: endpoint.to_owned() })
    }
}

/// The data-plane authority of an endpoint: what may not stand in an authority is percent-encoded (gRFC A47).
fn data_plane_authority(endpoint: &str) -> String {
    percent_encode(endpoint, b"[]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_grpc_reads_them() {
        for (target, authority, endpoint) in [
            ("xds:///echo:7070", "", "echo:7070"),
            ("xds:echo:7070", "", "echo:7070"),
            ("xds://example.org/echo", "example.org", "echo"),
        ] {
            let expected = Target { authority: authority.to_owned(), endpoint: endpoint.to_owned() };
            assert_eq!(Target::parse(target), Ok(expected), "{target}");
        }
    }

    #[test]
    fn what_is_no_target_is_told_why() {
        for (target, part) in [
            ("dns:///echo:7070", "scheme"),
            ("echo:7070", "scheme"),
            ("xds://echo:7070", "no name"),
            ("xds:///", "empty"),
        ] {
            assert!(Target::parse(target).unwrap_err().to_string().contains(part), "{target}");
        }
    }

    #[test]
    fn an_authority_keeps_its_port_and_escapes_slashes() {
        assert_eq!(data_plane_authority("echo.ns:7070"), "echo.ns:7070");
        assert_eq!(data_plane_authority("path/a b"), "path%2Fa%20b");
    }
}
