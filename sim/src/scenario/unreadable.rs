//! Why a file that a scenario names cannot be read, and which may have been meant.

use std::io::{Error, ErrorKind};
use std::path::Path;

use hermesh_istiod::yaml::nearest;

/// Why `wanted`, which was written as `path`, cannot be read, with the name that is near if there is one.
pub(super) fn why(path: &Path, wanted: &Path, error: &Error) -> String {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => {}
        ErrorKind::InvalidData => return format!("`{shown}` is no text: it is not UTF-8"),
        _ => return format!("`{shown}`: {error}"),
    }
    if let Ok(target) = std::fs::read_link(wanted) {
        return format!("`{shown}` is a link to `{}`, and no file or folder is there", target.display());
    }
    let (Some(folder), Some(name)) = (wanted.parent(), wanted.file_name()) else {
        return format!("no file or folder `{shown}`");
    };
    let names = list(folder);
    match nearest(&name.to_string_lossy(), names.iter().map(String::as_str)) {
        Some(near) => format!("no file or folder `{shown}`; did you mean `{}`?", path.with_file_name(near).display()),
        None if path == wanted => format!("no file or folder `{shown}`"),
        None => format!("no file or folder `{shown}` (looked for {})", wanted.display()),
    }
}

/// As [`why`], where `wanted` may be a folder and `failed` the file in it that cannot be read.
pub(super) fn why_in(path: &Path, wanted: &Path, failed: &Path, error: &Error) -> String {
    match failed.file_name() {
        Some(name) if wanted.is_dir() && failed.parent().is_some_and(|folder| same(folder, wanted)) => {
            why(&path.join(name), &wanted.join(name), error)
        }
        _ => why(path, wanted, error),
    }
}

fn same(one: &Path, other: &Path) -> bool {
    std::path::absolute(other).is_ok_and(|other| one == other)
}

/// The names of a folder's files, for suggestions.
fn list(folder: &Path) -> Vec<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
