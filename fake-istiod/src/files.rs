//! A cluster that is a folder of YAML: what is applied is what the files hold, and it follows them.
//!
//! Stands in for the Kubernetes API server outside a simulation. Files hold what `kubectl get -o yaml` would show,
//! EndpointSlices and Pods included: nothing here runs controllers.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hermesh_runtime::{EventId, Runtime};
use indexmap::IndexMap;

use crate::objects::{self, Object, ObjectKey};
use crate::watch::{KINDS, WatchEvent, WatchSender};
use crate::yaml::{Diagnostic, Styles};

/// The namespace of objects that name none, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";

hermesh_runtime::event! {
    /// The files hold something else than before, and it is taken over.
    FilesApplied = "istiod.files.applied" {
        applied: Vec<String>,
        deleted: Vec<String>,
    }

    /// The files say what has no effect here, or probably not the one that is meant.
    FilesNoted = "istiod.files.noted" {
        notes: Vec<String>,
    }

    /// The files hold something else than before that cannot be used: what they held before stays in force.
    FilesRefused = "istiod.files.refused" {
        errors: Vec<String>,
    }
}

/// The largest file that is read, 16 MiB: a thousand times what a large mesh's manifests take.
pub const MANIFEST_MAX_BYTES: u64 = 16 << 20;

/// Files and folders with YAML.
#[derive(Clone, Debug)]
pub struct Files {
    rt: Runtime,
    paths: Vec<PathBuf>,
}

/// What files hold: their texts, and the objects in them.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    texts: Texts,
    objects: IndexMap<ObjectKey, Object>,
    /// Warnings and notes about what the files say.
    notes: Vec<Diagnostic>,
}

type Texts = BTreeMap<PathBuf, Bytes>;

/// Why the files are of no use.
#[derive(Debug)]
#[non_exhaustive]
pub enum FilesError {
    /// One cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
    /// They hold mistakes.
    Mistakes {
        /// All of them.
        errors: Vec<Diagnostic>,
        /// The texts they are in, by name.
        texts: BTreeMap<String, String>,
    },
}

impl FilesError {
    /// All that is wrong, each mistake with the lines it is in.
    #[must_use]
    pub fn render(&self, styles: &Styles) -> String {
        match self {
            Self::Unreadable { .. } => format!("{self}\n"),
            Self::Mistakes { errors, texts } => {
                let shown = errors.iter().map(|error| {
                    let text = texts.get(&*error.location.file).map_or("", String::as_str);
                    error.render(text, styles) + "\n"
                });
                shown.collect()
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => vec![self.to_string()],
            Self::Mistakes { errors, .. } => errors.iter().map(Diagnostic::to_string).collect(),
        }
    }
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Mistakes { errors, .. } => match errors.as_slice() {
                [] => f.write_str("no mistakes"),
                [only] => only.fmt(f),
                [first, rest @ ..] => write!(f, "{first} (and {} more)", rest.len()),
            },
        }
    }
}

impl std::error::Error for FilesError {}

