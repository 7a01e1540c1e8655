//! A mesh with everything in it never asks the kernel for entropy or for wall time, and for monotonic time only in
//! places known to change nothing.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use hermesh::Call;
use hermesh_audit::{Finding, audit};
use hermesh_tests::manifests::{self, TARGET};

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
        "a server forgets streams it reset 1 s of real time ago; late frames then cost one more RST_STREAM, which is ignored",
    ),
    (
        "wall clock",
        &["hyper::proto::h1::", "poll_inner<hyper::proto::h1::dispatch::Server<"],
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
    let offenders = offenders(&findings);
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

/// An application in the mesh that reaches around its runtime is found however deep below known callers it runs.
#[test]
fn an_image_that_reads_entropy_or_the_clock_is_reported() {
    let ((), findings) = audit(|| {
        let image = |_| async {
            reads_entropy();
            reads_the_clock();
        };
        let mut mesh = hermesh::mesh().seed(7).namespace(manifests::NAMESPACE).image("*", image).start();
        mesh.apply(manifests::echo(&["v1"]).replace("registry.istio.io/testing/app:latest", "offender"));
        mesh.run_for(std::time::Duration::from_secs(30));
    });
    let offenders = offenders(&findings);
    assert_eq!(offenders.len(), 2, "\n{}", offenders.join("\n"));
    assert!(offenders[0].starts_with("entropy ") && offenders[0].contains("reads_entropy"), "{offenders:?}");
    assert!(offenders[1].starts_with("wall clock ") && offenders[1].contains("reads_the_clock"), "{offenders:?}");
}

#[inline(never)]
#[expect(unsafe_code, reason = "what std asks once a thread is asked here each time")]
fn reads_entropy() {
    let mut buffer = [0_u8; 4];
    // SAFETY: the buffer has room for its length.
    let read = unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    assert_eq!(read, 4);
}

#[inline(never)]
#[expect(clippy::disallowed_methods, reason = "the offence to be noticed")]
fn reads_the_clock() {
    assert!(std::time::SystemTime::now() > std::time::UNIX_EPOCH);
}

/// Who asked without being known to.
fn offenders(findings: &BTreeMap<Finding, u64>) -> Vec<String> {
    let known = |finding: &Finding| {
        let caller = finding.caller().trim_start_matches('<');
        KNOWN
            .iter()
            .any(|(asked, known, _)| finding.asked == *asked && known.iter().any(|known| caller.starts_with(known)))
    };
    let offenders = findings.iter().filter(|(finding, _)| !known(finding));
    offenders.map(|(it, count)| format!("{} {count} times by {}", it.asked, it.by.join(" <- "))).collect()
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
