//! Streams under a retry policy (gRFC A44, A6), with faults (A33) and a longest duration (A31): they are tried again
//! until the first response headers, with all that was said until then, and no further.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use greeter::proto::greeter_client::GreeterClient;
use greeter::proto::greeter_server::{Greeter, GreeterServer};
use greeter::proto::{HelloReply, HelloRequest, OftenRequest};
use hermesh::{Mesh, Process, image};
use hermesh_runtime::spawn;
use hermesh_tests::shop;
use hermesh_xds::{ChannelCredentials, ServerCredentials, XdsChannel, XdsChannelError, XdsServer};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

const FLAKY: &str = "xds:///flaky:7070";

/// A server that fails its first attempts, each after it has heard so many names.
#[derive(Clone, Default)]
struct Flaky(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    /// How many attempts are still to fail.
    failures: usize,
    /// After how many names.
    after: usize,
    /// Only behind response headers, with one reply.
    answers_first: bool,
    /// What a client is told to wait for until the next attempt.
    pushback_ms: Option<&'static str>,
    /// What was heard, attempt by attempt: `grpc-previous-rpc-attempts`, and the names.
    attempts: Vec<(String, Vec<String>)>,
    /// What the talker was answered.
    reply: Option<Result<String, Code>>,
}

impl Flaky {
    /// Notes another attempt; whether it is to fail.
    fn attempt(&self, metadata: &MetadataMap) -> bool {
        let mut state = self.0.lock().unwrap();
        let previous = metadata.get("grpc-previous-rpc-attempts");
        let previous = previous.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        state.attempts.push((previous, Vec::new()));
        let fails = state.failures > 0;
        state.failures = state.failures.saturating_sub(1);
        fails
    }

    fn hears(&self, name: String) {
        self.0.lock().unwrap().attempts.last_mut().expect("it was noted").1.push(name);
    }

    /// Hears names until it has enough of them to fail.
    async fn hears_some(&self, names: &mut Streaming<HelloRequest>) -> Result<(), Status> {
        let after = self.0.lock().unwrap().after;
        for _ in 0..after {
            let Some(request) = names.message().await? else { break };
            self.hears(request.name);
        }
        Ok(())
    }

    fn failure(&self) -> Status {
        let mut status = Status::unavailable("not now");
        if let Some(ms) = self.0.lock().unwrap().pushback_ms {
            status.metadata_mut().insert("grpc-retry-pushback-ms", ms.parse().unwrap());
        }
        status
    }

    fn answers_first(&self) -> bool {
        self.0.lock().unwrap().answers_first
    }
}

fn reply(name: &str) -> HelloReply {
    HelloReply { message: format!("Hello {name}"), ..HelloReply::default() }
}

type Replies = BoxStream<'static, Result<HelloReply, Status>>;

#[tonic::async_trait]
impl Greeter for Flaky {
    type SayHelloOftenStream = Replies;
    type ConverseStream = Replies;

