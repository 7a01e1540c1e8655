//! Files that the kubelet writes into volumes, all of one version visible at once.
//!
//! Source: kubernetes `pkg/volume/util/atomic_writer.go`: files stand in a folder of their own, `..data` links to it,
//! and what containers open are links through `..data`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

use crate::engine::Volume;

/// What the volume holds under which path, relative to its root.
pub(crate) type Files = BTreeMap<String, Bytes>;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
const ROOT: &str = "/";

/// Replaces what `volume` holds by `files`. `version` names this state; the same version again changes nothing.
pub(crate) fn write(volume: &Volume, version: u64, files: &Files) -> io::Result<()> {
    let folder = format!("..v{version}");
    if volume.metadata(&folder).is_ok() {
        return Ok(());
    }
    let is_version = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("..v"));
    let old: Vec<PathBuf> = volume.list(ROOT)?.into_iter().filter(is_version).collect();
    volume.create_dir_all(&folder, 0o755)?;
    for (path, contents) in files {
        if let Some((parent, _name)) = path.rsplit_once('/') {
            volume.create_dir_all(format!("{folder}/{parent}"), 0o755)?;
        }
        volume.write(format!("{folder}/{path}"), contents.clone(), 0o644)?;
    }
    volume.symlink(&folder, NEW_DATA)?;
    volume.rename(NEW_DATA, DATA)?;
    // What is below a folder is seen through the link to the folder.
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in names {
        match volume.symlink(format!("{DATA}/{name}"), name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    for folder in old {
        remove_all(volume, folder)?;
    }
    Ok(())
}

/// Removes a version, in which there are no links.
fn remove_all(volume: &Volume, path: PathBuf) -> io::Result<()> {
    if volume.metadata(&path)?.is_dir {
        for below in volume.list(&path)? {
            remove_all(volume, below)?;
        }
    }
    volume.remove(path)
}

/// Labels or annotations in the form of the downward API: `key="value"`, a line each.
pub(crate) fn downward_map(map: &BTreeMap<String, String>) -> Bytes {
    let lines: Vec<String> = map.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n").into()
}

/// A string as Go's `%q` writes it, for what labels and annotations hold.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter if letter.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(contents: &'static str) -> Files {
        Files::from([("root-cert.pem".to_owned(), Bytes::from(contents))])
    }

    #[test]
    fn a_new_version_replaces_the_old_one_behind_the_same_names() {
        let volume = Volume::new();
        write(&volume, 1, &files("one")).unwrap();
        assert_eq!(volume.read("root-cert.pem").unwrap(), "one");
        write(&volume, 2, &files("two")).unwrap();
        assert_eq!(volume.read("root-cert.pem").unwrap(), "two");
        assert_eq!(volume.metadata("..v1").ok(), None);
    }

    #[test]
    fn a_path_of_several_folders_is_found_below_the_first() {
        let volume = Volume::new();
        let file = |path: &str| (path.to_owned(), Bytes::from(path.to_owned()));
        write(&volume, 1, &[file("texts/en/hello"), file("texts/bye"), file("mode")].into()).unwrap();
        write(&volume, 2, &[file("texts/en/hello"), file("mode")].into()).unwrap();
        assert_eq!(volume.read("texts/en/hello").unwrap(), "texts/en/hello");
        assert_eq!(volume.list("texts").unwrap().len(), 1, "what is no more is gone");
        assert_eq!(volume.metadata("..v1").ok(), None);
    }

    #[test]
    fn labels_are_written_as_the_downward_api_writes_them() {
        let map = BTreeMap::from([("app", "echo"), ("note", "a \"b\"\nc")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(downward_map(&map), "app=\"echo\"\nnote=\"a \\\"b\\\"\\nc\"");
    }
}
