//! What istiod tells of itself on its monitoring port: `/debug/syncz`, the source of `istioctl proxy-status`.

use hermesh_xds::ResourceType;
use serde::Serialize;

use crate::push::{ConnectionStatus, LastResponse, State, Verdict};

/// One ADS stream.
#[derive(Debug, Serialize)]
struct Stream<'a> {
    proxy: &'a str,
    stream: u64,
    /// A push waits for its turn.
    push_pending: bool,
    types: Vec<Type<'a>>,
}

/// The last response of one type.
#[derive(Debug, Serialize)]
struct Type<'a> {
    #[serde(rename = "type")]
    type_url: &'static str,
    version: &'a str,
    nonce: &'a str,
    /// As `istioctl proxy-status` has it: `STALE` is not answered yet.
    status: &'static str,
    error: Option<&'a str>,
}

/// All streams and what they said to the last response of each type, in the order in which they were opened.
pub(crate) fn syncz(state: &State) -> Vec<u8> {
    let streams: Vec<Stream<'_>> =
        state.connections.iter().map(|(number, connection)| stream(*number, connection)).collect();
    serde_json::to_vec(&streams).expect("a status is plain text and numbers")
}

fn stream(number: u64, connection: &ConnectionStatus) -> Stream<'_> {
    let types = connection.last.iter().map(|(resource_type, last)| of_type(*resource_type, last)).collect();
    Stream { proxy: &connection.node, stream: number, push_pending: connection.push_pending, types }
}

fn of_type(resource_type: ResourceType, last: &LastResponse) -> Type<'_> {
    let (status, error) = match &last.verdict {
        Verdict::Pending => ("STALE", None),
        Verdict::Accepted => ("SYNCED", None),
        Verdict::Rejected(error) => ("ERROR", Some(error.as_str())),
    };
    Type { type_url: resource_type.type_url(), version: &last.version, nonce: &last.nonce, status, error }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::push::Way;

    #[test]
    fn a_rejected_response_shows_with_the_clients_words() {
        let last = |verdict| LastResponse { version: "v/1".to_owned(), nonce: "n".to_owned(), verdict, way: Way::Sent };
        let connection = ConnectionStatus {
            node: "sidecar~10.0.0.1~a.demo~demo.svc.cluster.local".to_owned(),
            pod: ("demo".to_owned(), "a".to_owned()),
            push_pending: false,
            last: BTreeMap::from([
                (ResourceType::Cluster, last(Verdict::Accepted)),
                (ResourceType::Listener, last(Verdict::Rejected("no filter".to_owned()))),
            ]),
        };
        let state = State { connections: BTreeMap::from([(3, connection)]), ..State::default() };
        let told: serde_json::Value = serde_json::from_slice(&syncz(&state)).unwrap();
        assert_eq!(told[0]["stream"], 3);
        let statuses = |kind: &str| {
            let types = told[0]["types"].as_array().unwrap();
            types.iter().find(|one| one["type"].as_str().unwrap().ends_with(kind)).cloned().unwrap()
        };
        assert_eq!(statuses("Cluster")["status"], "SYNCED");
        assert_eq!(statuses("Listener")["error"], "no filter");
    }
}
