//! One RPC: from the configuration to a cluster, a connection, attempts, and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hermesh_runtime::deadline;
use hermesh_runtime::http2::{CallError, Connection};
use hermesh_runtime::latest::Reader;
use hermesh_runtime::{Address, EventId, Level, Trail};
use http::{HeaderMap, HeaderValue, Uri, header};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

use super::Shared;
use super::actor::{ClusterPicker, Limits, Resolution, Snapshot};
use super::body::{Payload, Watched};
use super::events::{RpcFinished, RpcPick};
use super::faults::inject;
use super::selector::Selected;
use crate::balancer::Pick;
use crate::cause::{Cause, Failure};
use crate::retry::{Attempts, PREVIOUS_ATTEMPTS, Verdict};

const USER_AGENT: &str = concat!("grpc-rust-hermesh/", env!("CARGO_PKG_VERSION"));

pub(super) type Response = http::Response<Body>;

/// Carries one RPC to its response's head.
pub(super) async fn run(shared: Arc<Shared>, request: http::Request<Body>) -> Result<Response, Status> {
    let mut outcome = Outcome::new(&shared, request.uri().path());
    match attempt_all(&shared, request, &mut outcome).await {
        Ok((response, deadline)) => {
            if let Some(status) = Status::from_header_map(response.headers()) {
                let cause = Cause::of_answer(status.code(), status.message());
                outcome.finish(status.code(), status.message(), cause, None);
            }
            Ok(response.map(|body| {
                let body = match deadline {
                    Some(deadline) => deadline::fail_at(body, deadline),
                    None => body,
                };
                Body::new(Watched { body, outcome })
            }))
        }
        Err(Failed { status, cause, event }) => {
            outcome.finish(status.code(), status.message(), Some(cause), event);
            Err(status)
        }
    }
}

/// Why an RPC has no response.
pub(super) struct Failed {
    pub(super) status: Status,
    pub(super) cause: Cause,
    pub(super) event: Option<EventId>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { status: failure.status(), cause: failure.cause, event: failure.event }
    }
}

impl Failed {
    pub(super) fn deadline(message: &str, event: Option<EventId>) -> Self {
        Failure::new(Cause::Deadline, message).because(event).into()
    }
}

async fn attempt_all(
    shared: &Shared,
    request: http::Request<Body>,
    outcome: &mut Outcome,
) -> Result<(Response, Option<Instant>), Failed> {
    let timeout = deadline::timeout(request.headers()).map_err(|error| Failed {
        status: Status::internal(error.to_string()),
        cause: Cause::Application,
        event: None,
    })?;
    let mut deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut snapshots = shared.snapshots();

    let (parts, body) = request.into_parts();
    let selecting = select(shared, &mut snapshots, parts.uri.path(), &parts.headers);
    let Some(selected) = within(deadline, selecting).await else {
        return Err(Failed::deadline("context deadline exceeded", snapshots.look(Snapshot::waits_for)));
    };
    let selected = selected?;
    outcome.event.cluster = Some(selected.cluster.name.clone());
    if let Some(limit) = selected.limit {
        let limit = Instant::now() + limit;
        deadline = Some(deadline.map_or(limit, |deadline| deadline.min(limit)));
    }

    if let Some(response) = inject(shared, &selected, parts.uri.path(), &parts.headers, deadline).await? {
        return Ok((response, deadline));
    }

    let hash = selected.hash.unwrap_or_else(|| shared.draws().hash.next());
    let mut call = Call {
        shared,
        outcome,
        snapshots,
        deadline,
        attempts: Attempts::new(selected.retry_policy.as_ref()),
        // Policy or not: a server may refuse the request without having looked at it.
        payload: Payload::keep(body),
        may_repeat: true,
        parts,
        selected: &selected,
        hash,
    };
    let response = call.run().await?;
    Ok((response, deadline))
}

