//! The shell around [`AdsClient`]: one management server, its connection and its stream.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use futures::Stream;
use hermesh_runtime::channel::{Channel, ChannelOptions, Target};
use hermesh_runtime::http2::Keepalive;
use hermesh_runtime::tls::{ClientTls, Identity, PeerRule, TrustBundle};
use hermesh_runtime::{EventId, Runtime, TaskGuard};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};

use super::events::{ClientClosed, StreamClosed, StreamOpened, XdsNack, XdsRequest, XdsResponse, short};
use super::opening::{Opening, Step};
use super::{Notice, Processing, sleep_until};
use crate::ads::client::{Action, AdsClient, Config, ResourceStatus, WatchId};
use crate::ads::{AdsCodec, METHOD_PATH};
use crate::bootstrap::{Bootstrap, ChannelCreds, ServerConfig, TlsConfig};
use crate::resource::{ResourceType, Validation};

/// What gRPC's xDS clients use on the connection to a management server.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5 * 60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A running client of one management server.
#[derive(Debug)]
pub(super) struct ServerTask {
    commands: mpsc::UnboundedSender<Command>,
    _task: TaskGuard,
}

#[derive(Debug)]
pub(super) enum Command {
    Watch {
        id: u64,
        resource_type: ResourceType,
        name: Arc<str>,
        watcher: mpsc::UnboundedSender<Notice>,
    },
    Unwatch {
        id: u64,
    },
    /// Say what is known of all that is watched.
    Status {
        tell: oneshot::Sender<Vec<ResourceStatus>>,
    },
}

impl ServerTask {
    /// Starts the client called `key`, the process's `ordinal`-th.
    pub(super) fn start(
        rt: &Runtime,
        (key, ordinal): (&str, u64),
        bootstrap: &Bootstrap,
        server: ServerConfig,
    ) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let config = Config {
            node: bootstrap.node.clone(),
            validation: Validation::from(bootstrap),
            ignore_resource_deletion: server.ignores_resource_deletion(),
        };
        let draws = rt.draws(&super::draws_path(rt, &format!("xds-client/{key}/{}", server.server_uri)));
        let shell = Shell {
            rt: rt.clone(),
            client: key.into(),
            ordinal,
            uri: server.server_uri.as_str().into(),
            server,
            ads: AdsClient::new(config, draws),
            watchers: BTreeMap::new(),
            ids: BTreeMap::new(),
            channel: None,
            stream: None,
            processed: None,
        };
        Self { commands, _task: rt.spawn("xds-client", shell.run(inbox)).abort_on_drop() }
    }

    pub(super) fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands.clone()
    }
}

struct Shell {
    rt: Runtime,
    client: Arc<str>,
    ordinal: u64,
    uri: Arc<str>,
    server: ServerConfig,
    ads: AdsClient,
    watchers: BTreeMap<WatchId, Watcher>,
    ids: BTreeMap<u64, WatchId>,
    /// The connection; it outlives a stream, but not the last watch.
    channel: Option<Channel>,
    stream: Option<AdsStream>,
    /// Ends when all watchers are done with the last response.
    processed: Option<mpsc::Receiver<Infallible>>,
}

struct Watcher {
    resource_type: ResourceType,
    name: Arc<str>,
    tell: mpsc::UnboundedSender<Notice>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        let (client, server) = (self.client.clone(), self.uri.clone());
        self.rt.emit(ClientClosed { client, client_ordinal: self.ordinal, server });
    }
}

/// One ADS stream from the wish to open it to its end.
struct AdsStream {
    requests: mpsc::UnboundedSender<Box<DiscoveryRequest>>,
    responses: Responses,
}

/// What is known of the responses.
enum Responses {
    Opening(Opening<Answer, Ended>),
    Come(Streaming<DiscoveryResponse>),
}

/// The connection that was used, and the responses on it.
type Answer = (Channel, Streaming<DiscoveryResponse>);

/// What the stream did.
enum Progress {
    Opened,
    Response(Box<DiscoveryResponse>),
    Closed(Ended),
}

/// How a stream ended, and the event that says why.
struct Ended {
    status: Status,
    cause: Option<EventId>,
}

