//! Client and server talk to each other over a simulated stream: whatever happens, they agree in the end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ads_support::*;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use hermesh_runtime::Draws;
use hermesh_xds::ResourceType;
use hermesh_xds::ads::client::{Action, AdsClient, ClientStatus, WatchEvent, WatchId};
use hermesh_xds::ads::server::{AdsServer, Rules, ServerAction, Subscription};
use proptest::prelude::*;
use tokio::time::Instant;

/// How long anything takes from one end to the other.
const LATENCY: Duration = Duration::from_millis(1);

/// What is under way.
enum Message {
    Request(Box<DiscoveryRequest>),
    Response(DiscoveryResponse),
    /// The connection attempt succeeds.
    Opened,
    /// The stream's end reaches the client.
    Closed,
}

/// A client, a server with something to serve, and the stream between them.
struct Pair {
    now: Instant,
    client: AdsClient,
    rules: Rules,
    server: Option<AdsServer>,
    contents: BTreeMap<(ResourceType, String), Any>,
    version: u64,
    streams: u64,
    /// How many connection attempts the server will refuse.
    refusals: u32,
    /// In order of arrival, with the stream each belongs to.
    under_way: VecDeque<(Instant, u64, Message)>,
    nacks: Vec<String>,
    events: BTreeMap<WatchId, Vec<WatchEvent>>,
    requests: usize,
}

impl Pair {
    fn new(rules: Rules) -> Self {
        Self {
            now: Instant::now(),
            client: client(),
            rules,
            server: None,
            contents: BTreeMap::new(),
            version: 0,
            streams: 0,
            refusals: 0,
            under_way: VecDeque::new(),
            nacks: Vec::new(),
            events: BTreeMap::new(),
            requests: 0,
        }
    }

    fn watch(&mut self, resource_type: ResourceType, name: &str) -> WatchId {
        let watch = self.client.watch(self.now, resource_type, name);
        self.obey();
        watch
    }

    fn unwatch(&mut self, watch: WatchId) {
        self.client.unwatch(self.now, watch);
        self.obey();
    }

    /// Changes what there is to serve and pushes it.
    fn set(&mut self, resource_type: ResourceType, name: &str, resource: Option<Any>) {
        let key = (resource_type, name.to_owned());
        match resource {
            Some(resource) => self.contents.insert(key, resource),
            None => self.contents.remove(&key),
        };
        self.version += 1;
        let server = self.server.iter().flat_map(AdsServer::watches);
        let due: Vec<_> = server.map(|(resource_type, watch)| (resource_type, watch.subscription.clone())).collect();
        for (resource_type, subscription) in due {
            self.respond(resource_type, &subscription);
        }
    }

    fn break_stream(&mut self, refusals: u32) {
        self.refusals = refusals;
        if self.server.take().is_some() {
            self.under_way.clear();
            self.put(Message::Closed);
        }
    }

    /// Does what happens next, at its time; `false` if nothing happens by `end`.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.under_way.front().map(|(at, ..)| *at);
        let timer = self.client.next_timeout();
        let Some(next) = arrival.into_iter().chain(timer).min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let (_, stream, message) = self.under_way.pop_front().expect("something arrives");
            if stream == self.streams {
                self.deliver(message);
            }
        } else {
            self.client.on_timeout(self.now);
        }
        self.obey();
        true
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Opened => {
                if self.refusals > 0 {
                    self.refusals -= 1;
                    self.client.on_stream_closed(self.now, &tonic::Status::unavailable("connection refused"));
                } else {
                    self.server = Some(AdsServer::new(self.rules, Draws::new(self.streams, "server", 0)));
                    self.client.on_stream_open(self.now);
                }
            }
            Message::Closed => self.client.on_stream_closed(self.now, &tonic::Status::ok("")),
            Message::Response(response) => self.client.on_response(self.now, WALL, &response),
            Message::Request(request) => {
                // What the client sent before it learnt that the stream is gone is lost.
                let Some(server) = &mut self.server else { return };
                self.requests += 1;
                match server.on_request(&request) {
                    ServerAction::Respond { resource_type, names } => self.respond(resource_type, &names),
                    ServerAction::Nack { error, .. } => self.nacks.push(error),
                    _ => {}
                }
            }
        }
    }

    fn respond(&mut self, resource_type: ResourceType, names: &Subscription) {
        let wanted = self.contents.iter().filter(|((kind, name), _)| *kind == resource_type && names.contains(name));
        let resources = wanted.map(|(_, resource)| resource.clone()).collect();
        let server = self.server.as_mut().expect("the stream is open");
        let response = server.respond(resource_type, &format!("v{}/", self.version), resources);
        self.put(Message::Response(response));
    }

    fn put(&mut self, message: Message) {
        self.under_way.push_back((self.now + LATENCY, self.streams, message));
    }

    /// Does what the client says.
    fn obey(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::OpenStream => {
                    self.streams += 1;
                    self.server = None;
                    self.put(Message::Opened);
                }
                Action::CloseStream => {
                    self.streams += 1;
                    self.server = None;
                }
                Action::Send(request) => self.put(Message::Request(Box::new(request))),
                Action::Notify { watch, event } => self.events.entry(watch).or_default().push(event),
                other => panic!("{other:?}"),
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
            && self.client.next_timeout().is_none()
            && self.server.iter().flat_map(AdsServer::watches).all(|(_, watch)| !watch.awaits_answer())
    }
}

