//! What somebody does to istiod's services: they answer late, with an error, or first one and then the other.
//!
//! No istiod has [`Disruptions`] of its own accord. Whoever gives it some sets them there; of those that concern a call
//! the one that was set last decides. Streams that are open when an error is set are closed with it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
#[derive(Clone, Debug, Default)]
pub struct Disruptions {
    all: Arc<Mutex<All>>,
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

/// What is wrong, and the streams that may be closed because of it.
#[derive(Debug, Default)]
struct All {
    /// In the order in which they were set.
    standing: Vec<Disruption>,
    /// By their numbers, which no two streams share.
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
}

/// A stream that has come in.
#[derive(Debug)]
struct Stream {
    service: Service,
    peer: Option<IpAddr>,
    /// The first that closes it.
    closing: Latest<Option<Disruption>>,
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
        Self::default()
    }

    /// Adds one, which decides before all others about the calls that it concerns.
    pub fn set(&self, disruption: Disruption) {
        self.lock().set(disruption, Instant::now());
    }

    /// Serves these clients, by name, as ever from now on; all of them if none.
    pub fn lift(&self, service: Service, clients: Option<Clients>) {
        self.lock().lift(service, clients);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    /// Takes in a stream and gives it a number.
    fn enter(&mut self, stream: Stream) -> u64 {
        let number = self.next_stream;
        self.next_stream += 1;
        self.streams.insert(number, stream);
        number
    }

    /// What is over by itself goes, and streams that an error concerns are to be closed, even if that is over before
    /// they look.
    fn set(&mut self, disruption: Disruption, now: Instant) {
        self.standing.retain(|other| other.until.is_none_or(|until| now < until));
        if disruption.error.is_some() {
            let concerned = self.streams.values().filter(|stream| disruption.concerns(stream.service, stream.peer));
            for stream in concerned.filter(|stream| stream.closing.look(Option::is_none)) {
                stream.closing.replace(Some(disruption.clone()));
            }
        }
        self.standing.push(disruption);
    }

    fn lift(&mut self, service: Service, clients: Option<Clients>) {
        let covers = |other: &Option<Clients>| match (&clients, other) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own.name == other.name,
        };
        self.standing.retain(|disruption| disruption.service != service || !covers(&disruption.clients));
        // What is left may concern them as well.
        if self.standing.iter().any(|disruption| disruption.service == service) {
            self.standing.push(Disruption { service, clients, delay: None, error: None, until: None, cause: None });
        }
    }

    /// What decides about a call from an address now.
    fn about(&self, service: Service, peer: Option<IpAddr>, now: Instant) -> Option<&Disruption> {
        let mut standing = self.standing.iter().rev();
        standing.find(|it| it.until.is_none_or(|until| now < until) && it.concerns(service, peer))
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
        let disruption = disruptions.lock().about(self.service, ip(peer), Instant::now()).cloned();
        let Some(disruption) = disruption else { return Ok(()) };
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
        let Some(disruptions) = &self.disruptions else { return Watch(None) };
        let closing = Latest::new(None);
        let reader = closing.reader();
        let stream = Stream { service: self.service, peer: ip(connection.map(|connection| &connection.peer)), closing };
        let number = disruptions.lock().enter(stream);
        Watch(Some(Watched { disruptions: disruptions.clone(), number, reader }))
    }

    fn draw(&self, delay: &RangeInclusive<Duration>) -> Duration {
        let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(draws.between(ms(delay.start()), ms(delay.end())))
    }
}

/// Watches over one stream, until it is dropped.
pub(crate) struct Watch(Option<Watched>);

struct Watched {
    disruptions: Disruptions,
    /// That of the stream.
    number: u64,
    reader: Reader<Option<Disruption>>,
}

impl Watch {
    /// Ends when the stream is to be closed. Safe to drop while it waits.
    pub(crate) async fn closed(&mut self) -> Refusal {
        let Some(Watched { reader, .. }) = &mut self.0 else { return std::future::pending().await };
        loop {
            let closing = reader.look(|closing| {
                let closing = closing.as_ref()?;
                Some(closing.refusal(closing.error?))
            });
            match closing {
                Some(refusal) => return refusal,
                None => reader.changed().await,
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.disruptions.lock().streams.remove(&self.number);
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
        [WEB, CART].map(|peer| disruptions.lock().about(service, Some(peer), Instant::now())?.error)
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

    /// A stream of the discovery service.
    fn stream(disruptions: &Disruptions, peer: IpAddr) -> Latest<Option<Disruption>> {
        let closing = Latest::new(None);
        let stream = Stream { service: Service::Discovery, peer: Some(peer), closing: closing.clone() };
        disruptions.lock().enter(stream);
        closing
    }

    #[test]
    fn a_stream_is_closed_by_what_is_set_after_it_was_opened_even_if_that_is_over() {
        let disruptions = Disruptions::new();
        let closing = |stream: &Latest<Option<Disruption>>| stream.look(|closing| closing.as_ref()?.error);
        let [first, other] = [WEB, CART].map(|peer| stream(&disruptions, peer));
        disruptions.set(error(Service::Authority, None, Code::Aborted));
        disruptions.set(error(Service::Discovery, None, Code::Unavailable));
        let [late_web, late_cart] = [WEB, CART].map(|peer| stream(&disruptions, peer));
        disruptions.set(error(Service::Discovery, web(), Code::Internal));
        disruptions.lift(Service::Discovery, None);
        let last = stream(&disruptions, WEB);
        assert_eq!([&first, &other].map(closing), [Some(Code::Unavailable); 2]);
        assert_eq!([&late_web, &late_cart, &last].map(closing), [Some(Code::Internal), None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_not_kept() {
        let disruptions = Disruptions::new();
        let standing = || disruptions.lock().standing.len();
        for _ in 0..1000 {
            disruptions.set(error(Service::Authority, None, Code::Unavailable));
            disruptions.set(error(Service::Authority, web(), Code::Internal));
            disruptions.lift(Service::Authority, web());
            disruptions.lift(Service::Authority, None);
        }
        assert_eq!(standing(), 0);
        for _ in 0..1000 {
            let until = Instant::now() + Duration::from_millis(1);
            disruptions.set(Disruption { until: Some(until), ..error(Service::Discovery, None, Code::Unavailable) });
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(standing(), 1);

        let rt = hermesh_runtime::os::runtime();
        let door = Door::new(&rt, Service::Discovery, Some(disruptions.clone()));
        let watches: Vec<Watch> = (0..10).map(|_| door.watch(None)).collect();
        assert_eq!(disruptions.lock().streams.len(), 10);
        drop(watches);
        assert_eq!(disruptions.lock().streams.len(), 0);
    }
}
