//! Calls as the article makes them: `kubectl port-forward` to 17171 of a pod, then `grpcurl` of ForwardEcho.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh_echo::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_echo::proto::{ForwardEchoRequest, ForwardEchoResponse, Header};
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::{EventId, Runtime};
use hermesh_xds::cause::Cause;
use serde::Serialize;
use tonic::{Code, Status};

use crate::trace::Recorded;

/// Where the echo application serves gRPC without xDS, for port-forward.
const FORWARD_PORT: u16 = 17171;

/// A batch of requests that one pod is asked to send, over one fresh channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The workload that sends: `echo-v1`, `echo-v1/0`, or `namespace/echo-v1`.
    pub from: String,
    /// The target, such as `xds:///echo:7070`.
    pub url: String,
    /// How many requests.
    pub count: u32,
    /// How many a second; all at once if not given.
    pub qps: Option<u32>,
    /// Metadata of each request.
    pub headers: Vec<(String, String)>,
    /// What to have echoed.
    pub message: String,
    /// The longest the batch may take; 5 s if not given.
    pub timeout: Option<Duration>,
    /// A fresh channel for each request instead of one for all.
    pub new_connection_per_request: bool,
}

impl Call {
    /// One request from `from` to `url`.
    pub fn new(from: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            url: url.into(),
            count: 1,
            qps: None,
            headers: Vec::new(),
            message: String::new(),
            timeout: None,
            new_connection_per_request: false,
        }
    }

    /// This many requests.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// So many a second.
    #[must_use]
    pub fn qps(mut self, qps: u32) -> Self {
        self.qps = Some(qps);
        self
    }

    /// With this metadata.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn request(&self) -> ForwardEchoRequest {
        ForwardEchoRequest {
            url: self.url.clone(),
            count: i32::try_from(self.count).unwrap_or(i32::MAX),
            qps: self.qps.map_or(0, |qps| i32::try_from(qps).unwrap_or(i32::MAX)),
            headers: self
                .headers
                .iter()
                .map(|(key, value)| Header { key: key.clone(), value: value.clone() })
                .collect(),
            message: self.message.clone(),
            timeout_micros: self.timeout.map_or(0, |timeout| i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX)),
            new_connection_per_request: self.new_connection_per_request,
            ..ForwardEchoRequest::default()
        }
    }
}

/// What came of a [`Call`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CallReport {
    /// The pod that sent.
    pub from: String,
    /// The target.
    pub url: String,
    /// How many requests were asked for.
    pub count: u32,
    /// Each request that was answered, in the order of sending; empty if any failed, as ForwardEcho has it.
    pub answers: Vec<Answer>,
    /// How often each workload answered.
    pub workloads: BTreeMap<String, u64>,
    /// What failed.
    pub failure: Option<CallFailure>,
    /// When it began, since the start of the mesh.
    #[serde(skip)]
    pub began: Duration,
    /// When it ended.
    #[serde(skip)]
    pub ended: Duration,
    /// The sequence numbers of the trace's events in between.
    #[serde(skip)]
    pub events: std::ops::Range<u64>,
}

impl CallReport {
    /// Whether every request was answered.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }

    /// All lines of output, as `jq -r '.output | join("")'` prints them.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().flat_map(|answer| answer.output.lines())
    }

    /// The lines that hold `text`, as `grep` would find them.
    #[must_use]
    pub fn grep(&self, text: &str) -> Vec<&str> {
        self.lines().filter(|line| line.contains(text)).collect()
    }
}

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// Its number in the batch, from 0.
    pub index: usize,
    /// `Hostname`: the pod that answered.
    pub hostname: String,
    /// The workload of that pod, with its namespace if that is not the mesh's; its hostname if it is none of the
    /// cluster.
    pub workload: String,
    /// `ServiceVersion`.
    pub version: String,
    /// The SPIFFE ID that the server saw the caller prove; none without TLS.
    pub caller: Option<String>,
    /// ForwardEcho's output, line by line.
    pub output: String,
}

/// A batch that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallFailure {
    /// ForwardEcho's own code; `Unknown` when a request of the batch failed.
    #[serde(serialize_with = "code_name")]
    pub code: Code,
    /// ForwardEcho's message, such as `1/1 requests had errors; first error: ..`.
    pub message: String,
    /// The code of the first request that failed, if one did.
    #[serde(serialize_with = "optional_code_name")]
    pub request_code: Option<Code>,
    /// Why the first request failed, if the client knows.
    pub cause: Option<Cause>,
    /// The event that tells of it: from there `cause` leads back in the trace.
    pub event: Option<u64>,
}

/// The output of one call is one message: half a kilobyte a request, and up to 100 000 of them.
const ANSWERS_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Sends `call` through the pod whose network `rt` stands in.
pub(crate) async fn forward(rt: Runtime, call: Call) -> Result<ForwardEchoResponse, NotForwarded> {
    let target = format!("127.0.0.1:{FORWARD_PORT}");
    let channel = Channel::new(&rt, &target, ChannelOptions::default())
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let client = EchoTestServiceClient::new(channel.clone());
    let response = client.max_decoding_message_size(ANSWERS_MAX_BYTES).forward_echo(call.request()).await;
    let failed = |status| NotForwarded { status, event: channel.trouble() };
    response.map(tonic::Response::into_inner).map_err(failed)
}

/// A batch that failed, and the event that tells of the connection to ForwardEcho.
pub(crate) struct NotForwarded {
    status: Status,
    event: Option<EventId>,
}

