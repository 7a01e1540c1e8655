//! What the API server or istiod's webhook would refuse, with its place and the remedy.

use hermesh_istiod::objects::{Loaded, Object, load};

fn errors(text: &str) -> Vec<String> {
    let loaded = load("f", text, "default");
    loaded.errors.iter().map(|error| error.to_string().replacen("f:", "", 1)).collect()
}

/// One object from its kind and what follows the metadata.
fn object(kind: &str, rest: &str) -> String {
    let version = match kind {
        "Deployment" | "StatefulSet" => "apps/v1",
        "Job" => "batch/v1",
        "DestinationRule" | "VirtualService" => "networking.istio.io/v1",
        "PeerAuthentication" => "security.istio.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        _ => "v1",
    };
    format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: a\n{rest}")
}

#[track_caller]
fn assert_refused(kind: &str, table: &[(&str, &[&str])]) {
    for (rest, expected) in table {
        assert_eq!(errors(&object(kind, rest)), *expected, "{rest}");
    }
}

#[test]
fn an_object_has_a_version_a_kind_and_a_name() {
    for (text, expected) in [
        ("kind: Service\n", &["1:1: apiVersion: missing; every object needs one, such as `apiVersion: v1`"][..]),
        ("- a\n", &["1:1: expected a Kubernetes or Istio object, a mapping with apiVersion and kind"]),
        ("apiVersion: v1\nkind: Namespace\n", &["1:1: metadata.name: missing; every object needs a name"]),
        (
            "apiVersion: v1\nkind: Servce\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
            &["2:7: kind: no kind \"Servce\" in version \"v1\"; did you mean `Service`?"],
        ),
        (
            "apiVersion: apps/v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
            &["1:13: apiVersion: no kind Service in version \"apps/v1\"; write v1"],
        ),
        (
            "apiVersion: extensions/v1beta1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: 5}\n",
            &[
                "1:13: apiVersion: no kind DestinationRule in version \"extensions/v1beta1\"; write networking.istio.io/v1, networking.istio.io/v1beta1 or networking.istio.io/v1alpha3",
                "4:14: spec.host: expected a string, found a number (5); write it in quotes: \"5\"",
            ],
        ),
        (
            "apiVersion: example.com/v1\nkind: Widget\n",
            &["2:7: kind: no kind \"Widget\" in version \"example.com/v1\""],
        ),
        (
            "apiVersion: apps/v1\nkind: CronJob\n",
            &["2:7: kind: no kind \"CronJob\" in version \"apps/v1\"; is the apiVersion right?"],
        ),
    ] {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn names_and_labels_follow_their_grammars() {
    let table = [
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: A_b\n",
            "4:9: metadata.name: invalid name \"A_b\"; use lower-case letters, digits, dashes and dots, a letter or digit first and last",
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a.b\n",
            "4:9: metadata.name: invalid name \"a.b\"; use up to 63 lower-case letters, digits and inner dashes",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {app: \"a b\"}\n",
            "5:17: metadata.labels.app: invalid label value \"a b\"; use up to 63 letters, digits, dashes, underscores and dots, a letter or digit first and last",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {version: 012}\n",
            "5:21: metadata.labels.version: expected a string, found a number (012); write it in quotes: \"012\"",
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  namespace: b\n",
            "5:14: metadata.namespace: a Namespace has no namespace; leave it out",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors(text), [expected], "{text}");
    }
}

#[test]
fn services_are_checked() {
    assert_refused(
        "Service",
        &[
            ("spec: {}\n", &["5:7: spec.ports: missing; a Service needs at least one port unless it is headless"]),
            (
                "spec:\n  ports:\n  - port: 0\n",
                &["7:11: spec.ports[0].port: port 0 is out of range; expected 1 to 65535"],
            ),
            (
                "spec:\n  ports:\n  - port: 70000\n",
                &["7:11: spec.ports[0].port: port 70000 is out of range; expected 1 to 65535"],
            ),
            ("spec:\n  ports:\n  - name: x\n", &["7:5: spec.ports[0].port: missing; a port from 1 to 65535"]),
            (
                "spec:\n  ports:\n  - port: 80\n  - port: 80\n    name: x\n",
                &[
                    "7:5: spec.ports[0].name: missing; with several ports each needs a name",
                    "8:11: spec.ports[1].port: port 80 is already there",
                ],
            ),
            (
                "spec:\n  ports:\n  - port: 80\n    targetPort: HTTP\n",
                &["8:17: spec.ports[0].targetPort: expected a port from 1 to 65535 or a port's name, found \"HTTP\""],
            ),
            (
                "spec:\n  type: ClusterIp\n  ports: [{port: 80}]\n",
                &[
                    "6:9: spec.type: unknown service type \"ClusterIp\"; expected ClusterIP, NodePort, LoadBalancer or ExternalName; did you mean `ClusterIP`?",
                ],
            ),
            (
                "spec:\n  type: ExternalName\n  externalName: a.b\n",
                &["6:9: spec.type: ExternalName is not supported yet; a real mesh would act on it"],
            ),
            (
                "spec:\n  ports: [{port: 80}]\n  selectors: {a: b}\n",
                &["7:3: spec.selectors: unknown field; did you mean `selector`?"],
            ),
            (
                "spec:\n  clusterIP: none\n  ports: [{port: 80}]\n",
                &["6:14: spec.clusterIP: expected `None` or an IP address, found \"none\""],
            ),
        ],
    );
}

#[test]
fn deployments_are_checked() {
    let good = "template:\n    metadata: {labels: {app: a}}\n    spec:\n      containers:\n      - name: c\n        image: i\n";
    let with =
        |more: &str| object("Deployment", &format!("spec:\n  selector: {{matchLabels: {{app: a}}}}\n  {good}{more}"));
    assert_eq!(errors(&with("")), [""; 0]);
    for (text, expected) in [
        (
            object("Deployment", &format!("spec:\n  selector: {{matchLabels: {{app: b}}}}\n  {good}")),
            "6:27: spec.selector.matchLabels: does not match the template's labels; add `app: b` to spec.template.metadata.labels",
        ),
        (
            object("Deployment", &format!("spec:\n  {good}")),
            "6:3: spec.selector: missing; a Deployment needs the labels of its pods, such as `matchLabels: {app: echo}`",
        ),
        (
            with("        ports: [{containerPort: 0}]\n"),
            "13:33: spec.template.spec.containers[0].ports[0].containerPort: port 0 is out of range; expected 1 to 65535",
        ),
        (
            with("        env: [{name: A, value: 8080}]\n"),
            "13:32: spec.template.spec.containers[0].env[0].value: expected a string, found a number (8080); write it in quotes: \"8080\"",
        ),
        (
            with("        readinessProbe: {periodSeconds: 1}\n"),
            "13:25: spec.template.spec.containers[0].readinessProbe: expected exactly one of httpGet, tcpSocket, exec or grpc",
        ),
        (
            with("        livenessProbe: {tcpSocket: {port: 0}}\n"),
            "13:43: spec.template.spec.containers[0].livenessProbe.tcpSocket.port: port 0 is out of range; expected 1 to 65535",
        ),
        (
            with("        volumeMounts: [{name: data, mountPath: /d}]\n      volumes: [{name: date}]\n"),
            "13:31: spec.template.spec.containers[0].volumeMounts[0].name: the pod has no volume \"data\"; did you mean `date`?",
        ),
        (
            with("        env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIp}}}]\n"),
            "13:60: spec.template.spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: a pod has no field \"status.podIp\" to take a value from; did you mean `status.podIP`?",
        ),
        (
            with("      restartPolicy: Never\n"),
            "13:22: spec.template.spec.restartPolicy: a Deployment's pods always restart; leave it out",
        ),
        (
            with("      hostNetwork: true\n"),
            "13:7: spec.template.spec.hostNetwork: not supported yet; a real mesh would act on it",
        ),
        (
            with("      container: []\n"),
            "13:7: spec.template.spec.container: unknown field; did you mean `containers`?",
        ),
        (
            with("      - name: c\n        image: j\n"),
            "13:15: spec.template.spec.containers[1].name: container \"c\" is already there",
        ),
        (
            with("      - image: j\n"),
            "13:9: spec.template.spec.containers[1].name: missing; every container needs a name",
        ),
        (with("  replicas: -1\n"), "13:13: spec.replicas: -1 is out of range; expected 0 to 2147483647"),
    ] {
        assert_eq!(errors(&text), [expected], "{text}");
    }
}

#[test]
fn init_containers_are_checked() {
    let with = |init: &str| object("Pod", &format!("spec:\n  containers: [{{name: c, image: i}}]\n{init}"));
    assert_eq!(
        errors(&with("  initContainers: [{name: a, image: i}, {name: b, image: i, restartPolicy: Always}]\n")),
        [""; 0]
    );
    for (init, expected) in [
        (
            "  initContainers: [{name: c, image: i}]\n",
            "7:27: spec.initContainers[0].name: container \"c\" is already there",
        ),
        (
            "  initContainers: [{name: a}]\n",
            "7:20: spec.initContainers[0].image: missing; every container needs an image",
        ),
        (
            "  initContainers: [{name: a, image: i, readinessProbe: {tcpSocket: {port: 80}}}]\n",
            "7:56: spec.initContainers[0].readinessProbe: an init container may not have one unless it has `restartPolicy: Always`",
        ),
        (
            "  initContainers: [{name: a, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]\n",
            "7:51: spec.initContainers[0].lifecycle: an init container may not have one unless it has `restartPolicy: Always`",
        ),
        (
            "  initContainers: [{name: a, image: i, restartPolicy: OnFailure}]\n",
            "7:55: spec.initContainers[0].restartPolicy: unknown restart policy \"OnFailure\"; expected Always",
        ),
        (
            "  initContainers: [{name: a, image: i, volumeMounts: [{name: data, mountPath: /d}]}]\n",
            "7:62: spec.initContainers[0].volumeMounts[0].name: the pod has no volume \"data\"",
        ),
    ] {
        assert_eq!(errors(&with(init)), [expected], "{init}");
    }
    let own = object("Pod", "spec:\n  containers: [{name: c, image: i, restartPolicy: Always}]\n");
    let expected = "6:51: spec.containers[0].restartPolicy: only init containers have one of their own; leave it out";
    assert_eq!(errors(&own), [expected]);
}

#[test]
fn stateful_sets_are_checked() {
    let pods = "template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: i, volumeMounts: [{name: data, mountPath: /d}]}]}}";
    let with = |more: &str| {
        object("StatefulSet", &format!("spec:\n  selector: {{matchLabels: {{app: a}}}}\n  {pods}\n{more}"))
    };
    let claim = "  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]\n";
    let whole = with(claim);
    assert_eq!(errors(&whole), [""; 0]);
    let notes: Vec<String> = load("f", &whole, "default").notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "f:8:25: note: spec.volumeClaimTemplates: volumes are empty in every new pod here: what a pod wrote ends with it"
        ]
    );
    for (more, expected) in [
        (String::new(), "7:106: spec.template.spec.containers[0].volumeMounts[0].name: the pod has no volume \"data\""),
        (
            format!("{claim}  serviceName: Web\n"),
            "9:16: spec.serviceName: invalid name \"Web\"; it is the name of a Service",
        ),
        (
            format!("{claim}  podManagementPolicy: Ordered\n"),
            "9:24: spec.podManagementPolicy: unknown pod management policy \"Ordered\"; expected OrderedReady or Parallel",
        ),
        (
            format!("{claim}  updateStrategy: {{type: OnDelete, rollingUpdate: {{partition: 1}}}}\n"),
            "9:51: spec.updateStrategy.rollingUpdate: has no place beside type OnDelete; leave one out",
        ),
        (
            format!("{claim}  updateStrategy: {{rollingUpdate: {{partition: -1}}}}\n"),
            "9:47: spec.updateStrategy.rollingUpdate.partition: -1 is out of range; expected 0 to 2147483647",
        ),
        (
            format!("{claim}  volumeClaimTemplate: []\n"),
            "9:3: spec.volumeClaimTemplate: unknown field; did you mean `volumeClaimTemplates`?",
        ),
    ] {
        assert_eq!(errors(&with(&more)), [expected], "{more}");
    }
    let other = object(
        "StatefulSet",
        "spec:\n  template: {metadata: {labels: {app: a}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}\n",
    );
    let expected = [
        "6:3: spec.selector: missing; a StatefulSet needs the labels of its pods, such as `matchLabels: {app: echo}`",
        "6:66: spec.template.spec.restartPolicy: a StatefulSet's pods always restart; leave it out",
    ];
    assert_eq!(errors(&other), expected);
}

