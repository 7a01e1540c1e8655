//! Reads a scenario and every file it names, and checks that all of it means something.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hermesh_istiod::objects::{self, Object};
use hermesh_istiod::yaml::{self, Diagnostic, Location, Node};
use sha2::{Digest as _, Sha256};

use super::check::{StepObjects, check};
use super::file::{Action, ISTIO_VERSIONS};
use super::read::{At, Cursor, Problems};
use super::{InputError, Scenario, Sources, inventory, namespaces, reader, syntax, unreadable};
use crate::files;
use crate::image::Images;
use crate::mesh::{Manifest, Manifests, ReadError};

/// Reads a scenario and what it names.
pub(super) struct Loader {
    path: PathBuf,
    name: String,
    folder: PathBuf,
    images: Images,
    problems: Problems,
    sources: Sources,
    stdin: Option<String>,
}

impl Loader {
    pub(super) fn new(path: &Path, images: Images) -> Self {
        let name = path.display().to_string();
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let problems = Problems::of(&name);
        Self { path: path.to_owned(), name, folder, images, problems, sources: Sources::default(), stdin: None }
    }

    /// Reads it all.
    pub(super) fn load(mut self) -> Result<Scenario, InputError> {
        let text = match self.text() {
            Ok(text) => text,
            Err(message) => {
                self.problems.add(Diagnostic::error("unreadable", Location::in_file(&self.name), message));
                return Err(self.fail());
            }
        };
        self.sources.0.insert(self.name.clone(), text.clone());
        let documents = match yaml::parse(&self.name, &text) {
            Ok(documents) => documents,
            Err(errors) => {
                errors.into_iter().for_each(|error| self.problems.add(error));
                return Err(self.fail());
            }
        };
        let Some(first) = documents.first() else {
            let location = Location::in_file(&self.name);
            self.problems.add(Diagnostic::error("empty", location, "the file is empty; expected a scenario"));
            return Err(self.fail());
        };
        let misplaced = manifest(&first.root, &self.name).or_else(|| syntax::second_scenario(&documents, &self.name));
        if let Some(error) = misplaced {
            self.problems.add(error);
            return Err(self.fail());
        }
        let Some(mut file) = reader::read(&Cursor::root(&first.root, &self.problems)) else { return Err(self.fail()) };
        let namespace = file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str()).to_owned();

        let mut notes = Vec::new();
        let own = (documents.len() > 1)
            .then(|| Manifests::from(Manifest { name: self.name.clone(), text: without_first_document(&text) }));
        let own_objects = own.as_ref().map(|own| self.objects(own, &namespace, &mut notes)).unwrap_or_default();
        let mut manifests = BTreeMap::new();
        let mut step_objects = StepObjects::new();
        for (index, step) in file.steps.iter().enumerate() {
            if let Some(Action::Apply(paths) | Action::Delete(paths)) = step.action() {
                let texts = self.manifests(paths);
                step_objects.insert(index, self.objects(&texts, &namespace, &mut notes));
                manifests.insert(index, texts);
            }
        }

        // Of manifests that cannot be read nobody knows what they would bring.
        let all_read = self.problems.is_empty();
        check(&file, &own_objects, &step_objects, &self.problems);
        let missing = match all_read {
            true => namespaces::check(&file, &own_objects, &step_objects, &self.problems),
            false => Vec::new(),
        };
        for missing in missing {
            let location = self.precise(missing.location.clone());
            self.problems.add(Diagnostic { location, ..missing });
        }
        let images = std::mem::take(&mut file.mesh.images);
        let images = self.images(&images, own_objects.iter().chain(step_objects.values().flatten()));

