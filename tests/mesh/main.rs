//! The mesh as its users see it: properties, snapshots and determinism.

mod client_status;
mod cluster_endpoints;
mod cluster_examples;
mod cluster_history;
mod cluster_init;
mod cluster_jobs;
mod cluster_pulls;
mod cluster_stateful_sets;
mod converged;
mod dangling;
mod determinism;
mod host_header;
mod images;
mod istio_skipped;
mod loads;
mod mtls_matrix;
mod mtls_transitions;
mod pods;
mod prober;
mod restarts_under_load;
mod startup_order;
mod subset_routing;
mod tutorial;
mod weighted_splits;
