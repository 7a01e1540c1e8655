//! The tree as a whole, driven by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
mod policies;

use crate::resource::{CertificateProviderInstance, UpstreamTlsContext};
use SubchannelState::{Connecting, Idle, Ready};

/// A balancer, the subchannels it asked for, and a clock.
struct World {
    balancer: Balancer,
    now: Instant,
    draws: Draws,
    picks: Draws,
    subchannels: BTreeMap<SubchannelId, (u16, bool)>,
    connecting: BTreeSet<SubchannelId>,
    /// Of the RPCs that are picked for.
    hash: u64,
}

impl World {
    fn new() -> Self {
        Self {
            balancer: Balancer::default(),
            now: Instant::now(),
            draws: Draws::new(1, "balancer", 0),
            picks: Draws::new(1, "picks", 0),
            subchannels: BTreeMap::new(),
            connecting: BTreeSet::new(),
            hash: 0,
        }
    }

    /// One cluster, `echo`.
    fn apply(&mut self, config: ClusterConfig) {
        self.apply_all([("echo", Ok(config))]);
    }

    fn apply_all<'a>(&mut self, configs: impl IntoIterator<Item = (&'a str, Result<ClusterConfig, Failure>)>) {
        self.balancer.update(configs.into_iter().map(|(name, config)| (name.to_owned(), config)).collect());
        self.settle();
    }

    fn settle(&mut self) {
        for command in self.balancer.settle(self.now, &mut self.draws) {
            match command {
                Command::Create(id, key) => {
                    let port = key.address.tcp().unwrap().port();
                    assert!(self.subchannels.insert(id, (port, key.security.is_tls())).is_none());
                }
                Command::Connect(id) => {
                    assert!(self.subchannels.contains_key(&id), "only what exists connects");
                    assert!(self.connecting.insert(id), "one attempt at a time");
                }
                Command::Drop(id) => {
                    assert!(self.subchannels.remove(&id).is_some());
                    self.connecting.remove(&id);
                }
            }
        }
    }

    fn find(&self, port: u16, tls: bool) -> SubchannelId {
        let found = self.subchannels.iter().find(|(_, key)| **key == (port, tls));
        *found.unwrap_or_else(|| panic!("no subchannel to {port}, TLS {tls}")).0
    }

    fn report(&mut self, port: u16, state: SubchannelState) {
        self.report_tls(port, false, state);
    }

    fn report_tls(&mut self, port: u16, tls: bool, state: SubchannelState) {
        let id = self.find(port, tls);
        self.report_id(id, state);
    }

    fn report_id(&mut self, id: SubchannelId, state: SubchannelState) {
        self.connecting.remove(&id);
        self.balancer.subchannel(id, state);
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// The port that an RPC goes to, or why it does not.
    fn pick(&mut self) -> Result<u16, Option<String>> {
        self.pick_in("echo")
    }

    fn pick_in(&mut self, cluster: &str) -> Result<u16, Option<String>> {
        let (_, _, picker) =
            self.balancer.pickers().find(|(name, ..)| *name == cluster).expect("the cluster is in use");
        match picker.pick(self.hash, &mut self.picks) {
            Pick::Subchannel(id) => Ok(self.subchannels[&id].0),
            Pick::Counted(id, under_way) => {
                under_way.fetch_add(1, Ordering::Relaxed);
                Ok(self.subchannels[&id].0)
            }
            Pick::Connect(id) => {
                self.balancer.connect(cluster, id);
                self.settle();
                Err(None)
            }
            Pick::Queue => Err(None),
            Pick::Fail(failure) => Err(Some(failure.message)),
        }
    }

    fn tally(&mut self, picks: usize) -> BTreeMap<u16, usize> {
        let mut tally = BTreeMap::new();
        for _ in 0..picks {
            *tally.entry(self.pick().expect("something is ready")).or_default() += 1;
        }
        tally
    }
}

fn failed(message: &str) -> SubchannelState {
    SubchannelState::TransientFailure(Failure::new(Cause::TcpConnect, message))
}

fn endpoint(port: u16) -> EndpointConfig {
    EndpointConfig { addresses: vec![address(port)], weight: 1, hash_key: None }
}

fn address(port: u16) -> hermesh_runtime::Address {
    std::net::SocketAddr::from(([10, 0, 0, 1], port)).into()
}

fn locality(name: &str, weight: u32, ports: &[u16]) -> LocalityConfig {
    LocalityConfig { name: name.to_owned(), weight, endpoints: ports.iter().map(|port| endpoint(*port)).collect() }
}