        // Applying the same file twice says the same things twice. Beside mistakes, remarks would only distract.
        notes.extend(self.problems.take_remarks());
        notes.sort();
        notes.dedup();
        if !self.problems.is_empty() {
            return Err(self.fail());
        }
        let digest = digest(&text, manifests.values().flat_map(Manifests::iter));
        let files = self.sources.0.into_keys().filter(|name| name != "-").collect();
        let sources = Sources([(self.name.clone(), text)].into());
        let refused = OnceLock::new();
        Ok(Scenario { path: self.name, file, own, manifests, images, notes, digest, sources, files, refused })
    }

    /// The texts that `paths` name, relative to the scenario's folder.
    fn manifests(&mut self, paths: &[At<String>]) -> Manifests {
        let mut all = Manifests::default();
        for path in paths {
            let read = if path.value == "-" {
                self.stdin().map(|text| Manifests::text("-", text))
            } else {
                let wanted = self.folder.join(&path.value);
                let why =
                    |error: ReadError| unreadable::why_in(Path::new(&path.value), &wanted, &error.path, &error.error);
                Manifests::open(&wanted).map_err(why)
            };
            match read {
                Ok(manifests) => {
                    if manifests.iter().next().is_none() {
                        let message = format!("folder `{}` holds no manifest (.yaml, .yml or .json)", path.value);
                        self.problems.error(&path.place, "empty", message);
                    }
                    for manifest in manifests.iter() {
                        self.sources.0.insert(manifest.name.clone(), manifest.text.clone());
                    }
                    all.extend(manifests);
                }
                Err(message) => self.problems.error(&path.place, "unreadable", message),
            }
        }
        all
    }

    fn objects(&mut self, manifests: &Manifests, namespace: &str, notes: &mut Vec<Diagnostic>) -> Vec<Object> {
        let mut all = Vec::new();
        for manifest in manifests.iter() {
            let loaded = objects::load(&manifest.name, &manifest.text, namespace);
            notes.extend(loaded.notes);
            loaded.errors.into_iter().for_each(|error| self.problems.add(error));
            all.extend(loaded.objects);
        }
        all
    }

    /// The images of the scenario, checked against those that the objects want.
    fn images<'o>(
        &self,
        named: &[(At<String>, At<&'static str>)],
        objects: impl Iterator<Item = &'o Object>,
    ) -> Images {
        let mut images = self.images.clone();
        for (glob, name) in named {
            images.add_named(&glob.value, name.value).expect("the reader takes built-in names only");
            if let Some(image) = istios_own(&glob.value).filter(|_| glob.value != "*" && name.value != "agent") {
                let message =
                    format!("{:?} would also play Istio's own image {image:?}; write a narrower glob", glob.value);
                self.problems.error(&glob.place, "istios-own-image", message);
            }
        }
        let wanted: Vec<_> = objects.flat_map(inventory::images).collect();
        for (glob, name) in named.iter().filter(|(glob, _)| glob.value != "*") {
            let mut alone = Images::new();
            alone.add_named(&glob.value, name.value).expect("the reader takes built-in names only");
            if !wanted.iter().any(|wanted| alone.find(&wanted.image).is_some()) {
                let message = format!("no container wants an image that matches {:?}; remove it", glob.value);
                self.problems.error(&glob.place, "unused-image", message);
            }
        }
        let all = images.clone().with_built_in();
        for wanted in wanted.into_iter().filter(|wanted| all.find(&wanted.image).is_none()) {
            let message = format!("nothing plays image {:?}", wanted.image);
            let help = format!("under `mesh.images` add `{:?}: stand-in`", glob_for(&wanted.image));
            let error = Diagnostic::error("unknown-image", self.precise(wanted.location), message).with_help(help);
            self.problems.add(error);
        }
        images
    }

    /// The location's own line, where only its object's is known.
    fn precise(&self, location: Location) -> Location {
        let documents = self.sources.0.get(&*location.file).and_then(|text| yaml::parse(&location.file, text).ok());
        let document = documents.into_iter().flatten().rfind(|document| document.root.position <= location.position());
        let (Some(document), Some(field)) = (document, location.field.clone()) else { return location };
        let position = document.root.at_path(&field).position;
        location.at(position)
    }

    fn text(&mut self) -> Result<String, String> {
        if self.name == "-" {
            return self.stdin();
        }
        files::read(&self.path).map_err(|error| unreadable::why(&self.path, &self.path, &error))
    }

    fn stdin(&mut self) -> Result<String, String> {
        if self.stdin.is_some() {
            return Err("standard input can be read once only".to_owned());
        }
        let text = files::read_to_end(std::io::stdin())
            .map_err(|error| unreadable::why(Path::new("-"), Path::new("-"), &error))?;
        self.stdin = Some(text.clone());
        Ok(text)
    }

    fn fail(self) -> InputError {
        let text =
            |error: &Diagnostic| self.sources.0.get(&*error.location.file).map(String::as_str).unwrap_or_default();
        let found = self.problems.into_found().into_iter();
        let mut diagnostics: Vec<_> = found.map(|found| syntax::at_its_cause(found.clone(), text(&found))).collect();
        diagnostics.sort();
        diagnostics.dedup();
        InputError { diagnostics, sources: self.sources }
    }
}

