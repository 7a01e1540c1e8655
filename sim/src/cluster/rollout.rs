//! How many pods each ReplicaSet of a Deployment is to have.
//!
//! Source: kubernetes `pkg/controller/deployment` (`sync.go`, `rolling.go`, `recreate.go`) and its
//! `util/deployment_util.go`.

use hermesh_istiod::objects::{DeploymentSpec, IntOrString, StrategyType};

/// A ReplicaSet, as far as a rollout looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplicaSet {
    /// How many pods it is to have.
    pub(crate) size: u32,
    /// What it was scaled for last.
    pub(crate) scaled_for: Scale,
    /// How many of its pods are available.
    pub(crate) available: u32,
    /// How many of its pods have not ended, those that are about to among them.
    pub(crate) pods: u32,
}

/// The annotations of a ReplicaSet that its Deployment keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scale {
    /// `deployment.kubernetes.io/desired-replicas`
    desired: u32,
    /// `deployment.kubernetes.io/max-replicas`: these and the surge.
    max: u32,
}

impl ReplicaSet {
    /// A ReplicaSet of one more template.
    pub(crate) fn new(spec: &DeploymentSpec) -> Self {
        Self { scaled_for: scale(spec), ..Self::default() }
    }

    fn is_active(&self) -> bool {
        self.size > 0
    }

    /// Of what it is to have. Unready pods go first.
    fn available(&self) -> u32 {
        self.available.min(self.size)
    }
}

/// Sizes a Deployment's ReplicaSets, which come from the oldest to the latest. That of its template is at `new`; a
/// paused Deployment may have none.
pub(crate) fn resize(spec: &DeploymentSpec, sets: &mut [ReplicaSet], new: Option<usize>) {
    while step(spec, sets, new) {}
}

/// What the controller does at once. Whether that was anything.
fn step(spec: &DeploymentSpec, sets: &mut [ReplicaSet], new: Option<usize>) -> bool {
    let is_scaled = sets.iter().any(|set| set.is_active() && set.scaled_for.desired != spec.replicas);
    match new {
        Some(new) if !spec.paused && !is_scaled => match spec.strategy.strategy_type {
            StrategyType::RollingUpdate => scale_up(spec, sets, new) || scale_down(spec, sets, new),
            StrategyType::Recreate => recreate(spec, sets, new),
        },
        _ => follow(spec, sets, new),
    }
}

/// Gives the new ReplicaSet as many pods as the surge lets all have (`reconcileNewReplicaSet`).
fn scale_up(spec: &DeploymentSpec, sets: &mut [ReplicaSet], new: usize) -> bool {
    let room = scale(spec).max.saturating_sub(total(sets));
    let size = sets[new].size;
    let size = if size > spec.replicas { spec.replicas } else { size + room.min(spec.replicas - size) };
    set_size(spec, &mut sets[new], size)
}

/// Takes from the old ReplicaSets what is not missed, the oldest first: pods that are not available, and then such that
/// are (`reconcileOldReplicaSets`). New pods that are not available yet count as missed: where they never will be, no
/// old one goes for nothing.
fn scale_down(spec: &DeploymentSpec, sets: &mut [ReplicaSet], new: usize) -> bool {
    let least = spec.replicas.saturating_sub(limits(spec).1);
    let awaited = sets[new].size - sets[new].available();
    let mut spare = total(sets).saturating_sub(least).saturating_sub(awaited);
    let mut changed = false;
    if spare == 0 {
        return false;
    }
    for set in sets.iter_mut().enumerate().filter_map(|(index, set)| (index != new).then_some(set)) {
        let gone = spare.min(set.size - set.available());
        spare -= gone;
        changed |= set_size(spec, set, set.size - gone);
    }
    let mut spare = sets.iter().map(ReplicaSet::available).sum::<u32>().saturating_sub(least);
    for set in sets.iter_mut().enumerate().filter_map(|(index, set)| (index != new).then_some(set)) {
        let gone = spare.min(set.size);
        spare -= gone;
        changed |= set_size(spec, set, set.size - gone);
    }
    changed
}