#[test]
fn jobs_are_checked() {
    let with = |policy: &str, more: &str| {
        object("Job", &format!("spec:\n  template: {{spec: {{containers: [{{name: c, image: i}}]{policy}}}}}\n{more}"))
    };
    let never = ", restartPolicy: Never";
    assert_eq!(errors(&with(never, "  backoffLimit: 0\n  completions: 3\n  parallelism: 2\n")), [""; 0]);
    for (text, expected) in [
        (with("", ""), "6:20: spec.template.spec.restartPolicy: a Job's pods come to an end; write OnFailure or Never"),
        (
            with(", restartPolicy: Sometimes", ""),
            "6:71: spec.template.spec.restartPolicy: unknown restart policy \"Sometimes\"; expected Always, OnFailure or Never",
        ),
        (with(never, "  completions: -1\n"), "7:16: spec.completions: -1 is out of range; expected 0 to 2147483647"),
        (with(never, "  completion: 1\n"), "7:3: spec.completion: unknown field; did you mean `completions`?"),
    ] {
        assert_eq!(errors(&text), [expected], "{text}");
    }
    let notes = load("f", &with(never, "  completionMode: Indexed\n  maxFailedIndexes: 9\n"), "default").notes;
    let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "f:7:3: note: spec.completionMode: has no effect here",
            "f:8:3: note: spec.maxFailedIndexes: has no effect here"
        ]
    );
}