impl Shell {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        loop {
            let timeout = self.ads.next_timeout();
            let mut is_response = false;
            let cause = tokio::select! {
                biased;
                command = inbox.recv() => match command {
                    Some(command) => {
                        self.command(command);
                        None
                    }
                    None => return,
                },
                () = all_dropped(&mut self.processed), if self.processed.is_some() => {
                    self.processed = None;
                    None
                }
                progress = progress(&mut self.stream, &mut self.channel), if self.processed.is_none() => {
                    is_response = matches!(progress, Progress::Response(_));
                    self.progress(progress)
                }
                () = sleep_until(timeout) => {
                    self.ads.on_timeout(Instant::now());
                    None
                }
            };
            if is_response {
                let (processing, processed) = mpsc::channel(1);
                self.act(cause, Some(processing));
                self.processed = Some(processed);
            } else {
                self.act(cause, None);
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Watch { id, resource_type, name, watcher } => {
                let watch = self.ads.watch(Instant::now(), resource_type, &name);
                self.ids.insert(id, watch);
                self.watchers.insert(watch, Watcher { resource_type, name, tell: watcher });
            }
            Command::Unwatch { id } => {
                if let Some(watch) = self.ids.remove(&id) {
                    self.watchers.remove(&watch);
                    self.ads.unwatch(Instant::now(), watch);
                }
            }
            // Who asked may have gone since.
            Command::Status { tell } => drop(tell.send(self.ads.status())),
        }
    }

    fn progress(&mut self, progress: Progress) -> Option<EventId> {
        match progress {
            Progress::Opened => {
                let (client, server) = (self.client.clone(), self.uri.clone());
                let event = self.rt.emit(StreamOpened { client, client_ordinal: self.ordinal, server });
                self.ads.on_stream_open(Instant::now());
                event
            }
            Progress::Response(response) => {
                let pushed = self.rt.received(&response.nonce);
                let event =
                    self.rt.emit_because(pushed, XdsResponse::new(self.client.clone(), self.ordinal, &response));
                self.ads.on_response(Instant::now(), self.rt.wall(), &response);
                event
            }
            Progress::Closed(Ended { status, cause }) => {
                self.stream = None;
                let closed = StreamClosed {
                    client: self.client.clone(),
                    client_ordinal: self.ordinal,
                    server: self.uri.clone(),
                    code: format!("{:?}", status.code()),
                    message: status.message().to_owned(),
                };
                let event = self.rt.emit_because(cause, closed);
                self.ads.on_stream_closed(Instant::now(), &status);
                event
            }
        }
    }

    /// Does what the state machine asks for, all of it as a consequence of `cause`. Watchers get `processing` with what
    /// they are told.
    fn act(&mut self, cause: Option<EventId>, processing: Option<Processing>) {
        while let Some(action) = self.ads.poll_action() {
            match action {
                Action::OpenStream => self.stream = Some(self.open()),
                Action::CloseStream => {
                    self.stream = None;
                    self.channel = None;
                    self.processed = None;
                }
                Action::Send(request) => self.send(request, cause),
                Action::Notify { watch, event } => {
                    if let Some(watcher) = self.watchers.get(&watch) {
                        let (resource_type, name) = (watcher.resource_type, watcher.name.clone());
                        let processing = processing.clone();
                        // A watcher that is gone is about to end its watch.
                        let _ = watcher.tell.send(Notice { resource_type, name, event, cause, processing });
                    }
                }
            }
        }
    }

