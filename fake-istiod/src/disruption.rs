//! What somebody does to istiod's services: they answer late, with an error, or first one and then the other.
//!
//! No istiod has [`Disruptions`] of its own accord. Whoever gives it some sets them there; of those that concern a call
//! the one that was set last decides. Streams that are open when an error is set are closed with it.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hermesh_runtime::latest::{Latest, Reader};
use hermesh_runtime::server::ConnectionInfo;
use hermesh_runtime::{Address, Draws, EventId, Runtime};
use tokio::time::Instant;
use tonic::{Code, Status};

hermesh_runtime::event! {
    /// A call waits before it is looked at. Its cause is who wants it so.
    CallDelayed = "istiod.call.delayed" {
        /// `ca` or `xds`.
        service: &'static str,
        peer: Option<Address>,
        by_ms: u64,
    }
}

/// A service of istiod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Signs certificates.
    Authority,
    /// Serves xDS.
    Discovery,
}

/// Disruptions of all services; clones share them. They may outlive an istiod, and be the next one's too.
#[derive(Clone, Debug)]
pub struct Disruptions {
    all: Latest<All>,
}

/// What becomes of some calls.
#[derive(Clone, Debug)]
pub struct Disruption {
    /// Calls of which service.
    pub service: Service,
    /// Whose calls; everybody's if none.
    pub clients: Option<Clients>,
    /// By how much later they are looked at: drawn for each.
    pub delay: Option<RangeInclusive<Duration>>,
    /// What they are answered with after that; as ever if none.
    pub error: Option<Code>,
    /// When this ends by itself.
    pub until: Option<Instant>,
    /// Who wants it so.
    pub cause: Option<EventId>,
}

/// Some clients, by the addresses that they call from.
#[derive(Clone)]
pub struct Clients {
    name: String,
    has: Arc<Has>,
}

/// Whether the client at an address is meant.
type Has = dyn Fn(IpAddr) -> bool + Send + Sync;

/// All that was ever set, in that order. The number of one is its place, from 1.
#[derive(Clone, Debug, Default)]
struct All(Vec<Set>);

#[derive(Clone, Debug)]
struct Set {
    disruption: Disruption,
    lifted: bool,
}

impl Service {
    /// What it is called for short.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Authority => "ca",
            Self::Discovery => "xds",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Authority => "the certificate authority",
            Self::Discovery => "the discovery service",
        }
    }
}

impl Disruptions {
    /// None as yet.
    #[must_use]
    pub fn new() -> Self {
        Self { all: Latest::new(All::default()) }
    }

    /// Adds one, which decides before all others about the calls that it concerns.
    pub fn set(&self, disruption: Disruption) {
        self.all.modify(|all| all.0.push(Set { disruption, lifted: false }));
    }

    /// Serves these clients, by name, as ever from now on; all of them if none.
    pub fn lift(&self, service: Service, clients: Option<Clients>) {
        self.all.modify(|all| all.lift(service, clients));
    }
}

impl Default for Disruptions {
    fn default() -> Self {
        Self::new()
    }
}

impl All {
    fn lift(&mut self, service: Service, clients: Option<Clients>) {
        let covers = |other: &Option<Clients>| match (&clients, other) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own.name == other.name,
        };
        let mut wider = false;
        for set in self.0.iter_mut().filter(|set| set.disruption.service == service && !set.lifted) {
            set.lifted = covers(&set.disruption.clients);
            wider |= !set.lifted;
        }
        if wider {
            let disruption = Disruption { service, clients, delay: None, error: None, until: None, cause: None };
            self.0.push(Set { disruption, lifted: false });
        }
    }

    /// What decides about a call from an address now.
    fn about(&self, service: Service, peer: Option<IpAddr>, now: Instant) -> Option<&Disruption> {
        let standing = self.0.iter().rev().filter(|set| !set.lifted).map(|set| &set.disruption);
        let mut standing = standing.filter(|disruption| disruption.until.is_none_or(|until| now < until));
        standing.find(|disruption| disruption.concerns(service, peer))
    }

    /// The first error set after the one with this number that closes streams from an address.
    fn closing(&self, after: usize, service: Service, peer: Option<IpAddr>) -> Option<&Disruption> {
        let mut later = self.0.iter().skip(after).map(|set| &set.disruption);
        later.find(|disruption| disruption.error.is_some() && disruption.concerns(service, peer))
    }
}

impl Disruption {
    fn concerns(&self, service: Service, peer: Option<IpAddr>) -> bool {
        let has = |clients: &Clients| peer.is_some_and(|peer| (clients.has)(peer));
        self.service == service && self.clients.as_ref().is_none_or(has)
    }

    fn refusal(&self, code: Code) -> Refusal {
        Refusal { status: Status::new(code, format!("{} is disrupted", self.service.name())), cause: self.cause }
    }
}

impl Clients {
    /// Those of whose addresses `has` is true. Two that have one `name` are the same clients.
    pub fn new(name: impl Into<String>, has: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { name: name.into(), has: Arc::new(has) }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clients").field(&self.name).finish()
    }
}

/// What a call is answered with, and who wants it so.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) cause: Option<EventId>,
}

/// Where the calls of one service come in.
#[derive(Clone)]
pub(crate) struct Door {
    rt: Runtime,
    service: Service,
    disruptions: Option<Disruptions>,
    draws: Arc<Mutex<Draws>>,
}

