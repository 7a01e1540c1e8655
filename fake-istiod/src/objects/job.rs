//! `batch/v1 Job`.

use serde::Deserialize;

use super::{Metadata, PodTemplate, numbers};

/// `batch/v1 Job`: pods that run until so many of them have succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Job {
    /// Name, namespace and labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: JobSpec,
    /// What is.
    #[serde(skip)]
    pub status: JobStatus,
}

/// A Job's spec.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// What a pod looks like.
    pub template: PodTemplate,
    /// How many pods run at a time at most; one if absent.
    #[serde(deserialize_with = "numbers::optional_count")]
    pub parallelism: Option<u32>,
    /// How many pods have to succeed. One if absent, unless `parallelism` is there: then the first success is enough,
    /// and no pod is made after it.
    #[serde(deserialize_with = "numbers::optional_count")]
    pub completions: Option<u32>,
    /// How many failures are too many.
    #[serde(deserialize_with = "numbers::count")]
    pub backoff_limit: u32,
    /// Whether it makes no pods for now.
    pub suspend: bool,
    /// For how many seconds it may be at work.
    #[serde(deserialize_with = "numbers::optional_count")]
    pub active_deadline_seconds: Option<u32>,
    /// After how many seconds it is deleted once it has come to its end.
    #[serde(deserialize_with = "numbers::optional_count")]
    pub ttl_seconds_after_finished: Option<u32>,
}

impl Default for JobSpec {
    fn default() -> Self {
        Self {
            template: PodTemplate::default(),
            parallelism: None,
            completions: None,
            backoff_limit: 6,
            suspend: false,
            active_deadline_seconds: None,
            ttl_seconds_after_finished: None,
        }
    }
}

impl JobSpec {
    /// How many pods run at a time at most.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        self.parallelism.unwrap_or(1)
    }

    /// How many pods have to succeed; `None` if the pods themselves know when all is done.
    #[must_use]
    pub fn completions(&self) -> Option<u32> {
        self.completions.or_else(|| self.parallelism.is_none().then_some(1))
    }
}

/// A Job's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// Pods that run or are about to.
    pub active: u32,
    /// Pods that have succeeded.
    pub succeeded: u32,
    /// Pods that have failed.
    pub failed: u32,
    /// How it ended.
    pub outcome: Option<JobOutcome>,
    /// When it was first, or again, at work, in whole seconds since the Unix epoch.
    pub start_time: Option<u64>,
    /// When it came to its end, in whole seconds since the Unix epoch.
    pub end_time: Option<u64>,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// As many pods have succeeded as had to (condition `Complete`).
    Complete,
    /// It was given up (condition `Failed`).
    Failed {
        /// A word for why, such as `BackoffLimitExceeded`.
        reason: String,
    },
}
