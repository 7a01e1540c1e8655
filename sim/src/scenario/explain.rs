//! How a failed expectation is told.

use serde::Serialize;

/// What went wrong with a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where the expectation stands: `file:line:column`.
    pub place: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// What led there, the earliest first.
    pub why: Vec<String>,
    /// The command that repeats it.
    pub again: String,
}
