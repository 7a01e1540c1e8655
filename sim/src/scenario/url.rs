//! Whom calls go to: `xds:///host:port`, `grpc://host:port` or `http://host:port/path`.

use std::net::IpAddr;

use super::read::is_decimal;
use super::units::up_to;

const EXPECTED: &str = "expected xds:///host:port, grpc://host:port or http://host:port/path";

/// The port of `http://host`.
const HTTP_PORT: u16 = 80;

/// What ends a host or begins something else of a URL.
const NOT_IN_HOSTS: [char; 6] = [':', '[', ']', '?', '#', '@'];

/// A regular expression for the URLs that [`Url::parse`] takes.
pub(super) fn pattern() -> String {
    let host = r"(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]?#@]+)";
    let port = format!("(?!0){}", up_to(u64::from(u16::MAX)));
    format!(r"^((xds:///|grpc://){host}:{port}|http://{host}(:{port})?(/\S*)?)$")
}

/// As [`pattern`], of targets with xDS only.
pub(super) fn xds_pattern() -> String {
    format!(r"^xds:///(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]?#@]+):(?!0){}$", up_to(u64::from(u16::MAX)))
}

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
        if address.is_empty() || url.contains(char::is_whitespace) {
            return Err(wrong());
        }
        if scheme != Scheme::Http && address.contains('/') {
            return Err(format!("a target of gRPC ends with its port and has no path; {EXPECTED}, found {url:?}"));
        }
        let (host, port) = match address.rsplit_once(':') {
            None if scheme == Scheme::Http => (address, HTTP_PORT),
            None => return Err(format!("{url:?} names no port; expected {url}:7070 or the like")),
            Some((_, port)) if !is_decimal(port) || port.starts_with('0') => {
                return Err(format!("{port:?} is no port; expected a number from 1 to 65535"));
            }
            Some((host, port)) => match port.parse().ok() {
                Some(number) => (host, number),
                None => return Err(format!("{port:?} is no port; expected a number from 1 to 65535")),
            },
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(ip) if ip.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)) => ip,
            Some(_) => return Err(wrong()),
            None if host.contains(NOT_IN_HOSTS) => return Err(wrong()),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { scheme, host, port })
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
            ("grpc://echo:0", "\"0\" is no port; expected a number from 1 to 65535"),
            ("xds:///echo:65536", "\"65536\" is no port; expected a number from 1 to 65535"),
            (
                "xds:///echo:7070/path",
                "a target of gRPC ends with its port and has no path; \
                 expected xds:///host:port, grpc://host:port or http://host:port/path, found \"xds:///echo:7070/path\"",
            ),
            (
                "grpc://:80",
                "expected xds:///host:port, grpc://host:port or http://host:port/path, found \"grpc://:80\"",
            ),
        ] {
            assert_eq!(Url::parse(url).unwrap_err(), message, "{url}");
        }
    }
}