/// Waits for a configuration and asks it about the RPC.
async fn select(
    shared: &Shared,
    snapshots: &mut Reader<Snapshot>,
    path: &str,
    headers: &HeaderMap,
) -> Result<Selected, Failed> {
    loop {
        let resolution = snapshots.look(|snapshot| snapshot.resolution.clone());
        match resolution {
            Resolution::Pending => snapshots.changed().await,
            Resolution::Failed(failure) => return Err(failure.into()),
            Resolution::Done(selector) => {
                return Ok(selector.select(path, headers, shared.channel_id, &mut shared.draws().route)?);
            }
        }
    }
}

struct Call<'a> {
    shared: &'a Shared,
    outcome: &'a mut Outcome,
    snapshots: Reader<Snapshot>,
    deadline: Option<Instant>,
    attempts: Attempts<'a>,
    payload: Payload,
    /// Whether the transparent retry of a request that a server refused unseen is still to be had.
    may_repeat: bool,
    parts: http::request::Parts,
    selected: &'a Selected,
    /// Of the RPC; all its attempts share it.
    hash: u64,
}

/// A connection for an attempt.
struct Picked {
    address: Address,
    connection: Connection,
    event: Option<EventId>,
    in_flight: InFlight,
}

/// Why an attempt has no response head, or only one that carries its status.
enum AttemptError {
    /// Nothing was sent, and nothing is to be tried again: the balancer dropped the RPC on purpose, or time is up.
    Final(Failed),
    /// The attempt failed before response headers; another may follow.
    Failed(Failed, Option<Box<Response>>),
}

