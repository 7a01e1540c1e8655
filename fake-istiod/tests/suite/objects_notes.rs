//! What is accepted and does not mean what it says.

use hermesh_istiod::node::Node;
use hermesh_istiod::objects::{Object, VolumeSource, load};
use hermesh_istiod::snapshot::{Mesh, Snapshot};
use hermesh_istiod::translate;
use proptest::prelude::*;

fn notes(text: &str) -> Vec<String> {
    let loaded = load("f", text, "default");
    assert_eq!(loaded.errors, []);
    loaded.notes.iter().map(|note| note.to_string().replacen("f:", "", 1)).collect()
}

fn rule(spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec:\n{spec}")
}

#[test]
fn the_article_s_manifests_have_nothing_unexpected() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo/");
    #[expect(clippy::disallowed_methods, reason = "test data is no business of the Runtime")]
    let read = |file: &str| std::fs::read_to_string(format!("{folder}{file}")).unwrap();
    for (file, objects) in [
        ("namespace.yaml", 1),
        ("destination-rule-subsets.yaml", 1),
        ("virtual-service-20-80.yaml", 1),
        ("destination-rule-mtls.yaml", 1),
        ("peer-authentication-strict.yaml", 1),
    ] {
        let loaded = load(file, &read(file), "default");
        assert_eq!((loaded.errors, loaded.notes, loaded.objects.len()), (vec![], vec![], objects), "{file}");
    }
    let echo = load("grpc-echo.yaml", &read("grpc-echo.yaml"), "default");
    let notes: Vec<String> = echo.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "grpc-echo.yaml:47:9: note: spec.template.spec.containers[0].imagePullPolicy: has no effect here (and 1 more like it)"
        ]
    );
    assert_eq!(echo.objects.len(), 3);
}

#[test]
fn what_kubectl_reads_from_a_cluster_can_be_applied() {
    let text = "\
apiVersion: v1
kind: List
metadata: {resourceVersion: ''}
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    annotations: {deployment.kubernetes.io/revision: '1'}
    creationTimestamp: '2026-01-01T00:00:00Z'
    generation: 1
    labels: {app: echo}
    name: echo
    namespace: echo-grpc
    resourceVersion: '771'
    uid: 5d2c9b1e-0c5e-4b0e-9f5e-3a54d7a2c111
  spec:
    progressDeadlineSeconds: 600
    replicas: 1
    revisionHistoryLimit: 10
    selector: {matchLabels: {app: echo}}
    strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}, type: RollingUpdate}
    template:
      metadata: {creationTimestamp: null, labels: {app: echo}}
      spec:
        containers:
        - image: gcr.io/istio-testing/app:latest
          imagePullPolicy: Always
          name: app
          resources: {}
          terminationMessagePath: /dev/termination-log
          terminationMessagePolicy: File
        dnsPolicy: ClusterFirst
        restartPolicy: Always
        schedulerName: default-scheduler
        securityContext: {}
        serviceAccount: echo
        serviceAccountName: echo
        terminationGracePeriodSeconds: 30
  status:
    availableReplicas: 1
    conditions: [{lastTransitionTime: '2026-01-01T00:00:00Z', status: 'True', type: Available}]
- apiVersion: v1
  kind: Service
  metadata: {creationTimestamp: '2026-01-01T00:00:00Z', name: echo, namespace: echo-grpc, resourceVersion: '8', uid: y}
  spec:
    clusterIP: 10.96.7.7
    clusterIPs: [10.96.7.7]
    internalTrafficPolicy: Cluster
    ipFamilies: [IPv4]
    ipFamilyPolicy: SingleStack
    ports: [{name: grpc, port: 7070, protocol: TCP, targetPort: 17070}]
    selector: {app: echo}
    sessionAffinity: None
    type: ClusterIP
  status: {loadBalancer: {}}