#[test]
fn a_listener_and_its_routes_take_four_requests() {
    let mut pair = Pair::new(Rules::ISTIO);
    pair.set(LDS, "l", Some(listener("l", "r")));
    pair.set(RDS, "r", Some(routes("r", &["c"])));
    let listener_watch = pair.watch(LDS, "l");
    pair.run_for(Duration::from_millis(10));
    let routes_watch = pair.watch(RDS, "r");
    pair.run_for(Duration::from_millis(10));
    assert_eq!(pair.events[&listener_watch].len(), 1);
    assert_eq!(pair.events[&routes_watch].len(), 1);
    // LDS and its ACK, RDS and its ACK.
    assert_eq!(pair.requests, 4);
    assert!(pair.is_quiet());
}

#[test]
fn a_pushed_change_reaches_the_watcher_in_one_flight() {
    let mut pair = Pair::new(Rules::ISTIO);
    pair.set(CDS, "c", Some(good(CDS, "c", 1)));
    let watch = pair.watch(CDS, "c");
    pair.run_for(Duration::from_millis(10));
    pair.events.clear();
    pair.set(CDS, "c", Some(good(CDS, "c", 2)));
    pair.run_for(LATENCY);
    assert_eq!(pair.events[&watch].len(), 1);
}

// ADS-07
#[test]
fn a_restarted_server_is_found_again_and_what_changed_meanwhile_is_learnt() {
    let mut pair = Pair::new(Rules::ISTIO);
    pair.set(EDS, "e", Some(endpoints("e", 1)));
    let watch = pair.watch(EDS, "e");
    pair.run_for(Duration::from_secs(1));
    pair.break_stream(3);
    pair.set(EDS, "e", Some(endpoints("e", 2)));
    pair.run_for(Duration::from_secs(60));
    let events = &pair.events[&watch];
    assert!(matches!(events.first(), Some(WatchEvent::Update { .. })));
    assert!(matches!(events.last(), Some(WatchEvent::Update { .. })));
    let between = &events[1..events.len() - 1];
    assert_eq!(between.len(), 3, "one per refused attempt");
    assert!(between.iter().all(|event| matches!(event, WatchEvent::AmbientError(_))));
}

/// One thing that happens to a pair.
#[derive(Clone, Debug)]
enum Step {
    Watch(ResourceType, u32),
    Unwatch(usize),
    Set(ResourceType, u32, u32),
    Delete(ResourceType, u32),
    Break(u32),
    Run(u64),
}

fn name(number: u32) -> String {
    format!("n{number}")
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let types = || prop::sample::select(ResourceType::ALL.to_vec());
    // A server ends routes and endpoints by other means than leaving them out.
    let deletable = prop::sample::select(vec![LDS, CDS]);
    let step = prop_oneof![
        4 => (types(), 0..4u32).prop_map(|(resource_type, number)| Step::Watch(resource_type, number)),
        3 => (0..16usize).prop_map(Step::Unwatch),
        4 => (types(), 0..4u32, 1..4u32).prop_map(|(resource_type, number, variant)| Step::Set(resource_type, number, variant)),
        1 => (deletable, 0..4u32).prop_map(|(resource_type, number)| Step::Delete(resource_type, number)),
        1 => (0..3u32).prop_map(Step::Break),
        4 => (0..4u64).prop_map(Step::Run),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    // `PROPTEST_CASES` may ask for more.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(ProptestConfig::default().cases.max(10_000))
    })]

    #[test]
    fn whatever_happens_the_client_ends_up_with_what_the_server_has(steps in steps(), istio in prop::bool::ANY) {
        let mut pair = Pair::new(if istio { Rules::ISTIO } else { Rules::PROTOCOL });
        let mut watches: Vec<(WatchId, ResourceType, String)> = Vec::new();
        for step in steps {
            match step {
                Step::Watch(resource_type, number) => {
                    watches.push((pair.watch(resource_type, &name(number)), resource_type, name(number)));
                }
                Step::Unwatch(index) => if !watches.is_empty() {
                    let (watch, ..) = watches.remove(index % watches.len());
                    pair.unwatch(watch);
                },
                Step::Set(resource_type, number, variant) => {
                    pair.set(resource_type, &name(number), Some(good(resource_type, &name(number), variant)));
                }
                Step::Delete(resource_type, number) => pair.set(resource_type, &name(number), None),
                Step::Break(refusals) => pair.break_stream(refusals),
                Step::Run(milliseconds) => pair.run_for(Duration::from_millis(milliseconds)),
            }
        }
        pair.run_for(Duration::from_secs(60));

        prop_assert!(pair.is_quiet());
        prop_assert_eq!(&pair.nacks, &Vec::<String>::new());
        let status = pair.client.status();
        let watched: std::collections::BTreeSet<_> =
            watches.iter().map(|(_, resource_type, name)| (*resource_type, name.clone())).collect();
        prop_assert_eq!(status.len(), watched.len());
        for status in status {
            let key = (status.resource_type, status.name.clone());
            let expected = pair.contents.get(&key);
            prop_assert_eq!(status.raw.as_deref(), expected.map(|it| it.value.as_slice()), "{:?}", key);
            let wanted = if expected.is_some() { ClientStatus::Acked } else { ClientStatus::DoesNotExist };
            prop_assert_eq!(status.client_status, wanted);
        }
        // Every watcher's last word is what the cache says.
        for (watch, resource_type, name) in watches {
            let last = pair.events.get(&watch).and_then(|events| events.iter().rfind(|event| {
                !matches!(event, WatchEvent::AmbientError(_))
            }));
            match (pair.contents.contains_key(&(resource_type, name)), last) {
                (true, Some(WatchEvent::Update { .. })) | (false, Some(WatchEvent::ResourceError(_))) => {}
                (exists, last) => prop_assert!(false, "exists: {}, last told: {:?}", exists, last),
            }
        }
    }
}
