//! Whom calls go to: `xds:///host:port`, `grpc://host:port` or `http://host:port/path`.

use std::net::IpAddr;

const EXPECTED: &str = "expected xds:///host:port, grpc://host:port or http://host:port/path";

/// The port of `http://host`.
const HTTP_PORT: u16 = 80;

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// gRPC by what istiod says.
    Xds,
    /// gRPC to whatever the host resolves to.
    Grpc,
    /// HTTP likewise.
    Http,
}

/// A URL in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) scheme: Scheme,
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl<'a> Url<'a> {
    /// Takes a URL apart, or says what is wrong with it.
    pub(super) fn parse(url: &'a str) -> Result<Self, String> {
        let wrong = || format!("{EXPECTED}, found {url:?}");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (scheme, address) = match scheme {
            "xds" => (Scheme::Xds, rest.strip_prefix('/').ok_or_else(wrong)?),
            "grpc" => (Scheme::Grpc, rest),
            "http" => (Scheme::Http, rest.split('/').next().unwrap_or_default()),
            _ => return Err(wrong()),
        };
        if address.is_empty() || address.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let (host, port) = match address.rsplit_once(':') {
            None if scheme == Scheme::Http => (address, HTTP_PORT),
            None => return Err(format!("{url:?} names no port; expected {url}:7070 or the like")),
            Some((host, port)) => match port.parse().ok().filter(|port| *port > 0) {
                Some(number) => (host, number),
                None => return Err(format!("{port:?} is no port; expected a number from 1 to 65535")),
            },
        };
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { scheme, host: host.trim_matches(['[', ']']), port })
    }

    /// Whether the host is known without asking the cluster.
    pub(super) fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok() || self.host.eq_ignore_ascii_case("localhost")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_scheme_a_host_and_a_port() {
        let url = |scheme, host, port| Ok(Url { scheme, host, port });
        assert_eq!(Url::parse("xds:///echo.ns.svc:7070"), url(Scheme::Xds, "echo.ns.svc", 7070));
        assert_eq!(Url::parse("grpc://10.0.0.1:80"), url(Scheme::Grpc, "10.0.0.1", 80));
        assert_eq!(Url::parse("grpc://[::1]:80"), url(Scheme::Grpc, "::1", 80));
        assert_eq!(Url::parse("http://a/x:y"), url(Scheme::Http, "a", 80));
        for (url, message) in [
            ("echo:7070", "expected xds:///host:port, grpc://host:port or http://host:port/path, found \"echo:7070\""),
            (
                "xds://echo:7070",
                "expected xds:///host:port, grpc://host:port or http://host:port/path, found \"xds://echo:7070\"",
            ),
            ("xds:///echo", "\"xds:///echo\" names no port; expected xds:///echo:7070 or the like"),
            ("grpc://echo:seven", "\"seven\" is no port; expected a number from 1 to 65535"),
            (
                "grpc://:80",
                "expected xds:///host:port, grpc://host:port or http://host:port/path, found \"grpc://:80\"",
            ),
        ] {
            assert_eq!(Url::parse(url).unwrap_err(), message, "{url}");
        }
    }
}