- apiVersion: v1
  kind: Pod
  metadata:
    annotations: {inject.istio.io/templates: grpc-agent}
    creationTimestamp: '2026-01-01T00:00:00Z'
    generateName: echo-7d4b9c6f5-
    labels: {app: echo, pod-template-hash: 7d4b9c6f5}
    name: echo-7d4b9c6f5-x2x4z
    namespace: echo-grpc
    ownerReferences:
    - {apiVersion: apps/v1, blockOwnerDeletion: true, controller: true, kind: ReplicaSet, name: echo-7d4b9c6f5, uid: r}
    resourceVersion: '801'
    uid: 0f8e1a52-1f7b-43c3-8f6a-7a1f0d9b2c33
  spec:
    containers:
    - env:
      - name: INSTANCE_IP
        valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.podIP}}
      - name: GOMAXPROCS
        valueFrom: {resourceFieldRef: {divisor: '0', resource: limits.cpu}}
      image: gcr.io/istio-testing/app:latest
      imagePullPolicy: Always
      livenessProbe: {failureThreshold: 10, periodSeconds: 10, successThreshold: 1, tcpSocket: {port: 3333}, timeoutSeconds: 1}
      name: app
      ports: [{containerPort: 17070, name: grpc, protocol: TCP}]
      readinessProbe:
        failureThreshold: 10
        httpGet: {path: /, port: 8080, scheme: HTTP}
        initialDelaySeconds: 1
        periodSeconds: 2
        successThreshold: 1
        timeoutSeconds: 1
      resources: {}
      terminationMessagePath: /dev/termination-log
      terminationMessagePolicy: File
      volumeMounts:
      - {mountPath: /var/run/secrets/kubernetes.io/serviceaccount, name: kube-api-access-8fj2k, readOnly: true}
    dnsPolicy: ClusterFirst
    enableServiceLinks: true
    nodeName: kind-worker
    preemptionPolicy: PreemptLowerPriority
    priority: 0
    restartPolicy: Always
    schedulerName: default-scheduler
    securityContext: {}
    serviceAccount: echo
    serviceAccountName: echo
    terminationGracePeriodSeconds: 30
    tolerations:
    - {effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}
    - {effect: NoExecute, key: node.kubernetes.io/unreachable, operator: Exists, tolerationSeconds: 300}
    volumes:
    - name: kube-api-access-8fj2k
      projected:
        defaultMode: 420
        sources:
        - serviceAccountToken: {expirationSeconds: 3607, path: token}
        - configMap: {items: [{key: ca.crt, path: ca.crt}], name: kube-root-ca.crt}
        - downwardAPI: {items: [{fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}, path: namespace}]}
  status:
    conditions: [{lastProbeTime: null, lastTransitionTime: '2026-01-01T00:00:00Z', status: 'True', type: Ready}]
    containerStatuses: [{image: app, lastState: {}, name: app, ready: true, restartCount: 0, started: true}]
    phase: Running
    podIP: 10.244.1.7
    podIPs: [{ip: 10.244.1.7}]
    qosClass: BestEffort
";
    let loaded = load("f", text, "default");
    assert_eq!(loaded.errors, []);
    let [Object::Deployment(deployment), Object::Service(_), Object::Pod(pod)] = &loaded.objects[..] else {
        panic!("{loaded:?}")
    };
    assert_eq!(deployment.spec.template.spec.service_account(), "echo");
    assert_eq!((pod.spec.service_account(), pod.spec.node_name.as_deref()), ("echo", Some("kind-worker")));
    let VolumeSource::Projected(token) = &pod.spec.volumes[0].source else { panic!("{pod:?}") };
    assert_eq!((token.sources.len(), pod.spec.containers[0].volume_mounts.len()), (3, 1));
    let noted: Vec<_> = loaded.notes.iter().filter_map(|note| note.location.field.as_deref()).collect();
    assert_eq!(
        noted,
        [
            "metadata.creationTimestamp",
            "metadata.generation",
            "metadata.resourceVersion",
            "metadata.uid",
            "spec.template.spec.containers[0].imagePullPolicy",
            "status",
            "spec.clusterIPs",
            "spec.ipFamilies",
            "status",
            "metadata.generateName",
            "metadata.ownerReferences",
            "spec.containers[0].env[1].valueFrom.resourceFieldRef",
            "status",
        ]
    );
}

