//! Channel and server credentials (gRFC A29): whether transport security follows the control plane.

use std::fmt;
use std::sync::Arc;

use hermesh_runtime::tls::{ClientTls, PeerCertificate, PeerRule, ServerTls};

use crate::resource::{StringMatcher, StringMatcherKind, UpstreamTlsContext};

/// How a channel secures its connections.
#[derive(Clone, Debug)]
pub enum ChannelCredentials {
    /// Plaintext, whatever the control plane says: gRPC's insecure credentials. A cluster that asks for mTLS is then
    /// spoken to in plaintext.
    Insecure,
    /// As each cluster's `transport_socket` says: gRPC's `XdsCredentials`.
    Xds {
        /// For clusters that have none.
        fallback: Fallback,
    },
}

impl ChannelCredentials {
    /// `XdsCredentials` that speak plaintext to clusters without a `transport_socket`, the usual choice.
    #[must_use]
    pub fn xds_with_insecure_fallback() -> Self {
        Self::Xds { fallback: Fallback::Insecure }
    }

    /// How connections to a cluster with this `transport_socket` are secured.
    pub(crate) fn security(&self, transport_socket: Option<&UpstreamTlsContext>) -> Security {
        match self {
            Self::Insecure => Security::default(),
            Self::Xds { .. } => Security(transport_socket.map(|tls| Arc::new(tls.clone()))),
        }
    }

    /// TLS for connections without a security configuration.
    pub(crate) fn fallback_tls(&self) -> Option<ClientTls> {
        match self {
            Self::Insecure | Self::Xds { fallback: Fallback::Insecure } => None,
            Self::Xds { fallback: Fallback::Tls(tls) } => Some(tls.clone()),
        }
    }
}

/// What a channel with xDS credentials uses for clusters without a `transport_socket`.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// Plaintext.
    Insecure,
    /// TLS as the application set it up.
    Tls(ClientTls),
}

/// How a server secures its connections.
#[derive(Clone, Debug)]
pub enum ServerCredentials {
    /// Plaintext, whatever the control plane says.
    Insecure,
    /// As the filter chain says.
    Xds {
        /// For filter chains that say nothing.
        fallback: ServerFallback,
    },
}

impl ServerCredentials {
    /// xDS credentials that speak plaintext on filter chains without a `transport_socket`, the usual choice.
    #[must_use]
    pub fn xds_with_fallback() -> Self {
        Self::Xds { fallback: ServerFallback::Insecure }
    }

    pub(crate) fn fallback_tls(&self) -> Option<ServerTls> {
        match self {
            Self::Insecure | Self::Xds { fallback: ServerFallback::Insecure } => None,
            Self::Xds { fallback: ServerFallback::Tls(tls) } => Some(tls.clone()),
        }
    }
}

/// What a server with xDS credentials uses for filter chains without a `transport_socket`.
#[derive(Clone, Debug)]
pub enum ServerFallback {
    /// Plaintext.
    Insecure,
    /// TLS as the application set it up.
    Tls(ServerTls),
}

/// The security configuration of a subchannel: part of its identity.
#[derive(Clone, Default, PartialEq)]
pub struct Security(pub(crate) Option<Arc<UpstreamTlsContext>>);

impl Security {
    /// As this `transport_socket` says.
    #[must_use]
    pub fn tls(context: UpstreamTlsContext) -> Self {
        Self(Some(Arc::new(context)))
    }

    /// Whether the control plane asked for TLS. If not, the channel's fallback is used.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Fallback"),
            Some(context) => context.fmt(f),
        }
    }
}

