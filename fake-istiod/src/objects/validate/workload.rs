//! What the API server refuses of workloads: Deployments, StatefulSets and Jobs.

use super::Check;
use super::pod::pod_spec;
use crate::objects::names::is_dns_label;
use crate::objects::{
    Deployment, EmptyDirVolume, IntOrString, Job, JobSpec, Labels, PodTemplate, RestartPolicy, StatefulSet,
    StrategyType, UpdateStrategyType, Volume, VolumeSource, selects,
};

/// How long a Deployment may make no progress unless it says.
const PROGRESS_DEADLINE_SECONDS: u32 = 600;

/// How many numbered pods of a Job may run at a time.
const MOST_INDEXED_PODS: u32 = 100_000;

pub(in crate::objects) fn deployment(check: &mut Check<'_>, deployment: &Deployment) {
    let spec = &deployment.spec;
    selector(check, "Deployment", &spec.selector.match_labels, &spec.template.metadata.labels);
    check.annotations("spec.template.metadata.annotations", &spec.template.metadata.annotations);
    always_restarts(check, "Deployment", &spec.template);
    if spec.strategy.strategy_type == StrategyType::Recreate && spec.strategy.rolling_update.is_some() {
        check.error("invalid-value", "spec.strategy.rollingUpdate", "has no place beside type Recreate; leave one out");
    }
    if let Some(rolling) = &spec.strategy.rolling_update {
        let mut zero = true;
        for (name, limit) in [("maxUnavailable", &rolling.max_unavailable), ("maxSurge", &rolling.max_surge)] {
            let path = format!("spec.strategy.rollingUpdate.{name}");
            let Some(limit) = limit else {
                zero = false;
                continue;
            };
            match share(limit) {
                None => {
                    let message =
                        format!("expected a number or a percentage such as 25%, found {:?}", limit.to_string());
                    check.error("invalid-value", &path, message);
                }
                Some(Share::Percent(percent)) if percent > 100 && name == "maxUnavailable" => {
                    check.error(
                        "out-of-range",
                        &path,
                        format!("no more than 100% of the pods can be missing, found {limit}"),
                    );
                }
                Some(_) => {}
            }
            zero &= matches!(share(limit), Some(Share::Count(0) | Share::Percent(0)));
        }
        if zero {
            check.error("invalid-value", "spec.strategy.rollingUpdate", "maxUnavailable and maxSurge cannot both be 0");
        }
    }
    progress_deadline(check, spec.min_ready_seconds);
    pod_spec(check, "spec.template.spec", &spec.template.spec);
}

/// No Deployment can be given up before one of its pods can be available.
///
/// Source: kubernetes `pkg/apis/apps/validation/validation.go` (`ValidateDeploymentSpec`).
fn progress_deadline(check: &mut Check<'_>, min_ready_seconds: u32) {
    let path = "spec.progressDeadlineSeconds";
    let deadline = check.unplayed(path, PROGRESS_DEADLINE_SECONDS);
    let refused = deadline.filter(|deadline| *deadline <= min_ready_seconds && check.is_read("spec.minReadySeconds"));
    if let Some(deadline) = refused {
        let found = if check.has(path) { "found" } else { "its default is" };
        let message = format!("must be greater than minReadySeconds, which is {min_ready_seconds}; {found} {deadline}");
        check.error("out-of-range", path, message);
    }
}

/// Source: kubernetes `pkg/apis/apps/validation/validation.go` (`ValidateStatefulSetSpec`).
pub(in crate::objects) fn stateful_set(check: &mut Check<'_>, set: &StatefulSet) {
    let spec = &set.spec;
    selector(check, "StatefulSet", &spec.selector.match_labels, &spec.template.metadata.labels);
    check.annotations("spec.template.metadata.annotations", &spec.template.metadata.annotations);
    always_restarts(check, "StatefulSet", &spec.template);
    if !spec.service_name.is_empty() && !is_dns_label(&spec.service_name) {
        let message = format!("invalid name {:?}; it is the name of a Service", spec.service_name);
        check.error("invalid-name", "spec.serviceName", message);
    }
    let strategy = &spec.update_strategy;
    if strategy.strategy_type == UpdateStrategyType::OnDelete && strategy.rolling_update.is_some() {
        let message = "has no place beside type OnDelete; leave one out";
        check.error("invalid-value", "spec.updateStrategy.rollingUpdate", message);
    }
    let mut pods = spec.template.spec.clone();
    for (index, claim) in spec.volume_claim_templates.iter().enumerate() {
        let (name, path) = (&claim.metadata.name, format!("spec.volumeClaimTemplates[{index}].metadata.name"));
        if !is_dns_label(name) {
            check.error("invalid-name", &path, format!("invalid or missing name {name:?}"));
        } else if !pods.volumes.iter().any(|volume| volume.name == *name) {
            // The pods have it as one of their volumes.
            let source = VolumeSource::EmptyDir(EmptyDirVolume::default());
            pods.volumes.push(Volume { name: name.clone(), source });
        }
    }
    if !spec.volume_claim_templates.is_empty() {
        let message = "volumes are empty in every new pod here: what a pod wrote ends with it";
        check.note("no-effect", "spec.volumeClaimTemplates", message);
    }
    pod_spec(check, "spec.template.spec", &pods);
}