impl Call<'_> {
    async fn run(&mut self) -> Result<Response, Failed> {
        loop {
            let (failed, response) = match self.attempt().await {
                Ok(response) => {
                    self.payload.commit();
                    return Ok(response);
                }
                Err(AttemptError::Final(failed)) => return Err(failed),
                Err(AttemptError::Failed(failed, response)) => (failed, response),
            };
            self.may_repeat = false;
            let trailers = response.as_ref().map(|response| response.headers());
            let code = failed.status.code();
            let verdict = self.attempts.after_failure(code, trailers, &mut self.shared.draws().retry);
            let sent_for_good = !self.payload.is_kept();
            match verdict {
                Verdict::Retry(pause) if !sent_for_good => {
                    drop(response);
                    self.outcome.in_flight = InFlight::default();
                    if within(self.deadline, tokio::time::sleep(pause)).await.is_none() {
                        return Err(Failed::deadline("context deadline exceeded", failed.event));
                    }
                }
                Verdict::Exhausted { attempts } if attempts > 1 => {
                    let message =
                        format!("max retries exhausted: failed after {attempts} attempts: {}", failed.status.message());
                    let metadata = failed.status.metadata().clone();
                    let details = failed.status.details().to_vec();
                    let status = Status::with_details_and_metadata(code, message, details.into(), metadata);
                    return Err(Failed { status, ..failed });
                }
                Verdict::Retry(_) | Verdict::Exhausted { .. } | Verdict::Fail => {
                    return match response {
                        Some(response) => Ok(*response),
                        None => Err(failed),
                    };
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Response, AttemptError> {
        self.outcome.event.attempts += 1;
        loop {
            let picked = self.pick().await?;
            let request = self.request(&picked)?;
            self.outcome.event.endpoint = Some(picked.address.clone());
            self.outcome.last_event = picked.event.or(self.outcome.last_event);
            self.outcome.trail = picked.connection.trail().clone();
            self.outcome.in_flight = picked.in_flight;
            let sent = picked.connection.call(request);
            let Some(answer) = within(self.deadline, sent).await else {
                let late = Failed::deadline("context deadline exceeded", picked.connection.trouble());
                return Err(AttemptError::Final(late));
            };
            let status = match answer {
                Ok(response) => return judge(response, self.outcome.last_event),
                // Transparent retries (gRFC A6). What never left goes elsewhere as often as it takes.
                Err(CallError::Unsent { .. }) => {
                    // Its place among the cluster's requests is free again, or it would wait for itself.
                    self.outcome.in_flight = InFlight::default();
                    continue;
                }
                // What a server refused unseen is sent once more, in the first attempt and if it was kept.
                Err(CallError::Refused(status)) => {
                    if self.payload.is_kept() && std::mem::take(&mut self.may_repeat) {
                        self.outcome.in_flight = InFlight::default();
                        continue;
                    }
                    status
                }
                Err(other) => other.into_status(),
            };
            let cause = if status.code() == Code::Unavailable { Cause::ConnectionLost } else { Cause::Application };
            let failed = Failed { status, cause, event: picked.connection.trouble() };
            return Err(AttemptError::Failed(failed, None));
        }
    }

    async fn pick(&mut self) -> Result<Picked, AttemptError> {
        let waiting = "context deadline exceeded while waiting for connections to become ready";
        let deadline = self.deadline;
        let picking = async {
            loop {
                let snapshot = self.snapshots.look(Clone::clone);
                match self.pick_from(&snapshot) {
                    Ok(Some(picked)) => return Ok(picked),
                    Ok(None) => self.snapshots.changed().await,
                    Err(error) => return Err(error),
                }
            }
        };
        match within(deadline, picking).await {
            Some(picked) => picked,
            None => {
                let event = self.snapshots.look(Snapshot::waits_for);
                Err(AttemptError::Final(Failed::deadline(waiting, event)))
            }
        }
    }

    /// A connection, or `None` to wait for the next snapshot.
    fn pick_from(&self, snapshot: &Snapshot) -> Result<Option<Picked>, AttemptError> {
        let name = &self.selected.cluster.name;
        let Some(cluster) = snapshot.clusters.get(name) else {
            let failure = match &snapshot.resolution {
                Resolution::Failed(failure) => failure.clone(),
                _ => Failure::new(Cause::NoCluster, format!("unknown cluster selected for RPC: {name:?}")),
            };
            return Err(AttemptError::Failed(failure.into(), None));
        };
        let mut draws = self.shared.draws();
        let mut in_flight =
            admit(cluster, name, &mut draws.pick).map_err(|failure| AttemptError::Final(failure.into()))?;
        // A connection that has just ended may still be listed; its neighbours may do.
        for _ in 0..=snapshot.ready.len() {
            let (id, under_way) = match cluster.picker.pick(self.hash, &mut draws.pick) {
                Pick::Queue => return Ok(None),
                Pick::Connect(id) => {
                    self.selected.cluster.want(id);
                    return Ok(None);
                }
                Pick::Fail(failure) => return Err(AttemptError::Failed(failure.into(), None)),
                Pick::Subchannel(id) => (id, None),
                Pick::Counted(id, under_way) => (id, Some(under_way)),
            };
            let Some((address, connection)) = snapshot.ready.get(&id) else { continue };
            if connection.is_closed() {
                continue;
            }
            in_flight.extend(under_way);
            let (address, connection) = (address.clone(), connection.clone());
            let event = self.explain(cluster, &address, &connection);
            return Ok(Some(Picked { address, connection, event, in_flight }));
        }
        Ok(None)
    }

    fn explain(&self, cluster: &ClusterPicker, endpoint: &Address, connection: &Connection) -> Option<EventId> {
        let rt = &self.shared.rt;
        if !rt.records(Level::Debug) {
            return connection.event();
        }
        let drawn = if self.selected.weighted { " by weight" } else { "" };
        let event = RpcPick {
            target: self.shared.target.clone(),
            method: self.parts.uri.path().to_owned(),
            cluster: self.selected.cluster.name.clone(),
            endpoint: endpoint.clone(),
            reason: format!("route {:?} chose the cluster{drawn}; {}", self.selected.route, cluster.picker),
        };
        rt.emit_because(connection.event(), event)
    }

    fn request(&mut self, picked: &Picked) -> Result<http::Request<Body>, AttemptError> {
        let Some(body) = self.payload.take() else {
            let status = Status::internal("the request was sent already");
            let failed = Failed { status, cause: Cause::Application, event: None };
            return Err(AttemptError::Final(failed));
        };
        let mut request = http::Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = self.uri(picked);
        *request.extensions_mut() = self.parts.extensions.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.parts.headers);
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        if let Some(deadline) = self.deadline {
            headers
                .insert(deadline::GRPC_TIMEOUT, deadline::header(deadline.saturating_duration_since(Instant::now())));
        }
        if self.attempts.failed() > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, self.attempts.failed().into());
        }
        Ok(request)
    }

    fn uri(&self, picked: &Picked) -> Uri {
        let scheme = if picked.connection.peer_certificate().is_some() { "https" } else { "http" };
        let mut uri = self.parts.uri.clone().into_parts();
        uri.scheme = Some(scheme.parse().expect("http and https are schemes"));
        uri.authority = Some(self.shared.authority.clone());
        Uri::from_parts(uri).expect("tonic's requests have a path, and here are scheme and authority")
    }
}

