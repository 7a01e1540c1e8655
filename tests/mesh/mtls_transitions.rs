//! Every way from one pair of mTLS settings to another, on a channel that lives through it and on fresh ones.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermesh::{Call, Mesh, Process};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};
use hermesh_xds::{ChannelCredentials, XdsChannel};
use tonic::Code;

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
        let calls = Arc::new(Mutex::new(Vec::new()));
        let mut mesh = mesh(seed, &calls);
        for pair in [from, to] {
            pair.apply(&mut mesh);
            // Backoff of a failing subchannel may last a while before it meets the new configuration.
            mesh.run_for(Duration::from_secs(5));
            calls.lock().expect("no call runs between steps").clear();
            mesh.run_for(Duration::from_secs(2));

            let long_lived = std::mem::take(&mut *calls.lock().expect("no call runs between steps"));
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

/// The echo application, and `probe`, which calls it over one channel for ever and notes what comes of it.
fn mesh(seed: u64, calls: &Arc<Mutex<Vec<Code>>>) -> Mesh {
    let calls = Arc::clone(calls);
    let mut mesh = hermesh::mesh()
        .seed(seed)
        .namespace(manifests::NAMESPACE)
        .image("registry.test/probe", move |process| probe(process, Arc::clone(&calls)))
        .start();
    let probe = manifests::deployment("probe", &[], true)
        .replace("registry.istio.io/testing/app:latest", "registry.test/probe")
        .replace("app: echo", "app: probe");
    let probe = probe.split("        readinessProbe").next().expect("a split has a first part").to_owned();
    mesh.apply(manifests::echo(&["v1"])).apply(probe).wait_ready();
    mesh
}

async fn probe(process: Process, calls: Arc<Mutex<Vec<Code>>>) -> Result<(), hermesh_xds::XdsChannelError> {
    let rt = process.runtime();
    let channel = XdsChannel::connect(&rt, TARGET, ChannelCredentials::xds_with_insecure_fallback()).await?;
    let mut client = EchoTestServiceClient::new(channel);
    loop {
        let code = match client.echo(EchoRequest::default()).await {
            Ok(_) => Code::Ok,
            Err(status) => status.code(),
        };
        calls.lock().expect("tests take the calls only between steps").push(code);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
