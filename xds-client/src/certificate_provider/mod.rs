//! Certificates for TLS handshakes by the names that the bootstrap gives them (gRFC A29).

pub mod file_watcher;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hermesh_runtime::Runtime;

use crate::bootstrap::FileWatcherConfig;
pub use file_watcher::FileWatcher;

/// The certificate providers of one bootstrap; clones share them. Each is started when it is first asked for and
/// stopped with the last clone.
#[derive(Clone, Debug)]
pub struct CertificateProviders {
    rt: Runtime,
    configs: Arc<BTreeMap<String, FileWatcherConfig>>,
    running: Arc<Mutex<BTreeMap<String, Arc<FileWatcher>>>>,
}

impl CertificateProviders {
    /// The providers with these configurations, by instance name.
    #[must_use]
    pub fn new(rt: &Runtime, configs: BTreeMap<String, FileWatcherConfig>) -> Self {
        Self { rt: rt.clone(), configs: Arc::new(configs), running: Arc::default() }
    }

    /// The provider with this instance name; `None` if the bootstrap has none.
    #[must_use]
    pub fn provider(&self, instance_name: &str) -> Option<Arc<FileWatcher>> {
        let config = self.configs.get(instance_name)?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || Arc::new(FileWatcher::start(&self.rt, instance_name, config.clone()));
        Some(running.entry(instance_name.to_owned()).or_insert_with(start).clone())
    }
}
