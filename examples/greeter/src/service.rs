//! What the greeter answers: the four kinds of RPC, and a second service that tells who came.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hermesh_runtime::server::ConnectionInfo;
use hermesh_runtime::spawn;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::proto::{
    GuestsReply, GuestsRequest, HelloReply, HelloRequest, OftenRequest, greeter_server, guestbook_server,
};

/// Between two replies of `SayHelloOften`.
pub const PAUSE: Duration = Duration::from_secs(1);

/// How many replies wait for a caller who does not read them.
const REPLIES_MAX: usize = 16;

/// Greets, and remembers whom. Clones share what they remember.
#[derive(Clone, Debug)]
pub struct Greeter {
    version: Arc<str>,
    guests: Arc<Mutex<Vec<String>>>,
}

/// Tells whom a [`Greeter`] has greeted.
#[derive(Clone, Debug)]
pub struct Guestbook(Greeter);

impl Greeter {
    /// A release of the greeter that has greeted nobody.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self { version: version.into(), guests: Arc::default() }
    }

    /// What it remembers, as a service.
    #[must_use]
    pub fn guestbook(&self) -> Guestbook {
        Guestbook(self.clone())
    }

    fn greet(&self, name: &str, caller: &str) -> HelloReply {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        HelloReply { message: format!("Hello {name}"), version: self.version.to_string(), caller: caller.to_owned() }
    }
}

#[tonic::async_trait]
impl greeter_server::Greeter for Greeter {
    type SayHelloOftenStream = ReceiverStream<Result<HelloReply, Status>>;
    type ConverseStream = ReceiverStream<Result<HelloReply, Status>>;

    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.greet(&request.get_ref().name, &caller)))
    }

    async fn say_hello_often(
        &self,
        request: Request<OftenRequest>,
    ) -> Result<Response<Self::SayHelloOftenStream>, Status> {
        let (greeter, caller) = (self.clone(), caller(&request));
        let OftenRequest { name, times } = request.into_inner();
        let (replies, stream) = mpsc::channel(REPLIES_MAX);
        spawn(async move {
            for _ in 0..times {
                if replies.send(Ok(greeter.greet(&name, &caller))).await.is_err() {
                    return; // nobody listens any more
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn say_hello_to_all(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let caller = caller(&request);
        let mut requests = request.into_inner();
        let mut names = Vec::new();
        while let Some(request) = requests.message().await? {
            names.push(request.name);
        }
        Ok(Response::new(self.greet(&names.join(", "), &caller)))
    }

    async fn converse(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let (greeter, caller) = (self.clone(), caller(&request));
        let mut requests = request.into_inner();
        let (replies, stream) = mpsc::channel(REPLIES_MAX);
        spawn(async move {
            while let Some(request) = requests.next().await {
                let reply = request.map(|request| greeter.greet(&request.name, &caller));
                if replies.send(reply).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl guestbook_server::Guestbook for Guestbook {
    async fn guests(&self, _request: Request<GuestsRequest>) -> Result<Response<GuestsReply>, Status> {
        let names = self.0.guests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Response::new(GuestsReply { names }))
    }
}

/// The SPIFFE ID that the caller has proved to have.
fn caller<T>(request: &Request<T>) -> String {
    let connection = request.extensions().get::<ConnectionInfo>();
    let certificate = connection.and_then(|connection| connection.peer_certificate.as_ref());
    certificate.and_then(|certificate| certificate.spiffe_id()).unwrap_or_default().to_owned()
}
