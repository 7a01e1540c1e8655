//! How fast a whole mesh is: Deployments of the echo application with agents, probes, istiod, and traffic by xDS.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use hermesh_runtime::Level;
use hermesh_xds::RpcFinished;
use serde::Serialize;

use super::memory::{peak_rss, rss};
use crate::mesh::{ApplyError, CallError, Fault, Load, Manifests, Mesh, StartError, WaitError, mesh};

/// The pods of a Deployment, of which each has a Service of its own.
const PODS_OF_A_SERVICE: u32 = 10;

/// How long the pods may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(600);

/// What is simulated.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// How many injected pods.
    pub pods: u32,
    /// Simulated time after all of them are ready.
    pub time: Duration,
    /// Calls that each pod makes per second, by xDS to the service after its own; without any there is no client.
    pub rps: u32,
    /// Decides all random choices.
    pub seed: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self { pods: 200, time: Duration::from_secs(60), rps: 1, seed: 1 }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Wall time until all pods were ready, in seconds.
    pub ready_s: f64,
    /// Simulated time until then, in seconds.
    pub ready_simulated_s: f64,
    /// Wall time of the rest, in seconds.
    pub run_s: f64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Events in the trace.
    pub events: u64,
    /// The most memory that the process had beyond what it had before, for each pod, in bytes; `None` where the kernel
    /// does not tell.
    pub rss_per_pod_bytes: Option<u64>,
    /// The trace's digest, in hex.
    pub digest: String,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ready_s, ready_simulated_s, run_s, answered, failed, events, .. } = self;
        writeln!(
            f,
            "wall time    {run_s:.2} s, after {ready_s:.2} s until all were ready ({ready_simulated_s:.1} s simulated)"
        )?;
        writeln!(f, "calls        {answered} answered, {failed} failures")?;
        writeln!(f, "trace        {events} events, digest {}", &self.digest[..16])?;
        match self.rss_per_pod_bytes {
            Some(bytes) => write!(f, "memory       {} KiB a pod at most", bytes >> 10),
            None => write!(f, "memory       unknown here"),
        }
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// The mesh did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its objects were not applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Its pods did not get ready.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// There was no traffic.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It broke.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Runs a mesh on this thread.
///
/// # Errors
/// If it does not come to traffic.
#[expect(clippy::disallowed_methods, reason = "how long a simulation takes in real time is what is measured")]
pub fn run(size: &Size) -> Result<Measurement, MeshError> {
    let before = rss();
    let start = std::time::Instant::now();
    let mut mesh = mesh().namespace("bench").seed(size.seed).level(Level::Info).try_start()?;
    mesh.try_apply(Manifests::text("bench", manifests(size.pods)))?;
    mesh.try_wait_ready(&[], READY_WITHIN)?;
    let (ready_s, ready_simulated_s) = (start.elapsed().as_secs_f64(), mesh.now().as_secs_f64());
    let start = std::time::Instant::now();
    let (answered, failed) = traffic(&mut mesh, size)?;
    let run_s = start.elapsed().as_secs_f64();
    let trace = mesh.finish();
    let grown = peak_rss().zip(before).map(|(peak, before)| peak.saturating_sub(before));
    Ok(Measurement {
        ready_s,
        ready_simulated_s,
        run_s,
        answered,
        failed,
        events: trace.len(),
        rss_per_pod_bytes: grown.map(|bytes| bytes / u64::from(size.pods)),
        digest: trace.digest_hex(),
    })
}

/// Has every pod call the next service for the time that is asked for; answers with how many calls succeeded and how
/// many failed.
fn traffic(mesh: &mut Mesh, size: &Size) -> Result<(u64, u64), MeshError> {
    if size.rps > 0 {
        for pod in 0..size.pods {
            let (own, ordinal) = (pod / PODS_OF_A_SERVICE, pod % PODS_OF_A_SERVICE);
            let next = (own + 1) % services(size.pods);
            let load = Load::new(format!("app-{own}/{ordinal}"), format!("xds:///app-{next}:7070"));
            mesh.try_load(load.name(format!("pod-{pod}")).qps(size.rps))?;
        }
    }
    mesh.try_run_for(size.time)?;
    let (mut answered, mut failed) = (0, 0);
    mesh.with_trace(|trace| {
        for (_, rpc) in trace.of::<RpcFinished>() {
            *(if rpc.code == "Ok" { &mut answered } else { &mut failed }) += 1;
        }
    });
    Ok((answered, failed))
}

fn services(pods: u32) -> u32 {
    pods.div_ceil(PODS_OF_A_SERVICE)
}

/// Services and Deployments in a namespace of their own, each as the article has its echo application.
fn manifests(pods: u32) -> String {
    let mut text = "apiVersion: v1
kind: Namespace
metadata: {name: bench, labels: {istio-injection: enabled}}
"
    .to_owned();
    for service in 0..services(pods) {
        let replicas = PODS_OF_A_SERVICE.min(pods - service * PODS_OF_A_SERVICE);
        let name = format!("app-{service}");
        write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports:
  - {{name: grpc, port: 7070, targetPort: 17070}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}, version: v1}}
      annotations:
        inject.istio.io/templates: grpc-agent
        proxy.istio.io/config: '{{\"holdApplicationUntilProxyStarts\": true}}'
    spec:
      containers:
      - name: app
        image: registry.istio.io/testing/app:latest
        args: [--xds-grpc-server=17070, --grpc, \"17070\", --grpc, \"17171\", --port, \"8080\", --tcp, \"3333\"]
        readinessProbe:
          httpGet: {{path: /, port: 8080}}
          initialDelaySeconds: 1
          periodSeconds: 2
          failureThreshold: 10
        livenessProbe:
          tcpSocket: {{port: 3333}}
          initialDelaySeconds: 10
          periodSeconds: 10
"
        )
        .expect("a string takes what is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_calls_and_the_same_size_gives_the_same_trace() {
        let size = Size { pods: 12, time: Duration::from_secs(5), ..Size::default() };
        let measured = run(&size).unwrap();
        assert_eq!(measured.failed, 0);
        // Each pod's first call waits for the configuration, its last may be under way.
        assert!((4 * 12..=5 * 12).contains(&measured.answered), "{measured:?}");
        assert_eq!(run(&size).unwrap().digest, measured.digest);
    }

    #[test]
    fn without_calls_there_is_no_traffic() {
        let size = Size { pods: 2, time: Duration::from_secs(5), rps: 0, ..Size::default() };
        let measured = run(&size).unwrap();
        assert_eq!((measured.answered, measured.failed), (0, 0));
    }
}
