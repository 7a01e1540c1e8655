//! A client and its watchers against a management server that says what the test says, on the loopback.

use std::pin::Pin;
use std::sync::Mutex;

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::{Policy, policy::DropOverload};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::google::protobuf::Any;
use futures::{Stream, StreamExt as _};
use hermesh_runtime::TaskGuard;
use hermesh_runtime::server::{Drain, Router, Server};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::*;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves one stream: hands out what comes in, and sends what it is handed.
struct Script {
    rt: Runtime,
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: Mutex<Option<mpsc::UnboundedReceiver<DiscoveryResponse>>>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Script {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let responses = self.responses.lock().unwrap().take().expect("one stream is opened");
        let (mut incoming, requests) = (request.into_inner(), self.requests.clone());
        self.rt.spawn("requests", async move {
            while let Some(Ok(request)) = incoming.next().await {
                let _ = requests.send(request);
            }
        });
        let responses = futures::stream::unfold(responses, |mut it| async { Some((Ok(it.recv().await?), it)) });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("incremental xDS"))
    }
}

/// A client and both ends of its stream.
struct Pair {
    client: Arc<XdsClient>,
    requests: mpsc::UnboundedReceiver<DiscoveryRequest>,
    responses: mpsc::UnboundedSender<DiscoveryResponse>,
    _server: TaskGuard,
}

impl Pair {
    async fn start() -> Self {
        let rt = hermesh_runtime::os::runtime();
        let listener = rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_address();
        let (tell, requests) = mpsc::unbounded_channel();
        let (responses, script) = mpsc::unbounded_channel();
        let script = Script { rt: rt.clone(), requests: tell, responses: Mutex::new(Some(script)) };
        let router = Router::new().add_service(AggregatedDiscoveryServiceServer::new(script));
        let server = Server::new(&rt).router(router);
        let server = rt.spawn("control plane", async move { server.serve(listener, Drain::never()).await.unwrap() });
        let bootstrap =
            format!(r#"{{"xds_servers": [{{"server_uri": "{address}", "channel_creds": [{{"type": "insecure"}}]}}]}}"#);
        let bootstrap = Arc::new(Bootstrap::from_json("test", bootstrap.as_bytes()).unwrap());
        let client = XdsClientPool::new(&rt).client("test", &bootstrap);
        Self { client, requests, responses, _server: server.abort_on_drop() }
    }

    /// Sends endpoints for `a`, each version other ones, as far as clients can tell.
    fn respond(&self, version: u32) {
        let drop_percentage = Some(FractionalPercent { numerator: version, denominator: 0 });
        let overload = DropOverload { category: "overload".to_owned(), drop_percentage };
        let policy = Some(Policy { drop_overloads: vec![overload], ..Default::default() });
        let endpoints = ClusterLoadAssignment { cluster_name: "a".to_owned(), policy, ..Default::default() };
        let type_url = ResourceType::Endpoints.type_url().to_owned();
        let resources = vec![Any { type_url: type_url.clone(), value: endpoints.encode_to_vec() }];
        let (version_info, nonce) = (version.to_string(), format!("n{version}"));
        let response = DiscoveryResponse { version_info, nonce, type_url, resources, ..Default::default() };
        self.responses.send(response).unwrap();
    }

    /// Nonce and names of the next request.
    async fn request(&mut self) -> (String, Vec<String>) {
        let request = self.requests.recv().await.expect("the stream is open");
        (request.response_nonce, request.resource_names)
    }
}

fn asks(nonce: &str, names: &[&str]) -> (String, Vec<String>) {
    (nonce.to_owned(), names.iter().map(ToString::to_string).collect())
}

// A27, flow control
#[tokio::test]
async fn the_next_response_is_read_when_all_watchers_are_done_with_the_last() {
    let mut pair = Pair::start().await;
    let (tell, mut quick) = mpsc::unbounded_channel();
    let _first = pair.client.watch(ResourceType::Endpoints, "a", tell);
    let (tell, mut slow) = mpsc::unbounded_channel();
    let _second = pair.client.watch(ResourceType::Endpoints, "a", tell.clone());
    assert_eq!(pair.request().await, asks("", &["a"]));
    pair.respond(1);
    pair.respond(2);
    assert_eq!(pair.request().await, asks("n1", &["a"]));
    drop(quick.recv().await.unwrap());
    let busy_with = slow.recv().await.unwrap();

    // A watcher that is at work may start another watch, and is served: what it asks for goes out before the answer
    // to the second response, which lies unread.
    let _third = pair.client.watch(ResourceType::Endpoints, "b", tell);
    assert_eq!(pair.request().await, asks("n1", &["a", "b"]));
    drop(busy_with);
    assert_eq!(pair.request().await, asks("n2", &["a", "b"]));
}

#[tokio::test]
async fn a_watcher_that_is_gone_keeps_nobody_waiting() {
    let mut pair = Pair::start().await;
    let (tell, mut stays) = mpsc::unbounded_channel();
    let _stays = pair.client.watch(ResourceType::Endpoints, "a", tell);
    let (tell, goes) = mpsc::unbounded_channel();
    let _goes = pair.client.watch(ResourceType::Endpoints, "a", tell);
    assert_eq!(pair.request().await, asks("", &["a"]));
    pair.respond(1);
    pair.respond(2);
    assert_eq!(pair.request().await, asks("n1", &["a"]));
    drop(stays.recv().await.unwrap());
    drop(goes); // with the news of the first response unread
    assert_eq!(pair.request().await, asks("n2", &["a"]));
    drop(stays.recv().await.unwrap());
    pair.respond(3); // nobody listens to one of the watches
    assert_eq!(pair.request().await, asks("n3", &["a"]));
}
