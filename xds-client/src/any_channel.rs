//! [`AnyChannel`]: a channel to whatever gRPC takes for a target.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hermesh_runtime::Runtime;
use hermesh_runtime::channel::{Channel, ChannelOptions, TargetError};
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::channel::{XdsChannel, XdsChannelError};
use crate::credentials::ChannelCredentials;

/// A channel to an `xds:` target or to one that needs no control plane, for programs that are told where to call:
/// `xds:///greeter:50051` in a mesh, `localhost:50051` at home. Cheap to clone, and ready for every client that tonic
/// generates.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hermesh_xds::{AnyChannel, ChannelCredentials};
///
/// let rt = hermesh_runtime::os::runtime();
/// let target = rt.var("GREETER").unwrap_or_else(|| "localhost:50051".to_owned());
/// let channel = AnyChannel::connect(&rt, &target, ChannelCredentials::xds_with_insecure_fallback()).await?;
/// # drop(channel);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum AnyChannel {
    /// To an `xds:` target.
    Xds(XdsChannel),
    /// To any other.
    Plain(Channel),
}

/// Why there is no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnyChannelError {
    /// To an `xds:` target.
    #[error(transparent)]
    Xds(#[from] XdsChannelError),
    /// To any other.
    #[error(transparent)]
    Plain(#[from] TargetError),
}

impl AnyChannel {
    /// A channel to `target`. The credentials are for `xds:` targets; any other is spoken to in plain text, unless it
    /// is opened as a [`Channel`] with options of its own.
    ///
    /// # Errors
    /// If the target, or the bootstrap that an `xds:` target needs, is unusable.
    pub async fn connect(rt: &Runtime, target: &str, credentials: ChannelCredentials) -> Result<Self, AnyChannelError> {
        if target.starts_with("xds:") {
            Ok(Self::Xds(XdsChannel::connect(rt, target, credentials).await?))
        } else {
            Ok(Self::Plain(Channel::new(rt, target, ChannelOptions::default())?))
        }
    }
}

impl From<XdsChannel> for AnyChannel {
    fn from(channel: XdsChannel) -> Self {
        Self::Xds(channel)
    }
}

impl From<Channel> for AnyChannel {
    fn from(channel: Channel) -> Self {
        Self::Plain(channel)
    }
}

impl Service<http::Request<Body>> for AnyChannel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match self {
            Self::Xds(channel) => channel.poll_ready(cx),
            Self::Plain(channel) => channel.poll_ready(cx),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Self::Xds(channel) => channel.call(request),
            Self::Plain(channel) => channel.call(request),
        }
    }
}
