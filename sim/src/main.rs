//! The command line: `hermesh run` plays scenarios, `hermesh bench` measures.
//!
//! Exit codes: 0 when everything held, 1 when an expectation failed, 2 when the input is not understood, 3 when Hermesh
//! itself is at fault.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
