//! Field paths, printed as `steps[3].hold.type` and read back.

use std::fmt;

/// A path from the root to a node, kept on the stack while a tree is walked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    /// The root, under the name the caller gave it.
    Root(Option<&'a str>),
    /// A mapping's entry.
    Field(&'a Self, &'a str),
    /// A sequence's item.
    Index(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Path::Root(name) => f.write_str(name.unwrap_or_default()),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Field(parent, name) => {
                let parent = parent.to_string();
                if name.is_empty() || name.contains(['.', '[', ']', '"', ' ', '/']) {
                    write!(f, "{parent}[{name:?}]")
                } else if parent.is_empty() {
                    f.write_str(name)
                } else {
                    write!(f, "{parent}.{name}")
                }
            }
        }
    }
}

/// The path of the field `name` of what is at `parent`, quoted if it has to be: `labels["app.kubernetes.io/name"]`.
#[must_use]
pub fn field_path(parent: &str, name: &str) -> String {
    Path::Field(&Path::Root(Some(parent)), name).to_string()
}

/// The printed path of what the node at `path` is a part of; `None` for the root.
pub(super) fn parent(path: &str) -> Option<&str> {
    let end = match path.strip_suffix("\"]") {
        Some(quoted) => quoted.rfind("[\"")?,
        None => path.rfind(['.', '[']).unwrap_or(0),
    };
    (!path.is_empty()).then(|| &path[..end])
}

/// Whether the node at the printed path `outer` is or holds the one at `inner`.
pub(super) fn holds(outer: &str, inner: &str) -> bool {
    outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// One step of a printed path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

/// Reads a printed path. Names in quotes are taken up to the closing quote; none of them holds an escape in practice.
pub(super) fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("[\"") {
            let end = tail.find("\"]").unwrap_or(tail.len());
            steps.push(Step::Field(&tail[..end]));
            rest = tail.get(end + 2..).unwrap_or_default();
        } else if let Some(tail) = rest.strip_prefix('[') {
            let end = tail.find(']').unwrap_or(tail.len());
            steps.extend(tail[..end].parse().ok().map(Step::Index));
            rest = tail.get(end + 1..).unwrap_or_default();
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Field(&rest[..end]));
            rest = &rest[end..];
            if end == 0 {
                break;
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_printed_as_people_write_them() {
        let root = Path::Root(Some("spec"));
        let labels = Path::Field(&root, "labels");
        assert_eq!(
            Path::Field(&labels, "app.kubernetes.io/name").to_string(),
            "spec.labels[\"app.kubernetes.io/name\"]"
        );
        assert_eq!(Path::Field(&Path::Index(&Path::Root(None), 2), "at").to_string(), "[2].at");
    }

    #[test]
    fn printed_paths_are_read_back() {
        assert_eq!(
            steps("spec.http[0].labels[\"a.b/c\"]"),
            [Step::Field("spec"), Step::Field("http"), Step::Index(0), Step::Field("labels"), Step::Field("a.b/c")]
        );
        assert_eq!(steps(""), []);
        assert_eq!(steps("[1]"), [Step::Index(1)]);
    }

    #[test]
    fn every_path_but_the_root_s_has_a_parent() {
        let path = "spec.http[0].labels[\"a.b[/c\"]";
        let above: Vec<&str> = std::iter::successors(Some(path), |path| parent(path)).skip(1).collect();
        assert_eq!(above, ["spec.http[0].labels", "spec.http[0]", "spec.http", "spec", ""]);
        assert_eq!(parent("[2]"), Some(""));
        assert!(above.iter().all(|outer| holds(outer, path)) && !holds("spec.http[0].label", path));
    }
}
