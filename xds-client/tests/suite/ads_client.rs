//! The client's end of a stream, driven by hand: what it sends, what it tells its watchers, and when.
//!
//! Identifiers such as ADS-01 and W-07 name rows of the conformance checklist, after grpc-go's tests of the same idea.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ads_support::*;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse, Resource as Wrapper};
use envoy_types::pb::google::protobuf::Any;
use hermesh_runtime::Draws;
use hermesh_xds::ResourceType;
use hermesh_xds::ads::client::{Action, AdsClient, ClientStatus, WatchEvent, WatchId};
use tokio::time::Instant;

/// A client, its clock, and what it did since last asked.
struct Driver {
    client: AdsClient,
    now: Instant,
    sent: Vec<DiscoveryRequest>,
    told: BTreeMap<WatchId, Vec<String>>,
    opened: usize,
    closed: usize,
}

impl Driver {
    fn new() -> Self {
        Self::with(client())
    }

    fn with(client: AdsClient) -> Self {
        Self { client, now: Instant::now(), sent: Vec::new(), told: BTreeMap::new(), opened: 0, closed: 0 }
    }

    fn drain(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::OpenStream => self.opened += 1,
                Action::CloseStream => self.closed += 1,
                Action::Send(request) => self.sent.push(request),
                Action::Notify { watch, event } => self.told.entry(watch).or_default().push(describe(&event)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn watch(&mut self, resource_type: ResourceType, name: &str) -> WatchId {
        let watch = self.client.watch(self.now, resource_type, name);
        self.drain();
        watch
    }

    fn unwatch(&mut self, watch: WatchId) {
        self.client.unwatch(self.now, watch);
        self.drain();
    }

    fn open(&mut self) {
        self.client.on_stream_open(self.now);
        self.drain();
    }

    fn answer(&mut self, response: &DiscoveryResponse) {
        self.client.on_response(self.now, WALL, response);
        self.drain();
    }

    fn respond(&mut self, resource_type: ResourceType, version: &str, nonce: &str, resources: Vec<Any>) {
        self.answer(&response(resource_type, version, nonce, resources));
    }

    fn break_stream(&mut self) {
        self.client.on_stream_closed(self.now, &tonic::Status::unavailable("gone"));
        self.drain();
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.client.next_timeout().filter(|next| *next <= end) {
            self.now = next;
            self.client.on_timeout(next);
            self.drain();
        }
        self.now = end;
    }

    /// The requests since last asked, as `TYPE version/nonce [names] error?`.
    fn sent(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sent)
            .into_iter()
            .map(|request| {
                let short = ResourceType::from_type_url(&request.type_url).unwrap().short();
                let nack = if request.error_detail.is_some() { " NACK" } else { "" };
                let names = request.resource_names.join(" ");
                format!("{short} {}/{} [{names}]{nack}", request.version_info, request.response_nonce)
            })
            .collect()
    }

    /// What a watcher heard since last asked.
    fn told(&mut self, watch: WatchId) -> Vec<String> {
        self.told.remove(&watch).unwrap_or_default()
    }

    fn status(&self, name: &str) -> ClientStatus {
        self.client.status().into_iter().find(|status| status.name == name).unwrap().client_status
    }
}

fn describe(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Update { resource, version } => format!("update {} at {version}", resource.name()),
        WatchEvent::ResourceError(error) => format!("resource error: {error}"),
        WatchEvent::AmbientError(error) => format!("ambient error: {error}"),
    }
}

fn opened(resource_type: ResourceType, names: &[&str]) -> (Driver, Vec<WatchId>) {
    let mut driver = Driver::new();
    let watches = names.iter().map(|name| driver.watch(resource_type, name)).collect();
    driver.open();
    driver.sent();
    (driver, watches)
}

const NODE_PREFIX: &str = "[xDS node id: sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local]: ";

fn removed(resource_type: ResourceType, name: &str) -> String {
    format!("resource error: {NODE_PREFIX}xds: resource {name:?} of type {:?} has been removed", resource_type.title())
}

