//! The server's end of one stream: which requests to answer, with which names.
//!
//! Rules of istiod (`pilot/pkg/xds/server.go`, `ShouldRespond`) by default, of the xDS protocol where [`Rules`] says
//! so. [`AdsServer`] has no stream and no resources: [`on_request`](AdsServer::on_request) says what a request asks
//! for, [`respond`](AdsServer::respond) makes the response that carries it.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use hermesh_runtime::Draws;

use crate::resource::ResourceType;

/// The order in which a change is pushed: what is referred to before what refers to it.
pub const PUSH_ORDER: [ResourceType; 4] =
    [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener, ResourceType::RouteConfiguration];

/// Where istiod departs from the xDS protocol. Each field is one departure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A request for listeners or clusters without names asks for all of them, even if it used to have names. In the
    /// protocol it does so only before any name was given; later it asks for none.
    pub empty_names_always_mean_all: bool,
    /// A NACK's names are not looked at, so that a subscription changed along with it is lost until the next request.
    pub nack_discards_names: bool,
    /// Dropping the name of a listener or a cluster is answered with those that remain.
    pub removal_is_answered: bool,
    /// The first request for clusters on a stream that already has endpoints makes the next ACK of endpoints be
    /// answered with all of them.
    pub clusters_renew_endpoints: bool,
}

impl Rules {
    /// As istiod does it.
    pub const ISTIO: Self = Self {
        empty_names_always_mean_all: true,
        nack_discards_names: true,
        removal_is_answered: true,
        clusters_renew_endpoints: true,
    };

    /// As the protocol has it.
    pub const PROTOCOL: Self = Self {
        empty_names_always_mean_all: false,
        nack_discards_names: false,
        removal_is_answered: false,
        clusters_renew_endpoints: false,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::ISTIO
    }
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerAction {
    /// Send these resources.
    Respond {
        /// Their type.
        resource_type: ResourceType,
        /// Their names; always all that are subscribed to.
        names: Subscription,
    },
    /// The client has accepted the last response; nothing to send.
    Ack {
        /// The type of the response.
        resource_type: ResourceType,
    },
    /// The client has rejected the last response; nothing to send.
    Nack {
        /// The type of the response.
        resource_type: ResourceType,
        /// Why.
        error: String,
    },
    /// The request answers a response that is no longer the last one. The answer to the last one is on its way and
    /// carries the same names or newer ones.
    Stale {
        /// The type of the response.
        resource_type: ResourceType,
    },
    /// The client wants nothing of this type any more.
    Unsubscribed {
        /// The type.
        resource_type: ResourceType,
    },
    /// gRPC clients have no use for this type.
    UnknownType {
        /// Its type URL.
        type_url: String,
    },
}

/// The resources of one type that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Whatever there is.
    All,
    /// Those of these names.
    Names(BTreeSet<String>),
}

impl Subscription {
    /// Whether it covers `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.contains(name),
        }
    }

    /// The names; none for [`Subscription::All`].
    #[must_use]
    pub fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::All => None,
            Self::Names(names) => Some(names),
        }
    }

    /// Whether it covers something that `other` does not.
    fn exceeds(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => false,
            (Self::All, Self::Names(_)) => true,
            (Self::Names(ours), Self::Names(theirs)) => !ours.is_subset(theirs),
        }
    }
}

/// How one type of one stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What the client wants.
    pub subscription: Subscription,
    /// The last response's version; empty before the first.
    pub version_sent: String,
    /// The last response's nonce; empty before the first.
    pub nonce_sent: String,
    /// The version of the last response that the client accepted.
    pub version_acked: String,
    /// The nonce of the last response that the client accepted.
    pub nonce_acked: String,
    /// Why the client rejected the last response, if it did.
    pub last_error: Option<String>,
    answer_next_ack: bool,
}

impl Watch {
    /// Whether the last response has been neither accepted nor rejected yet.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.nonce_sent != self.nonce_acked && self.last_error.is_none()
    }
}

/// The server's state of one stream.
#[derive(Debug)]
pub struct AdsServer {
    rules: Rules,
    draws: Draws,
    watches: BTreeMap<ResourceType, Watch>,
    /// The types that names have been given for on this stream; they stay when the subscription ends.
    named: BTreeSet<ResourceType>,
}

impl AdsServer {
    /// The state of a stream that has just been opened. `draws` makes its nonces.
    #[must_use]
    pub fn new(rules: Rules, draws: Draws) -> Self {
        Self { rules, draws, watches: BTreeMap::new(), named: BTreeSet::new() }
    }

