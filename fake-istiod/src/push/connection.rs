//! One ADS stream: who it is, what it asks for, what it is sent.
//!
//! A thin shell around [`hermesh_xds::ads::server`], which holds the protocol's rules; Istio's `pilot/pkg/xds/ads.go`.

mod leaving;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use futures::future::BoxFuture;
use hermesh_runtime::codec::small_buffers;
use hermesh_runtime::server::ConnectionInfo;
use hermesh_runtime::{Address, EventId, Runtime, TaskGuard};
use hermesh_xds::ResourceType;
use hermesh_xds::ads::server::{AdsServer, PUSH_ORDER, Rules, ServerAction, Subscription};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codec::Codec;
use tonic::codegen::Service;
use tonic::server::{NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::registration::Connected;
use super::{Entry, Hub, LastResponse, PushContext, Registrations, ServiceName, Update, Verdict, Way};
use crate::authentication::{Authenticator, Caller, Credentials};
use crate::disruption::{self, Door, Watch};
use crate::node::Node;
use crate::objects::{Health, Kind, ObjectKey};
use crate::translate;
use crate::watch::service_name;
pub use leaving::{Dropped, Held, Released};
use leaving::{Leaving, Made};

/// istiod's limit on messages it receives.
const MAX_REQUEST_BYTES: usize = 4 << 20;

/// How many responses wait for a client that reads slowly, before its pushes begin to be merged.
const RESPONSES_AHEAD: usize = 8;
/// The type of requests that tell of the health of a workload, and ask for nothing.
const HEALTH: &str = "type.googleapis.com/istio.v1.HealthInformation";

hermesh_runtime::event! {
    /// A node opened an ADS stream.
    ConnectionOpened = "istiod.stream.opened" {
        stream: u64,
        node: String,
        /// Who it proved to be; nobody proves anything without TLS.
        identities: Vec<String>,
    }

    /// An ADS stream ended.
    ConnectionClosed = "istiod.stream.closed" {
        stream: u64,
        node: String,
        /// The gRPC status that ended it.
        code: String,
        message: String,
    }

    /// A call that is to be an ADS stream was refused. Its cause is its connection, or who wants it so.
    ConnectionRefused = "istiod.stream.refused" {
        peer: Option<Address>,
        /// The gRPC status.
        code: String,
        error: String,
    }

    /// A response went out. Its cause is the push it belongs to; of one that a client asked for, the last change of the
    /// objects it was made from.
    Pushed = "xds.push" {
        stream: u64,
        node: String,
        #[serde(rename = "type")]
        resource_type: &'static str,
        version: String,
        nonce: String,
        /// The names of its resources.
        resources: Vec<String>,
        /// The Services and Istio's objects that they were made from.
        from: Vec<String>,
    }

    /// A client rejected a response. Its cause is that response.
    Nacked = "xds.nacked" {
        stream: u64,
        node: String,
        #[serde(rename = "type")]
        resource_type: &'static str,
        version: String,
        nonce: String,
        error: String,
    }
}

/// The aggregated discovery service of one port.
#[derive(Clone)]
pub(crate) struct DiscoveryService {
    rt: Runtime,
    hub: Hub,
    rules: Rules,
    /// None where nobody is asked who they are.
    authenticator: Option<Authenticator>,
    door: Door,
    /// None where nobody registers.
    registrations: Option<Registrations>,
}

/// The path of the method that is served.
const STREAM: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

impl DiscoveryService {
    pub(crate) fn new(
        rt: &Runtime,
        hub: &Hub,
        rules: Rules,
        authenticator: Option<Authenticator>,
        door: Door,
        registrations: Option<Registrations>,
    ) -> Self {
        Self { rt: rt.clone(), hub: hub.clone(), rules, authenticator, door, registrations }
    }
}

impl NamedService for DiscoveryService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for DiscoveryService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let refusal = match request.uri().path() {
                STREAM => None,
                // No gRPC implementation uses it, and istiod's own bookkeeping for it is broken for gRPC nodes.
                DELTA => Some("incremental xDS is not served; use StreamAggregatedResources"),
                _ => Some("unknown method"),
            };
            if let Some(text) = refusal {
                return Ok(Status::unimplemented(text).into_http());
            }
            let mut grpc = tonic::server::Grpc::new(ServerCodec).max_decoding_message_size(MAX_REQUEST_BYTES);
            Ok(grpc.streaming(service, request).await)
        })
    }
}

impl StreamingService<DiscoveryRequest> for DiscoveryService {
    type Response = DiscoveryResponse;
    type ResponseStream = Responses;
    type Future = BoxFuture<'static, Result<Response<Responses>, Status>>;

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { service.stream_aggregated_resources(request).await })
    }
}

/// A codec for the server's end of a stream.
struct ServerCodec;

