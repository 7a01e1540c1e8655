//! Pods without a Deployment: whatever is done to workloads is done to them too.

use std::time::Duration;

use hermesh::engine::Exit;
use hermesh::{ApplyError, Call, Mesh, WaitError, image};
use hermesh_tests::shop;

/// A Pod of its own that the Service `web` selects.
fn pod(name: &str, image: &str) -> String {
    shop::pod(name, "web", image, &[shop::PROBED])
}

fn start() -> Mesh {
    let fails = |_| async { Err::<(), _>("no disk") };
    let exits = |_| async { Exit::code(0) };
    let builder = hermesh::mesh().image("fails", fails).image("ends", exits).image("*", image::stand_in);
    let mut mesh = builder.seed(7).namespace("shop").start();
    mesh.apply(shop::NAMESPACE).apply(shop::service("web"));
    mesh
}

#[test]
fn a_pod_is_waited_for_and_calls_and_is_called() {
    let mut mesh = start();
    mesh.apply([pod("web-a", "web"), pod("web-b", "web")]).wait_ready();
    assert!(mesh.get_pods().rows.iter().all(|row| row.ready == "2/2"), "{}", mesh.get_pods());
    for from in ["web-a", "web-b/0", "shop/web-a"] {
        let report = mesh.call(Call::new(from, "xds:///web:7070").count(10).qps(10));
        assert!(report.is_ok(), "{report:#?}");
        let workloads: Vec<&str> = report.workloads.keys().map(String::as_str).collect();
        assert_eq!(workloads, ["web-a", "web-b"]);
    }
}

#[test]
fn a_pod_is_waited_for_by_its_name() {
    let mut mesh = start();
    mesh.apply([pod("web-a", "web"), pod("web-b", "fails")]);
    mesh.try_wait_ready(&["web-a"], Duration::from_secs(60)).unwrap();
    mesh.try_wait_ready(&["shop/web-a/0"], Duration::from_secs(60)).unwrap();
    let error = mesh.try_wait_ready(&[], Duration::from_secs(60)).unwrap_err();
    let WaitError::Timeout { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing.as_slice(), ["web-b is 1/2 CrashLoopBackOff (server: Error, exit code 1)"]);
    let error = mesh.try_wait_ready(&["web-c"], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.starts_with("workload `web-c` does not exist; did you mean `web-"), "{error}");
}

#[test]
fn a_pod_is_killed_restarted_and_cut_off_like_any_other() {
    let mut mesh = start();
    mesh.apply([pod("web-a", "web"), pod("web-b", "web")]).wait_ready();
    mesh.kill("web-a/0/server").run_for(Duration::from_secs(1));
    assert_eq!(mesh.get_pods().rows[0].ready, "1/2", "{}", mesh.get_pods());
    mesh.wait_ready();
    mesh.restart("web-b").run_for(Duration::from_secs(1));
    mesh.wait_ready();
    assert_eq!(mesh.get_pods().rows.iter().map(|row| row.restarts).collect::<Vec<_>>(), [1, 2], "{}", mesh.get_pods());

    mesh.partition("web-a", "web-b");
    let cut = mesh.call(Call::new("web-a", "xds:///web:7070").count(5).qps(10));
    assert_eq!(cut.workloads, [("web-a".to_owned(), 5)].into(), "{cut:#?}");
    mesh.heal("web-a", "web-b");
}

#[test]
fn a_pod_that_has_run_to_its_end_is_waited_for_only_by_name() {
    let mut mesh = start();
    let job = pod("job", "ends").replace("spec:\n", "spec:\n  restartPolicy: Never\n");
    let job = job.replace("    inject.istio.io/templates: grpc-agent\n", "    sidecar.istio.io/inject: 'false'\n");
    mesh.apply([job, pod("web-a", "web")]).wait_ready();
    assert_eq!(mesh.get_pods().rows[0].status, "Completed", "{}", mesh.get_pods());
    assert_eq!(mesh.get_pods().rows[0].exits["server"].code, 0);
    let error = mesh.try_wait_ready(&["job"], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.ends_with("job is 0/1 Completed (server: Completed, exit code 0)"), "{error}");
}

#[test]
fn a_container_that_is_to_start_again_has_not_failed_its_pod() {
    let mut mesh = start();
    let retried = pod("web-a", "fails").replace("spec:\n", "spec:\n  restartPolicy: OnFailure\n");
    mesh.apply(retried.replace("inject.istio.io/templates: grpc-agent", "sidecar.istio.io/inject: 'false'"));
    for _ in 0..100 {
        mesh.run_for(Duration::from_millis(100));
        let pods = mesh.get_pods();
        assert_ne!(pods.rows[0].status, "Failed", "{pods}");
    }
    assert_eq!(mesh.get_pods().rows[0].exits["server"].reason, "Error");
}

#[test]
fn a_pod_applied_again_stays_as_it_is_and_its_spec_does_not_change() {
    let mut mesh = start();
    mesh.apply(pod("web-a", "web")).wait_ready();
    let again = mesh.try_apply(pod("web-a", "web")).unwrap();
    assert_eq!(again.objects[0].1.as_str(), "unchanged");
    let labelled = mesh.try_apply(pod("web-a", "web").replace("{app: web}", "{app: web, tier: front}")).unwrap();
    assert_eq!(labelled.objects[0].1.as_str(), "configured");
    mesh.wait_ready();
    assert_eq!((mesh.get_pods().rows[0].ready.as_str(), mesh.get_pods().rows[0].restarts), ("2/2", 0));

    let error = mesh.try_apply(pod("web-a", "other")).unwrap_err();
    let ApplyError::Refused(errors) = error else { panic!("{error}") };
    assert_eq!(errors[0].location.field.as_deref(), Some("spec"));
    assert!(errors[0].to_string().contains("delete the Pod first"), "{}", errors[0]);
    mesh.delete(pod("web-a", "web")).run_for(Duration::from_secs(40));
    mesh.apply(pod("web-a", "other")).wait_ready();
}