    /// Takes in a request.
    pub fn on_request(&mut self, request: &DiscoveryRequest) -> ServerAction {
        let Some(resource_type) = ResourceType::from_type_url(&request.type_url) else {
            return ServerAction::UnknownType { type_url: request.type_url.clone() };
        };
        let is_nack = request.error_detail.is_some();
        if let Some(error) = &request.error_detail
            && let Some(action) = self.on_nack(resource_type, request, &error.message)
        {
            return action;
        }
        let Some(subscription) = self.subscription_of(resource_type, request) else {
            self.watches.remove(&resource_type);
            return ServerAction::Unsubscribed { resource_type };
        };
        let first = !self.watches.contains_key(&resource_type);
        if first || request.response_nonce.is_empty() {
            return self.subscribe(resource_type, subscription);
        }
        let watch = self.watches.get_mut(&resource_type).expect("it is not the first request of the type");
        if request.response_nonce != watch.nonce_sent {
            return ServerAction::Stale { resource_type };
        }
        if !is_nack {
            watch.version_acked.clone_from(&watch.version_sent);
            watch.nonce_acked.clone_from(&watch.nonce_sent);
            watch.last_error = None;
        }
        let added = subscription.exceeds(&watch.subscription);
        let removed = watch.subscription.exceeds(&subscription);
        watch.subscription = subscription;
        let renew = std::mem::take(&mut watch.answer_next_ack);
        if added || renew || (removed && resource_type.is_full_state() && self.rules.removal_is_answered) {
            return ServerAction::Respond { resource_type, names: watch.subscription.clone() };
        }
        match &watch.last_error {
            Some(error) if is_nack => ServerAction::Nack { resource_type, error: error.clone() },
            _ => ServerAction::Ack { resource_type },
        }
    }

    /// The response that carries `resources`, with a fresh nonce.
    pub fn respond(&mut self, resource_type: ResourceType, version: &str, resources: Vec<Any>) -> DiscoveryResponse {
        let nonce = format!("{version}{:016x}", self.draws.next());
        if let Some(watch) = self.watches.get_mut(&resource_type) {
            watch.version_sent = version.to_owned();
            watch.nonce_sent.clone_from(&nonce);
            watch.last_error = None;
        }
        DiscoveryResponse {
            version_info: version.to_owned(),
            resources,
            type_url: resource_type.type_url().to_owned(),
            nonce,
            ..DiscoveryResponse::default()
        }
    }

    /// How a type stands; `None` if the client does not want it.
    #[must_use]
    pub fn watch(&self, resource_type: ResourceType) -> Option<&Watch> {
        self.watches.get(&resource_type)
    }

    /// What the client wants, in the order in which to push it.
    pub fn watches(&self) -> impl Iterator<Item = (ResourceType, &Watch)> {
        PUSH_ORDER.into_iter().filter_map(|resource_type| Some((resource_type, self.watches.get(&resource_type)?)))
    }

    /// What becomes of a NACK, unless the rules look at its names. A NACK of an earlier response is stale.
    fn on_nack(
        &mut self,
        resource_type: ResourceType,
        request: &DiscoveryRequest,
        error: &str,
    ) -> Option<ServerAction> {
        if let Some(watch) = self.watches.get_mut(&resource_type)
            && (self.rules.nack_discards_names || request.response_nonce == watch.nonce_sent)
        {
            watch.last_error = Some(error.to_owned());
        }
        let error = error.to_owned();
        self.rules.nack_discards_names.then_some(ServerAction::Nack { resource_type, error })
    }

    /// What a request subscribes to; `None` if that is nothing.
    fn subscription_of(&mut self, resource_type: ResourceType, request: &DiscoveryRequest) -> Option<Subscription> {
        if !request.resource_names.is_empty() {
            self.named.insert(resource_type);
            return Some(Subscription::Names(request.resource_names.iter().cloned().collect()));
        }
        let may_mean_all = self.rules.empty_names_always_mean_all || !self.named.contains(&resource_type);
        let all = resource_type.is_full_state() && may_mean_all;
        all.then_some(Subscription::All)
    }

    fn subscribe(&mut self, resource_type: ResourceType, subscription: Subscription) -> ServerAction {
        let names = subscription.clone();
        let first = self.watches.insert(
            resource_type,
            Watch {
                subscription,
                version_sent: String::new(),
                nonce_sent: String::new(),
                version_acked: String::new(),
                nonce_acked: String::new(),
                last_error: None,
                answer_next_ack: false,
            },
        );
        if self.rules.clusters_renew_endpoints
            && resource_type == ResourceType::Cluster
            && first.is_none()
            && let Some(endpoints) = self.watches.get_mut(&ResourceType::Endpoints)
        {
            endpoints.answer_next_ack = true;
        }
        ServerAction::Respond { resource_type, names }
    }
}
