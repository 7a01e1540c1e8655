//! A hermetic, deterministic mesh-in-a-process for Istio's proxyless gRPC.

pub mod bench;
mod cluster;
pub mod engine;
mod explain;
mod files;
pub mod image;
mod mesh;
mod protojson;
pub mod report;
pub mod scenario;
mod signal;
pub mod trace;

pub use engine::LinkFault;
pub use image::{Images, Process, Registry, stand_in};
pub use mesh::{
    Answer, Applied, ApplyError, ApplyOutcome, Call, CallError, CallFailure, CallReport, Calls, ClientConfig,
    ClientResource, ContainerExit, Crash, Deleted, DisturbError, Fault, ISTIO_VERSIONS, IntoManifests, LOAD_CALLS_MAX,
    Load, LoadedCall, Manifest, Manifests, Mesh, MeshBuilder, PATIENCE, PodRow, PodTable, ReadError, RecordedError,
    Resource, ResourceError, Responses, RunningLoad, SLOW_MAX, StartError, TargetError, WaitError, code_text, mesh,
};

pub use hermesh_xds::ResourceType;
