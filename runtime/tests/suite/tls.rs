//! Who may speak with whom, and at which stage both ends learn that they may not.

use crate::common::{Ca, DB, Hours, NOW, WEB, client_tls, meet, only, server_tls};
use hermesh_runtime::crypto::KeyPair;
use hermesh_runtime::http2::{ConnectError, Stage};
use hermesh_runtime::os;
use hermesh_runtime::server::ServeError;
use hermesh_runtime::tls::{ClientAuth, Identity, IdentityError, PeerRule};

/// One run of the matrix: what the client holds and expects, what the server holds.
struct Case {
    client: Option<(&'static str, Hours)>,
    client_ca: &'static str,
    server: (&'static str, Hours),
    rule: PeerRule,
}

impl Default for Case {
    fn default() -> Self {
        Self { client: Some((WEB, NOW)), client_ca: "ours", server: (DB, NOW), rule: only(DB) }
    }
}

impl Case {
    async fn run(self) -> (Result<Option<String>, ConnectError>, Result<(), ServeError>) {
        let rt = os::runtime();
        let (ours, foreign) = (Ca::new(&rt, "ours"), Ca::new(&rt, "foreign"));
        let client_ca = if self.client_ca == "ours" { &ours } else { &foreign };
        let identity = self.client.map(|(spiffe, valid)| client_ca.identity(spiffe, valid));
        let (spiffe, valid) = self.server;
        let server = server_tls(&rt, ours.identity(spiffe, valid), ClientAuth::Required(ours.trust()));
        // A client of the foreign authority trusts ours all the same: only the server objects.
        let client = client_tls(&rt, ours.trust(), identity, self.rule);
        let (client, server) = meet(&rt, Some(client), Some(server)).await;
        (client.map(|peer| peer.and_then(|peer| peer.spiffe_id().map(str::to_owned))), server)
    }

    /// The messages of both ends; both stages are the TLS handshake.
    async fn refused(self) -> (String, String) {
        let (client, server) = self.run().await;
        let client = client.expect_err("the client is refused");
        let ServeError::Rejected { stage, message, .. } = server.expect_err("the server sees none either") else {
            panic!("the connection came to calls");
        };
        assert_eq!((client.stage, stage), (Stage::Tls, Stage::Tls), "{client} / {message}");
        (client.message, message)
    }
}

fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "{text:?} does not contain {part:?}");
}

#[tokio::test]
async fn peers_of_one_trust_domain_meet() {
    let (client, server) = Case::default().run().await;
    assert_eq!(client.unwrap().as_deref(), Some(DB));
    server.unwrap();
}

#[tokio::test]
async fn a_server_with_another_identity_is_refused_by_the_client() {
    let (client, server) = Case { server: (WEB, NOW), ..Case::default() }.refused().await;
    assert_contains(&client, "transport: authentication handshake failed: tls: failed to verify certificate: expected");
    assert_contains(&client, WEB);
    assert_contains(&server, "remote error: tls: ");
}

#[tokio::test]
async fn a_client_of_a_foreign_authority_is_refused_by_the_server() {
    let (client, server) = Case { client_ca: "foreign", ..Case::default() }.refused().await;
    assert_contains(&server, "x509: certificate signed by unknown authority");
    // The alert, or a reset which overtakes it.
    assert_contains(&client, "error reading server preface: ");
}

#[tokio::test]
async fn an_expired_client_certificate_is_refused_by_the_server() {
    let (client, server) = Case { client: Some((WEB, -3..-2)), ..Case::default() }.refused().await;
    assert_contains(&server, "x509: certificate has expired or is not yet valid: current time 20");
    assert_contains(&server, " is after 20");
    assert_contains(&client, "error reading server preface: ");
}

#[tokio::test]
async fn an_expired_server_certificate_is_refused_by_the_client() {
    let (client, server) = Case { server: (DB, -3..-2), ..Case::default() }.refused().await;
    assert_contains(&client, " is after 20");
    assert_contains(&server, "remote error: tls: expired certificate");
}

#[tokio::test]
async fn a_certificate_of_the_future_is_refused() {
    let (client, _) = Case { server: (DB, 2..3), ..Case::default() }.refused().await;
    assert_contains(&client, " is before 20");
    let (_, server) = Case { client: Some((WEB, 2..3)), ..Case::default() }.refused().await;
    assert_contains(&server, " is before 20");
}

