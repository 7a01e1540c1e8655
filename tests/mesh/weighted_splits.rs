//! Weighted splits give every destination its share, for any number of destinations and any weights, and while these
//! change under load.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh::{Call, Load, Mesh};
use hermesh_runtime::Level;
use hermesh_tests::bounds;
use hermesh_tests::manifests::{self, TARGET};
use hermesh_xds::RpcPick;
use proptest::prelude::*;

const VERSIONS: [&str; 8] = ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"];
const CALLS: u32 = 400;

/// Calls a second of a load.
const RATE: u32 = 200;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_destination_gets_its_share(
        weights in weights(2..=VERSIONS.len()),
        seed in 1..1_000_000_u64,
    ) {
        let mut mesh = mesh(seed, weights.len());
        let split = split(&mut mesh, &weights);
        let report = mesh.call(Call::new("echo-v1", TARGET).count(CALLS));

        prop_assert!(report.is_ok(), "{report:?}");
        let total = weights.iter().map(|weight| u64::from(*weight)).sum();
        for (version, weight) in &split {
            let got = report.workloads.get(&format!("echo-{version}")).copied().unwrap_or(0);
            let accepted = bounds::accepted(u64::from(*weight), total, u64::from(CALLS));
            prop_assert!(accepted.contains(&got), "{version} got {got} of {CALLS}, accepted {accepted:?}");
        }
        // What answered is what was picked: none went astray on the way.
        let mut picked: BTreeMap<String, u64> = BTreeMap::new();
        mesh.with_trace(|trace| {
            for (_, pick) in trace.of::<RpcPick>().filter(|(event, _)| report.events.contains(&event.seq)) {
                let subset = pick.cluster.split('|').nth(2).unwrap_or_default();
                *picked.entry(format!("echo-{subset}")).or_default() += 1;
            }
        });
        prop_assert_eq!(picked, report.workloads);
    }
    #[test]
    fn shares_follow_weights_that_change_under_load(
        steps in prop::collection::vec(weights(3..=3), 2..=5),
        seed in 1..1_000_000_u64,
    ) {
        let mut mesh = mesh(seed, 3);
        split(&mut mesh, &steps[0]);
        let load = mesh.load(Load::new("echo-v1", TARGET).qps(RATE));
        for weights in &steps {
            let split = split(&mut mesh, weights);
            // What was sent before the change is still under way.
            mesh.run_for(Duration::from_secs(1));
            let calls = load.during(mesh.run_for(Duration::from_secs(4)));
            let (total, count) = (weights.iter().sum::<u32>().into(), calls.len() as u64);
            prop_assert!(count >= 4 * u64::from(RATE) - 20, "{count} calls");
            for (version, weight) in &split {
                let got = calls.workloads().get(&format!("echo-{version}")).copied().unwrap_or(0);
                let accepted = bounds::accepted(u64::from(*weight), total, count);
                prop_assert!(accepted.contains(&got), "{version} got {got} of {count}, accepted {accepted:?}: {steps:?}");
            }
        }
        let lost: Vec<String> = mesh.stop(&load).errors().map(|call| format!("{call:?}")).collect();
        prop_assert!(lost.is_empty(), "{lost:?}");
    }
}

/// Some zeros, but not only.
fn weights(count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![1 => Just(0_u32), 6 => 1..=100_u32], count)
        .prop_filter("a route needs a destination", |weights| weights.iter().any(|weight| *weight > 0))
}

/// So many versions of the echo application, and a subset for each.
fn mesh(seed: u64, versions: usize) -> Mesh {
    let versions = &VERSIONS[..versions];
    let labels: Vec<[(&str, &str); 1]> = versions.iter().map(|version| [("version", *version)]).collect();
    let subsets: Vec<(&str, &[(&str, &str)])> =
        versions.iter().zip(&labels).map(|(version, labels)| (*version, labels.as_slice())).collect();
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).level(Level::Debug).start();
    mesh.apply(manifests::echo(versions)).apply(manifests::subsets(&subsets)).wait_ready();
    mesh
}

/// Splits all calls like this from now on; answers with each version's weight.
fn split<'a>(mesh: &mut Mesh, weights: &[u32]) -> Vec<(&'a str, u32)> {
    let split: Vec<(&str, u32)> = VERSIONS.iter().copied().zip(weights.iter().copied()).collect();
    mesh.apply(manifests::virtual_service(&manifests::split(&split))).wait_converged();
    split
}
