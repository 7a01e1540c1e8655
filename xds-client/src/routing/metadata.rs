//! What header matchers see of an RPC (gRFC A28).

use std::borrow::Cow;

use http::HeaderMap;

/// The metadata of an RPC as header matchers see it.
///
/// Binary headers (`-bin`) and those that belong to the transport are treated as absent, and `content-type` is always
/// `application/grpc`, as gRFC A28 says. (grpc-go's client shows binary headers and hides `content-type`.)
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    headers: &'a HeaderMap,
}

/// Written or read by the transport, so not part of an application's metadata.
const TRANSPORT: [&str; 4] = ["te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"];

impl<'a> Metadata<'a> {
    /// The metadata in `headers`.
    #[must_use]
    pub fn new(headers: &'a HeaderMap) -> Self {
        Self { headers }
    }

    /// The values of a header joined by `,`, or `None` if it is absent or must not be seen.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        if name == "content-type" {
            return Some(Cow::Borrowed("application/grpc"));
        }
        if name.ends_with("-bin") || TRANSPORT.contains(&name) {
            return None;
        }
        let mut values = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let first = values.next()?;
        Some(values.fold(Cow::Borrowed(first), |joined, value| Cow::Owned(format!("{joined},{value}"))))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn matchers_see_what_the_application_wrote() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-user", "a"), ("x-user", "b"), ("x-raw-bin", "AA"), ("grpc-timeout", "1S"), ("content-type", "x")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, seen) in [
            ("x-user", Some("a,b")),
            ("x-other", None),
            ("x-raw-bin", None),
            ("grpc-timeout", None),
            ("content-type", Some("application/grpc")),
        ] {
            assert_eq!(Metadata::new(&headers).value(name).as_deref(), seen, "{name}");
        }
    }
}
