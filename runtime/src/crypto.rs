//! Key pairs, and the cryptography of the OS runtime.
//!
//! Keys are ECDSA over P-256 with SHA-256: every gRPC implementation accepts them, and signing by RFC 6979 takes no
//! entropy, so that a seed decides each byte. RSA keys are read by [`Identity`](crate::tls::Identity), not made.

use std::fmt;
use std::sync::Arc;

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePrivateKey as _;
use p256::pkcs8::spki::der::zeroize::Zeroizing;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Runtime;

/// An ECDSA P-256 key pair that signs by RFC 6979. Cheap to clone; its `Debug` form shows the public half only.
#[derive(Clone)]
pub struct KeyPair(Arc<Inner>);

struct Inner {
    signing: SigningKey,
    /// The uncompressed point, as certificates hold it.
    public: Vec<u8>,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl KeyPair {
    /// A new key pair from the runtime's entropy.
    #[must_use]
    pub fn generate(rt: &Runtime) -> Self {
        let mut scalar = Zeroizing::new([0; 32]);
        loop {
            rt.fill(&mut *scalar);
            // Zero and what is not below the group's order are no keys; one draw in 2^32 is such.
            if let Ok(signing) = SigningKey::from_slice(&*scalar) {
                return Self::new(signing);
            }
        }
    }

    /// Reads a `PRIVATE KEY` (PKCS#8) or `EC PRIVATE KEY` (SEC1) block; what stands around it is skipped.
    ///
    /// # Errors
    /// If there is no such block, or if it holds another kind of key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyPairError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| KeyPairError::Pem(error.to_string()))?;
        Self::from_der(&der)
    }

    /// Reads PKCS#8 or SEC1.
    ///
    /// # Errors
    /// If it holds another kind of key.
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, KeyPairError> {
        let key = match der {
            PrivateKeyDer::Pkcs8(pkcs8) => p256::SecretKey::from_der(pkcs8.secret_pkcs8_der()).ok(),
            PrivateKeyDer::Sec1(sec1) => p256::SecretKey::from_sec1_der(sec1.secret_sec1_der()).ok(),
            _ => None,
        };
        key.map(|key| Self::new(key.into())).ok_or(KeyPairError::NotP256)
    }

    fn new(signing: SigningKey) -> Self {
        let public = signing.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        let pkcs8 = signing.to_pkcs8_der().expect("a P-256 key always has a PKCS#8 form").to_bytes();
        Self(Arc::new(Inner { signing, public, pkcs8 }))
    }

    /// The private key in PKCS#8.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.0.pkcs8
    }

    /// The private key as rustls takes it.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8_der().to_vec()).into()
    }

    /// The private key as a `PRIVATE KEY` block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("PRIVATE KEY", self.pkcs8_der()), config)
    }

    /// The ASN.1 ECDSA signature over the SHA-256 digest of `message`. The same message gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.signing.sign(message);
        signature.as_bytes().to_vec()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair(public: ")?;
        self.0.public.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}

impl rcgen::PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        &self.0.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.sign(message))
    }
}

/// Why a key could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyPairError {
    /// There is no readable PEM block of a private key.
    #[error("no private key in PEM form: {0}; expected a PRIVATE KEY or EC PRIVATE KEY block")]
    Pem(String),
    /// It is a key of another algorithm or curve, or no key at all.
    #[error("not an ECDSA P-256 key in PKCS#8 or SEC1 form")]
    NotP256,
}

/// The cryptography of the OS runtime: ring.
#[must_use]
pub fn os_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;
    use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_key_survives_its_pem_form() {
        let key = KeyPair::generate(&crate::os::runtime());
        let again = KeyPair::from_pem(key.to_pem().as_bytes()).unwrap();
        assert!(key.to_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(again.der_bytes(), key.der_bytes());
        assert_eq!(again.pkcs8_der(), key.pkcs8_der());
    }

    #[test]
    fn openssl_style_sec1_keys_are_read() {
        let key = KeyPair::generate(&crate::os::runtime());
        let secret = p256::SecretKey::from_der(key.pkcs8_der()).unwrap();
        let sec1 = pem::encode(&pem::Pem::new("EC PRIVATE KEY", secret.to_sec1_der().unwrap().to_vec()));
        assert_eq!(KeyPair::from_pem(sec1.as_bytes()).unwrap().der_bytes(), key.der_bytes());
    }

    #[test]
    fn signatures_repeat_and_verify() {
        let key = KeyPair::generate(&crate::os::runtime());
        let signature = key.sign(b"what is signed");
        assert_eq!(signature, key.sign(b"what is signed"));
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.der_bytes());
        assert!(public.verify(b"what is signed", &signature).is_ok());
        assert!(public.verify(b"something else", &signature).is_err());
    }

    #[test]
    fn what_is_no_p256_key_is_said_to_be_none() {
        assert!(matches!(KeyPair::from_pem(b"hello"), Err(KeyPairError::Pem(_))));
        let other = pem::encode(&pem::Pem::new("PRIVATE KEY", vec![0x30, 0x00]));
        assert_eq!(KeyPair::from_pem(other.as_bytes()).unwrap_err(), KeyPairError::NotP256);
    }

    #[test]
    fn its_debug_form_holds_no_secret() {
        let key = KeyPair::generate(&crate::os::runtime());
        let secret = p256::SecretKey::from_der(key.pkcs8_der()).unwrap().to_bytes();
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!format!("{key:?}").contains(&secret));
    }
}
