//! From a listener's name to one consistent configuration (gRFC A74).
//!
//! Identifiers such as D-01 name rows of the conformance checklist, after grpc-go's tests of the same idea.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ads_support::*;
use envoy_types::pb::google::protobuf::Any;
use hermesh_xds::ResourceType;
use hermesh_xds::ads::client::{WatchError, WatchErrorKind, WatchEvent};
use hermesh_xds::dependency_manager::{Action, ClusterState, DependencyManager, XdsConfig};
use hermesh_xds::resource::{Decoded, RouteAction, Validation, decode};

/// A manager of target `l`, authority `host`, with the watches it holds.
struct Driver {
    manager: DependencyManager,
    watched: BTreeSet<(ResourceType, String)>,
    applied: Vec<Arc<XdsConfig>>,
    failed: Vec<String>,
}

impl Driver {
    fn new() -> Self {
        let manager = DependencyManager::new("N", "l", "host");
        let mut driver = Self { manager, watched: BTreeSet::new(), applied: Vec::new(), failed: Vec::new() };
        driver.drain();
        driver
    }

    fn drain(&mut self) {
        while let Some(action) = self.manager.poll_action() {
            match action {
                Action::Watch(resource_type, name) => assert!(self.watched.insert((resource_type, name))),
                Action::Unwatch(resource_type, name) => {
                    assert!(self.watched.remove(&(resource_type, name)));
                    assert!(!self.watched.is_empty(), "the client would close its stream");
                }
                Action::Apply(config) => self.applied.push(config),
                Action::Fail(error) => self.failed.push(error.to_string()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// A watch brings this resource.
    fn bring(&mut self, resource_type: ResourceType, any: &Any) {
        let validation = Validation::default();
        let Decoded::Named { name, outcome } = decode(resource_type, any, &validation) else { panic!("{any:?}") };
        let event = WatchEvent::Update { resource: outcome.unwrap(), version: "1".into() };
        self.manager.on_event(resource_type, &name, event);
        self.drain();
    }

    fn error(&mut self, resource_type: ResourceType, name: &str, event: fn(WatchError) -> WatchEvent) {
        let error = WatchError { kind: WatchErrorKind::Invalid, node_id: "N".into(), message: "bad".into() };
        self.manager.on_event(resource_type, name, event(error));
        self.drain();
    }

    /// Brings all that a target needs: listener, routes, one cluster, endpoints on `port`.
    fn bring_all(&mut self, port: u32) -> Arc<XdsConfig> {
        self.bring(LDS, &listener("l", "r"));
        self.bring(RDS, &routes("r", &["c"]));
        self.bring(CDS, &cluster("c"));
        self.bring(EDS, &endpoints("c", port));
        self.applied.pop().expect("the configuration is whole")
    }

    fn watched(&self) -> Vec<String> {
        self.watched.iter().map(|(resource_type, name)| format!("{resource_type} {name}")).collect()
    }
}

fn port(config: &XdsConfig, cluster: &str) -> u16 {
    match &config.clusters[cluster] {
        ClusterState::Ready { endpoints: Ok(endpoints), .. } => endpoints.localities[0].endpoints[0].address.port(),
        other => panic!("{other:?}"),
    }
}

// D-01
#[test]
fn a_configuration_is_shown_once_every_part_is_there() {
    let mut driver = Driver::new();
    assert_eq!(driver.watched(), ["LDS l"]);
    driver.bring(LDS, &listener("l", "r"));
    assert_eq!(driver.watched(), ["LDS l", "RDS r"]);
    driver.bring(RDS, &routes("r", &["c", "d", "c"]));
    assert_eq!(driver.watched(), ["LDS l", "RDS r", "CDS c", "CDS d"]);
    driver.bring(CDS, &cluster("c"));
    driver.bring(CDS, &good(CDS, "d", 7));
    assert_eq!(driver.watched(), ["LDS l", "RDS r", "CDS c", "CDS d", "EDS c", "EDS service-7"]);
    driver.bring(EDS, &endpoints("c", 1));
    assert!(driver.applied.is_empty());
    driver.bring(EDS, &endpoints("service-7", 2));
    let [config] = driver.applied.as_slice() else { panic!("{:?}", driver.applied) };
    assert_eq!((port(config, "c"), port(config, "d")), (1, 2));
    assert_eq!(config.virtual_host().name, "*");
    assert_eq!(config.versions.len(), 6);
    assert!(driver.failed.is_empty());
}

// D-02, D-10
#[test]
fn routes_may_move_into_the_listener_and_out_again() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    driver.bring(LDS, &inline_listener("l", "c"));
    assert_eq!(driver.watched(), ["LDS l", "CDS c", "EDS c"]);
    let config = driver.applied.pop().unwrap();
    assert!(!config.versions.contains_key(&(RDS, "r".into())));
    driver.bring(LDS, &listener("l", "r"));
    assert!(driver.applied.is_empty(), "the routes are on their way");
    driver.bring(RDS, &routes("r", &["c"]));
    assert_eq!(driver.applied.len(), 1);
}

// D-03, R-22
#[test]
fn without_routes_nothing_is_shown_and_the_old_stay_in_force_while_new_ones_are_on_their_way() {
    let mut driver = Driver::new();
    driver.bring(LDS, &listener("l", "r"));
    driver.bring(LDS, &listener("l", "r"));
    assert!(driver.applied.is_empty());
    driver.bring_all(1);
    driver.bring(LDS, &listener("l", "s"));
    assert_eq!(driver.watched(), ["LDS l", "RDS s", "CDS c", "EDS c"]);
    assert!(driver.applied.is_empty());
    driver.bring(EDS, &endpoints("c", 2));
    let config = driver.applied.pop().expect("endpoints of the old routes are still followed");
    assert_eq!((port(&config, "c"), config.route_configuration.name.as_str()), (2, "r"));
    driver.bring(RDS, &routes("s", &["c"]));
    assert_eq!(driver.applied.pop().unwrap().route_configuration.name, "s");
}

// D-04
#[test]
fn a_lost_listener_ends_the_configuration_and_all_watches_below_it() {
    let mut driver = Driver::new();
    let config = driver.bring_all(1);
    driver.error(LDS, "l", WatchEvent::ResourceError);
    driver.error(LDS, "l", WatchEvent::ResourceError);
    assert_eq!(driver.failed, ["listener resource error: [xDS node id: N]: bad"]);
    assert_eq!(driver.watched(), ["LDS l"]);
    assert_eq!(driver.bring_all(1), config);
}

// D-05
#[test]
fn lost_routes_end_the_configuration_until_they_come_back() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    driver.error(RDS, "r", WatchEvent::ResourceError);
    assert_eq!(driver.failed, ["route resource error: [xDS node id: N]: bad"]);
    assert_eq!(driver.watched(), ["LDS l", "RDS r"]);
    driver.bring_all(1);
}

// D-06, D-07, R-06
#[test]
fn routes_for_other_hosts_end_the_configuration() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    driver.bring(RDS, &routes_for("r", "other", "c"));
    assert_eq!(driver.failed, ["[xDS node id: N]: could not find VirtualHost for \"host\""]);
    driver.bring(RDS, &routes_for("r", "host", "c"));
    assert_eq!(driver.watched(), ["LDS l", "RDS r", "CDS c"]);
}

// D-08, D-12, D-17, E-09
#[test]
fn ambient_errors_change_nothing() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    for (resource_type, name) in [(LDS, "l"), (RDS, "r"), (CDS, "c"), (EDS, "c")] {
        driver.error(resource_type, name, WatchEvent::AmbientError);
    }
    assert!(driver.applied.is_empty() && driver.failed.is_empty());
    assert_eq!(driver.watched.len(), 4);
}

