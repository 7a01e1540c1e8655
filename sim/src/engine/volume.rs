//! Directory trees: volumes that containers share, and the file system one container sees.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use hermesh_runtime::{EventId, FileKind, Metadata};

/// Symbolic links followed before a path is taken for a loop, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// How long the page cache may keep what was written from the disk (Linux's `vm.dirty_expire_centisecs`).
const DIRTY_EXPIRE: Duration = Duration::from_secs(30);

/// A directory tree; clones share it. It outlives the containers that mount it.
///
/// Permission bits are kept and shown but not enforced: every container runs as root.
#[derive(Clone)]
pub struct Volume(Arc<Mutex<Tree>>);

impl Volume {
    /// An empty volume on disk. A power failure leaves files empty that were written, and not renamed, within the 30 s
    /// before it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default would hide the choice between disk and memory")]
    pub fn new() -> Self {
        Self::with(false)
    }

    /// An empty volume in memory, as Kubernetes makes them for secrets and tokens: a power failure empties it.
    #[must_use]
    pub fn memory() -> Self {
        Self::with(true)
    }

    fn with(memory: bool) -> Self {
        Self(Arc::new(Mutex::new(Tree {
            removed_sockets: BTreeMap::new(),
            inodes: BTreeMap::from([(ROOT, Inode::directory(0o755))]),
            next: ROOT + 1,
            memory,
            full: false,
            tearing: None,
        })))
    }

    /// The whole of a file.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Bytes> {
        self.files().read(path.as_ref())
    }

    /// Creates or replaces a file.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn write(&self, path: impl AsRef<Path>, contents: impl Into<Bytes>, mode: u32) -> io::Result<()> {
        self.files().open(path.as_ref(), mode)?.write(contents.into(), None)
    }

    /// Renames, replacing what has the new name.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        self.files().rename(from.as_ref(), to.as_ref())
    }

    /// Makes `link` a symbolic link to `target`. An absolute target is one of the container that follows it.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn symlink(&self, target: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
        self.files().symlink(target.as_ref(), link.as_ref())
    }

    /// Removes a file, a link, a socket or an empty directory.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.files().remove(path.as_ref())
    }

    /// Creates a directory and those above it.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        self.files().create_dir_all(path.as_ref(), mode)
    }

    /// What a directory holds, as full paths in order.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn list(&self, path: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
        self.files().list(path.as_ref())
    }

    /// What kind of file this is, following symbolic links.
    ///
    /// # Errors
    /// Those of a file system.
    pub fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        self.files().metadata(path.as_ref())
    }

    fn files(&self) -> Files {
        Files { root: self.clone(), mounts: BTreeMap::new() }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Sets whether there is no room: writes and new directories fail, whatever else is done to files does not.
    pub fn set_full(&self, full: bool) {
        self.tree().full = full;
    }

    /// Lets the next `count` writes of containers stop in the middle, because of `cause`.
    pub fn tear_writes(&self, count: u64, cause: Option<EventId>) {
        self.tree().tearing = (count > 0).then_some((count, cause));
    }

    /// What a power failure at `now` leaves of it.
    pub(super) fn lose_power(&self, now: Duration) {
        let mut tree = self.tree();
        if tree.memory {
            tree.inodes = BTreeMap::from([(ROOT, Inode::directory(0o755))]);
            tree.removed_sockets.clear();
            return;
        }
        for inode in tree.inodes.values_mut() {
            if let Kind::File { contents, dirty: Some(since) } = &mut inode.kind
                && now.saturating_sub(*since) < DIRTY_EXPIRE
            {
                *contents = Bytes::new();
            }
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().expect("no file operation panics half-way")
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Contents may be keys.
        f.debug_struct("Volume").finish_non_exhaustive()
    }
}

/// The file system one container sees: its root directory and its mounts.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: Volume,
    mounts: BTreeMap<Vec<OsString>, Volume>,
}

/// A file open for writing.
pub(super) struct OpenFile {
    volume: Volume,
    inode: u64,
}

impl OpenFile {
    /// Replaces the contents; a file removed or replaced meanwhile is written to and lost, as in a kernel. `now` marks
    /// it as not yet on disk.
    pub(super) fn write(&self, contents: Bytes, now: Option<Duration>) -> io::Result<()> {
        let mut tree = self.volume.tree();
        if tree.full && !contents.is_empty() {
            return Err(no_room());
        }
        if let Some(Inode { kind: Kind::File { contents: old, dirty }, .. }) = tree.inodes.get_mut(&self.inode) {
            *old = contents;
            *dirty = now;
        }
        Ok(())
    }

