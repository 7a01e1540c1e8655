//! Events in words. Kinds that only connect others have none.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::endpoints::{Endpoints, Late, service_of};
use super::{fields, text, texts};
use crate::trace::{Recorded, Trace};

/// Longer values of events without a sentence of their own are cut; the trace has all of them.
const VALUE_MAX: usize = 160;

/// How many names of a list are given.
const NAMES_MAX: usize = 3;

/// Speaks of one trace's events.
pub(super) struct Sentences<'t> {
    trace: &'t Trace,
}

impl<'t> Sentences<'t> {
    pub(super) fn new(trace: &'t Trace) -> Self {
        Self { trace }
    }

    /// What an event says, with the place where it happened; `None` for links between others.
    pub(super) fn of(&self, event: &Recorded) -> Option<String> {
        let told = fields(event);
        let field = |name: &str| told.get(name).map(plain).unwrap_or_default();
        let sentence = match event.kind {
            "agent.request"
            | "agent.response"
            | "agent.bootstrap.written"
            | "agent.socket.listening"
            | "agent.started"
            | "agent.stream.opened"
            | "call.ended"
            | "call.started"
            | "cert.issued"
            | "cert.loaded"
            | "cert.published"
            | "cert.requested"
            | "cert.root.changed"
            | "cert.rotation.scheduled"
            | "ca.issued"
            | "conn.accepted"
            | "conn.ready"
            | "echo.ready"
            | "echo.request"
            | "image.pulled"
            | "istiod.push.finished"
            | "istiod.push.started"
            | "istiod.ready"
            | "istiod.root.published"
            | "istiod.serving"
            | "istiod.stream.opened"
            | "net.closed"
            | "net.connect"
            | "net.data"
            | "net.reset"
            | "net.retransmitted"
            | "netns.added"
            | "pod.scheduled"
            | "probe.result"
            | "rpc.allowed"
            | "rpc.audited"
            | "rpc.pick"
            | "service.routed"
            | "watch.delivered"
            | "xds.client.closed"
            | "xds.nacked"
            | "xds.stream.opened" => return None,
            "subchannel.state" => return self.subchannel(event, &told),
            // The push that it came from says the same.
            "xds.response" if event.cause.is_some() => return None,

            "scenario.step" => match text(&told, "name") {
                Some(name) => return Some(format!("step {}, {name}", field("number"))),
                None => return Some(format!("step {} (line {})", field("number"), field("line"))),
            },
            "mesh.apply" => return Some(format!("applied {}", list(texts(&told, "files")))),
            "mesh.rejected" => {
                return Some(format!("{} is rejected: {}", field("what"), list(texts(&told, "reasons"))));
            }
            "mesh.patch" => {
                let patch = told.get("patch").map(|patch| cut(&patch.to_string())).unwrap_or_default();
                return Some(format!("{} {} with {patch}", field("what"), field("object")));
            }
            "mesh.delete" => return Some(format!("deleted {}", list(texts(&told, "objects")))),
            "mesh.disturbed" => return Some(format!("{} {}", field("what"), list(texts(&told, "targets")))),
            "object.applied" => {
                let slice = told.get("endpoints").and_then(Value::as_object);
                return Some(match slice.and_then(|slice| text(slice, "service")) {
                    Some(service) => self.endpoints_behind(event, service, "selects no pod"),
                    None => format!("{} {}{}", field("object"), field("change"), unhealthy(&told)),
                });
            }
            "object.deleted" => {
                let deleted = format!("{} deleted", field("object"));
                return Some(match service_of(self.until(event), &field("object")) {
                    Some(service) => format!("{deleted}; {}", self.endpoints_behind(event, service, "has no endpoint")),
                    None => deleted,
                });
            }

            "program.delayed" => format!("its program starts after {} ms only", field("by_ms")),
            "container.started" => "started".to_owned(),
            "container.terminating" => "told to terminate".to_owned(),
            "container.paused" => "paused: its processes do not run".to_owned(),
            "container.resumed" => "runs again".to_owned(),
            "container.killed" => "killed".to_owned(),
            "container.exited" => match text(&told, "message") {
                Some(message) => format!("{} with code {}: {message}", field("reason"), field("code")),
                None => format!("{} with code {}", field("reason"), field("code")),
            },
            "pod.status" => {
                return Some(format!("{}: {} ready, {}", field("pod"), field("ready"), field("status")));
            }
            "image.pulling" => {
                let (container, image, takes) = (field("container"), field("image"), field("takes_ms"));
                return Some(format!("{container} waits {takes} ms until its image {image} is pulled"));
            }
            "image.missing" => {
                return Some(format!("the image of {} cannot be pulled: {}", field("container"), field("error")));
            }
            "image.backed-off" => {
                return Some(format!("{} waits {} ms before it pulls again", field("container"), field("wait_ms")));
            }
            "container.backed-off" => {
                return Some(format!("{} waits {} ms before its next start", field("container"), field("wait_ms")));
            }
            "injection.noted" => return Some(format!("{}: {}", field("pod"), field("note"))),
            "pod.forbidden" => return Some(format!("{} cannot be made: {}", field("pod"), field("error"))),
            "hook.finished" => {
                let error = text(&told, "error")?;
                return Some(format!("{} hook of {} failed: {error}", field("hook"), field("container")));
            }
            "pod.waits" => return Some(format!("{}: {}", field("pod"), field("reason"))),
            "probe.turned" => {
                let verb = if told.get("passing") == Some(&Value::Bool(true)) { "passes" } else { "fails" };
                let error = text(&told, "error").map(|error| format!(": {error}")).unwrap_or_default();
                format!("{} probe of {} {verb}{error}", field("probe"), field("container"))
            }

            "net.refused" => format!("{} refused the connection", self.endpoint(event, &field("to"))),
            "net.timeout" => format!("gave up on {}: no packet came through", self.endpoint(event, &field("to"))),
            "net.stalled" => format!("packets to {} are lost", self.endpoint(event, &field("to"))),
            "net.partitioned" => return Some(format!("packets between {} and {} are lost", field("a"), field("b"))),
            "net.blocked" => return Some(format!("packets from {} to {} are lost", field("from"), field("to"))),
            "net.jammed" => return Some(format!("packets from {} to {} wait", field("from"), field("to"))),
            "net.lossy" => {
                let (loss, from, to) = (field("loss_percent"), field("from"), field("to"));
                return Some(format!("of the packets from {from} to {to} {loss} % are lost"));
            }
            "net.slowed" => {
                let ms = |name: &str| told.get(name).and_then(Value::as_f64).unwrap_or_default() / 1_000.0;
                let (from, to, least, most) = (field("from"), field("to"), ms("least_us"), ms("most_us"));
                let by = if least < most { format!("{least} to {most}") } else { format!("{most}") };
                return Some(format!("packets from {from} to {to} take {by} ms longer"));
            }
            "net.mended" => {
                return Some(format!("the {} from {} to {} is over", field("fault"), field("from"), field("to")));
            }
            "clock.set" => return Some(clock(&field("pod"), told.get("ahead_ms").and_then(Value::as_i64))),
            "file.torn" => {
                format!("a write to {} stops after {} of {} bytes", field("path"), field("written"), field("of"))
            }
            "volume.full" => return Some(format!("the volume {} of {} is full", field("volume"), field("pod"))),
            "volume.freed" => {
                return Some(format!("the volume {} of {} has room again", field("volume"), field("pod")));
            }
            "pod.tokens" => return Some(tokens(&told, &field("pod"))),
            "net.healed" => return Some(format!("packets between {} and {} arrive again", field("a"), field("b"))),
            "net.isolated" => return Some(format!("packets from and to {} are lost", field("pod"))),
            "net.rejoined" => return Some(format!("packets from and to {} arrive again", field("pod"))),
            "netns.removed" => return Some(format!("{} is gone, and its address free", field("pod"))),
            "power.off" => return Some(format!("{} loses power", powered(&field("pod")))),
            "power.on" => return Some(format!("{} has power again", powered(&field("pod")))),
            "node.not-ready" => {
                return Some(format!("{} is not heard of any more, and not ready, nor are its pods", field("node")));
            }
            "node.ready" => return Some(format!("{} is ready again", field("node"))),
            "pod.collected" => return Some(format!("{} is gone with its node {}", field("pod"), field("node"))),
            "pod.evicted" => {
                return Some(format!("{} is evicted: {} was lost for too long", field("pod"), field("node")));
            }

            "xds.push" => format!(
                "sends {} {}{}",
                node(&field("node")),
                resources(&field("type"), texts(&told, "resources")),
                made_from(texts(&told, "from")),
            ),
            "xds.held" => match text(&told, "by") {
                Some("hold") => format!("holds back a response of {} to {}", field("type"), node(&field("node"))),
                Some("delay") => format!("delays a response of {} to {}", field("type"), node(&field("node"))),
                _ => format!(
                    "keeps a response of {} to {} for another to overtake it",
                    field("type"),
                    node(&field("node"))
                ),
            },
            "xds.released" => {
                let (kind, node, waited) = (field("type"), field("node"), field("waited_ms"));
                format!("lets a response of {kind} to {} go after {waited} ms", self::node(&node))
            }
            "xds.dropped" => format!("a response of {} to {} is dropped", field("type"), node(&field("node"))),
            "xds.response" => format!("received {}", resources(&field("type"), texts(&told, "resources"))),
            "xds.request" => format!("waits for {}", resources(&field("type"), texts(&told, "names"))),
            "xds.stream.closed" => {
                let whose = match text(&told, "client") {
                    Some("#server") | None => "its servers",
                    Some(target) => target,
                };
                match text(&told, "code") {
                    Some("Ok") => format!("the xDS stream for {whose} ended"),
                    _ => format!("has no xDS stream for {whose}: {}", field("message")),
                }
            }
            "agent.stream.closed" => match text(&told, "code") {
                Some("Ok") => "ends an xDS stream of the application".to_owned(),
                _ => format!("ends an xDS stream of the application: {}", field("message")),
            },
            "istiod.stream.closed" => format!("the stream of {} ended: {}", node(&field("node")), field("message")),
            "agent.readiness" => match text(&told, "reason") {
                Some(reason) => format!("the agent is not ready: {reason}"),
                None => "the agent is ready".to_owned(),
            },
            "agent.health" => match text(&told, "message") {
                Some(message) => format!("the application is not healthy: {message}"),
                None => "the application is healthy".to_owned(),
            },
            "istiod.workload.health" => match text(&told, "message") {
                Some(message) => format!("sends nobody to {}, which is not healthy: {message}", field("entry")),
                None => format!("is told that {} is healthy", field("entry")),
            },
            "istiod.workload.registered" => {
                let (entry, group) = (field("entry"), field("group"));
                match told.get("again") {
                    Some(Value::Bool(true)) => format!("{} has a stream again for {entry}", node(&field("node"))),
                    _ => format!("registers {} as {entry} of group {group}", node(&field("node"))),
                }
            }
            "istiod.workload.disconnected" => format!("the last stream for {} ended", field("entry")),
            "istiod.workload.cleaned-up" => format!("deletes {}, which did not come back", field("entry")),
            "machine.booted" => return Some(format!("machine {} boots", field("machine"))),
            "machine.shutdown" => return Some(format!("machine {} shuts down", field("machine"))),
            "agent.stopped" => format!("the agent ends: {}", field("reason")),
            "agent.token.missing" => format!("cannot read the token {}: {}", field("path"), field("error")),
            "cert.request.failed" => format!("got no certificate: {}", field("message")),
            "cert.publish.failed" => format!("cannot write certificates to {}: {}", field("directory"), field("error")),
            "cert.refused" => {
                format!(
                    "cannot use the {} of certificate provider {}: {}",
                    field("what"),
                    field("instance"),
                    field("error")
                )
            }
            "ca.refused" => match text(&told, "identity") {
                Some(identity) => format!("signs no certificate for {identity}: {}", field("error")),
                None => format!("signs no certificate: {}", field("error")),
            },
            "istiod.stream.refused" => format!("refuses an xDS stream: {}", field("error")),
            "istiod.call.delayed" => {
                format!("looks at a call of {} after {} ms only", self.endpoint(event, &field("peer")), field("by_ms"))
            }
            "xds.nack" => format!("rejects a response: {}", field("error")),
            "config.applied" => format!("uses for {}: {}", field("target"), clusters(&told)),
            "listener.applied" => format!("serves {}: {}", field("listener"), filter_chains(&told)),
            "config.failed" if self.cause_is(event, "xds.stream.closed") => {
                format!("has no configuration for {}, for want of that stream", field("target"))
            }
            "config.failed" => format!("has no configuration for {}: {}", field("target"), field("error")),

            "server.serving" => match text(&told, "error") {
                Some(error) => format!("does not serve {}: {error}", field("address")),
                None => format!("serves {}", field("address")),
            },
            "conn.accept.failed" => format!("takes no connections on {}: {}", field("local"), field("error")),
            "conn.failed" => {
                format!("cannot connect to {}: {}", self.endpoint(event, &field("address")), field("error"))
            }
            "conn.rejected" | "server.turned_away" => {
                format!("rejects the connection from {}: {}", self.endpoint(event, &field("peer")), field("error"))
            }
            "rpc.fault" => match (text(&told, "abort"), told.get("delay_ms").map(plain)) {
                (Some(code), _) => format!("the route is to fail the call with {code}"),
                (None, delay) => format!("the route is to hold the call back for {} ms", delay.unwrap_or_default()),
            },
            "cluster.priority" => format!(
                "calls to {} go to priority {}, {}",
                field("cluster"),
                field("priority"),
                list(texts(&told, "localities").map(|place| place.trim_end_matches('/')))
            ),
            "rpc.denied" => denied(&told, &self.endpoint(event, &field("peer"))),
            "rpc.finished" => finished(&told),
            _ => {
                let told = told.iter().filter(|(_, value)| !value.is_null());
                let told: String = told.map(|(name, value)| format!(" {name}={}", cut(&plain(value)))).collect();
                format!("{}{told}", event.kind)
            }
        };
        Some(format!("{}: {sentence}", place(&event.at)))
    }

