//! A `Host` header among those of `ForwardEcho` is the authority of its calls, as grpc-go's `WithAuthority` sets it: it
//! chooses the virtual host, and the server sees it.

use hermesh::Call;
use hermesh_tests::manifests::{self, TARGET};

#[test]
fn the_host_header_chooses_the_virtual_host_and_reaches_the_server() {
    let mut mesh = hermesh::mesh().seed(1).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1"])).wait_ready().wait_converged();
    let report = mesh.call(Call::new("echo-v1", TARGET).header("Host", "echo.echo-grpc.svc"));
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(report.grep("body] Host="), ["[0 body] Host=echo.echo-grpc.svc"]);

    let report = mesh.call(Call::new("echo-v1", TARGET).header("Host", "elsewhere.example.com"));
    assert!(!report.is_ok(), "no virtual host has that domain: {report:?}");
}
