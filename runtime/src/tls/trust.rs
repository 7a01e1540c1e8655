//! Whom we trust to name our peers.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// The root certificates of a trust domain. Cheap to clone.
#[derive(Clone)]
pub struct TrustBundle(Roots);

#[derive(Clone)]
enum Roots {
    Known(Arc<[TrustAnchor<'static>]>),
    Unverified,
}

impl TrustBundle {
    /// Reads the `CERTIFICATE` blocks. Malformed ones are passed over, as Go's `AppendCertsFromPEM` does, by which
    /// grpc-go and Istio read their roots.
    ///
    /// # Errors
    /// If there is none, or all are malformed.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustBundleError> {
        let mut roots = Vec::new();
        let mut refused = TrustBundleError::Empty;
        for (index, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
            match der.map_err(|error| error.to_string()).and_then(|der| trust_anchor(&der)) {
                Ok(root) => roots.push(root),
                Err(error) if refused == TrustBundleError::Empty => {
                    refused = TrustBundleError::Malformed { number: index + 1, error };
                }
                Err(_) => {}
            }
        }
        if roots.is_empty() { Err(refused) } else { Ok(Self(Roots::Known(roots.into()))) }
    }

    /// Trusts whoever holds the key of the certificate that they show, whoever issued it: for tools that are told not
    /// to verify, such as `grpc_health_probe -tls-no-verify`.
    #[must_use]
    pub fn unverified() -> Self {
        Self(Roots::Unverified)
    }

    /// None if nothing is verified.
    pub(super) fn roots(&self) -> Option<&[TrustAnchor<'static>]> {
        match &self.0 {
            Roots::Known(roots) => Some(roots),
            Roots::Unverified => None,
        }
    }
}

fn trust_anchor(der: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, String> {
    webpki::anchor_from_trusted_cert(der).map(|root| root.to_owned()).map_err(|error| error.to_string())
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.roots() {
            Some(roots) => write!(f, "TrustBundle({} roots)", roots.len()),
            None => f.write_str("TrustBundle(unverified)"),
        }
    }
}

/// Why a text is no trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustBundleError {
    /// It holds no certificate.
    #[error("trust bundle holds no root certificate; expected at least one CERTIFICATE block")]
    Empty,
    /// None of its certificates can be read; this is the first.
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
    fn malformed_roots_are_passed_over_unless_there_is_no_other() {
        let good = rcgen::CertificateParams::new(vec![]).unwrap();
        let good = good.self_signed(&crate::crypto::KeyPair::generate(&crate::os::runtime())).unwrap().pem();
        let no_certificate = pem::encode(&pem::Pem::new("CERTIFICATE", vec![1, 2, 3]));
        let no_base64 = "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
        for bad in [no_certificate.as_str(), no_base64] {
            for bundle in [format!("{bad}{good}"), format!("{good}{bad}"), format!("{good}{bad}{good}")] {
                let goods = bundle.matches(good.as_str()).count();
                assert_eq!(TrustBundle::from_pem(bundle.as_bytes()).unwrap().roots().unwrap().len(), goods);
            }
            let error = TrustBundle::from_pem(format!("{bad}{bad}").as_bytes()).unwrap_err();
            assert!(matches!(error, TrustBundleError::Malformed { number: 1, .. }), "{error}");
        }
    }
}
