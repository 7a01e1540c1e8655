//! What networks answer otherwise than told, and why they may.

use crate::runner::{Mismatch, Run};

/// One thing a network does otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Which network.
    pub network: &'static str,
    /// The title of the case.
    pub case: &'static str,
    /// What it does.
    pub what: What,
    /// Why it may.
    pub reason: &'static str,
}

/// What a network does with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It does not run.
    Skipped,
    /// A step has another answer.
    Answer {
        /// Process and order.
        step: &'static str,
        /// What it answers there.
        answer: &'static str,
    },
}

impl Difference {
    /// Whether it tells of this mismatch.
    #[must_use]
    pub fn tells(&self, run: &Run, mismatch: &Mismatch) -> bool {
        let what = What::Answer { step: self.step(), answer: self.answer() };
        self.what == what
            && (self.network, self.case) == (run.network, run.case.as_str())
            && (self.step(), self.answer()) == (mismatch.step.as_str(), mismatch.seen.as_str())
    }

    /// Process and order; empty for a whole case.
    #[must_use]
    pub fn step(&self) -> &'static str {
        match self.what {
            What::Answer { step, .. } => step,
            What::Skipped => "",
        }
    }

    /// What is answered; empty for a whole case.
    #[must_use]
    pub fn answer(&self) -> &'static str {
        match self.what {
            What::Answer { answer, .. } => answer,
            What::Skipped => "",
        }
    }
}

/// All there are. One that is not seen fails the suite.
pub const DIFFERENCES: &[Difference] = &[];
