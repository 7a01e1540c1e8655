//! Which pods a StatefulSet wants made and deleted next.
//!
//! Source: kubernetes `pkg/controller/statefulset/stateful_set_control.go` (`updateStatefulSet`).

use hermesh_istiod::objects::{PodManagementPolicy, StatefulSetSpec, UpdateStrategyType};

/// A pod of the StatefulSet, as far as a rollout looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) ordinal: u32,
    /// Whether it is of the current template.
    pub(crate) current: bool,
    pub(crate) ready: bool,
    pub(crate) terminating: bool,
    /// Whether its containers have ended for good.
    pub(crate) ended: bool,
}

impl Member {
    fn is_healthy(self) -> bool {
        self.ready && !self.terminating
    }
}

/// The next step, by ordinals. Another one follows when a pod becomes ready or is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) create: Vec<u32>,
    pub(crate) delete: Vec<u32>,
}

/// Whether the pod with this ordinal is made from the template before, as the partition of a rolling update wants it.
pub(crate) fn keeps_older(spec: &StatefulSetSpec, ordinal: u32) -> bool {
    let rolling = spec.update_strategy.strategy_type == UpdateStrategyType::RollingUpdate;
    rolling && ordinal < spec.ordinals.start.saturating_add(spec.partition())
}

/// What to do next to have the wanted pods. `members` has at most one for each ordinal.
///
/// First the missing ones are made from the lowest ordinal on, then those too many deleted from the highest on, then
/// those of an older template replaced from the highest on, one at a time. With `OrderedReady` each step waits until
/// all pods before it are ready, and until the last deleted one is gone.
pub(crate) fn plan(spec: &StatefulSetSpec, members: &[Member]) -> Plan {
    let ordered = spec.pod_management_policy == PodManagementPolicy::OrderedReady;
    let wanted = spec.wanted();
    let member = |ordinal: u32| members.iter().copied().find(|member| member.ordinal == ordinal);
    let mut plan = Plan::default();
    for ordinal in wanted.clone() {
        match member(ordinal) {
            None => plan.create.push(ordinal),
            Some(member) if member.ended && !member.terminating => plan.delete.push(ordinal),
            Some(member) if member.is_healthy() => continue,
            Some(_) => {}
        }
        if ordered {
            return plan;
        }
    }

    let mut condemned: Vec<Member> =
        members.iter().copied().filter(|member| !wanted.contains(&member.ordinal)).collect();
    condemned.sort_by_key(|member| std::cmp::Reverse(member.ordinal));
    let unhealthy_first = condemned.iter().rev().copied().find(|member| !member.is_healthy());
    for member in condemned {
        let waits = ordered && !member.ready && unhealthy_first != Some(member);
        if !member.terminating && !waits {
            plan.delete.push(member.ordinal);
        }
        if ordered {
            return plan;
        }
    }

    if spec.update_strategy.strategy_type == UpdateStrategyType::OnDelete {
        return plan;
    }
    for ordinal in wanted.rev().filter(|ordinal| !keeps_older(spec, *ordinal)) {
        match member(ordinal) {
            Some(member) if !member.current && !member.terminating => {
                plan.delete.push(ordinal);
                return plan;
            }
            Some(member) if member.is_healthy() => {}
            _ => return plan,
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::RollingUpdateStatefulSet;

    use super::*;

    /// Words such as `0n`: the ordinal, then `n` for a current pod or `o` for one of an older template. Capitals are
    /// ready; `-` before means terminating, `!` that it has ended.
    fn members(text: &str) -> Vec<Member> {
        let member = |word: &str| {
            let (terminating, ended) = (word.starts_with('-'), word.starts_with('!'));
            let (ordinal, letter) = word.trim_start_matches(['-', '!']).split_at(1);
            Member {
                ordinal: ordinal.parse().expect("an ordinal"),
                current: letter.eq_ignore_ascii_case("n"),
                ready: letter.chars().all(char::is_uppercase),
                terminating,
                ended,
            }
        };
        text.split_whitespace().map(member).collect()
    }

    fn spec(replicas: u32, policy: PodManagementPolicy) -> StatefulSetSpec {
        StatefulSetSpec { replicas, pod_management_policy: policy, ..StatefulSetSpec::default() }
    }

    fn step(spec: &StatefulSetSpec, text: &str) -> String {
        let Plan { create, delete } = plan(spec, &members(text));
        let created = create.iter().map(|ordinal| format!("+{ordinal}"));
        created.chain(delete.iter().map(|ordinal| format!("-{ordinal}"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ordered_pods_are_made_one_after_the_other_and_end_in_reverse() {
        let three = spec(3, PodManagementPolicy::OrderedReady);
        for (text, expected) in [
            ("", "+0"),
            ("0n", ""),
            ("0N", "+1"),
            ("0N 1n", ""),
            ("0N 1N", "+2"),
            ("0N 1N 2N", ""),
            // One in the middle is made again before anything else happens.
            ("0N 2N", "+1"),
            ("0N -1N 2N", ""),
            ("0N !1n 2N", "-1"),
            // Too many: from the highest on, one at a time.
            ("0N 1N 2N 3N 4N", "-4"),
            ("0N 1N 2N 3N -4N", ""),
            ("0N 1n 2N 3N", ""),
            // An unready one goes only if no other is unready before it.
            ("0N 1N 2N 3n 4N", "-4"),
            ("0N 1N 2N 3N 4n", "-4"),
            ("0N 1N 2N 3n 4n", ""),
        ] {
            assert_eq!(step(&three, text), expected, "{text}");
        }
    }

    #[test]
    fn parallel_pods_are_made_and_deleted_at_once() {
        let two = spec(2, PodManagementPolicy::Parallel);
        assert_eq!(step(&two, ""), "+0 +1");
        assert_eq!(step(&two, "0n"), "+1");
        assert_eq!(step(&two, "0n 1n 2n 3N"), "-3 -2");
    }

    #[test]
    fn a_rolling_update_goes_from_the_highest_ordinal_down_and_waits_for_each() {
        for policy in [PodManagementPolicy::OrderedReady, PodManagementPolicy::Parallel] {
            let three = spec(3, policy);
            for (text, expected) in [
                ("0O 1O 2O", "-2"),
                ("0O 1O -2O", ""),
                ("0O 1O 2n", ""),
                ("0O 1O 2N", "-1"),
                ("0O 1N 2N", "-0"),
                ("0N 1N 2N", ""),
            ] {
                assert_eq!(step(&three, text), expected, "{policy:?} {text}");
            }
        }
        // Of ordered pods one that is not ready holds up everything: an older one has to be deleted by hand.
        assert_eq!(step(&spec(2, PodManagementPolicy::OrderedReady), "0O 1o"), "");
        assert_eq!(step(&spec(2, PodManagementPolicy::Parallel), "0O 1o"), "-1");
    }

    #[test]
    fn a_partition_keeps_pods_of_lower_ordinals_and_on_delete_keeps_all() {
        let mut three = spec(3, PodManagementPolicy::OrderedReady);
        three.update_strategy.rolling_update = Some(RollingUpdateStatefulSet { partition: 2 });
        assert_eq!(step(&three, "0O 1O 2O"), "-2");
        assert_eq!(step(&three, "0O 1O 2N"), "");
        assert_eq!([1, 2].map(|ordinal| keeps_older(&three, ordinal)), [true, false]);
        three.update_strategy.strategy_type = UpdateStrategyType::OnDelete;
        assert_eq!(step(&three, "0O 1O 2O"), "");
        assert!(!keeps_older(&three, 0), "one that is deleted is made from the current template");
    }

    #[test]
    fn ordinals_may_start_elsewhere() {
        let mut two = spec(2, PodManagementPolicy::OrderedReady);
        two.ordinals.start = 5;
        assert_eq!(step(&two, ""), "+5");
        assert_eq!(step(&two, "5N 6N 4N"), "-4");
        two.update_strategy.rolling_update = Some(RollingUpdateStatefulSet { partition: 1 });
        assert_eq!([5, 6].map(|ordinal| keeps_older(&two, ordinal)), [true, false]);
    }
}