/// Ends all old pods, and makes new ones when the last is gone.
fn recreate(spec: &DeploymentSpec, sets: &mut [ReplicaSet], new: usize) -> bool {
    let mut changed = false;
    for set in sets.iter_mut().enumerate().filter_map(|(index, set)| (index != new).then_some(set)) {
        changed |= set_size(spec, set, 0);
    }
    let run = sets.iter().enumerate().any(|(index, set)| index != new && set.pods > 0);
    changed || !run && set_size(spec, &mut sets[new], spec.replicas)
}

/// Follows the Deployment's replicas where nothing is rolled out (`scale`): the one ReplicaSet that has pods takes all
/// the change, several share it by their sizes.
fn follow(spec: &DeploymentSpec, sets: &mut [ReplicaSet], new: Option<usize>) -> bool {
    let before = sets.to_vec();
    let active: Vec<usize> = (0..sets.len()).filter(|index| sets[*index].is_active()).collect();
    match active.as_slice() {
        [] => {
            if let Some(latest) = new.or_else(|| sets.len().checked_sub(1)) {
                sets[latest].size = spec.replicas;
            }
        }
        [only] => sets[*only].size = spec.replicas,
        _ if new.is_some_and(|new| is_saturated(spec, &sets[new])) => {
            for index in active {
                sets[index].size = if Some(index) == new { sets[index].size } else { 0 };
            }
        }
        _ if spec.strategy.strategy_type == StrategyType::RollingUpdate => share(spec, sets, active),
        _ => {}
    }
    for set in sets.iter_mut() {
        set.scaled_for = scale(spec);
    }
    sets != before
}

/// Whether the new ReplicaSet is all that is needed.
fn is_saturated(spec: &DeploymentSpec, new: &ReplicaSet) -> bool {
    [new.size, new.scaled_for.desired, new.available] == [spec.replicas; 3]
}

/// Shares what the Deployment gains or loses among its ReplicaSets, by their sizes; what rounding leaves goes to the
/// largest (`GetReplicaSetProportion`).
fn share(spec: &DeploymentSpec, sets: &mut [ReplicaSet], mut active: Vec<usize>) {
    let max = scale(spec).max;
    let allowed = if spec.replicas > 0 { max } else { 0 };
    let change = i64::from(allowed) - i64::from(total(sets));
    // Of equal ones the latest gain first, and the oldest lose.
    if change > 0 {
        active.reverse();
    }
    active.sort_by_key(|index| std::cmp::Reverse(sets[*index].size));
    let mut left = change;
    for index in &active {
        if left == 0 {
            break;
        }
        let ReplicaSet { size, scaled_for, .. } = sets[*index];
        // Rounded to the nearest.
        let (part, whole) = (u64::from(size) * u64::from(max), u64::from(scaled_for.max.max(1)));
        let wanted = if spec.replicas == 0 { 0 } else { (2 * part + whole) / (2 * whole) };
        let fraction = i64::try_from(wanted).unwrap_or(i64::MAX) - i64::from(size);
        let fraction = if change > 0 { fraction.min(left) } else { fraction.max(left) };
        sets[*index].size = grown(size, fraction);
        left -= fraction;
    }
    if let Some(largest) = active.first() {
        sets[*largest].size = grown(sets[*largest].size, left);
    }
}

fn grown(size: u32, by: i64) -> u32 {
    u32::try_from((i64::from(size) + by).max(0)).unwrap_or(u32::MAX)
}

fn set_size(spec: &DeploymentSpec, set: &mut ReplicaSet, size: u32) -> bool {
    let changed = set.size != size;
    if changed {
        (set.size, set.scaled_for) = (size, scale(spec));
    }
    changed
}

fn total(sets: &[ReplicaSet]) -> u32 {
    sets.iter().map(|set| set.size).sum()
}