    /// The trace up to an event, with it.
    fn until(&self, event: &Recorded) -> &'t [Recorded] {
        let events = self.trace.events();
        &events[..events.partition_point(|other| other.seq <= event.seq)]
    }

    /// What is behind a Service after a change; `none` says that nothing is.
    fn endpoints_behind(&self, event: &Recorded, service: &str, none: &str) -> String {
        let Endpoints { ready, unready, .. } = Endpoints::of(self.until(event), service);
        let names = |pods: &BTreeSet<String>| list(pods.iter().map(|pod| pod.rsplit('/').next().unwrap_or(pod)));
        match (names(&ready), names(&unready)) {
            (ready, unready) if ready.is_empty() && unready.is_empty() => format!("Service {service} {none}"),
            (ready, unready) if unready.is_empty() => format!("Service {service} has the endpoints {ready}"),
            (ready, unready) if ready.is_empty() => format!("Service {service} has no endpoint: {unready} not ready"),
            (ready, unready) => format!("Service {service} has the endpoints {ready}; {unready} not ready"),
        }
    }

    fn cause_is(&self, event: &Recorded, kind: &str) -> bool {
        event.cause.and_then(|cause| self.trace.get(cause)).is_some_and(|cause| cause.kind == kind)
    }

    /// Only a connection that was lost: an attempt that failed has told so before.
    fn subchannel(&self, event: &Recorded, told: &Map<String, Value>) -> Option<String> {
        let lost = text(told, "state") == Some("IDLE");
        let error = text(told, "error").filter(|_| lost)?;
        let to = self.endpoint(event, text(told, "address")?);
        Some(format!("{}: lost the connection to {to}: {error}", place(&event.at)))
    }

    /// A connection that calls did not wait for.
    pub(super) fn late(&self, late: &Late<'_>) -> String {
        let to = self.endpoint(late.event, &late.address);
        let (before, all) = late.calls;
        let sentence = match late.state.as_deref() {
            Some("READY") => format!(
                "the connection to {to} is ready; calls go where one is, and {before} of {all} had ended before"
            ),
            _ => format!(
                "begins to connect to {to}; calls go where a connection is ready, and {before} of {all} ended before \
                 this one was"
            ),
        };
        format!("{}: {sentence}", place(&late.event.at))
    }

    /// An address with the pod that had it then, where the trace tells.
    fn endpoint(&self, event: &Recorded, address: &str) -> String {
        match pod_at(self.trace, event, address) {
            Some(pod) => format!("{} ({address})", pod.rsplit('/').next().unwrap_or(&pod)),
            None => address.to_owned(),
        }
    }
}

