//! A hermetic, deterministic mesh-in-a-process for Istio's proxyless gRPC.

pub mod bench;
mod binomial;
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
pub use hermesh_istiod::disruption::Service as IstiodService;
pub use image::{Images, Process, Pull, Registry, stand_in};
pub use mesh::{
    Answer, Applied, ApplyError, ApplyOutcome, BootError, Call, CallError, CallFailure, CallReport, Calls,
    ClientConfig, ClientResource, ContainerExit, Crash, Deleted, Disruption, DisturbError, Fault, ISTIO_VERSIONS,
    IntoManifests, LOAD_CALLS_MAX, Listed, Load, LoadedCall, Machine, Manifest, Manifests, Mesh, MeshBuilder, Nodes,
    PATIENCE, PodRow, PodTable, ReadError, RecordedError, Resource, ResourceError, Responses, RunningLoad, SLOW_MAX,
    StartError, Table, TargetError, WaitError, code_text, mesh,
};

pub use hermesh_runtime::{JoinError, JoinHandle, spawn};
pub use hermesh_xds::ResourceType;
