//! A small mesh on the loopback: a control plane, backends, certificates and a record of events.
pub(crate) mod certificates;
pub(crate) mod control_plane;
pub(crate) mod echo;
pub(crate) mod frames;
pub(crate) mod recorder;

use std::time::Duration;

pub(crate) use certificates::Authority;
pub(crate) use control_plane::ControlPlane;
pub(crate) use echo::EchoClient;
pub(crate) use recorder::Recorder;

use hermesh_runtime::Runtime;
use hermesh_xds::{Bootstrap, ChannelCredentials, XdsChannel, XdsClientPool};

pub(crate) const NODE_ID: &str = "sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local";

/// What every test starts with.
pub(crate) struct Mesh {
    pub(crate) rt: Runtime,
    pub(crate) recorder: Recorder,
    pub(crate) control_plane: ControlPlane,
    pub(crate) directory: tempfile::TempDir,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        let (rt, recorder) = recorder::runtime();
        let control_plane = ControlPlane::start(&rt).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { rt, recorder, control_plane, directory }
    }

    /// As istio-agent writes it.
    pub(crate) fn bootstrap(&self) -> Bootstrap {
        let directory = self.directory.path().display();
        let text = format!(
            r#"{{
                "xds_servers": [{{"server_uri": "{}", "channel_creds": [{{"type": "insecure"}}], "server_features": ["xds_v3"]}}],
                "node": {{"id": "{NODE_ID}", "metadata": {{"GENERATOR": "grpc"}}}},
                "certificate_providers": {{"default": {{"plugin_name": "file_watcher", "config": {{
                    "private_key_file": "{directory}/key.pem",
                    "certificate_file": "{directory}/cert-chain.pem",
                    "ca_certificate_file": "{directory}/root-cert.pem",
                    "refresh_interval": "900s"}}}}}},
                "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s"
            }}"#,
            self.control_plane.address()
        );
        Bootstrap::from_json("test", text.as_bytes()).expect("a bootstrap")
    }

    pub(crate) fn pool(&self) -> XdsClientPool {
        XdsClientPool::with_bootstrap(&self.rt, self.bootstrap())
    }

    pub(crate) async fn channel(&self, target: &str) -> XdsChannel {
        self.channel_with(target, ChannelCredentials::xds_with_insecure_fallback()).await
    }

    pub(crate) async fn channel_with(&self, target: &str, credentials: ChannelCredentials) -> XdsChannel {
        XdsChannel::connect_in(&self.pool(), target, credentials).await.expect("a channel")
    }

    pub(crate) async fn client(&self, target: &str) -> EchoClient {
        EchoClient::new(self.channel(target).await)
    }

    /// Writes the files that the bootstrap's certificate provider watches.
    pub(crate) async fn write_certificates(&self, authority: &Authority, spiffe: &str) {
        let issued = authority.issue(&self.rt, spiffe);
        for (file, contents) in
            [("key.pem", issued.key), ("cert-chain.pem", issued.chain), ("root-cert.pem", authority.roots())]
        {
            self.rt.write_atomic(self.directory.path().join(file), contents, 0o600).await.expect("to write a file");
        }
    }
}

/// Waits until `condition` holds; fails after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}
