//! What istiod sends: translation from objects in YAML to resources in words.

mod article;
mod authorization;
mod destination_rules;
mod inbound;
mod locality;
mod names;
mod outside;
mod support;
mod virtual_services;