#[test]
fn readiness_gates_and_names_of_pods_are_checked() {
    for (field, expected) in [
        (
            "readinessGates: [{conditionType: 'a b'}]",
            "5:76: spec.readinessGates[0].conditionType: invalid or missing condition \"a b\"; write the like of `example.com/registered`",
        ),
        (
            "hostname: Web",
            "5:53: spec.hostname: invalid hostname \"Web\"; use up to 63 lower-case letters, digits and inner dashes",
        ),
        (
            "subdomain: a.b",
            "5:54: spec.subdomain: invalid subdomain \"a.b\"; use up to 63 lower-case letters, digits and inner dashes",
        ),
    ] {
        let text = object("Pod", &format!("spec: {{containers: [{{name: c, image: i}}], {field}}}\n"));
        assert_eq!(errors(&text), [expected]);
    }
}

#[test]
fn destination_rules_are_checked() {
    assert_refused(
        "DestinationRule",
        &[
            ("spec: {}\n", &["5:7: spec.host: missing; which host?"]),
            (
                "spec: {host: \"a b\"}\n",
                &["5:14: spec.host: invalid host \"a b\"; use a DNS name, maybe with a first label `*`"],
            ),
            (
                "spec:\n  host: echo\n  subsets:\n  - labels: {version: v1}\n",
                &["8:5: spec.subsets[0].name: missing; a subset needs a name"],
            ),
            (
                "spec:\n  host: echo\n  trafficPolicy: {tls: {mode: ISTIO_MUTAL}}\n",
                &[
                    "7:31: spec.trafficPolicy.tls.mode: unknown tls mode \"ISTIO_MUTAL\"; expected DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL; did you mean `ISTIO_MUTUAL`?",
                ],
            ),
            (
                "spec:\n  host: echo\n  trafficPolicy: {tls: {mode: MUTUAL}}\n",
                &["7:24: spec.trafficPolicy.tls: MUTUAL needs clientCertificate and privateKey, or a credentialName"],
            ),
            (
                "spec:\n  host: echo\n  trafficPolicy: {loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}\n",
                &["7:33: spec.trafficPolicy.loadBalancer: expected one of simple or consistentHash"],
            ),
            (
                "spec:\n  host: echo\n  trafficPolicy: {loadBalancer: {consistentHash: {ringHash: {minimumRingSize: 5}}}}\n",
                &[
                    "7:50: spec.trafficPolicy.loadBalancer.consistentHash: needs one of httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
                ],
            ),
            (
                "spec:\n  host: echo\n  trafficPolicy: {outlierDetection: {minHealthPercent: 101}}\n",
                &[
                    "7:56: spec.trafficPolicy.outlierDetection.minHealthPercent: expected a percentage from 0 to 100, found 101",
                ],
            ),
            (
                "spec:\n  host: echo\n  trafficPolicy: {connectionPool: {http: {http2MaxRequests: -5}}}\n",
                &[
                    "7:61: spec.trafficPolicy.connectionPool.http.http2MaxRequests: -5 is negative; leave the field out for the default",
                ],
            ),
            (
                "spec:\n  host: echo\n  trafficPolicy: {portLevelSettings: [{port: {number: 0}, tls: {}}]}\n",
                &[
                    "7:55: spec.trafficPolicy.portLevelSettings[0].port.number: port 0 is out of range; expected 1 to 65535",
                ],
            ),
            ("spec:\n  host: echo\n  subset: []\n", &["7:3: spec.subset: unknown field; did you mean `subsets`?"]),
            (
                "spec:\n  host: echo\n  exportTo: [a_b]\n",
                &["7:14: spec.exportTo[0]: expected `.`, `*` or a namespace, found \"a_b\""],
            ),
        ],
    );
}