// D-09
#[test]
fn new_routes_take_effect_with_their_clusters_and_not_before() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    driver.bring(RDS, &routes("r", &["d"]));
    assert_eq!(driver.watched(), ["LDS l", "RDS r", "CDS d"]);
    driver.bring(CDS, &cluster("d"));
    assert!(driver.applied.is_empty(), "endpoints are on their way");
    driver.bring(EDS, &endpoints("d", 4));
    let config = driver.applied.pop().unwrap();
    assert_eq!(config.clusters.keys().collect::<Vec<_>>(), ["d"]);
    let RouteAction::Forward { clusters, .. } = &config.virtual_host().routes[0].action else { panic!("{config:?}") };
    assert_eq!(clusters[0].name, "d");
}

// D-11
#[test]
fn a_cluster_in_error_does_not_hold_up_the_others() {
    let mut driver = Driver::new();
    driver.bring(LDS, &listener("l", "r"));
    driver.bring(RDS, &routes("r", &["c", "d"]));
    driver.error(CDS, "d", WatchEvent::ResourceError);
    driver.bring(CDS, &cluster("c"));
    driver.bring(EDS, &endpoints("c", 1));
    let config = driver.applied.pop().unwrap();
    assert_eq!(port(&config, "c"), 1);
    assert_eq!(config.clusters["d"], ClusterState::Failed("[xDS node id: N]: bad".into()));
    driver.bring(CDS, &cluster("d"));
    driver.bring(EDS, &endpoints("d", 2));
    assert_eq!(port(&driver.applied.pop().unwrap(), "d"), 2);
}