impl Files {
    /// The files at `paths`; of a folder all that end in `.yaml`, `.yml` or `.json`, in the order of their names.
    #[must_use]
    pub fn new(rt: &Runtime, paths: Vec<PathBuf>) -> Self {
        Self { rt: rt.clone(), paths }
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub async fn read(&self) -> Result<Contents, FilesError> {
        contents(self.texts().await?)
    }

    /// Tells `watch` of `contents`, then for good of what becomes of the files, looking at them every `interval`.
    pub async fn follow(self, contents: Contents, watch: WatchSender, interval: Duration) {
        watch.send_all(contents.objects.values().filter(|object| is_watched(&object.key())).cloned());
        self.note(&contents.notes);
        let mut follower = Follower::new(contents);
        loop {
            tokio::time::sleep(interval).await;
            let texts = self.texts().await.map_err(|error| error.to_string());
            match follower.look(texts) {
                Look::Nothing => {}
                Look::Refused(errors) => drop(self.rt.emit(FilesRefused { errors })),
                Look::Changed { applied, deleted, notes } => {
                    self.note(&notes);
                    if applied.is_empty() && deleted.is_empty() {
                        continue;
                    }
                    let cause: Option<EventId> = self.rt.emit(FilesApplied {
                        applied: applied.iter().map(|object| object.key().to_string()).collect(),
                        deleted: deleted.iter().map(ToString::to_string).collect(),
                    });
                    for object in applied.into_iter().filter(|object| is_watched(&object.key())) {
                        watch.send(WatchEvent::Applied(object), cause);
                    }
                    for key in deleted.into_iter().filter(is_watched) {
                        watch.send(WatchEvent::Deleted(key), cause);
                    }
                }
            }
        }
    }

    fn note(&self, notes: &[Diagnostic]) {
        if !notes.is_empty() {
            self.rt.emit(FilesNoted { notes: notes.iter().map(ToString::to_string).collect() });
        }
    }

    async fn texts(&self) -> Result<Texts, FilesError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| FilesError::Unreadable { path, error }
        };
        let mut texts = Texts::new();
        for path in &self.paths {
            if !self.rt.metadata(path).await.map_err(at(path))?.is_dir {
                texts.insert(path.clone(), self.text(path).await.map_err(at(path))?);
                continue;
            }
            let mut files = self.rt.list(path).await.map_err(at(path))?;
            files.retain(|file| is_manifest(file));
            for file in files {
                match self.text(&file).await {
                    Ok(text) => drop(texts.insert(file, text)),
                    // It was removed since the folder was listed, or is a folder itself.
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
                    Err(error) => return Err(at(&file)(error)),
                }
            }
        }
        Ok(texts)
    }

    /// The text of a file. A device or a pipe might have no end, and opening one might wait for ever.
    async fn text(&self, path: &Path) -> io::Result<Bytes> {
        let metadata = self.rt.metadata(path).await?;
        if metadata.is_dir {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file {
            let message = "it is a device or a pipe; expected a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if metadata.len > MANIFEST_MAX_BYTES {
            let message = format!("it is larger than {} MiB, and no manifest is", MANIFEST_MAX_BYTES >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.rt.read(path).await
    }
}

/// What was seen of the files, and what is in force.
///
/// Editors and copying programs write a file in pieces: a change counts once two looks in a row saw the same.
struct Follower {
    in_force: IndexMap<ObjectKey, Object>,
    /// What has been told of what is in force.
    notes: Vec<Diagnostic>,
    seen: Result<Texts, String>,
    /// Whether what was seen has been judged.
    settled: bool,
}

/// What came of a look at the files.
#[derive(Debug, PartialEq)]
enum Look {
    Nothing,
    Changed {
        applied: Vec<Object>,
        deleted: Vec<ObjectKey>,
        /// All that is noted now, if it is something else than before.
        notes: Vec<Diagnostic>,
    },
    /// What was in force stays so.
    Refused(Vec<String>),
}

impl Follower {
    /// One that has seen `contents`, and told of them.
    fn new(contents: Contents) -> Self {
        let Contents { texts, objects, notes } = contents;
        Self { in_force: objects, notes, seen: Ok(texts), settled: true }
    }

    fn look(&mut self, texts: Result<Texts, String>) -> Look {
        if texts != self.seen {
            (self.seen, self.settled) = (texts, false);
            return Look::Nothing;
        }
        if std::mem::replace(&mut self.settled, true) {
            return Look::Nothing;
        }
        let judged = match &self.seen {
            Ok(texts) => contents(texts.clone()).map_err(|error| error.lines()),
            Err(error) => Err(vec![error.clone()]),
        };
        match judged {
            Ok(contents) => self.replace(contents),
            Err(errors) => Look::Refused(errors),
        }
    }

    fn replace(&mut self, Contents { objects, notes, .. }: Contents) -> Look {
        let told = std::mem::replace(&mut self.notes, notes);
        let notes = if told == self.notes { Vec::new() } else { self.notes.clone() };
        let before = std::mem::replace(&mut self.in_force, objects);
        let changed = self.in_force.iter().filter(|(key, object)| before.get(*key) != Some(*object));
        let applied: Vec<Object> = changed.map(|(_, object)| object.clone()).collect();
        let deleted: Vec<ObjectKey> = before.into_keys().filter(|key| !self.in_force.contains_key(key)).collect();
        if applied.is_empty() && deleted.is_empty() && notes.is_empty() {
            return Look::Nothing;
        }
        Look::Changed { applied, deleted, notes }
    }
}

fn is_watched(key: &ObjectKey) -> bool {
    KINDS.contains(&key.kind)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|kind| ["yaml", "yml", "json"].iter().any(|known| kind == *known))
}

/// The objects in `texts`; two of one name are a mistake, as the one would replace the other.
fn contents(texts: Texts) -> Result<Contents, FilesError> {
    let mut contents = Contents::default();
    let mut errors = Vec::new();
    for (path, text) in &texts {
        let name = path.display().to_string();
        let Ok(text) = std::str::from_utf8(text) else {
            let error = io::Error::new(io::ErrorKind::InvalidData, "it is no text: not UTF-8");
            return Err(FilesError::Unreadable { path: path.clone(), error });
        };
        let loaded = objects::load(&name, text, DEFAULT_NAMESPACE);
        errors.extend(loaded.errors);
        contents.notes.extend(loaded.notes);
        for object in loaded.objects {
            let key = object.key();
            match contents.objects.get(&key) {
                None => drop(contents.objects.insert(key, object)),
                Some(first) => errors.push(duplicate(&key, first, &object)),
            }
        }
    }
    if errors.is_empty() {
        contents.texts = texts;
        return Ok(contents);
    }
    let text =
        |(path, text): (&PathBuf, &Bytes)| (path.display().to_string(), String::from_utf8_lossy(text).into_owned());
    Err(FilesError::Mistakes { errors, texts: texts.iter().map(text).collect() })
}

fn duplicate(key: &ObjectKey, first: &Object, second: &Object) -> Diagnostic {
    let place = |object: &Object| object.metadata().origin.0.clone().expect("it was read from a file");
    let error = Diagnostic::error("duplicate-object", place(second), format!("{key} is there already"));
    error.with_help(format!("the first is at {}", place(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> Texts {
        texts.iter().map(|(name, text)| (PathBuf::from(name), Bytes::copy_from_slice(text.as_bytes()))).collect()
    }

    const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n";

    #[test]
    fn an_object_that_is_there_twice_is_a_mistake_that_names_both_places() {
        let error = contents(files(&[("a.yaml", NAMESPACE), ("b.yaml", NAMESPACE)])).unwrap_err();
        assert_eq!(error.to_string(), "b.yaml:1:1: Namespace demo is there already; the first is at a.yaml:1:1");
    }

    #[test]
    fn all_mistakes_of_all_files_are_told_with_the_lines_they_are_in() {
        let error =
            contents(files(&[("a.yaml", "kind: [\n"), ("b.yaml", "apiVersion: v1\nkind: Service\n")])).unwrap_err();
        let shown = error.render(&Styles::plain());
        assert!(shown.contains("a.yaml:") && shown.contains("b.yaml:"), "{shown}");
    }

    fn namespace(name: &str) -> String {
        NAMESPACE.replace("demo", name)
    }

    fn follower(texts: &[(&str, &str)]) -> Follower {
        let contents = contents(files(texts)).unwrap();
        Follower::new(contents)
    }

    /// What comes of files that hold this at two looks.
    fn two_looks(follower: &mut Follower, texts: &[(&str, &str)]) -> Look {
        assert_eq!(follower.look(Ok(files(texts))), Look::Nothing, "a change is looked at twice");
        follower.look(Ok(files(texts)))
    }

    #[test]
    fn what_appears_is_applied_and_what_disappears_deleted() {
        let (a, b) = (namespace("a"), namespace("b"));
        let mut follower = follower(&[("a.yaml", &a)]);
        let Look::Changed { applied, deleted, .. } = two_looks(&mut follower, &[("b.yaml", &b)]) else {
            panic!("no change")
        };
        assert_eq!(applied.iter().map(|object| object.key().to_string()).collect::<Vec<_>>(), ["Namespace b"]);
        assert_eq!(deleted.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Namespace a"]);
        assert_eq!(follower.look(Ok(files(&[("b.yaml", &b)]))), Look::Nothing);
    }

    #[test]
    fn an_object_that_moves_to_another_file_is_no_change() {
        let a = namespace("a");
        let mut follower = follower(&[("a.yaml", &a)]);
        assert_eq!(two_looks(&mut follower, &[("b.yaml", &a)]), Look::Nothing);
    }

    #[test]
    fn a_remark_is_told_when_it_is_new_though_no_object_changed() {
        let a = namespace("a");
        let without_effect = format!("{a}spec: {{finalizers: [kubernetes]}}\n");
        let mut follower = follower(&[("a.yaml", &a)]);
        let Look::Changed { applied, deleted, notes } = two_looks(&mut follower, &[("a.yaml", &without_effect)]) else {
            panic!("nothing told")
        };
        assert_eq!((applied.len(), deleted.len(), notes.len()), (0, 0, 1));
        let moved = format!("# a comment at the end\n{without_effect}");
        assert!(
            matches!(two_looks(&mut follower, &[("a.yaml", &moved)]), Look::Changed { .. }),
            "it has another place"
        );
        assert_eq!(two_looks(&mut follower, &[("a.yaml", &a)]), Look::Nothing);
    }

    #[test]
    fn mistakes_are_told_once_and_change_nothing() {
        let a = namespace("a");
        let mut follower = follower(&[("a.yaml", &a)]);
        assert!(matches!(two_looks(&mut follower, &[("a.yaml", "kind: [")]), Look::Refused(_)));
        assert_eq!(follower.look(Ok(files(&[("a.yaml", "kind: [")]))), Look::Nothing);
        assert_eq!(two_looks(&mut follower, &[("a.yaml", &a)]), Look::Nothing);
    }

    #[test]
    fn a_file_that_is_still_being_written_is_left_alone() {
        let (a, b) = (namespace("a"), namespace("b"));
        let mut follower = follower(&[("a.yaml", &a)]);
        assert_eq!(follower.look(Ok(files(&[("a.yaml", &b[..20])]))), Look::Nothing);
        assert!(matches!(two_looks(&mut follower, &[("a.yaml", &b)]), Look::Changed { .. }));
    }

    #[test]
    fn a_folder_that_cannot_be_read_for_a_while_keeps_what_it_held() {
        let a = namespace("a");
        let mut follower = follower(&[("a.yaml", &a)]);
        let gone = || Err("mesh: No such file or directory".to_owned());
        assert_eq!(follower.look(gone()), Look::Nothing);
        assert_eq!(follower.look(gone()), Look::Refused(vec!["mesh: No such file or directory".to_owned()]));
        assert_eq!(two_looks(&mut follower, &[("a.yaml", &a)]), Look::Nothing);
    }

    #[test]
    fn what_is_no_text_is_named() {
        let mut texts = files(&[]);
        texts.insert(PathBuf::from("c.yaml"), Bytes::from_static(&[0xff]));
        assert_eq!(contents(texts).unwrap_err().to_string(), "c.yaml: it is no text: not UTF-8");
    }
}
