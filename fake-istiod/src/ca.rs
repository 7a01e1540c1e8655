//! The mesh's certificate authority: a root of its own, and leaves that name their caller and nobody else.
//!
//! [`CertificateAuthority`] holds the rules of Istio's self-signed authority (`security/pkg/pki/ca`) and does no I/O;
//! [`CertificateService`] serves it as `istio.v1.auth.IstioCertificateService`; [`TokenReview`] says who calls.
//! Keys are P-256 throughout, where Istio's default is RSA 2048.

mod service;
mod token;

use std::time::Duration;

use hermesh_runtime::Runtime;
use hermesh_runtime::crypto::KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

pub(crate) use service::draw_serial;
pub use service::{CertificateIssued, CertificateRefused, CertificateService, proto};
pub use token::{ServiceAccount, SignedTokens, SpiffeId, TokenRefused, TokenReview};

/// The audience a token must be meant for (istiod's `TOKEN_AUDIENCES`).
pub const AUDIENCE: &str = "istio-ca";
/// The root's life (istiod's `CITADEL_SELF_SIGNED_CA_CERT_TTL`).
pub const ROOT_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A leaf's life if the caller does not ask for one (istiod's `DEFAULT_WORKLOAD_CERT_TTL`).
pub const DEFAULT_LEAF_TTL: Duration = Duration::from_secs(24 * 3600);
/// The longest life a caller may ask for (istiod's `MAX_WORKLOAD_CERT_TTL`).
pub const MAX_LEAF_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far before its issue a certificate becomes valid: clocks differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// RFC 5280's bound on a common name; a longer first SAN leaves the subject empty.
const MAX_COMMON_NAME: usize = 64;

/// 128 random bits that tell a certificate from its siblings.
pub type Serial = [u8; 16];

/// A root certificate with its key: what Istio keeps in the Secret `istio-ca-secret` so that a restarted istiod is the
/// same authority.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRoot {
    /// The certificate in PEM; the value of `root-cert.pem` in every ConfigMap `istio-ca-root-cert`.
    pub cert_pem: String,
    /// The private key in PEM, PKCS #8.
    pub key_pem: String,
}

impl StoredRoot {
    /// A new root with a key from the runtime's entropy, for those who must know it before istiod starts.
    #[must_use]
    pub fn generate(rt: &Runtime, trust_domain: &str) -> Self {
        let serials = std::sync::Mutex::new(rt.draws("istiod/root"));
        let key = KeyPair::generate(rt);
        CertificateAuthority::self_signed(key, trust_domain, rt.wall(), draw_serial(&serials)).root
    }
}

impl std::fmt::Debug for StoredRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRoot").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

/// Signs certificates with the root's key.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    root: StoredRoot,
    not_after: Duration,
    default_ttl: Duration,
    max_ttl: Duration,
}

/// A signed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// The leaf in PEM.
    pub cert_pem: String,
    /// From when it is valid, since 1970.
    pub not_before: Duration,
    /// Until when it is valid, since 1970.
    pub not_after: Duration,
}

/// Why a certificate request is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Not PEM, not PKCS #10, or of a key kind nobody knows.
    #[error("certificate request does not parse: {0}")]
    Malformed(String),
    /// The request is not signed by the key it holds.
    #[error("certificate request is not signed by its own key")]
    Signature,
    /// Longer than the authority allows; Istio refuses instead of shortening.
    #[error("requested TTL {requested_s}s is greater than the max allowed TTL {max_s}s")]
    TtlTooLong {
        /// What was asked for, in seconds.
        requested_s: u64,
        /// What is allowed, in seconds.
        max_s: u64,
    },
    /// The caller's name does not fit into a certificate.
    #[error("identity `{0}` is not ASCII")]
    Identity(String),
    /// The signer failed.
    #[error("cannot sign: {0}")]
    Signer(String),
}

/// A stored root that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored root: {0}")]
pub struct StoredRootError(String);

impl CertificateAuthority {
    /// A new authority with `key`, valid from `now` for [`ROOT_TTL`], named as Istio names its own: the organisation is
    /// the trust domain.
    #[must_use]
    pub fn self_signed(key: KeyPair, trust_domain: &str, now: Duration, serial: Serial) -> Self {
        let mut params = params(serial, now, now + ROOT_TTL);
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("P-256 signs what rcgen itself encodes");
        let root = StoredRoot { cert_pem: certificate.pem(), key_pem: key.to_pem() };
        Self::new(Issuer::new(params, key), root, now + ROOT_TTL)
    }

