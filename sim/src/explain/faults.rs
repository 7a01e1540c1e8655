//! What is broken at some moment: what was done and not undone, and who has not got over it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{fields, streams, text};
use crate::trace::Recorded;

/// Something that is broken.
pub(super) struct Fault<'t> {
    pub(super) event: &'t Recorded,
    what: &'static str,
    pods: Vec<String>,
    /// Whether it concerns only what goes on between its pods.
    between: bool,
}

impl Fault<'_> {
    /// Whether it lies in the world around the processes, rather than in what they make of it.
    pub(super) fn is_of_the_world(&self) -> bool {
        let of_a_program =
            ["pod.status", "image.pulling", "xds.nack", "xds.held", "xds.dropped", "cert.request.failed"];
        !of_a_program.contains(&self.event.kind) && !["clock", "tokens", "volume", "stream"].contains(&self.what)
    }

    /// Whether it stands between the pod `client` and one of `servers`.
    pub(super) fn concerns(&self, client: &str, servers: &BTreeSet<&str>) -> bool {
        let serves = |pod: &String| servers.contains(pod.as_str());
        if self.between {
            self.pods.iter().any(|pod| pod == client) && self.pods.iter().any(serves)
        } else {
            self.pods.iter().any(|pod| pod == client || serves(pod))
        }
    }
}

/// Whether a fault of a link is of both its directions.
fn event_of_both(fault: &Fault<'_>) -> bool {
    fault.event.kind == "net.partitioned"
}

/// Whether what is over is what this fault is.
fn mends(mended: &Recorded, fault: &Fault<'_>) -> bool {
    let kinds: &[&str] = match text(&fields(mended), "fault") {
        Some("cut") => &["net.partitioned", "net.blocked"],
        Some("slow") => &["net.slowed"],
        Some("lossy") => &["net.lossy"],
        _ => &["net.jammed"],
    };
    kinds.contains(&fault.event.kind)
}

/// All that is broken after `events`, in the order in which it broke.
pub(super) fn standing(events: &[Recorded]) -> Vec<Fault<'_>> {
    let mut faults: BTreeMap<(&str, String), Fault<'_>> = BTreeMap::new();
    for event in events {
        let Some((key, stands)) = change(event) else { continue };
        if event.kind == "netns.removed" {
            faults.retain(|_, fault| !fault.pods.contains(&key.1));
            continue;
        }
        if event.kind == "xds.dropped" {
            // It may have been held before.
            let told = fields(event);
            faults.remove(&("way", format!("{}{}", key.1, text(&told, "nonce").unwrap_or_default())));
        }
        if event.kind == "net.mended" {
            let ends: Vec<&str> = key.1.split(' ').take(2).collect();
            let over = |fault: &Fault<'_>| {
                fault.pods == ends || (event_of_both(fault) && fault.pods.iter().all(|pod| ends.contains(&&**pod)))
            };
            faults.retain(|(what, _), fault| *what != "link" || !over(fault) || !mends(event, fault));
            continue;
        }
        if event.kind == "net.healed" {
            let ends: Vec<&str> = key.1.split(' ').collect();
            faults.retain(|(what, _), fault| *what != "link" || fault.pods.iter().any(|pod| !ends.contains(&&**pod)));
            continue;
        }
        if matches!(event.kind, "xds.client.closed" | "istiod.stream.closed" | "container.exited" | "container.killed")
        {
            // What ends takes along its streams, at either end of them.
            let ends = |what: &str| what == key.0 || (event.kind.starts_with("container.") && what == "way");
            faults.retain(|(what, whose), _| !ends(what) || !whose.starts_with(&key.1));
            if event.kind.starts_with("container.") {
                faults.remove(&("pause", event.at.to_string()));
                faults.remove(&("certificate", event.at.to_string()));
            }
            continue;
        }
        if !stands {
            let answers = |fault: &Fault<'_>| key.0 == "response" && same_nonce(fault.event, event);
            if !faults.get(&key).is_some_and(answers) {
                faults.remove(&key);
            }
            continue;
        }
        let pods = match key.0 {
            "link" => key.1.split(' ').take(2).map(str::to_owned).collect(),
            "way" => client(event).into_iter().collect(),
            "pull" => key.1.rsplit_once('/').map(|(pod, _)| pod.to_owned()).into_iter().collect(),
            "response" | "pause" | "certificate" => {
                event.at.rsplit_once('/').map(|(pod, _)| pod.to_owned()).into_iter().collect()
            }
            "volume" => key.1.split(' ').take(1).map(str::to_owned).collect(),
            _ => vec![key.1.clone()],
        };
        faults.insert(key.clone(), Fault { event, what: key.0, pods, between: key.0 == "link" });
    }
    let mut faults: Vec<Fault<'_>> = faults.into_values().collect();
    let streams = streams::disturbed(events).into_iter();
    faults.extend(streams.map(|(pod, event)| Fault { event, what: "stream", pods: vec![pod], between: false }));
    faults.sort_by_key(|fault| fault.event.seq);
    faults
}

