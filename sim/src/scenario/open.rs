//! Reads a scenario and every file it names, and checks that all of it means something.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hermesh_istiod::objects;
use hermesh_istiod::yaml::{self, Diagnostic, Location, Node, Position};
use sha2::{Digest as _, Sha256};

use super::check::{StepObjects, check};
use super::file::{Action, ISTIO_VERSIONS};
use super::follow::{Followed, follow};
use super::inject::Inject;
use super::inventory::{Objects, WantedImage};
use super::machines::Boot;
use super::read::{At, Cursor, Problems};
use super::rejection::is_limit;
use super::{InputError, Scenario, Sources, namespaces, pulls, reader, syntax, unreadable};
use crate::files;
use crate::image::Images;
use crate::mesh::{Manifest, Manifests, ReadError, Resource, recorded};

/// The code of a field that is there twice, so that nobody knows which one counts.
const DUPLICATE_KEY: &str = "yaml-duplicate-key";

/// Reads a scenario and what it names.
pub(super) struct Opener {
    path: PathBuf,
    name: String,
    folder: PathBuf,
    images: Images,
    problems: Problems,
    sources: Sources,
    stdin: Option<String>,
}

impl Opener {
    pub(super) fn new(path: &Path, images: Images) -> Self {
        let name = path.display().to_string();
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let problems = Problems::of(&name);
        Self { path: path.to_owned(), name, folder, images, problems, sources: Sources::default(), stdin: None }
    }

    /// Reads it all.
    pub(super) fn open(mut self) -> Result<Scenario, InputError> {
        let text = match self.text() {
            Ok(text) => text,
            Err(message) => {
                self.problems.add(Diagnostic::error("unreadable", Location::in_file(&self.name), message));
                return Err(self.fail());
            }
        };
        self.sources.0.insert(self.name.clone(), text.clone());
        let parsed = yaml::parse_each(&self.name, &text);
        parsed.errors.into_iter().for_each(|error| self.problems.add(error));
        let mut documents = parsed.documents.into_iter();
        let first = match documents.next() {
            Some(Some(first)) => first,
            Some(None) => return Err(self.fail()),
            None => {
                let location = Location::in_file(&self.name);
                self.problems.add(Diagnostic::error("empty", location, "the file is empty; expected a scenario"));
                return Err(self.fail());
            }
        };
        let rest: Vec<_> = documents.collect();
        let second = || syntax::second_scenario(&first, rest.iter().flatten(), &self.name);
        if let Some(error) = manifest(&first.root, &self.name).or_else(second) {
            self.problems.add(error);
            return Err(self.fail());
        }
        let Some(mut file) = reader::read(&Cursor::root(&first.root, &self.problems)) else { return Err(self.fail()) };
        let namespace = file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str()).to_owned();

        let mut notes = Vec::new();
        let own = rest.iter().flatten().next().map(|second| {
            Manifests::from(Manifest { name: self.name.clone(), text: from(&text, second.root.position) })
        });
        let mut own_objects = own.as_ref().map(|own| self.objects(own, &namespace, &mut notes)).unwrap_or_default();
        own_objects.more |= rest.contains(&None) || self.hides_names(&first.root);
        let mut manifests = BTreeMap::new();
        let mut step_objects = StepObjects::new();
        let (mut injected, mut dumps) = (BTreeMap::new(), Vec::new());
        for (index, step) in file.all_steps().enumerate() {
            if let Some(Action::Inject(inject)) = step.action()
                && let Some((text, resources)) = self.recorded(inject)
            {
                dumps.push(text);
                injected.insert(index, resources);
            }
            if let Some(Action::Apply(paths) | Action::Delete(paths)) = step.action() {
                let texts = self.manifests(paths);
                if step.rejection().is_some() {
                    self.limits(&texts, &namespace);
                    manifests.insert(index, texts);
                    continue;
                }
                let mut objects = self.objects(&texts, &namespace, &mut notes);
                let paths = format!("{}.{}", step.place.path, if step.apply.is_some() { "apply" } else { "delete" });
                objects.more |= self.problems.any(|problem| field_of(problem).starts_with(&paths));
                step_objects.insert(index, objects);
                manifests.insert(index, texts);
            }
        }

