//! What a run comes to, for people ([`human`]), for programs and for CI systems ([`Report`]).

mod human;
mod json;
mod junit;
mod time;
mod wrap;

pub use human::{Styles, human, totals};
pub use json::{Entry, FORMAT, Report};
pub use time::{compact, precise, seconds};
