//! Who calls istiod: a client certificate of the mesh, or a bearer token that TokenReview knows.
//!
//! Istio's `security/pkg/server/ca/authenticate`: the authenticators are asked in that order, and nobody is asked on a
//! connection without TLS.

use std::fmt;
use std::sync::Arc;

use hermesh_runtime::server::ConnectionInfo;
use hermesh_runtime::tls::PeerCertificate;
use http::HeaderMap;

use crate::ca::{AUDIENCE, SpiffeId, TokenReview};

/// Recognises callers.
#[derive(Clone)]
pub(crate) struct Authenticator {
    tokens: Arc<dyn TokenReview>,
    /// That of the callers whom only their token names.
    trust_domain: Arc<str>,
}

/// What one call brought along to tell who makes it.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    certificate: Vec<String>,
    token: Option<String>,
}

/// Everyone whom a caller has proved to be, at least one: usually one SPIFFE ID, else all names of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller(Vec<String>);

impl Authenticator {
    pub(crate) fn new(tokens: Arc<dyn TokenReview>, trust_domain: &str) -> Self {
        Self { tokens, trust_domain: trust_domain.into() }
    }

    /// Who this is, or why nobody can tell.
    pub(crate) async fn authenticate(&self, credentials: &Credentials) -> Result<Caller, String> {
        if !credentials.certificate.is_empty() {
            return Ok(Caller(credentials.certificate.clone()));
        }
        let Some(token) = &credentials.token else {
            return Err("no client certificate and no HTTP authorization header with a bearer token".to_owned());
        };
        let account = self.tokens.review(token, AUDIENCE).await.map_err(|refused| refused.to_string())?;
        Ok(Caller(vec![account.spiffe_id(&self.trust_domain)]))
    }
}

impl Credentials {
    /// Those of a call with `headers` on `connection`.
    pub(crate) fn new(headers: &HeaderMap, connection: Option<&ConnectionInfo>) -> Self {
        let header = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).map(|token| token.trim().to_owned());
        let peer = connection.and_then(|connection| connection.peer_certificate.as_deref());
        Self { certificate: peer.map(names).unwrap_or_default(), token: token.filter(|token| !token.is_empty()) }
    }
}

impl Caller {
    /// The names a certificate for this caller carries.
    pub(crate) fn identities(&self) -> &[String] {
        &self.0
    }

    /// Whether one of the identities is in `namespace` and, unless that is `None`, has the service account's name. The
    /// trust domain plays no part.
    pub(crate) fn is(&self, namespace: &str, account: Option<&str>) -> bool {
        let ids = self.0.iter().filter_map(|identity| SpiffeId::parse(identity));
        ids.map(|id| id.account).any(|id| id.namespace == namespace && account.is_none_or(|name| name == id.name))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// All subject alternative names that istiod reads as identities.
fn names(certificate: &PeerCertificate) -> Vec<String> {
    let PeerCertificate { uri_sans, dns_sans, ip_sans, .. } = certificate;
    uri_sans.iter().chain(dns_sans).cloned().chain(ip_sans.iter().map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_a_caller_s_identities_may_be_the_one_that_is_asked_for() {
        let ids = ["https://example.com", "spiffe://a/ns/one/sa/x", "spiffe://b/ns/two/sa/y", "host.two.svc"];
        let caller = Caller(ids.map(str::to_owned).to_vec());
        assert!(caller.is("one", None) && caller.is("one", Some("x")) && caller.is("two", Some("y")));
        assert!(!caller.is("one", Some("y")) && !caller.is("two", Some("x")) && !caller.is("three", None));
        assert_eq!(caller.to_string(), ids.join(" "));
    }
}