        let Followed { changed, clashes } = follow(&file, &own_objects, &mut step_objects, &self.problems);
        for clash in clashes {
            let location = self.precise(clash.location.clone());
            self.problems.add(Diagnostic { location, ..clash });
        }
        check(&file, &own_objects, &step_objects, &self.problems);
        for missing in namespaces::check(&file, &own_objects, &step_objects, &self.problems) {
            let location = self.precise(missing.location.clone());
            self.problems.add(Diagnostic { location, ..missing });
        }
        let has_mesh = first.root.get("mesh").is_some();
        let images = std::mem::take(&mut file.mesh.images);
        let booted: Vec<WantedImage> = file.all_steps().filter_map(|step| self.booted(step.boot.as_ref()?)).collect();
        let objects = std::iter::once(&own_objects).chain(step_objects.values());
        let images = self.images(has_mesh, &images, objects, booted, &pulls::agents_image(file.mesh.istio.value));

        let all: Vec<&Objects> = std::iter::once(&own_objects).chain(step_objects.values()).collect();
        pulls::check(&file, &all, &self.problems);

        // Applying the same file twice says the same things twice. Beside mistakes, remarks would only distract.
        notes.extend(self.problems.take_remarks());
        notes.sort();
        notes.dedup();
        if !self.problems.is_empty() {
            return Err(self.fail());
        }
        let digest = digest(&text, &manifests, &dumps);
        let files = self.sources.0.into_keys().filter(|name| name != "-").collect();
        let sources = Sources([(self.name.clone(), text)].into());
        let refused = OnceLock::new();
        Ok(Scenario {
            path: self.name,
            file,
            own,
            manifests,
            changed,
            injected,
            images,
            notes,
            digest,
            sources,
            files,
            refused,
        })
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

    /// The text and the resources of the file that a step injects.
    fn recorded(&mut self, inject: &Inject) -> Option<(String, Vec<Resource>)> {
        let file = inject.file.as_ref()?;
        let wanted = self.folder.join(&file.value);
        let name = wanted.display().to_string();
        let text = match files::read(&wanted) {
            Ok(text) => text,
            Err(error) => {
                let why = unreadable::why(Path::new(&file.value), &wanted, &error);
                self.problems.error(&file.place, "unreadable", why);
                return None;
            }
        };
        self.sources.0.insert(name.clone(), text.clone());
        match recorded::read(&name, &text, inject.r#type.as_deref().unwrap_or_default()) {
            Ok(resources) => Some((text, resources)),
            Err(errors) => {
                errors.into_iter().for_each(|error| self.problems.add(error));
                None
            }
        }
    }

    fn objects(&mut self, manifests: &Manifests, namespace: &str, notes: &mut Vec<Diagnostic>) -> Objects {
        let mut all = Objects::default();
        for manifest in manifests.iter() {
            let loaded = objects::load(&manifest.name, &manifest.text, namespace);
            notes.extend(loaded.notes);
            loaded.errors.into_iter().for_each(|error| self.problems.add(error));
            all.whole.extend(loaded.objects);
            all.broken.extend(loaded.broken);
            all.more |= loaded.more;
        }
        all
    }

    /// Reports of manifests that are expected to be rejected what a cluster would not reject.
    fn limits(&self, manifests: &Manifests, namespace: &str) {
        let load = |manifest: &Manifest| objects::load(&manifest.name, &manifest.text, namespace).errors;
        manifests.iter().flat_map(load).filter(is_limit).for_each(|error| self.problems.add(error));
    }

    /// Whether mistakes in the scenario hide what its names mean: the namespace, or a step that applies something.
    fn hides_names(&self, scenario: &Node) -> bool {
        let misspelt = |key: &str, name: &str| key != name && yaml::nearest(key, [name]).is_some();
        let keys = |node: &Node| {
            let entries = node.entries().unwrap_or_default();
            entries.iter().map(|entry| entry.key.text.clone()).collect::<Vec<_>>()
        };
        let steps = scenario.get("steps").and_then(Node::items).unwrap_or_default();
        let moments = |step: &'_ Node| step.get("together").and_then(Node::items).unwrap_or_default().to_vec();
        let steps: Vec<Node> = steps.iter().flat_map(|step| [vec![step.clone()], moments(step)].concat()).collect();
        self.problems.any(|problem| field_of(problem) == "namespace" || problem.code == DUPLICATE_KEY)
            || keys(scenario).iter().any(|key| misspelt(key, "namespace"))
            || steps.iter().flat_map(keys).any(|key| misspelt(&key, "apply"))
    }

