//! `least_request` and `ring_hash` in place of the usual policies.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::*;
use crate::resource::LbPolicy;
use crate::routing::xx_hash64;

const RING: LbPolicy = LbPolicy::RingHash { min_size: 1024, max_size: 4096 };

fn with(lb_policy: LbPolicy, config: ClusterConfig) -> ClusterConfig {
    ClusterConfig { lb_policy, ..config }
}

/// All ready, by least request among `choice_count`.
fn ready_by_least_request(choice_count: u32, all: &[u16]) -> World {
    let mut world = World::new();
    world.apply(with(LbPolicy::LeastRequest { choice_count }, ports(all)));
    for port in all {
        world.report(*port, Ready);
    }
    world
}

#[test]
fn the_endpoint_with_the_fewest_rpcs_is_rather_taken() {
    // The RPCs of `tally` never end: each makes its endpoint a little less likely.
    let mut world = ready_by_least_request(2, &[1, 2, 3, 4]);
    let tally = world.tally(4_000);
    assert!(tally.values().all(|count| (990..1_010).contains(count)), "{tally:?}");

    let mut world = ready_by_least_request(10, &[1, 2]);
    let busy = count_of(&mut world, 1);
    busy.fetch_add(1_000, Ordering::Relaxed);
    let tally = world.tally(900);
    assert!(tally[&2] > 890, "ten draws of two miss the idle one once in a thousand: {tally:?}");
}

/// The counter of an endpoint.
fn count_of(world: &mut World, port: u16) -> Arc<AtomicU32> {
    loop {
        let (_, _, picker) = world.balancer.pickers().next().unwrap();
        if let Pick::Counted(id, under_way) = picker.pick(0, &mut world.picks)
            && world.subchannels[&id].0 == port
        {
            return under_way;
        }
    }
}

#[test]
fn what_is_under_way_is_remembered_when_endpoints_come_and_go() {
    let mut world = ready_by_least_request(2, &[1, 2]);
    count_of(&mut world, 1).fetch_add(7, Ordering::Relaxed);
    world.apply(with(LbPolicy::LeastRequest { choice_count: 2 }, ports(&[1, 2, 3])));
    world.report(3, Ready);
    assert_eq!(count_of(&mut world, 1).load(Ordering::Relaxed), 7);
    assert_eq!(count_of(&mut world, 3).load(Ordering::Relaxed), 0);
}

#[test]
fn a_choice_takes_a_draw_and_a_single_endpoint_none() {
    let mut world = ready_by_least_request(3, &[1, 2]);
    world.tally(1);
    assert_eq!(world.picks.index(), 3);
    let mut world = ready_by_least_request(3, &[1]);
    world.tally(1);
    assert_eq!(world.picks.index(), 0);
}

/// The port that this hash leads to, connected if need be.
fn port_of(world: &mut World, hash: u64) -> u16 {
    world.hash = hash;
    loop {
        if let Ok(port) = world.pick() {
            return port;
        }
        let id = *world.connecting.first().expect("it is connecting");
        world.report_id(id, Ready);
    }
}

#[test]
fn one_hash_leads_to_one_endpoint_and_few_move_when_another_comes() {
    let mut world = World::new();
    world.apply(with(RING, ports(&[1, 2, 3])));
    assert!(world.connecting.is_empty(), "nothing connects before an RPC wants it");
    let hashes: Vec<u64> = (0..600_u32).map(|user| xx_hash64(&user.to_le_bytes())).collect();
    let before: Vec<u16> = hashes.iter().map(|hash| port_of(&mut world, *hash)).collect();
    let again: Vec<u16> = hashes.iter().map(|hash| port_of(&mut world, *hash)).collect();
    assert_eq!(before, again);
    for port in 1..=3 {
        let share = before.iter().filter(|it| **it == port).count();
        assert!((150..250).contains(&share), "{port} has {share} of 600");
    }
    world.apply(with(RING, ports(&[1, 2, 3, 4])));
    let after: Vec<u16> = hashes.iter().map(|hash| port_of(&mut world, *hash)).collect();
    assert!((100..200).contains(&after.iter().filter(|port| **port == 4).count()), "the new one has its share");
    // A ring of another size has the old ones move a little too; without one, three of four RPCs would.
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!(moved < 300, "{moved} of 600 moved");
}

#[test]
fn only_the_endpoint_of_the_hash_is_connected_and_its_successor_when_it_fails() {
    let mut world = World::new();
    world.apply(with(RING, ports(&[1, 2, 3])));
    assert_eq!(world.pick(), Err(None));
    assert_eq!(world.connecting.len(), 1);
    let first = *world.connecting.first().unwrap();
    world.report_id(first, Connecting);
    assert_eq!(world.pick(), Err(None), "it is waited for");
    // One that fails has the policy try the next on its own, and the RPC waits for the one its hash finds next.
    world.report_id(first, failed("gone"));
    assert_eq!(world.balancer.pickers().next().unwrap().1, ConnectivityState::Connecting);
    let second = *world.connecting.first().expect("another is being connected");
    assert_ne!(first, second);
    world.report_id(second, Ready);
    let got = loop {
        match world.pick() {
            Ok(port) => break port,
            Err(_) => {
                let id = *world.connecting.first().expect("the pick asked for it");
                world.report_id(id, Ready);
            }
        }
    };
    assert_ne!(got, world.subchannels[&first].0);
}

#[test]
fn if_all_fail_the_rpc_fails_as_the_first_it_would_take() {
    let mut world = World::new();
    world.apply(with(RING, ports(&[1, 2])));
    assert_eq!(world.pick(), Err(None));
    let mut messages = Vec::new();
    while let Some(id) = world.connecting.pop_first() {
        messages.push(format!("gone {id}"));
        let message = messages.last().unwrap().clone();
        world.report_id(id, failed(&message));
        if messages.len() == 2 {
            break;
        }
    }
    assert_eq!(world.pick(), Err(Some(messages[0].clone())));
}

#[test]
fn a_lost_connection_is_made_again_when_an_rpc_wants_it() {
    let mut world = World::new();
    world.apply(with(RING, ports(&[1])));
    assert_eq!(port_of(&mut world, 5), 1);
    world.report(1, Idle);
    assert!(world.connecting.is_empty());
    assert_eq!(world.balancer.pickers().next().unwrap().1, ConnectivityState::Idle);
    assert_eq!(port_of(&mut world, 5), 1);
}

#[test]
fn another_policy_takes_over_with_the_connections_there_are() {
    let mut world = ready_by_least_request(2, &[1, 2]);
    world.apply(with(RING, ports(&[1, 2])));
    let port = world.pick().expect("it is connected already");
    assert_eq!((0..20).map(|_| world.pick().unwrap()).collect::<BTreeSet<_>>(), [port].into());
    world.apply(ports(&[1, 2]));
    assert_eq!(world.tally(20), [(1, 10), (2, 10)].into());
}

#[test]
fn weights_and_hash_keys_decide_who_gets_how_much() {
    let mut config = ports(&[1, 2]);
    let [light, heavy] = config.priorities[0][0].endpoints.as_mut_slice() else { panic!("two endpoints") };
    (light.weight, heavy.weight) = (1, 3);
    (light.hash_key, heavy.hash_key) = (Some("light".into()), Some("heavy".into()));
    let mut world = World::new();
    world.apply(with(RING, config));
    let hashes = (0..800_u32).map(|user| xx_hash64(&user.to_le_bytes()));
    let heavy = hashes.filter(|hash| port_of(&mut world, *hash) == 2).count();
    assert!((540..660).contains(&heavy), "{heavy} of 800");
}
