//! A folder that keeps the authority from one start to the next, as the Secret `istio-ca-secret` does in a cluster.
//!
//! `root-cert.pem` is what workloads trust; `ca-key.pem` signs their certificates and, outside a cluster, the tokens
//! they prove themselves with.

use std::io;
use std::path::{Path, PathBuf};

use hermesh_runtime::Runtime;

use crate::ca::{CertificateAuthority, SignedTokens, StoredRoot};

const KEY: &str = "ca-key.pem";
const CERTIFICATE: &str = "root-cert.pem";

/// The folder.
#[derive(Clone, Debug)]
pub struct StateFolder {
    rt: Runtime,
    path: PathBuf,
}

/// Why a state folder is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A file of it cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
    /// There is a key or a certificate, not both, or they are none.
    #[error("state folder {path}: {reason}; remove {KEY} and {CERTIFICATE} to begin with a new authority")]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What is the matter.
        reason: String,
    },
    /// Nobody has made an authority here yet.
    #[error("state folder {0} holds no authority yet; start fake-istiod with it first")]
    Empty(PathBuf),
}

impl StateFolder {
    /// The folder at `path`, whether or not it exists.
    #[must_use]
    pub fn new(rt: &Runtime, path: PathBuf) -> Self {
        Self { rt: rt.clone(), path }
    }

    /// The authority, made now for `trust_domain` if there is none.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn root(&self, trust_domain: &str) -> Result<StoredRoot, StateError> {
        if let Some(root) = self.read().await? {
            return Ok(root);
        }
        self.rt.create_dir_all(&self.path, 0o700).await.map_err(|error| failed(&self.path, error))?;
        let root = StoredRoot::generate(&self.rt, trust_domain);
        self.write(KEY, &root.key_pem, 0o600).await?;
        self.write(CERTIFICATE, &root.cert_pem, 0o644).await?;
        Ok(root)
    }

    /// Makes tokens that an istiod with this folder accepts.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn tokens(&self) -> Result<SignedTokens, StateError> {
        let root = self.read().await?.ok_or_else(|| StateError::Empty(self.path.clone()))?;
        Ok(SignedTokens::new(&self.rt, root.key_pem.as_bytes()))
    }

    async fn read(&self) -> Result<Option<StoredRoot>, StateError> {
        let unusable = |reason: String| StateError::Unusable { path: self.path.clone(), reason };
        match (self.text(KEY).await?, self.text(CERTIFICATE).await?) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(unusable(format!("it has {KEY} but no {CERTIFICATE}"))),
            (None, Some(_)) => Err(unusable(format!("it has {CERTIFICATE} but no {KEY}"))),
            (Some(key_pem), Some(cert_pem)) => {
                let root = StoredRoot { cert_pem, key_pem };
                CertificateAuthority::load(root.clone()).map_err(|error| unusable(error.to_string()))?;
                Ok(Some(root))
            }
        }
    }

    async fn text(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.path.join(name);
        match self.rt.read(&path).await {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    async fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), StateError> {
        let path = self.path.join(name);
        self.rt.write_atomic(&path, text.to_owned(), mode).await.map_err(|error| failed(&path, error))
    }
}

fn failed(path: &Path, error: io::Error) -> StateError {
    StateError::File { path: path.to_owned(), error }
}