#[test]
fn virtual_services_are_checked() {
    let route = |weights: [i32; 2]| {
        format!(
            "spec:\n  hosts: [echo]\n  http:\n  - route:\n    - destination: {{host: echo, subset: v1}}\n      weight: {}\n    - destination: {{host: echo, subset: v2}}\n      weight: {}\n",
            weights[0], weights[1]
        )
    };
    let http = |rest: &str| {
        format!("spec:\n  hosts: [echo]\n  http:\n  - route: [{{destination: {{host: echo}}}}]\n    {rest}\n")
    };
    let cases: Vec<(String, Vec<&str>)> = vec![
        (
            "spec: {http: [{route: [{destination: {host: a}}]}]}\n".into(),
            vec![
                "5:7: spec.hosts: missing; a VirtualService needs at least one host, since delegates are not supported yet",
            ],
        ),
        ("spec: {hosts: [echo]}\n".into(), vec!["5:7: spec.http: missing; a VirtualService needs at least one route"]),
        (
            "spec: {hosts: [echo], http: [{timeout: 5s}]}\n".into(),
            vec!["5:30: spec.http[0].route: missing; where do the requests go?"],
        ),
        (route([0, 0]), vec!["9:7: spec.http[0].route: the weights sum to 0; give at least one destination a weight"]),
        (route([-1, 5]), vec!["10:15: spec.http[0].route[0].weight: weight -1 is negative"]),
        (
            "spec: {hosts: [echo], http: [{route: [{destination: {}}]}]}\n".into(),
            vec!["5:53: spec.http[0].route[0].destination.host: missing; which host?"],
        ),
        (
            "spec: {hosts: ['*'], http: [{route: [{destination: {host: a}}]}]}\n".into(),
            vec!["5:16: spec.hosts[0]: `*` would take over all hosts of the mesh; name a gateway or a host"],
        ),
        (http("timeout: 5"), vec!["9:14: spec.http[0].timeout: a duration has a unit; write `5s` for 5 seconds"]),
        (
            http("timeout: .inf"),
            vec!["9:14: spec.http[0].timeout: expected a duration such as `5s` or `100ms`, found \"inf\""],
        ),
        (
            http("timeout: []"),
            vec!["9:14: spec.http[0].timeout: expected a duration such as `5s` or `100ms`, found a list"],
        ),
        (
            http("timeout: 0s"),
            vec![
                "9:14: spec.http[0].timeout: expected at least 1ms, found \"0s\"; leave the field out for its default",
            ],
        ),
        (
            http("fault: {delay: {percentage: {value: 101}}, abort: {grpcStatus: UNAVAILABEL}}"),
            vec![
                "9:41: spec.http[0].fault.delay.percentage.value: expected 0 or a percentage from 0.0001 to 100, found 101",
                "9:68: spec.http[0].fault.abort.grpcStatus: unknown gRPC status \"UNAVAILABEL\"; did you mean `UNAVAILABLE`?",
            ],
        ),
        (
            http("fault: {abort: {httpStatus: 99, percentage: {value: 0.5}}}"),
            vec!["9:33: spec.http[0].fault.abort.httpStatus: expected an HTTP status from 200 to 599, found 99"],
        ),
        (
            http("fault: {abort: {httpStatus: 503, grpcStatus: OK, percentage: {value: 1}}}"),
            vec!["9:20: spec.http[0].fault.abort: expected one of httpStatus or grpcStatus"],
        ),
        (http("fault: {}"), vec!["9:12: spec.http[0].fault: needs a delay or an abort"]),
        (
            http("fault: {delay: {exponentialDelay: 1s, percentage: {value: 5}}}"),
            vec![
                "9:21: spec.http[0].fault.delay.exponentialDelay: istiod refuses this: it is in Istio's API, and no proxy can do it yet",
            ],
        ),
        (
            http("fault: {abort: {http2Error: PROTOCOL_ERROR, percentage: {value: 5}}}"),
            vec![
                "9:21: spec.http[0].fault.abort.http2Error: istiod refuses this: it is in Istio's API, and no proxy can do it yet",
            ],
        ),
        (
            http("delegate: {name: x}"),
            vec!["9:5: spec.http[0].delegate: not supported yet; a real mesh would act on it"],
        ),
        (
            http("retries: {attempts: -1}"),
            vec!["9:25: spec.http[0].retries.attempts: attempts -1 is negative; 0 turns retries off"],
        ),
        (
            http("match: [{uri: {exact: /a, prefix: /b}}]"),
            vec!["9:19: spec.http[0].match[0].uri: expected one of exact, prefix or regex"],
        ),
        (
            http("match: [{headers: {\"a b\": {exact: x}}}]"),
            vec!["9:31: spec.http[0].match[0].headers[\"a b\"]: invalid header name \"a b\""],
        ),
        (
            http("match: [{port: 70000}]"),
            vec!["9:20: spec.http[0].match[0].port: port 70000 is out of range; expected 1 to 65535"],
        ),
        (http("redirect: {uri: /}"), vec!["8:5: spec.http[0]: expected one of route, redirect or directResponse"]),
        (http("retires: {attempts: 3}"), vec!["9:5: spec.http[0].retires: unknown field; did you mean `retries`?"]),
    ];
    for (rest, expected) in cases {
        assert_eq!(errors(&object("VirtualService", &rest)), expected, "{rest}");
    }
    let bad_regex = errors(&object("VirtualService", &http("match: [{uri: {regex: '('}}]")));
    assert!(
        bad_regex[0].starts_with("9:27: spec.http[0].match[0].uri.regex: \"(\" is not a regular expression: "),
        "{bad_regex:?}"
    );
}

