//! Who a bearer token belongs to.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use hermesh_runtime::Runtime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The fixed head of every token: `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const ISSUER: &str = "hermesh";
const SUBJECT_PREFIX: &str = "system:serviceaccount:";

/// A Kubernetes service account: what a workload is in the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// The service account `name` of `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Its SPIFFE ID, `spiffe://<trust domain>/ns/<namespace>/sa/<name>`.
    #[must_use]
    pub fn spiffe_id(&self, trust_domain: &str) -> String {
        format!("spiffe://{}/ns/{}/sa/{}", trust_domain.replace('@', "."), self.namespace, self.name)
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A service account in its trust domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpiffeId {
    /// Such as `cluster.local`.
    pub trust_domain: String,
    /// Who it is there.
    pub account: ServiceAccount,
}

impl SpiffeId {
    /// Reads `spiffe://<trust domain>/ns/<namespace>/sa/<name>`; `None` if it is of another shape.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let (trust_domain, path) = id.strip_prefix("spiffe://")?.split_once('/')?;
        match *path.split('/').collect::<Vec<_>>() {
            ["ns", namespace, "sa", name] if !namespace.is_empty() && !name.is_empty() => {
                let account = ServiceAccount::new(namespace, name);
                Some(Self { trust_domain: trust_domain.to_owned(), account })
            }
            _ => None,
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.account.spiffe_id(&self.trust_domain))
    }
}

/// Why a token is not accepted. Never holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token refused: {0}")]
pub struct TokenRefused(pub String);

/// Answers as the Kubernetes TokenReview API does: whose token is it?
pub trait TokenReview: Send + Sync + 'static {
    /// The service account that `token` was made for, if it is meant for `audience` and valid now.
    fn review<'a>(&'a self, token: &'a str, audience: &'a str) -> BoxFuture<'a, Result<ServiceAccount, TokenRefused>>;
}

/// Makes and reviews tokens of its own, for meshes without a Kubernetes API server: JSON Web Tokens under HMAC-SHA256.
pub struct SignedTokens {
    rt: Runtime,
    key: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    iat: u64,
    exp: u64,
}

impl SignedTokens {
    /// Tokens under the key that follows from `secret`; whoever knows it can make tokens. With the authority's private
    /// key as secret, tokens live exactly as long as the authority.
    #[must_use]
    pub fn new(rt: &Runtime, secret: &[u8]) -> Self {
        let mut mac = hmac(secret);
        mac.update(b"hermesh service account tokens");
        Self { rt: rt.clone(), key: mac.finalize().into_bytes().into() }
    }

    /// A token for `account`, valid from now for `life` at `audience`.
    #[must_use]
    pub fn mint(&self, account: &ServiceAccount, audience: &str, life: Duration) -> String {
        let now = self.rt.wall();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: format!("{SUBJECT_PREFIX}{}:{}", account.namespace, account.name),
            aud: vec![audience.to_owned()],
            iat: now.as_secs(),
            exp: (now + life).as_secs(),
        };
        let claims = serde_json::to_vec(&claims).expect("claims are plain strings and numbers");
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    fn check(&self, token: &str, audience: &str) -> Result<ServiceAccount, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("not a JSON Web Token")?;
        let (header, claims) = signed.split_once('.').ok_or("not a JSON Web Token")?;
        if header != HEADER {
            return Err("not signed with HS256");
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "signature is not base64url")?;
        self.mac(signed).verify_slice(&signature).map_err(|_| "signature does not match")?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| "claims are not base64url")?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| "claims do not parse")?;
        if !claims.aud.iter().any(|meant_for| meant_for == audience) {
            return Err("meant for another audience");
        }
        if claims.exp <= self.rt.wall().as_secs() {
            return Err("expired");
        }
        let account = claims.sub.strip_prefix(SUBJECT_PREFIX).and_then(|sub| sub.split_once(':'));
        let (namespace, name) = account.ok_or("subject is no service account")?;
        Ok(ServiceAccount::new(namespace, name))
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        let mut mac = hmac(&self.key);
        mac.update(signed.as_bytes());
        mac
    }
}

impl TokenReview for SignedTokens {
    fn review<'a>(&'a self, token: &'a str, audience: &'a str) -> BoxFuture<'a, Result<ServiceAccount, TokenRefused>> {
        let answer = self.check(token, audience).map_err(|why| TokenRefused(why.to_owned()));
        Box::pin(std::future::ready(answer))
    }
}

impl fmt::Debug for SignedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedTokens").finish_non_exhaustive()
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_head_says_what_it_should() {
        assert_eq!(URL_SAFE_NO_PAD.decode(HEADER).unwrap(), br#"{"alg":"HS256","typ":"JWT"}"#);
    }

    #[test]
    fn a_spiffe_id_reads_back() {
        let account = ServiceAccount::new("echo", "default");
        assert_eq!(account.spiffe_id("cluster.local"), "spiffe://cluster.local/ns/echo/sa/default");
        let id = SpiffeId { trust_domain: "td.corp".to_owned(), account };
        assert_eq!(SpiffeId::parse(&id.to_string()), Some(id));
        for odd in ["", "https://x/ns/a/sa/b", "spiffe://x", "spiffe://x/ns//sa/b", "spiffe://x/ns/a/sa/b/c"] {
            assert_eq!(SpiffeId::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn tokens_that_anyone_may_send_are_refused_and_nothing_worse() {
        use proptest::prelude::*;

        let tokens = SignedTokens::new(&hermesh_runtime::os::runtime(), b"secret");
        let part = "[A-Za-z0-9_=+/-]{0,40}";
        let jwt_like = format!("{HEADER}\\.{part}\\.{part}");
        let texts = prop_oneof![any::<String>(), jwt_like.as_str(), part];
        proptest!(|(token in texts)| {
            prop_assert!(tokens.check(&token, "istio-ca").is_err());
        });
        // Under the right key, too, claims may be anything.
        proptest!(|(claims in prop::collection::vec(any::<u8>(), 0..60))| {
            let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
            let signature = URL_SAFE_NO_PAD.encode(tokens.mac(&signed).finalize().into_bytes());
            let token = [signed, signature].join(".");
            prop_assert!(tokens.check(&token, "istio-ca").is_err());
        });
    }
}
