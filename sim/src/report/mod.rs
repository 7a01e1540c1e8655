//! What a run comes to, for people ([`human`]) and for programs ([`Report`]).

mod human;
mod json;
mod time;
mod wrap;

pub use human::{Styles, human, totals};
pub use json::{Entry, FORMAT, Report};
pub use time::{compact, seconds};