/// Source: kubernetes `pkg/apis/batch/validation/validation.go` (`ValidateJobSpec`).
pub(in crate::objects) fn job(check: &mut Check<'_>, job: &Job) {
    let template = &job.spec.template;
    check.labels("spec.template.metadata.labels", &template.metadata.labels);
    check.annotations("spec.template.metadata.annotations", &template.metadata.annotations);
    if template.spec.restart_policy == RestartPolicy::Always {
        let message = "a Job's pods come to an end; write OnFailure or Never";
        check.error("invalid-value", "spec.template.spec.restartPolicy", message);
    }
    if check.unplayed("spec.manualSelector", false) == Some(false) && check.has("spec.selector") {
        let message = "the API server makes it, unless `manualSelector: true` is there; leave it out";
        check.error("invalid-value", "spec.selector", message);
    }
    completion_mode(check, &job.spec);
    pod_spec(check, "spec.template.spec", &template.spec);
}

/// A Job whose pods are numbered says how many there are, and only such a one has limits by number.
fn completion_mode(check: &mut Check<'_>, spec: &JobSpec) {
    let mode = check.unplayed("spec.completionMode", "NonIndexed".to_owned());
    if mode.as_deref() == Some("Indexed") {
        if !check.is_given("spec.completions") {
            let message = "missing; with completionMode Indexed it says how many pods are numbered";
            check.error("missing-field", "spec.completions", message);
        }
        if spec.parallelism() > MOST_INDEXED_PODS {
            let message = format!("no more than {MOST_INDEXED_PODS} pods run at a time with completionMode Indexed");
            check.error("out-of-range", "spec.parallelism", message);
        }
    }
    if mode.as_deref() == Some("NonIndexed") && check.has("spec.backoffLimitPerIndex") {
        let message = "has a place beside completionMode Indexed only; leave it out";
        check.error("invalid-value", "spec.backoffLimitPerIndex", message);
    }
    if check.has("spec.maxFailedIndexes") && !check.is_given("spec.backoffLimitPerIndex") {
        let message = "has a place beside backoffLimitPerIndex only; leave it out";
        check.error("invalid-value", "spec.maxFailedIndexes", message);
    }
}

/// The selector that Deployments and StatefulSets have, and the labels that it must find.
fn selector(check: &mut Check<'_>, kind: &str, selector: &Labels, labels: &Labels) {
    check.labels("spec.template.metadata.labels", labels);
    check.labels("spec.selector.matchLabels", selector);
    if !check.is_whole("spec.selector") {
        // What it selects is not known.
    } else if selector.is_empty() {
        let message = format!("missing; a {kind} needs the labels of its pods, such as `matchLabels: {{app: echo}}`");
        check.error("missing-field", "spec.selector", message);
    } else if !selects(selector, labels) && check.is_whole("spec.template.metadata.labels") {
        let missing = selector.iter().find(|(key, value)| labels.get(*key) != Some(value));
        let (key, value) = missing.expect("a selector that does not match has a label that is missing");
        let message =
            format!("does not match the template's labels; add `{key}: {value}` to spec.template.metadata.labels");
        check.error("selector-mismatch", "spec.selector.matchLabels", message);
    }
}

fn always_restarts(check: &mut Check<'_>, kind: &str, template: &PodTemplate) {
    if template.spec.restart_policy != RestartPolicy::Always {
        let message = format!("a {kind}'s pods always restart; leave it out");
        check.error("invalid-value", "spec.template.spec.restartPolicy", message);
    }
}

/// A part of the pods.
enum Share {
    Count(u32),
    Percent(u32),
}

fn share(limit: &IntOrString) -> Option<Share> {
    match limit {
        IntOrString::Int(number) => u32::try_from(*number).ok().map(Share::Count),
        IntOrString::String(text) => {
            let digits = text.strip_suffix('%')?;
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| Share::Percent(digits.parse().unwrap_or(u32::MAX)))
        }
    }
}
