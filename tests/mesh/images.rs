//! Images: the built-in stand-in, the user's own functions, and what becomes of those that fail.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermesh::engine::Exit;
use hermesh::{Call, Fault, Images, Mesh, MeshBuilder, Process, WaitError, image};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_tests::shop;

/// A Service and its Deployment.
fn workload(name: &str, image: &str) -> String {
    shop::service(name) + &shop::deployment(name, image, &[shop::PROBED])
}

fn start(builder: MeshBuilder) -> Mesh {
    let mut mesh = builder.seed(7).namespace("shop").start();
    mesh.apply(shop::NAMESPACE);
    mesh
}

#[test]
fn a_stand_in_serves_what_services_and_probes_expect() {
    let mut mesh = start(hermesh::mesh().image("*", image::stand_in));
    mesh.apply([workload("web", "registry.corp/web:1"), workload("cart", "registry.corp/cart:1")]).wait_ready();
    let report = mesh.call(Call::new("web", "xds:///cart:7070").count(3));
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(report.workloads, [("cart".to_owned(), 3)].into());
    assert!(report.answers.iter().all(|answer| answer.version == "v1"), "{report:#?}");
}

#[test]
fn stand_ins_in_one_pod_do_not_get_in_each_others_way() {
    let mut mesh = start(hermesh::mesh().image("*", image::stand_in));
    let beside = "      - {name: logs, image: \"corp/logs:1\", ports: [{name: health, containerPort: 2020}], \
                  readinessProbe: {httpGet: {port: health}}}\n";
    // The port that Prometheus reads is one that echo would serve by TCP.
    let ports = "  - {name: http-metrics, port: 9090}\n  - {name: http-logs, port: 2020}\n";
    let web = shop::deployment("web", "corp/web:1", &[shop::PROBED]);
    mesh.apply(shop::service("web") + ports + &web + beside).wait_ready();
    for port in [7070, 9090, 2020] {
        let scheme = if port == 7070 { "grpc" } else { "http" };
        let report = mesh.call(Call::new("web", format!("{scheme}://web:{port}")));
        assert!(report.is_ok(), "{port}: {report:#?}");
    }
}

#[test]
fn a_generated_client_calls_from_inside_a_pod() {
    let mut mesh = start(hermesh::mesh().image("*", image::stand_in));
    mesh.apply(workload("web", "registry.corp/web:1")).wait_ready();
    let answer = mesh.call_with("web", "xds:///web:7070", |channel| async move {
        let request = EchoRequest { message: "ann".to_owned() };
        EchoTestServiceClient::new(channel).echo(request).await.map(tonic::Response::into_inner)
    });
    let message = answer.expect("the server answers").message;
    assert!(message.contains("Echo=ann\n"), "{message}");
}

#[test]
fn a_process_in_a_pod_sees_the_pods_names_addresses_and_files() {
    let mut mesh = start(hermesh::mesh().image("*", image::stand_in));
    mesh.apply(workload("web", "registry.corp/web:1")).wait_ready();
    let (bootstrap, addresses, message) = mesh.run_in("web", |process| async move {
        let rt = process.runtime();
        let path = process.var("GRPC_XDS_BOOTSTRAP").expect("injection sets it");
        let channel = Channel::new(&rt, "web.shop.svc:7070", ChannelOptions::default()).expect("host and port");
        // The stand-in serves xDS there, without TLS: a plain client may call it.
        let request = EchoRequest { message: "ann".to_owned() };
        let answer = EchoTestServiceClient::new(channel).echo(request).await;
        (rt.read(path).await, rt.resolve("web").await, answer.map(|answer| answer.into_inner().message))
    });
    assert!(String::from_utf8_lossy(&bootstrap.unwrap()).contains("unix:///etc/istio/proxy/XDS"));
    assert_eq!(addresses.unwrap().len(), 1);
    assert!(message.unwrap().contains("Echo=ann\n"));
}

#[test]
fn a_process_that_panics_is_an_error_with_its_words() {
    let mut mesh = start(hermesh::mesh().image("*", image::stand_in));
    mesh.apply(workload("web", "registry.corp/web:1")).wait_ready();
    let error = mesh.try_run_in("web", |process| async move { assert_eq!(process.args(), ["--loud"]) }).unwrap_err();
    assert!(error.to_string().contains("--loud"), "{error}");
}

