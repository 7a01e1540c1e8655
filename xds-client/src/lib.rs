//! gRPC xDS client and server library: what an application links to take part in a proxyless mesh.
//!
//! The protocol cores are free of sockets, timers and clocks. [`ads`] holds the two ends of an aggregated discovery
//! stream, [`resource`] reads and validates what travels over it, [`dependency_manager`] assembles listener, routes,
//! clusters and endpoints into one consistent configuration. They take `now`, inputs and random draws, and answer with
//! actions; a thin shell around them does what they say.
//!
//! [`XdsChannel`] and [`XdsServer`] are what an application uses, or [`AnyChannel`] where the target may need no xDS.
//! Between them and the cores stand [`routing`], [`retry`], [`fault`] and [`rbac`] for single RPCs, [`balancer`] and
//! [`subchannel`] for connections, again without I/O; [`client`] runs the streams, [`certificate_provider`] and
//! [`credentials`] the transport security, and [`csds`] tells whoever asks what the clients have.
//!
//! Behaviour follows gRPC's xDS proposals (gRFC A27 and its successors) as grpc-go carries them out; where the two
//! differ, the module says which it follows.

pub mod ads;
mod any_channel;
pub mod balancer;
pub mod bootstrap;
pub mod cause;
pub mod certificate_provider;
mod channel;
pub mod client;
pub mod credentials;
pub mod csds;
pub mod dependency_manager;
pub mod fault;
pub mod rbac;
pub mod resource;
pub mod retry;
pub mod routing;
pub mod server;
pub mod subchannel;

pub use any_channel::{AnyChannel, AnyChannelError};
pub use bootstrap::Bootstrap;
pub use cause::Cause;
pub use channel::{
    AppliedCluster, AppliedDigest, ClusterPriority, ConfigApplied, ConfigFailed, RpcFault, RpcFinished, RpcPick,
    SubchannelStateChanged, XdsChannel, XdsChannelError,
};
pub use client::XdsClientPool;
pub use credentials::{ChannelCredentials, Fallback, ServerCredentials, ServerFallback};
pub use csds::ClientStatusDiscovery;
pub use resource::ResourceType;
pub use server::{RpcAllowed, RpcAudited, RpcDenied, ServingMode, XdsServer, XdsServerError};
