//! Callers that reach the kernel during any simulation, and why that changes nothing.

use std::collections::BTreeMap;

use crate::Finding;

/// Who may ask for what, and why the answer never reaches the mesh. A caller is known by how its name begins; where the
/// compiler inlined it, its name is without its path.
const KNOWN: [(&str, &[&str], &str); 4] = [
    ("entropy", &["tokio::runtime::builder::Builder::new"], "for unbiased selects and watch channels; neither is used"),
    (
        "monotonic clock",
        &["tokio::runtime::", "tokio::time::clock::Clock::pause"],
        "tokio measures its own polls for metrics that nobody reads, and notes when its clock was stopped",
    ),
    (
        "monotonic clock",
        &["h2::"],
        "notes when it reset a stream, to forget it later; both ends are told to do so after a year",
    ),
    (
        "wall clock",
        &["hyper::proto::h1::", "poll_inner<hyper::proto::h1::dispatch::Server<"],
        "hyper keeps a Date header at hand, which auto_date_header(false) never sends",
    ),
];

/// Who left the simulation: each who asked and is not known to, with how often.
#[must_use]
pub fn outside(findings: &BTreeMap<Finding, u64>) -> Vec<String> {
    let known = |finding: &Finding| {
        let caller = finding.caller().trim_start_matches('<');
        KNOWN
            .iter()
            .any(|(asked, known, _)| finding.asked == *asked && known.iter().any(|known| caller.starts_with(known)))
    };
    let outside = findings.iter().filter(|(finding, _)| !known(finding));
    outside.map(|(it, count)| format!("{} {count} times by {}", it.asked, it.by.join(" <- "))).collect()
}
