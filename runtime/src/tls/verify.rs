//! The verifiers: chain and validity by webpki, then the peer rule. One type serves both ends of a handshake.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{PeerCertificate, TrustBundle};

type Rule = dyn Fn(&PeerCertificate) -> Result<(), String> + Send + Sync;

/// Decides whether a peer whose certificate is genuine is the one we want. It runs within the handshake.
#[derive(Clone)]
pub struct PeerRule(Arc<Rule>);

impl PeerRule {
    /// Anyone whom the trust bundle vouches for.
    #[must_use]
    pub fn any() -> Self {
        Self::new(|_| Ok(()))
    }

    /// The certificate must be for this host name or IP address, as with `https`.
    #[must_use]
    pub fn dns(name: &str) -> Self {
        let name = name.to_owned();
        Self::new(move |peer| {
            let matches = match name.parse::<IpAddr>() {
                Ok(ip) => peer.ip_sans.contains(&ip),
                Err(_) => peer.dns_sans.iter().any(|pattern| covers(pattern, &name)),
            };
            let refusal = || format!("certificate is valid for {:?} {:?}, not {name}", peer.dns_sans, peer.ip_sans);
            if matches { Ok(()) } else { Err(refusal()) }
        })
    }

    /// A rule of one's own; its error says what was expected and what came.
    pub fn new(rule: impl Fn(&PeerCertificate) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Applies the rule.
    ///
    /// # Errors
    /// What the rule says.
    pub fn check(&self, peer: &PeerCertificate) -> Result<(), String> {
        (self.0)(peer)
    }
}

impl fmt::Debug for PeerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerRule")
    }
}

/// RFC 6125 as browsers have it: `*` stands for one whole leftmost label.
fn covers(pattern: &str, name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let wildcard = || {
        let (rest, (label, parent)) = (pattern.strip_prefix("*.")?, name.split_once('.')?);
        Some(!label.is_empty() && rest.eq_ignore_ascii_case(parent))
    };
    pattern.eq_ignore_ascii_case(name) || wildcard().unwrap_or(false)
}

#[derive(Debug)]
pub(super) struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    trust: TrustBundle,
    rule: PeerRule,
    mandatory: bool,
}

impl Verifier {
    /// `mandatory` says whether a server refuses clients without a certificate.
    pub(super) fn new(provider: &CryptoProvider, trust: TrustBundle, rule: PeerRule, mandatory: bool) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, trust, rule, mandatory }
    }

    fn verify(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let certificate = EndEntityCert::try_from(peer).map_err(refusal)?;
        if let Some(roots) = self.trust.roots() {
            certificate
                .verify_for_usage(self.algorithms.all, roots, intermediates, now, usage, None, None)
                .map_err(refusal)?;
        }
        let chain = std::iter::once(peer).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        let peer = PeerCertificate::from_chain(chain).map_err(|error| other(error.to_string()))?;
        self.rule.check(&peer).map_err(other)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(peer, intermediates, now, KeyUsage::server_auth()).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, peer, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, peer, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: a client would then leave out a certificate whose issuer it cannot see among our roots, where sending it
    /// and being refused tells more.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(peer, intermediates, now, KeyUsage::client_auth()).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, peer, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, peer, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The error that makes rustls send the fitting alert.
fn refusal(error: webpki::Error) -> Error {
    let error = match error {
        webpki::Error::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        webpki::Error::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        error => return other(error.to_string()),
    };
    Error::InvalidCertificate(error)
}

fn other(message: String) -> Error {
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Refused(String);

    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(message)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("istiod.istio-system.svc", "istiod.istio-system.svc"));
        assert!(covers("*.Example.com", "www.example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*", "com"));
    }

    #[test]
    fn an_ip_address_is_not_matched_by_a_host_name() {
        let mut peer = PeerCertificate { dns_sans: vec!["10.0.0.1".to_owned()], ..PeerCertificate::default() };
        assert!(PeerRule::dns("10.0.0.1").check(&peer).is_err());
        peer.ip_sans.push([10, 0, 0, 1].into());
        assert!(PeerRule::dns("10.0.0.1").check(&peer).is_ok());
    }
}
