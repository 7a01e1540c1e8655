//! What a call may send as a header: names and values as HTTP has them (RFC 9110, 5.1 and 5.5).

/// A regular expression for names: tokens of RFC 9110, 5.6.2, that are not of gRPC's binary metadata.
pub(super) const NAME_PATTERN: &str = "^(?!.*-[Bb][Ii][Nn]$)[-!#$%&'*+.^_`|~0-9A-Za-z]+$";

/// A regular expression for values: visible ASCII with blanks inside, and not empty.
pub(super) const VALUE_PATTERN: &str = "^[\\t -~]*[!-~][\\t -~]*$";

/// What is wrong with a name, if something is.
pub(super) fn name(name: &str) -> Result<(), String> {
    if name.starts_with(':') {
        return Err(format!("`{name}` is no header: the URL decides what such fields say; `Host` sets the authority"));
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{name:?} is no name of a header: letters, digits and !#$%&'*+-.^_`|~"));
    }
    if name.to_ascii_lowercase().ends_with("-bin") {
        return Err(format!("`{name}` is binary metadata, as `-bin` says, and a scenario's headers are texts"));
    }
    Ok(())
}

/// What is wrong with a value that is not empty, if something is.
pub(super) fn value(value: &str) -> Result<(), String> {
    let visible = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    if value.bytes().all(visible) {
        return Ok(());
    }
    Err(format!("expected the header's value in one line of ASCII, found {value:?}"))
}