#[test]
fn a_service_account_may_be_named_by_its_old_field() {
    let account = |spec: &str| {
        let text = format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{containers: [], {spec}}}}}");
        let loaded = load("f", &text, "default");
        let Some(Object::Pod(pod)) = loaded.objects.first().or_else(|| loaded.broken.first()) else {
            panic!("{loaded:?}")
        };
        pod.spec.service_account().to_owned()
    };
    assert_eq!(account("serviceAccount: old"), "old");
    assert_eq!(account("serviceAccount: old, serviceAccountName: new"), "new");
    assert_eq!(account("serviceAccount: '', serviceAccountName: ''"), "default");
}

#[test]
fn what_hermesh_does_not_model_is_listed_once() {
    let text = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: eA==}}
- {apiVersion: v1, kind: Secret, metadata: {name: b}}
- {apiVersion: batch/v1, kind: CronJob, metadata: {name: c}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: d, uid: x}, imagePullSecrets: [{name: e}]}
";
    assert_eq!(
        notes(text),
        [
            "4:26: note: kind: Secret has no effect here (and 1 more like it)",
            "6:32: note: kind: CronJob has no effect here",
            "7:62: note: metadata.uid: has no effect here",
            "7:71: note: imagePullSecrets: has no effect here",
        ]
    );
}

#[test]
fn values_that_are_treated_as_others_are_noted_where_they_stand() {
    for (text, expected) in [
        (
            rule("  host: a\n  trafficPolicy: {tls: {mode: SIMPLE}}\n"),
            "6:31: note: spec.trafficPolicy.tls.mode: istiod gives gRPC clients plaintext for SIMPLE, as for DISABLE; only ISTIO_MUTUAL encrypts",
        ),
        (
            rule("  host: a\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n"),
            "6:42: note: spec.trafficPolicy.loadBalancer.simple: istiod gives gRPC clients ROUND_ROBIN instead",
        ),
        (
            "apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec: {mtls: {mode: PERMISSIVE}}\n".into(),
            "4:21: note: spec.mtls.mode: a gRPC server cannot take both: it gets plaintext, or TLS if its pod has the label security.istio.io/tlsMode=istio",
        ),
        (
            "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http:\n  - route: [{destination: {host: a}, weight: 1}, {destination: {host: b}, weight: 2}]\n".into(),
            "7:12: note: spec.http[0].route: the weights sum to 3; Istio takes them as shares of that sum",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http:\n  - {match: [{method: {exact: GET}}], route: [{destination: {host: a}}]}\n".into(),
            "7:23: warning: spec.http[0].match[0].method: gRPC clients match metadata only, never this: no call takes the route",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http:\n  - {match: [{headers: {x-bin: {exact: a}}}], route: [{destination: {host: a}}]}\n".into(),
            "7:32: warning: spec.http[0].match[0].headers.x-bin: gRPC clients keep binary metadata (-bin) out of routing: no call takes the route",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {debug: no}\n".into(),
            "4:15: warning: data.debug: `no` is a string here, but kubectl reads YAML 1.1 and takes it for `false`; write it in quotes: \"no\"",
        ),
    ] {
        assert_eq!(notes(&text), [expected]);
    }
}

#[test]
fn objects_without_a_namespace_get_the_default_one() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: d}\n";
    let keys: Vec<String> = load("f", text, "shop").objects.iter().map(|object| object.key().to_string()).collect();
    assert_eq!(keys, ["ConfigMap shop/a", "Namespace b", "ConfigMap d/c"]);
}