    /// Whether this write is to stop in the middle, and because of what.
    pub(super) fn tears(&self) -> Option<Option<EventId>> {
        let tearing = &mut self.volume.tree().tearing;
        let (left, cause) = tearing.take()?;
        *tearing = (left > 1).then_some((left - 1, cause));
        Some(cause)
    }
}

impl Files {
    pub(super) fn new<'a>(root: Volume, mounts: impl IntoIterator<Item = (&'a Path, &'a Volume)>) -> Self {
        let mut files = Self { root, mounts: BTreeMap::new() };
        for (path, volume) in mounts {
            // The mount point may be hidden below another mount, whose owner then need not have it.
            let _ = files.create_dir_all(path, 0o755);
            files.mounts.insert(names(path), volume.clone());
        }
        files
    }

    pub(super) fn root(&self) -> &Volume {
        &self.root
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Bytes> {
        let found = self.find(path)?;
        match &found.volume.tree().inodes[&found.inode].kind {
            Kind::File { contents, .. } => Ok(contents.clone()),
            Kind::Directory(_) => Err(ErrorKind::IsADirectory.into()),
            Kind::Socket(_) | Kind::Link(_) => Err(io::Error::other("no such device or address")),
        }
    }

    /// Creates or truncates a file.
    pub(super) fn open(&self, path: &Path, mode: u32) -> io::Result<OpenFile> {
        match self.resolve(path, true)? {
            Place::Found(Found { volume, inode, .. }) => {
                match &mut volume.tree().inodes.get_mut(&inode).expect(RESOLVED).kind {
                    Kind::File { contents, .. } => *contents = Bytes::new(),
                    Kind::Directory(_) => return Err(ErrorKind::IsADirectory.into()),
                    Kind::Socket(_) | Kind::Link(_) => return Err(io::Error::other("no such device or address")),
                }
                Ok(OpenFile { volume, inode })
            }
            Place::Missing { volume, directory, name } => {
                let file = Inode { mode, kind: Kind::File { contents: Bytes::new(), dirty: None } };
                let inode = volume.tree().add(directory, name, file);
                Ok(OpenFile { volume, inode })
            }
        }
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let Place::Found(Found { volume, inode, entry: Some((from_directory, from_name)), .. }) =
            self.resolve(from, false)?
        else {
            return Err(ErrorKind::NotFound.into());
        };
        let (to_volume, to_directory, to_name, replaced) = match self.resolve(to, false)? {
            Place::Missing { volume, directory, name } => (volume, directory, name, None),
            Place::Found(Found { volume, inode, entry: Some((directory, name)) }) => {
                (volume, directory, name, Some(inode))
            }
            Place::Found(Found { entry: None, .. }) => return Err(ErrorKind::ResourceBusy.into()),
        };
        if !volume.is(&to_volume) {
            return Err(ErrorKind::CrossesDevices.into());
        }
        if replaced == Some(inode) {
            return Ok(());
        }
        let mut tree = volume.tree();
        if tree.holds(inode, to_directory) {
            return Err(ErrorKind::InvalidInput.into());
        }
        if let Some(replaced) = replaced {
            match (&tree.inodes[&inode].kind, &tree.inodes[&replaced].kind) {
                (Kind::Directory(_), Kind::Directory(entries)) if !entries.is_empty() => {
                    return Err(ErrorKind::DirectoryNotEmpty.into());
                }
                (Kind::Directory(_), Kind::Directory(_)) => {}
                (Kind::Directory(_), _) => return Err(ErrorKind::NotADirectory.into()),
                (_, Kind::Directory(_)) => return Err(ErrorKind::IsADirectory.into()),
                _ => {}
            }
            tree.inodes.remove(&replaced);
        }
        tree.entries(from_directory).remove(&from_name);
        tree.entries(to_directory).insert(to_name, inode);
        // Journalling file systems flush a file that is renamed over another (ext4's `auto_da_alloc`).
        if let Kind::File { dirty, .. } = &mut tree.inodes.get_mut(&inode).expect(RESOLVED).kind {
            *dirty = None;
        }
        Ok(())
    }

    pub(super) fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        let (volume, directory, name) = self.vacant(link)?;
        volume.tree().add(directory, name, Inode { mode: 0o777, kind: Kind::Link(target.to_owned()) });
        Ok(())
    }

    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let Place::Found(found) = self.resolve(path, false)? else {
            return Err(ErrorKind::NotFound.into());
        };
        match &found.volume.tree().inodes[&found.inode].kind {
            Kind::Link(target) => Ok(target.clone()),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let Place::Found(Found { volume, inode, entry }) = self.resolve(path, false)? else {
            return Err(ErrorKind::NotFound.into());
        };
        let Some((directory, name)) = entry else {
            return Err(ErrorKind::ResourceBusy.into());
        };
        let mut tree = volume.tree();
        if matches!(&tree.inodes[&inode].kind, Kind::Directory(entries) if !entries.is_empty()) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let removed = tree.inodes.remove(&inode);
        tree.entries(directory).remove(&name);
        if let Some(Kind::Socket(socket)) = removed.map(|inode| inode.kind) {
            tree.removed_sockets.insert((directory, name), socket);
        }
        Ok(())
    }

    pub(super) fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut so_far = PathBuf::from("/");
        for component in path.components() {
            so_far.push(component);
            match self.resolve(&so_far, true)? {
                Place::Found(found) => {
                    if !matches!(found.volume.tree().inodes[&found.inode].kind, Kind::Directory(_)) {
                        return Err(ErrorKind::NotADirectory.into());
                    }
                }
                Place::Missing { volume, directory, name } => {
                    let mut tree = volume.tree();
                    if tree.full {
                        return Err(no_room());
                    }
                    tree.add(directory, name, Inode::directory(mode));
                }
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let found = self.find(path)?;
        match &found.volume.tree().inodes[&found.inode].kind {
            Kind::Directory(entries) => Ok(entries.keys().map(|name| path.join(name)).collect()),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = self.find(path)?;
        let tree = found.volume.tree();
        let inode = &tree.inodes[&found.inode];
        let kind = match &inode.kind {
            Kind::File { contents, .. } => FileKind::File(contents.len() as u64),
            Kind::Directory(_) => FileKind::Directory,
            Kind::Link(_) | Kind::Socket(_) => FileKind::Other,
        };
        Ok(Metadata::new(kind, inode.mode))
    }

    pub(super) fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let found = self.find(path)?;
        found.volume.tree().inodes.get_mut(&found.inode).expect(RESOLVED).mode = mode;
        Ok(())
    }

    /// Makes the file of a Unix socket; answers with the one whose file stood there before.
    pub(super) fn bind_socket(&self, path: &Path, socket: u64) -> io::Result<Option<u64>> {
        fits_socket(path)?;
        let (volume, directory, name) = self.vacant(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => ErrorKind::AddrInUse.into(),
            _ => error,
        })?;
        let mut tree = volume.tree();
        let before = tree.removed_sockets.remove(&(directory, name.clone()));
        tree.add(directory, name, Inode { mode: 0o755, kind: Kind::Socket(socket) });
        Ok(before)
    }

    /// The Unix socket whose file this is; a file of another kind refuses connections.
    pub(super) fn socket(&self, path: &Path) -> io::Result<u64> {
        fits_socket(path)?;
        let found = self.find(path)?;
        match found.volume.tree().inodes[&found.inode].kind {
            Kind::Socket(socket) => Ok(socket),
            _ => Err(ErrorKind::ConnectionRefused.into()),
        }
    }

    /// The Unix socket whose file stood there until it was removed.
    pub(super) fn removed_socket(&self, path: &Path) -> Option<u64> {
        match self.resolve(path, true).ok()? {
            Place::Missing { volume, directory, name } => {
                volume.tree().removed_sockets.get(&(directory, name)).copied()
            }
            Place::Found(_) => None,
        }
    }

    fn find(&self, path: &Path) -> io::Result<Found> {
        match self.resolve(path, true)? {
            Place::Found(found) => Ok(found),
            Place::Missing { .. } => Err(ErrorKind::NotFound.into()),
        }
    }

    fn vacant(&self, path: &Path) -> io::Result<(Volume, u64, OsString)> {
        match self.resolve(path, false)? {
            Place::Found(_) => Err(ErrorKind::AlreadyExists.into()),
            Place::Missing { volume, directory, name } => Ok((volume, directory, name)),
        }
    }

    /// Walks `path`; a relative one starts at the root. A link in last place is followed only if `follow`.
    fn resolve(&self, path: &Path, follow: bool) -> io::Result<Place> {
        let mut rest: VecDeque<OsString> = names(path).into();
        let mut here =
            vec![Found { volume: self.volume_at(&[]).unwrap_or(&self.root).clone(), inode: ROOT, entry: None }];
        let mut at: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                if here.len() > 1 {
                    here.pop();
                    at.pop();
                }
                continue;
            }
            at.push(name.clone());
            if let Some(volume) = self.volume_at(&at) {
                here.push(Found { volume: volume.clone(), inode: ROOT, entry: None });
                continue;
            }
            let Found { volume, inode: directory, .. } = here.last().expect("the root stays").clone();
            let tree = volume.tree();
            let Kind::Directory(entries) = &tree.inodes[&directory].kind else {
                return Err(ErrorKind::NotADirectory.into());
            };
            let Some(&inode) = entries.get(&name) else {
                drop(tree);
                return match rest.is_empty() {
                    true => Ok(Place::Missing { volume, directory, name }),
                    false => Err(ErrorKind::NotFound.into()),
                };
            };
            match &tree.inodes[&inode].kind {
                Kind::Link(target) if follow || !rest.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::other("too many levels of symbolic links"));
                    }
                    at.pop();
                    if target.is_absolute() {
                        here.truncate(1);
                        at.clear();
                    }
                    for name in names(target).into_iter().rev() {
                        rest.push_front(name);
                    }
                }
                _ => {
                    drop(tree);
                    here.push(Found { volume, inode, entry: Some((directory, name)) });
                }
            }
        }
        Ok(Place::Found(here.pop().expect("the root stays")))
    }

    fn volume_at(&self, at: &[OsString]) -> Option<&Volume> {
        if self.mounts.is_empty() { None } else { self.mounts.get(at) }
    }
}

