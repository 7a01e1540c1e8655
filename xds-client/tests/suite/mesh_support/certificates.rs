//! A certificate authority for tests.

use hermesh_runtime::Runtime;
use hermesh_runtime::crypto::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: String,
}

pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(rt: &Runtime) -> Self {
        let key = KeyPair::generate(rt);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let roots = params.self_signed(&key).expect("a root certificate").pem();
        Self { issuer: Issuer::new(params, key), roots }
    }

    pub(crate) fn issue(&self, rt: &Runtime, spiffe: &str) -> Issued {
        let key = KeyPair::generate(rt);
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(spiffe.try_into().expect("a URI"))];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { chain, key: key.to_pem().to_string() }
    }

    pub(crate) fn roots(&self) -> String {
        self.roots.clone()
    }
}
