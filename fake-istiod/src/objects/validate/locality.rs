//! What istiod's validation webhook refuses of a localityLbSetting.
//!
//! Source: Istio `pkg/config/validation/validation.go` (`validateLocalityLbSetting`).

use super::Check;
use crate::objects::LocalityLbSetting;
use crate::yaml::field_path;

/// Labels of localities, which `failover` speaks for already.
const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn locality_lb_setting(check: &mut Check<'_>, path: &str, setting: &LocalityLbSetting, fails_over: bool) {
    if !setting.distribute.is_empty() && !setting.failover.is_empty() {
        check.error("invalid-value", path, "expected one of distribute or failover");
    }
    shares(check, &format!("{path}.distribute"), setting);
    for (index, failover) in setting.failover.iter().enumerate() {
        let path = format!("{path}.failover[{index}]");
        for (field, region) in [("from", &failover.from), ("to", &failover.to)] {
            // An empty one is that of pods without a locality.
            if region.contains(['/', '*']) {
                let message = format!("expected a region alone, found {region:?}");
                check.error("invalid-value", &format!("{path}.{field}"), message);
            }
        }
        if failover.from == failover.to && !failover.from.is_empty() {
            check.error("invalid-value", &path, "a region cannot step in for itself");
        }
    }
    if !setting.failover.is_empty() {
        for (index, label) in setting.failover_priority.iter().enumerate() {
            if TOPOLOGY.contains(&label.as_str()) {
                let message = format!("{label} is what failover is about; leave one of them out");
                check.error("invalid-value", &format!("{path}.failoverPriority[{index}]"), message);
            }
        }
    }
    if !fails_over {
        for (field, given) in
            [("failover", !setting.failover.is_empty()), ("failoverPriority", !setting.failover_priority.is_empty())]
        {
            if given {
                let message = "has no effect without outlierDetection in the same policy";
                check.warning("never-matches", &format!("{path}.{field}"), message);
            }
        }
    }
}

fn shares(check: &mut Check<'_>, path: &str, setting: &LocalityLbSetting) {
    for (index, entry) in setting.distribute.iter().enumerate() {
        let path = format!("{path}[{index}]");
        locality(check, &format!("{path}.from"), &entry.from);
        let earlier = &setting.distribute[..index];
        if earlier.iter().any(|other| overlap(&other.from, &entry.from)) {
            let message = format!("{:?} is covered by an entry before", entry.from);
            check.error("duplicate", &format!("{path}.from"), message);
        }
        let mut total: u64 = 0;
        let names: Vec<&String> = entry.to.keys().collect();
        for (number, (name, share)) in entry.to.iter().enumerate() {
            let path = field_path(&format!("{path}.to"), name);
            locality(check, &path, name);
            if names[..number].iter().any(|other| overlap(other, name)) {
                check.error("duplicate", &path, format!("{name:?} overlaps with another locality of this entry"));
            }
            if !(1..=100).contains(share) {
                check.error("out-of-range", &path, format!("expected a share from 1 to 100, found {share}"));
            }
            total += u64::from(*share);
        }
        let path = format!("{path}.to");
        if total != 100 && check.is_whole(&path) {
            check.error("invalid-value", &path, format!("the shares sum to {total}, not to 100"));
        }
    }
}

fn locality(check: &mut Check<'_>, path: &str, name: &str) {
    let parts: Vec<&str> = name.split('/').collect();
    if name.is_empty() {
        check.error("missing-field", path, "missing; where? Write `region/zone/subzone` or `*`");
    } else if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
        let message = format!("expected `region`, `region/zone` or `region/zone/subzone`, found {name:?}");
        check.error("invalid-value", path, message);
    } else if parts.iter().rev().skip(1).any(|part| *part == "*") {
        check.error("invalid-value", path, format!("`*` stands last, found {name:?}"));
    }
}

/// Whether there are localities that both cover.
fn overlap(a: &str, b: &str) -> bool {
    let parts =
        |text: &str| -> Vec<String> { text.split('/').take_while(|part| *part != "*").map(str::to_owned).collect() };
    parts(a).iter().zip(parts(b)).all(|(a, b)| *a == b)
}
