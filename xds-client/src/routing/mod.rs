//! From an RPC to a virtual host, a route and a cluster (gRFC A27, A28, A31).
//!
//! Both ends use it: a channel matches its outgoing metadata, a server the metadata it received. Nothing here keeps
//! state; random choices are drawn from the stream that is passed in.

mod hash;
mod metadata;
mod route;
mod virtual_host;
mod weighted;

pub use hash::{request_hash, xx_hash64};
pub use metadata::Metadata;
pub use route::find_route;
pub use virtual_host::find_virtual_host;
pub use weighted::pick_cluster;
