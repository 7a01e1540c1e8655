//! What the kubelet puts into a pod's volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hermesh_istiod::ca::{ServiceAccount, SignedTokens};
use hermesh_istiod::objects::{
    ConfigMap, ConfigMapVolume, DownwardApiItem, Kind, Object, ObjectKey, ProjectedSource, VolumeSource,
};

use super::environment::Facts;
use super::payload::{self, Files};
use crate::cluster::store::Store;
use crate::engine::Volume;

/// The audience of tokens that name none: the API server's.
const API_SERVER: &str = "https://kubernetes.default.svc.cluster.local";

/// What becomes of a pod's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// They are replaced in time.
    #[default]
    Renewed,
    /// Those that are there stay, for good.
    Kept,
    /// So long as it says they live, once more, and then stay.
    Last {
        /// How long.
        life: Duration,
    },
}

/// Makes every volume of the pod that is not in `volumes` yet, and brings the others up to date.
///
/// The error says what is not there yet; pods wait for it.
pub(crate) fn fill(
    volumes: &mut BTreeMap<String, Volume>,
    facts: &Facts<'_>,
    store: &Store,
    tokens: (&SignedTokens, Tokens),
    version: u64,
) -> Result<(), String> {
    for spec in &facts.pod.spec.volumes {
        let there = volumes.get(&spec.name);
        let files = files(&spec.source, facts, store, tokens, there)
            .map_err(|missing| format!("MountVolume.SetUp failed for volume \"{}\": {missing}", spec.name))?;
        let volume = volumes.entry(spec.name.clone()).or_insert_with(Volume::new);
        if let Some(files) = files {
            payload::write(volume, version, &files)
                .map_err(|error| format!("MountVolume.SetUp failed for volume \"{}\": {error}", spec.name))?;
        }
    }
    Ok(())
}

/// After how long tokens of the pod are to be made anew: at 80 % of the shortest life, as the kubelet does.
pub(crate) fn token_refresh(sources: impl Iterator<Item = VolumeSource>) -> Option<Duration> {
    let projected = sources.filter_map(|source| match source {
        VolumeSource::Projected(projected) => Some(projected.sources),
        _ => None,
    });
    let lives = projected.flatten().filter_map(|source| Some(source.service_account_token?.expiration_seconds));
    lives.min().map(|seconds| Duration::from_secs(seconds) * 4 / 5)
}

fn files(
    source: &VolumeSource,
    facts: &Facts<'_>,
    store: &Store,
    tokens: (&SignedTokens, Tokens),
    there: Option<&Volume>,
) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    match source {
        VolumeSource::EmptyDir(_) => return Ok(None),
        VolumeSource::ConfigMap(volume) => config_map(&mut files, volume, facts, store)?,
        VolumeSource::DownwardApi(volume) => downward(&mut files, &volume.items, facts)?,
        VolumeSource::Projected(volume) => {
            for source in &volume.sources {
                projected(&mut files, source, facts, store, tokens, there)?;
            }
        }
    }
    Ok(Some(files))
}

fn projected(
    files: &mut Files,
    source: &ProjectedSource,
    facts: &Facts<'_>,
    store: &Store,
    (signed, tokens): (&SignedTokens, Tokens),
    there: Option<&Volume>,
) -> Result<(), String> {
    if let Some(volume) = &source.config_map {
        config_map(files, volume, facts, store)?;
    }
    if let Some(volume) = &source.downward_api {
        downward(files, &volume.items, facts)?;
    }
    if let Some(token) = &source.service_account_token {
        let (namespace, account) = (&facts.pod.metadata.namespace, facts.pod.spec.service_account());
        let key = ObjectKey::new(Kind::ServiceAccount, namespace, account);
        if !store.contains(&key) {
            return Err(format!("serviceaccount \"{account}\" not found"));
        }
        let audience = if token.audience.is_empty() { API_SERVER } else { &token.audience };
        let life = match tokens {
            Tokens::Last { life } => life,
            Tokens::Renewed | Tokens::Kept => Duration::from_secs(token.expiration_seconds),
        };
        let kept = there.filter(|_| tokens == Tokens::Kept).and_then(|volume| volume.read(&token.path).ok());
        let mint = || signed.mint(&ServiceAccount::new(namespace.clone(), account), audience, life).into();
        files.insert(token.path.clone(), kept.unwrap_or_else(mint));
    }
    Ok(())
}

fn config_map(files: &mut Files, volume: &ConfigMapVolume, facts: &Facts<'_>, store: &Store) -> Result<(), String> {
    let Some(map) = find_config_map(store, &facts.pod.metadata.namespace, &volume.name) else {
        return if volume.optional { Ok(()) } else { Err(format!("configmap \"{}\" not found", volume.name)) };
    };
    if volume.items.is_empty() {
        files.extend(map.data.iter().map(|(key, text)| (key.clone(), Bytes::from(text.clone()))));
    }
    for item in &volume.items {
        match map.data.get(&item.key) {
            Some(text) => {
                files.insert(item.path.clone(), text.clone().into());
            }
            None if volume.optional => {}
            None => return Err(format!("configmap references non-existent config key: {}", item.key)),
        }
    }
    Ok(())
}

/// A ConfigMap of the store.
pub(crate) fn find_config_map(store: &Store, namespace: &str, name: &str) -> Option<std::sync::Arc<ConfigMap>> {
    match store.get(&ObjectKey::new(Kind::ConfigMap, namespace, name)) {
        Some(Object::ConfigMap(map)) => Some(map),
        _ => None,
    }
}

fn downward(files: &mut Files, items: &[DownwardApiItem], facts: &Facts<'_>) -> Result<(), String> {
    // Of resources (`resourceFieldRef`) nothing is known here.
    for item in items.iter().filter(|item| !item.field_ref.field_path.is_empty()) {
        let contents = match item.field_ref.field_path.as_str() {
            "metadata.labels" => payload::downward_map(&facts.pod.metadata.labels),
            "metadata.annotations" => payload::downward_map(&facts.pod.metadata.annotations),
            path => facts.field(path)?.into(),
        };
        files.insert(item.path.clone(), contents);
    }
    Ok(())
}
