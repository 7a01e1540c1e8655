//! All xDS clients of a process, in whatever pools, for the client status discovery service (gRFC A40).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hermesh_runtime::Runtime;
use tokio::sync::oneshot;

use super::XdsClient;
use super::server::Command;
use crate::ads::client::ResourceStatus;
use crate::bootstrap::Bootstrap;

/// What a client has to say of itself.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// A channel's target, or `#server`.
    pub(crate) key: String,
    pub(crate) bootstrap: Arc<Bootstrap>,
    /// By type and name.
    pub(crate) resources: Vec<ResourceStatus>,
}

/// What a process keeps of its clients, by key and ordinal.
#[derive(Debug, Default)]
struct Clients(Mutex<BTreeMap<(String, u64), Weak<XdsClient>>>);

/// Makes `client` known to [`states`] as long as someone holds it.
pub(super) fn register(client: &Arc<XdsClient>) {
    let clients = client.rt.shared::<Clients>();
    let mut clients = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
    clients.retain(|_, client| client.strong_count() > 0);
    clients.insert((client.key.clone(), client.ordinal), Arc::downgrade(client));
}

/// The state of all clients of the process, ordered by key and then by age.
pub(crate) async fn states(rt: &Runtime) -> Vec<ClientState> {
    let mut states = Vec::new();
    for Asked { key, bootstrap, answers } in ask(rt) {
        let mut resources = Vec::new();
        for answer in answers {
            // A client that has ended in the meantime has nothing any more.
            resources.extend(answer.await.unwrap_or_default());
        }
        resources.sort_by(|one: &ResourceStatus, other| {
            (one.resource_type, &one.name).cmp(&(other.resource_type, &other.name))
        });
        states.push(ClientState { key, bootstrap, resources });
    }
    states
}

/// A client that was asked, an answer for each of its management servers.
struct Asked {
    key: String,
    bootstrap: Arc<Bootstrap>,
    answers: Vec<oneshot::Receiver<Vec<ResourceStatus>>>,
}

/// Asks all clients at once, and keeps none of them alive.
fn ask(rt: &Runtime) -> Vec<Asked> {
    let clients = rt.shared::<Clients>();
    let clients: Vec<_> =
        clients.0.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect();
    clients
        .iter()
        .map(|client| {
            let servers = client.servers.lock().unwrap_or_else(PoisonError::into_inner);
            let answers = servers.values().map(|server| {
                let (tell, answer) = oneshot::channel();
                let _ = server.commands().send(Command::Status { tell });
                answer
            });
            Asked { key: client.key.clone(), bootstrap: client.bootstrap.clone(), answers: answers.collect() }
        })
        .collect()
}