// E-08, E-10
#[test]
fn a_cluster_without_endpoints_says_why() {
    let mut driver = Driver::new();
    driver.bring(LDS, &listener("l", "r"));
    driver.bring(RDS, &routes("r", &["c"]));
    driver.bring(CDS, &cluster("c"));
    driver.error(EDS, "c", WatchEvent::ResourceError);
    let config = driver.applied.pop().unwrap();
    let ClusterState::Ready { endpoints, .. } = &config.clusters["c"] else { panic!("{config:?}") };
    assert_eq!(endpoints, &Err("[xDS node id: N]: bad".to_owned()));
}

// D-18, R-18
#[test]
fn a_cluster_that_an_rpc_has_chosen_stays_until_it_is_released() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    driver.manager.retain_cluster("c");
    driver.manager.retain_cluster("c");
    driver.bring(RDS, &routes("r", &["d"]));
    driver.bring(CDS, &cluster("d"));
    driver.bring(EDS, &endpoints("d", 2));
    let config = driver.applied.pop().unwrap();
    assert_eq!((port(&config, "c"), port(&config, "d")), (1, 2));
    driver.manager.release_cluster("c");
    driver.drain();
    assert!(driver.applied.is_empty());
    driver.manager.release_cluster("c");
    driver.drain();
    assert_eq!(driver.applied.pop().unwrap().clusters.keys().collect::<Vec<_>>(), ["d"]);
    assert_eq!(driver.watched(), ["LDS l", "RDS r", "CDS d", "EDS d"]);
}

// D-19
#[test]
fn a_retained_cluster_that_is_not_there_yet_holds_up_nothing() {
    let mut driver = Driver::new();
    driver.manager.retain_cluster("z");
    driver.bring_all(1);
}

// R-19
#[test]
fn a_server_listener_is_no_use_to_a_client() {
    let mut driver = Driver::new();
    driver.bring(LDS, &any(&server_listener("l")));
    assert_eq!(
        driver.failed,
        ["[xDS node id: N]: client-side listener resource \"l\" does not contain API listener configuration"]
    );
}

// X-05
#[test]
fn the_same_again_is_not_shown_again() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    driver.bring(EDS, &endpoints("c", 1));
    driver.bring(LDS, &listener("l", "r"));
    assert!(driver.applied.is_empty());
}

#[test]
fn what_comes_of_an_ended_watch_is_ignored() {
    let mut driver = Driver::new();
    driver.bring_all(1);
    driver.bring(RDS, &routes("old", &["x"]));
    driver.bring(CDS, &cluster("old"));
    driver.bring(EDS, &endpoints("old", 9));
    assert!(driver.applied.is_empty());
}
