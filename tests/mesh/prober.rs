//! An application that calls echo over one channel for as long as it lives and notes what comes of each call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hermesh::{MeshBuilder, Process};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_tests::manifests::{self, TARGET};
use hermesh_xds::{ChannelCredentials, XdsChannel};
use tonic::Status;

const IMAGE: &str = "registry.test/probe";

/// The calls that were made since they were last asked for; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Prober(Arc<Mutex<Vec<Result<(), Status>>>>);

impl Prober {
    /// Plays the prober in `builder`'s mesh, with a call every so often.
    pub(crate) fn in_mesh(&self, builder: MeshBuilder, every: Duration) -> MeshBuilder {
        let prober = self.clone();
        builder.image(IMAGE, move |process| prober.clone().run(process, every))
    }

    /// The Deployment `probe`, behind no Service.
    pub(crate) fn manifest() -> String {
        let probe = manifests::deployment("probe", &[], true)
            .replace("registry.istio.io/testing/app:latest", IMAGE)
            .replace("app: echo", "app: probe");
        probe.split("        readinessProbe").next().expect("a split has a first part").to_owned()
    }

    /// What came of the calls since this was last asked.
    pub(crate) fn take(&self) -> Vec<Result<(), Status>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run(self, process: Process, every: Duration) -> Result<(), hermesh_xds::XdsChannelError> {
        let rt = process.runtime();
        let channel = XdsChannel::connect(&rt, TARGET, ChannelCredentials::xds_with_insecure_fallback()).await?;
        let mut client = EchoTestServiceClient::new(channel);
        loop {
            let outcome = client.echo(EchoRequest::default()).await.map(drop);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            tokio::time::sleep(every).await;
        }
    }
}
