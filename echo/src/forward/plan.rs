//! What a `ForwardEchoRequest` asks for, once its defaults are filled in (`pkg/test/echo/server/forwarder`).

use std::time::Duration;

use http::Uri;

use crate::proto::ForwardEchoRequest;

/// How many requests of a batch are under way at once; the others queue.
pub(super) const IN_FLIGHT_MAX: usize = 20;

/// The batch's time when the request names none.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// A `grpc-timeout` has at most eight digits; a day is enough for any batch.
const TIMEOUT_MICROS_MAX: u64 = 24 * 3600 * 1_000_000;

/// What one batch may ask for: each request is held in memory until all are done.
const COUNT_MAX: u32 = 1_000_000;

/// A batch to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) count: u32,
    pub(super) qps: u32,
    /// Bounds the whole batch.
    pub(super) timeout: Duration,
    pub(super) message: String,
    /// Metadata, without `Host`.
    pub(super) headers: Vec<(String, String)>,
    /// The `Host` header: the authority to send.
    pub(super) host: Option<String>,
    pub(super) new_connection_per_request: bool,
}

/// Whom to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `grpc://host:port`: `host:port`.
    Grpc(String),
    /// `xds:///name:port`: the whole URL.
    Xds(String),
    /// `http://host[:port]/path`.
    Http { url: String, host: String, port: u16, path: String },
}

/// Why a batch is not sent at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The URL begins with no scheme.
    #[error("missing protocol scheme in the request URL: {0}")]
    NoScheme(String),
    /// The scheme is none of those that can be forwarded to.
    #[error("no protocol handler found for scheme {0}")]
    UnknownScheme(String),
    /// The rest of the URL says no host and port.
    #[error("request URL `{url}`: {problem}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A field of the request that Istio's echo honours and this one does not.
    #[error("request field `{0}` is not supported here; leave it empty")]
    Unsupported(&'static str),
    /// More than one batch may ask for.
    #[error("request field `{field}` is too large; at most {max}")]
    TooMuch {
        /// The field.
        field: &'static str,
        /// Its largest value.
        max: u64,
    },
}

impl Plan {
    /// Reads a request. Nothing is sent if any of it is not understood.
    pub(super) fn parse(request: ForwardEchoRequest) -> Result<Self, PlanError> {
        if let Some(field) = unsupported(&request) {
            return Err(PlanError::Unsupported(field));
        }
        if request.count.unsigned_abs() > COUNT_MAX && request.count > 0 {
            return Err(PlanError::TooMuch { field: "count", max: u64::from(COUNT_MAX) });
        }
        let target = Target::parse(&request.url)?;
        let (hosts, headers): (Vec<_>, Vec<_>) = request
            .headers
            .into_iter()
            .map(|header| (header.key, header.value))
            .partition(|(key, _)| key.eq_ignore_ascii_case("host"));
        Ok(Self {
            target,
            count: request.count.max(1).unsigned_abs(),
            qps: request.qps.max(0).unsigned_abs(),
            timeout: match u64::try_from(request.timeout_micros) {
                Ok(micros) if micros > TIMEOUT_MICROS_MAX => {
                    return Err(PlanError::TooMuch { field: "timeout_micros", max: TIMEOUT_MICROS_MAX });
                }
                Ok(micros) if micros > 0 => Duration::from_micros(micros),
                _ => TIMEOUT_DEFAULT,
            },
            message: request.message,
            headers,
            host: hosts.into_iter().next_back().map(|(_, value)| value),
            new_connection_per_request: request.new_connection_per_request,
        })
    }

    /// When request number `index` is dispatched, counted from the batch's beginning: all at once without a rate, else
    /// one a tick, the first after one tick.
    pub(super) fn dispatch_after(&self, index: u32) -> Duration {
        match self.qps {
            0 => Duration::ZERO,
            qps => Duration::from_nanos(1_000_000_000 * (u64::from(index) + 1) / u64::from(qps)),
        }
    }
}

impl Target {
    fn parse(url: &str) -> Result<Self, PlanError> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(PlanError::NoScheme(url.to_owned()));
        };
        let wrong = |problem| PlanError::Url { url: url.to_owned(), problem };
        match scheme.to_ascii_lowercase().as_str() {
            "xds" => Ok(Self::Xds(url.to_owned())),
            "grpc" => match rest.strip_prefix("//") {
                Some(address) if !address.is_empty() => Ok(Self::Grpc(address.trim_end_matches('/').to_owned())),
                _ => Err(wrong("expected grpc://host:port")),
            },
            "http" => {
                let uri: Uri = url.parse().map_err(|_| wrong("expected http://host[:port][/path]"))?;
                let host = uri.host().ok_or_else(|| wrong("it names no host"))?;
                Ok(Self::Http {
                    url: url.to_owned(),
                    host: host.trim_matches(['[', ']']).to_owned(),
                    port: uri.port_u16().unwrap_or(80),
                    path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
                })
            }
            "" => Err(PlanError::NoScheme(url.to_owned())),
            other => Err(PlanError::UnknownScheme(other.to_owned())),
        }
    }
}

