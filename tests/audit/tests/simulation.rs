//! A mesh with everything in it never asks the kernel for entropy or for wall time, and for monotonic time only in
//! places known to change nothing. It opens no socket and starts no thread.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;

use hermesh::Call;
use hermesh_audit::{audit, outside};
use hermesh_tests::manifests::{self, TARGET};

#[test]
fn nobody_reaches_the_kernels_clock_entropy_sockets_or_threads() {
    let (ok, findings) = audit(|| {
        let mut mesh = hermesh::mesh().seed(7).namespace(manifests::NAMESPACE).start();
        mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready();
        mesh.apply(manifests::client_tls("ISTIO_MUTUAL")).apply(manifests::server_tls("STRICT")).wait_converged();
        let ok = mesh.call(Call::new("echo-v1", TARGET).count(100)).is_ok();
        mesh.kill("echo-v2/0/istio-proxy").restart("istiod").run_for(std::time::Duration::from_secs(30));
        ok && mesh.call(Call::new("echo-v1", TARGET).count(100)).is_ok()
    });
    assert!(ok, "the mesh works while it is watched");
    let offenders = outside(&findings);
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

/// An application in the mesh that reaches around its runtime is found however deep below known callers it runs.
#[test]
fn an_image_that_reaches_around_its_runtime_is_reported() {
    let ((), findings) = audit(|| {
        let image = |_| async {
            reads_entropy();
            reads_the_clock();
            opens_a_socket();
            starts_a_thread();
        };
        let mut mesh = hermesh::mesh().seed(7).namespace(manifests::NAMESPACE).image("*", image).start();
        mesh.apply(manifests::echo(&["v1"]).replace("registry.istio.io/testing/app:latest", "offender"));
        mesh.run_for(std::time::Duration::from_secs(30));
    });
    let offenders = outside(&findings);
    for (asked, by) in [
        ("entropy ", "reads_entropy"),
        ("socket ", "opens_a_socket"),
        ("thread ", "starts_a_thread"),
        ("wall clock ", "reads_the_clock"),
    ] {
        assert!(offenders.iter().any(|it| it.starts_with(asked) && it.contains(by)), "{asked}{by}: {offenders:#?}");
    }
    assert_eq!(offenders.len(), 4, "\n{}", offenders.join("\n"));
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

#[inline(never)]
fn opens_a_socket() {
    drop(std::net::UdpSocket::bind(("127.0.0.1", 0)).expect("loopback is there"));
}

#[inline(never)]
#[expect(clippy::disallowed_methods, reason = "the offence to be noticed")]
fn starts_a_thread() {
    std::thread::spawn(|| ()).join().expect("it does nothing");
}

/// Or the test above could not fail.
#[test]
#[expect(clippy::disallowed_methods, reason = "the offences to be noticed")]
fn who_asks_is_noticed() {
    let ((), findings) = audit(|| {
        let _ = std::time::SystemTime::now();
        let _ = std::time::Instant::now();
        let _ = std::collections::hash_map::RandomState::new();
        let _ = std::net::TcpStream::connect(("127.0.0.1", 1));
        let _ = std::thread::spawn(|| ()).join();
    });
    let asked: BTreeSet<_> = findings.keys().map(|finding| finding.asked).collect();
    let asked: Vec<_> = asked.into_iter().collect();
    assert_eq!(asked, ["entropy", "monotonic clock", "socket", "thread", "wall clock"]);
}