#[test]
fn peer_authentications_are_checked() {
    assert_refused(
        "PeerAuthentication",
        &[
            (
                "spec: {mtls: {mode: STRCT}}\n",
                &[
                    "5:21: spec.mtls.mode: unknown mtls mode \"STRCT\"; expected UNSET, DISABLE, PERMISSIVE or STRICT; did you mean `STRICT`?",
                ],
            ),
            (
                "spec: {portLevelMtls: {8080: {mode: STRICT}}}\n",
                &["5:23: spec.portLevelMtls: needs a selector: ports belong to workloads"],
            ),
            (
                "spec: {selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}}}\n",
                &["5:60: spec.portLevelMtls.0: port 0 is out of range; expected 1 to 65535"],
            ),
            (
                "spec: {selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}\n",
                &["5:57: spec.portLevelMtls.http: expected a number as key, found \"http\""],
            ),
        ],
    );
}

#[test]
fn kinds_that_grpc_would_act_on_are_refused_by_name() {
    for (version, kind) in [("networking.istio.io/v1beta1", "Sidecar"), ("gateway.networking.k8s.io/v1", "GRPCRoute")] {
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n");
        assert_eq!(errors(&text), [format!("2:7: kind: {kind} is not supported yet; a real mesh would act on it")]);
    }
    let route = |kind: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: a}}\nspec: {{parentRefs: [{{kind: {kind}, name: x}}]}}\n"
        )
    };
    assert_eq!(errors(&route("Gateway")).len(), 0);
    assert_eq!(errors(&route("Service")).len(), 1);
}

