//! The grammars of names that the API server and istiod's webhook check.

/// A DNS label (RFC 1123): up to 63 lower-case letters, digits and inner dashes.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= 63 && name.bytes().all(inner) && begins_and_ends_alphanumeric(name)
}

/// A DNS subdomain (RFC 1123): up to 253 characters of labels with dots between them.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && is_dns_label(label))
}

/// A DNS label that starts with a letter (RFC 1035), as a Service's name must.
pub(super) fn is_service_name(name: &str) -> bool {
    is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// A port's name (IANA service name): up to 15 lower-case letters, digits and single inner dashes, one of them a
/// letter.
pub(super) fn is_port_name(name: &str) -> bool {
    name.len() <= 15 && is_dns_label(name) && !name.contains("--") && name.bytes().any(|b| b.is_ascii_lowercase())
}

/// An environment variable's name: printable, without `=`.
pub(super) fn is_env_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

/// A label's key: a name, maybe with a DNS subdomain and a slash before it.
#[must_use]
pub fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

/// A label's value: up to 63 letters, digits, dashes, underscores and dots, or nothing.
#[must_use]
pub fn is_label_value(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    value.len() <= 63 && value.bytes().all(inner) && ends(value.bytes().next()) && ends(value.bytes().last())
}

/// A key of a ConfigMap: up to 253 letters, digits, dashes, underscores and dots, but not a way out of a folder.
pub(super) fn is_config_map_key(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&key.len()) && key.bytes().all(plain) && key != "." && !key.starts_with("..")
}

/// A header's name, as probes may have them: letters, digits and dashes.
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A header's name, as the probes of WorkloadGroups may have them: as [`is_header_name`], and underscores.
pub(super) fn is_mesh_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The path of a file in a volume: relative, and nowhere up.
pub(super) fn is_path_within(path: &str) -> bool {
    !path.starts_with('/') && !path.starts_with("..") && path.split('/').all(|part| part != "..")
}

/// A label of a name as Istio takes it: as [`is_dns_label`], and in upper case as well.
pub(super) fn is_mesh_label(label: &str) -> bool {
    is_dns_label(&label.to_ascii_lowercase())
}

/// A DNS name as Istio takes it: maybe in upper case, maybe with a dot at its end.
pub(super) fn is_mesh_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 255 && name.split('.').all(is_mesh_label)
}

/// A host as Istio has it: a DNS name, an IP address, or a wildcard that begins the first label (`*`, `*.a`, `*-b.a`).
pub(super) fn is_host(host: &str) -> bool {
    let (first, rest) = host.split_once('.').map_or((host, None), |(first, rest)| (first, Some(rest)));
    let begins = match first.strip_prefix('*') {
        Some(label) => label.is_empty() || is_mesh_label(label.strip_prefix('-').unwrap_or(label)),
        None => is_mesh_label(first),
    };
    host.parse::<std::net::IpAddr>().is_ok() || begins && rest.is_none_or(|rest| rest.is_empty() || is_mesh_name(rest))
}

fn begins_and_ends_alphanumeric(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_grammars() {
        for (grammar, good, bad) in [
            (is_dns_label as fn(&str) -> bool, &["echo", "v1", "1a"][..], &["", "Echo", "-a", "a-", "a.b", "a_b"][..]),
            (is_dns_subdomain, &["echo.v1", "a"], &["", ".", "a..b", "A.b"]),
            (is_service_name, &["echo", "e1"], &["1e", "", "e.f"]),
            (is_port_name, &["grpc", "grpc-web", "p1"], &["", "123", "a--b", "abcdefghijklmnop", "Grpc"]),
            (is_label_key, &["app", "app.kubernetes.io/name", "A_b"], &["", "/a", "a/", "a/b/c", "-a", "a b"]),
            (is_label_value, &["", "v1", "A.b_c-d"], &["-a", "a b", "a/b"]),
            (
                is_host,
                &["*", "*.example.com", "*-a.com", "*a.com", "echo", "Echo.a.", "10.0.0.1", "2001:db8::1"],
                &["", ".", "a.*", "**.a", "*-", "a..b", "a/b", "a:80", "a_b"],
            ),
            (is_config_map_key, &["a", "A_b-c.d", ".a"], &["", ".", "..", "..a", "a/b"]),
            (is_header_name, &["x-user", "X1"], &["", "a b", "a_b", ":path"]),
            (is_path_within, &["a", "a/b", "a/..b"], &["/a", "..", "../a", "a/../b", "..a"]),
            (is_env_name, &["A", "my.var"], &["", "A=B"]),
        ] {
            for name in good {
                assert!(grammar(name), "{name:?} should be accepted");
            }
            for name in bad {
                assert!(!grammar(name), "{name:?} should be refused");
            }
        }
    }
}
