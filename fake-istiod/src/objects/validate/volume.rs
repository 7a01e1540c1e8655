//! What the API server refuses of volumes.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go` (`validateVolumeSource`, `validateProjectionSources`).

use std::collections::BTreeSet;

use super::Check;
use crate::objects::known::field_names;
use crate::objects::names::{is_config_map_key, is_path_within};
use crate::objects::volume::VOLUME_SOURCES;
use crate::objects::{
    ConfigMapVolume, DownwardApiVolume, ProjectedSource, ServiceAccountTokenProjection, VolumeSource,
};

/// The sources that a projected volume puts together.
const PROJECTED: [&str; 6] =
    ["serviceAccountToken", "configMap", "downwardAPI", "clusterTrustBundle", "podCertificate", "secret"];

/// How long a token may be valid, in seconds.
const TOKEN_SECONDS_MAX: u64 = 1 << 32;

/// Where fields of a pod are wanted: not all are known everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    OfEnv,
    OfVolume,
}

/// That the volume at `path` has one source, be it one that Hermesh models or not.
pub(super) fn whole_sources(check: &mut Check<'_>, path: &str) {
    let sources: Vec<&str> = VOLUME_SOURCES.into_iter().chain(field_names("Volume")).collect();
    check.only_one(path, &sources, "a volume has exactly one source; give each its own volume");
}

pub(super) fn volume_fields(check: &mut Check<'_>, path: &str, source: &VolumeSource) {
    match source {
        VolumeSource::EmptyDir(_) => {}
        VolumeSource::ConfigMap(volume) => drop(config_map(check, &format!("{path}.configMap"), volume)),
        VolumeSource::DownwardApi(volume) => drop(downward_api(check, &format!("{path}.downwardAPI"), volume)),
        VolumeSource::Projected(volume) => {
            let mut files = BTreeSet::new();
            for (index, source) in volume.sources.iter().enumerate() {
                let path = format!("{path}.projected.sources[{index}]");
                for (at, file) in projected(check, &path, source) {
                    if !file.is_empty() && !files.insert(file) {
                        let message = format!("another source writes {file:?} already; give it another path");
                        check.error("duplicate", &at, message);
                    }
                }
            }
        }
    }
}

/// The files that a source writes, each with the field that says so.
type Files<'a> = Vec<(String, &'a str)>;

fn projected<'a>(check: &mut Check<'_>, path: &str, source: &'a ProjectedSource) -> Files<'a> {
    if PROJECTED.iter().all(|name| !check.has(&format!("{path}.{name}"))) && check.is_whole(path) {
        check.error("missing-field", path, "needs one of serviceAccountToken, configMap, downwardAPI or secret");
    }
    check.only_one(path, &PROJECTED, "expected one source; write an entry for each");
    let mut files = Vec::new();
    if let Some(token) = &source.service_account_token {
        let path = format!("{path}.serviceAccountToken");
        service_account_token(check, &path, token);
        files.push((format!("{path}.path"), token.path.as_str()));
    }
    if let Some(volume) = &source.config_map {
        files.extend(config_map(check, &format!("{path}.configMap"), volume));
    }
    if let Some(volume) = &source.downward_api {
        files.extend(downward_api(check, &format!("{path}.downwardAPI"), volume));
    }
    files
}

fn service_account_token(check: &mut Check<'_>, path: &str, token: &ServiceAccountTokenProjection) {
    file_path(check, &format!("{path}.path"), &token.path);
    let seconds = token.expiration_seconds;
    let message = match seconds {
        0..600 => "must be at least 600, ten minutes".to_owned(),
        600..=TOKEN_SECONDS_MAX => return,
        _ => format!("{seconds} is too large; write at most {TOKEN_SECONDS_MAX}, 2^32"),
    };
    check.error("out-of-range", &format!("{path}.expirationSeconds"), message);
}

fn config_map<'a>(check: &mut Check<'_>, path: &str, volume: &'a ConfigMapVolume) -> Files<'a> {
    if volume.name.is_empty() {
        check.error("missing-field", &format!("{path}.name"), "missing; which ConfigMap?");
    }
    check.subdomain(&format!("{path}.name"), &volume.name, "the name of a ConfigMap");
    let mut files = Vec::new();
    for (index, item) in volume.items.iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        if item.key.is_empty() {
            check.error("missing-field", &format!("{path}.key"), "missing; which key of the ConfigMap?");
        } else if !is_config_map_key(&item.key) {
            let message =
                format!("no ConfigMap has a key {:?}: use letters, digits, dashes, underscores, dots", item.key);
            check.error("invalid-name", &format!("{path}.key"), message);
        }
        file_path(check, &format!("{path}.path"), &item.path);
        files.push((format!("{path}.path"), item.path.as_str()));
    }
    files
}

fn downward_api<'a>(check: &mut Check<'_>, path: &str, volume: &'a DownwardApiVolume) -> Files<'a> {
    let mut files = Vec::new();
    for (index, item) in volume.items.iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        file_path(check, &format!("{path}.path"), &item.path);
        files.push((format!("{path}.path"), item.path.as_str()));
        check.only_one(&path, &["fieldRef", "resourceFieldRef"], "expected one of fieldRef or resourceFieldRef");
        if check.has(&format!("{path}.fieldRef")) {
            let field = &item.field_ref.field_path;
            field_reference(check, &format!("{path}.fieldRef.fieldPath"), field, Fields::OfVolume);
        } else if !check.has(&format!("{path}.resourceFieldRef")) && check.is_whole(&path) {
            check.error("missing-field", &format!("{path}.fieldRef"), "missing; which field of the pod?");
        }
    }
    files
}

/// Where a file of a volume is.
fn file_path(check: &mut Check<'_>, path: &str, file: &str) {
    if file.is_empty() {
        check.error("missing-field", path, "missing; which file?");
    } else if !is_path_within(file) {
        let message =
            format!("{file:?} leads out of the volume; write a path from its root, without `/` before and `..`");
        check.error("invalid-value", path, message);
    }
}

/// A field of the pod from which a variable or a file takes its content.
pub(super) fn field_reference(check: &mut Check<'_>, path: &str, field: &str, place: Fields) {
    /// The first three are for files as well.
    const FIELDS: [&str; 9] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    const KEYED: [&str; 2] = ["metadata.labels", "metadata.annotations"];
    let is_keyed = KEYED.iter().any(|prefix| {
        let key = field.strip_prefix(prefix);
        key.is_some_and(|key| key.starts_with("['") && key.ends_with("']") && key.len() > 4)
    });
    let known = if place == Fields::OfVolume { &FIELDS[..3] } else { &FIELDS[..] };
    let is_known = is_keyed || known.contains(&field) || KEYED.contains(&field) && place == Fields::OfVolume;
    if field.is_empty() {
        check.error("missing-field", path, "missing; which field of the pod, such as `metadata.name`?");
    } else if KEYED.contains(&field) && !is_known {
        let message = format!("a variable takes one of them; write the like of `{field}['app']`");
        check.error("invalid-value", path, message);
    } else if FIELDS.contains(&field) && !is_known {
        let message = format!("files cannot take {field:?}, but a variable of a container can");
        check.error("invalid-value", path, message);
    } else if !is_known {
        let message = format!("a pod has no field {field:?} to take a value from");
        match crate::yaml::nearest(field, known.iter().copied().chain(KEYED)) {
            Some(name) => check.error("invalid-value", path, format!("{message}; did you mean `{name}`?")),
            None => check.error("invalid-value", path, message),
        }
    }
}