// ADS-01
#[test]
fn good_responses_are_acked_and_bad_ones_nacked_with_the_version_before() {
    let (mut driver, _) = opened(LDS, &["a"]);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    assert_eq!(driver.sent(), ["LDS 1/n1 [a]"]);
    driver.client.on_response(driver.now, WALL, &response(LDS, "2", "n2", vec![bad_listener("a")]));
    driver.drain();
    let error = driver.sent[0].error_detail.clone().unwrap();
    assert_eq!(error.code, 3);
    assert_eq!(
        error.message,
        "error parsing \"ListenerResource\" response: resource \"a\": no RouteSpecifier: neither rds nor \
         route_config is set"
    );
    assert_eq!(driver.sent(), ["LDS 1/n2 [a] NACK"]);
    driver.respond(LDS, "3", "n3", vec![listener("a", "r")]);
    assert_eq!(driver.sent(), ["LDS 3/n3 [a]"]);
}

// ADS-02
#[test]
fn a_bad_first_response_is_nacked_without_a_version() {
    let (mut driver, _) = opened(CDS, &["a"]);
    driver.respond(CDS, "1", "n1", vec![bad_cluster("a")]);
    assert_eq!(driver.sent(), ["CDS /n1 [a] NACK"]);
}

// ADS-03, ADS-22
#[test]
fn after_the_last_watch_everything_is_forgotten() {
    let (mut driver, watches) = opened(LDS, &["a"]);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    driver.sent();
    driver.unwatch(watches[0]);
    assert_eq!((driver.closed, driver.sent()), (1, vec![]));
    driver.watch(LDS, "a");
    assert_eq!(driver.opened, 2);
    driver.open();
    assert_eq!(driver.sent(), ["LDS / [a]"]);
}

// ADS-04, ADS-05
#[test]
fn a_watcher_hears_of_the_same_error_once_but_every_nack_is_sent() {
    let (mut driver, watches) = opened(LDS, &["a", "b"]);
    driver.respond(LDS, "1", "n1", vec![bad_listener("a"), bad_listener("b")]);
    assert_eq!((driver.told(watches[0]).len(), driver.told(watches[1]).len()), (1, 1));
    driver.respond(LDS, "1", "n2", vec![bad_listener("a"), listener("b", "r")]);
    assert_eq!(driver.told(watches[0]), [""; 0]);
    assert_eq!(driver.told(watches[1]), ["update b at 1"]);
    driver.respond(LDS, "1", "n3", vec![bad_listener("a"), bad_listener("b")]);
    assert_eq!(driver.told(watches[0]), [""; 0]);
    assert_eq!(driver.told(watches[1]).len(), 1);
    assert_eq!(driver.sent(), ["LDS /n1 [a b] NACK", "LDS /n2 [a b] NACK", "LDS /n3 [a b] NACK"]);
}

// ADS-06
#[test]
fn a_stream_that_fails_unanswered_is_reopened_after_a_second_and_then_later() {
    let (mut driver, watches) = opened(LDS, &["a"]);
    driver.break_stream();
    let told = driver.told(watches[0]).join("");
    assert!(
        told.starts_with("resource error: ")
            && told.contains("xds: error received from xDS stream: rpc error: code = Unavailable desc = gone"),
        "{told}"
    );
    driver.wait(Duration::from_millis(999));
    assert_eq!(driver.opened, 1);
    driver.wait(Duration::from_millis(1));
    assert_eq!(driver.opened, 2);
    driver.break_stream();
    driver.wait(Duration::from_millis(1279));
    assert_eq!(driver.opened, 2);
    driver.wait(Duration::from_millis(642));
    assert_eq!(driver.opened, 3);
    driver.open();
    assert_eq!(driver.sent(), ["LDS / [a]"]);
}

// ADS-07, ADS-37
#[test]
fn a_stream_that_was_answered_is_reopened_at_once_with_the_version_and_without_the_nonce() {
    let (mut driver, watches) = opened(LDS, &["a"]);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    driver.told(watches[0]);
    driver.sent();
    driver.break_stream();
    assert_eq!((driver.opened, driver.told(watches[0])), (2, vec![]));
    driver.open();
    assert_eq!(driver.sent(), ["LDS 1/ [a]"]);
}

