//! What came of calls, counted.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tonic::{Code, Status};

/// How many different messages are told.
const MESSAGES_MAX: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    codes: BTreeMap<&'static str, usize>,
    versions: BTreeMap<String, usize>,
    identities: BTreeMap<String, usize>,
    errors: Vec<String>,
}

impl Tally {
    /// Counts a call by what the server told, or by its status.
    pub(crate) fn add(&mut self, outcome: Result<String, Status>) {
        match outcome {
            Ok(message) => {
                *self.codes.entry(name(Code::Ok)).or_default() += 1;
                for (key, value) in message.lines().filter_map(|line| line.split_once('=')) {
                    let counts = match key {
                        "ServiceVersion" => &mut self.versions,
                        "PeerIdentity" => &mut self.identities,
                        _ => continue,
                    };
                    *counts.entry(value.to_owned()).or_default() += 1;
                }
            }
            Err(status) => {
                *self.codes.entry(name(status.code())).or_default() += 1;
                let message = status.message().to_owned();
                if self.errors.len() < MESSAGES_MAX && !self.errors.contains(&message) {
                    self.errors.push(message);
                }
            }
        }
    }

    pub(crate) fn answer(&self) -> Value {
        json!({
            "codes": self.codes,
            "versions": self.versions,
            "identities": self.identities,
            "errors": self.errors,
        })
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
