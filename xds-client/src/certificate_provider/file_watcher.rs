//! `file_watcher`: certificates from files that someone else keeps fresh (gRFC A29).
//!
//! The files are read at once and then every `refresh_interval`. Chain and key are taken over as a pair or not at all:
//! if they do not belong together, or cannot be read, the pair in use stays in use until the next interval is over.
//! Roots are on their own. Two things go beyond grpc-go. While a configured file has never been loaded, the files are
//! read every second, so that a process that starts before its agent does not sit out a refresh interval of minutes;
//! and contents that were refused are looked at once more after a second, since the writer may have been between two
//! files. Files that were loaded once and cannot be read any more are not: as with grpc-go, an interval passes.

use std::time::Duration;

use bytes::Bytes;
use hermesh_runtime::latest::Latest;
use hermesh_runtime::tls::{Identity, TrustBundle};
use hermesh_runtime::{Runtime, TaskGuard};

use crate::bootstrap::FileWatcherConfig;

hermesh_runtime::event! {
    /// A certificate provider has taken over new material; handshakes from now on use it.
    CertificateLoaded = "cert.loaded" {
        /// The provider's instance name.
        instance: String,
        /// `identity` or `roots`.
        what: &'static str,
        /// The SPIFFE identity of the certificate, if it has one.
        spiffe: Option<String>,
        /// The certificate's last second, in seconds since 1970.
        not_after: Option<u64>,
    }

    /// A certificate provider could not use what the files hold, and goes on with what it had.
    CertificateRefused = "cert.refused" {
        /// The provider's instance name.
        instance: String,
        /// `identity` or `roots`.
        what: &'static str,
        /// Why; never the contents.
        error: String,
    }
}

/// How soon files are read again while something is missing or was refused.
const QUICK: Duration = Duration::from_secs(1);

/// A running provider.
#[derive(Debug)]
pub struct FileWatcher {
    material: Latest<Material>,
    _task: TaskGuard,
}

/// What handshakes use.
#[derive(Clone, Debug, Default)]
struct Material {
    identity: Option<Identity>,
    roots: Option<TrustBundle>,
}

impl FileWatcher {
    /// Starts to watch. `instance_name` is for events.
    #[must_use]
    pub fn start(rt: &Runtime, instance_name: &str, config: FileWatcherConfig) -> Self {
        let material = Latest::new(Material::default());
        let watcher = Watcher {
            rt: rt.clone(),
            instance: instance_name.to_owned(),
            config,
            publish: material.clone(),
            identity: Slot::default(),
            roots: Slot::default(),
        };
        Self { material, _task: rt.spawn("certificate-provider", watcher.run()).abort_on_drop() }
    }

    /// The certificate and key in force, once there are any. Callers set the deadline.
    pub async fn identity(&self) -> Identity {
        self.wait(|material| material.identity.clone()).await
    }

    /// The trusted roots in force, once there are any. Callers set the deadline.
    pub async fn roots(&self) -> TrustBundle {
        self.wait(|material| material.roots.clone()).await
    }

    async fn wait<T>(&self, part: impl Fn(&Material) -> Option<T>) -> T {
        let mut material = self.material.reader();
        loop {
            if let Some(part) = material.look(&part) {
                return part;
            }
            material.changed().await;
        }
    }
}

struct Watcher {
    rt: Runtime,
    instance: String,
    config: FileWatcherConfig,
    publish: Latest<Material>,
    identity: Slot,
    roots: Slot,
}

/// What is known of one group of files.
#[derive(Default)]
struct Slot {
    loaded: bool,
    /// The contents last looked at, accepted or not.
    seen: Option<Vec<Bytes>>,
    error: Option<String>,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let look_again = self.read_identity().await | self.read_roots().await;
            tokio::time::sleep(if look_again { QUICK } else { self.config.refresh_interval }).await;
        }
    }

    /// Answers whether to look again soon.
    async fn read_identity(&mut self) -> bool {
        let Some(files) = self.config.identity.clone() else { return false };
        let chain = self.rt.read(&files.certificate_file).await;
        let chain = chain.map_err(|error| format!("{}: {error}", files.certificate_file.display()));
        let key = self.rt.read(&files.private_key_file).await;
        let key = key.map_err(|error| format!("{}: {error}", files.private_key_file.display()));
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (Err(error), _) | (Ok(_), Err(error)) => return self.refuse("identity", error, false),
        };
        if !self.identity.differs(&[&chain, &key]) {
            return !self.identity.loaded;
        }
        match Identity::from_pem(&self.rt, &chain, &key) {
            Ok(identity) => {
                let spiffe = identity.spiffe_id();
                self.accept("identity", spiffe, Some(identity.not_after().as_secs()));
                self.publish.modify(|material| material.identity = Some(identity));
                false
            }
            Err(error) => self.refuse("identity", error.to_string(), true),
        }
    }

    /// Answers whether to look again soon.
    async fn read_roots(&mut self) -> bool {
        let Some(file) = self.config.ca_certificate_file.clone() else { return false };
        let roots = match self.rt.read(&file).await {
            Ok(roots) => roots,
            Err(error) => return self.refuse("roots", format!("{}: {error}", file.display()), false),
        };
        if !self.roots.differs(&[&roots]) {
            return !self.roots.loaded;
        }
        match TrustBundle::from_pem(&roots) {
            Ok(roots) => {
                self.accept("roots", None, None);
                self.publish.modify(|material| material.roots = Some(roots));
                false
            }
            Err(error) => self.refuse("roots", format!("{}: {error}", file.display()), true),
        }
    }

    fn accept(&mut self, what: &'static str, spiffe: Option<String>, not_after: Option<u64>) {
        let slot = self.slot(what);
        slot.loaded = true;
        slot.error = None;
        let instance = self.instance.clone();
        self.rt.emit(CertificateLoaded { instance, what, spiffe, not_after });
    }

    fn refuse(&mut self, what: &'static str, error: String, contents_are_new: bool) -> bool {
        let slot = self.slot(what);
        let news = slot.error.as_ref() != Some(&error);
        slot.error = Some(error.clone());
        let look_again = contents_are_new || !slot.loaded;
        if news {
            let instance = self.instance.clone();
            self.rt.emit(CertificateRefused { instance, what, error });
        }
        look_again
    }

    fn slot(&mut self, what: &str) -> &mut Slot {
        if what == "identity" { &mut self.identity } else { &mut self.roots }
    }
}

impl Slot {
    /// Whether these contents were not looked at before; if so, they now are.
    fn differs(&mut self, contents: &[&Bytes]) -> bool {
        let same = self.seen.as_ref().is_some_and(|seen| seen.iter().eq(contents.iter().copied()));
        if !same {
            self.seen = Some(contents.iter().map(|bytes| (*bytes).clone()).collect());
        }
        !same
    }
}
