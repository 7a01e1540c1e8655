//! Mutual TLS and HTTP/2 over the simulated network, byte for byte the same each time.

use std::time::Duration;

use hermesh::bench::sim::{Load, Measurement, run};
use hermesh_runtime::Level;

fn load(seed: u64) -> Load {
    Load { pods: 6, time: Duration::from_secs(5), connections: 2, rps: 20, seed, level: Level::Wire }
}

/// Wall time and memory aside.
fn outcome(measured: Measurement) -> (u64, u64, u64, String) {
    (measured.connections, measured.answered, measured.failed, measured.digest)
}

#[test]
fn pods_call_one_another_over_mutual_tls() {
    let (connections, answered, failed, _) = outcome(run(&load(1)).unwrap());
    assert_eq!((connections, failed), (12, 0));
    assert!(answered > 400, "{answered}");
}

#[test]
fn every_ciphertext_byte_follows_from_the_seed() {
    let alone = outcome(run(&load(1)).unwrap());
    #[expect(clippy::disallowed_methods, reason = "that threads do not matter is what is tested")]
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| outcome(run(&load(1)).unwrap()))).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), alone);
    }
    assert_ne!(outcome(run(&load(2)).unwrap()).3, alone.3);
}
