//! Who we are to our peers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::PeerCertificate;
use crate::Runtime;
use crate::crypto::KeyPair;

/// A certificate chain and the private key to its first certificate. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    certified: CertifiedKey,
    certificate: PeerCertificate,
}

impl Identity {
    /// Reads a chain, our own certificate first, and its key (PKCS#8, SEC1 or, where the runtime's cryptography signs
    /// with RSA, PKCS#1). Whether the certificate is valid now is not asked: peers will tell.
    ///
    /// # Errors
    /// If one of them cannot be read or if they do not belong together.
    pub fn from_pem(rt: &Runtime, chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<_, _>>()
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let certificate = PeerCertificate::from_chain(chain.clone())
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| IdentityError::Key(error.to_string()))?;
        // One form for all P-256 keys, so that no provider needs to know the others.
        let key = KeyPair::from_der(&key).map(|pair| pair.private_key()).unwrap_or(key);
        let certified = CertifiedKey::from_der(chain, key, &rt.crypto()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => IdentityError::Mismatch,
            Error::InvalidCertificate(error) => IdentityError::Certificate(error.to_string()),
            error => IdentityError::Key(error.to_string()),
        })?;
        Ok(Self(Arc::new(Inner { certified, certificate })))
    }

    /// What our certificate says of us.
    #[must_use]
    pub fn certificate(&self) -> &PeerCertificate {
        &self.0.certificate
    }

    /// When the certificate becomes valid, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn not_before(&self) -> Duration {
        self.0.certificate.not_before
    }

    /// The last moment at which the certificate is valid, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn not_after(&self) -> Duration {
        self.0.certificate.not_after
    }

    /// The certificate's SPIFFE ID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<String> {
        self.0.certificate.spiffe_id().map(str::to_owned)
    }

    pub(super) fn certified(&self) -> CertifiedKey {
        self.0.certified.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeerCertificate { subject, uri_sans, not_after, .. } = &self.0.certificate;
        let mut debug = f.debug_struct("Identity");
        debug.field("subject", subject).field("uri_sans", uri_sans).field("not_after", not_after);
        debug.finish_non_exhaustive()
    }
}

/// Why a chain and a key make no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The chain is empty or malformed.
    #[error("certificate chain: {0}; expected CERTIFICATE blocks, the workload's own first")]
    Certificate(String),
    /// The key is missing, malformed, or of a kind the runtime cannot sign with.
    #[error("private key: {0}; expected a PRIVATE KEY or EC PRIVATE KEY block")]
    Key(String),
    /// The key belongs to another certificate.
    #[error("private key and certificate do not belong together; they were issued or rotated at different times")]
    Mismatch,
}
