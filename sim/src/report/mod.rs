//! What a run comes to, for people ([`human`]), for programs and for CI systems ([`Report`]), and to keep and compare
//! with ([`snapshot`]).

mod human;
mod json;
mod junit;
mod snapshot;
mod time;
mod wrap;

pub use human::{Styles, human, totals};
pub use json::{Entry, FORMAT, Report};
pub use snapshot::snapshot;
pub use time::{compact, precise, seconds};