impl Door {
    pub(crate) fn new(rt: &Runtime, service: Service, disruptions: Option<Disruptions>) -> Self {
        let draws = rt.draws(&format!("istiod/{}/delay", service.short()));
        Self { rt: rt.clone(), service, disruptions, draws: Arc::new(Mutex::new(draws)) }
    }

    /// Lets a call in, at once or late, or refuses it.
    pub(crate) async fn enter(&self, connection: Option<&ConnectionInfo>) -> Result<(), Refusal> {
        let Some(disruptions) = &self.disruptions else { return Ok(()) };
        let peer = connection.map(|connection| &connection.peer);
        let about = |all: &All| all.about(self.service, ip(peer), Instant::now()).cloned();
        let Some(disruption) = disruptions.all.look(about) else { return Ok(()) };
        if let Some(delay) = &disruption.delay {
            let by = self.draw(delay);
            let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            let event = CallDelayed { service: self.service.short(), peer: peer.cloned(), by_ms };
            self.rt.emit_because(disruption.cause, event);
            tokio::time::sleep(by).await;
        }
        match disruption.error {
            Some(code) => Err(disruption.refusal(code)),
            None => Ok(()),
        }
    }

    /// Tells when a stream that has come in is to be closed.
    pub(crate) fn watch(&self, connection: Option<&ConnectionInfo>) -> Watch {
        let reader = self.disruptions.as_ref().map(|disruptions| disruptions.all.reader());
        let seen = reader.as_ref().map_or(0, |reader| reader.peek(|all| all.0.len()));
        Watch { service: self.service, peer: ip(connection.map(|connection| &connection.peer)), reader, seen }
    }

    fn draw(&self, delay: &RangeInclusive<Duration>) -> Duration {
        let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(draws.between(ms(delay.start()), ms(delay.end())))
    }
}

/// Watches over one stream.
pub(crate) struct Watch {
    service: Service,
    peer: Option<IpAddr>,
    reader: Option<Reader<All>>,
    /// How many had been set when the stream came in.
    seen: usize,
}

impl Watch {
    /// Ends when the stream is to be closed. Safe to drop while it waits.
    pub(crate) async fn closed(&mut self) -> Refusal {
        let Self { service, peer, reader: Some(reader), seen } = self else { return std::future::pending().await };
        loop {
            let closing = reader.look(|all| {
                let closing = all.closing(*seen, *service, *peer)?;
                Some(closing.refusal(closing.error?))
            });
            match closing {
                Some(refusal) => return refusal,
                None => reader.changed().await,
            }
        }
    }
}

/// What names a call to who made it and to who answers it: where it comes from, and its path.
pub(crate) fn call_name(connection: Option<&ConnectionInfo>, path: &str) -> Option<String> {
    connection.map(|connection| format!("{}{path}", connection.peer))
}

fn ip(peer: Option<&Address>) -> Option<IpAddr> {
    match peer {
        Some(Address::Tcp(address)) => Some(address.ip()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const CART: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn web() -> Option<Clients> {
        Some(Clients::new("web", |address| address == WEB))
    }

    fn error(service: Service, clients: Option<Clients>, code: Code) -> Disruption {
        Disruption { service, clients, delay: None, error: Some(code), until: None, cause: None }
    }

    /// What a call from either address is answered with.
    fn answers(disruptions: &Disruptions, service: Service) -> [Option<Code>; 2] {
        let about = |peer| disruptions.all.look(|all| all.about(service, Some(peer), Instant::now())?.error);
        [WEB, CART].map(about)
    }

    #[test]
    fn of_those_that_concern_a_call_the_last_one_decides() {
        let disruptions = Disruptions::new();
        disruptions.set(error(Service::Authority, None, Code::Unavailable));
        disruptions.set(error(Service::Authority, web(), Code::Internal));
        assert_eq!(answers(&disruptions, Service::Authority), [Some(Code::Internal), Some(Code::Unavailable)]);
        assert_eq!(answers(&disruptions, Service::Discovery), [None, None]);
        disruptions.lift(Service::Authority, web());
        assert_eq!(answers(&disruptions, Service::Authority), [None, Some(Code::Unavailable)]);
        disruptions.lift(Service::Authority, None);
        assert_eq!(answers(&disruptions, Service::Authority), [None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_with_an_end_ends_by_itself() {
        let (disruptions, until) = (Disruptions::new(), Instant::now() + Duration::from_secs(5));
        let disruption = error(Service::Discovery, None, Code::Unavailable);
        disruptions.set(Disruption { until: Some(until), ..disruption });
        assert_eq!(answers(&disruptions, Service::Discovery), [Some(Code::Unavailable); 2]);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(answers(&disruptions, Service::Discovery), [None, None]);
    }

    #[test]
    fn a_stream_is_closed_by_what_is_set_after_it_was_opened_even_if_that_is_over() {
        let disruptions = Disruptions::new();
        disruptions.set(error(Service::Discovery, None, Code::Unavailable));
        disruptions.set(error(Service::Discovery, web(), Code::Internal));
        disruptions.lift(Service::Discovery, None);
        let closing = |seen, peer| disruptions.all.look(|all| all.closing(seen, Service::Discovery, Some(peer))?.error);
        assert_eq!((closing(0, WEB), closing(0, CART)), (Some(Code::Unavailable), Some(Code::Unavailable)));
        assert_eq!((closing(1, WEB), closing(1, CART)), (Some(Code::Internal), None));
        assert_eq!(closing(2, WEB), None);
    }
}
