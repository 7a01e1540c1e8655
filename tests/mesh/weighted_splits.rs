//! Weighted splits give every destination its share, for any number of destinations and any weights.

use std::collections::BTreeMap;

use hermesh::Call;
use hermesh_runtime::Level;
use hermesh_tests::bounds;
use hermesh_tests::manifests::{self, TARGET};
use hermesh_xds::RpcPick;
use proptest::prelude::*;

const VERSIONS: [&str; 4] = ["v1", "v2", "v3", "v4"];
const CALLS: u32 = 400;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_destination_gets_its_share(
        weights in prop::collection::vec(prop_oneof![1 => Just(0_u32), 6 => 1..=100_u32], 2..=4)
            .prop_filter("a route needs a destination", |weights| weights.iter().any(|weight| *weight > 0)),
        seed in 1..1_000_000_u64,
    ) {
        let versions = &VERSIONS[..weights.len()];
        let labels: Vec<[(&str, &str); 1]> = versions.iter().map(|version| [("version", *version)]).collect();
        let subsets: Vec<(&str, &[(&str, &str)])> =
            versions.iter().zip(&labels).map(|(version, labels)| (*version, labels.as_slice())).collect();
        let split: Vec<(&str, u32)> = versions.iter().copied().zip(weights.iter().copied()).collect();

        let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).level(Level::Debug).start();
        mesh.apply(manifests::echo(versions)).wait_ready();
        mesh.apply(manifests::subsets(&subsets))
            .apply(manifests::virtual_service(&manifests::split(&split)))
            .wait_converged();
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
}
