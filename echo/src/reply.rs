//! What the echo server tells of a request: lines of `Key=Value` in the order of Istio's echo (`endpoint/grpc.go`,
//! `endpoint/http.go`, `endpoint/tcp.go`). Request headers are sorted, where the original's order is random.

use std::fmt::Write as _;
use std::net::IpAddr;

/// What the server tells of itself, the same for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) cluster: String,
    pub(crate) istio_version: String,
    pub(crate) hostname: String,
}

/// A request's headers: lower-case names and text values.
pub(crate) type Headers<'a> = Vec<(&'a str, &'a str)>;

/// The message of an `EchoResponse`.
pub(crate) fn grpc<'a>(
    about: &About,
    port: u16,
    peer: Option<IpAddr>,
    authority: Option<&'a str>,
    mut headers: Headers<'a>,
    message: &str,
) -> String {
    if let Some(authority) = authority {
        headers.push((":authority", authority));
    }
    headers.retain(|(name, _)| !name.ends_with("-bin") && !RESERVED.contains(name));
    headers.sort_unstable();

    let mut lines = Lines::default();
    for (name, value) in headers {
        if name == ":authority" {
            lines.add("Host", value);
        }
        lines.add("RequestHeader", format_args!("{name}:{value}"));
    }
    lines.add("StatusCode", 200);
    lines.add("ServiceVersion", &about.version);
    lines.add("ServicePort", port);
    lines.add_unless_empty("Cluster", &about.cluster);
    lines.add_address("IP", peer);
    lines.add_unless_empty("IstioVersion", &about.istio_version);
    lines.add("Proto", "GRPC");
    lines.add("Echo", message);
    lines.add("Hostname", &about.hostname);
    lines.0
}

/// What of an HTTP request the server tells back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) proto: &'a str,
    pub(crate) host: &'a str,
}

/// The body of an HTTP response.
pub(crate) fn http(
    about: &About,
    port: u16,
    peer: Option<IpAddr>,
    request: HttpRequest<'_>,
    mut headers: Headers<'_>,
) -> String {
    headers.retain(|(name, _)| *name != "host");
    headers.sort_unstable();
    let mut lines = Lines::default();
    lines.add("ServiceVersion", &about.version);
    lines.add("ServicePort", port);
    lines.add("Host", request.host);
    lines.add("URL", request.url);
    lines.add_unless_empty("Cluster", &about.cluster);
    lines.add_unless_empty("IstioVersion", &about.istio_version);
    lines.add("Method", request.method);
    lines.add("Proto", request.proto);
    lines.add_address("IP", peer);
    for (name, value) in headers {
        lines.add("RequestHeader", format_args!("{name}:{value}"));
    }
    lines.add("Hostname", &about.hostname);
    lines.0
}

/// What a TCP connection is told before its bytes come back.
pub(crate) fn tcp(about: &About, port: u16, peer: Option<IpAddr>) -> String {
    let mut lines = Lines::default();
    lines.add("StatusCode", 200);
    lines.add_unless_empty("Cluster", &about.cluster);
    lines.add_unless_empty("IstioVersion", &about.istio_version);
    lines.add("ServiceVersion", &about.version);
    lines.add("ServicePort", port);
    lines.add_address("IP", peer);
    lines.add("Proto", "TCP");
    lines.add("Hostname", &about.hostname);
    lines.0
}

/// Headers that belong to the transport: grpc-go keeps them from its handlers.
const RESERVED: [&str; 5] = ["grpc-encoding", "grpc-message", "grpc-status", "grpc-timeout", "te"];

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, key: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "{key}={value}").expect("writing to a String cannot fail");
    }

    fn add_unless_empty(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.add(key, value);
        }
    }

    fn add_address(&mut self, key: &str, address: Option<IpAddr>) {
        self.add(key, address.map(|address| address.to_string()).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About { version: "v1".into(), hostname: "echo-v1-abc".into(), ..About::default() }
    }

    #[test]
    fn a_grpc_reply_lists_headers_then_facts_in_istios_order() {
        let headers = vec![
            ("user-agent", "grpc"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("trace-bin", "AAAA"),
            ("end-user", "jason"),
            ("grpc-timeout", "5S"),
        ];
        let reply = grpc(&about(), 17070, Some([10, 68, 1, 18].into()), Some("echo:7070"), headers, "hi");
        assert_eq!(
            reply,
            "Host=echo:7070\n\
             RequestHeader=:authority:echo:7070\n\
             RequestHeader=content-type:application/grpc\n\
             RequestHeader=end-user:jason\n\
             RequestHeader=user-agent:grpc\n\
             StatusCode=200\n\
             ServiceVersion=v1\n\
             ServicePort=17070\n\
             IP=10.68.1.18\n\
             Proto=GRPC\n\
             Echo=hi\n\
             Hostname=echo-v1-abc\n"
        );
    }

    #[test]
    fn cluster_and_istio_version_stand_there_only_when_set() {
        let about = About { cluster: "c1".into(), istio_version: "1.32".into(), ..about() };
        let reply = grpc(&about, 7070, None, None, Vec::new(), "");
        assert_eq!(
            reply,
            "StatusCode=200\nServiceVersion=v1\nServicePort=7070\nCluster=c1\nIP=\nIstioVersion=1.32\n\
             Proto=GRPC\nEcho=\nHostname=echo-v1-abc\n"
        );
    }

    #[test]
    fn http_and_tcp_replies_have_their_own_order() {
        let request = HttpRequest { method: "GET", url: "/", proto: "HTTP/1.1", host: "echo:80" };
        let peer = Some([10, 0, 0, 1].into());
        assert_eq!(
            http(&about(), 8080, peer, request, vec![("host", "echo:80"), ("b", "2"), ("a", "1")]),
            "ServiceVersion=v1\nServicePort=8080\nHost=echo:80\nURL=/\nMethod=GET\nProto=HTTP/1.1\nIP=10.0.0.1\n\
             RequestHeader=a:1\nRequestHeader=b:2\nHostname=echo-v1-abc\n"
        );
        assert_eq!(
            tcp(&about(), 19090, peer),
            "StatusCode=200\nServiceVersion=v1\nServicePort=19090\nIP=10.0.0.1\nProto=TCP\nHostname=echo-v1-abc\n"
        );
    }
}