// ADS-08
#[test]
fn what_is_watched_before_there_is_a_stream_is_requested_once_there_is_one() {
    let mut driver = Driver::new();
    driver.watch(LDS, "a");
    driver.watch(CDS, "c");
    driver.watch(LDS, "b");
    assert_eq!((driver.opened, driver.sent()), (1, vec![]));
    driver.open();
    assert_eq!(driver.sent(), ["LDS / [a b]", "CDS / [c]"]);
}

// ADS-13
#[test]
fn a_new_stream_asks_for_live_watches_only() {
    let (mut driver, watches) = opened(LDS, &["a", "b"]);
    let routes = driver.watch(RDS, "r");
    driver.respond(LDS, "1", "n1", vec![listener("a", "r"), listener("b", "r")]);
    driver.unwatch(watches[0]);
    driver.unwatch(routes);
    driver.break_stream();
    driver.sent();
    driver.open();
    assert_eq!(driver.sent(), ["LDS 1/ [b]"]);
}

// ADS-14
#[test]
fn a_broken_stream_stops_the_timers_of_what_was_requested_and_a_new_one_starts_them_again() {
    let (mut driver, watches) = opened(LDS, &["a"]);
    driver.wait(Duration::from_secs(14));
    driver.break_stream();
    driver.told(watches[0]);
    driver.wait(Duration::from_secs(1));
    driver.open();
    driver.wait(Duration::from_millis(14_999));
    assert_eq!(driver.told(watches[0]), [""; 0]);
    driver.wait(Duration::from_millis(1));
    assert_eq!(driver.told(watches[0]), [removed(LDS, "a")]);
}

// ADS-15, W-05, W-16, W-27, W-35
#[test]
fn what_is_not_sent_within_fifteen_seconds_does_not_exist_until_it_comes() {
    for resource_type in ResourceType::ALL {
        let (mut driver, watches) = opened(resource_type, &["a"]);
        driver.wait(Duration::from_millis(14_999));
        assert_eq!(driver.told(watches[0]), [""; 0]);
        driver.wait(Duration::from_millis(1));
        assert_eq!(driver.told(watches[0]), [removed(resource_type, "a")]);
        assert_eq!(driver.status("a"), ClientStatus::DoesNotExist);
        driver.respond(resource_type, "1", "n1", vec![good(resource_type, "a", 1)]);
        assert_eq!(driver.told(watches[0]), ["update a at 1"]);
        let late = driver.watch(resource_type, "a");
        assert_eq!(driver.told(late), ["update a at 1"], "it is not missing any more");
    }
}

// W-06, W-17, W-28, W-36
#[test]
fn a_response_stops_the_timer_whether_it_is_good_or_bad() {
    for resource_type in ResourceType::ALL {
        for resource in [good(resource_type, "a", 1), bad(resource_type, "a")] {
            let (mut driver, watches) = opened(resource_type, &["a"]);
            driver.wait(Duration::from_secs(14));
            driver.respond(resource_type, "1", "n1", vec![resource]);
            assert_eq!(driver.told(watches[0]).len(), 1);
            driver.wait(Duration::from_secs(60));
            assert_eq!(driver.told(watches[0]), [""; 0]);
        }
    }
}

// ADS-16
#[test]
fn the_node_is_sent_with_the_first_request_of_every_stream_and_never_again() {
    let mut driver = Driver::new();
    driver.watch(LDS, "a");
    driver.watch(CDS, "c");
    driver.open();
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    driver.break_stream();
    driver.open();
    driver.watch(EDS, "e");
    let nodes: Vec<bool> = driver.sent.iter().map(|request| request.node.is_some()).collect();
    assert_eq!(nodes, [true, false, false, true, false, false]);
    assert_eq!(driver.sent[3].node.as_ref().unwrap().id, NODE_ID);
}

// ADS-19, ADS-28
#[test]
fn subscribing_and_unsubscribing_send_all_names_at_once() {
    let (mut driver, watches) = opened(LDS, &["a"]);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    driver.sent();
    driver.watch(LDS, "b");
    driver.watch(RDS, "r");
    driver.unwatch(watches[0]);
    assert_eq!(driver.sent(), ["LDS 1/n1 [a b]", "RDS / [r]", "LDS 1/n1 [b]"]);
}

