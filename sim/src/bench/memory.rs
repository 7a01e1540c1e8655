//! What this process takes of the machine's memory, as Linux tells it.

/// `VmHWM`, the high-water mark of resident memory, in bytes; `None` where the kernel does not tell.
pub(super) fn peak_rss() -> Option<u64> {
    status("VmHWM:")
}

/// `VmRSS`, resident memory now, in bytes; `None` where the kernel does not tell.
pub(super) fn rss() -> Option<u64> {
    status("VmRSS:")
}

#[expect(clippy::disallowed_methods, reason = "asks the real kernel about the real process")]
fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
