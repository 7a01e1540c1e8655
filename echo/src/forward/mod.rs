//! `ForwardEcho`: the server calls someone else and tells what came back (`pkg/test/echo/server/forwarder`).
//!
//! What is asked for (`plan`), when each request goes out and what is told (`output`) are plain values; this file
//! only carries requests. At most twenty of a batch are under way at once, and all of them share one channel unless a
//! connection for each is asked for.

mod go;
mod output;
mod plan;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::{Runtime, http1};
use hermesh_xds::{ChannelCredentials, XdsChannel, XdsClientPool};
use http::Uri;
use http::uri::Authority;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};
use tonic::metadata::{Ascii, KeyAndValueRef, MetadataKey, MetadataMap, MetadataValue};

use crate::proto::echo_test_service_client::EchoTestServiceClient;
use crate::proto::{EchoRequest, ForwardEchoRequest};
use output::{Answer, Batch};
use plan::{IN_FLIGHT_MAX, Plan, Target};

pub use output::ForwardError;
pub use plan::PlanError;

/// Sends the batch that `request` describes from the process of `pool`, and answers with one text for each request of
/// it.
///
/// # Errors
/// A request that is not understood; any failure of any of its calls; the batch's time being up. Each reads as Istio's
/// echo would put it.
pub async fn forward(pool: &XdsClientPool, request: ForwardEchoRequest) -> Result<Vec<String>, ForwardError> {
    let plan = Plan::parse(request)?;
    let rt = pool.runtime();
    let begin = Instant::now();
    let shared = match plan.new_connection_per_request {
        true => None,
        false => match tokio::time::timeout_at(begin + plan.timeout, Caller::open(pool, &plan)).await {
            Ok(opened) => Some(opened?),
            Err(_) => return Err(Batch::new(plan.count).timed_out(plan.timeout)),
        },
    };

    let slots = Semaphore::new(IN_FLIGHT_MAX);
    let active = AtomicU32::new(0);
    let mut requests: FuturesUnordered<_> = (0..plan.count)
        .map(|index| {
            let (plan, shared, slots, active) = (&plan, &shared, &slots, &active);
            let at = begin + plan.dispatch_after(index);
            async move {
                if at > begin {
                    tokio::time::sleep_until(at).await;
                }
                active.fetch_add(1, Ordering::Relaxed);
                let _slot = slots.acquire().await.expect("nobody closes the semaphore");
                let sent = Instant::now();
                let result = match shared {
                    Some(caller) => caller.call(rt, plan, begin).await,
                    None => match Caller::open(pool, plan).await {
                        Ok(caller) => caller.call(rt, plan, begin).await,
                        Err(error) => Err(error.to_string()),
                    },
                };
                let active = active.fetch_sub(1, Ordering::Relaxed);
                (index, result.map(|reply| reply.into_answer(sent.elapsed(), active)))
            }
        })
        .collect();

    let mut batch = Batch::new(plan.count);
    let timeout = tokio::time::sleep_until(begin + plan.timeout);
    tokio::pin!(timeout);
    loop {
        // Requests first: one that ends with the batch's time counts as completed.
        tokio::select! {
            biased;
            next = requests.next() => match next {
                Some((index, result)) => batch.record(index, result),
                None => return batch.finish(),
            },
            () = &mut timeout => return Err(batch.timed_out(plan.timeout)),
        }
    }
}