impl From<Status> for NotForwarded {
    fn from(status: Status) -> Self {
        Self { status, event: None }
    }
}

/// Makes the report from what ForwardEcho answered and what the trace recorded meanwhile. `workload` tells whose pod a
/// hostname is.
pub(crate) fn report(
    call: &Call,
    from: &str,
    answered: Result<ForwardEchoResponse, NotForwarded>,
    events: &[&Recorded],
    workload: impl Fn(&str) -> Option<String>,
) -> CallReport {
    let mut report = CallReport {
        from: from.to_owned(),
        url: call.url.clone(),
        count: call.count,
        answers: Vec::new(),
        workloads: BTreeMap::new(),
        failure: None,
        began: Duration::ZERO,
        ended: Duration::ZERO,
        events: 0..0,
    };
    match answered {
        Ok(response) => {
            let mut callers = callers(events);
            for (index, output) in response.output.into_iter().enumerate() {
                let hostname = field(&output, "Hostname");
                let caller = callers.get_mut(&hostname).and_then(|callers| callers.next()).flatten();
                let workload = workload(&hostname).unwrap_or_else(|| hostname.clone());
                *report.workloads.entry(workload.clone()).or_default() += 1;
                let version = field(&output, "ServiceVersion");
                report.answers.push(Answer { index, hostname, workload, version, caller, output });
            }
        }
        Err(error) => report.failure = Some(failure(&error, from, events)),
    }
    report
}

type Callers = BTreeMap<String, std::vec::IntoIter<Option<String>>>;

/// Who called each pod, in the order in which its requests arrived.
fn callers(events: &[&Recorded]) -> Callers {
    let mut callers: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for request in events.iter().filter_map(|event| event.get::<EchoRequest>()) {
        callers.entry(request.hostname.clone()).or_default().push(request.caller.clone());
    }
    callers.into_iter().map(|(hostname, callers)| (hostname, callers.into_iter())).collect()
}

/// ForwardEcho tells no more than a text; the client's own event tells the rest.
fn failure(NotForwarded { status, event }: &NotForwarded, from: &str, events: &[&Recorded]) -> CallFailure {
    let finished = events
        .iter()
        .filter(|event| event.is_at(from))
        .filter_map(|event| Some((event, event.get::<hermesh_xds::RpcFinished>()?)))
        .find(|(_, rpc)| rpc.code != "Ok");
    // ForwardEcho answers a request of the batch that failed by UNKNOWN: then its own connection is not to blame.
    let unasked = event.filter(|_| status.code() != Code::Unknown);
    CallFailure {
        code: status.code(),
        message: status.message().to_owned(),
        request_code: finished.and_then(|(_, rpc)| code(&rpc.code)),
        cause: finished.and_then(|(_, rpc)| rpc.cause_kind),
        event: finished.map(|(event, _)| event.seq).or_else(|| unasked.map(EventId::seq)),
    }
}

/// The value after `key=` in echo's output.
fn field(output: &str, key: &str) -> String {
    let value = |line: &str| line.split_once("body] ")?.1.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    output.lines().find_map(value).unwrap_or_default()
}

/// All codes, to find one by its name.
const CODES: [Code; 17] = [
    Code::Ok,
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

pub(super) fn code(name: &str) -> Option<Code> {
    CODES.into_iter().find(|code| format!("{code:?}") == name)
}

/// A code's name as specifications write it, such as `DEADLINE_EXCEEDED`.
#[must_use]
pub fn code_text(code: Code) -> String {
    let mut text = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

pub(super) fn code_name<S: serde::Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&code_text(*code))
}

fn optional_code_name<S: serde::Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    match code {
        Some(code) => code_name(code, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
[0] Latency=1.52ms
[0 body] Host=echo:7070
[0 body] StatusCode=200
[0 body] ServiceVersion=v1
[0 body] Echo=
[0 body] Hostname=echo-v1-69d6d96cb7-gpcpd
";

    #[test]
    fn an_answer_tells_who_gave_it() {
        let answered = Ok(ForwardEchoResponse { output: vec![OUTPUT.to_owned()] });
        let call = Call::new("echo-v1", "xds:///echo:7070");
        let report = report(&call, "shop/echo-v1-x", answered, &[], |_| Some("echo-v1".to_owned()));
        assert_eq!(report.answers[0].hostname, "echo-v1-69d6d96cb7-gpcpd");
        assert_eq!(report.answers[0].version, "v1");
        assert_eq!(report.workloads, BTreeMap::from([("echo-v1".to_owned(), 1)]));
        assert_eq!(report.grep("Hostname"), ["[0 body] Hostname=echo-v1-69d6d96cb7-gpcpd"]);
    }

    #[test]
    fn a_failed_batch_keeps_forward_echos_code_and_text() {
        let answered = Err(Status::unknown("1/1 requests had errors; first error: rpc error").into());
        let report = report(&Call::new("a", "xds:///b"), "shop/a", answered, &[], |_| None);
        let failure = report.failure.expect("the batch failed");
        assert_eq!((failure.code, failure.request_code), (Code::Unknown, None));
        assert!(report.answers.is_empty());
    }

    #[test]
    fn codes_are_found_and_written_by_name() {
        assert_eq!(code("DeadlineExceeded"), Some(Code::DeadlineExceeded));
        assert_eq!(code_text(Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
        assert_eq!(code_text(Code::Ok), "OK");
    }
}
