//! istiod's services in the test's hand: they answer late, with an error, or first one and then the other.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use hermesh_istiod::disruption::{self, Clients, Service};
use hermesh_istiod::objects::{Kind, Object};
use tokio::time::Instant;
use tonic::Code;

use super::{DisturbError, Mesh, TargetError};

/// What is wrong with a service of istiod, for whom, and for how long.
///
/// ```
/// use std::time::Duration;
///
/// use hermesh::{Disruption, IstiodService};
///
/// let no_certificates = Disruption::of(IstiodService::Authority).to("web").error(tonic::Code::Unavailable);
/// let slow = Disruption::of(IstiodService::Discovery).delay(Duration::from_secs(1)..=Duration::from_secs(5));
/// # let _ = (no_certificates, slow);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Disruption {
    pub(crate) service: Service,
    pub(crate) to: Option<String>,
    pub(crate) error: Option<Code>,
    pub(crate) delay: Option<RangeInclusive<Duration>>,
    pub(crate) lasting: Option<Duration>,
}

impl Disruption {
    /// Of this service, for everybody. By itself it does nothing.
    #[must_use]
    pub fn of(service: Service) -> Self {
        Self { service, to: None, error: None, delay: None, lasting: None }
    }

    /// It concerns the calls of a workload, `web`, or of one of its pods, `web/0`, with a namespace in front if it is
    /// another than the mesh's. A workload's pods that are still to come are meant too.
    #[must_use]
    pub fn to(self, target: impl Into<String>) -> Self {
        Self { to: Some(target.into()), ..self }
    }

    /// Calls are answered with this code. xDS streams that are open are closed with it.
    #[must_use]
    pub fn error(self, code: Code) -> Self {
        Self { error: Some(code), ..self }
    }

    /// Each call waits for a time that the seed draws before it is looked at, or refused.
    #[must_use]
    pub fn delay(self, by: RangeInclusive<Duration>) -> Self {
        Self { delay: Some(by), ..self }
    }

    /// It ends by itself after this time.
    #[must_use]
    pub fn lasting(self, time: Duration) -> Self {
        Self { lasting: Some(time), ..self }
    }

    fn described(&self) -> String {
        let to = self.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let error = self.error.map(|code| format!(" with {code:?}")).unwrap_or_default();
        let delay = self.delay.as_ref().map(|by| match by.start() == by.end() {
            true => format!(" after {:?}", by.start()),
            false => format!(" after {:?} to {:?}", by.start(), by.end()),
        });
        format!("{}{to}{error}{}", self.service.short(), delay.unwrap_or_default())
    }
}

impl Mesh {
    /// Has a service of istiod answer late or with an error from now on. Of several disruptions that concern a call the
    /// last one decides.
    ///
    /// # Panics
    /// If there is no such workload or pod, or if nothing is wrong with the service.
    #[track_caller]
    pub fn disrupt(&mut self, disruption: Disruption) -> &mut Self {
        let result = self.try_disrupt(&disruption);
        self.must("disrupt", result);
        self
    }

    /// [`disrupt`](Self::disrupt) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod, or if nothing is wrong with the service.
    pub fn try_disrupt(&mut self, disruption: &Disruption) -> Result<(), DisturbError> {
        let Disruption { service, error, delay, lasting, .. } = disruption.clone();
        if let Some(by) = delay.as_ref().filter(|by| by.is_empty()) {
            return Err(DisturbError::Delay { from: *by.start(), to: *by.end() });
        }
        if error.is_none_or(|code| code == Code::Ok) && delay.is_none() {
            return Err(DisturbError::NoDisruption);
        }
        let error = error.filter(|code| *code != Code::Ok);
        let clients = self.callers(disruption)?;
        let cause = self.disturb("disrupt", vec![disruption.described()]);
        let disruptions = self.cluster.disruptions().clone();
        self.at_once(|| {
            let until = lasting.map(|time| Instant::now() + time);
            disruptions.set(disruption::Disruption { service, clients, delay, error, until, cause });
        })?;
        Ok(())
    }

    /// Has the service that a disruption is of serve those that it is about as ever, whatever was wrong with it.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn end_disruption(&mut self, disruption: Disruption) -> &mut Self {
        let result = self.try_end_disruption(&disruption);
        self.must("end_disruption", result);
        self
    }

    /// [`end_disruption`](Self::end_disruption) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod.
    pub fn try_end_disruption(&mut self, disruption: &Disruption) -> Result<(), DisturbError> {
        let clients = self.callers(disruption)?;
        let to = disruption.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        self.disturb("heal", vec![format!("{}{to}", disruption.service.short())]);
        let (disruptions, service) = (self.cluster.disruptions().clone(), disruption.service);
        self.at_once(|| disruptions.lift(service, clients))?;
        Ok(())
    }

    /// Those whom a disruption is about, by the addresses of their pods.
    fn callers(&self, disruption: &Disruption) -> Result<Option<Clients>, TargetError> {
        let Some(target) = &disruption.to else { return Ok(None) };
        let pods = self.clients_of(target)?;
        let (store, machines) = (self.cluster.store.clone(), self.cluster.machines.clone());
        let name = pods.name().to_owned();
        let at = move |address: IpAddr| {
            if let Some((namespace, name)) = machines.at(address) {
                return pods.contain(&namespace, &name);
            }
            let found = store.list(Kind::Pod).into_iter();
            found.filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None }).any(|pod| {
                pod.status.pod_ip == Some(address) && pods.contain(&pod.metadata.namespace, &pod.metadata.name)
            })
        };
        Ok(Some(Clients::new(name, at)))
    }
}