fn priorities(priorities: &[&[u16]]) -> ClusterConfig {
    let locality = |(index, ports): (usize, &&[u16])| vec![locality(&index.to_string(), 1, ports)];
    ClusterConfig {
        security: Security::default(),
        lb_policy: LbPolicy::RoundRobin,
        priorities: priorities.iter().enumerate().map(locality).collect(),
    }
}

fn ports(ports: &[u16]) -> ClusterConfig {
    priorities(&[ports])
}

fn with_tls(config: ClusterConfig) -> ClusterConfig {
    let roots = CertificateProviderInstance { instance_name: "default".into(), certificate_name: "ROOTCA".into() };
    let tls = UpstreamTlsContext { identity: None, roots, subject_alt_names: Vec::new() };
    ClusterConfig { security: Security::tls(tls), ..config }
}

#[test]
fn round_robin_takes_each_ready_endpoint_in_turn() {
    let mut world = World::new();
    world.apply(ports(&[1, 2, 3]));
    assert_eq!(world.pick(), Err(None), "RPCs wait for the first connection");
    world.report(1, Ready);
    assert_eq!(world.tally(3), [(1, 3)].into());
    world.report(2, Ready);
    world.report(3, Ready);
    assert_eq!(world.tally(300), [(1, 100), (2, 100), (3, 100)].into());
}

#[test]
fn an_update_that_changes_nothing_keeps_the_turn() {
    let mut world = World::new();
    world.apply(ports(&[1, 2]));
    world.report(1, Ready);
    world.report(2, Ready);
    let mut tally = BTreeMap::new();
    for _ in 0..20 {
        *tally.entry(world.pick().unwrap()).or_insert(0) += 1;
        world.apply(ports(&[1, 2]));
    }
    assert_eq!(tally, [(1, 10), (2, 10)].into());
}

#[test]
fn an_endpoint_that_stays_keeps_its_connection() {
    let mut world = World::new();
    world.apply(ports(&[1, 2]));
    world.report(1, Ready);
    world.report(2, Ready);
    let kept = world.find(2, false);
    world.apply(ports(&[2, 3]));
    assert_eq!(world.find(2, false), kept);
    assert_eq!(world.tally(4), [(2, 4)].into());
    assert_eq!(world.subchannels.len(), 2, "the endpoint that left is dropped");
}

#[test]
fn when_all_endpoints_fail_rpcs_fail_with_the_last_error_until_one_is_ready() {
    let mut world = World::new();
    world.apply(ports(&[1, 2]));
    world.report(1, failed("one"));
    assert_eq!(world.pick(), Err(None), "the second is still connecting");
    world.report(2, failed("two"));
    assert_eq!(world.pick(), Err(Some("two".into())));
    world.report(1, Idle);
    assert!(world.connecting.contains(&world.find(1, false)), "it is tried again");
    world.report(1, Connecting);
    assert_eq!(world.pick(), Err(Some("two".into())), "failure is sticky");
    world.report(1, failed("one again"));
    assert_eq!(world.pick(), Err(Some("one again".into())));
    world.report(2, Ready);
    assert_eq!(world.pick(), Ok(2));
}

#[test]
fn a_lost_connection_is_made_again() {
    let mut world = World::new();
    world.apply(ports(&[1]));
    world.report(1, Ready);
    world.report(1, Idle);
    assert!(world.connecting.contains(&world.find(1, false)));
    assert_eq!(world.pick(), Err(None), "RPCs wait");
}

#[test]
fn without_endpoints_rpcs_fail() {
    let mut world = World::new();
    world.apply(priorities(&[]));
    assert_eq!(world.pick(), Err(Some("weighted-target: no targets to pick from".into())));
    world.apply(ports(&[]));
    assert_eq!(world.pick(), Err(Some("no children to pick from".into())));
}

#[test]
fn a_cluster_in_error_fails_alone() {
    let mut world = World::new();
    let gone = Failure::new(Cause::NoCluster, "removed");
    world.apply_all([("echo", Ok(ports(&[1]))), ("gone", Err(gone))]);
    world.report(1, Ready);
    assert_eq!(world.pick(), Ok(1));
    assert_eq!(world.pick_in("gone"), Err(Some("removed".into())));
}

#[test]
fn a_cluster_removed_and_added_again_uses_the_new_endpoints() {
    let mut world = World::new();
    world.apply(ports(&[1]));
    world.report(1, Ready);
    world.apply_all([]);
    assert!(world.subchannels.is_empty());
    world.apply(ports(&[2]));
    assert_eq!(world.pick(), Err(None));
    world.report(2, Ready);
    assert_eq!(world.tally(5), [(2, 5)].into());
}

