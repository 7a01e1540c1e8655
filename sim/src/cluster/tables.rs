//! What `kubectl get` prints of nodes, workloads, Services and their endpoints.
//!
//! Source: kubernetes `pkg/printers/internalversion/printers.go` (`printNode`, `printDeployment`, `printStatefulSet`,
//! `printJob`, `printService`, `printEndpoints` with `formatEndpoints`).

use std::net::SocketAddr;
use std::time::Duration;

use hermesh_istiod::objects::{
    ClusterIp, Deployment, EndpointSlice, Job, JobOutcome, Kind, Node, Object, Service, ServiceType, StatefulSet,
};

use super::Cluster;
use super::deployments::Counts;
use super::endpoints::{addresses, is_ready};
use super::kubectl::human_duration;
use crate::mesh::{Listed, Table};

/// The release of which nodes are said to be: the first with the rules for nodes that are played.
const VERSION: &str = "v1.32.0";
/// How many endpoints are written out.
const ENDPOINTS_MAX: usize = 3;
/// What stands for nothing.
const NONE: &str = "<none>";

impl Cluster {
    /// The objects of a kind as kubectl lists them, of `namespace` if they live in one.
    pub(crate) fn table(&self, listed: Listed, namespace: &str) -> Table {
        let headings: &[&'static str] = match listed {
            Listed::Nodes => &["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
            Listed::Deployments => &["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
            Listed::StatefulSets => &["NAME", "READY", "AGE"],
            Listed::Jobs => &["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"],
            Listed::Services => &["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"],
            Listed::Endpoints => &["NAME", "ENDPOINTS", "AGE"],
        };
        let kind = listed.kind();
        let here = |object: &Object| !kind.is_namespaced() || object.metadata().namespace == namespace;
        let objects = self.store.list(kind).into_iter().filter(here);
        let row = |object: Object| {
            let name = object.metadata().name.clone();
            let mut cells = vec![name];
            cells.extend(match (&object, listed) {
                (Object::Node(node), _) => self.node(node),
                (Object::Deployment(deployment), _) => self.deployment(deployment),
                (Object::StatefulSet(set), _) => self.stateful_set(set),
                (Object::Job(job), _) => self.job(job),
                (Object::Service(service), Listed::Services) => self.service(service),
                (Object::Service(service), _) => vec![self.endpoints(service), self.age(&object)],
                _ => Vec::new(),
            });
            cells
        };
        let namespace = kind.is_namespaced().then(|| namespace.to_owned());
        Table { headings: headings.to_vec(), rows: objects.map(row).collect(), namespace }
    }

    fn age(&self, object: &Object) -> String {
        self.since(object.metadata().creation_timestamp.unwrap_or(0))
    }

    fn since(&self, seconds: u64) -> String {
        human_duration(Duration::from_secs(self.world.wall().as_secs().saturating_sub(seconds)))
    }

    fn node(&self, node: &Node) -> Vec<String> {
        let status = if node.status.ready { "Ready" } else { "NotReady" };
        let created = node.metadata.creation_timestamp.unwrap_or(0);
        vec![status.to_owned(), NONE.to_owned(), self.since(created), VERSION.to_owned()]
    }

    fn deployment(&self, deployment: &Deployment) -> Vec<String> {
        let Counts { ready, updated, available } = self.deployments.counts(deployment);
        let created = deployment.metadata.creation_timestamp.unwrap_or(0);
        let wanted = deployment.spec.replicas;
        vec![format!("{ready}/{wanted}"), updated.to_string(), available.to_string(), self.since(created)]
    }

    fn stateful_set(&self, set: &StatefulSet) -> Vec<String> {
        let pods = self.pods.of(&set.key(), &set.metadata.uid);
        let ready = pods.iter().filter(|pod| pod.status.ready).count();
        let created = set.metadata.creation_timestamp.unwrap_or(0);
        vec![format!("{ready}/{}", set.spec.replicas), self.since(created)]
    }

    fn job(&self, job: &Job) -> Vec<String> {
        let status = match &job.status.outcome {
            Some(JobOutcome::Complete) => "Complete",
            Some(JobOutcome::Failed { .. }) => "Failed",
            None if job.spec.suspend => "Suspended",
            None => "Running",
        };
        let succeeded = job.status.succeeded;
        let completions = match (job.spec.completions(), job.spec.parallelism()) {
            (Some(completions), _) => format!("{succeeded}/{completions}"),
            (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
            (None, _) => format!("{succeeded}/1"),
        };
        let created = job.metadata.creation_timestamp.unwrap_or(0);
        let completed = job.status.end_time.filter(|_| job.status.outcome == Some(JobOutcome::Complete));
        let duration = match (job.status.start_time, completed) {
            (Some(start), Some(end)) => human_duration(Duration::from_secs(end.saturating_sub(start))),
            (Some(start), None) => self.since(start),
            (None, _) => String::new(),
        };
        vec![status.to_owned(), completions, duration, self.since(created)]
    }

    fn service(&self, service: &Service) -> Vec<String> {
        let spec = &service.spec;
        let address = match spec.cluster_ip {
            Some(ClusterIp::Address(address)) => address.to_string(),
            Some(ClusterIp::None) => "None".to_owned(),
            None => NONE.to_owned(),
        };
        let external = if spec.service_type == ServiceType::LoadBalancer { "<pending>" } else { NONE };
        let ports: Vec<String> = spec.ports.iter().map(|port| format!("{}/{:?}", port.port, port.protocol)).collect();
        let ports = if ports.is_empty() { NONE.to_owned() } else { ports.join(",") };
        let created = service.metadata.creation_timestamp.unwrap_or(0);
        let kind = format!("{:?}", spec.service_type);
        vec![kind, address, external.to_owned(), ports, self.since(created)]
    }

    /// The ready endpoints of a Service, the first few of many.
    fn endpoints(&self, service: &Service) -> String {
        let own = |slice: &EndpointSlice| {
            slice.metadata.namespace == service.metadata.namespace
                && slice.service_name() == Some(service.metadata.name.as_str())
        };
        let mut any = false;
        let mut all: Vec<SocketAddr> = Vec::new();
        for object in self.store.list(Kind::EndpointSlice) {
            let Object::EndpointSlice(slice) = object else { continue };
            if !own(&slice) {
                continue;
            }
            any |= !slice.endpoints.is_empty();
            let ready = addresses(&slice, is_ready);
            let of_port = |port| ready.iter().map(move |address| SocketAddr::new(*address, port));
            all.extend(slice.ports.iter().flat_map(|port| of_port(port.port)));
        }
        let shown: Vec<String> = all.iter().take(ENDPOINTS_MAX).map(SocketAddr::to_string).collect();
        match all.len().checked_sub(ENDPOINTS_MAX) {
            _ if !any => NONE.to_owned(),
            Some(more) if more > 0 => format!("{} + {more} more...", shown.join(",")),
            _ => shown.join(","),
        }
    }
}
