//! Which endpoints are accepted and what they become (gRFC A27, A56, A61, A76).
//!
//! Identifiers such as V-26 name rows of the conformance checklist, after grpc-go's tests of the same idea.

use crate::ads_support::*;
use envoy_types::pb::envoy::config::core::v3::{Address, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::{Policy, policy::DropOverload};
use envoy_types::pb::envoy::config::endpoint::v3::endpoint::AdditionalAddress;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::google::protobuf::{Struct, UInt32Value, Value, value::Kind};
use hermesh_xds::resource::{Decoded, Endpoints, HealthStatus, Resource, Validation, decode};

fn read(assignment: &ClusterLoadAssignment) -> Result<Endpoints, String> {
    match decode(EDS, &any(assignment), &Validation::default()) {
        Decoded::Named { outcome: Ok(Resource::Endpoints(endpoints)), .. } => Ok((*endpoints).clone()),
        Decoded::Named { outcome: Err(error), .. } | Decoded::Unnamed(error) => Err(error.to_string()),
        other => panic!("{other:?}"),
    }
}

fn of(localities: Vec<LocalityLbEndpoints>) -> Result<Endpoints, String> {
    read(&load_assignment("e", localities))
}

/// One locality with these endpoints.
fn of_endpoints(endpoints: Vec<LbEndpoint>) -> Result<Endpoints, String> {
    of(vec![locality("a", 1, 0, endpoints)])
}

fn weighing(weight: u32, endpoint: LbEndpoint) -> LbEndpoint {
    LbEndpoint { load_balancing_weight: Some(UInt32Value { value: weight }), ..endpoint }
}

fn with_addresses(address: Option<Address>, additional: &[&str]) -> LbEndpoint {
    let additional = additional.iter().map(|ip| AdditionalAddress { address: crate::ads_support::address(ip, 80) });
    let endpoint = Endpoint { address, additional_addresses: additional.collect(), ..Default::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(outcome: Result<T, String>, part: &str) {
    let error = outcome.expect_err(part);
    assert!(error.contains(part), "{error:?} should contain {part:?}");
}

// V-26, V-27, own-07
#[test]
fn bad_endpoints_are_rejected_by_name() {
    let one = || lb_endpoint("10.0.0.1", 80);
    let two = || lb_endpoint("10.0.0.2", 80);
    rejected(of(vec![LocalityLbEndpoints { locality: None, ..locality("a", 1, 0, vec![]) }]), "a locality without ID");
    rejected(
        of(vec![locality("a", 1, 0, vec![]), locality("a", 1, 0, vec![])]),
        "duplicate locality /a/ with the same priority 0",
    );
    rejected(of(vec![locality("a", 1, 1, vec![])]), "priority 0 missing");
    rejected(of(vec![locality("a", 1, 0, vec![]), locality("b", 1, 2, vec![])]), "priority 1 missing");
    rejected(
        of(vec![locality("a", u32::MAX, 0, vec![]), locality("b", 1, 0, vec![])]),
        "sum of weights of localities at priority 0",
    );
    rejected(of_endpoints(vec![weighing(0, one())]), "an endpoint with zero weight");
    rejected(of_endpoints(vec![weighing(u32::MAX, one()), two()]), "sum of weights of endpoints in a locality");
    rejected(of_endpoints(vec![one(), one()]), "duplicate endpoint with the same address 10.0.0.1:80");
    rejected(of(vec![locality("a", 1, 0, vec![one()]), locality("b", 1, 1, vec![one()])]), "duplicate endpoint");
    rejected(of_endpoints(vec![LbEndpoint { health_status: 2, ..one() }, one()]), "duplicate endpoint");
    rejected(of_endpoints(vec![one(), with_addresses(address("10.0.0.2", 80), &["10.0.0.1"])]), "duplicate endpoint");
    rejected(of_endpoints(vec![with_addresses(None, &[])]), "an endpoint without socket_address");
    rejected(of_endpoints(vec![LbEndpoint::default()]), "an endpoint without `endpoint`");
    rejected(of_endpoints(vec![lb_endpoint("db.example.com", 80)]), "\"db.example.com\" is not an IP address");
    rejected(of_endpoints(vec![lb_endpoint("10.0.0.1", 70_000)]), "port 70000");
    rejected(read(&ClusterLoadAssignment::default()), "empty resource name in EndpointsResource");
}

// V-26, E-02
#[test]
fn localities_without_weight_are_left_out_before_anything_else_is_checked() {
    let unset = LocalityLbEndpoints { load_balancing_weight: None, ..locality("c", 1, 9, vec![lb_endpoint("x", 1)]) };
    let endpoints = of(vec![
        locality("a", 3, 0, vec![lb_endpoint("10.0.0.1", 80)]),
        locality("b", 0, 5, vec![lb_endpoint("10.0.0.1", 80)]),
        unset,
        locality("a", 2, 1, vec![lb_endpoint("fd00::1", 80)]),
    ])
    .unwrap();
    let kept: Vec<_> = endpoints.localities.iter().map(|it| (it.id.to_string(), it.weight, it.priority)).collect();
    assert_eq!(kept, [("/a/".to_owned(), 3, 0), ("/a/".to_owned(), 2, 1)]);
    assert_eq!(endpoints.localities[1].endpoints[0].address.to_string(), "[fd00::1]:80");
}

// V-26, E-03
#[test]
fn only_healthy_endpoints_and_those_of_unknown_health_are_used() {
    let endpoints =
        (0..8).map(|status| LbEndpoint { health_status: status, ..lb_endpoint(&format!("10.0.0.{}", status + 1), 80) });
    let endpoints = of_endpoints(endpoints.collect()).unwrap();
    let health =
        |endpoints: &[hermesh_xds::resource::Endpoint]| -> Vec<_> { endpoints.iter().map(|it| it.health).collect() };
    use HealthStatus::{Degraded, Draining, Healthy, Timeout, Unhealthy, Unknown};
    assert_eq!(health(&endpoints.localities[0].endpoints), [Unknown, Healthy]);
    assert_eq!(
        health(&endpoints.localities[0].unhealthy),
        [Unhealthy, Draining, Timeout, Degraded, Unhealthy, Unhealthy]
    );
}

#[test]
fn weights_default_to_one() {
    let endpoints = of_endpoints(vec![lb_endpoint("10.0.0.1", 80), weighing(5, lb_endpoint("10.0.0.2", 80))]).unwrap();
    let weights: Vec<_> = endpoints.localities[0].endpoints.iter().map(|it| it.weight).collect();
    assert_eq!(weights, [1, 5]);
}

// V-27
#[test]
fn additional_addresses_are_kept() {
    let endpoints = of_endpoints(vec![with_addresses(address("10.0.0.1", 80), &["fd00::1"])]).unwrap();
    assert_eq!(endpoints.localities[0].endpoints[0].additional_addresses[0].to_string(), "[fd00::1]:80");
}

// V-28
#[test]
fn a_hash_key_is_a_string_in_the_metadata_of_the_balancer() {
    let with = |filter: &str, kind| {
        let fields = [("hash_key".to_owned(), Value { kind: Some(kind) })].into();
        let filter_metadata = [(filter.to_owned(), Struct { fields })].into();
        let metadata = Some(Metadata { filter_metadata, ..Default::default() });
        let endpoint = LbEndpoint { metadata, ..lb_endpoint("10.0.0.1", 80) };
        of_endpoints(vec![endpoint]).unwrap().localities[0].endpoints[0].hash_key.clone()
    };
    assert_eq!(with("envoy.lb", Kind::StringValue("k".into())).as_deref(), Some("k"));
    assert_eq!(with("envoy.lb", Kind::NumberValue(1.0)), None);
    assert_eq!(with("istio", Kind::StringValue("k".into())), None);
}

// V-26
#[test]
fn drops_are_kept_in_parts_of_a_million() {
    let with = |numerator, denominator| {
        let drop_percentage = Some(FractionalPercent { numerator, denominator });
        let drop_overloads = vec![DropOverload { category: "lb".into(), drop_percentage }];
        read(&ClusterLoadAssignment {
            policy: Some(Policy { drop_overloads, ..Default::default() }),
            ..load_assignment("e", vec![])
        })
    };
    assert_eq!(with(30, 0).unwrap().drops[0].per_million, 300_000);
    assert_eq!(with(200, 0).unwrap().drops[0].per_million, 1_000_000);
    assert_eq!(with(3, 1).unwrap().drops[0].per_million, 300);
    rejected(with(1, 3), "drop_overload \"lb\" has unsupported denominator 3");
}

// E-13
#[test]
fn no_endpoints_are_valid_too() {
    assert!(of(vec![]).unwrap().localities.is_empty());
    assert_eq!(of(vec![locality("a", 1, 0, vec![])]).unwrap().localities.len(), 1);
}
