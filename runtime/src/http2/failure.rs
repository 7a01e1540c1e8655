//! Transport errors as gRPC statuses, in grpc-go's words. A broken connection is UNAVAILABLE; what a reset stream
//! means stands in the gRPC protocol, `PROTOCOL-HTTP2.md`, "Errors".

use std::error::Error;
use std::io;

use h2::Reason;
use tonic::{Code, Status};

/// The status of a call that ended with `error`. `ended` tells how the connection ended, if it did.
pub(super) fn status(error: &(dyn Error + 'static), ended: impl FnOnce() -> Option<String>) -> Status {
    if let Some(status) = find::<Status>(error) {
        return status.clone();
    }
    if let Some(h2) = find::<h2::Error>(error)
        && h2.is_reset()
        && let Some(reason) = h2.reason()
    {
        let name = format!("{reason:?}");
        return Status::new(code(reason), format!("stream terminated by RST_STREAM with error code: {name}"));
    }
    lost(&ended().unwrap_or_else(|| text(error)))
}

/// The status of calls whose connection broke.
pub(super) fn lost(text: &str) -> Status {
    Status::unavailable(format!("error reading from server: {text}"))
}

/// Whether the server has said that it did not look at the request.
pub(super) fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    find::<h2::Error>(error).is_some_and(|h2| match h2.reason() {
        Some(Reason::REFUSED_STREAM) => h2.is_reset() && h2.is_remote(),
        Some(Reason::NO_ERROR) => h2.is_go_away() && h2.is_remote(),
        _ => false,
    })
}

/// The innermost part of an error that says something.
pub(crate) fn text(error: &(dyn Error + 'static)) -> String {
    if let Some(io) = find::<io::Error>(error) {
        return crate::tls::describe(io);
    }
    if let Some(h2) = find::<h2::Error>(error) {
        return match h2.get_io() {
            Some(io) => crate::tls::describe(io),
            None => h2.to_string(),
        };
    }
    error.to_string()
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(error: &(dyn Error + 'static)) -> Code {
        status(error, || None).code()
    }

    #[test]
    fn reset_streams_mean_what_the_protocol_says() {
        assert_eq!(code_of(&h2::Error::from(Reason::INTERNAL_ERROR)), Code::Unavailable, "no stream was reset");
        assert_eq!(code(Reason::CANCEL), Code::Cancelled);
        assert_eq!(code(Reason::REFUSED_STREAM), Code::Unavailable);
        assert_eq!(code(Reason::ENHANCE_YOUR_CALM), Code::ResourceExhausted);
        assert_eq!(code(Reason::PROTOCOL_ERROR), Code::Internal);
    }

    #[test]
    fn how_the_connection_ended_is_told_rather_than_its_echo() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(status(&error, || None).message(), "error reading from server: broken pipe");
        assert_eq!(status(&error, || Some("EOF".to_owned())).message(), "error reading from server: EOF");
    }
}
