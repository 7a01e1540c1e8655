//! What is done to a mesh from outside.

use std::collections::BTreeMap;

use super::CallFailure;

hermesh_runtime::event! {
    /// Manifests are applied.
    ApplyStarted = "mesh.apply" { files: Vec<String>, }
    /// An object that is there is changed: scaled, labelled, patched, or rolled out anew.
    ObjectChanged = "mesh.patch" { what: &'static str, object: String, patch: serde_json::Value, }
    /// The API server or a webhook refuses what is applied or changed: nothing of it happens.
    Rejected = "mesh.rejected" { what: &'static str, reasons: Vec<String>, }
    /// Objects are deleted.
    DeleteStarted = "mesh.delete" { objects: Vec<String>, }
    /// A machine outside of the cluster is booted, with the files and variables of its WorkloadGroup.
    MachineBooted = "machine.booted" { machine: String, group: String, address: std::net::IpAddr, }
    /// A machine is shut down.
    MachineShutDown = "machine.shutdown" { machine: String, }
    /// A pod is asked to send requests.
    CallStarted = "call.started" { from: String, url: String, count: u32, qps: Option<u32>, }
    /// All requests were answered, or one of them failed.
    CallEnded = "call.ended" {
        from: String,
        answers: BTreeMap<String, u64>,
        error: Option<CallFailure>,
    }
    /// A pod begins to send RPCs at a steady rate.
    LoadStarted = "load.started" { load: String, from: String, url: String, qps: u32, }
    /// A load was stopped, and its RPCs have ended.
    LoadEnded = "load.ended" { load: String, calls: u64, answers: BTreeMap<String, u64>, errors: u64, }
    /// Containers are killed, restarted, or their pods cut off.
    Disturbed = "mesh.disturbed" { what: &'static str, targets: Vec<String>, }
}
