//! Same seed, same bytes: in a rerun, in another process, among other simulations. Traces here hold a digest of every
//! segment on the simulated wire, TLS records included.

#![expect(clippy::disallowed_methods, reason = "runs simulations on threads and in processes of their own")]

use std::process::Command;

use hermesh::Call;
use hermesh_runtime::Level;
use hermesh_tests::manifests::{self, TARGET};

/// Set in the process that [`another_process_gives_the_same_trace`] starts.
const CHILD: &str = "HERMESH_TEST_PRINT_DIGEST";

#[test]
fn a_rerun_gives_the_same_trace() {
    assert_eq!(digest(7), digest(7));
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(digest(7), digest(8));
}

#[test]
fn eight_simulations_side_by_side_give_the_trace_of_one_alone() {
    let alone = digest(7);
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| digest(7))).collect();
    for thread in threads {
        assert_eq!(thread.join().expect("the simulation ends well"), alone);
    }
}

#[test]
fn another_process_gives_the_same_trace() {
    if std::env::var_os(CHILD).is_some() {
        #[expect(clippy::print_stdout, reason = "the parent reads it")]
        {
            println!("digest={}", digest(7));
        }
        return;
    }
    let this = std::env::current_exe().expect("a test knows its own program");
    let child = Command::new(this)
        .args(["--exact", "determinism::another_process_gives_the_same_trace", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the test program starts again");
    let output = String::from_utf8_lossy(&child.stdout);
    let printed = output.lines().find_map(|line| line.split_once("digest=")).expect("the child prints its digest").1;
    assert_eq!(printed, digest(7));
}

/// A run with something of everything: deployment, a split, mTLS, a killed agent, a restarted istiod, a partition.
fn digest(seed: u64) -> String {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).level(Level::Wire).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready();
    mesh.apply(manifests::subsets(&[("v1", &[("version", "v1")]), ("v2", &[("version", "v2")])]))
        .apply(manifests::virtual_service(&manifests::split(&[("v1", 20), ("v2", 80)])))
        .wait_converged();
    mesh.call(Call::new("echo-v1", TARGET).count(50));
    mesh.apply(manifests::client_tls("ISTIO_MUTUAL")).apply(manifests::server_tls("STRICT")).wait_converged();
    mesh.kill("echo-v2/0/istio-proxy").restart("istiod").partition("echo-v1", "echo-v2");
    mesh.run_for(std::time::Duration::from_secs(3));
    mesh.heal("echo-v1", "echo-v2").wait_ready();
    mesh.call(Call::new("echo-v1", TARGET).count(50));
    let trace = mesh.finish();
    assert!(trace.len() > 1_000, "the trace has {} events", trace.len());
    trace.digest_hex()
}