#[test]
fn clusters_that_agree_on_address_and_security_share_a_connection() {
    let mut world = World::new();
    world.apply_all([("echo", Ok(ports(&[1]))), ("subset", Ok(ports(&[1]))), ("secure", Ok(with_tls(ports(&[1]))))]);
    assert_eq!(world.subchannels.len(), 2);
    world.report(1, Ready);
    assert_eq!((world.pick(), world.pick_in("subset"), world.pick_in("secure")), (Ok(1), Ok(1), Err(None)));
    world.apply_all([("subset", Ok(ports(&[1])))]);
    assert_eq!(world.pick_in("subset"), Ok(1), "one of them still needs it");
}

#[test]
fn a_changed_security_configuration_takes_over_when_its_connections_work() {
    let mut world = World::new();
    world.apply(ports(&[1, 2]));
    world.report(1, Ready);
    world.report(2, Ready);
    world.apply(with_tls(ports(&[1, 2])));
    assert_eq!(world.subchannels.len(), 4, "the new are connected beside the old");
    assert_eq!(world.tally(4), [(1, 2), (2, 2)].into());
    world.report_tls(1, true, Ready);
    assert_eq!(world.subchannels.values().filter(|(_, tls)| !tls).count(), 0, "the old are drained");
    assert_eq!(world.tally(4), [(1, 4)].into());
}

#[test]
fn a_changed_security_configuration_that_fails_takes_over_too() {
    let mut world = World::new();
    world.apply(ports(&[1]));
    world.report(1, Ready);
    world.apply(with_tls(ports(&[1])));
    assert_eq!(world.pick(), Ok(1));
    world.report_tls(1, true, failed("no TLS here"));
    assert_eq!(world.pick(), Err(Some("no TLS here".into())));
}

#[test]
fn a_security_configuration_that_is_taken_back_changes_nothing() {
    let mut world = World::new();
    world.apply(ports(&[1]));
    world.report(1, Ready);
    world.apply(with_tls(ports(&[1])));
    world.apply(ports(&[1]));
    assert_eq!(world.subchannels.len(), 1);
    assert_eq!(world.pick(), Ok(1));
}

#[test]
fn localities_share_traffic_by_weight_and_those_that_fail_are_left_out() {
    let mut world = World::new();
    let localities = vec![locality("a", 3, &[1, 2]), locality("b", 1, &[3])];
    world.apply(ClusterConfig {
        security: Security::default(),
        lb_policy: LbPolicy::RoundRobin,
        priorities: vec![localities],
    });
    for port in [1, 2, 3] {
        world.report(port, Ready);
    }
    let tally = world.tally(40_000);
    assert!((9_600..10_400).contains(&tally[&3]), "{tally:?}");
    assert!(tally[&1].abs_diff(tally[&2]) <= 1, "within a locality the turn is exact: {tally:?}");
    world.report(3, Idle);
    world.report(3, failed("gone"));
    assert_eq!(world.tally(10), [(1, 5), (2, 5)].into());
}

#[test]
fn a_lower_priority_is_connected_only_when_the_one_above_fails() {
    let mut world = World::new();
    world.apply(priorities(&[&[1], &[2]]));
    assert_eq!(world.subchannels.len(), 1);
    world.report(1, failed("one"));
    assert_eq!(world.pick(), Err(None), "the second is being connected");
    world.report(2, Ready);
    assert_eq!(world.pick(), Ok(2));
    world.report(1, Ready);
    assert_eq!(world.pick(), Ok(1), "the first is back");
}

#[test]
fn a_priority_that_connects_for_ten_seconds_gives_way() {
    let mut world = World::new();
    world.apply(priorities(&[&[1], &[2]]));
    world.report(1, Connecting);
    assert_eq!(world.balancer.deadline(), Some(world.now + Duration::from_secs(10)));
    world.pass(Duration::from_millis(9_999));
    assert_eq!(world.subchannels.len(), 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.subchannels.len(), 2);
    world.report(2, Ready);
    assert_eq!(world.pick(), Ok(2));
}

#[test]
fn a_ready_priority_that_reconnects_has_ten_seconds_again() {
    let mut world = World::new();
    world.apply(priorities(&[&[1], &[2]]));
    world.report(1, Ready);
    world.pass(Duration::from_secs(60));
    world.report(1, Idle);
    assert_eq!(world.pick(), Err(None), "RPCs wait for it");
    world.pass(Duration::from_secs(9));
    assert_eq!(world.subchannels.len(), 1);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.subchannels.len(), 2);
}

