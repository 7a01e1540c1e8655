//! A management server with whatever resources a test puts there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use futures::Stream;
use hermesh_runtime::latest::Latest;
use hermesh_runtime::server::{Drain, Router, Server};
use hermesh_runtime::{Runtime, TaskGuard};
use hermesh_xds::ResourceType;
use hermesh_xds::ads::server::{AdsServer, Rules, ServerAction, Subscription};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct ControlPlane {
    address: SocketAddr,
    service: Service,
    _task: TaskGuard,
}

#[derive(Clone)]
struct Service {
    rt: Runtime,
    state: Arc<Mutex<State>>,
    changed: Latest<u64>,
}

#[derive(Default)]
struct State {
    resources: BTreeMap<(ResourceType, String), Any>,
    nacks: Vec<String>,
    streams: usize,
}

impl ControlPlane {
    pub(crate) async fn start(rt: &Runtime) -> Self {
        let listener = rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_address().tcp().unwrap();
        let service = Service { rt: rt.clone(), state: Arc::default(), changed: Latest::new(1) };
        let router = Router::new().add_service(AggregatedDiscoveryServiceServer::new(service.clone()));
        let server = Server::new(rt).router(router);
        let task = rt.spawn("control plane", async move {
            server.serve(listener, Drain::never()).await.unwrap();
        });
        Self { address, service, _task: task.abort_on_drop() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces or adds resources, and tells all clients at once.
    pub(crate) fn set<'a>(&self, resources: impl IntoIterator<Item = (ResourceType, &'a str, Any)>) {
        let mut state = self.service.state.lock().unwrap();
        for (resource_type, name, resource) in resources {
            state.resources.insert((resource_type, name.to_owned()), resource);
        }
        drop(state);
        self.service.changed.modify(|version| *version += 1);
    }

    /// Deletes a resource, and tells all clients.
    pub(crate) fn remove(&self, resource_type: ResourceType, name: &str) {
        self.service.state.lock().unwrap().resources.remove(&(resource_type, name.to_owned()));
        self.service.changed.modify(|version| *version += 1);
    }

    /// What clients said was wrong.
    pub(crate) fn nacks(&self) -> Vec<String> {
        self.service.state.lock().unwrap().nacks.clone()
    }

    /// How many streams were opened so far.
    pub(crate) fn streams(&self) -> usize {
        self.service.state.lock().unwrap().streams
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.state.lock().unwrap().streams += 1;
        let (send, receive) = mpsc::unbounded_channel();
        let service = self.clone();
        self.rt.spawn("ads stream", service.serve(request.into_inner(), send));
        let responses =
            futures::stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("incremental xDS"))
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    async fn serve(
        self,
        mut requests: Streaming<DiscoveryRequest>,
        send: mpsc::UnboundedSender<Result<DiscoveryResponse, Status>>,
    ) {
        let mut ads = AdsServer::new(Rules::PROTOCOL, self.rt.draws("control plane"));
        let mut changed = self.changed.reader();
        loop {
            tokio::select! {
                biased;
                request = requests.message() => {
                    let Ok(Some(request)) = request else { return };
                    match ads.on_request(&request) {
                        ServerAction::Respond { resource_type, names } => {
                            let _ = send.send(Ok(self.respond(&mut ads, resource_type, &names)));
                        }
                        ServerAction::Nack { error, .. } => self.state.lock().unwrap().nacks.push(error),
                        _ => {}
                    }
                }
                () = changed.changed() => {
                    let watches: Vec<_> =
                        ads.watches().map(|(kind, watch)| (kind, watch.subscription.clone())).collect();
                    for (kind, names) in watches {
                        let _ = send.send(Ok(self.respond(&mut ads, kind, &names)));
                    }
                }
            }
        }
    }

    fn respond(&self, ads: &mut AdsServer, wanted: ResourceType, names: &Subscription) -> DiscoveryResponse {
        let state = self.state.lock().unwrap();
        let resources = state.resources.iter().filter(|((kind, name), _)| *kind == wanted && names.contains(name));
        let resources = resources.map(|(_, resource)| resource.clone()).collect();
        ads.respond(wanted, &self.changed.look(u64::to_string), resources)
    }
}
