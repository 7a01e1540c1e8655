//! Every way from one pair of mTLS settings to another, on a channel that lives through it and on fresh ones.

use std::time::Duration;

use hermesh::{Call, Mesh};
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};
use tonic::{Code, Status};

use crate::prober::Prober;

/// What an end of the connection is told: the mode of the DestinationRule or the PeerAuthentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    client: bool,
    server: bool,
}

impl Pair {
    const ALL: [Self; 4] = [
        Self { client: false, server: false },
        Self { client: true, server: false },
        Self { client: false, server: true },
        Self { client: true, server: true },
    ];

    fn apply(self, mesh: &mut Mesh) {
        mesh.apply(manifests::client_tls(if self.client { "ISTIO_MUTUAL" } else { "DISABLE" }))
            .apply(manifests::server_tls(if self.server { "STRICT" } else { "DISABLE" }))
            .wait_converged();
    }

    fn succeeds(self) -> bool {
        self.client == self.server
    }
}

#[test]
fn every_transition_takes_effect_on_long_lived_and_on_fresh_channels() {
    let transitions: Vec<(Pair, Pair)> =
        Pair::ALL.iter().flat_map(|from| Pair::ALL.iter().map(|to| (*from, *to))).filter(|(a, b)| a != b).collect();
    for_each_seed(1..=transitions.len() as u64, |seed| {
        let (from, to) = transitions[seed as usize - 1];
        let prober = Prober::default();
        let mut mesh = mesh(seed, &prober);
        for pair in [from, to] {
            pair.apply(&mut mesh);
            // Backoff of a failing subchannel may last a while before it meets the new configuration.
            mesh.run_for(Duration::from_secs(5));
            prober.take();
            mesh.run_for(Duration::from_secs(2));

            let code = |call: Result<(), Status>| call.err().map_or(Code::Ok, |status| status.code());
            let long_lived: Vec<Code> = prober.take().into_iter().map(code).collect();
            assert!(long_lived.len() >= 5, "only {} calls", long_lived.len());
            let expected = if pair.succeeds() { Code::Ok } else { Code::Unavailable };
            assert!(
                long_lived.iter().all(|code| *code == expected),
                "{from:?} to {to:?}, at {pair:?}: the long-lived channel saw {long_lived:?}"
            );

            let fresh = mesh.call(Call::new("echo-v1", TARGET));
            assert_eq!(fresh.is_ok(), pair.succeeds(), "{from:?} to {to:?}, at {pair:?}: {fresh:?}");
            let caller = fresh.answers.first().map(|answer| answer.caller.is_some());
            assert_eq!(caller, pair.succeeds().then_some(pair.client), "the server knows who calls by mTLS alone");
        }
    });
}

/// The echo application, and `probe`, which calls it over one channel.
fn mesh(seed: u64, prober: &Prober) -> Mesh {
    let builder = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE);
    let mut mesh = prober.in_mesh(builder, Duration::from_millis(100)).start();
    mesh.apply(manifests::echo(&["v1"])).apply(Prober::manifest()).wait_ready();
    mesh
}