/// A response with headers commits the RPC; one of trailers only that carries an error is a failed attempt.
fn judge(response: Response, event: Option<EventId>) -> Result<Response, AttemptError> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => {
            let cause = Cause::of_answer(status.code(), status.message()).unwrap_or(Cause::Application);
            let failed = Failed { status, cause, event };
            Err(AttemptError::Failed(failed, Some(Box::new(response))))
        }
        _ => Ok(response),
    }
}

/// Drops of EDS and the circuit breaker of CDS, both final.
fn admit(cluster: &ClusterPicker, name: &str, draws: &mut hermesh_runtime::Draws) -> Result<InFlight, Failure> {
    let Limits { drops, requests } = &*cluster.limits;
    if cluster.ready && drops.iter().any(|drop| draws.below(1_000_000) < u64::from(drop.per_million)) {
        return Err(Failure::new(Cause::Dropped, "RPC is dropped"));
    }
    let Some((counter, max)) = requests else { return Ok(InFlight::default()) };
    if counter.load(Ordering::Relaxed) >= *max {
        return Err(Failure::new(Cause::MaxRequests, format!("max requests {max} exceeded on service {name}")));
    }
    let mut in_flight = InFlight::default();
    in_flight.extend([counter.clone()]);
    Ok(in_flight)
}

/// Counts an RPC as in flight, to its cluster and maybe to its endpoint, until dropped.
#[derive(Default)]
struct InFlight(Vec<Arc<AtomicU32>>);

impl Extend<Arc<AtomicU32>> for InFlight {
    fn extend<T: IntoIterator<Item = Arc<AtomicU32>>>(&mut self, counters: T) {
        for counter in counters {
            counter.fetch_add(1, Ordering::Relaxed);
            self.0.push(counter);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        for counter in &self.0 {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What `work` comes to, or `None` if the deadline passes first.
pub(super) async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
    }
}

/// Tells once how an RPC ended; if nobody said how, the application cancelled it.
pub(super) struct Outcome {
    shared: super::CallGuard,
    event: RpcFinished,
    began: Instant,
    last_event: Option<EventId>,
    /// Of the last connection.
    trail: Trail,
    in_flight: InFlight,
    told: bool,
}

impl Outcome {
    fn new(shared: &Arc<Shared>, path: &str) -> Self {
        let event = RpcFinished {
            target: shared.target.clone(),
            method: path.to_owned(),
            code: String::new(),
            message: String::new(),
            cluster: None,
            endpoint: None,
            attempts: 0,
            cause_kind: None,
            took_us: 0,
        };
        Self {
            shared: shared.enter(),
            event,
            began: Instant::now(),
            last_event: None,
            trail: Trail::default(),
            in_flight: InFlight::default(),
            told: false,
        }
    }

    /// The RPC ended; later words are ignored.
    pub(super) fn finish(&mut self, code: Code, message: &str, cause: Option<Cause>, event: Option<EventId>) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        self.in_flight = InFlight::default();
        self.event.code = format!("{code:?}");
        message.clone_into(&mut self.event.message);
        self.event.cause_kind = cause;
        self.event.took_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let trouble = if code == Code::Ok { None } else { self.trail.trouble() };
        // A server notes its denials on the connection.
        let denial = if cause == Some(Cause::RbacDenied) { self.trail.denied() } else { None };
        let event = denial.or(event).or(trouble).or(self.last_event);
        self.shared.rt().emit_because(event, self.event.clone());
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.finish(Code::Cancelled, "context canceled", None, None);
    }
}
