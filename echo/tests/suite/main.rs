//! The tests of the echo application.

mod program;
mod server;
