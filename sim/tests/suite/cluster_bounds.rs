//! Numbers that no simulation could play are refused at once, where they stand and with what would do.

use hermesh::{ApplyError, Mesh, image};

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
      - name: server
        image: web
        lifecycle:
          preStop:
            sleep: {seconds: 5}
        readinessProbe:
          tcpSocket: {port: 80}
          initialDelaySeconds: 2
          periodSeconds: 3
          timeoutSeconds: 4
          failureThreshold: 6
      volumes:
      - name: token
        projected:
          sources:
          - serviceAccountToken: {path: token, expirationSeconds: 3600}
";

fn start() -> Mesh {
    hermesh::mesh().seed(7).image("*", image::stand_in).start()
}

/// `file:line:column: field: message; help` of all that is refused.
fn refused(mesh: &mut Mesh, yaml: &str) -> Vec<String> {
    match mesh.try_apply(yaml) {
        Err(ApplyError::Refused(errors)) => errors.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_number_is_bounded_where_it_stands() {
    let mut mesh = start();
    for (small, large, expected) in [
        (
            "replicas: 1",
            "replicas: 1000000000",
            "inline:5:13: spec.replicas: 1000000001 pods are more than the 10000 that a simulated cluster holds; \
             there is room for 9999",
        ),
        (
            "PeriodSeconds: 30",
            "PeriodSeconds: 18446744073709551615",
            "inline:11:38: spec.template.spec.terminationGracePeriodSeconds: 18446744073709551615 is too large; write \
             at most 31536000, a year",
        ),
        (
            "seconds: 5",
            "seconds: 31",
            "inline:17:30: spec.template.spec.containers[0].lifecycle.preStop.sleep.seconds: 31 is too large; write at \
             most 30, the pod's terminationGracePeriodSeconds",
        ),
        (
            "initialDelaySeconds: 2",
            "initialDelaySeconds: 31536001",
            "inline:20:32: spec.template.spec.containers[0].readinessProbe.initialDelaySeconds: 31536001 is too \
             large; write at most 31536000, a year",
        ),
        (
            "failureThreshold: 6",
            "failureThreshold: 2147483648",
            "inline:23:29: spec.template.spec.containers[0].readinessProbe.failureThreshold: 2147483648 is out of \
             range; expected 0 to 2147483647",
        ),
        (
            "expirationSeconds: 3600",
            "expirationSeconds: 18446744073709551615",
            "inline:28:67: spec.template.spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: \
             18446744073709551615 is too large; write at most 4294967296, 2^32",
        ),
    ] {
        assert!(DEPLOYMENT.contains(small), "{small}");
        assert_eq!(refused(&mut mesh, &DEPLOYMENT.replace(small, large)), [expected]);
    }
    assert_eq!(mesh.get_pods().rows, [], "nothing of what is refused is there");
}

#[test]
fn the_pods_of_all_workloads_count_together_and_those_replaced_count_once() {
    let mut mesh = start();
    let text = |name: &str, replicas: u32| {
        DEPLOYMENT
            .replace("{name: web}", &format!("{{name: {name}}}"))
            .replace("replicas: 1", &format!("replicas: {replicas}"))
    };
    // istiod is a pod too. Time does not pass, so that none of the pods is made.
    mesh.apply(text("a", 9_000)).apply(text("a", 9_500));
    let errors = refused(&mut mesh, &format!("{}---\n{}", text("b", 400), text("c", 100)));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].ends_with("there is room for 99"), "{}", errors[0]);
    mesh.apply(format!("{}---\n{}", text("b", 400), text("c", 99)));
    mesh.apply(format!("{}---\n{}", text("a", 1), text("c", 9_598)));
}

#[test]
fn two_services_do_not_share_an_address() {
    let mut mesh = start();
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  clusterIP: 10.96.1.2\n  ports: [{{port: 80}}]\n"
        )
    };
    mesh.apply(service("a")).apply(service("a"));
    let errors = refused(&mut mesh, &service("b"));
    assert_eq!(
        errors,
        ["inline:5:14: spec.clusterIP: 10.96.1.2 is the address of Service default/a already; leave it out, and the \
          Service gets one of its own"]
    );
}
