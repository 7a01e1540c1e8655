//! Calls that are made again until what comes of them is as expected.

use std::time::Duration;

use super::{Call, CallError, CallReport, Mesh};

/// How long after a call that was not as expected the next one is made, unless it took longer.
pub(crate) const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Mesh {
    /// Makes a call again and again, once a second, until what comes of it is as `expected`; answers with that.
    ///
    /// # Panics
    /// If it is not within this time, or if there is nobody to call from.
    #[track_caller]
    pub fn call_until(
        &mut self,
        call: Call,
        within: Duration,
        expected: impl FnMut(&CallReport) -> bool,
    ) -> CallReport {
        let result = self.try_call_until(&call, within, expected);
        self.must("call_until", result)
    }

    /// [`call_until`](Self::call_until) without panics.
    ///
    /// # Errors
    /// If it is not within this time: then with the last report. If there is nobody to call from.
    pub fn try_call_until(
        &mut self,
        call: &Call,
        within: Duration,
        mut expected: impl FnMut(&CallReport) -> bool,
    ) -> Result<CallReport, CallError> {
        let began = self.now();
        loop {
            let next = self.now() + TRY_AGAIN;
            let report = self.try_call(call)?;
            if expected(&report) {
                return Ok(report);
            }
            let next = next.max(self.now());
            if next > began + within {
                return Err(CallError::Timeout { within, last: Box::new(report) });
            }
            self.try_run_for(next - self.now())?;
        }
    }
}
