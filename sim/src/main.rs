//! The command line: `hermesh run` plays scenarios, `hermesh bench` measures.
//!
//! Exit codes: 0 when everything held, 1 when an expectation failed, 2 when the input is not understood, 3 when Hermesh
//! itself is at fault.

mod cli;

use std::process::ExitCode;

/// The mesh makes millions of small, short-lived allocations; this allocator serves them faster than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
