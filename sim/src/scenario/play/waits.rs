//! `wait`.

use std::collections::BTreeSet;

use super::super::file::Wait;
use super::super::read::At;
use super::super::settle::{settle, settle_wait};
use super::super::target::Target;
use super::{Played, Player, words};
use crate::cluster::ISTIO_NAMESPACE;
use crate::explain;
use crate::mesh::Responses;
use crate::report::compact;

impl Player<'_> {
    pub(super) fn wait(&mut self, wait: &Wait) -> Played {
        let began = self.mesh.now();
        let (said, outcome) = match wait {
            Wait::Time(time) => {
                let passed = self.mesh.try_run_for(time.value.0);
                let outcome = settle(passed, "time passes")?.map(|_| String::new());
                return Ok((format!("wait {}", time.value), words(outcome)));
            }
            Wait::Ready { workloads: None, within } => {
                let waited = self.mesh.try_wait_ready(&[], within.0);
                ("wait for all pods to be ready".to_owned(), settle_wait(waited, "all pods are ready", *within)?)
            }
            Wait::Ready { workloads: Some(workloads), within } => {
                let names: Vec<String> = workloads.iter().map(|target| target.value.to_string()).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let waited = self.mesh.try_wait_ready(&names, within.0);
                let names = names.join(", ");
                let expected = format!("{names} ready");
                (format!("wait for {names} to be ready"), settle_wait(waited, &expected, *within)?)
            }
            Wait::Converged { within } => {
                let waited = self.mesh.try_wait_converged(within.0);
                ("wait for all to converge".to_owned(), settle_wait(waited, "what was applied is in use", *within)?)
            }
            Wait::Nacked { types, to, within } => {
                let responses = Responses::of(types.iter().copied());
                let responses = match to {
                    Some(to) => responses.to(to.value.to_string()),
                    None => responses,
                };
                let said = format!("wait for {responses} to be rejected");
                let waited = self.mesh.try_wait_nacked(&responses, within.0);
                (said, settle_wait(waited, &format!("a client rejects {responses}"), *within)?)
            }
        };
        let outcome = outcome.map_err(|mut trouble| {
            let pods = match wait {
                Wait::Ready { workloads: Some(workloads), .. } => Some(self.pods(workloads)),
                _ => None,
            };
            trouble.why.extend(self.mesh.with_trace(|trace| match &pods {
                Some(pods) => explain::broken_for(trace, pods),
                None => explain::broken(trace),
            }));
            trouble
        });
        let took = compact(self.mesh.now() - began);
        Ok((said, words(outcome.map(|()| format!("after {took}")))))
    }

    /// The pods of these workloads, `namespace/name`.
    fn pods(&self, workloads: &[At<Target>]) -> BTreeSet<String> {
        let mut pods = BTreeSet::new();
        for At { value: Target { namespace, workload, .. }, .. } in workloads {
            let own = namespace.as_deref().unwrap_or_else(|| self.scenario.namespace());
            // As everywhere, what the own namespace does not have is istiod's.
            let places = [Some(own), namespace.is_none().then_some(ISTIO_NAMESPACE)];
            let rows = places.into_iter().flatten().map(|place| self.mesh.get_pods_in(place).rows);
            let mut meant = rows.map(|mut rows| {
                rows.retain(|row| row.workload == *workload || row.name == *workload);
                rows
            });
            let meant = meant.find(|rows| !rows.is_empty()).unwrap_or_default();
            pods.extend(meant.iter().map(|row| format!("{}/{}", row.namespace, row.name)));
        }
        pods
    }
}