/// The responses to a pod's clients, `namespace/name`, that are kept back after `events` or were dropped on their way,
/// and what keeps istiod from sending any.
pub(super) fn on_the_way<'t>(events: &'t [Recorded], pod: &str) -> Vec<&'t Recorded> {
    let is_on_the_way =
        |fault: &Fault<'_>| fault.what == "stream" || matches!(fault.event.kind, "xds.held" | "xds.dropped");
    let on_the_way = standing(events).into_iter().filter(|fault| is_on_the_way(fault) && fault.pods == [pod]);
    on_the_way.map(|fault| fault.event).collect()
}

/// The pod, `namespace/name`, in the node ID of an event of istiod.
pub(super) fn client(event: &Recorded) -> Option<String> {
    let told = fields(event);
    let (name, namespace) = text(&told, "node")?.split('~').nth(2)?.rsplit_once('.')?;
    Some(format!("{namespace}/{name}"))
}

/// The pods in which istiod has begun to serve.
pub(super) fn istiods(events: &[Recorded]) -> BTreeSet<&str> {
    let serving = events.iter().filter(|event| event.kind == "istiod.serving");
    serving.filter_map(|event| Some(event.at.rsplit_once('/')?.0)).collect()
}

fn same_nonce(a: &Recorded, b: &Recorded) -> bool {
    fields(a).get("nonce") == fields(b).get("nonce")
}

