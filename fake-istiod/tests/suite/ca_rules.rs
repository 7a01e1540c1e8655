//! What the certificate authority signs, and what it refuses.

use std::time::Duration;

use hermesh_istiod::ca::{CertificateAuthority, SignError, StoredRoot};
use hermesh_runtime::crypto::KeyPair;
use hermesh_runtime::os;
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, SanType};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const CALLER: &str = "spiffe://cluster.local/ns/echo/sa/default";
const DAY: i64 = 24 * 3600;

fn authority() -> CertificateAuthority {
    CertificateAuthority::self_signed(KeyPair::generate(&os::runtime()), "cluster.local", NOW, [7; 16])
}

/// A request as istio-agent makes it, changed by `edit`.
fn request(edit: impl FnOnce(&mut CertificateParams)) -> (KeyPair, String) {
    let key = KeyPair::generate(&os::runtime());
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(CALLER.try_into().unwrap())];
    edit(&mut params);
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, csr)
}

fn der(pem: &str) -> Vec<u8> {
    ::pem::parse(pem).unwrap().into_contents()
}

fn sans(certificate: &X509Certificate<'_>) -> Vec<String> {
    let san = certificate.subject_alternative_name().unwrap().expect("a SAN extension");
    assert!(san.critical, "the subject is empty, so the SAN is critical");
    san.value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::URI(uri) => (*uri).to_owned(),
            other => panic!("unexpected name {other:?}"),
        })
        .collect()
}