#[test]
fn references_to_what_is_not_there_are_warnings_with_their_place() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: ns}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: versions, namespace: ns}
spec: {host: echo, subsets: [{name: stable, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: weights, namespace: ns}
spec:
  hosts: [echo]
  http:
  - route:
    - {destination: {host: ecco}, weight: 50}
    - {destination: {host: echo, subset: stabel}, weight: 50}
    - {destination: {host: echo, subset: stable}, weight: 0}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: nobody, namespace: ns}
spec: {host: nobody}
";
    let loaded = load("f", text, "default");
    assert_eq!(loaded.errors, []);
    let snapshot = Snapshot::new(Mesh::default(), loaded.objects.clone());
    let warnings =
        |object: &Object| translate::dangling(&snapshot, object).iter().map(ToString::to_string).collect::<Vec<_>>();
    let found: Vec<String> = loaded.objects.iter().flat_map(warnings).collect();
    assert_eq!(
        found,
        [
            "f:18:28: warning: spec.http[0].route[0].destination.host: there is no Service ecco.ns.svc.cluster.local; did you mean `echo.ns.svc.cluster.local`?",
            "f:19:42: warning: spec.http[0].route[1].destination.subset: no DestinationRule for echo.ns.svc.cluster.local has a subset \"stabel\"; calls to it will fail; did you mean `stable`?",
            "f:25:14: warning: spec.host: there is no Service nobody.ns.svc.cluster.local",
        ]
    );
}

#[test]
fn an_object_moved_in_its_file_is_no_change() {
    let text = rule("  host: a\n  subsets: [{name: v1}]\n");
    let moved = format!("# a comment\n\n{text}");
    assert_eq!(load("f", &text, "d").objects, load("g", &moved, "d").objects);
    let changed = text.replace("v1}", "v2}");
    assert_ne!(load("f", &text, "d").objects, load("f", &changed, "d").objects);
}

/// The parts of the public surface that a client of the crate needs are Send and Sync.
#[test]
fn snapshots_and_nodes_can_cross_threads() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Snapshot>();
    check::<Node>();
    check::<Object>();
}

proptest! {
    /// Mutated manifests reach every reader and every check behind the parser.
    #[test]
    fn no_manifest_makes_the_loader_panic(cut in any::<prop::sample::Index>(), insert in "[-?:,{}\\[\\]'\" \n0-9a-z*]{0,4}", which in 0_usize..5) {
        let manifests = [
            include_str!("../../../examples/grpc-echo/grpc-echo.yaml"),
            include_str!("../../../examples/grpc-echo/destination-rule-subsets.yaml"),
            include_str!("../../../examples/grpc-echo/destination-rule-mtls.yaml"),
            include_str!("../../../examples/grpc-echo/virtual-service-20-80.yaml"),
            include_str!("../../../examples/grpc-echo/peer-authentication-strict.yaml"),
        ];
        let manifest = manifests[which];
        let cut = cut.index(manifest.len());
        let text = format!("{}{insert}{}", &manifest[..cut], &manifest[cut..]);
        let loaded = load("f", &text, "default");
        let snapshot = Snapshot::new(Mesh::default(), loaded.objects.clone());
        for object in &loaded.objects {
            prop_assert!(translate::dangling(&snapshot, object).len() < 10);
        }
        for error in &loaded.errors {
            prop_assert!(error.location.line as usize <= text.lines().count() + 1, "{error}");
        }
    }
}

#[test]
fn a_fault_without_a_percentage_never_happens() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  \
                http:\n  - fault: {delay: {fixedDelay: 1s}, abort: {httpStatus: 503}}\n    \
                route: [{destination: {host: a}}]\n";
    assert_eq!(
        notes(text),
        [
            "7:20: warning: spec.http[0].fault.delay: without a percentage no call is held back",
            "7:45: warning: spec.http[0].fault.abort: without a percentage no call is aborted",
        ]
    );
}
