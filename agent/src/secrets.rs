//! Keeps the pod's certificate fresh: ask, publish until that succeeds, wait for half its life, ask again.
//!
//! Istio's `security/pkg/nodeagent/cache` with the proxyless driver of `pkg/istio-agent/agent.go`, as one loop: a timer
//! that can be lost, as theirs can, has no place in it.

use std::sync::Arc;
use std::time::Duration;

use hermesh_runtime::{Draws, EventId, Runtime};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

use crate::authority::{self, Authority, Secret};
use crate::publish::publish;
use crate::rotation::Backoff;
use crate::settings::Settings;
use crate::upstream::{Unreached, Upstream};
use crate::{
    CertificatePublishFailed, CertificateRequestFailed, CertificateRequested, CertificatesPublished, RootChanged,
    RotationScheduled,
};

/// The wall clock may be set, and a machine may sleep, while a long timer runs: look again this often.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(600);

/// The loop and what it remembers.
pub(crate) struct SecretManager {
    rt: Runtime,
    settings: Arc<Settings>,
    authority: Authority,
    draws: Draws,
    /// For the waits between attempts to write the files.
    publish_draws: Draws,
    /// For the waits after certificates that had expired when they came.
    expired_draws: Draws,
    root: Option<String>,
}

impl SecretManager {
    pub(crate) fn new(rt: &Runtime, settings: &Arc<Settings>) -> Self {
        Self {
            rt: rt.clone(),
            settings: Arc::clone(settings),
            authority: Authority::new(rt),
            draws: rt.draws("agent/rotation"),
            publish_draws: rt.draws("agent/publish"),
            expired_draws: rt.draws("agent/expired"),
            root: None,
        }
    }

    /// Never ends.
    pub(crate) async fn run(mut self, mut cause: Option<EventId>) {
        let mut expired = Backoff::new();
        loop {
            let secret = self.obtain(cause).await;
            let received = self.rt.wall();
            let mut backoff = Backoff::new();
            let mut retry = self.publish(&secret, &mut backoff).await.err();
            let due = self.settings.rotation.due(received, secret.not_after, &mut self.draws);
            cause = self.rt.emit_because(secret.event, RotationScheduled { due_s: due.as_secs() });
            while let Some(wait) = retry {
                tokio::select! {
                    biased;
                    () = self.wait_until(due) => break,
                    () = tokio::time::sleep(wait) => retry = self.publish(&secret, &mut backoff).await.err(),
                }
            }
            self.wait_until(due).await;
            if secret.not_after <= received {
                // By a clock that is far ahead the next one is no better: to ask at once would be to ask without end.
                tokio::time::sleep(expired.wait(&mut self.expired_draws)).await;
            } else {
                expired = Backoff::new();
            }
        }
    }

    /// Asks until a certificate comes.
    async fn obtain(&mut self, cause: Option<EventId>) -> Secret {
        let mut backoff = Backoff::new();
        loop {
            let event = CertificateRequested {
                identity: authority::identity(&self.settings),
                authority: Upstream::authority(&self.settings).address.to_owned(),
            };
            let requested = self.rt.emit_because(cause, event);
            match self.authority.request(&self.settings, requested).await {
                Ok(secret) => return secret,
                Err(Unreached { status, event: why }) => {
                    let wait = backoff.wait(&mut self.draws);
                    let event = CertificateRequestFailed {
                        code: format!("{:?}", status.code()),
                        message: self.explained(&status),
                        retry_in_ms: millis(wait),
                    };
                    self.rt.emit_because(why.or(requested), event);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// The message of a status, and where to look if it does not say.
    fn explained(&self, status: &Status) -> String {
        let message = status.message();
        match status.code() {
            Code::Unauthenticated => {
                let (authority, token) = (&self.settings.ca_address, self.settings.token.display());
                let joint = if message.is_empty() { "" } else { "; " };
                format!("{message}{joint}{authority} does not accept the token in {token}, or there is none")
            }
            _ => message.to_owned(),
        }
    }

    /// Writes the files; the error says when to try again.
    async fn publish(&mut self, secret: &Secret, backoff: &mut Backoff) -> Result<(), Duration> {
        let root = &secret.certificates.root;
        if self.root.as_ref().is_some_and(|before| before != root) {
            let digest = Sha256::digest(root).iter().map(|byte| format!("{byte:02x}")).collect();
            self.rt.emit_because(secret.event, RootChanged { digest });
        }
        self.root = Some(root.clone());
        let Some(path) = &self.settings.output_certs else { return Ok(()) };
        let directory = path.display().to_string();
        match publish(&self.rt, path, &secret.certificates, self.settings.certificate_mode).await {
            Ok(()) => {
                let event = CertificatesPublished { directory, not_after_s: secret.not_after.as_secs() };
                self.rt.emit_because(secret.event, event);
                Ok(())
            }
            Err(error) => {
                let wait = backoff.wait(&mut self.publish_draws);
                let event = CertificatePublishFailed { directory, error: error.to_string(), retry_in_ms: millis(wait) };
                self.rt.emit_because(secret.event, event);
                Err(wait)
            }
        }
    }

    async fn wait_until(&self, due: Duration) {
        while let Some(left) = due.checked_sub(self.rt.wall()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.min(LOOK_AT_THE_CLOCK)).await;
        }
    }
}

fn millis(wait: Duration) -> u64 {
    wait.as_millis().try_into().unwrap_or(u64::MAX)
}
