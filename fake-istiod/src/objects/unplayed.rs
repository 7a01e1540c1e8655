//! What fields without effect may say: a value that the API server or istiod's webhook refuses is refused here too.
//!
//! Source: kubernetes `pkg/apis/{core,apps,batch}/validation/validation.go` and the types of its 1.33 API;
//! istio `pkg/config/validation/validation.go` (`validateConnectionPool`, `validateOutlierDetection`) and its API.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::duration;
use crate::yaml::{self, Location, Node, listed};

#[derive(Clone, Copy)]
enum Value {
    Bool,
    Text,
    /// A whole number of these.
    Whole(i64, i64),
    Word(&'static [&'static str]),
    /// A duration in Istio's form.
    Time,
    /// Permissions of a file. `0644` is octal to whom it is for.
    Mode,
}

use Value::{Bool, Mode, Text, Time, Whole, Word};

const INT32: i64 = i32::MAX as i64;
/// A number of 31 bits that is not negative.
const COUNT: Value = Whole(0, INT32);
const PORT: Value = Whole(1, 65_535);
/// 0 is as good as none.
const PORT_OR_NONE: Value = Whole(0, 65_535);

/// By the type that has the field.
const VALUES: &[(&str, &[(&str, Value)])] = &[
    ("ServiceAccount", &[("automountServiceAccountToken", Bool)]),
    (
        "ServiceSpec",
        &[
            ("allocateLoadBalancerNodePorts", Bool),
            ("externalName", Text),
            ("externalTrafficPolicy", Word(&["Cluster", "Local"])),
            ("healthCheckNodePort", PORT_OR_NONE),
            ("ipFamilyPolicy", Word(&["SingleStack", "PreferDualStack", "RequireDualStack"])),
            ("loadBalancerClass", Text),
            ("loadBalancerIP", Text),
            ("sessionAffinity", Word(&["None", "ClientIP"])),
        ],
    ),
    ("ServicePort", &[("nodePort", PORT_OR_NONE)]),
    ("DeploymentSpec", &[("progressDeadlineSeconds", COUNT), ("revisionHistoryLimit", COUNT)]),
    ("StatefulSetSpec", &[("minReadySeconds", COUNT), ("revisionHistoryLimit", COUNT)]),
    (
        "JobSpec",
        &[
            ("backoffLimitPerIndex", COUNT),
            ("completionMode", Word(&["NonIndexed", "Indexed"])),
            ("managedBy", Text),
            ("manualSelector", Bool),
            ("maxFailedIndexes", COUNT),
            ("podReplacementPolicy", Word(&["TerminatingOrFailed", "Failed"])),
        ],
    ),
    (
        "PodSpec",
        &[
            ("activeDeadlineSeconds", Whole(1, INT32)),
            ("automountServiceAccountToken", Bool),
            ("dnsPolicy", Word(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"])),
            ("enableServiceLinks", Bool),
            ("hostIPC", Bool),
            ("hostPID", Bool),
            ("hostUsers", Bool),
            ("preemptionPolicy", Word(&["PreemptLowerPriority", "Never"])),
            ("priority", Whole(i32::MIN as i64, INT32)),
            ("priorityClassName", Text),
            ("runtimeClassName", Text),
            ("schedulerName", Text),
            ("setHostnameAsFQDN", Bool),
            ("shareProcessNamespace", Bool),
        ],
    ),
    (
        "Container",
        &[
            ("imagePullPolicy", Word(&["Always", "IfNotPresent", "Never"])),
            ("stdin", Bool),
            ("stdinOnce", Bool),
            ("terminationMessagePath", Text),
            ("terminationMessagePolicy", Word(&["File", "FallbackToLogsOnError"])),
            ("tty", Bool),
            ("workingDir", Text),
        ],
    ),
    ("ContainerPort", &[("hostIP", Text), ("hostPort", PORT_OR_NONE)]),
    (
        "VolumeMount",
        &[
            ("mountPropagation", Word(&["None", "HostToContainer", "Bidirectional"])),
            ("recursiveReadOnly", Word(&["Disabled", "IfPossible", "Enabled"])),
        ],
    ),
    ("Probe", &[("terminationGracePeriodSeconds", Whole(1, i64::MAX))]),
    ("ConfigMapVolume", &[("defaultMode", Mode)]),
    ("KeyToPath", &[("mode", Mode)]),
    ("ProjectedVolume", &[("defaultMode", Mode)]),
    ("DownwardApiVolume", &[("defaultMode", Mode)]),
    ("DownwardApiItem", &[("mode", Mode)]),
    (
        "OutlierDetection",
        &[
            ("baseEjectionTime", Time),
            ("consecutive5xxErrors", COUNT),
            ("consecutiveGatewayErrors", COUNT),
            ("consecutiveLocalOriginFailures", COUNT),
            ("interval", Time),
            ("maxEjectionPercent", Whole(0, 100)),
            ("splitExternalLocalOriginErrors", Bool),
        ],
    ),
    (
        "TcpSettings",
        &[("connectTimeout", Time), ("idleTimeout", Time), ("maxConnectionDuration", Time), ("maxConnections", COUNT)],
    ),
    (
        "HttpSettings",
        &[
            ("h2UpgradePolicy", Word(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"])),
            ("http1MaxPendingRequests", COUNT),
            ("idleTimeout", Time),
            ("maxConcurrentStreams", COUNT),
            ("maxRequestsPerConnection", COUNT),
            ("maxRetries", COUNT),
            ("useClientProtocol", Bool),
        ],
    ),
    ("ClientTls", &[("insecureSkipVerify", Bool)]),
    ("LoadBalancer", &[("warmupDurationSecs", Time)]),
    ("HttpRoute", &[("mirrorPercent", Whole(0, 100)), ("mirror_percent", Whole(0, 100))]),
    ("HttpRedirect", &[("port", PORT), ("scheme", Word(&["http", "https"]))]),
    ("HttpRetry", &[("retryIgnorePreviousHosts", Bool), ("retryRemoteLocalities", Bool)]),
];

/// What is wrong with the value of the field `name` at `path` of the type that serde calls `type_name`, if it is known.
pub(super) fn mistake(type_name: &str, path: &str, name: &str, node: &Node) -> Option<String> {
    if path.ends_with("readinessProbe.terminationGracePeriodSeconds") {
        return Some("must not be set for readinessProbes, which end no container".to_owned());
    }
    let (_, fields) = VALUES.iter().find(|(owner, _)| *owner == type_name)?;
    let (_, value) = fields.iter().find(|(field, _)| *field == name)?;
    if node.is_null() {
        return None;
    }
    let read = match *value {
        Bool if node.text().is_some_and(is_boolean_for_kubectl) => Ok(()),
        Bool => read::<bool>(node).map(drop),
        Text => read::<String>(node).map(drop),
        Whole(least, most) => read(node).and_then(|number| within(number, least, most)),
        Mode => match node.text().and_then(octal) {
            Some(mode) => within(mode, 0, 0o777),
            None => read(node).and_then(|mode| within(mode, 0, 0o777)),
        },
        Word(words) => read::<String>(node).and_then(|word| match words.contains(&word.as_str()) {
            true => Ok(()),
            false => Err(format!("unknown value {word:?}; expected {}", listed(words))),
        }),
        Time => {
            #[derive(Deserialize)]
            #[serde(transparent)]
            struct Time {
                #[serde(deserialize_with = "duration::optional")]
                _time: Option<Duration>,
            }
            read::<Time>(node).map(drop)
        }
    };
    read.err()
}

fn within(number: i64, least: i64, most: i64) -> Result<(), String> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    Err(match most {
        i64::MAX => format!("{number} is out of range; expected {least} or more"),
        most => format!("{number} is out of range; expected {least} to {most}"),
    })
}

/// The words that YAML 1.1 has beside `true` and `false`. Whoever is to act on them here is asked for these.
fn is_boolean_for_kubectl(text: &str) -> bool {
    ["yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A number that begins with 0, as kubectl reads it.
fn octal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('0').filter(|digits| !digits.is_empty())?;
    i64::from_str_radix(digits, 8).ok()
}

fn read<T: DeserializeOwned>(node: &Node) -> Result<T, String> {
    yaml::from_node(node, &Location::in_file("")).map_err(|mistakes| mistakes[0].message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::known;

    #[test]
    fn every_field_here_is_one_without_effect() {
        for (owner, fields) in VALUES {
            for (name, _) in *fields {
                assert!(known::field_names(owner).any(|known| known == *name), "{owner}.{name}");
            }
        }
    }

    #[test]
    fn what_kubectl_reads_otherwise_is_no_mistake() {
        let table = [
            ("Container", "tty", "no"),
            ("Container", "tty", "true"),
            ("ConfigMapVolume", "defaultMode", "0644"),
            ("ConfigMapVolume", "defaultMode", "420"),
            ("ConfigMapVolume", "defaultMode", "null"),
            ("ServicePort", "nodePort", "30080"),
            ("OutlierDetection", "interval", "1m30s"),
        ];
        for (owner, name, value) in table {
            let document = yaml::parse("a.yaml", &format!("value: {value}")).unwrap().remove(0);
            let node = document.root.at_path("value");
            assert_eq!(mistake(owner, name, name, node), None, "{owner}.{name}: {value}");
        }
    }
}