    fn send(&mut self, request: DiscoveryRequest, cause: Option<EventId>) {
        let mut cause = cause;
        if let Some(error) = &request.error_detail {
            let (client, nonce, error) = (self.client.clone(), request.response_nonce.clone(), error.message.clone());
            let nack = XdsNack { client, client_ordinal: self.ordinal, r#type: short(&request.type_url), nonce, error };
            cause = self.rt.emit_because(cause, nack).or(cause);
        }
        self.rt.emit_because(cause, XdsRequest::new(self.client.clone(), self.ordinal, &request));
        if let Some(stream) = &self.stream {
            // A stream that no longer takes requests is about to say that it ended.
            let _ = stream.requests.send(Box::new(request));
        }
    }

    fn open(&self) -> AdsStream {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let (tell_opened, opened) = oneshot::channel();
        let outgoing = Requests { outgoing, opened: Some(tell_opened) };
        let (rt, server, channel) = (self.rt.clone(), self.server.clone(), self.channel.clone());
        let call = async move {
            let channel = match channel {
                Some(channel) => channel,
                None => connect(&rt, &server)
                    .await
                    .map_err(|error| Ended { status: Status::unavailable(error), cause: None })?,
            };
            let ended = |status| Ended { status, cause: channel.trouble() };
            let mut client = Grpc::new(channel.clone());
            client.ready().await.map_err(ended)?;
            let path = PathAndQuery::from_static(METHOD_PATH);
            let response = client.streaming(Request::new(outgoing), path, AdsCodec).await.map_err(ended)?;
            Ok((channel.clone(), response.into_inner()))
        };
        AdsStream { requests, responses: Responses::Opening(Opening::new(opened, Box::pin(call))) }
    }
}

/// Ends when all watchers are done with a response: nothing is ever sent, only dropped.
async fn all_dropped(processed: &mut Option<mpsc::Receiver<Infallible>>) {
    if let Some(processed) = processed {
        processed.recv().await;
    }
}

/// Waits for the stream to do something; without a stream, for ever. May be dropped and called again.
async fn progress(stream: &mut Option<AdsStream>, channel: &mut Option<Channel>) -> Progress {
    let Some(stream) = stream else { return std::future::pending().await };
    loop {
        match &mut stream.responses {
            Responses::Opening(opening) => match opening.next().await {
                Step::Opened => return Progress::Opened,
                Step::Answered((used, responses)) => {
                    *channel = Some(used);
                    stream.responses = Responses::Come(responses);
                }
                Step::Failed(ended) => {
                    // The next attempt dials afresh: the ADS client's backoff is enough.
                    *channel = None;
                    return Progress::Closed(ended);
                }
            },
            Responses::Come(responses) => {
                let ended =
                    |status| Progress::Closed(Ended { status, cause: channel.as_ref().and_then(Channel::trouble) });
                return match responses.message().await {
                    Ok(Some(response)) => Progress::Response(Box::new(response)),
                    Ok(None) => ended(Status::ok("")),
                    Err(status) => ended(status),
                };
            }
        }
    }
}

async fn connect(rt: &Runtime, server: &ServerConfig) -> Result<Channel, String> {
    let host = match &server.target {
        Target::Unix(_) => server.target.authority(),
        Target::Ip(address) => address.ip().to_string(),
        Target::Host(host, _) => host.clone(),
    };
    let tls = match &server.channel_creds {
        ChannelCreds::Insecure => None,
        ChannelCreds::Tls(config) => Some(tls(rt, &host, config).await?),
    };
    let keepalive = Keepalive { interval: KEEPALIVE_INTERVAL, timeout: KEEPALIVE_TIMEOUT, while_idle: false };
    let options = ChannelOptions { tls, keepalive: Some(keepalive), ..ChannelOptions::default() };
    Channel::new(rt, &server.server_uri, options).map_err(|error| error.to_string())
}

async fn tls(rt: &Runtime, host: &str, config: &TlsConfig) -> Result<ClientTls, String> {
    let read = async |path: &std::path::PathBuf| {
        rt.read(path).await.map_err(|error| format!("channel credentials: {}: {error}", path.display()))
    };
    let Some(roots) = &config.ca_certificate_file else {
        return Err(
            "channel credentials of type tls without ca_certificate_file: system roots are not supported".into()
        );
    };
    let roots = TrustBundle::from_pem(&read(roots).await?).map_err(|error| error.to_string())?;
    let identity = match (&config.certificate_file, &config.private_key_file) {
        (Some(chain), Some(key)) => {
            let identity = Identity::from_pem(rt, &read(chain).await?, &read(key).await?);
            Some(identity.map_err(|error| error.to_string())?)
        }
        _ => None,
    };
    ClientTls::new(rt, host, roots, identity, PeerRule::dns(host)).map_err(|error| error.to_string())
}

/// The requests of a stream, telling when the transport first wants one.
struct Requests {
    outgoing: mpsc::UnboundedReceiver<Box<DiscoveryRequest>>,
    opened: Option<oneshot::Sender<()>>,
}

impl Stream for Requests {
    type Item = DiscoveryRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DiscoveryRequest>> {
        if let Some(opened) = self.opened.take() {
            // Nobody waits for a stream that was given up.
            let _ = opened.send(());
        }
        self.outgoing.poll_recv(context).map(|request| request.map(|request| *request))
    }
}