/// Accepts certificates with a subject alternative name that one of `matchers` matches; with no matcher, all.
pub(crate) fn san_rule(matchers: &[StringMatcher]) -> PeerRule {
    if matchers.is_empty() {
        return PeerRule::any();
    }
    let matchers = matchers.to_vec();
    PeerRule::new(move |certificate| {
        if matchers.iter().any(|matcher| matches_certificate(matcher, certificate)) {
            return Ok(());
        }
        let names: Vec<String> = subject_alt_names(certificate).collect();
        Err(format!("xds: received SANs {{{}}} do not match any of the accepted SANs", names.join(", ")))
    })
}

fn subject_alt_names(certificate: &PeerCertificate) -> impl Iterator<Item = String> {
    let texts = [&certificate.dns_sans, &certificate.email_sans, &certificate.uri_sans].into_iter().flatten().cloned();
    texts.chain(certificate.ip_sans.iter().map(ToString::to_string))
}

fn matches_certificate(matcher: &StringMatcher, certificate: &PeerCertificate) -> bool {
    if let StringMatcherKind::Exact(name) = &matcher.kind
        && !matcher.ignore_case
        && certificate.dns_sans.iter().any(|san| dns_name_matches(san, name))
    {
        return true;
    }
    subject_alt_names(certificate).any(|san| matcher.matches(&san))
}

/// RFC 6125: no case, one trailing dot at most, and `*` for exactly the left-most label.
fn dns_name_matches(san: &str, name: &str) -> bool {
    let (san, name) = (san.to_ascii_lowercase(), name.to_ascii_lowercase());
    let (san, name) = (san.strip_suffix('.').unwrap_or(&san), name.strip_suffix('.').unwrap_or(&name));
    if san.is_empty() || name.is_empty() {
        return false;
    }
    match san.strip_prefix("*.") {
        Some(parent) if !parent.is_empty() && !parent.contains('*') => {
            name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
        }
        _ => !san.contains('*') && san == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(kind: StringMatcherKind, ignore_case: bool) -> StringMatcher {
        StringMatcher { kind, ignore_case }
    }

    #[test]
    fn an_exact_matcher_reads_dns_names_as_rfc_6125_does() {
        for (san, name, expected) in [
            ("echo.svc", "echo.svc", true),
            ("Echo.svc.", "echo.SVC", true),
            ("*.svc", "echo.svc", true),
            ("*.svc", "svc", false),
            ("*.svc", "a.echo.svc", false),
            ("*.svc", ".svc", false),
            ("e*.svc", "echo.svc", false),
            ("*", "svc", false),
            ("*.", "svc.", false),
            ("", "", false),
            ("*.*.svc", "a.b.svc", false),
        ] {
            assert_eq!(dns_name_matches(san, name), expected, "{san} {name}");
        }
    }

    #[test]
    fn uri_names_are_compared_as_text() {
        let mut certificate = PeerCertificate::default();
        certificate.uri_sans = vec!["spiffe://td/ns/a/sa/b".to_owned()];
        let exact = |text: &str| matcher(StringMatcherKind::Exact(text.to_owned()), false);
        assert!(matches_certificate(&exact("spiffe://td/ns/a/sa/b"), &certificate));
        assert!(!matches_certificate(&exact("spiffe://td/ns/a/sa/c"), &certificate));
        assert!(!matches_certificate(&exact("SPIFFE://td/ns/a/sa/b"), &certificate));
        assert!(matches_certificate(
            &matcher(StringMatcherKind::Prefix("spiffe://td/".to_owned()), false),
            &certificate
        ));
    }

    #[test]
    fn addresses_and_mail_addresses_are_names_too() {
        let mut certificate = PeerCertificate::default();
        certificate.ip_sans = vec!["10.0.0.1".parse().unwrap()];
        certificate.email_sans = vec!["a@b".to_owned()];
        for name in ["10.0.0.1", "a@b"] {
            assert!(
                matches_certificate(&matcher(StringMatcherKind::Exact(name.to_owned()), false), &certificate),
                "{name}"
            );
        }
        assert!(!matches_certificate(&matcher(StringMatcherKind::Exact("b".to_owned()), false), &certificate));
    }
}
