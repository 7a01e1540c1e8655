//! The tests of istiod: reading, objects, translation, its authority and its ADS server.

mod ca_rules;
mod ca_tokens;
mod objects_authorization;
mod objects_errors;
mod objects_notes;
mod objects_one_pass;
mod objects_outside;
mod objects_thousands;
mod program;
mod refused;
mod server_ads;
mod state;
mod translate;
mod yaml_parse;
mod yaml_reading;
