//! How long it takes to pull an image, and whether it fails first, where somebody says so.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::matches;

/// The longest that a pull takes: a day.
pub(crate) const PULL_MAX: Duration = Duration::from_secs(24 * 3600);

/// How often pulls of an image fail that can be said to at most.
pub(crate) const FAILURES_MAX: u32 = 1_000;

/// What becomes of pulls of an image that a node does not have. Of several that fit, the first counts.
///
/// ```
/// use std::time::Duration;
/// use hermesh::Pull;
///
/// let slow = Duration::from_secs(20)..=Duration::from_secs(30);
/// let mesh = hermesh::mesh().nodes(2).pull(Pull::new("registry.corp/*", slow).on("node-2"));
/// # drop(mesh);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    image: String,
    node: Option<String>,
    workload: Option<String>,
    takes: Option<RangeInclusive<Duration>>,
    fails: u32,
}

impl Pull {
    /// Images whose name matches `glob` take a time that is drawn from the range.
    #[must_use]
    pub fn new(glob: impl Into<String>, takes: RangeInclusive<Duration>) -> Self {
        Self { image: glob.into(), node: None, workload: None, takes: Some(takes), fails: 0 }
    }

    /// The first pulls of images whose name matches `glob` fail, so many on each node; the next takes as long as ever.
    #[must_use]
    pub fn failing(glob: impl Into<String>, times: u32) -> Self {
        Self { image: glob.into(), node: None, workload: None, takes: None, fails: times }
    }

    /// And so many fail before that, on each node.
    #[must_use]
    pub fn fails(mut self, times: u32) -> Self {
        self.fails = times;
        self
    }

    /// Only on this node.
    #[must_use]
    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// Only for pods of this workload, `web` or `shop/web`.
    #[must_use]
    pub fn of(mut self, workload: impl Into<String>) -> Self {
        self.workload = Some(workload.into());
        self
    }

    /// How long it takes, in milliseconds, if somebody says.
    pub(crate) fn takes_ms(&self) -> Option<(u64, u64)> {
        let ms = |time: &Duration| u64::try_from(time.min(&PULL_MAX).as_millis()).unwrap_or(u64::MAX);
        let (least, most) = self.takes.as_ref().map(|takes| (ms(takes.start()), ms(takes.end())))?;
        Some((least.min(most), most))
    }

    /// How many fail before one succeeds.
    pub(crate) fn failures(&self) -> u32 {
        self.fails
    }

    /// Whether it is about this image on that node, for a workload in a namespace.
    pub(crate) fn fits(&self, image: &str, node: &str, (namespace, workload): (&str, &str)) -> bool {
        let of_workload = |wanted: &str| match wanted.split_once('/') {
            Some((of, name)) => of == namespace && name == workload,
            None => wanted == workload,
        };
        matches(&self.image, image)
            && self.node.as_ref().is_none_or(|wanted| wanted == node)
            && self.workload.as_deref().is_none_or(of_workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_about_an_image_and_perhaps_a_node_and_a_workload() {
        let second = Duration::from_secs(1);
        let any = || Pull::new("corp/*", second..=second);
        for (pull, expected) in [
            (any(), true),
            (Pull::new("other/*", second..=second), false),
            (any().on("node-1"), true),
            (any().on("node-2"), false),
            (any().of("web"), true),
            (any().of("shop/web"), true),
            (any().of("bank/web"), false),
            (any().of("cart"), false),
            (any().on("node-2").of("web"), false),
        ] {
            assert_eq!(pull.fits("corp/web:1", "node-1", ("shop", "web")), expected, "{pull:?}");
        }
        assert_eq!(Pull::new("*", second..=Duration::MAX).takes_ms(), Some((1000, 24 * 3600 * 1000)));
    }
}
