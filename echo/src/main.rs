//! The echo application on the operating system's sockets.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match hermesh_echo::run(hermesh_runtime::os::runtime()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program that cannot start says why")]
            {
                eprintln!("hermesh-echo: {error}");
            }
            // Istio's echo exits with -1.
            ExitCode::from(255)
        }
    }
}
