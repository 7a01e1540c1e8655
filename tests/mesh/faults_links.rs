//! Broken links, as clients and the control plane see them.

use std::time::Duration;

use hermesh::{LinkFault, Load};
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};

#[test]
fn what_lossy_and_slow_links_make_late_they_do_not_lose() {
    for_each_seed(1..=20, |seed| {
        let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
        mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
        for (from, to) in [("echo-v1", "echo-v2"), ("echo-v2", "echo-v1"), ("istiod", "echo-v1"), ("echo-v1", "istiod")]
        {
            mesh.impair(from, to, LinkFault::Lossy(0.05));
            mesh.impair(from, to, LinkFault::Slow(Duration::from_millis(1)..=Duration::from_millis(300)));
        }
        let load = mesh.load(Load::new("echo-v1", TARGET).qps(20).timeout(Duration::from_secs(60)));
        mesh.apply(manifests::subsets(&[("v1", &[("version", "v1")][..]), ("v2", &[("version", "v2")][..])]));
        mesh.apply(manifests::virtual_service(&manifests::split(&[("v1", 0), ("v2", 100)])));
        mesh.wait_converged();
        let to_v2 = mesh.run_for(Duration::from_secs(5));
        mesh.try_heal_all().expect("the simulation goes on");
        let calls = mesh.stop(&load);
        calls.assert_no_errors();
        assert_eq!(calls.during(to_v2).workloads().keys().collect::<Vec<_>>(), ["echo-v2"], "seed {seed}");
        assert!(calls.iter().any(|call| call.took > Duration::from_millis(200)), "seed {seed}: none was late");
    });
}
