//! A process that obeys orders, one a line on standard input, on the machine's own sockets.

#![expect(clippy::disallowed_methods, reason = "reads orders beside the runtime")]
#![expect(clippy::print_stdout, reason = "answers are its output")]

use hermesh_runtime::os;
use hermesh_socket_conformance::{Patience, Process};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc::unbounded_channel;

/// More than enough: one would do for what lies ready in the kernel.
const POLLS: Patience = Patience::Polls(16);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    // A full backlog takes more descriptors than most shells allow by themselves.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let (sender, mut orders) = unbounded_channel::<String>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let sent = line.is_ok_and(|line| sender.send(line).is_ok());
            if !sent {
                break;
            }
        }
        // Whoever gave the orders is gone.
        std::process::exit(0);
    });
    let mut process = Process::new(os::runtime(), POLLS);
    loop {
        let order = tokio::select! {
            biased;
            order = orders.recv() => order,
            () = process.run() => None,
        };
        let Some(order) = order else { return Ok(()) };
        let answer = match order.split_once(' ') {
            Some((how, order)) => process.obey(order, how == "wait").await,
            None => format!("no order: {order}"),
        };
        println!("{answer}");
    }
}
