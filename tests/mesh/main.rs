//! The mesh as its users see it: properties, snapshots and determinism.

mod circuit_breaking;
mod client_status;
mod converged;
mod dangling;
mod determinism;
mod fault_injection;
mod host_header;
mod images;
mod istio_skipped;
mod load_balancing;
mod mtls_matrix;
mod mtls_transitions;
mod pods;
mod prober;
mod restarts_under_load;
mod startup_order;
mod subset_routing;
mod tutorial;
mod weighted_splits;
