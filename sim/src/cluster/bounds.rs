//! How much a simulation takes: beyond these bounds an object is refused rather than run for ever or out of memory.

use hermesh_istiod::objects::{Container, Object, PodSpec, Probe};

/// The most pods that the objects of a cluster may ask for: replicas, and Pods of their own.
pub(crate) const PODS_MAX: u64 = 10_000;

/// The most Services of a cluster.
pub(crate) const SERVICES_MAX: u64 = 10_000;

/// The longest that any field may have a pod wait: a year.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// A field whose number is too large, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) field: String,
    pub(crate) message: String,
}

/// How many pods `object` asks for.
pub(crate) fn pods(object: &Object) -> u64 {
    match object {
        Object::Deployment(deployment) => deployment.spec.replicas.into(),
        Object::StatefulSet(set) => set.spec.replicas.into(),
        Object::Job(job) => {
            let completions = job.spec.completions().unwrap_or(u32::MAX);
            completions.min(job.spec.parallelism()).into()
        }
        Object::Pod(_) => 1,
        _ => 0,
    }
}

/// The numbers of a pod's spec that are too large. `path` is where the spec stands.
pub(crate) fn pod_spec(path: &str, spec: &PodSpec) -> Vec<TooLarge> {
    let mut found = Vec::new();
    seconds(&mut found, format!("{path}.terminationGracePeriodSeconds"), spec.termination_grace_period_seconds);
    for (list, containers) in [("initContainers", &spec.init_containers), ("containers", &spec.containers)] {
        for (index, container) in containers.iter().enumerate() {
            container_fields(&mut found, &format!("{path}.{list}[{index}]"), container);
        }
    }
    found
}

fn container_fields(found: &mut Vec<TooLarge>, path: &str, container: &Container) {
    let probes = [
        ("startupProbe", &container.startup_probe),
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
    ];
    for (name, probe) in probes {
        if let Some(probe) = probe {
            probe_fields(found, &format!("{path}.{name}"), probe);
        }
    }
}

fn probe_fields(found: &mut Vec<TooLarge>, path: &str, probe: &Probe) {
    seconds(found, format!("{path}.initialDelaySeconds"), probe.initial_delay_seconds.into());
    seconds(found, format!("{path}.periodSeconds"), probe.period_seconds.into());
    seconds(found, format!("{path}.timeoutSeconds"), probe.timeout_seconds.into());
}

fn seconds(found: &mut Vec<TooLarge>, field: String, value: u64) {
    if value > SECONDS_MAX {
        let message = format!("{value} is too large; write at most {SECONDS_MAX}, a year");
        found.push(TooLarge { field, message });
    }
}