    async fn say_hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Err(Status::unimplemented("only streams are of interest here"))
    }

    /// A reply a second.
    async fn say_hello_often(&self, request: Request<OftenRequest>) -> Result<Response<Replies>, Status> {
        let fails = self.attempt(request.metadata());
        if fails && !self.answers_first() {
            return Err(self.failure());
        }
        if fails {
            let replies = [Ok(reply("once")), Err(self.failure())];
            return Ok(Response::new(stream::iter(replies).boxed()));
        }
        let OftenRequest { name, times } = request.into_inner();
        let replies = stream::iter(0..times).then(move |index| {
            let reply = reply(&name);
            async move {
                tokio::time::sleep(Duration::from_secs(u64::from(index > 0))).await;
                Ok(reply)
            }
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn say_hello_to_all(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let fails = self.attempt(request.metadata());
        let mut names = request.into_inner();
        if fails {
            self.hears_some(&mut names).await?;
            return Err(self.failure());
        }
        let mut heard = Vec::new();
        while let Some(request) = names.message().await? {
            self.hears(request.name.clone());
            heard.push(request.name);
        }
        Ok(Response::new(reply(&heard.join(", "))))
    }

    async fn converse(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        let fails = self.attempt(request.metadata());
        let mut names = request.into_inner();
        if fails && !self.answers_first() {
            self.hears_some(&mut names).await?;
            return Err(self.failure());
        }
        let flaky = self.clone();
        let replies = names.map(move |request| {
            let name = request?.name;
            flaky.hears(name.clone());
            if fails { Err(flaky.failure()) } else { Ok(reply(&name)) }
        });
        Ok(Response::new(replies.boxed()))
    }
}

/// A mesh in which `web` calls the server by these routes (the fields of one in a VirtualService).
fn deployed(state: State, route: &str) -> (Mesh, Flaky) {
    let flaky = Flaky(Arc::new(Mutex::new(state)));
    let (served, heard) = (flaky.clone(), flaky.clone());
    let mut mesh = hermesh::mesh()
        .seed(1)
        .namespace("shop")
        .image("registry.shop/flaky", move |process| {
            let server = XdsServer::new(&process.runtime())
                .credentials(ServerCredentials::xds_with_fallback())
                .add_service(GreeterServer::new(served.clone()));
            async move { server.serve(([0, 0, 0, 0], 9000).into()).await }
        })
        .image("registry.shop/talker", move |process| talk(process, heard.clone()))
        .image("*", image::stand_in)
        .start();
    let routes = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: flaky}}\n\
         spec: {{hosts: [flaky], http: [{{route: [{{destination: {{host: flaky}}}}], {route}}}]}}\n"
    );
    let flaky_pod = shop::service("flaky") + &shop::deployment("flaky", "registry.shop/flaky", &[]);
    mesh.apply([shop::NAMESPACE.to_owned(), flaky_pod, shop::deployment("web", "registry.shop/web", &[]), routes]);
    mesh.wait_ready().wait_converged();
    (mesh, flaky)
}

/// Three attempts of what a server cannot take now.
const RETRIES: &str = "retries: {attempts: 2, retryOn: unavailable}";

fn names(count: usize) -> Vec<HelloRequest> {
    (0..count).map(|index| HelloRequest { name: index.to_string() }).collect()
}

/// Replies until the end, and the code of that; with the time until there were response headers, and until the end.
async fn all(
    begun: Instant,
    response: Result<Response<Streaming<HelloReply>>, Status>,
) -> (Vec<String>, Code, [Duration; 2]) {
    let headers = begun.elapsed();
    let mut replies = match response {
        Ok(response) => response.into_inner(),
        Err(status) => return (Vec::new(), status.code(), [headers; 2]),
    };
    let mut heard = Vec::new();
    let code = loop {
        match replies.message().await {
            Ok(Some(reply)) => heard.push(reply.message),
            Ok(None) => break Code::Ok,
            Err(status) => break status.code(),
        }
    };
    (heard, code, [headers, begun.elapsed()])
}

fn often(mesh: &mut Mesh, times: u32) -> (Vec<String>, Code, [Duration; 2]) {
    mesh.call_with("web", FLAKY, move |channel| async move {
        let request = OftenRequest { name: "ann".to_owned(), times };
        let begun = Instant::now();
        all(begun, GreeterClient::new(channel).say_hello_often(request).await).await
    })
}

fn to_all(mesh: &mut Mesh, names: impl Stream<Item = HelloRequest> + Send + 'static) -> Result<String, Status> {
    mesh.call_with("web", FLAKY, move |channel| async move {
        GreeterClient::new(channel).say_hello_to_all(names).await.map(|reply| reply.into_inner().message)
    })
}

/// `(grpc-previous-rpc-attempts, how many names it heard)` of each attempt.
fn attempts(flaky: &Flaky) -> Vec<(String, usize)> {
    let state = flaky.0.lock().unwrap();
    state.attempts.iter().map(|(previous, names)| (previous.clone(), names.len())).collect()
}

fn told(attempts: &[(&str, usize)]) -> Vec<(String, usize)> {
    attempts.iter().map(|(previous, names)| ((*previous).to_owned(), *names)).collect()
}