    /// The image that the application of a machine wants.
    fn booted(&self, boot: &Boot) -> Option<WantedImage> {
        let image = boot.image.as_ref()?;
        let location = self.problems.location(&image.place);
        Some(WantedImage { image: image.value.clone(), location, is_precise: true, is_injected: false })
    }

    /// The images of the scenario, checked against those that the objects want.
    fn images<'o>(
        &self,
        has_mesh: bool,
        named: &[(At<String>, At<&'static str>)],
        objects: impl Iterator<Item = &'o Objects>,
        booted: Vec<WantedImage>,
        agent: &str,
    ) -> Images {
        // What a mistake among the images was meant to play is not missing.
        let all_named = has_mesh
            && !self.problems.any(|problem| {
                let field = field_of(problem);
                let other = ["mesh.istio", "mesh.latency", "mesh.delays", "mesh.nodes", "mesh.pulls"]
                    .iter()
                    .any(|other| field.starts_with(other));
                field.starts_with("mesh") && !other || problem.code == DUPLICATE_KEY
            });
        let mut images = self.images.clone();
        for (glob, name) in named {
            images.add_named(&glob.value, name.value).expect("the reader takes built-in names only");
            if let Some(image) = istios_own(&glob.value).filter(|_| glob.value != "*" && name.value != "agent") {
                let message =
                    format!("{:?} would also play Istio's own image {image:?}; write a narrower glob", glob.value);
                self.problems.error(&glob.place, "istios-own-image", message);
            }
        }
        let mut wanted = booted;
        let mut all_wanted = true;
        for (images, all) in objects.map(|objects| objects.images(agent)) {
            wanted.extend(images);
            all_wanted &= all;
        }
        for (glob, name) in named.iter().filter(|(glob, _)| glob.value != "*" && all_wanted) {
            let mut alone = Images::new();
            alone.add_named(&glob.value, name.value).expect("the reader takes built-in names only");
            if !wanted.iter().any(|wanted| alone.find(&wanted.image).is_some()) {
                let message = format!("no container wants an image that matches {:?}; remove it", glob.value);
                self.problems.error(&glob.place, "unused-image", message);
            }
        }
        let all = images.clone().with_built_in();
        // Whether a pod is injected shows when it is applied.
        let is_unknown = |wanted: &WantedImage| !wanted.is_injected && all.find(&wanted.image).is_none();
        for wanted in wanted.into_iter().filter(|wanted| all_named && is_unknown(wanted)) {
            let message = format!("nothing plays image {:?}", wanted.image);
            let help = format!("under `mesh.images` add `{:?}: stand-in`", glob_for(&wanted.image));
            let location = if wanted.is_precise { wanted.location } else { self.precise(wanted.location) };
            self.problems.add(Diagnostic::error("unknown-image", location, message).with_help(help));
        }
        images
    }

    /// The location's own line, where only its object's is known.
    fn precise(&self, location: Location) -> Location {
        let text = self.sources.0.get(&*location.file).map(String::as_str).unwrap_or_default();
        let mut documents = yaml::parse_each(&location.file, text).documents.into_iter().flatten();
        let document = documents.rfind(|document| document.root.position <= location.position());
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

/// The field that a problem is about.
fn field_of(problem: &Diagnostic) -> &str {
    problem.location.field.as_deref().unwrap_or_default()
}

/// The text with everything before `start` blanked out, so that what follows keeps its lines and columns.
fn from(text: &str, start: Position) -> String {
    let mut at = Position::START;
    let blank = |c: char| {
        let before = at < start;
        at = match c {
            '\n' => Position { line: at.line + 1, column: 1 },
            _ => Position { column: at.column + 1, ..at },
        };
        if before && !matches!(c, '\n' | '\r') { ' ' } else { c }
    };
    text.chars().map(blank).collect()
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

fn digest(scenario: &str, manifests: &BTreeMap<usize, Manifests>, dumps: &[String]) -> String {
    let mut hash = Sha256::new();
    let manifests = manifests.values().flat_map(Manifests::iter).map(|manifest| manifest.text.as_str());
    for text in std::iter::once(scenario).chain(manifests).chain(dumps.iter().map(String::as_str)) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
