//! TLS for gRPC meshes: who we are, whom we trust, and which of those may be our peer.
//!
//! A peer's certificate chain must lead to one of the [`TrustBundle`]'s roots and be meant for its end of the
//! connection; it must be valid by [`Runtime::wall`](crate::Runtime::wall); then the [`PeerRule`] decides. A workload
//! is a SPIFFE identity, not a host: no host name is compared unless [`PeerRule::dns`] says so (gRFC A29). Sessions
//! are never resumed: a resumed one would not be verified again, and a rotated root not noticed.

mod certificate;
mod config;
mod describe;
mod identity;
mod trust;
mod verify;

pub use certificate::{MalformedCertificate, PeerCertificate};
pub use config::{ClientAuth, ClientTls, ServerTls};
pub use identity::{Identity, IdentityError};
pub use trust::{TrustBundle, TrustBundleError};
pub use verify::PeerRule;

pub(crate) use describe::describe;