/// unix(7): `sun_path` has 108 bytes, the last one NUL. The standard library refuses what is longer.
fn fits_socket(path: &Path) -> io::Result<()> {
    if path.as_os_str().len() < 108 {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "path must be shorter than SUN_LEN"))
}

/// ENOSPC, in the words of Go.
fn no_room() -> io::Error {
    io::Error::new(ErrorKind::StorageFull, "no space left on device")
}

const ROOT: u64 = 0;
const RESOLVED: &str = "a path resolves to an inode that exists, and no other task runs meanwhile";

struct Tree {
    inodes: BTreeMap<u64, Inode>,
    /// By directory and name, the Unix sockets whose files stood there last.
    removed_sockets: BTreeMap<(u64, OsString), u64>,
    next: u64,
    memory: bool,
    /// Whether there is no room.
    full: bool,
    /// How many of the next writes stop in the middle, and because of what.
    tearing: Option<(u64, Option<EventId>)>,
}

struct Inode {
    mode: u32,
    kind: Kind,
}

enum Kind {
    Directory(BTreeMap<OsString, u64>),
    /// `dirty` tells since when the contents are in the page cache only.
    File {
        contents: Bytes,
        dirty: Option<Duration>,
    },
    Link(PathBuf),
    Socket(u64),
}