/// The first field that is set and would change what is sent, but is not played. Fields that upstream ignores for these
/// schemes (`method` for gRPC, `serverFirst`, ...) are ignored here too.
fn unsupported(request: &ForwardEchoRequest) -> Option<&'static str> {
    let http = request.url.starts_with("http:");
    [
        ("cert", !request.cert.is_empty() || !request.cert_file.is_empty()),
        ("key", !request.key.is_empty() || !request.key_file.is_empty()),
        ("hbone", request.hbone.is_some() || request.double_hbone.is_some()),
        ("http2", http && request.http2),
        ("http3", http && request.http3),
        ("method", http && !matches!(request.method.as_str(), "" | "GET")),
        ("followRedirects", http && request.follow_redirects),
        ("proxyProtocolVersion", request.proxy_protocol_version != 0),
        ("force_ip_family", !request.force_ip_family.is_empty()),
    ]
    .into_iter()
    .find_map(|(field, set)| set.then_some(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Hbone, Header};

    fn request(url: &str) -> ForwardEchoRequest {
        ForwardEchoRequest { url: url.to_owned(), ..ForwardEchoRequest::default() }
    }

    #[test]
    fn a_bare_request_means_one_call_in_five_seconds() {
        let plan = Plan::parse(request("xds:///echo:7070")).unwrap();
        assert_eq!(plan.target, Target::Xds("xds:///echo:7070".into()));
        assert_eq!((plan.count, plan.qps, plan.timeout), (1, 0, Duration::from_secs(5)));
        for count in [-5, 0, 1] {
            assert_eq!(Plan::parse(ForwardEchoRequest { count, ..request("grpc://a:1") }).unwrap().count, 1);
        }
    }

    #[test]
    fn schemes_are_told_apart() {
        let target = |url| Plan::parse(request(url)).map(|plan| plan.target);
        assert_eq!(target("grpc://10.0.0.1:7070"), Ok(Target::Grpc("10.0.0.1:7070".into())));
        assert_eq!(target("XDS:///a:1"), Ok(Target::Xds("XDS:///a:1".into())));
        assert_eq!(
            target("http://echo/x?y=1"),
            Ok(Target::Http { url: "http://echo/x?y=1".into(), host: "echo".into(), port: 80, path: "/x?y=1".into() })
        );
        for (url, message) in [
            ("echo", "missing protocol scheme in the request URL: echo"),
            ("", "missing protocol scheme in the request URL: "),
            ("ftp://a", "no protocol handler found for scheme ftp"),
            ("grpc:", "request URL `grpc:`: expected grpc://host:port"),
            ("http:///x", "request URL `http:///x`: expected http://host[:port][/path]"),
        ] {
            assert_eq!(target(url).unwrap_err().to_string(), message, "{url}");
        }
    }

    #[test]
    fn the_host_header_becomes_the_authority() {
        let header = |key: &str, value: &str| Header { key: key.into(), value: value.into() };
        let headers = vec![header("end-user", "jason"), header("Host", "other:1")];
        let plan = Plan::parse(ForwardEchoRequest { headers, ..request("grpc://a:1") }).unwrap();
        assert_eq!(plan.headers, [("end-user".to_owned(), "jason".to_owned())]);
        assert_eq!(plan.host.as_deref(), Some("other:1"));
    }

    #[test]
    fn a_rate_spaces_requests_evenly_and_waits_one_tick_first() {
        let plan = |qps| Plan::parse(ForwardEchoRequest { qps, count: 5, ..request("grpc://a:1") }).unwrap();
        let at = |qps| (0..3).map(|index| plan(qps).dispatch_after(index).as_micros()).collect::<Vec<_>>();
        assert_eq!(at(0), [0, 0, 0]);
        assert_eq!(at(10), [100_000, 200_000, 300_000]);
        assert_eq!(at(3), [333_333, 666_666, 1_000_000]);
    }

    #[test]
    fn what_is_not_played_is_refused_by_name() {
        let refused = |request| Plan::parse(request).unwrap_err().to_string();
        let hbone = ForwardEchoRequest { hbone: Some(Hbone::default()), ..request("grpc://a:1") };
        assert_eq!(refused(hbone), "request field `hbone` is not supported here; leave it empty");
        let post = ForwardEchoRequest { method: "POST".into(), ..request("http://a:1") };
        assert_eq!(refused(post), "request field `method` is not supported here; leave it empty");
    }
}