/// Why a file is no scenario though its YAML is in order, if it is a manifest.
fn manifest(root: &Node, file: &str) -> Option<Diagnostic> {
    let (version, kind) = (root.get("apiVersion")?.text()?, root.get("kind")?);
    let name = kind.text()?;
    if version.starts_with("hermesh") || yaml::nearest(name, ["Scenario"]).is_some() {
        return None;
    }
    let location = Location::in_file(file).at(kind.position).field("kind");
    let shown = Path::new(file).file_name().map_or_else(|| file.into(), |name| name.to_string_lossy());
    let message = format!("this is a manifest of Kubernetes (a {name}) and not a scenario");
    let help = format!("run a scenario with a step `apply: {shown}`; docs/scenario.md shows how to write one");
    Some(Diagnostic::error("not-a-scenario", location, message).with_help(help))
}

/// The text with its first document blanked out, so that those after it keep their lines.
fn without_first_document(text: &str) -> String {
    let mut content_seen = false;
    let mut blank = true;
    let mut rest = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let separator =
            line.strip_prefix("---").is_some_and(|tail| tail.is_empty() || tail.starts_with(char::is_whitespace));
        if separator && content_seen {
            blank = false;
        }
        let bare = line.trim_start();
        content_seen |= !separator && !bare.is_empty() && !bare.starts_with(['#', '%']);
        rest.push_str(if blank { "\n" } else { line });
    }
    rest
}

/// A glob over the images beside this one: `registry.corp/shop/cart:1` gives `registry.corp/*`, unless Istio's own
/// images are among those.
fn glob_for(image: &str) -> String {
    let glob = match image.split_once('/') {
        Some((registry, _)) => format!("{registry}/*"),
        None => return image.to_owned(),
    };
    match (istios_own(&glob), image.rsplit_once(':')) {
        (None, _) => glob,
        (Some(_), Some((name, tag))) if !tag.contains('/') => format!("{name}:*"),
        (Some(_), _) => image.to_owned(),
    }
}

/// The image of istiod or of its agent that a glob matches.
fn istios_own(glob: &str) -> Option<String> {
    let mut alone = Images::new();
    alone.add_named(glob, "stand-in").expect("it is built in");
    let images = ISTIO_VERSIONS
        .iter()
        .flat_map(|version| ["pilot", "proxyv2"].map(|name| format!("docker.io/istio/{name}:{version}.0")));
    images.into_iter().find(|image| alone.find(image).is_some())
}

fn digest<'m>(scenario: &str, manifests: impl Iterator<Item = &'m Manifest>) -> String {
    let mut hash = Sha256::new();
    for text in std::iter::once(scenario).chain(manifests.map(|manifest| manifest.text.as_str())) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
