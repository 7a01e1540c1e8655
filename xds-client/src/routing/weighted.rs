//! The choice among weighted clusters (gRFC A28).

use hermesh_runtime::Draws;

use crate::resource::WeightedCluster;

/// One of `clusters`, each with a chance in proportion to its weight. Takes one draw if there is a choice, else none.
///
/// # Panics
/// If `clusters` is empty, which validation rules out.
#[must_use]
pub fn pick_cluster<'a>(clusters: &'a [WeightedCluster], draws: &mut Draws) -> &'a WeightedCluster {
    if let [only] = clusters {
        return only;
    }
    let total = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    cluster_at(clusters, draws.below(total))
}

/// The cluster that owns the `point`-th unit of weight.
fn cluster_at(clusters: &[WeightedCluster], mut point: u64) -> &WeightedCluster {
    for cluster in clusters {
        match point.checked_sub(u64::from(cluster.weight)) {
            Some(rest) => point = rest,
            None => return cluster,
        }
    }
    panic!("a point below the sum of the weights is within one of them")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clusters(weights: &[u32]) -> Vec<WeightedCluster> {
        let cluster = |(index, weight): (usize, &u32)| WeightedCluster {
            name: index.to_string(),
            weight: *weight,
            overrides: [].into(),
        };
        weights.iter().enumerate().map(cluster).collect()
    }

    #[test]
    fn a_single_cluster_takes_no_draw() {
        let mut draws = Draws::new(1, "test", 0);
        assert_eq!(pick_cluster(&clusters(&[7]), &mut draws).name, "0");
        assert_eq!(draws.index(), 0);
    }

    #[test]
    fn twenty_eighty_is_twenty_eighty() {
        let clusters = clusters(&[20, 80]);
        let mut draws = Draws::new(1, "test", 0);
        let first = (0..50_000).filter(|_| pick_cluster(&clusters, &mut draws).name == "0").count();
        assert!((9_600..10_400).contains(&first), "{first}");
        assert_eq!(draws.index(), 50_000);
    }

    proptest! {
        #[test]
        fn over_all_points_each_cluster_is_picked_exactly_as_often_as_it_weighs(
            weights in prop::collection::vec(1u32..50, 1..6),
        ) {
            let clusters = clusters(&weights);
            let mut picked = vec![0; weights.len()];
            for point in 0..weights.iter().map(|weight| u64::from(*weight)).sum() {
                picked[cluster_at(&clusters, point).name.parse::<usize>().unwrap()] += 1;
            }
            prop_assert_eq!(picked, weights);
        }
    }
}
