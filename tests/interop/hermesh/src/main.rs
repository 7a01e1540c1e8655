//! Hermesh's own client and server on real sockets, told what to do as the third-party programs beside it are: one JSON
//! command a line on standard input, one answer a line on standard output. tests/interop/README.md has the protocol.

mod caller;
mod client_status;
mod command;
mod server;
mod tally;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use hermesh_runtime::Runtime;
use hermesh_runtime::os::Logs;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use caller::Caller;
use command::{Calls, Command};
use server::EchoServer;

#[tokio::main]
async fn main() -> ExitCode {
    let rt = hermesh_runtime::os::runtime();
    Logs::default().install();
    let witness = Witness { rt: rt.clone(), callers: Arc::default(), servers: Arc::default() };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request: Request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                tell(&json!({"id": null, "error": format!("not a command: {error}")}));
                return ExitCode::from(2);
            }
        };
        let witness = witness.clone();
        rt.spawn("command", async move {
            let mut answer = witness.carry_out(request.command).await.unwrap_or_else(|error| json!({"error": error}));
            answer["id"] = request.id.into();
            tell(&answer);
        });
    }
    ExitCode::SUCCESS
}

#[derive(serde::Deserialize)]
struct Request {
    id: u64,
    #[serde(flatten)]
    command: Command,
}

/// What the commands so far have left: channels by name, servers by address.
#[derive(Clone)]
struct Witness {
    rt: Runtime,
    callers: Arc<Mutex<BTreeMap<String, Arc<Caller>>>>,
    servers: Arc<Mutex<BTreeMap<String, EchoServer>>>,
}

impl Witness {
    async fn carry_out(&self, command: Command) -> Result<Value, String> {
        match command {
            Command::Call(Calls { qps: Some(0), .. }) => {
                Err("qps 0: no rate; leave it out for none, or give 1 or more".to_owned())
            }
            Command::About {} => {
                Ok(json!({"program": "hermesh", "version": env!("CARGO_PKG_VERSION"), "runtime": "Rust, tokio"}))
            }
            Command::Serve(serve) => {
                let address = serve.address.clone();
                let (server, mode) = EchoServer::start(&self.rt, serve).await?;
                self.servers.lock().unwrap_or_else(PoisonError::into_inner).insert(address, server);
                Ok(mode)
            }
            Command::StopServer { address } => {
                let stopped = self.servers.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
                stopped.map(|_| json!({})).ok_or_else(|| format!("nothing is served on {address}"))
            }
            Command::Call(calls) => {
                let caller = self.caller(&calls.channel, || Caller::new(&self.rt, &calls)).await?;
                Ok(caller.call(&self.rt, &calls).await)
            }
            Command::Load(calls) => {
                let caller = self.caller(&calls.channel, || Caller::new(&self.rt, &calls)).await?;
                caller.load(&self.rt, calls);
                Ok(json!({"started": true}))
            }
            Command::Stop { channel } => self.existing(&channel)?.stop().await,
            Command::Close { channel } => {
                let closed = self.callers.lock().unwrap_or_else(PoisonError::into_inner).remove(&channel);
                closed.map(|_| json!({})).ok_or_else(|| format!("no channel {channel}"))
            }
            Command::Csds {} => client_status::told(&self.rt).await,
        }
    }

    async fn caller<F>(&self, name: &str, new: impl FnOnce() -> F) -> Result<Arc<Caller>, String>
    where
        F: Future<Output = Result<Caller, String>>,
    {
        if let Ok(caller) = self.existing(name) {
            return Ok(caller);
        }
        let made = Arc::new(new().await?);
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }

    fn existing(&self, name: &str) -> Result<Arc<Caller>, String> {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.get(name).cloned().ok_or_else(|| format!("no channel {name}"))
    }
}

#[expect(clippy::print_stdout, reason = "the answer goes there")]
fn tell(answer: &Value) {
    println!("{answer}");
}
