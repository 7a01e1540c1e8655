//! Names of listener resources from templates (gRFC A27, A36, A47).

/// Puts `value` in the place of every `%s`. In an `xdstp:` template it is percent-encoded, `/` left alone.
pub(super) fn populate(template: &str, value: &str) -> String {
    if template.starts_with("xdstp:") {
        template.replace("%s", &percent_encode(value, b"/"))
    } else {
        template.replace("%s", value)
    }
}

/// Encodes what may stand neither in a segment of a path nor in an authority (RFC 3986), but for `allowed`.
pub(crate) fn percent_encode(text: &str, allowed: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) || allowed.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    // B-11
    #[test]
    fn every_placeholder_is_replaced_and_only_xdstp_names_are_encoded() {
        let listening = "[::]:8080";
        assert_eq!(populate("xds.istio.io/grpc/lds/inbound/%s", listening), "xds.istio.io/grpc/lds/inbound/[::]:8080");
        assert_eq!(populate("%s-%s", "a"), "a-a");
        assert_eq!(populate("fixed", "a"), "fixed");
        assert_eq!(populate("xdstp://a/%s?x=y", "b c/[::]"), "xdstp://a/b%20c/%5B::%5D?x=y");
    }
}
