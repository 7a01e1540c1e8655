//! Whether the pod may take traffic: the bootstrap loads and its certificate files exist.
//!
//! `pkg/istio-agent/health` without Envoy: neither istiod nor validity of the certificates plays a part.

/// What [`Readiness`] looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// No bootstrap is wanted.
    Off,
    /// There is none, or it cannot be read.
    Unreadable(String),
    /// It loads; these of the files it names are missing.
    Loaded {
        /// Paths.
        missing: Vec<String>,
    },
}

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// `/drain` was called.
    #[error("draining")]
    Draining,
    /// The bootstrap cannot be read.
    #[error("gRPC bootstrap: {0}")]
    Bootstrap(String),
    /// Certificate files are missing.
    #[error("certificate files not written yet: {}", .0.join(", "))]
    Certificates(Vec<String>),
}

/// Decides, and tells changes from repetitions.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    draining: bool,
    last: Option<bool>,
}

impl Readiness {
    /// From now on the answer is no.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether the pod is ready.
    ///
    /// # Errors
    /// Why not.
    pub fn decide(&self, bootstrap: &Bootstrap) -> Result<(), NotReady> {
        match bootstrap {
            _ if self.draining => Err(NotReady::Draining),
            Bootstrap::Unreadable(error) => Err(NotReady::Bootstrap(error.clone())),
            Bootstrap::Loaded { missing } if !missing.is_empty() => Err(NotReady::Certificates(missing.clone())),
            Bootstrap::Off | Bootstrap::Loaded { .. } => Ok(()),
        }
    }

    /// Whether `ready` is news.
    pub fn changes_to(&mut self, ready: bool) -> bool {
        self.last.replace(ready) != Some(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_and_files_decide() {
        let mut readiness = Readiness::default();
        let unreadable = Bootstrap::Unreadable("not found".to_owned());
        let missing = Bootstrap::Loaded { missing: vec!["/key.pem".to_owned()] };
        let complete = Bootstrap::Loaded { missing: Vec::new() };
        assert_eq!(readiness.decide(&unreadable).unwrap_err().to_string(), "gRPC bootstrap: not found");
        assert!(readiness.decide(&missing).unwrap_err().to_string().contains("/key.pem"));
        assert_eq!(readiness.decide(&complete), Ok(()));
        assert_eq!(readiness.decide(&Bootstrap::Off), Ok(()));
        readiness.drain();
        assert_eq!(readiness.decide(&complete), Err(NotReady::Draining));
    }

    #[test]
    fn only_changes_are_news() {
        let mut readiness = Readiness::default();
        let news: Vec<bool> = [false, false, true, true, false].map(|ready| readiness.changes_to(ready)).into();
        assert_eq!(news, [true, false, true, false, true]);
    }
}
