//! The article's tutorial holds under any seed, step by step, whatever the latency between pods.

use std::time::Duration;

use hermesh::Call;
use hermesh_tests::for_each_seed;
use hermesh_xds::Cause;

#[test]
fn the_article_holds_under_a_hundred_seeds_and_slow_links() {
    for_each_seed(1..=100, |seed| {
        let latency = Duration::from_millis(1)..=Duration::from_millis(1 + seed % 40);
        let mut mesh = hermesh::mesh().seed(seed).namespace("echo-grpc").latency(latency).start();
        mesh.apply(file("namespace")).apply(file("grpc-echo")).wait_ready().wait_converged();
        for url in ["echo.echo-grpc.svc.cluster.local", "echo", "echo.echo-grpc", "echo.echo-grpc.svc"] {
            let report = mesh.call(Call::new("echo-v1", format!("xds:///{url}:7070")));
            assert!(report.is_ok(), "{report:?}");
        }
        mesh.apply(file("destination-rule-subsets")).apply(file("virtual-service-20-80")).wait_converged();
        assert!(mesh.call(Call::new("echo-v2", "xds:///echo:7070").count(10)).is_ok());

        mesh.apply(file("destination-rule-mtls")).wait_converged();
        let failure = mesh.call(Call::new("echo-v1", "xds:///echo:7070")).failure.expect("one side speaks TLS alone");
        assert_eq!(failure.cause, Some(Cause::TlsHandshake), "{failure:?}");

        mesh.apply(file("peer-authentication-strict")).wait_converged();
        let report = mesh.call(Call::new("echo-v1", "xds:///echo:7070"));
        assert!(report.is_ok(), "{report:?}");
    });
}

fn file(name: &str) -> String {
    format!("{}/../examples/grpc-echo/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}