/// What an event breaks (`true`) or mends.
fn change(event: &Recorded) -> Option<((&'static str, String), bool)> {
    let (what, stands) = match event.kind {
        "net.partitioned" | "net.blocked" | "net.slowed" | "net.lossy" | "net.jammed" => ("link", true),
        "net.healed" | "net.mended" => ("link", false),
        "clock.set" => ("clock", true),
        "pod.tokens" => ("tokens", true),
        "volume.full" => ("volume", true),
        "volume.freed" => ("volume", false),
        "cert.request.failed" => ("certificate", true),
        "cert.issued" => ("certificate", false),
        "net.isolated" => ("isolation", true),
        "net.rejoined" => ("isolation", false),
        "power.off" => ("power", true),
        "power.on" => ("power", false),
        "netns.removed" => ("pod", false),
        "container.paused" => ("pause", true),
        "container.resumed" => ("pause", false),
        "pod.status" => ("status", true),
        "image.pulling" => ("pull", true),
        "container.started" => ("pull", false),
        "xds.nack" => ("response", true),
        "xds.held" | "xds.dropped" => ("way", true),
        "xds.released" | "xds.push" | "istiod.stream.closed" => ("way", false),
        "xds.request" | "xds.client.closed" | "container.exited" | "container.killed" => ("response", false),
        _ => return None,
    };
    let told = fields(event);
    let field = |name: &str| text(&told, name).unwrap_or_default().to_owned();
    Some(match what {
        "link" if !matches!(event.kind, "net.partitioned" | "net.healed") => {
            // Several things may be wrong with one direction.
            ((what, format!("{} {} {}", field("from"), field("to"), event.kind)), stands)
        }
        "link" => {
            let mut ends = [field("a"), field("b")];
            ends.sort();
            ((what, ends.join(" ")), stands)
        }
        "status" => {
            let (ready, all) = text(&told, "ready")?.split_once('/')?;
            let done = text(&told, "status") == Some("Completed");
            ((what, field("pod")), ready != all && !done)
        }
        "way" => {
            let stream = format!("{} {} ", event.at, told.get("stream")?);
            let of_type = format!("{stream}{} ", field("type"));
            match event.kind {
                "istiod.stream.closed" => ((what, stream), stands),
                // The next response of a type makes up for one that was dropped.
                "xds.dropped" | "xds.push" => ((what, of_type), stands),
                _ => ((what, format!("{of_type}{}", field("nonce"))), stands),
            }
        }
        "response" => {
            // Several clients of a process may share a name; they differ in their number.
            let Some(ordinal) = told.get("client_ordinal") else {
                return Some(((what, format!("{} ", event.at)), false));
            };
            if event.kind == "xds.client.closed" {
                return Some(((what, format!("{} {ordinal} ", event.at)), false));
            }
            // A NACK is a request with an error; the next one without follows from a response that is better.
            if event.kind == "xds.request" && (!field("error").is_empty() || field("nonce").is_empty()) {
                return None;
            }
            ((what, format!("{} {ordinal} {}", event.at, field("type"))), stands)
        }
        "pause" | "certificate" => ((what, event.at.to_string()), stands),
        "clock" => ((what, field("pod")), told.get("ahead_ms").and_then(Value::as_i64) != Some(0)),
        "tokens" => ((what, field("pod")), told.get("refreshed") == Some(&Value::Bool(false))),
        "volume" => ((what, format!("{} {}", field("pod"), field("volume"))), stands),
        "pull" if stands => ((what, field("container")), stands),
        "pull" => ((what, event.at.to_string()), stands),
        _ => ((what, field("pod")), stands),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hermesh_runtime::{Event, Level};
    use hermesh_xds::client::{ClientClosed, XdsNack, XdsRequest};

    use super::*;
    use crate::engine::{ContainerKilled, NetHealed, NetJammed, NetLossy, NetPartitioned};
    use crate::trace::{Header, Trace};

    fn record<E: Event>(trace: &mut Trace, event: E) {
        trace.record(
            Duration::ZERO,
            &"shop/web-0/app".into(),
            None,
            Arc::new(event) as Arc<dyn hermesh_runtime::AnyEvent>,
        );
    }

    fn kinds(trace: &Trace) -> Vec<&str> {
        standing(trace.events()).iter().map(|fault| fault.event.kind).collect()
    }

    fn trace() -> Trace {
        Trace::new(Header::of_test(Level::Info), true)
    }

    fn nack(client_ordinal: u64) -> XdsNack {
        let (client, error) = ("xds:///cart:80".into(), "bad".to_owned());
        XdsNack { client, client_ordinal, r#type: "LDS".into(), nonce: "1".into(), error }
    }

    fn closed(client_ordinal: u64) -> ClientClosed {
        ClientClosed { client: "xds:///cart:80".into(), client_ordinal, server: "unix:///xds".into() }
    }

    #[test]
    fn clients_of_one_name_answer_for_themselves_alone() {
        let mut trace = trace();
        record(&mut trace, nack(0));
        record(&mut trace, nack(1));
        assert_eq!(kinds(&trace), ["xds.nack", "xds.nack"]);
        record(&mut trace, closed(1));
        let faults = standing(trace.events());
        let left: Vec<u64> = faults.iter().map(|fault| fault.event.seq).collect();
        assert_eq!(left, [1]);
        record(
            &mut trace,
            XdsRequest {
                client: "xds:///cart:80".into(),
                client_ordinal: 2,
                r#type: "LDS".into(),
                version: "2".into(),
                nonce: "2".into(),
                names: vec!["cart:80".into()],
                error: None,
            },
        );
        assert_eq!(kinds(&trace), ["xds.nack"], "another one is content");
        record(&mut trace, ContainerKilled {});
        assert!(kinds(&trace).is_empty());
    }

    #[test]
    fn healing_a_link_mends_all_that_is_wrong_with_it_and_nothing_else() {
        let mut trace = trace();
        let [web, cart, db] = ["shop/web-0", "shop/cart-0", "shop/db-0"].map(str::to_owned);
        record(&mut trace, NetLossy { from: web.clone(), to: cart.clone(), loss_percent: 10.0 });
        record(&mut trace, NetJammed { from: cart.clone(), to: web.clone() });
        record(&mut trace, NetJammed { from: web.clone(), to: db.clone() });
        assert_eq!(kinds(&trace), ["net.lossy", "net.jammed", "net.jammed"]);
        record(&mut trace, NetHealed { a: cart, b: web });
        let faults = standing(trace.events());
        let left: Vec<u64> = faults.iter().map(|fault| fault.event.seq).collect();
        assert_eq!(left, [3]);
        assert!(faults[0].concerns("shop/web-0", &BTreeSet::from(["shop/db-0"])));
    }

    #[test]
    fn what_was_mended_stands_no_more() {
        let mut trace = trace();
        let (web, cart) = ("shop/web-0".to_owned(), "shop/cart-0".to_owned());
        record(&mut trace, NetPartitioned { a: web.clone(), b: cart.clone() });
        record(&mut trace, nack(0));
        assert_eq!(kinds(&trace), ["net.partitioned", "xds.nack"]);
        let servers = |pod| BTreeSet::from([pod]);
        let faults = standing(trace.events());
        assert!(faults[0].concerns("shop/web-0", &servers("shop/cart-0")));
        assert!(!faults[0].concerns("shop/web-0", &servers("shop/db-0")));
        record(&mut trace, NetHealed { a: cart, b: web });
        assert_eq!(kinds(&trace), ["xds.nack"], "whichever end is named first");
        record(&mut trace, closed(0));
        assert!(kinds(&trace).is_empty());
    }
}
