//! Resources out of texts: what people wrote, and what tools recorded.

use std::collections::BTreeMap;
use std::path::Path;

use hermesh_istiod::yaml::{self, Diagnostic, Location, Node};
use hermesh_xds::ResourceType;

use super::{ReadError, Resource};
use crate::protojson;

/// Why there are no resources to be had from a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordedError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// All that is wrong with the text.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Diagnostic>),
}

fn lines(mistakes: &[Diagnostic]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Resource {
    /// Every resource in a file of JSON or YAML, as [`read`](Self::read) finds them.
    ///
    /// # Errors
    /// If the file cannot be read, or with all that is wrong with it.
    pub fn open(path: impl AsRef<Path>) -> Result<Vec<Self>, RecordedError> {
        let path = path.as_ref();
        let failed = |error| ReadError { path: path.to_owned(), error };
        let text = crate::files::read(path).map_err(failed)?;
        Self::read(&path.display().to_string(), &text)
    }

    /// Every resource in a text of JSON or YAML, in protobuf's JSON mapping with `@type`: a message, a list of them, or
    /// a dump that has such messages in it, such as what CSDS answers (`grpcdebug xds status`), Envoy's
    /// `config_dump` or a discovery response. Of a dump only what clients accepted counts. `name` is what messages call
    /// the text.
    ///
    /// # Errors
    /// With all that is wrong with it, each with line and column.
    pub fn read(name: &str, text: &str) -> Result<Vec<Self>, RecordedError> {
        read(name, text, &[]).map_err(RecordedError::Mistakes)
    }
}

/// The resources of these types in a text; of all types if there are none.
pub(crate) fn read(name: &str, text: &str, types: &[ResourceType]) -> Result<Vec<Resource>, Vec<Diagnostic>> {
    let mut all = Vec::new();
    for document in yaml::parse(name, text)? {
        all.extend(within(&document.root, name, "", types)?);
    }
    if all.is_empty() {
        let message = match types {
            [] => "the text is empty; expected resources of xDS".to_owned(),
            types => {
                let types: Vec<&str> = types.iter().map(|one| one.short()).collect();
                format!("no resource of type {} is in it", yaml::listed(&types))
            }
        };
        return Err(vec![Diagnostic::error("no-resource", Location::in_file(name), message)]);
    }
    Ok(all)
}

/// The resources in a tree that stands at `path` of `file`.
pub(crate) fn within(
    node: &Node,
    file: &str,
    path: &str,
    types: &[ResourceType],
) -> Result<Vec<Resource>, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut resources: Vec<Resource> = Vec::new();
    let mut seen: BTreeMap<(ResourceType, String), usize> = BTreeMap::new();
    for found in protojson::find(node, file, path)? {
        let location = || {
            let location = Location::in_file(file).at(found.position);
            if found.path.is_empty() { location } else { location.field(found.path.clone()) }
        };
        let resource = match Resource::new(found.body.clone()) {
            Ok(resource) => resource,
            Err(error) => {
                errors.push(Diagnostic::error("bad-value", location(), error.to_string()));
                continue;
            }
        };
        if !types.is_empty() && !types.contains(&resource.resource_type()) {
            continue;
        }
        let key = (resource.resource_type(), resource.name().to_owned());
        match seen.get(&key).map(|index| &resources[*index]) {
            None => {
                seen.insert(key, resources.len());
                resources.push(resource);
            }
            // Several clients of a process have the same.
            Some(first) if *first == resource => {}
            Some(_) => {
                let (kind, name) = (key.0.short(), &key.1);
                let message = format!("another {kind} resource {name:?} with other content stands before this one");
                let error = Diagnostic::error("duplicate-name", location(), message);
                errors.push(error.with_help("leave the one in that is to be used"));
            }
        }
    }
    if errors.is_empty() { Ok(resources) } else { Err(errors) }
}