impl Inode {
    fn directory(mode: u32) -> Self {
        Self { mode, kind: Kind::Directory(BTreeMap::new()) }
    }
}

impl Tree {
    fn add(&mut self, directory: u64, name: OsString, inode: Inode) -> u64 {
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, inode);
        self.entries(directory).insert(name, number);
        number
    }

    fn entries(&mut self, directory: u64) -> &mut BTreeMap<OsString, u64> {
        match self.inodes.get_mut(&directory).map(|inode| &mut inode.kind) {
            Some(Kind::Directory(entries)) => entries,
            _ => unreachable!("{RESOLVED}"),
        }
    }

    /// Whether `inode` is `below` or a directory above it.
    fn holds(&self, inode: u64, below: u64) -> bool {
        inode == below
            || matches!(&self.inodes[&inode].kind,
                Kind::Directory(entries) if entries.values().any(|&entry| self.holds(entry, below)))
    }
}

#[derive(Clone)]
struct Found {
    volume: Volume,
    inode: u64,
    /// The directory and the name it was found by; `None` for a volume's root.
    entry: Option<(u64, OsString)>,
}

enum Place {
    Found(Found),
    Missing { volume: Volume, directory: u64, name: OsString },
}

fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind<T>(result: io::Result<T>) -> ErrorKind {
        result.err().expect("this fails").kind()
    }

    #[test]
    fn files_errors_are_those_of_a_kernel() {
        let volume = Volume::new();
        volume.create_dir_all("a/b", 0o700).unwrap();
        volume.write("a/file", "text", 0o600).unwrap();
        assert_eq!(kind(volume.read("a/none")), ErrorKind::NotFound);
        assert_eq!(kind(volume.read("a")), ErrorKind::IsADirectory);
        assert_eq!(kind(volume.read("a/file/x")), ErrorKind::NotADirectory);
        assert_eq!(kind(volume.write("none/file", "", 0o600)), ErrorKind::NotFound);
        assert_eq!(kind(volume.remove("a")), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind(volume.rename("a", "a/b/c")), ErrorKind::InvalidInput);
        assert_eq!(kind(volume.create_dir_all("a/file/x", 0o700)), ErrorKind::NotADirectory);
        assert_eq!(kind(volume.symlink("file", "a/file")), ErrorKind::AlreadyExists);
        assert_eq!(volume.metadata("a/file").unwrap(), Metadata::new(FileKind::File(4), 0o600));
        assert_eq!(volume.metadata("a/b").unwrap(), Metadata::new(FileKind::Directory, 0o700));
        assert_eq!(volume.list("a").unwrap(), [PathBuf::from("a/b"), "a/file".into()]);
    }

    #[test]
    fn a_link_swap_switches_all_files_at_once() {
        // As kubelet and istio-agent publish: file -> ..data/file, ..data -> a directory of this version.
        let volume = Volume::new();
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            volume.create_dir_all(version, 0o755).unwrap();
            volume.write(Path::new(version).join("file"), text, 0o644).unwrap();
        }
        volume.symlink("..1", "..data").unwrap();
        volume.symlink("..data/file", "file").unwrap();
        assert_eq!(volume.read("file").unwrap(), "old");
        volume.symlink("..2", "..data_tmp").unwrap();
        volume.rename("..data_tmp", "..data").unwrap();
        assert_eq!(volume.read("file").unwrap(), "new");
        assert_eq!(kind(volume.metadata("..data_tmp")), ErrorKind::NotFound);
    }

    #[test]
    fn links_cross_mounts_and_loops_end() {
        let (root, secrets) = (Volume::new(), Volume::memory());
        secrets.write("key", "k", 0o600).unwrap();
        let files = Files::new(root, [(Path::new("/var/run/secrets"), &secrets)]);
        files.symlink(Path::new("/var/run/secrets/key"), Path::new("/key")).unwrap();
        files.symlink(Path::new("../var/run/secrets"), Path::new("/var/link")).unwrap();
        for path in ["/key", "/var/link/key", "var/run/./secrets/../secrets/key"] {
            assert_eq!(files.read(Path::new(path)).unwrap(), "k", "{path}");
        }
        assert_eq!(kind(files.rename(Path::new("/var/run/secrets/key"), Path::new("/k2"))), ErrorKind::CrossesDevices);
        assert_eq!(kind(files.remove(Path::new("/var/run/secrets"))), ErrorKind::ResourceBusy);
        files.symlink(Path::new("b"), Path::new("/a")).unwrap();
        files.symlink(Path::new("a"), Path::new("/b")).unwrap();
        assert!(files.read(Path::new("/a")).unwrap_err().to_string().contains("symbolic links"));
    }

    #[test]
    fn a_full_volume_takes_no_contents_and_no_directory_and_lets_all_else_be_done() {
        let volume = Volume::new();
        volume.create_dir_all("a", 0o755).unwrap();
        volume.write("a/old", "text", 0o644).unwrap();
        volume.set_full(true);
        assert_eq!(kind(volume.write("a/new", "text", 0o644)), ErrorKind::StorageFull);
        assert_eq!(kind(volume.create_dir_all("b", 0o755)), ErrorKind::StorageFull);
        volume.create_dir_all("a", 0o755).unwrap();
        volume.rename("a/old", "a/renamed").unwrap();
        volume.symlink("renamed", "a/link").unwrap();
        assert_eq!((volume.read("a/link").unwrap(), volume.read("a/new").unwrap()), ("text".into(), Bytes::new()));
        volume.remove("a/link").unwrap();
        volume.set_full(false);
        volume.write("a/new", "text", 0o644).unwrap();
    }

    #[test]
    fn a_power_failure_loses_what_was_not_on_disk() {
        let (disk, memory) = (Volume::new(), Volume::memory());
        memory.write("token", "t", 0o600).unwrap();
        let at = |seconds| Some(Duration::from_secs(seconds));
        for (name, written) in [("early", 10), ("late", 90), ("renamed.tmp", 90)] {
            disk.files().open(Path::new(name), 0o644).unwrap().write("text".into(), at(written)).unwrap();
        }
        disk.rename("renamed.tmp", "renamed").unwrap();
        for volume in [&disk, &memory] {
            volume.lose_power(Duration::from_secs(100));
        }
        assert_eq!(disk.read("early").unwrap(), "text");
        assert_eq!(disk.read("late").unwrap(), "");
        assert_eq!(disk.read("renamed").unwrap(), "text");
        assert_eq!(kind(memory.read("token")), ErrorKind::NotFound);
    }
}