#[test]
fn a_type_without_watches_left_is_unsubscribed_and_its_responses_still_answered() {
    let (mut driver, _) = opened(LDS, &["a"]);
    let routes = driver.watch(RDS, "r");
    driver.sent();
    driver.unwatch(routes);
    assert_eq!(driver.sent(), ["RDS / []"]);
    driver.respond(RDS, "1", "n1", vec![crate::ads_support::routes("r", &["c"])]);
    driver.respond(RDS, "2", "n2", vec![bad_routes("r")]);
    assert_eq!(driver.sent(), ["RDS 1/n1 []", "RDS 1/n2 [] NACK"]);
}

// own-11
#[test]
fn responses_of_types_that_nobody_asked_for_get_no_answer() {
    let (mut driver, _) = opened(LDS, &["a"]);
    driver.respond(CDS, "1", "n1", vec![cluster("c")]);
    let unknown = DiscoveryResponse { type_url: "type.googleapis.com/x.Y".into(), ..Default::default() };
    driver.answer(&unknown);
    assert_eq!(driver.sent(), [""; 0]);
}

#[test]
fn resources_that_nobody_watches_are_checked_and_dropped() {
    let (mut driver, watches) = opened(CDS, &["a"]);
    driver.respond(CDS, "1", "n1", vec![cluster("a"), bad_cluster("z")]);
    assert_eq!(driver.sent(), ["CDS /n1 [a] NACK"]);
    assert_eq!(driver.told(watches[0]), ["update a at 1"]);
}

// W-39..42, ADS-25
#[test]
fn what_has_no_name_fails_the_response_and_no_watcher() {
    let (mut driver, watches) = opened(CDS, &["a"]);
    let garbage = Any { type_url: CDS.type_url().into(), value: vec![0xff] };
    driver.client.on_response(
        driver.now,
        WALL,
        &response(CDS, "1", "n1", vec![garbage, listener("a", "r"), cluster(""), cluster("a"), bad_cluster("b")]),
    );
    driver.drain();
    let message = driver.sent[0].error_detail.clone().unwrap().message;
    let first = message.find("top level errors: failed to unmarshal ClusterResource").unwrap();
    let second = message.find(";\nunexpected resource type: \"type.googleapis.com/envoy.config.listener").unwrap();
    let third = message.find(";\nempty resource name in ClusterResource").unwrap();
    let fourth = message.find(" resource \"b\": unsupported cluster type STATIC").unwrap();
    assert!(first < second && second < third && third < fourth, "{message}");
    assert_eq!(driver.told(watches[0]), ["update a at 1"]);
}

#[test]
fn resources_in_wrappers_are_unwrapped() {
    let (mut driver, watches) = opened(LDS, &["a"]);
    let wrapper = Wrapper { name: "a".into(), resource: Some(listener("a", "r")), ..Default::default() };
    driver.respond(LDS, "1", "n1", vec![any(&wrapper)]);
    assert_eq!(driver.told(watches[0]), ["update a at 1"]);
    assert_eq!(driver.client.status()[0].raw, Some(listener("a", "r").value.into()), "without the wrapper");
    driver.respond(LDS, "2", "n2", vec![any(&Wrapper::default())]);
    assert!(driver.sent()[1].ends_with("NACK"));
}

// W-01, W-02, W-03, W-13..15, W-23..25, W-31..33
#[test]
fn every_watcher_hears_of_its_own_resource_and_of_changes_only() {
    for resource_type in ResourceType::ALL {
        let (mut driver, watches) = opened(resource_type, &["a", "a", "b"]);
        let both = |variant| vec![good(resource_type, "a", variant), good(resource_type, "b", 1)];
        driver.respond(resource_type, "1", "n1", both(1));
        for (watch, name) in watches.iter().zip(["a", "a", "b"]) {
            assert_eq!(driver.told(*watch), [format!("update {name} at 1")]);
        }
        driver.respond(resource_type, "2", "n2", both(2));
        assert_eq!(driver.told(watches[0]), ["update a at 2"]);
        assert_eq!(driver.told(watches[2]), [""; 0]);
        driver.unwatch(watches[0]);
        driver.respond(resource_type, "3", "n3", both(3));
        assert_eq!(driver.told(watches[0]), [""; 0]);
        assert_eq!(driver.told(watches[1]), ["update a at 2", "update a at 3"]);
    }
}