#[test]
fn all_mistakes_of_a_file_are_found_in_one_pass() {
    let text = [
        object("Service", "spec: {ports: []}\n"),
        object("DestinationRule", "spec: {}\nspce: {}\n"),
        object("ConfigMap", "data: {a: b}\n"),
    ]
    .join("---\n");
    let Loaded { objects, errors, .. } = load("all.yaml", &text, "default");
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "all.yaml:5:15: spec.ports: missing; a Service needs at least one port unless it is headless",
            "all.yaml:11:7: spec.host: missing; which host?",
            "all.yaml:12:1: spce: unknown field; did you mean `spec`?",
        ]
    );
    assert_eq!(errors[0].location.object.as_deref(), Some("Service default/a"));
    assert_eq!(objects.iter().map(Object::key).map(|key| key.to_string()).collect::<Vec<_>>(), ["ConfigMap default/a"]);
}

/// Of a DestinationRule with this `localityLbSetting`.
fn setting(setting: &str) -> Vec<String> {
    let rest = format!(
        "spec:\n  host: a\n  trafficPolicy: {{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {setting}}}}}\n"
    );
    let errors = errors(&object("DestinationRule", &rest));
    let short = |error: &String| error.split_once("localityLbSetting").map_or("", |(_, rest)| rest).to_owned();
    errors.iter().map(short).collect()
}

