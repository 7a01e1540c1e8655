//! The echo application on the operating system's sockets.

use std::process::ExitCode;

use hermesh_runtime::os::Program;

const HELP: &str = concat!(
    "hermesh-echo ",
    env!("CARGO_PKG_VERSION"),
    "
The echo application of Istio's tests: EchoTestService with Echo and ForwardEcho over gRPC, with and without xDS, and
the same over HTTP and TCP.

Usage: hermesh-echo [FLAGS]

  --port PORT,...              HTTP/1.1 and h2c                          [default: 8080]
  --grpc PORT,...              gRPC                                      [default: 7070]
  --tcp PORT,...               TCP                                       [default: 9090]
  --xds-grpc-server PORT,...   which gRPC ports take their configuration from xDS
  --metrics PORT               counters for Prometheus
  --version TEXT, --cluster TEXT, --istio-version TEXT      what it tells callers of itself
  --bind-ip, --bind-localhost  bind the pod's addresses, or loopback, instead of all

Flags with PORT may be repeated. The environment:
  INSTANCE_IP, INSTANCE_IPS    the pod's addresses
  GRPC_XDS_BOOTSTRAP           the gRPC bootstrap, for `xds:///` targets and --xds-grpc-server
  EXPOSE_GRPC_ADMIN            `true` to serve the status of its xDS clients (CSDS) on gRPC ports
  HERMESH_LOG                  off, info, debug or wire: which events are written to standard error  [default: info]
  HERMESH_LOG_FORMAT           text or json                                                          [default: text]

Exit codes: 0 after SIGTERM, 255 anything else, as Istio's echo; the last line says what.
"
);

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program { name: "hermesh-echo", help: HELP, failure: 255 };
    program.run(hermesh_echo::run).await
}