// W-04, W-16, W-26, W-34
#[test]
fn a_second_watcher_is_served_from_the_cache() {
    for resource_type in ResourceType::ALL {
        let (mut driver, _) = opened(resource_type, &["a"]);
        driver.respond(resource_type, "1", "n1", vec![good(resource_type, "a", 1)]);
        driver.sent();
        let second = driver.watch(resource_type, "a");
        assert_eq!(driver.told(second), ["update a at 1"]);
        assert_eq!(driver.sent(), [""; 0]);
    }
}

// W-07, W-08, W-18
#[test]
fn an_absent_listener_or_cluster_is_deleted_once_and_an_absent_route_or_endpoint_never() {
    for resource_type in ResourceType::ALL {
        let (mut driver, watches) = opened(resource_type, &["a", "b"]);
        let resource = |name| good(resource_type, name, 1);
        driver.respond(resource_type, "1", "n1", vec![resource("a"), resource("b")]);
        driver.told(watches[0]);
        driver.told(watches[1]);
        driver.respond(resource_type, "2", "n2", vec![resource("b")]);
        driver.respond(resource_type, "3", "n3", vec![resource("b")]);
        assert_eq!(driver.told(watches[1]), [""; 0]);
        driver.sent();
        let late = driver.watch(resource_type, "a");
        if matches!(resource_type, LDS | CDS) {
            assert_eq!(driver.told(watches[0]), [removed(resource_type, "a")]);
            assert_eq!(driver.told(late), [removed(resource_type, "a")]);
        } else {
            assert_eq!(driver.told(watches[0]), [""; 0]);
            assert_eq!(driver.told(late), ["update a at 1"]);
        }
        assert_eq!(driver.sent(), [""; 0]);
        driver.respond(resource_type, "4", "n4", vec![good(resource_type, "a", 2), resource("b")]);
        assert_eq!(driver.told(watches[0]), ["update a at 4"]);
    }
}

// W-09, W-10, W-20, W-29, W-37, F-14
#[test]
fn a_rejected_resource_is_ambient_with_a_good_copy_and_an_error_without() {
    for resource_type in ResourceType::ALL {
        let (mut driver, watches) = opened(resource_type, &["a"]);
        driver.respond(resource_type, "1", "n1", vec![bad(resource_type, "a")]);
        let told = driver.told(watches[0]).join("");
        assert!(told.starts_with(&format!("resource error: {NODE_PREFIX}")), "{told}");
        let late = driver.watch(resource_type, "a");
        assert_eq!(driver.told(late), [told]);
        driver.respond(resource_type, "2", "n2", vec![good(resource_type, "a", 1)]);
        assert_eq!(driver.told(watches[0]), ["update a at 2"]);
        driver.respond(resource_type, "3", "n3", vec![bad(resource_type, "a")]);
        assert!(driver.told(watches[0])[0].starts_with("ambient error: "));
        let later = driver.watch(resource_type, "a");
        let told = driver.told(later);
        assert_eq!(told[0], "update a at 2");
        assert!(told[1].starts_with("ambient error: "), "{told:?}");
        let status = driver.client.status().remove(0);
        assert_eq!((status.client_status, &*status.version), (ClientStatus::Nacked, "2"));
        let error = status.error.unwrap();
        assert_eq!((&*error.version, error.at), ("3", WALL));
        driver.respond(resource_type, "4", "n4", vec![good(resource_type, "a", 1)]);
        assert_eq!(driver.told(watches[0]), ["update a at 4"], "recovery is told even if the content is the same");
    }
}

