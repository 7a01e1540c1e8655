//! Tells apart what a step must answer for and what is Hermesh's own fault.

use super::units::Time;
use crate::mesh::{ApplyError, BootError, CallError, DisturbError, Fault, WaitError};

/// A step that did not do what it should.
pub(super) struct Trouble {
    pub(super) expected: String,
    pub(super) seen: String,
    pub(super) why: Vec<String>,
}

/// An error of the mesh: a fault of Hermesh, or something the step must answer for.
pub(super) trait MeshError: std::fmt::Display {
    fn into_fault(self) -> Result<Fault, (String, Vec<String>)>;
}

macro_rules! mesh_errors {
    ($($error:ident)*) => {$(
        impl MeshError for $error {
            fn into_fault(self) -> Result<Fault, (String, Vec<String>)> {
                match self {
                    Self::Fault(fault) => Ok(fault),
                    other => Err((other.to_string(), Vec::new())),
                }
            }
        }
    )*};
}

mesh_errors! { ApplyError BootError CallError DisturbError }

impl MeshError for Fault {
    fn into_fault(self) -> Result<Fault, (String, Vec<String>)> {
        Ok(self)
    }
}

impl MeshError for WaitError {
    fn into_fault(self) -> Result<Fault, (String, Vec<String>)> {
        match self {
            Self::Fault(fault) => Ok(fault),
            Self::Timeout { what, missing, .. } => Err((format!("not {what} in time"), missing)),
            other => Err((other.to_string(), Vec::new())),
        }
    }
}

pub(super) fn settle<T>(done: Result<T, impl MeshError>, expected: &str) -> Result<Result<T, Trouble>, Fault> {
    match done.map_err(MeshError::into_fault) {
        Ok(value) => Ok(Ok(value)),
        Err(Ok(fault)) => Err(fault),
        Err(Err((seen, why))) => Ok(Err(Trouble { expected: expected.to_owned(), seen, why })),
    }
}

pub(super) fn settle_wait<T>(
    waited: Result<T, WaitError>,
    expected: &str,
    within: Time,
) -> Result<Result<(), Trouble>, Fault> {
    Ok(settle(waited, &format!("{expected} within {within}"))?.map(|_| ()))
}
