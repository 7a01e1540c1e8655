//! The agent on the operating system's sockets and files.

use std::process::ExitCode;

use hermesh_agent::AgentError;
use hermesh_runtime::os::Program;

const HELP: &str = concat!(
    "hermesh-agent ",
    env!("CARGO_PKG_VERSION"),
    "
The proxyless half of istio-agent: writes an application's gRPC bootstrap, stands between it and istiod as an xDS
proxy on a Unix socket, obtains and rotates its certificate, and says when all that is ready.

Usage: hermesh-agent [proxy sidecar] [--domain DOMAIN] [--meshConfig FILE]

It is told what to do as pilot-agent is in a pod, by the environment and by mounted files:
  POD_NAME, POD_NAMESPACE, SERVICE_ACCOUNT, INSTANCE_IP   who it stands for
  PROXY_CONFIG           ProxyConfig in YAML or JSON, such as {discoveryAddress: \"127.0.0.1:15012\", statusPort: 15020}
  GRPC_XDS_BOOTSTRAP     where the bootstrap goes     [default: /etc/istio/proxy/grpc-bootstrap.json]
  OUTPUT_CERTS           where certificates go; none are asked for without it
  CA_ADDR, ISTIOD_SAN, XDS_ROOT_CA, CA_ROOT_CA, TRUST_DOMAIN, SECRET_TTL, ISTIO_META_*, ISTIO_METAJSON_*
  /var/run/secrets/tokens/istio-token                     the token it shows to istiod
  /var/run/secrets/istio/root-cert.pem                    the root it knows istiod by
  /etc/istio/pod/labels, /etc/istio/pod/annotations       the pod's, in the downward API's form
and by what is Hermesh's own:
  HERMESH_ROOT           the folder that stands for / in all of these paths                         [default: /]
  HERMESH_PROFILE        `istio` repeats istio-agent's known defects                                [default: hermesh]
  HERMESH_LOG            off, info, debug or wire: which events are written to standard error       [default: info]
  HERMESH_LOG_FORMAT     text or json                                                               [default: text]

Ready when GET http://localhost:<statusPort>/healthz/ready answers 200; POST /quitquitquit or SIGTERM ends it.

Exit codes: 0 it was told to end, 255 anything else, as pilot-agent; the last line says what.
"
);

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program { name: "hermesh-agent", help: HELP, failure: AgentError::EXIT_CODE };
    program.run(hermesh_agent::run).await
}
