//! Service account tokens that nobody replaces any more.

use std::time::Duration;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_runtime::EventId;

use super::disturb::Ending;
use super::{DisturbError, Mesh, TargetError};
use crate::cluster::kubelet::{OnePod, Tokens};

/// The projected tokens of pods as they are now, not of others that have their names later. The kubelet replaces them
/// when 80 % of their life is over.
impl Mesh {
    /// Has the kubelet replace the tokens of a workload's pods, `web`, or of one of them, `web/0`, no more. Before
    /// that, if `within` is given, it gives them tokens that expire so soon; else they have what is left of theirs.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn expire_tokens(&mut self, target: &str, within: impl Into<Option<Duration>>) -> &mut Self {
        let result = self.try_expire_tokens(target, within.into());
        self.must("expire_tokens", result);
        self
    }

    /// [`expire_tokens`](Self::expire_tokens) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_expire_tokens(&mut self, target: &str, within: Option<Duration>) -> Result<Vec<String>, DisturbError> {
        self.expire(target, within, None)
    }

    /// [`expire_tokens`](Self::expire_tokens) for a time: then the pods that are still there get new ones.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn expire_tokens_for(
        &mut self,
        target: &str,
        within: impl Into<Option<Duration>>,
        time: Duration,
    ) -> &mut Self {
        let result = self.try_expire_tokens_for(target, within.into(), time);
        self.must("expire_tokens_for", result);
        self
    }

    /// [`expire_tokens_for`](Self::expire_tokens_for) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_expire_tokens_for(
        &mut self,
        target: &str,
        within: Option<Duration>,
        time: Duration,
    ) -> Result<Vec<String>, DisturbError> {
        self.expire(target, within, Some(time))
    }

    /// Gives pods new tokens, and has the kubelet replace them as ever.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn renew_tokens(&mut self, target: &str) -> &mut Self {
        let result = self.try_renew_tokens(target);
        self.must("renew_tokens", result);
        self
    }

    /// [`renew_tokens`](Self::renew_tokens) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_renew_tokens(&mut self, target: &str) -> Result<Vec<String>, DisturbError> {
        self.tell_tokens("renew the tokens of", target, Tokens::Renewed, None)
    }

    pub(crate) fn expire(
        &mut self,
        target: &str,
        within: Option<Duration>,
        lasting: Option<Duration>,
    ) -> Result<Vec<String>, DisturbError> {
        let tokens = within.map_or(Tokens::Kept, |life| Tokens::Last { life });
        self.tell_tokens("expire the tokens of", target, tokens, lasting)
    }

    /// Has all pods get new tokens again.
    pub(super) fn renew_all_tokens(&mut self, cause: Option<EventId>) {
        for pod in std::mem::take(&mut self.tokens_kept) {
            self.cluster.kubelet.set_tokens(&pod, Tokens::Renewed, cause);
            self.forget(&Ending::Tokens(pod));
        }
    }

    fn tell_tokens(
        &mut self,
        what: &'static str,
        target: &str,
        tokens: Tokens,
        lasting: Option<Duration>,
    ) -> Result<Vec<String>, DisturbError> {
        let rows = self.choose(target)?.pods;
        let mut pods: Vec<ObjectKey> =
            rows.iter().map(|row| ObjectKey::new(Kind::Pod, &row.namespace, &row.name)).collect();
        if let Some(machine) = pods.iter().find(|key| self.cluster.machines.contains(&key.namespace, &key.name)) {
            return Err(DisturbError::Machine {
                machine: machine.name.clone(),
                lacks: "tokens that a kubelet replaces",
            });
        }
        pods.retain(|pod| self.cluster.kubelet.net(pod).is_some());
        if pods.is_empty() {
            return Err(TargetError::NotRunning(target.to_owned()).into());
        }
        let names: Vec<String> = pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        let cause = self.disturb(what, names.clone());
        let kubelet = self.cluster.kubelet.clone();
        let ones: Vec<OnePod> = pods.iter().filter_map(|pod| kubelet.one(pod)).collect();
        self.at_once(|| ones.iter().for_each(|pod| kubelet.set_tokens(pod, tokens, cause)))?;
        for pod in ones {
            let (kubelet, key) = (kubelet.clone(), pod.clone());
            match tokens {
                Tokens::Renewed => self.tokens_kept.remove(&pod),
                Tokens::Kept | Tokens::Last { .. } => self.tokens_kept.insert(pod.clone()),
            };
            self.ends(Ending::Tokens(pod), lasting, move || kubelet.set_tokens(&key, Tokens::Renewed, cause));
        }
        Ok(names)
    }
}
