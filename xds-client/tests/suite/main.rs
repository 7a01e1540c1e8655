//! The tests of the xDS library: its protocol, its resources, its channel and its server.

mod ads_client;
mod ads_pair;
mod ads_server;
mod ads_support;
mod bootstrap_json;
mod cert_file_watcher;
mod channel_end_to_end;
mod client_status;
mod dependency_manager;
mod fault_injection;
mod mesh_support;
mod rbac;
mod resource_cluster;
mod resource_endpoints;
mod resource_listener;
mod resource_route;
mod routing_precedence;
mod server_end_to_end;
mod streaming_retries;
