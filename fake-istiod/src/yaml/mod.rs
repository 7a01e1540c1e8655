//! YAML that knows where it stands: nodes with lines and columns, typed reading, and one way to report mistakes.
//!
//! Text is read as YAML 1.2 with the parts that make files surprising left out: anchors, aliases, merge keys, tags and
//! duplicate keys are errors. A scalar keeps the text its author wrote; what it means is decided by the type that is
//! wanted, so that `no` is a string where a string is wanted and a mistake where a boolean is.
//!
//! ```
//! use hermesh_istiod::yaml::{self, Location};
//!
//! #[derive(serde::Deserialize)]
//! struct Rule {
//!     host: String,
//! }
//!
//! let documents = yaml::parse("rule.yaml", "host: echo\nhots: echo\n").unwrap();
//! let mistakes = yaml::from_node::<Rule>(&documents[0].root, &Location::in_file("rule.yaml")).err().unwrap();
//! assert_eq!(mistakes[0].to_string(), "rule.yaml:2:1: hots: unknown field; did you mean `host`?");
//! ```

mod access;
mod de;
mod diagnostic;
mod empty;
mod error;
mod node;
mod parse;
mod path;
mod read;
mod scalar;
mod session;
mod spanned;
mod suggest;
mod unread;

pub use diagnostic::{Diagnostic, Location, Severity, Styles};
pub use node::{Document, Entry, Key, Node, Position, Scalar, Value};
pub use parse::{Parsed, parse, parse_each};
pub use path::field_path;
pub use read::{Nulls, Reading, UnknownField, from_node, read};
pub use scalar::{Meaning, meaning};
pub use spanned::Spanned;
pub use suggest::{listed, nearest};
pub use unread::Unread;