#[test]
fn a_stream_of_replies_is_tried_again_until_its_first_headers() {
    let (mut mesh, flaky) = deployed(State { failures: 2, ..State::default() }, RETRIES);
    let (heard, code, _) = often(&mut mesh, 3);
    assert_eq!((heard, code), (vec!["Hello ann".to_owned(); 3], Code::Ok));
    assert_eq!(attempts(&flaky), told(&[("", 0), ("1", 0), ("2", 0)]));
}

#[test]
fn after_as_many_attempts_as_the_policy_has_a_stream_fails() {
    let (mut mesh, flaky) = deployed(State { failures: 3, ..State::default() }, RETRIES);
    assert_eq!(often(&mut mesh, 3).1, Code::Unavailable);
    assert_eq!(attempts(&flaky).len(), 3);
    // The next one has attempts of its own.
    assert_eq!(often(&mut mesh, 3).1, Code::Ok);
}

#[test]
fn a_stream_whose_headers_came_is_not_tried_again() {
    let (mut mesh, flaky) = deployed(State { failures: 1, answers_first: true, ..State::default() }, RETRIES);
    let (heard, code, _) = often(&mut mesh, 3);
    assert_eq!((heard, code), (vec!["Hello once".to_owned()], Code::Unavailable));
    assert_eq!(attempts(&flaky).len(), 1);
}

#[test]
fn what_a_client_has_said_is_said_again() {
    let (mut mesh, flaky) = deployed(State { failures: 2, after: 2, ..State::default() }, RETRIES);
    let (say, said) = unbounded();
    names(2).into_iter().for_each(|name| say.unbounded_send(name).unwrap());
    // The last name comes when the first attempts have failed already.
    let later = stream::once(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        HelloRequest { name: "late".to_owned() }
    });
    drop(say);
    assert_eq!(to_all(&mut mesh, said.chain(later)).unwrap(), "Hello 0, 1, late");
    assert_eq!(attempts(&flaky), told(&[("", 2), ("1", 2), ("2", 3)]));
}

#[test]
fn a_conversation_goes_on_where_an_attempt_ended() {
    let (mut mesh, flaky) = deployed(State { failures: 1, after: 2, ..State::default() }, RETRIES);
    let heard = mesh.call_with("web", FLAKY, |channel| async move {
        let (say, said) = unbounded();
        let open = spawn(async move { GreeterClient::new(channel).converse(said).await });
        let ask = |say: &UnboundedSender<HelloRequest>, name: &str| {
            say.unbounded_send(HelloRequest { name: name.to_owned() }).expect("the stream is open");
        };
        ask(&say, "ann");
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&say, "bob");
        let mut replies = open.await.expect("it does not panic")?.into_inner();
        let mut heard = Vec::new();
        for next in ["eve", "kim"] {
            heard.extend(replies.message().await?.map(|reply| reply.message));
            ask(&say, next);
        }
        drop(say);
        while let Some(reply) = replies.message().await? {
            heard.push(reply.message);
        }
        Ok::<_, Status>(heard)
    });
    assert_eq!(heard.unwrap(), ["Hello ann", "Hello bob", "Hello eve", "Hello kim"]);
    assert_eq!(attempts(&flaky), told(&[("", 2), ("1", 4)]));
}

#[test]
fn a_conversation_that_was_answered_is_not_begun_again() {
    let (mut mesh, flaky) = deployed(State { failures: 1, answers_first: true, ..State::default() }, RETRIES);
    let (heard, code, _) = mesh.call_with("web", FLAKY, |channel| async move {
        let begun = Instant::now();
        all(begun, GreeterClient::new(channel).converse(stream::iter(names(2))).await).await
    });
    assert_eq!((heard, code), (Vec::new(), Code::Unavailable));
    assert_eq!(attempts(&flaky).len(), 1);
}

/// Says ten names, one a second, and notes the reply.
async fn talk(process: Process, flaky: Flaky) -> Result<(), XdsChannelError> {
    let credentials = ChannelCredentials::xds_with_insecure_fallback();
    let channel = XdsChannel::connect(&process.runtime(), FLAKY, credentials).await?;
    let slow = stream::iter(names(10)).then(|name| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        name
    });
    let reply = GreeterClient::new(channel).say_hello_to_all(slow).await;
    flaky.0.lock().unwrap().reply = Some(reply.map(|reply| reply.into_inner().message).map_err(|status| status.code()));
    std::future::pending().await
}