#[test]
fn a_priority_no_longer_needed_keeps_its_connections_for_fifteen_minutes() {
    let mut world = World::new();
    world.apply(priorities(&[&[1], &[2]]));
    world.report(1, failed("one"));
    world.report(2, Ready);
    world.report(1, Ready);
    world.pass(Duration::from_secs(15 * 60 - 1));
    assert_eq!(world.subchannels.len(), 2);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.subchannels.len(), 1);
    assert_eq!(world.pick(), Ok(1));
}

#[test]
fn when_no_priority_works_the_last_one_says_why() {
    let mut world = World::new();
    world.apply(priorities(&[&[1], &[2]]));
    world.report(1, failed("one"));
    world.report(2, failed("two"));
    assert_eq!(world.pick(), Err(Some("two".into())));
}

#[test]
fn a_locality_that_moves_to_a_higher_priority_keeps_its_connections() {
    let mut world = World::new();
    world.apply(priorities(&[&[1], &[2]]));
    world.report(1, failed("one"));
    world.report(2, Ready);
    let kept = world.find(2, false);
    let moved = vec![vec![locality("1", 1, &[2])]];
    world.apply(ClusterConfig { security: Security::default(), lb_policy: LbPolicy::RoundRobin, priorities: moved });
    assert_eq!(world.pick(), Ok(2));
    assert_eq!(world.find(2, false), kept);
}

#[test]
fn the_addresses_of_one_endpoint_are_tried_in_order() {
    let mut world = World::new();
    let endpoints = vec![EndpointConfig { addresses: vec![address(1), address(2)], weight: 1, hash_key: None }];
    let locality = LocalityConfig { name: "a".into(), weight: 1, endpoints };
    world.apply(ClusterConfig {
        security: Security::default(),
        lb_policy: LbPolicy::RoundRobin,
        priorities: vec![vec![locality]],
    });
    assert_eq!(world.connecting, [world.find(1, false)].into());
    world.report(1, failed("one"));
    assert_eq!(world.connecting, [world.find(2, false)].into());
    assert_eq!(world.pick(), Err(None));
    world.report(2, failed("two"));
    assert_eq!(world.pick(), Err(Some("two".into())));
    world.report(1, Idle);
    world.report(1, Ready);
    assert_eq!(world.tally(3), [(1, 3)].into());
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Vec<u16>>, bool),
    Report(usize, u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let ports = prop::collection::btree_set(1u16..6, 0..4).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        (prop::collection::vec(ports, 0..3), any::<bool>()).prop_map(|(priorities, tls)| Step::Apply(priorities, tls)),
        (any::<prop::sample::Index>(), 0u8..4).prop_map(|(index, state)| Step::Report(index.index(64), state)),
        (0u64..20_000).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens: picks go to connections that stand, no subchannel is lost or leaked, and endpoints of which
    /// one is READY are never said to fail.
    #[test]
    fn picks_go_only_to_connections_that_stand(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut states: BTreeMap<SubchannelId, SubchannelState> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Apply(lists, tls) => {
                    let slices: Vec<&[u16]> = lists.iter().map(Vec::as_slice).collect();
                    let config = priorities(&slices);
                    world.apply(if tls { with_tls(config) } else { config });
                }
                Step::Report(index, state) => {
                    let ids: Vec<_> = world.subchannels.keys().copied().collect();
                    if ids.is_empty() {
                        continue;
                    }
                    let id = ids[index % ids.len()];
                    let state = match state {
                        0 => Idle,
                        1 => Connecting,
                        2 => Ready,
                        _ => failed("refused"),
                    };
                    states.insert(id, state.clone());
                    world.report_id(id, state);
                }
                Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
            }
            let Some((_, state, picker)) = world.balancer.pickers().next() else { continue };
            match picker.pick(0, &mut world.picks) {
                Pick::Subchannel(id) => {
                    prop_assert_eq!(state, ConnectivityState::Ready);
                    prop_assert!(world.subchannels.contains_key(&id));
                    prop_assert_eq!(states.get(&id), Some(&Ready));
                }
                Pick::Counted(..) | Pick::Connect(_) => prop_assert!(false, "round robin does not"),
                Pick::Queue => prop_assert_ne!(state, ConnectivityState::Ready),
                Pick::Fail(_) => prop_assert_eq!(state, ConnectivityState::TransientFailure),
            }
        }
        world.apply_all([]);
        prop_assert!(world.subchannels.is_empty());
    }
}
