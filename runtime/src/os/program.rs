//! What our programs on the operating system share: help, logs on standard error, one line for why they end.

use std::fmt::Display;
use std::process::ExitCode;

use super::logs::Logs;
use crate::Runtime;

/// A program that is told by arguments and environment what to do.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What it is called on the command line and in its messages.
    pub name: &'static str,
    /// What `--help` prints.
    pub help: &'static str,
    /// What it exits with after an error.
    pub failure: u8,
}

impl Program {
    /// Runs the program with the arguments and the environment of this process: `--help` is answered at once,
    /// `HERMESH_LOG` and `HERMESH_LOG_FORMAT` choose its [`Logs`], an error becomes a line on standard error and the
    /// exit code.
    pub async fn run<E: Display>(self, run: impl AsyncFnOnce(Runtime) -> Result<(), E>) -> ExitCode {
        let rt = super::runtime();
        if rt.args().iter().any(|arg| arg == "--help" || arg == "-h") {
            return print(self.help);
        }
        let logs = match Logs::from_environment(&rt) {
            Ok(logs) => logs,
            Err(error) => return self.fail(&error),
        };
        logs.install();
        match run(rt).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => self.fail(&error),
        }
    }

    fn fail(self, error: &impl Display) -> ExitCode {
        #[expect(clippy::print_stderr, reason = "a program that ends says why")]
        {
            eprintln!("{}: {error}", self.name);
        }
        ExitCode::from(self.failure)
    }
}

#[expect(clippy::print_stdout, reason = "it was asked for")]
fn print(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}
