//! The text `ForwardEcho` gives for each request (`pkg/test/echo/server/forwarder`): what the article greps.

use std::fmt::Write as _;
use std::time::Duration;

use hermesh_runtime::go_duration;

/// How one request of a batch went.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) latency: Duration,
    /// Requests begun and unfinished when this one ended, itself included.
    pub(super) active: u32,
    /// Facts that only some protocols have, such as HTTP's `Url`.
    pub(super) facts: Vec<(&'static str, String)>,
    /// The echoed text.
    pub(super) body: String,
    /// Response header metadata, by name.
    pub(super) headers: Vec<(String, String)>,
}

impl Answer {
    /// The lines for request number `index`.
    pub(super) fn text(&self, index: u32) -> String {
        let mut text = String::new();
        let mut line = |args: std::fmt::Arguments<'_>| {
            text.write_fmt(args).and_then(|()| text.write_char('\n')).expect("writing to a String cannot fail");
        };
        line(format_args!("[{index}] Latency={}", go_duration::format(self.latency)));
        line(format_args!("[{index}] ActiveRequests={}", self.active));
        for (key, value) in &self.facts {
            line(format_args!("[{index}] {key}={value}"));
        }
        for body in self.body.lines().filter(|line| !line.is_empty()) {
            line(format_args!("[{index} body] {body}"));
        }
        for (name, value) in &self.headers {
            line(format_args!("[{index}] ResponseHeader={name}:{value}"));
        }
        text
    }
}

/// Collects a batch's results: all texts in the order of the requests, or the first error with how many there were.
#[derive(Debug)]
pub(super) struct Batch {
    texts: Vec<Option<String>>,
    done: u32,
    failed: u32,
    first_error: Option<String>,
    latency_total: Duration,
}

impl Batch {
    pub(super) fn new(count: u32) -> Self {
        Self { texts: vec![None; count as usize], done: 0, failed: 0, first_error: None, latency_total: Duration::ZERO }
    }

    /// Takes the result of request number `index`.
    pub(super) fn record(&mut self, index: u32, result: Result<Answer, String>) {
        self.done += 1;
        match result {
            Ok(answer) => {
                self.latency_total += answer.latency;
                self.texts[index as usize] = Some(answer.text(index));
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// The texts, if every request succeeded.
    pub(super) fn finish(self) -> Result<Vec<String>, ForwardError> {
        match self.first_error {
            None => Ok(self.texts.into_iter().flatten().collect()),
            Some(first) => Err(ForwardError::Requests { failed: self.failed, count: self.texts.len(), first }),
        }
    }

    /// What to say when the batch's time is up.
    pub(super) fn timed_out(&self, after: Duration) -> ForwardError {
        let succeeded = self.done - self.failed;
        ForwardError::TimedOut {
            after: go_duration::format(after),
            done: self.done,
            count: self.texts.len(),
            average: go_duration::format(self.latency_total.checked_div(succeeded).unwrap_or_default()),
        }
    }
}

/// Why a batch gives no output. The texts are those of Istio's echo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The request is not understood; nothing was sent.
    #[error(transparent)]
    Plan(#[from] super::PlanError),
    /// The channel to the target cannot be made; nothing was sent.
    #[error("{0}")]
    Channel(String),
    /// Some requests failed. What the others brought is dropped, as upstream does.
    #[error("{failed}/{count} requests had errors; first error: {first}")]
    Requests {
        /// How many failed.
        failed: u32,
        /// How many were sent.
        count: usize,
        /// The error that came first.
        first: String,
    },
    /// The batch's time was up.
    #[error("request set timed out after {after} and only {done}/{count} requests completed ({average} avg)")]
    TimedOut {
        /// The batch's time.
        after: String,
        /// How many had ended, well or not.
        done: u32,
        /// How many there were.
        count: usize,
        /// The average latency of those that ended well.
        average: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            latency: Duration::from_micros(1_520),
            active: 1,
            facts: Vec::new(),
            body: "StatusCode=200\n\nHostname=echo-v1-abc\n".into(),
            headers: vec![("content-type".into(), "application/grpc".into())],
        }
    }

    #[test]
    fn an_answers_text_has_latency_body_and_headers_in_order() {
        assert_eq!(
            answer().text(3),
            "[3] Latency=1.52ms\n\
             [3] ActiveRequests=1\n\
             [3 body] StatusCode=200\n\
             [3 body] Hostname=echo-v1-abc\n\
             [3] ResponseHeader=content-type:application/grpc\n"
        );
    }

    #[test]
    fn texts_come_in_the_order_of_requests_not_of_answers() {
        let mut batch = Batch::new(2);
        batch.record(1, Ok(answer()));
        batch.record(0, Ok(answer()));
        let texts = batch.finish().unwrap();
        assert!(texts[0].starts_with("[0]") && texts[1].starts_with("[1]"), "{texts:?}");
    }

    #[test]
    fn one_failure_fails_the_batch_with_the_error_that_came_first() {
        let mut batch = Batch::new(3);
        batch.record(2, Err("late one".into()));
        batch.record(0, Ok(answer()));
        batch.record(1, Err("other".into()));
        assert_eq!(batch.finish().unwrap_err().to_string(), "2/3 requests had errors; first error: late one");
    }

    #[test]
    fn running_out_of_time_tells_how_far_it_got() {
        let mut batch = Batch::new(3);
        batch.record(0, Ok(answer()));
        assert_eq!(
            batch.timed_out(Duration::from_secs(5)).to_string(),
            "request set timed out after 5s and only 1/3 requests completed (1.52ms avg)"
        );
    }
}
