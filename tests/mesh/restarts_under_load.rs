//! Restarts that a mesh must get over without the loss of a single call: that of the control plane, and those of the
//! agents at either end.

use std::time::Duration;

use hermesh::{Call, Mesh};
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};

use crate::prober::Prober;

#[test]
fn a_restart_of_istiod_loses_no_call() {
    for_each_seed(1..=200, |seed| {
        let (mut mesh, prober) = under_load(seed);
        mesh.restart("istiod").run_for(Duration::from_secs(20));
        mesh.wait_converged();
        assert_none_lost(seed, &prober);
        // A channel that is opened while istiod is away has nothing to go by; one opened afterwards has.
        let fresh = mesh.call(Call::new("echo-v1", TARGET).count(5));
        assert!(fresh.is_ok(), "seed {seed}: {fresh:?}");
    });
}

#[test]
fn a_restart_of_an_agent_loses_no_call() {
    for_each_seed(1..=200, |seed| {
        let (mut mesh, prober) = under_load(seed);
        let agent = ["probe/0/istio-proxy", "echo-v1/0/istio-proxy"][seed as usize % 2];
        mesh.restart(agent).run_for(Duration::from_secs(20));
        mesh.wait_converged();
        assert_eq!(mesh.get_pods().rows.iter().map(|row| row.restarts).sum::<u32>(), 1, "{}", mesh.get_pods());
        assert_none_lost(seed, &prober);
    });
}

/// Two versions of echo behind strict mTLS, and a client with twenty calls a second over one channel.
fn under_load(seed: u64) -> (Mesh, Prober) {
    let prober = Prober::default();
    let builder = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE);
    let mut mesh = prober.in_mesh(builder, Duration::from_millis(50)).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).apply(Prober::manifest());
    mesh.apply(manifests::client_tls("ISTIO_MUTUAL")).apply(manifests::server_tls("STRICT"));
    mesh.wait_ready().wait_converged().run_for(Duration::from_secs(2));
    prober.take();
    (mesh, prober)
}

#[track_caller]
fn assert_none_lost(seed: u64, prober: &Prober) {
    let calls = prober.take();
    assert!(calls.len() > 300, "seed {seed}: only {} calls", calls.len());
    let lost: Vec<_> = calls.iter().filter_map(|call| call.as_ref().err()).collect();
    assert!(lost.is_empty(), "seed {seed}: {} of {} calls were lost: {:?}", lost.len(), calls.len(), lost[0]);
}