#[test]
fn settings_of_localities_are_checked() {
    for (text, expected) in [
        ("{}", &[][..]),
        ("{enabled: false}", &[]),
        ("{distribute: [{from: a/b, to: {a/b: 80, \"a/c/*\": 20}}, {from: b, to: {\"*\": 100}}]}", &[]),
        ("{failover: [{from: a, to: b}], failoverPriority: [version]}", &[]),
        ("{failoverPriority: [topology.kubernetes.io/zone, \"version=v1\"]}", &[]),
        (
            "{distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}",
            &[": expected one of distribute or failover"],
        ),
        ("{distribute: [{from: a, to: {b: 50}}]}", &[".distribute[0].to: the shares sum to 50, not to 100"]),
        (
            "{distribute: [{from: a, to: {b: 0, c: 100}}]}",
            &[".distribute[0].to.b: expected a share from 1 to 100, found 0"],
        ),
        (
            "{distribute: [{from: a, to: {b: 50, b/c: 50}}]}",
            &[".distribute[0].to[\"b/c\"]: \"b/c\" overlaps with another locality of this entry"],
        ),
        (
            "{distribute: [{from: \"*\", to: {b: 100}}, {from: a, to: {b: 100}}]}",
            &[".distribute[1].from: \"a\" is covered by an entry before"],
        ),
        (
            "{distribute: [{from: a/b/c/d, to: {b: 100}}]}",
            &[".distribute[0].from: expected `region`, `region/zone` or `region/zone/subzone`, found \"a/b/c/d\""],
        ),
        ("{distribute: [{from: \"*/b\", to: {b: 100}}]}", &[".distribute[0].from: `*` stands last, found \"*/b\""]),
        ("{failover: [{from: a, to: a}]}", &[".failover[0]: a region cannot step in for itself"]),
        ("{failover: [{from: a/b, to: c}]}", &[".failover[0].from: expected a region alone, found \"a/b\""]),
        (
            "{failover: [{from: a, to: b}], failoverPriority: [topology.istio.io/subzone]}",
            &[".failoverPriority[0]: topology.istio.io/subzone is what failover is about; leave one of them out"],
        ),
    ] {
        assert_eq!(setting(text), expected, "{text}");
    }
}
