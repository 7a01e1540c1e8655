//! Names of resources.

use std::fmt;

/// What a server's listener is asked for by, before its address (`xds.istio.io/grpc/lds/inbound/10.0.0.1:17070`).
pub const INBOUND_LISTENER_PREFIX: &str = "xds.istio.io/grpc/lds/inbound/";

/// The name of a cluster, and of its routes and endpoints: `outbound|7070|v1|echo.echo-grpc.svc.cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterName {
    /// The Service's port.
    pub port: u16,
    /// The subset; empty for the whole Service.
    pub subset: String,
    /// The full host name.
    pub host: String,
}

impl ClusterName {
    /// The cluster of a whole Service.
    #[must_use]
    pub fn of_service(host: impl Into<String>, port: u16) -> Self {
        Self { port, subset: String::new(), host: host.into() }
    }

    /// Reads a name; none if it has another form or port 0.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('|').collect();
        let ["outbound", port, subset, host] = parts[..] else { return None };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { port, subset: subset.to_owned(), host: host.to_owned() })
    }

    /// The name of the whole Service's cluster.
    #[must_use]
    pub fn without_subset(&self) -> Self {
        Self::of_service(&self.host, self.port)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}

/// A host and a port with brackets around IPv6 addresses (Go's `net.JoinHostPort`).
pub(super) fn join_host_port(host: &str, port: impl fmt::Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The reverse, as strict as Go's `net.SplitHostPort`.
pub(super) fn split_host_port(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':')?;
        return (!host.contains('[') && !port.contains([':', '[', ']'])).then_some((host, port));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_are_read_back_as_written() {
        for name in ["outbound|7070||echo.ns.svc.cluster.local", "outbound|80|v1|a.b"] {
            assert_eq!(ClusterName::parse(name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "outbound|0||a",
            "outbound|x||a",
            "inbound|80||a",
            "outbound|80|a",
            "outbound|80|||a",
            "outbound|70000||a",
        ] {
            assert_eq!(ClusterName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn hosts_and_ports_are_split_as_in_go() {
        assert_eq!(split_host_port("echo:80"), Some(("echo", "80")));
        assert_eq!(split_host_port("[::]:8076"), Some(("::", "8076")));
        for text in ["echo", "a:b:c", "[::1]", "::1:80", "[::1]80"] {
            assert_eq!(split_host_port(text), None, "{text}");
        }
        assert_eq!(join_host_port("::1", 80), "[::1]:80");
    }
}
