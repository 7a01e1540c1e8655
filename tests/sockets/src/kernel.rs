//! [`Kernel`]: every process is a process, on the kernel's loopback.

#![expect(clippy::disallowed_methods, reason = "runs on the machine")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit};
use tempfile::TempDir;

use crate::case::Need;
use crate::network::{Network, World};

/// The machine's own network.
pub struct Kernel {
    /// The program `socket-process`.
    pub program: PathBuf,
}

/// How many files a process has open at the most besides the sockets of a full backlog.
const OTHER_FILES: u64 = 64;

impl Network for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn has(&self, need: Need) -> bool {
        match need {
            Need::OneHost | Need::Unix => true,
            Need::Ipv6 => TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok(),
            Need::FullBacklog => {
                let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel tells its limits");
                most > self.backlog() + OTHER_FILES
            }
        }
    }

    fn backlog(&self) -> u64 {
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux tells its limits");
        limit.trim().parse().expect("it is a number")
    }

    fn begin(&self) -> Box<dyn World> {
        let folder = tempfile::Builder::new().prefix("sockets").tempdir_in("/tmp").expect("there is room for a folder");
        Box::new(Machine { program: self.program.clone(), folder, children: BTreeMap::new() })
    }
}

struct Machine {
    program: PathBuf,
    folder: TempDir,
    children: BTreeMap<String, Running>,
}

/// A child that ends with its standard input at the latest.
struct Running {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Machine {
    fn process(&mut self, name: &str) -> &mut Running {
        let program = &self.program;
        self.children.entry(name.to_owned()).or_insert_with(|| {
            let mut child = Command::new(program)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
            let orders = child.stdin.take().expect("it was asked for");
            let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
            Running { child, orders, answers }
        })
    }
}

impl World for Machine {
    fn host(&mut self, process: &str) -> IpAddr {
        self.process(process);
        Ipv4Addr::LOCALHOST.into()
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn tell(&mut self, process: &str, order: &str, wait: bool) -> String {
        let running = self.process(process);
        let line = format!("{}{order}\n", if wait { "wait " } else { "look " });
        let mut answer = String::new();
        let sent = running.orders.write_all(line.as_bytes());
        let read = sent.and_then(|()| running.answers.read_line(&mut answer));
        match read {
            Ok(1..) => answer.trim_end().to_owned(),
            Ok(0) => "the process has ended".to_owned(),
            Err(error) => format!("the process is gone: {error}"),
        }
    }

    fn kill(&mut self, process: &str) {
        // Dropping it kills it.
        self.children.remove(process);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails if the child has ended, which is as well; a child that was waited for has closed its sockets.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
