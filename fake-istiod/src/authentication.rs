//! Who calls istiod: a client certificate of the mesh, or a bearer token that TokenReview knows.
//!
//! Istio's `security/pkg/server/ca/authenticate`: the authenticators are asked in that order, and nobody is asked on a
//! connection without TLS.

use std::sync::Arc;

use hermesh_runtime::server::ConnectionInfo;
use http::HeaderMap;

use crate::ca::{AUDIENCE, ServiceAccount, TokenReview};

/// Recognises callers.
#[derive(Clone)]
pub(crate) struct Authenticator {
    tokens: Arc<dyn TokenReview>,
}

/// What one call brought along to tell who makes it.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    certificate: Option<String>,
    token: Option<String>,
}

impl Authenticator {
    pub(crate) fn new(tokens: Arc<dyn TokenReview>) -> Self {
        Self { tokens }
    }

    /// Who this is, or why nobody can tell.
    pub(crate) async fn authenticate(&self, credentials: &Credentials) -> Result<ServiceAccount, String> {
        if let Some(account) = credentials.certificate.as_deref().and_then(ServiceAccount::from_spiffe_id) {
            return Ok(account);
        }
        let Some(token) = &credentials.token else {
            return Err("no client certificate and no HTTP authorization header with a bearer token".to_owned());
        };
        self.tokens.review(token, AUDIENCE).await.map_err(|refused| refused.to_string())
    }
}

impl Credentials {
    /// Those of a call with `headers` on `connection`.
    pub(crate) fn new(headers: &HeaderMap, connection: Option<&ConnectionInfo>) -> Self {
        let header = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).map(|token| token.trim().to_owned());
        let peer = connection.and_then(|connection| connection.peer_certificate.as_deref());
        Self {
            certificate: peer.and_then(|certificate| certificate.uri_sans.first().cloned()),
            token: token.filter(|token| !token.is_empty()),
        }
    }
}
