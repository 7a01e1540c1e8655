//! Cryptography whose every byte a seed decides.
//!
//! TLS 1.3 with AES-128-GCM. Randomness comes from the container whose task runs; the X25519 share and ECDSA P-256
//! signatures (RFC 6979), for which ring asks the kernel, are made here; ring does the rest.

use std::sync::{Arc, LazyLock};

use hermesh_runtime::crypto::KeyPair;
use rcgen::PublicKeyData as _;
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SharedSecret, SupportedKxGroup, ring,
};
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, NamedGroup, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};
use x25519_dalek::{PublicKey, StaticSecret};

use super::executor;

/// The provider for all containers of all simulations: it finds the container by the task that runs.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![&X25519],
            signature_verification_algorithms: ring::default_provider().signature_verification_algorithms,
            secure_random: &Entropy,
            key_provider: &Keys,
        })
    });
    Arc::clone(&PROVIDER)
}

#[derive(Debug)]
struct Entropy;

impl SecureRandom for Entropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        executor::current().ok_or(GetRandomFailed)?.fill(bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut seed = [0; 32];
        Entropy.fill(&mut seed)?;
        let secret = StaticSecret::from(seed);
        let public = PublicKey::from(&secret);
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    secret: StaticSecret,
    public: PublicKey,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| Error::from(PeerMisbehaved::InvalidKeyShare))?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        if !shared.was_contributory() {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(shared.as_bytes().as_slice().into())
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        if let Ok(key) = KeyPair::from_der(&key) {
            return Ok(Arc::new(P256Key(key)));
        }
        // Ed25519 signatures need no randomness (RFC 8032).
        let other = ring::sign::any_supported_type(&key)?;
        if other.algorithm() == SignatureAlgorithm::ED25519 {
            return Ok(other);
        }
        Err(Error::General(format!(
            "{:?} keys sign differently each time, which no seed decides; a simulation takes ECDSA P-256 and Ed25519",
            other.algorithm()
        )))
    }
}

#[derive(Clone, Debug)]
struct P256Key(KeyPair);

impl SigningKey for P256Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&Signer::scheme(self)).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.subject_public_key_info().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}