// W-11, W-21, W-30, W-38
#[test]
fn the_good_resources_of_a_rejected_response_are_used() {
    for resource_type in ResourceType::ALL {
        let (mut driver, watches) = opened(resource_type, &["a", "b"]);
        driver.respond(resource_type, "1", "n1", vec![bad(resource_type, "a"), good(resource_type, "b", 1)]);
        assert!(driver.told(watches[0])[0].starts_with("resource error: "));
        assert_eq!(driver.told(watches[1]), ["update b at 1"]);
        assert_eq!(driver.sent(), [format!("{resource_type} /n1 [a b] NACK")]);
    }
}

#[test]
fn a_rejected_listener_is_not_a_deleted_one() {
    let (mut driver, watches) = opened(LDS, &["a", "b"]);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r"), listener("b", "r")]);
    driver.told(watches[0]);
    driver.respond(LDS, "2", "n2", vec![bad_listener("a"), listener("b", "r")]);
    assert!(driver.told(watches[0])[0].starts_with("ambient error: "));
}

// W-12, W-22
#[test]
fn a_name_that_was_never_received_is_not_deleted_by_its_absence() {
    let (mut driver, _) = opened(LDS, &["a"]);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    let new = driver.watch(LDS, "b");
    driver.respond(LDS, "2", "n2", vec![listener("a", "r")]);
    assert_eq!(driver.told(new), [""; 0]);
    driver.respond(LDS, "3", "n3", vec![listener("a", "r"), listener("b", "r")]);
    assert_eq!(driver.told(new), ["update b at 3"]);
}

// F-10
#[test]
fn deletion_can_be_ignored_but_the_timer_cannot() {
    let mut config = config();
    config.ignore_resource_deletion = true;
    let mut driver = Driver::with(AdsClient::new(config, Draws::new(1, "xds", 0)));
    let (present, never) = (driver.watch(LDS, "a"), driver.watch(LDS, "b"));
    driver.open();
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    driver.respond(LDS, "2", "n2", vec![]);
    assert_eq!(driver.told(present), ["update a at 1"]);
    assert_eq!(driver.status("a"), ClientStatus::Acked);
    driver.wait(Duration::from_secs(15));
    assert_eq!(driver.told(never), [removed(LDS, "b")]);
}

#[test]
fn connection_failures_are_ambient_for_what_is_cached_and_repeat() {
    let (mut driver, watches) = opened(LDS, &["a", "b"]);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    driver.break_stream();
    driver.told(watches[0]);
    for _ in 0..2 {
        driver.break_stream();
        assert!(driver.told(watches[0])[0].starts_with("ambient error: "));
        assert!(driver.told(watches[1])[0].starts_with("resource error: "));
        driver.wait(Duration::from_secs(3));
    }
}

// ADS-38..41
#[test]
fn the_order_of_context_parameters_does_not_matter() {
    for resource_type in ResourceType::ALL {
        let (mut driver, watches) = opened(resource_type, &["xdstp:///t/x?b=2&a=1"]);
        let mut resource = good(resource_type, "xdstp:///t/x?a=1&b=2", 1);
        if resource_type == LDS {
            resource = listener("xdstp:///t/x?a=1&b=2", "r");
        }
        driver.respond(resource_type, "1", "n1", vec![resource]);
        assert_eq!(driver.told(watches[0]).len(), 1, "{resource_type}");
        assert_eq!(driver.sent(), [format!("{resource_type} 1/n1 [xdstp:///t/x?a=1&b=2]")]);
    }
}

// F-13, F-16
#[test]
fn the_status_follows_a_resource_through_its_life() {
    let (mut driver, _) = opened(LDS, &["a"]);
    assert_eq!(driver.status("a"), ClientStatus::Requested);
    driver.respond(LDS, "1", "n1", vec![listener("a", "r")]);
    let status = driver.client.status().remove(0);
    assert_eq!((status.client_status, status.raw), (ClientStatus::Acked, Some(listener("a", "r").value.into())));
    assert_eq!(status.last_updated, Some(WALL));
    driver.respond(LDS, "2", "n2", vec![]);
    assert_eq!(driver.status("a"), ClientStatus::DoesNotExist);
}
