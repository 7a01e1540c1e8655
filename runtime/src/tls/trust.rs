//! Whom we trust to name our peers.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// The root certificates of a trust domain. Cheap to clone.
#[derive(Clone)]
pub struct TrustBundle(Arc<[TrustAnchor<'static>]>);

impl TrustBundle {
    /// Reads all `CERTIFICATE` blocks; there must be at least one.
    ///
    /// # Errors
    /// If there is none, or one is malformed.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustBundleError> {
        let mut roots = Vec::new();
        for (index, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let malformed = |error: String| TrustBundleError::Malformed { number: index + 1, error };
            let der = der.map_err(|error| malformed(error.to_string()))?;
            let root = webpki::anchor_from_trusted_cert(&der).map_err(|error| malformed(error.to_string()))?;
            roots.push(root.to_owned());
        }
        if roots.is_empty() { Err(TrustBundleError::Empty) } else { Ok(Self(roots.into())) }
    }

    pub(super) fn roots(&self) -> &[TrustAnchor<'static>] {
        &self.0
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustBundle({} roots)", self.0.len())
    }
}

/// Why a text is no trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustBundleError {
    /// It holds no certificate.
    #[error("trust bundle holds no root certificate; expected at least one CERTIFICATE block")]
    Empty,
    /// One of its certificates cannot be read.
    #[error("root certificate {number} of the trust bundle is malformed: {error}")]
    Malformed {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_roots_is_an_error() {
        assert_eq!(TrustBundle::from_pem(b"").unwrap_err(), TrustBundleError::Empty);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged_without_harm(
            at in proptest::prelude::any::<proptest::sample::Index>(),
            by in 1_u8..,
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let good = rcgen::CertificateParams::new(vec![]).unwrap();
            let good = good.self_signed(&crate::crypto::KeyPair::generate(&crate::os::runtime())).unwrap();
            let (mut der, mut pem) = (good.der().to_vec(), good.pem().into_bytes());
            let (in_der, in_pem) = (at.index(der.len()), at.index(pem.len()));
            der[in_der] ^= by;
            pem[in_pem] ^= by;
            for der in [der, noise.clone()] {
                let _ = crate::tls::PeerCertificate::from_chain(vec![der.clone().into()]);
                let _ = TrustBundle::from_pem(pem::encode(&pem::Pem::new("CERTIFICATE", der)).as_bytes());
            }
            let _ = TrustBundle::from_pem(&pem);
            proptest::prop_assert!(TrustBundle::from_pem(&noise).is_err());
        }
    }

    #[test]
    fn a_malformed_root_is_named_by_its_number() {
        let good = rcgen::CertificateParams::new(vec![]).unwrap();
        let good = good.self_signed(&crate::crypto::KeyPair::generate(&crate::os::runtime())).unwrap().pem();
        let bad = pem::encode(&pem::Pem::new("CERTIFICATE", vec![1, 2, 3]));
        let error = TrustBundle::from_pem(format!("{good}\n{bad}").as_bytes()).unwrap_err();
        assert!(matches!(error, TrustBundleError::Malformed { number: 2, .. }), "{error}");
    }
}