impl Codec for ServerCodec {
    type Encode = DiscoveryResponse;
    type Decode = DiscoveryRequest;
    type Encoder = ProstEncoder<DiscoveryResponse>;
    type Decoder = ProstDecoder<DiscoveryRequest>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(small_buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(small_buffers())
    }
}

impl DiscoveryService {
    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>();
        let cause = connection.and_then(|connection| connection.event);
        let door = self.door.watch(connection);
        if let Err(refusal) = self.door.enter(connection).await {
            let error = refusal.status.message().to_owned();
            return Err(self.refuse(connection, refusal.cause.or(cause), refusal.status, error));
        }
        if self.hub.context().is_none() {
            return Err(Status::unavailable("server is not ready to serve discovery information"));
        }
        let caller = match &self.authenticator {
            None => None,
            Some(authenticator) => {
                let credentials = Credentials::new(request.metadata().as_ref(), connection);
                let authenticated = authenticator.authenticate(&credentials).await;
                Some(authenticated.map_err(|error| {
                    self.refuse(connection, cause, Status::unauthenticated("authentication failure"), error)
                })?)
            }
        };
        let call = Call { caller, cause, name: disruption::call_name(connection, STREAM), door };
        let (responses_tx, responses) = mpsc::channel(RESPONSES_AHEAD);
        let (service, requests) = (self.clone(), request.into_inner());
        let task = self.rt.spawn("ads", async move {
            let ended = service.serve(requests, &responses_tx, call).await;
            if let Err(status) = ended {
                // Nobody hears it if the client is gone.
                let _ = responses_tx.send(Err(status)).await;
            }
        });
        Ok(Response::new(Responses { responses, _task: task.abort_on_drop() }))
    }
}

type ResponseSender = mpsc::Sender<Result<Box<DiscoveryResponse>, Status>>;

/// What is known of a call that has come in.
struct Call {
    /// Who makes it; nobody asks without TLS.
    caller: Option<Caller>,
    cause: Option<EventId>,
    /// What names it to who made it.
    name: Option<String>,
    /// Tells when it is to be closed.
    door: Watch,
}

impl DiscoveryService {
    async fn serve(
        &self,
        mut requests: Streaming<DiscoveryRequest>,
        responses: &ResponseSender,
        call: Call,
    ) -> Result<(), Status> {
        let Call { caller, cause, name, door } = call;
        let Some(first) = requests.message().await? else { return Ok(()) };
        let node = first.node.as_ref().filter(|node| !node.id.is_empty());
        let node = node.ok_or_else(|| Status::invalid_argument("missing node information"))?;
        let (id, node) =
            (node.id.clone(), Node::parse(node).map_err(|error| Status::invalid_argument(error.to_string()))?);
        authorize(caller.as_ref(), &node)?;
        let registered = match &self.registrations {
            Some(registrations) => registrations.connect(&node, caller.as_ref(), cause)?,
            None => None,
        };

        let pod = (node.pod_namespace().to_owned(), node.pod_name().to_owned());
        let entry = self.hub.enter(&id, &pod);
        let identities = caller.map(|caller| caller.identities().to_vec()).unwrap_or_default();
        let event = ConnectionOpened { stream: entry.id, node: id.clone(), identities };
        let opened = self.rt.emit_because(cause, event);
        let draws = self.rt.draws(&format!("istiod/nonce/{}", entry.id));
        let leaving = Leaving::new(self.hub.gate.clone(), &pod);
        let mut connection = Connection {
            rt: self.rt.clone(),
            leaving,
            pod,
            id,
            node,
            entry,
            stream: AdsServer::new(self.rules, draws),
            sent: BTreeMap::new(),
            responses: responses.clone(),
            opened,
            name,
            door,
            end: Status::cancelled("the client closed the stream"),
            ended_by: None,
            registered,
        };
        let ended = connection.run(first, requests).await;
        connection.end = ended.as_ref().err().cloned().unwrap_or_else(|| Status::ok(""));
        ended
    }

    /// Tells that a call is refused, and why: `error` may say more than the caller is told.
    fn refuse(
        &self,
        connection: Option<&ConnectionInfo>,
        cause: Option<EventId>,
        status: Status,
        error: String,
    ) -> Status {
        let peer = connection.map(|connection| connection.peer.clone());
        let event = ConnectionRefused { peer, code: format!("{:?}", status.code()), error };
        let refused = self.rt.emit_because(cause, event);
        if let Some(name) = disruption::call_name(connection, STREAM) {
            self.rt.sent(&name, refused);
        }
        status
    }
}

