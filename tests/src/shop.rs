//! A shop of workloads as people write them: no word about Hermesh, names and images as a test wants them.
//!
//! Each function writes one document with the line that separates it from what stands before, so that they can be
//! strung together.

use std::fmt::Write as _;

/// The namespace `shop`, with injection.
pub const NAMESPACE: &str = "\
---
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {istio-injection: enabled}
";

/// A field of a container: ready as soon as it answers at the port that stands in serve probes at.
pub const PROBED: &str = "readinessProbe: {httpGet: {path: /healthz, port: 8081}}";

/// What has a pod get an agent without Envoy, for which its application waits.
const ANNOTATIONS: [&str; 2] =
    ["inject.istio.io/templates: grpc-agent", "proxy.istio.io/config: '{\"holdApplicationUntilProxyStarts\": true}'"];

/// A Service for the pods with the label `app: <name>`, at port 7070.
#[must_use]
pub fn service(name: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports:
  - {{name: grpc, port: 7070, targetPort: 9000}}
"
    )
}

/// A Deployment of one pod with the labels `app: <name>` and `version: v1`, whose container `server` has the image and
/// the other `fields`.
#[must_use]
pub fn deployment(name: &str, image: &str, fields: &[&str]) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}, version: v1}}
      annotations:
{annotations}    spec:
      containers:
      - name: server
        image: {image}
{fields}",
        annotations = lines("        ", &ANNOTATIONS),
        fields = lines("        ", fields),
    )
}

/// A Pod of its own with the label `app: <app>`, whose container `server` has the image and the other `fields`.
#[must_use]
pub fn pod(name: &str, app: &str, image: &str, fields: &[&str]) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {app}}}
  annotations:
{annotations}spec:
  containers:
  - name: server
    image: {image}
{fields}",
        annotations = lines("    ", &ANNOTATIONS),
        fields = lines("    ", fields),
    )
}

fn lines(indent: &str, lines: &[&str]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{indent}{line}").expect("a string takes any text");
        text
    })
}
