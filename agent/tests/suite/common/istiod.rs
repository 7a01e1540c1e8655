//! A control plane for agents.

use std::net::SocketAddr;
use std::sync::Arc;

use hermesh_istiod::ca::{SignedTokens, StoredRoot};
use hermesh_istiod::watch::{WatchSender, watch};
use hermesh_istiod::{Config, Istiod};
use hermesh_test_support::Process;

use super::{eventually, process};

/// An istiod on loopback that is ready and knows no objects.
pub struct ControlPlane {
    pub process: Process,
    pub address: SocketAddr,
    _watch: WatchSender,
}

impl ControlPlane {
    pub async fn start(root: &StoredRoot, tokens: &Arc<SignedTokens>, address: SocketAddr) -> Self {
        let process = process(&[], &[]);
        let mut config = Config::new(tokens.clone());
        config.stored_root = Some(root.clone());
        (config.plaintext, config.readiness, config.monitoring) = (None, None, None);
        config.tls = Some(address);
        let (sender, source) = watch();
        let istiod = Istiod::new(process.rt.clone(), config, source).unwrap();
        let status = istiod.status();
        process.rt.spawn("istiod", async move { istiod.run().await.unwrap() });
        sender.send_all([]);
        eventually("istiod serves", async || status.state().ready && status.state().addresses.tls.is_some()).await;
        let address = status.state().addresses.tls.unwrap();
        Self { process, address, _watch: sender }
    }
}