/// Only who proved to be the node's service account may ask for the node.
fn authorize(caller: Option<&Caller>, node: &Node) -> Result<(), Status> {
    let Some(caller) = caller else { return Ok(()) };
    let named = node.service_account().filter(|named| !named.is_empty());
    if caller.is(node.namespace(), named) {
        return Ok(());
    }
    let wanted = format!("{}/{}", node.namespace(), named.unwrap_or_default());
    Err(Status::permission_denied(format!("authorization failed: no identities ([{caller}]) matched {wanted}")))
}

/// Why a response is made.
#[derive(Clone, Copy)]
enum Why<'a> {
    /// The client asked.
    Asked,
    /// It is part of a push.
    Pushed(&'a Update),
    /// Something was injected or taken back.
    Injected,
}

struct Connection {
    rt: Runtime,
    /// The node's ID, as it gave it.
    id: String,
    node: Node,
    /// Namespace and name of the node's pod.
    pod: (String, String),
    entry: Entry,
    stream: AdsServer,
    /// The event of each type's last response.
    sent: BTreeMap<ResourceType, Option<EventId>>,
    leaving: Leaving,
    responses: ResponseSender,
    opened: Option<EventId>,
    /// What names the call to who made it.
    name: Option<String>,
    door: Watch,
    end: Status,
    /// Who wants it to end, if it ends because somebody does.
    ended_by: Option<EventId>,
    /// Of a workload that registers itself.
    registered: Option<Connected>,
}

impl Connection {
    async fn run(&mut self, first: DiscoveryRequest, mut requests: Streaming<DiscoveryRequest>) -> Result<(), Status> {
        self.answer(&first).await?;
        let responses = self.responses.clone();
        loop {
            tokio::select! {
                biased;
                () = responses.closed() => return Err(Status::cancelled("the client closed the stream")),
                refusal = self.door.closed() => {
                    self.ended_by = refusal.cause;
                    return Err(refusal.status);
                }
                request = requests.message() => match request? {
                    Some(request) => self.answer(&request).await?,
                    None => return Ok(()),
                },
                pending = self.entry.next_push() => {
                    self.push(&pending.context, &pending.update).await?;
                    self.entry.pushed();
                }
                () = self.leaving.turn() => {
                    self.leave().await?;
                    self.renew().await?;
                }
            }
        }
    }

