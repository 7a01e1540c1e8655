//! Certificate files that become visible together.
//!
//! istio-agent renames three files one after another, so that a reader can meet a new key beside an old certificate.
//! Here the three names are links through `..data`, and `..data` is swapped in one rename, as kubelet does for secrets.

use std::io;
use std::path::Path;

use hermesh_runtime::Runtime;

/// The files, in the order istio-agent writes them.
pub const FILES: [&str; 3] = ["key.pem", "cert-chain.pem", "root-cert.pem"];

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// What a workload shows and trusts, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    /// The private key.
    pub key: String,
    /// All certificates the authority answered with, the root included, as istio-agent writes them.
    pub chain: String,
    /// The root bundle.
    pub root: String,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("chain", &self.chain).field("root", &self.root).finish_non_exhaustive()
    }
}

/// Publishes `certificates` in `directory`, which must exist: whoever opens the three files through their names sees
/// either the set before or this one.
///
/// # Errors
/// Those of the file system; what was published before is then still in place.
pub async fn publish(rt: &Runtime, directory: &Path, certificates: &Certificates, mode: u32) -> io::Result<()> {
    // The directory is a volume; one made here would be seen by nobody.
    rt.metadata(directory).await?;
    let data = directory.join(DATA);
    let before = rt.read_link(&data).await.ok();
    let mut random = [0; 8];
    rt.fill(&mut random);
    let name = format!("..{}_{:016x}", rt.wall().as_secs(), u64::from_be_bytes(random));
    let set = directory.join(&name);

    let published = async {
        rt.create_dir_all(&set, if mode & 0o044 == 0 { 0o700 } else { 0o755 }).await?;
        for (file, contents) in FILES.into_iter().zip([&certificates.key, &certificates.chain, &certificates.root]) {
            rt.write(set.join(file), contents.clone(), mode).await?;
        }
        for file in FILES {
            link(rt, directory, file).await?;
        }
        let next = directory.join(DATA_NEXT);
        replace_link(rt, Path::new(&name), &next).await?;
        rt.rename(&next, &data).await
    };
    if let Err(error) = published.await {
        discard(rt, &set).await;
        return Err(error);
    }
    if let Some(before) = before.filter(|before| before.as_os_str() != name.as_str()) {
        discard(rt, &directory.join(before)).await;
    }
    Ok(())
}

/// Makes `file` a link through `..data`, replacing a plain file left by another agent.
async fn link(rt: &Runtime, directory: &Path, file: &str) -> io::Result<()> {
    let target = Path::new(DATA).join(file);
    let path = directory.join(file);
    if rt.read_link(&path).await.is_ok_and(|found| found == target) {
        return Ok(());
    }
    let beside = directory.join(format!("{file}.tmp"));
    replace_link(rt, &target, &beside).await?;
    rt.rename(&beside, &path).await
}

/// Makes `link` point to `target`; a crash may have left one of that name.
async fn replace_link(rt: &Runtime, target: &Path, link: &Path) -> io::Result<()> {
    match rt.remove(link).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => rt.symlink(target, link).await,
    }
}

/// Removes a set that nobody points to any more; one that stays is only litter.
async fn discard(rt: &Runtime, set: &Path) {
    for file in rt.list(set).await.unwrap_or_default() {
        let _ = rt.remove(file).await;
    }
    let _ = rt.remove(set).await;
}
