//! From an object and the name of its field to the place in the text where that stands.

use hermesh_istiod::yaml::{Diagnostic, Node, parse};

/// Gives diagnostics that point at an object as a whole, in the text `text` of the file `file`, the position of the
/// field they name; of what stands above it where the field is left out.
pub(crate) fn locate(diagnostics: &mut [Diagnostic], file: &str, text: &str) {
    if !diagnostics.iter().any(|diagnostic| *diagnostic.location.file == *file) {
        return;
    }
    // Text that does not parse has no objects, and so nothing to point at.
    let Ok(documents) = parse(file, text) else { return };
    for document in &documents {
        of_object(diagnostics, file, &document.root);
        for item in document.root.get("items").and_then(Node::items).unwrap_or_default() {
            of_object(diagnostics, file, item);
        }
    }
}

fn of_object(diagnostics: &mut [Diagnostic], file: &str, root: &Node) {
    let text = |path: &str| root.at_path(path).text().unwrap_or_default();
    let (kind, name) = (text("kind"), text("metadata.name"));
    for diagnostic in diagnostics {
        let location = &mut diagnostic.location;
        let words = location.object.as_deref().and_then(|object| object.split_once(' '));
        // Several texts may be called the same, such as `inline`.
        let same = words.is_some_and(|(of, rest)| of == kind && rest.rsplit('/').next() == Some(name));
        if *location.file == *file && location.position() == root.position && same {
            let field = location.field.as_deref().unwrap_or_default();
            let position = root.at_path(field).position;
            (location.line, location.column) = (position.line, position.column);
        }
    }
}
