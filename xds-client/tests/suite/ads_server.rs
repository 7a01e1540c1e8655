//! The server's end of a stream: which requests it answers (istiod's rules, and the protocol's where they differ).

use crate::ads_support::*;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::google::rpc;
use hermesh_runtime::Draws;
use hermesh_xds::ResourceType;
use hermesh_xds::ads::server::{AdsServer, Rules, ServerAction, Subscription};

fn request(resource_type: ResourceType, nonce: &str, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: resource_type.type_url().to_owned(),
        response_nonce: nonce.to_owned(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn nack(resource_type: ResourceType, nonce: &str, names: &[&str]) -> DiscoveryRequest {
    let error_detail = Some(rpc::Status { code: 3, message: "bad".into(), details: Vec::new() });
    DiscoveryRequest { error_detail, ..request(resource_type, nonce, names) }
}

fn names(names: &[&str]) -> Subscription {
    Subscription::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

fn responds(resource_type: ResourceType, with: &[&str]) -> ServerAction {
    ServerAction::Respond { resource_type, names: names(with) }
}

fn server(rules: Rules) -> AdsServer {
    AdsServer::new(rules, Draws::new(1, "nonces", 0))
}

/// A server that has answered a first request for `subscribed`, and the nonce of its answer.
fn answered(rules: Rules, resource_type: ResourceType, subscribed: &[&str]) -> (AdsServer, String) {
    let mut server = server(rules);
    assert_eq!(server.on_request(&request(resource_type, "", subscribed)), responds(resource_type, subscribed));
    let nonce = server.respond(resource_type, "v1", Vec::new()).nonce;
    (server, nonce)
}

#[test]
fn a_nonce_is_the_version_and_something_new() {
    let (mut server, first) = answered(Rules::ISTIO, LDS, &["a"]);
    let second = server.respond(LDS, "v1", Vec::new()).nonce;
    assert!(first.starts_with("v1") && first.len() == 18, "{first}");
    assert_ne!(first, second);
}

#[test]
fn an_unchanged_request_with_the_last_nonce_is_an_ack() {
    for resource_type in ResourceType::ALL {
        let (mut server, nonce) = answered(Rules::ISTIO, resource_type, &["a"]);
        assert!(server.watch(resource_type).unwrap().awaits_answer());
        assert_eq!(server.on_request(&request(resource_type, &nonce, &["a"])), ServerAction::Ack { resource_type });
        let watch = server.watch(resource_type).unwrap();
        assert_eq!((watch.version_acked.as_str(), watch.awaits_answer()), ("v1", false));
    }
}

#[test]
fn new_names_are_answered_with_the_whole_subscription() {
    for resource_type in ResourceType::ALL {
        let (mut server, nonce) = answered(Rules::ISTIO, resource_type, &["a"]);
        let action = server.on_request(&request(resource_type, &nonce, &["a", "b"]));
        assert_eq!(action, responds(resource_type, &["a", "b"]));
    }
}

#[test]
fn a_stale_nonce_is_ignored_along_with_its_names() {
    let (mut server, first) = answered(Rules::ISTIO, LDS, &["a"]);
    server.respond(LDS, "v2", Vec::new());
    let action = server.on_request(&request(LDS, &first, &["a", "b"]));
    assert_eq!(action, ServerAction::Stale { resource_type: LDS });
    assert_eq!(server.watch(LDS).unwrap().subscription, names(&["a"]));
}

#[test]
fn a_nonce_of_an_earlier_stream_does_not_matter() {
    let mut server = server(Rules::ISTIO);
    assert_eq!(server.on_request(&request(CDS, "of-another-stream", &["a"])), responds(CDS, &["a"]));
}

#[test]
fn istiod_loses_the_names_that_come_with_a_nack() {
    let (mut server, nonce) = answered(Rules::ISTIO, LDS, &["a"]);
    let action = server.on_request(&nack(LDS, &nonce, &["a", "b"]));
    assert_eq!(action, ServerAction::Nack { resource_type: LDS, error: "bad".into() });
    let watch = server.watch(LDS).unwrap();
    assert_eq!((&watch.subscription, watch.last_error.as_deref()), (&names(&["a"]), Some("bad")));
    assert!(!watch.awaits_answer() && watch.nonce_acked.is_empty());
}

#[test]
fn the_protocol_takes_the_names_that_come_with_a_nack() {
    let (mut server, nonce) = answered(Rules::PROTOCOL, LDS, &["a"]);
    assert_eq!(server.on_request(&nack(LDS, &nonce, &["a", "b"])), responds(LDS, &["a", "b"]));
    let (mut server, nonce) = answered(Rules::PROTOCOL, LDS, &["a"]);
    let action = server.on_request(&nack(LDS, &nonce, &["a"]));
    assert_eq!(action, ServerAction::Nack { resource_type: LDS, error: "bad".into() });
    assert_eq!(server.watch(LDS).unwrap().last_error.as_deref(), Some("bad"));
}

#[test]
fn a_response_after_a_nack_can_be_acked() {
    let (mut server, nonce) = answered(Rules::ISTIO, LDS, &["a"]);
    server.on_request(&nack(LDS, &nonce, &["a"]));
    let nonce = server.respond(LDS, "v2", Vec::new()).nonce;
    assert!(server.watch(LDS).unwrap().awaits_answer());
    server.on_request(&request(LDS, &nonce, &["a"]));
    let watch = server.watch(LDS).unwrap();
    assert_eq!((watch.version_acked.as_str(), &watch.last_error), ("v2", &None));
}

#[test]
fn istiod_answers_the_removal_of_listeners_and_clusters_only() {
    for (rules, answered_types) in [(Rules::ISTIO, &[LDS, CDS][..]), (Rules::PROTOCOL, &[])] {
        for resource_type in ResourceType::ALL {
            let (mut server, nonce) = answered(rules, resource_type, &["a", "b"]);
            let expected = match answered_types.contains(&resource_type) {
                true => responds(resource_type, &["a"]),
                false => ServerAction::Ack { resource_type },
            };
            assert_eq!(server.on_request(&request(resource_type, &nonce, &["a"])), expected);
            assert_eq!(server.watch(resource_type).unwrap().subscription, names(&["a"]));
        }
    }
}

#[test]
fn no_names_end_the_subscription_of_routes_and_endpoints() {
    for resource_type in [RDS, EDS] {
        let (mut server, nonce) = answered(Rules::ISTIO, resource_type, &["a"]);
        let action = server.on_request(&request(resource_type, &nonce, &[]));
        assert_eq!(action, ServerAction::Unsubscribed { resource_type });
        assert_eq!(server.watch(resource_type), None);
        let action = server.on_request(&request(resource_type, &nonce, &["a"]));
        assert_eq!(action, responds(resource_type, &["a"]));
    }
}

#[test]
fn dropping_the_last_listener_asks_istiod_for_all_of_them_and_the_protocol_for_none() {
    for resource_type in [LDS, CDS] {
        let (mut server, nonce) = answered(Rules::ISTIO, resource_type, &["a"]);
        let action = server.on_request(&request(resource_type, &nonce, &[]));
        assert_eq!(action, ServerAction::Respond { resource_type, names: Subscription::All });
        let (mut server, nonce) = answered(Rules::PROTOCOL, resource_type, &["a"]);
        let action = server.on_request(&request(resource_type, &nonce, &[]));
        assert_eq!(action, ServerAction::Unsubscribed { resource_type });
    }
}

// A client that had named listeners, dropped them all and still had two answers under way: its ACKs carry no names.
#[test]
fn once_named_a_type_is_never_again_asked_for_whole_however_late_the_acks_come() {
    for resource_type in [LDS, CDS] {
        let (mut server, nonce) = answered(Rules::PROTOCOL, resource_type, &["a"]);
        for _ in 0..3 {
            let action = server.on_request(&request(resource_type, &nonce, &[]));
            assert_eq!(action, ServerAction::Unsubscribed { resource_type });
        }
        assert_eq!(server.on_request(&request(resource_type, &nonce, &["b"])), responds(resource_type, &["b"]));
    }
}

#[test]
fn a_first_request_without_names_asks_for_all_under_either_rules() {
    for rules in [Rules::ISTIO, Rules::PROTOCOL] {
        let mut server = server(rules);
        let all = ServerAction::Respond { resource_type: CDS, names: Subscription::All };
        assert_eq!(server.on_request(&request(CDS, "", &[])), all);
        let nonce = server.respond(CDS, "v1", Vec::new()).nonce;
        assert_eq!(server.on_request(&request(CDS, &nonce, &[])), ServerAction::Ack { resource_type: CDS });
        assert_eq!(server.on_request(&request(EDS, "", &[])), ServerAction::Unsubscribed { resource_type: EDS });
    }
}

#[test]
fn a_first_request_for_clusters_renews_endpoints_that_were_there_before() {
    let (mut server, nonce) = answered(Rules::ISTIO, EDS, &["e"]);
    server.on_request(&request(CDS, "", &["c"]));
    assert_eq!(server.on_request(&request(EDS, &nonce, &["e"])), responds(EDS, &["e"]));
    let nonce = server.respond(EDS, "v2", Vec::new()).nonce;
    assert_eq!(server.on_request(&request(EDS, &nonce, &["e"])), ServerAction::Ack { resource_type: EDS });
}

#[test]
fn types_that_grpc_does_not_know_are_named() {
    let unknown = DiscoveryRequest { type_url: "type.googleapis.com/x.Y".into(), ..Default::default() };
    let action = server(Rules::ISTIO).on_request(&unknown);
    assert_eq!(action, ServerAction::UnknownType { type_url: "type.googleapis.com/x.Y".into() });
}

#[test]
fn what_is_referred_to_is_pushed_before_what_refers_to_it() {
    let mut server = server(Rules::ISTIO);
    for resource_type in ResourceType::ALL {
        server.on_request(&request(resource_type, "", &["a"]));
    }
    let order: Vec<&str> = server.watches().map(|(resource_type, _)| resource_type.short()).collect();
    assert_eq!(order, ["CDS", "EDS", "LDS", "RDS"]);
}
