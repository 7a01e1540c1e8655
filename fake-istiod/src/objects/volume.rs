//! A pod's volumes.

use serde::Deserialize;

use super::FieldReference;

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawVolume")]
pub struct Volume {
    /// Its name in the pod.
    pub name: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// What is in a volume. A source that Hermesh does not model (a Secret, a disk) is an empty directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// Nothing at first.
    EmptyDir(EmptyDirVolume),
    /// The keys of a ConfigMap.
    ConfigMap(ConfigMapVolume),
    /// Several sources in one directory.
    Projected(ProjectedVolume),
    /// Fields of the pod.
    DownwardApi(DownwardApiVolume),
}

#[derive(Deserialize)]
#[serde(rename = "Volume", rename_all = "camelCase")]
struct RawVolume {
    #[serde(default)]
    name: String,
    empty_dir: Option<EmptyDirVolume>,
    config_map: Option<ConfigMapVolume>,
    projected: Option<ProjectedVolume>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<DownwardApiVolume>,
}

/// The fields of which a volume has one.
pub(super) const VOLUME_SOURCES: [&str; 4] = ["emptyDir", "configMap", "projected", "downwardAPI"];

impl From<RawVolume> for Volume {
    /// That there is no second source is looked at where everything else in them is.
    fn from(raw: RawVolume) -> Self {
        let source = match (raw.empty_dir, raw.config_map, raw.projected, raw.downward_api) {
            (None, None, None, None) => VolumeSource::EmptyDir(EmptyDirVolume::default()),
            (Some(source), ..) => VolumeSource::EmptyDir(source),
            (None, Some(source), ..) => VolumeSource::ConfigMap(source),
            (None, None, Some(source), _) => VolumeSource::Projected(source),
            (None, None, None, Some(source)) => VolumeSource::DownwardApi(source),
        };
        Self { name: raw.name, source }
    }
}

/// An empty directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDirVolume {
    /// `Memory` or the node's disk.
    pub medium: String,
}

/// The keys of a ConfigMap as files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapVolume {
    /// The ConfigMap's name.
    pub name: String,
    /// Which keys, and under which names; all of them if empty.
    pub items: Vec<KeyToPath>,
    /// Whether the pod starts without it.
    pub optional: bool,
}

/// A key and its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyToPath {
    /// The key.
    pub key: String,
    /// The file's path in the volume.
    pub path: String,
}

/// Several sources in one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedVolume {
    /// The sources.
    pub sources: Vec<ProjectedSource>,
}

/// One source of a projected volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedSource {
    /// A token for the pod's service account.
    pub service_account_token: Option<ServiceAccountTokenProjection>,
    /// The keys of a ConfigMap.
    pub config_map: Option<ConfigMapVolume>,
    /// Fields of the pod.
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<DownwardApiVolume>,
}

/// A token for the pod's service account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccountTokenProjection {
    /// Who the token is for.
    pub audience: String,
    /// How long it is valid.
    pub expiration_seconds: u64,
    /// The file's path in the volume.
    pub path: String,
}

impl Default for ServiceAccountTokenProjection {
    fn default() -> Self {
        Self { audience: String::new(), expiration_seconds: 3600, path: String::new() }
    }
}

/// Fields of the pod as files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardApiVolume {
    /// The files.
    pub items: Vec<DownwardApiItem>,
}

/// A field of the pod and its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardApiItem {
    /// The file's path in the volume.
    pub path: String,
    /// The field.
    pub field_ref: FieldReference,
}
