//! Istio and Kubernetes objects in, xDS resources out: istiod for proxyless gRPC.
//!
//! [`yaml`] reads text into nodes that know their line and column, [`objects`] makes them Kubernetes and Istio objects
//! and says what no API server would accept, [`snapshot`] indexes one state of the cluster, and [`translate`] turns a
//! snapshot, a [`node`] and resource names into what istiod would send. All of that is plain functions over values.
//!
//! [`Istiod`] puts them to work: it follows the cluster through a [`watch`], pushes to every stream ([`push`]), and
//! is the mesh's certificate authority ([`ca`]); a [`disruption`] makes either late or wrong. Outside a simulation the
//! cluster is a folder of YAML ([`files`]), and the authority's key lies in another ([`state`]).

mod authentication;
pub mod ca;
mod debug;
pub mod disruption;
pub mod files;
pub mod node;
pub mod objects;
pub mod push;
mod server;
pub mod snapshot;
pub mod state;
pub mod translate;
pub mod watch;
pub mod yaml;

pub use server::{Config, Istiod, IstiodError, Ready, RootPublished, Serving, server_names};