    /// The authority that an earlier istiod stored.
    ///
    /// # Errors
    /// If certificate or key do not parse, or do not belong together.
    pub fn load(root: StoredRoot) -> Result<Self, StoredRootError> {
        let refuse = |what: &str, error: &dyn std::fmt::Display| StoredRootError(format!("{what}: {error}"));
        let key = KeyPair::from_pem(root.key_pem.as_bytes()).map_err(|error| refuse("key", &error))?;
        let pem = pem::parse(&root.cert_pem).map_err(|error| refuse("certificate", &error))?;
        let (_, certificate) =
            x509_parser::parse_x509_certificate(pem.contents()).map_err(|error| refuse("certificate", &error))?;
        if certificate.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(StoredRootError("the key is not the certificate's".to_owned()));
        }
        let not_after = Duration::from_secs(certificate.validity().not_after.timestamp().try_into().unwrap_or(0));
        let issuer = Issuer::from_ca_cert_der(&pem.contents().into(), key).map_err(|e| refuse("certificate", &e))?;
        Ok(Self::new(issuer, root, not_after))
    }

    /// Replaces the lives of leaves: the default, and the longest.
    #[must_use]
    pub fn with_leaf_ttls(self, default_ttl: Duration, max_ttl: Duration) -> Self {
        Self { default_ttl, max_ttl, ..self }
    }

    /// What to store, and (its certificate) what to hand to everyone.
    #[must_use]
    pub fn root(&self) -> &StoredRoot {
        &self.root
    }

    /// Signs `csr_pem` for the caller with these identities, usually one SPIFFE ID. Names inside the request do not
    /// matter: only its key does, and whether it has a common name.
    ///
    /// # Errors
    /// See [`SignError`]; all but [`SignError::Signer`] are the caller's fault.
    pub fn sign(
        &self,
        csr_pem: &str,
        identities: &[impl AsRef<str>],
        validity_s: i64,
        now: Duration,
        serial: Serial,
    ) -> Result<Issued, SignError> {
        let ttl = match u64::try_from(validity_s) {
            Ok(0) | Err(_) => self.default_ttl,
            Ok(seconds) if seconds > self.max_ttl.as_secs() => {
                return Err(SignError::TtlTooLong { requested_s: seconds, max_s: self.max_ttl.as_secs() });
            }
            Ok(seconds) => Duration::from_secs(seconds),
        };
        let request = Request::parse(csr_pem)?;
        let mut params = self.leaf(serial, now, ttl);
        for identity in identities {
            params.subject_alt_names.push(subject_alt_name(identity.as_ref())?);
        }
        if let Some(first) = identities.first().map(AsRef::as_ref)
            && request.has_common_name
            && first.len() <= MAX_COMMON_NAME
        {
            params.distinguished_name.push(DnType::CommonName, first);
        }
        self.finish(&params, &request.key)
    }

    /// A certificate for a server of the control plane itself, as long-lived as the root.
    ///
    /// # Errors
    /// If a name is no DNS name.
    pub fn sign_server(
        &self,
        key: &KeyPair,
        dns_names: &[String],
        now: Duration,
        serial: Serial,
    ) -> Result<Issued, SignError> {
        let mut params = self.leaf(serial, now, ROOT_TTL);
        for name in dns_names {
            let san = name.as_str().try_into().map_err(|_| SignError::Identity(name.clone()))?;
            params.subject_alt_names.push(SanType::DnsName(san));
        }
        self.finish(&params, key)
    }

    fn new(issuer: Issuer<'static, KeyPair>, root: StoredRoot, not_after: Duration) -> Self {
        Self { issuer, root, not_after, default_ttl: DEFAULT_LEAF_TTL, max_ttl: MAX_LEAF_TTL }
    }

    fn leaf(&self, serial: Serial, now: Duration, ttl: Duration) -> CertificateParams {
        let not_after = (now + ttl).min(self.not_after);
        let mut params = params(serial, now.saturating_sub(CLOCK_SKEW), not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn finish(&self, params: &CertificateParams, key: &impl rcgen::PublicKeyData) -> Result<Issued, SignError> {
        let certificate = params.signed_by(key, &self.issuer).map_err(|error| SignError::Signer(error.to_string()))?;
        let seconds = |at: OffsetDateTime| Duration::from_secs(at.unix_timestamp().try_into().unwrap_or(0));
        Ok(Issued {
            cert_pem: certificate.pem(),
            not_before: seconds(params.not_before),
            not_after: seconds(params.not_after),
        })
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What counts of a certificate request.
struct Request {
    key: SubjectPublicKeyInfo,
    has_common_name: bool,
}

impl Request {
    fn parse(csr_pem: &str) -> Result<Self, SignError> {
        let malformed = |error: &dyn std::fmt::Display| SignError::Malformed(error.to_string());
        let pem = pem::parse(csr_pem).map_err(|error| malformed(&error))?;
        // RFC 7468 names the first; the second is what older tools write.
        if !matches!(pem.tag(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
            return Err(malformed(&format!("PEM block is `{}`, expected `CERTIFICATE REQUEST`", pem.tag())));
        }
        let (_, csr) = X509CertificationRequest::from_der(pem.contents()).map_err(|error| malformed(&error))?;
        csr.verify_signature().map_err(|_| SignError::Signature)?;
        let info = &csr.certification_request_info;
        let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|error| malformed(&error))?;
        Ok(Self { key, has_common_name: info.subject.iter_common_name().next().is_some() })
    }
}

/// Istio's `BuildSubjectAltNameExtension`: an identity shows by its form what kind of name it is.
fn subject_alt_name(identity: &str) -> Result<SanType, SignError> {
    let unusable = |_| SignError::Identity(identity.to_owned());
    if let Ok(ip) = identity.parse() {
        Ok(SanType::IpAddress(ip))
    } else if identity.contains("://") {
        identity.try_into().map(SanType::URI).map_err(unusable)
    } else {
        identity.try_into().map(SanType::DnsName).map_err(unusable)
    }
}

fn params(serial: Serial, not_before: Duration, not_after: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = timestamp(not_before);
    params.not_after = timestamp(not_after);
    params
}

fn timestamp(since_1970: Duration) -> OffsetDateTime {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