    /// Handles one request.
    async fn answer(&mut self, request: &DiscoveryRequest) -> Result<(), Status> {
        if request.type_url == HEALTH {
            self.note_health(request);
            return Ok(());
        }
        match self.stream.on_request(request) {
            ServerAction::Respond { resource_type, .. } => {
                self.accepted(resource_type, request);
                let Some(context) = self.entry.hub.context() else { return Ok(()) };
                self.respond(&context, resource_type, Why::Asked).await
            }
            ServerAction::Ack { resource_type } => {
                self.accepted(resource_type, request);
                Ok(())
            }
            ServerAction::Nack { resource_type, error } => {
                self.rejected(resource_type, request, error);
                Ok(())
            }
            ServerAction::Unsubscribed { resource_type } => {
                self.entry.update(|connection| drop(connection.last.remove(&resource_type)));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What an agent says of the health of its workload, if that registers itself.
    fn note_health(&self, request: &DiscoveryRequest) {
        let Some(registered) = &self.registered else { return };
        let health = match &request.error_detail {
            None => Health::Healthy,
            Some(detail) => Health::Unhealthy { message: detail.message.clone() },
        };
        let told = self.rt.received(&format!("{HEALTH} of {}", self.id));
        registered.health(health, told.or(self.opened));
    }

    /// Sends all watched types, in order.
    async fn push(&mut self, context: &PushContext, update: &Update) -> Result<(), Status> {
        for resource_type in PUSH_ORDER {
            self.respond(context, resource_type, Why::Pushed(update)).await?;
        }
        Ok(())
    }

    /// Sends what the client watches of one type; of endpoints in a push, only what the update concerns.
    async fn respond(
        &mut self,
        context: &PushContext,
        resource_type: ResourceType,
        why: Why<'_>,
    ) -> Result<(), Status> {
        let Some(watch) = self.stream.watch(resource_type) else { return Ok(()) };
        let update = match why {
            Why::Pushed(update) => Some(update),
            Why::Asked | Why::Injected => None,
        };
        let mut resources = {
            let permits = Arc::clone(&self.entry.hub.permits);
            let _permit = permits.acquire().await.expect("the semaphore is never closed");
            generate(context, &self.node, &self.pod, resource_type, &watch.subscription, update)
        };
        let whole = update.is_none() || resource_type != ResourceType::Endpoints;
        let injected = self.leaving.inject(resource_type, &watch.subscription, whole, &mut resources);
        if resource_type == ResourceType::Endpoints && resources.is_empty() {
            // Istio's endpoint generator has nothing to say then; the other three send an empty list.
            return Ok(());
        }
        let from: BTreeSet<ObjectKey> = resources.iter().flat_map(|resource| &resource.from).cloned().collect();
        let cause = match why {
            Why::Pushed(_) => context.event,
            Why::Injected => self.leaving.injected_by(),
            Why::Asked => from.iter().filter_map(|key| context.changes.get(key)).max().copied().or(self.opened),
        };
        let is_told =
            |key: &&ObjectKey| !matches!(key.kind, Kind::Namespace | Kind::Node | Kind::Pod | Kind::EndpointSlice);
        let injected = injected.iter().map(|name| format!("injected {} {name}", resource_type.short()));
        let from = from.iter().filter(is_told).map(ObjectKey::to_string).chain(injected).collect();
        let (names, resources): (Vec<String>, Vec<Any>) =
            resources.into_iter().map(|resource| (resource.name, resource.body)).unzip();
        let response = self.stream.respond(resource_type, &context.version, resources);
        let event = Pushed {
            stream: self.entry.id,
            node: self.id.clone(),
            resource_type: resource_type.short(),
            version: response.version_info.clone(),
            nonce: response.nonce.clone(),
            resources: names,
            from,
        };
        let sent = self.rt.emit_because(cause, event);
        self.rt.sent(&response.nonce, sent);
        let last = LastResponse {
            version: response.version_info.clone(),
            nonce: response.nonce.clone(),
            verdict: Verdict::Pending,
            way: Way::Sent,
        };
        self.entry.update(|connection| drop(connection.last.insert(resource_type, last)));
        self.leaving.add(resource_type, Made { response, event: sent });
        self.leave().await
    }

    fn accepted(&self, resource_type: ResourceType, request: &DiscoveryRequest) {
        self.judge(resource_type, request, Verdict::Accepted);
    }

    fn rejected(&self, resource_type: ResourceType, request: &DiscoveryRequest, error: String) {
        let version = self.judge(resource_type, request, Verdict::Rejected(error.clone()));
        let event = Nacked {
            stream: self.entry.id,
            node: self.id.clone(),
            resource_type: resource_type.short(),
            version: version.unwrap_or_default(),
            nonce: request.response_nonce.clone(),
            error,
        };
        self.rt.emit_because(self.sent.get(&resource_type).copied().flatten().or(self.opened), event);
    }

    /// Notes the answer to the last response, if it is one; the version that it judges.
    fn judge(&self, resource_type: ResourceType, request: &DiscoveryRequest, verdict: Verdict) -> Option<String> {
        let mut version = None;
        self.entry.update(|connection| {
            let last = connection.last.get_mut(&resource_type);
            if let Some(last) = last.filter(|last| last.nonce == request.response_nonce) {
                last.verdict = verdict;
                version = Some(last.version.clone());
            }
        });
        version
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let event = ConnectionClosed {
            stream: self.entry.id,
            node: self.id.clone(),
            code: format!("{:?}", self.end.code()),
            message: self.end.message().to_owned(),
        };
        let closed = self.rt.emit_because(self.ended_by.or(self.opened), event);
        if let (Some(name), Some(_)) = (&self.name, self.ended_by) {
            self.rt.sent(name, closed);
        }
    }
}

fn generate(
    context: &PushContext,
    node: &Node,
    pod: &(String, String),
    resource_type: ResourceType,
    subscription: &Subscription,
    update: Option<&Update>,
) -> Vec<translate::Resource> {
    let snapshot = &context.snapshot;
    // The generators read no names as all names.
    let all = BTreeSet::new();
    let names = subscription.names().unwrap_or(&all);
    if resource_type != ResourceType::Endpoints {
        return translate::resources(snapshot, node, resource_type, names);
    }
    let concerned = |name: &&String| update.is_none_or(|update| update.concerns(service(name).as_ref(), pod));
    let names: BTreeSet<String> = names.iter().filter(concerned).cloned().collect();
    if names.is_empty() { Vec::new() } else { translate::resources(snapshot, node, resource_type, &names) }
}

/// The service behind `outbound|<port>|<subset>|<host>`.
fn service(cluster: &str) -> Option<ServiceName> {
    cluster.rsplit_once('|').map(|(_, host)| service_name(host))
}

/// The responses of one stream; dropping it ends the task behind it.
pub(crate) struct Responses {
    responses: mpsc::Receiver<Result<Box<DiscoveryResponse>, Status>>,
    _task: TaskGuard,
}

impl futures::Stream for Responses {
    type Item = Result<DiscoveryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.responses.poll_recv(cx).map(|next| next.map(|response| response.map(|response| *response)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_name_names_its_service() {
        let name = service("outbound|7070|v1|echo.echo-grpc.svc.cluster.local");
        assert_eq!(name, Some(("echo-grpc".to_owned(), "echo".to_owned())));
        assert_eq!(service("outbound|443||example.com"), Some((String::new(), "example.com".to_owned())));
        assert_eq!(service("example.com"), None);
    }
}