/// What a request brought back, before it is known how long it took.
struct Reply {
    facts: Vec<(&'static str, String)>,
    body: String,
    headers: Vec<(String, String)>,
}

impl Reply {
    fn into_answer(self, latency: Duration, active: u32) -> Answer {
        Answer { latency, active, facts: self.facts, body: self.body, headers: self.headers }
    }
}

/// The connection of a batch, or of one request. A `Host` header is the authority of all calls on it.
enum Caller {
    Grpc(Channel),
    Xds(XdsChannel),
    Http(SocketAddr),
}

impl Caller {
    async fn open(pool: &XdsClientPool, plan: &Plan) -> Result<Self, ForwardError> {
        let rt = pool.runtime();
        let failed = |error: &dyn std::fmt::Display| ForwardError::Channel(error.to_string());
        match &plan.target {
            Target::Grpc(address) => {
                let authority = plan.host.clone();
                if let Some(host) = authority.as_ref().filter(|host| host.parse::<Authority>().is_err()) {
                    return Err(failed(&no_authority(host)));
                }
                let channel = Channel::new(rt, address, ChannelOptions { authority, ..ChannelOptions::default() });
                channel.map(Self::Grpc).map_err(|error| failed(&error))
            }
            Target::Xds(url) => {
                let credentials = ChannelCredentials::xds_with_insecure_fallback();
                let authority: Option<Authority> = match &plan.host {
                    Some(host) => Some(host.parse().map_err(|_| failed(&no_authority(host)))?),
                    None => None,
                };
                let channel = XdsChannel::connect_with_authority(pool, url, credentials, authority).await;
                channel.map(Self::Xds).map_err(|error| failed(&error))
            }
            Target::Http { host, port, .. } => {
                let address = match host.parse::<IpAddr>() {
                    Ok(address) => Some(address),
                    Err(_) => rt.resolve(host).await.map_err(|error| failed(&error))?.first().copied(),
                };
                let address = address.ok_or_else(|| failed(&format_args!("lookup {host}: no such host")))?;
                Ok(Self::Http(SocketAddr::new(address, *port)))
            }
        }
    }

    /// Sends one request; the error is the text to report. Its deadline is the batch's, as in upstream's contexts.
    async fn call(&self, rt: &Runtime, plan: &Plan, begin: Instant) -> Result<Reply, String> {
        let left = (begin + plan.timeout).saturating_duration_since(Instant::now());
        match self {
            Self::Grpc(channel) => echo(channel.clone(), plan, left).await,
            Self::Xds(channel) => echo(channel.clone(), plan, left).await,
            Self::Http(address) => get(rt, *address, plan, left).await,
        }
    }
}

async fn echo<T>(channel: T, plan: &Plan, timeout: Duration) -> Result<Reply, String>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let mut client = EchoTestServiceClient::new(channel);
    let mut request = tonic::Request::new(EchoRequest { message: plan.message.clone() });
    request.set_timeout(timeout);
    for (name, value) in &plan.headers {
        append(request.metadata_mut(), name, value)?;
    }
    let response = client.echo(request).await.map_err(|status| go::status(&status))?;
    let headers = response.metadata().iter().filter_map(|entry| match entry {
        KeyAndValueRef::Ascii(name, value) => Some((name.to_string(), value.to_str().ok()?.to_owned())),
        KeyAndValueRef::Binary(..) => None,
    });
    let mut headers: Vec<_> = headers.collect();
    headers.sort_unstable();
    Ok(Reply { facts: Vec::new(), body: response.into_inner().message, headers })
}

fn no_authority(host: &str) -> String {
    format!("header Host: `{host}` is no authority")
}

fn append(metadata: &mut MetadataMap, name: &str, value: &str) -> Result<(), String> {
    let key: MetadataKey<Ascii> =
        name.to_ascii_lowercase().parse().map_err(|_| format!("header `{name}` is no metadata key"))?;
    let value: MetadataValue<Ascii> =
        value.parse().map_err(|_| format!("header `{name}`: value `{value}` is not ASCII"))?;
    metadata.append(key, value);
    Ok(())
}

async fn get(rt: &Runtime, address: SocketAddr, plan: &Plan, timeout: Duration) -> Result<Reply, String> {
    let Target::Http { url, path, .. } = &plan.target else {
        unreachable!("only HTTP targets open HTTP callers");
    };
    let authority = url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
    let host = plan.host.clone().or(authority).unwrap_or_default();
    let mut request = http::Request::get(path.as_str()).header(http::header::HOST, host);
    for (name, value) in &plan.headers {
        request = request.header(name, value);
    }
    let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
    let response = http1::send(rt, address, request, timeout).await.map_err(|error| error.to_string())?;
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers: Vec<_> = response.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort_unstable();
    Ok(Reply {
        facts: vec![("Url", url.clone()), ("StatusCode", response.status.as_u16().to_string())],
        body: String::from_utf8_lossy(&response.body).into_owned(),
        headers,
    })
}
