//! Where two runs that should be the same stop being the same.

use std::fmt;

use super::Trace;

/// How many common lines before a difference are shown.
const CONTEXT: usize = 5;

/// The first place where two traces differ, and what led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The position in both runs, from 1.
    pub seq: u64,
    /// The last lines both have.
    pub before: Vec<String>,
    /// The first run's line; `None` if it had ended.
    pub left: Option<String>,
    /// The second run's line; `None` if it had ended.
    pub right: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the traces differ at seq {}", self.seq)?;
        for line in &self.before {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "- {}", self.left.as_deref().unwrap_or("(end of trace)"))?;
        write!(f, "+ {}", self.right.as_deref().unwrap_or("(end of trace)"))
    }
}

/// The first difference between the kept events of two traces; `None` if there is none.
#[must_use]
pub fn first_difference(left: &Trace, right: &Trace) -> Option<Difference> {
    let longest = left.events().len().max(right.events().len());
    for index in 0..longest {
        let line = |trace: &Trace| trace.events().get(index).map(super::Recorded::to_json);
        let (ours, theirs) = (line(left), line(right));
        if ours != theirs {
            let before = left.events()[index.saturating_sub(CONTEXT)..index].iter().map(super::Recorded::to_json);
            return Some(Difference { seq: index as u64 + 1, before: before.collect(), left: ours, right: theirs });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hermesh_runtime::{AnyEvent, Level};

    use super::super::Header;
    use super::*;

    hermesh_runtime::event! {
        /// Counts.
        Counted = "test.counted" { count: u64, }
    }

    fn trace(counts: &[u64]) -> Trace {
        let mut trace = Trace::new(Header::of_test(Level::Info), true);
        for &count in counts {
            let event: Arc<dyn AnyEvent> = Arc::new(Counted { count });
            trace.record(Duration::ZERO, &"test".into(), None, event);
        }
        trace
    }

    #[test]
    fn equal_traces_have_no_difference() {
        assert_eq!(first_difference(&trace(&[1, 2]), &trace(&[1, 2])), None);
    }

    #[test]
    fn a_difference_shows_both_lines_and_what_came_before() {
        let difference = first_difference(&trace(&[1, 2, 3]), &trace(&[1, 2, 4])).unwrap();
        assert_eq!((difference.seq, difference.before.len()), (3, 2));
        assert!(difference.left.as_ref().unwrap().contains(r#""count":3"#));
        assert!(difference.to_string().ends_with(r#""count":4}"#), "{difference}");
    }

    #[test]
    fn a_run_that_ends_early_differs_where_it_ends() {
        let difference = first_difference(&trace(&[1]), &trace(&[1, 2])).unwrap();
        assert_eq!((difference.seq, difference.left), (2, None));
    }
}
