//! Which pods a Deployment wants made and deleted next.
//!
//! Source: kubernetes `pkg/controller/deployment` (`rolling.go`, `recreate.go`) and `pkg/controller/replicaset`.

use hermesh_istiod::objects::{DeploymentSpec, IntOrString, StrategyType};

/// A pod of the Deployment, as far as a rollout looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) ordinal: u32,
    /// Whether it is of the current template.
    pub(crate) current: bool,
    pub(crate) ready: bool,
    pub(crate) terminating: bool,
}

/// The next step. Another one follows when a pod becomes ready or is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The ordinals of pods to make.
    pub(crate) create: Vec<u32>,
    /// The names of pods to delete.
    pub(crate) delete: Vec<String>,
}

/// What to do next to have `spec.replicas` pods of the current template.
///
/// A rolling update makes new pods first, as many as `maxSurge` allows beyond the replicas, and deletes old ones as new
/// ones become ready, so that never more than `maxUnavailable` are missing.
pub(crate) fn plan(spec: &DeploymentSpec, members: &[Member]) -> Plan {
    let living: Vec<&Member> = members.iter().filter(|member| !member.terminating).collect();
    let (current, old): (Vec<&Member>, Vec<&Member>) = living.iter().partition(|member| member.current);
    let replicas = spec.replicas as usize;
    let mut plan = Plan::default();

    let surplus = surplus(&current, current.len().saturating_sub(replicas));
    plan.delete.extend(surplus);

    let recreate = spec.strategy.strategy_type == StrategyType::Recreate;
    let room = if recreate {
        plan.delete.extend(old.iter().map(|member| member.name.clone()));
        let all_old_gone = members.iter().all(|member| member.current);
        if all_old_gone { replicas } else { 0 }
    } else {
        let (surge, unavailable) = limits(spec);
        plan.delete.extend(replaced(&current, &old, replicas.saturating_sub(unavailable)));
        (replicas + surge).saturating_sub(old.len())
    };
    let wanted = replicas.min(room).saturating_sub(current.len());
    let taken = |ordinal: &u32| current.iter().any(|member| member.ordinal == *ordinal);
    plan.create = (0..).filter(|ordinal| !taken(ordinal)).take(wanted).collect();
    plan
}

/// Pods too many: unready ones first, then the youngest.
fn surplus(members: &[&Member], count: usize) -> Vec<String> {
    let mut members = members.to_vec();
    members.sort_by_key(|member| (member.ready, std::cmp::Reverse(member.ordinal)));
    members.into_iter().take(count).map(|member| member.name.clone()).collect()
}

/// Old pods that may go: unready ones at once, ready ones as long as `floor` ready ones stay.
fn replaced(current: &[&Member], old: &[&Member], floor: usize) -> Vec<String> {
    let ready = current.iter().chain(old).filter(|member| member.ready).count();
    let mut spare = ready.saturating_sub(floor);
    let mut gone = Vec::new();
    for member in old {
        if !member.ready {
            gone.push(member.name.clone());
        } else if spare > 0 {
            spare -= 1;
            gone.push(member.name.clone());
        }
    }
    gone
}

/// `maxSurge`, rounded up, and `maxUnavailable`, rounded down; not both zero.
fn limits(spec: &DeploymentSpec) -> (usize, usize) {
    const DEFAULT_PERCENT: u64 = 25;
    let replicas = u64::from(spec.replicas);
    let percent = |limit: &IntOrString| match limit {
        IntOrString::Int(number) => Err(u64::try_from(*number).unwrap_or(0)),
        IntOrString::String(text) => Ok(text.trim_end_matches('%').parse().unwrap_or(DEFAULT_PERCENT)),
    };
    let rolling = spec.strategy.rolling_update.as_ref();
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).map_or(Ok(DEFAULT_PERCENT), percent);
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).map_or(Ok(DEFAULT_PERCENT), percent);
    let surge = surge.map_or_else(|number| number, |percent| (replicas * percent).div_ceil(100));
    let unavailable = unavailable.map_or_else(|number| number, |percent| replicas * percent / 100);
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    (count(surge), count(unavailable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(replicas: u32) -> DeploymentSpec {
        DeploymentSpec { replicas, ..DeploymentSpec::default() }
    }

    /// `n` for a current pod, `o` for one of an older template; capitals are ready, `-` before means terminating.
    fn members(text: &str) -> Vec<Member> {
        let mut members = Vec::new();
        let mut ordinals = [0; 2];
        for word in text.split_whitespace() {
            let (terminating, letter) = match word.strip_prefix('-') {
                Some(letter) => (true, letter),
                None => (false, word),
            };
            let current = letter.eq_ignore_ascii_case("n");
            let ordinal = &mut ordinals[usize::from(current)];
            members.push(Member {
                name: format!("{}{ordinal}", letter.to_lowercase()),
                ordinal: *ordinal,
                current,
                ready: letter.chars().all(char::is_uppercase),
                terminating,
            });
            *ordinal += 1;
        }
        members
    }

    fn step(replicas: u32, text: &str) -> (Vec<u32>, String) {
        let plan = plan(&spec(replicas), &members(text));
        (plan.create, plan.delete.join(" "))
    }

    #[test]
    fn pods_are_made_up_to_the_replicas_and_the_youngest_go_first() {
        assert_eq!(step(3, ""), (vec![0, 1, 2], String::new()));
        assert_eq!(step(3, "N -N n"), (vec![1], String::new()));
        assert_eq!(step(1, "N N N"), (vec![], "n2 n1".to_owned()));
        assert_eq!(step(1, "n N N"), (vec![], "n0 n2".to_owned()));
        assert_eq!(step(0, "N"), (vec![], "n0".to_owned()));
        assert_eq!(step(2, "N N"), (vec![], String::new()));
    }

    #[test]
    fn a_single_pod_is_replaced_by_a_new_one_first() {
        assert_eq!(step(1, "O"), (vec![0], String::new()));
        assert_eq!(step(1, "O n"), (vec![], String::new()));
        assert_eq!(step(1, "O N"), (vec![], "o0".to_owned()));
        assert_eq!(step(1, "-O N"), (vec![], String::new()));
    }

    #[test]
    fn a_rolling_update_keeps_within_surge_and_unavailable() {
        // 25 % of four pods: one more, one less.
        assert_eq!(step(4, "O O O O"), (vec![0], "o0".to_owned()));
        assert_eq!(step(4, "-O O O O n"), (vec![1], String::new()));
        assert_eq!(step(4, "-O O O O N n"), (vec![], "o1".to_owned()));
        assert_eq!(step(4, "o O O O"), (vec![0], "o0".to_owned()));
    }

    #[test]
    fn recreate_waits_until_the_old_pods_are_gone() {
        let mut spec = spec(1);
        spec.strategy.strategy_type = StrategyType::Recreate;
        let next = |text: &str| plan(&spec, &members(text));
        assert_eq!(next("O"), Plan { create: vec![], delete: vec!["o0".to_owned()] });
        assert_eq!(next("-O"), Plan::default());
        assert_eq!(next(""), Plan { create: vec![0], delete: vec![] });
    }

    #[test]
    fn limits_of_zero_would_stop_everything_and_do_not() {
        let mut spec = spec(1);
        spec.strategy.rolling_update = Some(hermesh_istiod::objects::RollingUpdate {
            max_surge: Some(IntOrString::Int(0)),
            max_unavailable: Some(IntOrString::String("0%".to_owned())),
        });
        assert_eq!(limits(&spec), (0, 1));
    }
}
