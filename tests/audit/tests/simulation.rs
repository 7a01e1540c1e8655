//! A mesh with everything in it never asks the kernel for entropy or for wall time, and for monotonic time only in
//! places known to change nothing.

#![cfg(target_os = "linux")]

use hermesh::Call;
use hermesh_audit::audit;
use hermesh_tests::manifests::{self, TARGET};

/// Who may ask for what, and why the answer never reaches the mesh.
const KNOWN: [(&str, &str, &str); 4] = [
    ("entropy", "tokio::runtime::builder::Builder::new", "for unbiased selects and watch channels; neither is used"),
    ("monotonic clock", "tokio::runtime::", "tokio measures its own polls for metrics that nobody reads"),
    (
        "monotonic clock",
        "h2::",
        "a server forgets streams it reset 1 s of real time ago; late frames then cost one more RST_STREAM, which is ignored",
    ),
    (
        "wall clock",
        "hyper::proto::h1::",
        "hyper keeps a Date header at hand, which auto_date_header(false) never sends",
    ),
];

#[test]
fn nobody_reaches_the_kernels_clock_or_entropy() {
    let (ok, findings) = audit(|| {
        let mut mesh = hermesh::mesh().seed(7).namespace(manifests::NAMESPACE).start();
        mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready();
        mesh.apply(manifests::client_tls("ISTIO_MUTUAL")).apply(manifests::server_tls("STRICT")).wait_converged();
        let ok = mesh.call(Call::new("echo-v1", TARGET).count(100)).is_ok();
        mesh.kill("echo-v2/0/istio-proxy").restart("istiod").run_for(std::time::Duration::from_secs(30));
        ok && mesh.call(Call::new("echo-v1", TARGET).count(100)).is_ok()
    });
    assert!(ok, "the mesh works while it is watched");
    let offenders: Vec<String> = findings
        .iter()
        .filter(|(finding, _)| {
            !KNOWN.iter().any(|(asked, caller, _)| {
                finding.asked == *asked && finding.by.iter().any(|function| function.contains(caller))
            })
        })
        .map(|(finding, count)| format!("{} {count} times by {}", finding.asked, finding.by.join(" <- ")))
        .collect();
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

/// Or the test above could not fail.
#[test]
#[expect(clippy::disallowed_methods, reason = "the offences to be noticed")]
fn who_asks_is_noticed() {
    let ((), findings) = audit(|| {
        let _ = std::time::SystemTime::now();
        let _ = std::time::Instant::now();
        let _ = std::collections::hash_map::RandomState::new();
    });
    let asked: Vec<_> = findings.keys().map(|finding| finding.asked).collect();
    assert_eq!(asked, ["entropy", "monotonic clock", "wall clock"]);
}