#[test]
fn a_connection_lost_in_the_middle_of_a_request_is_made_up_for() {
    let (mut mesh, flaky) = deployed(State::default(), RETRIES);
    mesh.apply(shop::deployment("talker", "registry.shop/talker", &[]));
    while attempts(&flaky).last().is_none_or(|(_, heard)| *heard < 5) {
        mesh.run_for(Duration::from_millis(100));
    }
    assert_eq!(mesh.try_reset("talker", "flaky").unwrap(), 1);
    mesh.run_for(Duration::from_secs(10));
    let reply = flaky.0.lock().unwrap().reply.take();
    assert_eq!(reply, Some(Ok("Hello 0, 1, 2, 3, 4, 5, 6, 7, 8, 9".to_owned())));
    assert_eq!(attempts(&flaky), told(&[("", 5), ("1", 10)]));
}

#[test]
fn a_client_that_has_said_too_much_is_not_heard_twice() {
    let kib = |count: usize| stream::iter(vec![HelloRequest { name: "x".repeat(1000) }; count]);
    for (count, again) in [(200, true), (400, false)] {
        let (mut mesh, flaky) = deployed(State { failures: 1, after: count, ..State::default() }, RETRIES);
        let code = to_all(&mut mesh, kib(count)).map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, if again { Code::Ok } else { Code::Unavailable }, "{count} KB");
        assert_eq!(attempts(&flaky).len(), if again { 2 } else { 1 }, "{count} KB");
    }
}

#[test]
fn a_fault_ends_or_delays_a_stream_before_the_server_hears_of_it() {
    let abort = format!("{RETRIES}, fault: {{abort: {{grpcStatus: UNAVAILABLE, percentage: {{value: 100}}}}}}");
    let (mut mesh, flaky) = deployed(State::default(), &abort);
    assert_eq!(often(&mut mesh, 3).1, Code::Unavailable);
    assert_eq!(to_all(&mut mesh, stream::iter(names(3))).unwrap_err().code(), Code::Unavailable);
    assert_eq!(attempts(&flaky), [], "an injected abort is no attempt, and is not tried again");

    drop(mesh);
    let delay = format!("{RETRIES}, fault: {{delay: {{fixedDelay: 2s, percentage: {{value: 100}}}}}}");
    let (mut mesh, flaky) = deployed(State { failures: 1, ..State::default() }, &delay);
    let (heard, code, [headers, end]) = often(&mut mesh, 3);
    assert_eq!((heard.len(), code), (3, Code::Ok));
    // Once for the whole stream, not for each attempt or reply.
    assert!(
        (2.0..2.5).contains(&headers.as_secs_f64()) && (4.0..4.5).contains(&end.as_secs_f64()),
        "{headers:?} {end:?}"
    );
    assert_eq!(attempts(&flaky).len(), 2);
}

#[test]
fn a_stream_ends_when_it_has_lasted_as_long_as_its_route_lets_it_with_all_attempts() {
    let limited = format!("{RETRIES}, timeout: 3500ms");
    let (mut mesh, _) = deployed(State::default(), &limited);
    let (heard, code, [_, end]) = often(&mut mesh, 10);
    assert_eq!((heard.len(), code), (4, Code::DeadlineExceeded));
    assert!((3.4..3.6).contains(&end.as_secs_f64()), "{end:?}");

    drop(mesh);
    let (mut mesh, _) = deployed(State::default(), &limited);
    let endless = stream::iter(names(2)).chain(stream::pending());
    assert_eq!(to_all(&mut mesh, endless).unwrap_err().code(), Code::DeadlineExceeded);

    drop(mesh);
    // The server wants to be asked every two seconds: there is no time for a third attempt.
    let state = State { failures: 9, pushback_ms: Some("2000"), ..State::default() };
    let (mut mesh, flaky) = deployed(state, &limited);
    let (_, code, [_, end]) = often(&mut mesh, 10);
    assert_eq!((code, attempts(&flaky).len()), (Code::DeadlineExceeded, 2));
    assert!((3.4..3.6).contains(&end.as_secs_f64()), "{end:?}");
}
