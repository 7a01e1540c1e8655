//! How much a simulation takes: beyond these bounds an object is refused rather than run for ever or out of memory.

use hermesh_istiod::objects::{Container, LifecycleHandler, Object, PodSpec, Probe, VolumeSource};

/// The most pods that the objects of a cluster may ask for: replicas, and Pods of their own.
pub(crate) const PODS_MAX: u64 = 10_000;

/// The most Services of a cluster.
pub(crate) const SERVICES_MAX: u64 = 10_000;

/// The longest that any field may have a pod wait: a year.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// The API server keeps counts in 32 bits with a sign.
const COUNT_MAX: u64 = i32::MAX as u64;

/// The longest life of a token that the API server grants.
const TOKEN_SECONDS_MAX: u64 = 1 << 32;

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
    let grace = spec.termination_grace_period_seconds;
    let mut found = Vec::new();
    seconds(&mut found, format!("{path}.terminationGracePeriodSeconds"), grace);
    for (list, containers) in [("initContainers", &spec.init_containers), ("containers", &spec.containers)] {
        for (index, container) in containers.iter().enumerate() {
            container_fields(&mut found, &format!("{path}.{list}[{index}]"), container, grace);
        }
    }
    for (index, volume) in spec.volumes.iter().enumerate() {
        let VolumeSource::Projected(projected) = &volume.source else { continue };
        for (number, source) in projected.sources.iter().enumerate() {
            let Some(token) = &source.service_account_token else { continue };
            let field =
                format!("{path}.volumes[{index}].projected.sources[{number}].serviceAccountToken.expirationSeconds");
            at_most(&mut found, field, token.expiration_seconds, TOKEN_SECONDS_MAX, "2^32");
        }
    }
    found
}

fn container_fields(found: &mut Vec<TooLarge>, path: &str, container: &Container, grace: u64) {
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
    for (name, handler) in [("postStart", &container.lifecycle.post_start), ("preStop", &container.lifecycle.pre_stop)]
    {
        let Some(LifecycleHandler::Sleep(sleep)) = handler else { continue };
        let field = format!("{path}.lifecycle.{name}.sleep.seconds");
        at_most(found, field, sleep.seconds, grace, "the pod's terminationGracePeriodSeconds");
    }
}

fn probe_fields(found: &mut Vec<TooLarge>, path: &str, probe: &Probe) {
    seconds(found, format!("{path}.initialDelaySeconds"), probe.initial_delay_seconds.into());
    seconds(found, format!("{path}.periodSeconds"), probe.period_seconds.into());
    seconds(found, format!("{path}.timeoutSeconds"), probe.timeout_seconds.into());
    let counts = [("successThreshold", probe.success_threshold), ("failureThreshold", probe.failure_threshold)];
    for (name, count) in counts {
        at_most(found, format!("{path}.{name}"), count.into(), COUNT_MAX, "the largest number of 32 bits");
    }
}

fn seconds(found: &mut Vec<TooLarge>, field: String, value: u64) {
    at_most(found, field, value, SECONDS_MAX, "a year");
}

fn at_most(found: &mut Vec<TooLarge>, field: String, value: u64, max: u64, words: &str) {
    if value > max {
        found.push(TooLarge { field, message: format!("{value} is too large; write at most {max}, {words}") });
    }
}