/// How wrong a clock is.
fn clock(pod: &str, ahead_ms: Option<i64>) -> String {
    match ahead_ms.unwrap_or_default() {
        0 => format!("the clock of {pod} is right"),
        ms if ms > 0 => format!("the clock of {pod} is {} s ahead", ms as f64 / 1_000.0),
        ms => format!("the clock of {pod} is {} s behind", -ms as f64 / 1_000.0),
    }
}

/// Of a WorkloadEntry, that nobody is sent to it if so it is.
fn unhealthy(told: &Map<String, Value>) -> &'static str {
    let entry = told.get("entry").and_then(Value::as_object);
    if entry.is_some_and(|entry| entry.get("healthy") == Some(&Value::Bool(false))) { ", not healthy" } else { "" }
}

/// What becomes of a pod's tokens.
fn tokens(told: &Map<String, Value>, pod: &str) -> String {
    match (told.get("refreshed"), told.get("life_s").and_then(Value::as_u64)) {
        (Some(Value::Bool(true)), _) => format!("the tokens of {pod} are replaced in time"),
        (_, Some(life)) => format!("the tokens of {pod} expire in {life} s and are not replaced"),
        _ => format!("the tokens of {pod} are not replaced any more"),
    }
}

/// The pod, `namespace/name`, that had an address when `event` happened.
pub(super) fn pod_at(trace: &Trace, event: &Recorded, address: &str) -> Option<String> {
    let before = || trace.events().iter().rev().skip_while(|other| other.seq > event.seq);
    // A Service's address led to a pod's.
    let mut connects = before().filter(|other| other.kind == "net.connect" && other.at == event.at).map(fields);
    let connect = connects.find(|connect| text(connect, "to") == Some(address));
    let address = connect.as_ref().and_then(|connect| text(connect, "backend")).unwrap_or(address);
    let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
    let mut added = before().filter(|other| other.kind == "netns.added").map(fields);
    let added = added.find(|added| texts(added, "addresses").any(|other| other == ip))?;
    text(&added, "pod").map(str::to_owned)
}

