//! Every way from one pair of mTLS settings to another, on a channel that lives through it and on fresh ones, with
//! rotation and restarts in between.

use std::time::Duration;

use hermesh::{Call, Mesh};
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};
use tonic::{Code, Status};

use crate::prober::Prober;

/// The modes of the DestinationRule and of the PeerAuthentication; `None` where there is no such object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    client: Option<&'static str>,
    server: Option<&'static str>,
}

impl Pair {
    /// Every combination.
    fn all() -> Vec<Self> {
        let clients = [None, Some("DISABLE"), Some("SIMPLE"), Some("ISTIO_MUTUAL")];
        let servers = [None, Some("DISABLE"), Some("PERMISSIVE"), Some("STRICT")];
        clients.into_iter().flat_map(|client| servers.map(|server| Self { client, server })).collect()
    }

    /// One of each that makes a difference.
    const EFFECTIVE: [Self; 4] = [
        Self { client: Some("DISABLE"), server: Some("DISABLE") },
        Self { client: Some("ISTIO_MUTUAL"), server: Some("DISABLE") },
        Self { client: Some("DISABLE"), server: Some("STRICT") },
        Self { client: Some("ISTIO_MUTUAL"), server: Some("STRICT") },
    ];

    /// From now on, whatever there was.
    fn apply(self, mesh: &mut Mesh) {
        let objects =
            [(self.client, manifests::client_tls as fn(&str) -> String), (self.server, manifests::server_tls)];
        for (mode, object) in objects {
            match mode {
                Some(mode) => drop(mesh.apply(object(mode))),
                None => drop(mesh.try_delete(object("DISABLE")).expect("what is not there is left out")),
            }
        }
    }

    /// The article: `PERMISSIVE` and `SIMPLE` are not supported, and treated as plain text.
    fn is_mutual(self) -> bool {
        self.client == Some("ISTIO_MUTUAL")
    }

    fn succeeds(self) -> bool {
        self.is_mutual() == (self.server == Some("STRICT"))
    }
}

/// What happens together with a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// The pods' certificates are replaced, and those of the beginning expire.
    Rotation,
    ServerRestarts,
    ClientRestarts,
    AgentsRestart,
    AgentIsKilled,
    IstiodRestarts,
}

/// How long a certificate lives. It is replaced when half of the time is left, and gRPC reads the files once in 15
/// minutes.
const LIFE: Duration = Duration::from_secs(40 * 60);

impl Disturbance {
    const ALL: [Self; 6] = [
        Self::Rotation,
        Self::ServerRestarts,
        Self::ClientRestarts,
        Self::AgentsRestart,
        Self::AgentIsKilled,
        Self::IstiodRestarts,
    ];

    fn strike(self, mesh: &mut Mesh) {
        match self {
            Self::Rotation => {
                mesh.run_for(LIFE);
                mesh
            }
            Self::ServerRestarts => mesh.restart("echo-v1/0/app"),
            Self::ClientRestarts => mesh.restart("probe/0/app"),
            Self::AgentsRestart => mesh.restart("echo-v1/0/istio-proxy").restart("probe/0/istio-proxy"),
            Self::AgentIsKilled => mesh.kill("echo-v1/0/istio-proxy"),
            Self::IstiodRestarts => mesh.restart("istiod"),
        };
    }
}

#[test]
fn every_transition_takes_effect_on_long_lived_and_on_fresh_channels() {
    let transitions = transitions(&Pair::all());
    assert_eq!(transitions.len(), 16 * 15);
    for_each_seed(1..=transitions.len() as u64, |seed| {
        let (from, to) = transitions[seed as usize - 1];
        let prober = Prober::default();
        let mut mesh = mesh(seed, &prober, FAST);
        for pair in [from, to] {
            pair.apply(&mut mesh);
            assert_takes_effect(&mut mesh, &prober, FAST, pair, &format!("{from:?} to {to:?}"));
        }
    });
}

#[test]
fn transitions_take_effect_whatever_restarts_or_rotates_meanwhile() {
    let transitions = transitions(&Pair::EFFECTIVE);
    let cases = transitions.len() * Disturbance::ALL.len();
    for_each_seed(1..=cases as u64, |seed| {
        let case = seed as usize - 1;
        let ((from, to), disturbance) = (transitions[case / 6], Disturbance::ALL[case % 6]);
        let prober = Prober::default();
        let rotates = disturbance == Disturbance::Rotation;
        let every = if rotates { SLOW } else { FAST };
        let mut mesh = mesh(seed, &prober, every);
        from.apply(&mut mesh);
        mesh.wait_converged().run_for(Duration::from_secs(5));

        to.apply(&mut mesh);
        disturbance.strike(&mut mesh);
        mesh.run_for(Duration::from_secs(10));
        mesh.wait_ready();
        assert_takes_effect(&mut mesh, &prober, every, to, &format!("{from:?} to {to:?} with {disturbance:?}"));
        let published =
            mesh.with_trace(|trace| trace.events().iter().filter(|event| event.kind == "cert.published").count());
        assert!(!rotates || published >= 4, "certificates were written {published} times");
    });
}

/// Each pair with each other one.
fn transitions(pairs: &[Pair]) -> Vec<(Pair, Pair)> {
    pairs.iter().flat_map(|from| pairs.iter().map(|to| (*from, *to))).filter(|(from, to)| from != to).collect()
}

/// Calls come out as `pair` has it, over the channel that has been there before and over a new one.
fn assert_takes_effect(mesh: &mut Mesh, prober: &Prober, every: Duration, pair: Pair, what: &str) {
    mesh.wait_converged();
    // A subchannel that has failed until now waits for as long as 8 s before it tries the new configuration.
    mesh.run_for(Duration::from_secs(10));
    prober.take();
    mesh.run_for(20 * every);

    let code = |call: Result<(), Status>| call.err().map_or(Code::Ok, |status| status.code());
    let long_lived: Vec<Code> = prober.take().into_iter().map(code).collect();
    assert!(long_lived.len() >= 5, "only {} calls", long_lived.len());
    let expected = if pair.succeeds() { Code::Ok } else { Code::Unavailable };
    assert!(
        long_lived.iter().all(|code| *code == expected),
        "{what}, at {pair:?}: the long-lived channel saw {long_lived:?}"
    );

    let fresh = mesh.call(Call::new("echo-v1", TARGET));
    assert_eq!(fresh.is_ok(), pair.succeeds(), "{what}, at {pair:?}: {fresh:?}");
    let caller = fresh.answers.first().map(|answer| answer.caller.is_some());
    assert_eq!(caller, pair.succeeds().then_some(pair.is_mutual()), "the server knows who calls by mTLS alone");
}

/// How often `probe` calls.
const FAST: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(1);

/// The echo application, and `probe`, which calls it over one channel.
fn mesh(seed: u64, prober: &Prober, every: Duration) -> Mesh {
    let builder = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE);
    let mut mesh = prober.in_mesh(builder, every).start();
    let life = format!("Starts\": true, \"proxyMetadata\": {{\"SECRET_TTL\": \"{}s\"}}", LIFE.as_secs());
    for manifest in [manifests::echo(&["v1"]), Prober::manifest()] {
        mesh.apply(manifest.replace("Starts\": true", &life));
    }
    mesh.wait_ready();
    mesh
}