/// What the manifest below gives to its container: of its own, of a ConfigMap, and of what the cluster knows.
const CONFIGURED: &str = r#"
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  mode: quiet
  greeting.txt: |
    Hello
  unused: "1"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {inject.istio.io/templates: grpc-agent}
    spec:
      containers:
      - name: server
        image: registry.corp/web:1
        command: [serve, --mode=$(MODE)]
        args: ["--port", "9000"]
        env:
        - {name: MODE, valueFrom: {configMapKeyRef: {name: settings, key: mode}}}
        - {name: PLAIN, value: "in $(MODE) mode"}
        - {name: WHERE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        volumeMounts:
        - {name: settings, mountPath: /etc/web, readOnly: true}
        - {name: scratch, mountPath: /scratch}
      - name: neighbour
        image: registry.corp/neighbour:1
        volumeMounts: [{name: scratch, mountPath: /shared}]
      volumes:
      - {name: settings, configMap: {name: settings, items: [{key: greeting.txt, path: texts/greeting}]}}
      - {name: scratch, emptyDir: {}}
"#;

/// Arguments, variables and files.
type Start = (Vec<String>, [String; 4], Vec<PathBuf>);

/// What the containers of [`CONFIGURED`] found.
#[derive(Clone, Default)]
struct Found {
    /// By the server, each time it starts.
    starts: Arc<Mutex<Vec<Start>>>,
    /// By its neighbour: each text that was shared with it.
    texts: Arc<Mutex<Vec<String>>>,
}

impl Found {
    async fn server(self, p: Process) {
        let rt = p.runtime();
        let vars = ["MODE", "PLAIN", "WHERE", "NONE"].map(|name| p.var(name).unwrap_or_default());
        let files = rt.list("/etc/web/texts").await.unwrap();
        self.starts.lock().unwrap().push((p.args(), vars, files));
        loop {
            let greeting = rt.read("/etc/web/texts/greeting").await.unwrap();
            rt.write_atomic("/scratch/greeting", greeting, 0o644).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn neighbour(self, p: Process) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Ok(text) = p.runtime().read("/shared/greeting").await else { continue };
            let text = String::from_utf8(text.to_vec()).unwrap();
            let mut texts = self.texts.lock().unwrap();
            if texts.last() != Some(&text) {
                texts.push(text);
            }
        }
    }
}

#[test]
fn an_image_has_the_arguments_environment_and_volumes_of_its_container() {
    let found = Found::default();
    let (server, neighbour) = (found.clone(), found.clone());
    let mesh = hermesh::mesh()
        .image("registry.corp/web:*", move |p| server.clone().server(p))
        .image("registry.corp/neighbour:*", move |p| neighbour.clone().neighbour(p));
    let mut mesh = start(mesh);
    mesh.apply(CONFIGURED).wait_ready().run_for(Duration::from_secs(10));
    let args = ["--mode=quiet", "--port", "9000"].map(str::to_owned);
    let vars = ["quiet", "in quiet mode", "shop", ""].map(str::to_owned);
    let start = (args.to_vec(), vars, vec![PathBuf::from("/etc/web/texts/greeting")]);
    assert_eq!(*found.starts.lock().unwrap(), [start]);
    assert_eq!(*found.texts.lock().unwrap(), ["Hello\n"]);

    mesh.apply(CONFIGURED.replace("    Hello", "    Ahoy")).run_for(Duration::from_secs(120));
    assert_eq!(*found.texts.lock().unwrap(), ["Hello\n", "Ahoy\n"], "the kubelet has put the new text there");
    assert_eq!(found.starts.lock().unwrap().len(), 1, "and the server has not been started again");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that is what is caught")]
fn an_image_that_leaves_the_simulation_ends_the_run_and_is_told_what_to_do_instead() {
    let mut mesh = start(hermesh::mesh().image("*", |_| async {
        tokio::spawn(std::future::pending::<()>());
        std::future::pending::<()>().await;
    }));
    let error =
        mesh.apply(workload("web", "registry.corp/web:1")).try_wait_ready(&[], Duration::from_secs(30)).unwrap_err();
    let WaitError::Fault(Fault::LeftSimulation { container, message }) = &error else { panic!("{error}") };
    assert!(container.starts_with("shop/web-") && container.ends_with("/server"), "{container}");
    assert!(message.contains("tokio::spawn") && message.contains("hermesh::spawn"), "{message}");
    assert!(error.to_string().contains("/server left the simulation: a task was started"), "{error}");
    assert_eq!(mesh.crashes(), [], "it is no crash as users have them");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that is what is caught")]
fn a_client_that_leaves_the_simulation_is_told_what_to_do_instead() {
    let mut mesh = start(hermesh::mesh().image("*", image::stand_in));
    mesh.apply(workload("web", "registry.corp/web:1")).wait_ready();
    let connect = |_| async { tokio::net::TcpStream::connect(("10.0.0.1", 1)).await.map(drop) };
    let error = mesh.try_run_in("web", connect).unwrap_err().to_string();
    assert!(error.contains("tokio::net") && error.contains("hermesh_runtime::channel::Channel"), "{error}");
}

#[test]
fn an_image_that_fails_backs_off_longer_each_time() {
    let mut mesh = start(hermesh::mesh().image("*", |_| async { Exit::code(3) }));
    mesh.apply(workload("web", "registry.corp/web:1"));
    mesh.run_for(Duration::from_secs(90));
    let pods = mesh.get_pods();
    let row = &pods.rows[0];
    // At once, after 10 s, after 20 s, after 40 s.
    assert_eq!((row.status.as_str(), row.restarts, row.ready.as_str()), ("CrashLoopBackOff", 4, "1/2"), "{pods}");
    let error = mesh.try_wait_ready(&["web"], Duration::from_secs(1)).unwrap_err();
    let WaitError::Timeout { missing, .. } = &error else { panic!("{error}") };
    assert!(missing[0].contains("CrashLoopBackOff"), "{error}");
}

#[test]
fn a_panic_in_a_users_image_is_a_crash_with_status_101_and_is_told() {
    let mut mesh = start(hermesh::mesh().image("*", |process| async move {
        let hostname = process.runtime().hostname();
        assert!(hostname.is_empty(), "no config in {hostname}");
    }));
    mesh.apply(workload("web", "registry.corp/web:1"));
    mesh.run_for(Duration::from_secs(6));
    let crashes = mesh.crashes();
    assert!(crashes[0].container.ends_with("/server"), "{crashes:?}");
    assert!(crashes[0].message.starts_with("no config in web-"), "{crashes:?}");
    let recorded = mesh.with_trace(|trace| trace.get(crashes[0].event.unwrap()).unwrap().to_json());
    assert!(recorded.contains("\"code\":101"), "{recorded}");
}

#[test]
fn an_image_that_nobody_plays_is_refused_with_those_there_are() {
    let mut mesh = start(hermesh::mesh().images(Images::new().add("registry.corp/cart:*", image::stand_in)));
    let error = mesh.try_apply(workload("web", "registry.corp/web:1")).unwrap_err().to_string();
    assert!(error.contains("no image `registry.corp/web:1`"), "{error}");
    assert!(
        error.contains("registry.corp/cart:*") && error.contains("spec.template.spec.containers[0].image"),
        "{error}"
    );
    assert_eq!(mesh.get_pods().rows, []);
}

#[test]
fn a_pod_that_would_get_envoy_is_worth_a_warning() {
    let mut mesh = start(hermesh::mesh().image("*", image::stand_in));
    let manifest = workload("web", "registry.corp/web:1").replace("inject.istio.io/templates: grpc-agent", "a: b");
    let applied = mesh.try_apply(manifest).unwrap();
    let warning = applied.notes.iter().find(|note| note.message.contains("Envoy")).expect("a warning");
    assert!(warning.to_string().starts_with("inline:"), "{warning}");
    mesh.wait_ready();
    assert_eq!(mesh.get_pods().rows[0].ready, "1/1");
}
