//! Where the YAML comes from: files, folders, or text at hand.

use std::io;
use std::path::{Path, PathBuf};

/// YAML documents with the name by which messages speak of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// A file's path as the user gave it, or what else the text is called.
    pub name: String,
    /// One or more YAML documents. Lines are counted from its beginning; text cut from a larger file keeps its lines
    /// if as many line feeds come first.
    pub text: String,
}

/// What to apply or delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifests(Vec<Manifest>);

/// A file or folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct ReadError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the operating system says.
    pub error: io::Error,
}

impl Manifests {
    /// Text that is at hand, under a name for messages.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self(vec![Manifest { name: name.into(), text: text.into() }])
    }

    /// A file, or all `.yaml`, `.yml` and `.json` files of a folder in the order of their names, as `kubectl -f` reads
    /// it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let failed = |path: &Path| {
            // A test runner's working directory is not always what people think it is.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            move |error| ReadError { path, error }
        };
        let mut files = Vec::new();
        if std::fs::metadata(path).map_err(failed(path))?.is_dir() {
            for entry in std::fs::read_dir(path).map_err(failed(path))? {
                let file = entry.map_err(failed(path))?.path();
                let is_manifest = file.extension().is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|e| ext == *e));
                if is_manifest && file.is_file() {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            files.push(path.to_owned());
        }
        let read = |file: PathBuf| {
            let text = crate::files::read(&file).map_err(failed(&file))?;
            Ok(Manifest { name: file.display().to_string(), text })
        };
        files.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Those of `other` after these.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// One by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Manifest> {
        self.0.iter()
    }
}

impl From<Manifest> for Manifests {
    fn from(manifest: Manifest) -> Self {
        Self(vec![manifest])
    }
}

/// What [`Mesh::apply`](super::Mesh::apply) takes: a path to a file or folder, YAML itself (any string with a line
/// feed in it), several of either, or [`Manifests`].
pub trait IntoManifests {
    /// Reads what is to be read.
    ///
    /// # Errors
    /// If a file cannot be read.
    fn into_manifests(self) -> Result<Manifests, ReadError>;
}

impl IntoManifests for Manifests {
    fn into_manifests(self) -> Result<Manifests, ReadError> {
        Ok(self)
    }
}

impl IntoManifests for &str {
    fn into_manifests(self) -> Result<Manifests, ReadError> {
        if self.contains('\n') { Ok(Manifests::text("inline", self)) } else { Manifests::open(self) }
    }
}

impl IntoManifests for String {
    fn into_manifests(self) -> Result<Manifests, ReadError> {
        self.as_str().into_manifests()
    }
}

impl IntoManifests for &Path {
    fn into_manifests(self) -> Result<Manifests, ReadError> {
        Manifests::open(self)
    }
}

impl IntoManifests for PathBuf {
    fn into_manifests(self) -> Result<Manifests, ReadError> {
        Manifests::open(self)
    }
}

impl<T: IntoManifests, const N: usize> IntoManifests for [T; N] {
    fn into_manifests(self) -> Result<Manifests, ReadError> {
        join(self)
    }
}

impl<T: IntoManifests> IntoManifests for Vec<T> {
    fn into_manifests(self) -> Result<Manifests, ReadError> {
        join(self)
    }
}

fn join<T: IntoManifests>(parts: impl IntoIterator<Item = T>) -> Result<Manifests, ReadError> {
    let mut all = Manifests::default();
    for part in parts {
        all.extend(part.into_manifests()?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(manifests: &Manifests) -> Vec<String> {
        manifests.iter().map(|manifest| manifest.name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test makes a folder of the machine")]
    fn a_folder_is_read_in_the_order_of_names_and_only_manifests_count() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "notes.txt", "c.json"] {
            std::fs::write(folder.path().join(name), "kind: Namespace\n").unwrap();
        }
        assert_eq!(names(&folder.path().into_manifests().unwrap()), ["a.yml", "b.yaml", "c.json"]);
    }

    #[test]
    fn a_string_of_several_lines_is_yaml_and_one_of_one_line_a_path() {
        assert_eq!(names(&"kind: Namespace\n".into_manifests().unwrap()), ["inline"]);
        let missing = "no/such/file.yaml".into_manifests().unwrap_err();
        assert!(missing.to_string().contains("/no/such/file.yaml: "), "{missing}");
    }
}