/// Whose power it is: a node's own, or that of the node of a pod.
fn powered(pod: &str) -> String {
    pod.strip_prefix("node/").map_or_else(|| format!("the node of {pod}"), str::to_owned)
}

/// `shop/web-0/app` without its namespace.
fn place(at: &str) -> &str {
    match at.split_once('/') {
        Some((_, rest)) if rest.contains('/') => rest,
        _ => at,
    }
}

/// The pod in a node ID, `sidecar~<address>~<pod>.<namespace>~<domain>`.
fn node(id: &str) -> &str {
    let pod = id.split('~').nth(2).unwrap_or(id);
    // A pod's name may have dots in it, a namespace's not.
    pod.rsplit_once('.').map_or(pod, |(name, _)| name)
}

fn resources<'n>(kind: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let what = match kind {
        "LDS" => "listener",
        "RDS" => "routes",
        "CDS" => "cluster",
        "EDS" => "endpoints of",
        other => other,
    };
    if names.is_empty() { format!("an empty {kind} response") } else { format!("{what} {}", list(names.into_iter())) }
}

fn made_from<'n>(objects: impl Iterator<Item = &'n str>) -> String {
    let objects: Vec<&str> = objects.collect();
    if objects.is_empty() { String::new() } else { format!(", made from {}", list(objects.into_iter())) }
}