#[tokio::test]
async fn a_client_without_certificate_is_refused_where_one_is_required() {
    let (client, server) = Case { client: None, ..Case::default() }.refused().await;
    assert_contains(&server, "tls: client didn't provide a certificate");
    assert_contains(&client, "error reading server preface: ");
}

#[tokio::test]
async fn a_client_without_certificate_is_served_where_none_is_required() {
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    for clients in [ClientAuth::None, ClientAuth::Optional(ca.trust())] {
        let server = server_tls(&rt, ca.identity(DB, NOW), clients);
        let client = client_tls(&rt, ca.trust(), None, PeerRule::any());
        let (client, server) = meet(&rt, Some(client), Some(server)).await;
        assert!(client.is_ok() && server.is_ok(), "{client:?} {server:?}");
    }
}

#[tokio::test]
async fn an_optional_certificate_is_verified_all_the_same() {
    let rt = os::runtime();
    let (ours, foreign) = (Ca::new(&rt, "ours"), Ca::new(&rt, "foreign"));
    let server = server_tls(&rt, ours.identity(DB, NOW), ClientAuth::Optional(ours.trust()));
    let client = client_tls(&rt, ours.trust(), Some(foreign.identity(WEB, NOW)), PeerRule::any());
    let (client, server) = meet(&rt, Some(client), Some(server)).await;
    assert_eq!(client.unwrap_err().stage, Stage::Tls);
    assert!(server.is_err());
}

#[tokio::test]
async fn a_plain_text_client_learns_that_the_server_expects_tls() {
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    let server = server_tls(&rt, ca.identity(DB, NOW), ClientAuth::None);
    let (client, server) = meet(&rt, None, Some(server)).await;
    let client = client.unwrap_err();
    assert_eq!(client.stage, Stage::Tls);
    assert_contains(&client.message, "expects TLS");
    let ServeError::Rejected { stage, message, .. } = server.unwrap_err() else { panic!() };
    assert_eq!(stage, Stage::Tls);
    assert_contains(&message, "first record does not look like a TLS handshake");
}

#[tokio::test]
async fn a_tls_client_learns_that_the_server_speaks_plain_text() {
    let rt = os::runtime();
    let client = client_tls(&rt, Ca::new(&rt, "ours").trust(), None, PeerRule::any());
    let (client, server) = meet(&rt, Some(client), None).await;
    let client = client.unwrap_err();
    assert_eq!(client.stage, Stage::Tls);
    assert_contains(&client.message, "transport: authentication handshake failed: ");
    let ServeError::Rejected { stage, message, .. } = server.unwrap_err() else { panic!() };
    assert_eq!(stage, Stage::Http2);
    assert_contains(&message, "it speaks TLS");
}

#[tokio::test]
async fn rsa_certificates_serve_as_well() {
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    let key_pem = include_str!("data/rsa-key.pem");
    let chain = ca.sign(&rcgen::KeyPair::from_pem(key_pem).unwrap(), DB, NOW);
    let identity = Identity::from_pem(&rt, chain.as_bytes(), key_pem.as_bytes()).unwrap();
    let server = server_tls(&rt, identity, ClientAuth::None);
    let client = client_tls(&rt, ca.trust(), None, only(DB));
    let (client, server) = meet(&rt, Some(client), Some(server)).await;
    assert_eq!(client.unwrap().unwrap().spiffe_id(), Some(DB));
    server.unwrap();
}

#[tokio::test]
async fn a_key_must_belong_to_its_certificate() {
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    let (key, other) = (KeyPair::generate(&rt), KeyPair::generate(&rt));
    let chain = ca.sign(&key, WEB, NOW);
    let error = Identity::from_pem(&rt, chain.as_bytes(), other.to_pem().as_bytes()).unwrap_err();
    assert_eq!(error, IdentityError::Mismatch);
    let error = Identity::from_pem(&rt, b"", key.to_pem().as_bytes()).unwrap_err();
    assert!(matches!(error, IdentityError::Certificate(_)), "{error}");
    let error = Identity::from_pem(&rt, chain.as_bytes(), b"").unwrap_err();
    assert!(matches!(error, IdentityError::Key(_)), "{error}");
}

#[tokio::test]
async fn an_identity_tells_what_its_certificate_says() {
    let rt = os::runtime();
    let identity = Ca::new(&rt, "ours").identity(WEB, NOW);
    assert_eq!(identity.spiffe_id().as_deref(), Some(WEB));
    assert!(identity.not_before() < rt.wall() && rt.wall() < identity.not_after());
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}
