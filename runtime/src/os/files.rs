//! Files of the kernel through `tokio::fs`.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use tokio::fs;
use tokio::io::AsyncWriteExt as _;

use crate::{FileKind, Metadata};

/// Creates or replaces the file. A secret never stands in a file that others may read: the mode is set on the empty
/// file, whatever the umask and whatever mode an older file had, and only then the contents.
pub(super) async fn write(path: PathBuf, contents: Bytes, mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).await?;
    file.set_permissions(permissions(mode)).await?;
    file.write_all(&contents).await?;
    // Without this, an error of the last write would be lost.
    file.flush().await
}

pub(super) async fn remove(path: PathBuf) -> io::Result<()> {
    if fs::symlink_metadata(&path).await?.is_dir() { fs::remove_dir(path).await } else { fs::remove_file(path).await }
}

pub(super) async fn create_dir_all(path: PathBuf, mode: u32) -> io::Result<()> {
    let mut created = Vec::new();
    for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        if fs::try_exists(folder).await? {
            break;
        }
        created.push(folder);
    }
    fs::create_dir_all(&path).await?;
    // Whatever the umask; those that were there keep what they have.
    for folder in created {
        fs::set_permissions(folder, permissions(mode)).await?;
    }
    Ok(())
}

pub(super) async fn list(path: PathBuf) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(path).await?;
    let mut paths = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        paths.push(entry.path());
    }
    paths.sort();
    Ok(paths)
}

pub(super) async fn metadata(path: PathBuf) -> io::Result<Metadata> {
    let metadata = fs::metadata(path).await?;
    let kind = match metadata.file_type() {
        kind if kind.is_file() => FileKind::File(metadata.len()),
        kind if kind.is_dir() => FileKind::Directory,
        _ => FileKind::Other,
    };
    Ok(Metadata::new(kind, metadata.permissions().mode() & 0o7777))
}

pub(super) async fn set_mode(path: PathBuf, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, permissions(mode)).await
}

fn permissions(mode: u32) -> std::fs::Permissions {
    std::fs::Permissions::from_mode(mode)
}