/// The clusters of a client's configuration.
fn clusters(applied: &Map<String, Value>) -> String {
    let clusters = applied.get("clusters").and_then(Value::as_array).into_iter().flatten();
    let clusters: Vec<String> = clusters
        .map(|cluster| {
            let field = |name: &str| cluster.get(name).map(plain).unwrap_or_default();
            if let Some(error) = cluster.get("error").and_then(Value::as_str) {
                return format!("{} ({error})", field("name"));
            }
            let security = if cluster.get("tls") == Some(&Value::Bool(true)) { "mTLS" } else { "plain text" };
            let endpoints = match field("endpoints").as_str() {
                "1" => "1 endpoint".to_owned(),
                count => format!("{count} endpoints"),
            };
            format!("{} ({endpoints}, {security})", field("name"))
        })
        .collect();
    if clusters.is_empty() { "no cluster".to_owned() } else { list(clusters.iter().map(String::as_str)) }
}

/// The filter chains of a server's configuration.
fn filter_chains(applied: &Map<String, Value>) -> String {
    let chains = applied.get("filter_chains").and_then(Value::as_object).into_iter().flatten();
    let chains: Vec<String> = chains
        .map(|(name, tls)| format!("{name} ({})", if *tls == Value::Bool(true) { "mTLS" } else { "plain text" }))
        .collect();
    list(chains.iter().map(String::as_str))
}