fn scale(spec: &DeploymentSpec) -> Scale {
    let surge = if spec.strategy.strategy_type == StrategyType::RollingUpdate { limits(spec).0 } else { 0 };
    Scale { desired: spec.replicas, max: spec.replicas.saturating_add(surge) }
}

/// `maxSurge`, rounded up, and `maxUnavailable`, rounded down; not both zero.
fn limits(spec: &DeploymentSpec) -> (u32, u32) {
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
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    (count(surge), count(unavailable))
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::RollingUpdate;

    use super::*;

    fn spec(replicas: u32, surge: i32, unavailable: i32) -> DeploymentSpec {
        let limit = |number| Some(IntOrString::Int(number));
        let rolling = RollingUpdate { max_surge: limit(surge), max_unavailable: limit(unavailable) };
        let mut spec = DeploymentSpec { replicas, ..DeploymentSpec::default() };
        spec.strategy.rolling_update = Some(rolling);
        spec
    }

    /// ReplicaSets from the oldest to the new one, each as the pods that it has and how many of them are available;
    /// they were scaled for `spec`.
    fn sets(spec: &DeploymentSpec, sizes: &[(u32, u32)]) -> Vec<ReplicaSet> {
        let set = |&(size, available): &(u32, u32)| ReplicaSet { size, available, pods: size, ..ReplicaSet::new(spec) };
        sizes.iter().map(set).collect()
    }

    /// What becomes of them, the last being new.
    fn resized(spec: &DeploymentSpec, mut sets: Vec<ReplicaSet>) -> Vec<u32> {
        let new = sets.len().checked_sub(1);
        resize(spec, &mut sets, new);
        sets.iter().map(|set| set.size).collect()
    }

    /// One rolling update from its beginning to its end: `(surge, unavailable)`, and the sizes of the old and the new
    /// ReplicaSet at each step, all pods of the step before being available.
    #[test]
    fn a_rolling_update_keeps_within_surge_and_unavailable() {
        type Sizes = [u32; 2];
        let table: [(i32, i32, &[Sizes]); 5] = [
            (1, 0, &[[4, 0], [4, 1], [3, 2], [2, 3], [1, 4], [0, 4]]),
            (0, 1, &[[4, 0], [3, 1], [2, 2], [1, 3], [0, 4]]),
            (1, 1, &[[4, 0], [3, 2], [1, 4], [0, 4]]),
            (4, 0, &[[4, 0], [4, 4], [0, 4]]),
            (0, 4, &[[4, 0], [0, 4]]),
        ];
        for (surge, unavailable, steps) in table {
            let spec = spec(4, surge, unavailable);
            for pair in steps.windows(2) {
                let [from, to] = [pair[0], pair[1]];
                let before = sets(&spec, &from.map(|size| (size, size)));
                assert_eq!(resized(&spec, before), to, "surge {surge}, unavailable {unavailable}, from {from:?}");
            }
        }
    }

    /// Source: the second case that `reconcileOldReplicaSets` tells of in its comment, and its neighbours.
    #[test]
    fn where_new_pods_never_get_available_no_old_one_goes_for_nothing() {
        let stuck = spec(10, 3, 2);
        assert_eq!(resized(&stuck, sets(&stuck, &[(8, 8), (5, 0)])), [8, 5]);
        // Two of the old ones are unavailable: they are among those that may be missing.
        assert_eq!(resized(&stuck, sets(&stuck, &[(8, 6), (5, 0)])), [8, 5]);
        assert_eq!(resized(&stuck, sets(&stuck, &[(10, 8), (0, 0)])), [8, 5]);
        let strict = spec(2, 1, 0);
        assert_eq!(resized(&strict, sets(&strict, &[(2, 1), (1, 0)])), [2, 1]);
        assert_eq!(resized(&strict, sets(&strict, &[(2, 1), (1, 1)])), [1, 2]);
    }

    #[test]
    fn the_oldest_give_first() {
        let spec = spec(4, 1, 1);
        assert_eq!(resized(&spec, sets(&spec, &[(2, 0), (2, 2), (1, 1)])), [0, 2, 3]);
        assert_eq!(resized(&spec, sets(&spec, &[(1, 1), (2, 2), (1, 1)])), [0, 2, 3]);
    }

    #[test]
    fn what_was_rolled_out_is_scaled_at_once() {
        for (from, to) in [(3, 5), (5, 3), (1, 0)] {
            let was = sets(&spec(from, 1, 0), &[(0, 0), (from, from)]);
            assert_eq!(resized(&spec(to, 1, 0), was), [0, to]);
        }
        assert_eq!(resized(&spec(3, 1, 0), sets(&spec(0, 1, 0), &[(0, 0)])), [3]);
    }

    /// Source: kubernetes `sync_test.go` (`TestScale`) for the kind of table; numbers are of its formula.
    #[test]
    fn a_rollout_under_way_is_scaled_in_proportion() {
        let scaled = |from: DeploymentSpec, to: DeploymentSpec, sizes: &[(u32, u32)]| {
            let mut sets = sets(&from, sizes);
            let new = sets.len() - 1;
            assert!(step(&to, &mut sets, Some(new)));
            sets.iter().map(|set| set.size).collect::<Vec<_>>()
        };
        // 10 may be there instead of 5: 3 become 6, 2 become 4.
        assert_eq!(scaled(spec(4, 1, 0), spec(8, 2, 0), &[(3, 3), (2, 0)]), [6, 4]);
        assert_eq!(scaled(spec(8, 2, 0), spec(4, 1, 0), &[(6, 6), (4, 0)]), [3, 2]);
        // What rounding leaves goes to the largest, of equal ones to the latest.
        assert_eq!(scaled(spec(10, 0, 1), spec(20, 0, 1), &[(5, 5), (3, 3), (2, 0)]), [10, 6, 4]);
        assert_eq!(scaled(spec(10, 0, 1), spec(11, 0, 1), &[(5, 5), (5, 0)]), [5, 6]);
        assert_eq!(scaled(spec(10, 0, 1), spec(0, 0, 1), &[(5, 5), (5, 0)]), [0, 0]);
        // All that is needed is there already: the old ones have nothing to gain.
        assert_eq!(scaled(spec(3, 0, 1), spec(3, 1, 1), &[(1, 1), (3, 3)]), [0, 3]);
    }

    #[test]
    fn recreate_waits_until_the_old_pods_are_gone() {
        let mut spec = spec(2, 0, 0);
        spec.strategy.strategy_type = StrategyType::Recreate;
        assert_eq!(resized(&spec, sets(&spec, &[(2, 2), (0, 0)])), [0, 0]);
        let mut gone = sets(&spec, &[(0, 0), (0, 0)]);
        gone[0].pods = 1;
        assert_eq!(resized(&spec, gone.clone()), [0, 0], "one still ends");
        gone[0].pods = 0;
        assert_eq!(resized(&spec, gone), [0, 2]);
    }

    #[test]
    fn a_paused_deployment_is_scaled_and_not_rolled_out() {
        let from = spec(4, 1, 0);
        let paused = |replicas| DeploymentSpec { paused: true, ..spec(replicas, 1, 0) };
        let mut one = sets(&from, &[(4, 4)]);
        resize(&paused(6), &mut one, None);
        assert_eq!(one[0].size, 6);
        let mut two = sets(&from, &[(3, 3), (2, 0)]);
        resize(&paused(4), &mut two, Some(1));
        assert_eq!([two[0].size, two[1].size], [3, 2]);
    }

    #[test]
    fn limits_of_zero_would_stop_everything_and_do_not() {
        let mut spec = spec(1, 0, 0);
        spec.strategy.rolling_update = Some(RollingUpdate {
            max_surge: Some(IntOrString::Int(0)),
            max_unavailable: Some(IntOrString::String("0%".to_owned())),
        });
        assert_eq!(limits(&spec), (0, 1));
    }
}
