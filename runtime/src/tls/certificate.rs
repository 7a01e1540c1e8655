//! What a certificate says of its holder.

use std::net::IpAddr;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The certificate of a peer, or our own, with the chain it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCertificate {
    /// Subject alternative names that are URIs, such as `spiffe://cluster.local/ns/default/sa/web`.
    pub uri_sans: Vec<String>,
    /// Subject alternative names that are host names.
    pub dns_sans: Vec<String>,
    /// Subject alternative names that are IP addresses.
    pub ip_sans: Vec<IpAddr>,
    /// Subject alternative names that are e-mail addresses.
    pub email_sans: Vec<String>,
    /// The subject, such as `O=cluster.local`.
    pub subject: String,
    /// When it becomes valid, since 1970-01-01T00:00:00Z.
    pub not_before: Duration,
    /// The last moment at which it is valid, since 1970-01-01T00:00:00Z.
    pub not_after: Duration,
    /// The certificates as they were sent, that of the peer first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// The bytes are no X.509 certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed certificate: {0}")]
pub struct MalformedCertificate(String);

impl PeerCertificate {
    /// Reads the first certificate of `chain`.
    ///
    /// # Errors
    /// If there is none, or if it is malformed.
    pub fn from_chain(chain: Vec<CertificateDer<'static>>) -> Result<Self, MalformedCertificate> {
        let first = chain.first().ok_or_else(|| MalformedCertificate("the chain is empty".to_owned()))?;
        let mut read = Self::read(first).map_err(|error| MalformedCertificate(error.to_string()))?;
        read.chain = chain;
        Ok(read)
    }

    /// The SPIFFE ID. SPIFFE wants exactly one URI in a certificate: if there are more, none of them counts.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&str> {
        match self.uri_sans.as_slice() {
            [uri] if uri.starts_with("spiffe://") => Some(uri),
            _ => None,
        }
    }

    fn read(der: &CertificateDer<'_>) -> Result<Self, x509_parser::error::X509Error> {
        let (_, certificate) = X509Certificate::from_der(der)?;
        let since_1970 = |time: x509_parser::time::ASN1Time| Duration::from_secs(time.timestamp().max(0) as u64);
        let mut read = Self {
            subject: certificate.subject().to_string(),
            not_before: since_1970(certificate.validity().not_before),
            not_after: since_1970(certificate.validity().not_after),
            ..Self::default()
        };
        if let Some(extension) = certificate.subject_alternative_name()? {
            for name in &extension.value.general_names {
                match name {
                    GeneralName::URI(uri) => read.uri_sans.push((*uri).to_owned()),
                    GeneralName::DNSName(name) => read.dns_sans.push((*name).to_owned()),
                    GeneralName::RFC822Name(address) => read.email_sans.push((*address).to_owned()),
                    GeneralName::IPAddress(bytes) => read.ip_sans.extend(ip(bytes)),
                    _ => {}
                }
            }
        }
        Ok(read)
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_uris(uris: &[&str]) -> PeerCertificate {
        PeerCertificate { uri_sans: uris.iter().map(|uri| (*uri).to_owned()).collect(), ..PeerCertificate::default() }
    }

    #[test]
    fn two_uris_are_no_spiffe_identity() {
        assert_eq!(with_uris(&["spiffe://td/ns/a/sa/b"]).spiffe_id(), Some("spiffe://td/ns/a/sa/b"));
        assert_eq!(with_uris(&["spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/c"]).spiffe_id(), None);
        assert_eq!(with_uris(&["https://example.com"]).spiffe_id(), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_an_error() {
        assert!(PeerCertificate::from_chain(vec![]).is_err());
        assert!(PeerCertificate::from_chain(vec![CertificateDer::from(vec![0x30, 0x01])]).is_err());
    }
}
