//! What ForwardEcho's one text tells of a batch that failed: it is all there is to know of calls without xDS.

use super::words::{code_in_go, code_name};

/// How a batch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// All ended, and this many of them failed: the first with this code.
    Errors { failed: u64, first: &'static str },
    /// The batch's time was up when so many had ended, one way or the other.
    TimedOut { ended: u64 },
    /// None was sent.
    NotSent,
}

impl Forwarded {
    /// Reads the text of Istio's echo.
    pub(super) fn read(message: &str) -> Self {
        Self::errors(message).or_else(|| Self::timed_out(message)).unwrap_or(Self::NotSent)
    }

    /// `2/3 requests had errors; first error: rpc error: code = Unavailable desc = ..`
    fn errors(message: &str) -> Option<Self> {
        let (counts, first) = message.split_once(" requests had errors; first error: ")?;
        let (failed, _) = counts.split_once('/')?;
        let code = first.strip_prefix("rpc error: code = ").and_then(|rest| rest.split(' ').next());
        // What is no status of gRPC, ForwardEcho ends with this one.
        let first = code.map_or_else(|| code_name(tonic::Code::Unknown), code_in_go);
        Some(Self::Errors { failed: failed.parse().ok()?, first })
    }

    /// `request set timed out after 3s and only 3/10 requests completed (7ms avg)`
    fn timed_out(message: &str) -> Option<Self> {
        let rest = message.strip_prefix("request set timed out after ")?;
        let (ended, _) = rest.split_once(" and only ")?.1.split_once('/')?;
        Some(Self::TimedOut { ended: ended.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_istios_echo_are_understood() {
        let unavailable = "3/4 requests had errors; first error: rpc error: code = Unavailable desc = no such host";
        assert_eq!(Forwarded::read(unavailable), Forwarded::Errors { failed: 3, first: "UNAVAILABLE" });
        let cancelled = "1/1 requests had errors; first error: rpc error: code = Canceled desc = context canceled";
        assert_eq!(Forwarded::read(cancelled), Forwarded::Errors { failed: 1, first: "CANCELLED" });
        let http = "1/1 requests had errors; first error: no complete answer from 10.0.0.1:80 within 5s";
        assert_eq!(Forwarded::read(http), Forwarded::Errors { failed: 1, first: "UNKNOWN" });
        let late = "request set timed out after 3s and only 3/10 requests completed (7ms avg)";
        assert_eq!(Forwarded::read(late), Forwarded::TimedOut { ended: 3 });
        assert_eq!(Forwarded::read("lookup nowhere: no such host"), Forwarded::NotSent);
    }
}