fn finished(rpc: &Map<String, Value>) -> String {
    let field = |name: &str| rpc.get(name).map(plain).unwrap_or_default();
    let code = field("code");
    if code == "Ok" {
        return "the call succeeded".to_owned();
    }
    let cause = text(rpc, "cause_kind").map(|cause| format!(" ({cause})")).unwrap_or_default();
    let attempts = match field("attempts").as_str() {
        "0" => " before it reached any server".to_owned(),
        "1" => String::new(),
        attempts => format!(" after {attempts} attempts"),
    };
    format!("the call ends with {code}{cause}{attempts}: {}", field("message"))
}

/// Who is not let in, and which policy says so or which might have allowed it.
fn denied(denied: &Map<String, Value>, peer: &str) -> String {
    let field = |name: &str| denied.get(name).map(plain).unwrap_or_default();
    let caller = match text(denied, "peer_spiffe") {
        Some(identity) => identity.to_owned(),
        None => format!("{peer}, who has no identity,"),
    };
    let reason = match text(denied, "policy") {
        Some(policy) => format!("the policy {policy} denies it"),
        None => format!("none of the policies {} allows it", list(texts(denied, "allow_policies"))),
    };
    format!("does not let {caller} call {}: {reason}", field("method"))
}

/// The first few of many names.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.get(NAMES_MAX..) {
        Some(rest) if !rest.is_empty() => format!("{} and {} more", names[..NAMES_MAX].join(", "), rest.len()),
        _ => names.join(", "),
    }
}

/// A value without JSON's quotes, and without the versions of parts, which only the trace needs.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, value)| !name.ends_with("version") && !value.is_null());
            let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", plain(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_its_pod_whose_name_may_have_dots() {
        assert_eq!(node("sidecar~10.0.0.1~echo-v1.shop~shop.svc.cluster.local"), "echo-v1");
        assert_eq!(node("sidecar~10.0.0.1~web.a.shop~shop.svc.cluster.local"), "web.a");
    }

    #[test]
    fn values_read_without_quotes_and_versions() {
        let value = serde_json::json!([{"name": "a", "version": "1", "endpoints": 2, "error": null}, "b"]);
        assert_eq!(plain(&value), "[{name=a, endpoints=2}, b]");
    }

    #[test]
    fn of_many_names_the_first_are_told() {
        assert_eq!(list(["a", "b", "c"].into_iter()), "a, b, c");
        assert_eq!(list(["a", "b", "c", "d", "e"].into_iter()), "a, b, c and 2 more");
    }

    #[test]
    fn places_and_nodes_go_by_their_pod() {
        assert_eq!(place("shop/web-0/app"), "web-0/app");
        assert_eq!(place("node/node-1"), "node/node-1");
        assert_eq!(node("sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local"), "web-0");
        assert_eq!(node("anything"), "anything");
    }
}