#[test]
fn the_root_is_named_as_istio_s_and_lives_ten_years() {
    let authority = authority();
    let der = der(&authority.root().cert_pem);
    let (_, root) = parse_x509_certificate(&der).unwrap();
    assert_eq!(root.subject().to_string(), "O=cluster.local");
    assert_eq!(root.issuer(), root.subject());
    assert_eq!(root.validity().not_before.timestamp(), NOW.as_secs() as i64);
    assert_eq!(root.validity().time_to_expiration(), None, "the test's clock is ahead of this machine's");
    assert_eq!(root.validity().not_after.timestamp() - root.validity().not_before.timestamp(), 3650 * DAY);
    assert!(root.is_ca());
    assert!(root.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(root.raw_serial(), [7; 16]);
    root.verify_signature(None).expect("signed by itself");
}

#[test]
fn a_leaf_carries_what_istio_puts_into_one() {
    let authority = authority();
    let (key, csr) = request(|_| ());
    let issued = authority.sign(&csr, &[CALLER], DAY, NOW, [9; 16]).unwrap();
    let (leaf_der, root_der) = (der(&issued.cert_pem), der(&authority.root().cert_pem));
    let (_, leaf) = parse_x509_certificate(&leaf_der).unwrap();
    let (_, root) = parse_x509_certificate(&root_der).unwrap();
    leaf.verify_signature(Some(root.public_key())).expect("signed by the root");
    assert_eq!(leaf.issuer(), root.subject());
    assert_eq!(leaf.subject().iter().count(), 0);
    assert_eq!(sans(&leaf), [CALLER]);
    assert_eq!(leaf.raw_serial(), [9; 16]);
    assert!(!leaf.is_ca());
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth);
    assert_eq!(leaf.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
    assert_eq!(leaf.validity().not_before.timestamp(), NOW.as_secs() as i64 - 120);
    assert_eq!(leaf.validity().not_after.timestamp(), NOW.as_secs() as i64 + DAY);
    assert_eq!(
        (issued.not_before, issued.not_after.as_secs()),
        (NOW - Duration::from_secs(120), NOW.as_secs() + DAY as u64)
    );
}

#[test]
fn names_in_the_request_do_not_reach_the_certificate() {
    let authority = authority();
    let foreign = [
        SanType::URI("spiffe://cluster.local/ns/kube-system/sa/admin".try_into().unwrap()),
        SanType::DnsName("istiod.istio-system.svc".try_into().unwrap()),
    ];
    for san in foreign {
        let (_, csr) = request(|params| params.subject_alt_names = vec![san]);
        let der = der(&authority.sign(&csr, &[CALLER], 0, NOW, [1; 16]).unwrap().cert_pem);
        assert_eq!(sans(&parse_x509_certificate(&der).unwrap().1), [CALLER]);
    }
    let (_, csr) = request(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let der = der(&authority.sign(&csr, &[CALLER], 0, NOW, [1; 16]).unwrap().cert_pem);
    assert!(!parse_x509_certificate(&der).unwrap().1.is_ca());
}

#[test]
fn a_common_name_is_replaced_by_the_identity_if_that_is_short_enough() {
    let authority = authority();
    let (_, csr) = request(|params| params.distinguished_name.push(DnType::CommonName, "admin"));
    let long = format!("spiffe://cluster.local/ns/{}/sa/default", "n".repeat(40));
    for (caller, common_name) in [(CALLER, Some(CALLER)), (long.as_str(), None)] {
        let der = der(&authority.sign(&csr, &[caller], 0, NOW, [1; 16]).unwrap().cert_pem);
        let (_, leaf) = parse_x509_certificate(&der).unwrap();
        let found = leaf.subject().iter_common_name().next().map(|name| name.as_str().unwrap());
        assert_eq!(found, common_name);
    }
}

#[test]
fn a_caller_with_several_identities_keeps_them_all() {
    let (_, csr) = request(|_| ());
    let callers = ["spiffe://other.domain/ns/a/sa/b", CALLER];
    let der = der(&authority().sign(&csr, &callers, 0, NOW, [1; 16]).unwrap().cert_pem);
    let (_, leaf) = parse_x509_certificate(&der).unwrap();
    assert_eq!(sans(&leaf), callers);

    let hosts = ["istiod.istio-system.svc", "10.0.0.1"];
    let der = self::der(&authority().sign(&csr, &hosts, 0, NOW, [1; 16]).unwrap().cert_pem);
    let (_, leaf) = parse_x509_certificate(&der).unwrap();
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names[..], [GeneralName::DNSName(hosts[0]), GeneralName::IPAddress(&[10, 0, 0, 1])]);
}

#[test]
fn lives_are_granted_defaulted_or_refused_and_never_outlast_the_root() {
    let ten_years = 3650 * DAY as u64;
    let in_a_day_it_ends = NOW + Duration::from_secs(ten_years - DAY as u64);
    let cases = [
        (3600, NOW, Ok(3600)),
        (0, NOW, Ok(DAY as u64)),
        (-5, NOW, Ok(DAY as u64)),
        (90 * DAY, NOW, Ok(90 * DAY as u64)),
        (90 * DAY + 1, NOW, Err(90 * DAY as u64 + 1)),
        (i64::MAX, NOW, Err(i64::MAX as u64)),
        (2 * DAY, in_a_day_it_ends, Ok(DAY as u64)),
    ];
    let authority = authority();
    let (_, csr) = request(|_| ());
    for (asked, now, expected) in cases {
        let signed = authority.sign(&csr, &[CALLER], asked, now, [1; 16]);
        let max_s = 90 * DAY as u64;
        match expected {
            Ok(granted) => assert_eq!((signed.unwrap().not_after - now).as_secs(), granted, "{asked}"),
            Err(requested_s) => {
                assert_eq!(signed.unwrap_err(), SignError::TtlTooLong { requested_s, max_s }, "{asked}")
            }
        }
    }
}

#[test]
fn requests_that_are_none_are_refused_by_what_is_wrong_with_them() {
    let authority = authority();
    let (_, csr) = request(|_| ());
    let certificate = authority.root().cert_pem.clone();
    for text in
        ["", "not PEM", &certificate, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
    {
        let refused = authority.sign(text, &[CALLER], 0, NOW, [1; 16]).unwrap_err();
        assert!(matches!(refused, SignError::Malformed(_)), "{refused:?}");
    }
    let mut der = der(&csr);
    *der.last_mut().unwrap() ^= 1;
    let tampered = ::pem::encode(&::pem::Pem::new("CERTIFICATE REQUEST", der));
    assert_eq!(authority.sign(&tampered, &[CALLER], 0, NOW, [1; 16]), Err(SignError::Signature));
}

#[test]
fn a_request_with_an_rsa_key_is_signed_too() {
    // istio-agent's default. Made by OpenSSL: this project makes no RSA keys.
    const RSA: &str = include_str!("data/rsa-2048.csr");
    let der = der(&authority().sign(RSA, &[CALLER], 0, NOW, [1; 16]).unwrap().cert_pem);
    let (_, leaf) = parse_x509_certificate(&der).unwrap();
    assert_eq!(leaf.public_key().algorithm.algorithm.to_id_string(), "1.2.840.113549.1.1.1");
}

#[test]
fn a_stored_root_goes_on_where_it_stopped() {
    let authority = authority();
    let again = CertificateAuthority::load(authority.root().clone()).unwrap();
    assert_eq!(again.root(), authority.root());
    let (_, csr) = request(|_| ());
    let of_both = [&authority, &again].map(|authority| authority.sign(&csr, &[CALLER], 0, NOW, [1; 16]).unwrap());
    assert_eq!(of_both[0], of_both[1], "P-256 signatures follow from key and message");
}

#[test]
fn a_stored_root_whose_halves_do_not_match_is_refused() {
    let (one, other) = (authority(), authority());
    let mixed = StoredRoot { cert_pem: one.root().cert_pem.clone(), key_pem: other.root().key_pem.clone() };
    assert!(CertificateAuthority::load(mixed).unwrap_err().to_string().contains("not the certificate's"));
    let broken = StoredRoot { cert_pem: "x".to_owned(), key_pem: one.root().key_pem.clone() };
    assert!(CertificateAuthority::load(broken).unwrap_err().to_string().contains("certificate"));
}

#[test]
fn a_root_s_debug_form_holds_no_key() {
    let authority = authority();
    let shown = format!("{authority:?} {:?}", authority.root());
    assert!(!shown.contains("PRIVATE") && !shown.contains(&authority.root().key_pem));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Whatever bytes come as a request: no certificate is for another key or caller. What a byte says that is not
    /// signed, such as how the signature was made, may not matter.
    #[test]
    fn mangled_requests_get_no_certificate_for_another_key(at in 0_usize..1000, by in 1_u8.., cut in 0_usize..1000, noise in any::<String>()) {
        let (key, csr) = request(|_| ());
        let whole = der(&csr);
        let mut flipped = whole.clone();
        let at = at % flipped.len();
        flipped[at] ^= by;
        let cut = whole[..cut % whole.len()].to_vec();
        let authority = authority();
        let texts = [flipped, cut].map(|der| ::pem::encode(&::pem::Pem::new("CERTIFICATE REQUEST", der)));
        for text in texts.into_iter().chain([noise.clone(), format!("-----BEGIN CERTIFICATE REQUEST-----\n{noise}")]) {
            let Ok(issued) = authority.sign(&text, &[CALLER], 0, NOW, [1; 16]) else { continue };
            let issued = der(&issued.cert_pem);
            let (_, leaf) = parse_x509_certificate(&issued).unwrap();
            prop_assert_eq!(leaf.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key), "{}", text);
            prop_assert_eq!(sans(&leaf), [CALLER], "{}", text);
        }
    }
}
