//! Manifests as people ship them, with as many versions of the echo application as a test wants.

use std::fmt::Write as _;

/// The namespace of everything here; injected.
pub const NAMESPACE: &str = "echo-grpc";

/// The Service's fully qualified name.
pub const HOST: &str = "echo.echo-grpc.svc.cluster.local";

/// What a client of the Service dials.
pub const TARGET: &str = "xds:///echo.echo-grpc.svc.cluster.local:7070";

/// The namespace, the Service `echo`, and a Deployment `echo-<version>` for each version.
#[must_use]
pub fn echo(versions: &[&str]) -> String {
    versions.iter().fold(NAMESPACE_AND_SERVICE.to_owned(), |text, version| {
        text + &deployment(&format!("echo-{version}"), &[("version", version)], true)
    })
}

/// A Deployment of one pod of the echo application behind the Service `echo`, with more labels than `app: echo`, whose
/// application waits for the agent if `hold`.
#[must_use]
pub fn deployment(name: &str, labels: &[(&str, &str)], hold: bool) -> String {
    let version = labels.iter().find(|(key, _)| *key == "version").map_or("", |(_, value)| value);
    let list = |indent: &str| {
        labels.iter().fold(format!("{indent}app: echo\n{indent}workload: {name}\n"), |mut text, (key, value)| {
            writeln!(text, "{indent}{key}: {value}").expect("a string takes any text");
            text
        })
    };
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  selector:
    matchLabels:
{selector}  template:
    metadata:
      labels:
{labels}      annotations:
        inject.istio.io/templates: grpc-agent
        proxy.istio.io/config: '{{\"holdApplicationUntilProxyStarts\": {hold}}}'
    spec:
      containers:
      - name: app
        image: registry.istio.io/testing/app:latest
        args:
        - --xds-grpc-server=17070
        - --grpc=17070
        - --grpc=17171
        - --port=8080
        - --port=3333
        - --version={version}
        env:
        - name: INSTANCE_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        ports:
        - containerPort: 17070
        - containerPort: 17171
        - containerPort: 8080
        - containerPort: 3333
        readinessProbe:
          httpGet:
            path: /
            port: 8080
          initialDelaySeconds: 1
          periodSeconds: 2
          failureThreshold: 10
",
        selector = list("      "),
        labels = list("        "),
    )
}

/// A DestinationRule `echo-versions` with a subset for each pair of a name and the labels that select it.
#[must_use]
pub fn subsets(subsets: &[(&str, &[(&str, &str)])]) -> String {
    let mut text = format!("{}  subsets:\n", destination_rule("echo-versions"));
    for (name, labels) in subsets {
        writeln!(text, "  - name: {name}").expect("a string takes any text");
        if !labels.is_empty() {
            text.push_str("    labels:\n");
        }
        for (key, value) in *labels {
            writeln!(text, "      {key}: {value}").expect("a string takes any text");
        }
    }
    text
}

/// A DestinationRule `echo-mtls` with this TLS mode.
#[must_use]
pub fn client_tls(mode: &str) -> String {
    format!("{}  trafficPolicy:\n    tls:\n      mode: {mode}\n", destination_rule("echo-mtls"))
}

/// A PeerAuthentication `default` for the namespace with this mode.
#[must_use]
pub fn server_tls(mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata:
  name: default
  namespace: {NAMESPACE}
spec:
  mtls:
    mode: {mode}
"
    )
}

/// A VirtualService `echo-routes` with these `http` rules, each written at no indentation.
#[must_use]
pub fn virtual_service(http: &str) -> String {
    let http: String = http.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: echo-routes
  namespace: {NAMESPACE}
spec:
  hosts:
  - {HOST}
  http:
{http}"
    )
}

/// One `http` rule that splits calls between subsets by weight.
#[must_use]
pub fn split(weights: &[(&str, u32)]) -> String {
    weights.iter().fold("- route:\n".to_owned(), |text, (subset, weight)| {
        text + &format!("  - destination:\n      host: {HOST}\n      subset: {subset}\n    weight: {weight}\n")
    })
}

fn destination_rule(name: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  host: {HOST}
"
    )
}

const NAMESPACE_AND_SERVICE: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: echo-grpc
  labels:
    istio-injection: enabled
---
apiVersion: v1
kind: Service
metadata:
  name: echo
  namespace: echo-grpc
spec:
  selector:
    app: echo
  ports:
  - name: grpc
    port: 7070
    targetPort: 17070
";
