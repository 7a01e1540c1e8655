//! Every mistake in an object is reported in one pass, each once and where it stands, and nothing that only follows
//! from another mistake.

use hermesh_istiod::objects::{Object, load};
use proptest::prelude::*;

/// A line of an object. If it can be wrong: how, with a mark where the mistake stands, and what is said of it.
type Line = (&'static str, Option<(&'static str, &'static str)>);

const fn line(good: &'static str) -> Line {
    (good, None)
}

const fn either(good: &'static str, wrong: &'static str, error: &'static str) -> Line {
    (good, Some((wrong, error)))
}

const VIRTUAL_SERVICE: &[Line] = &[
    line("apiVersion: networking.istio.io/v1"),
    line("kind: VirtualService"),
    line("metadata:"),
    line("  name: routes"),
    either("  labels: {app: a}", "  labels: {app: ^5}", "metadata.labels.app: expected a string, found a number (5)"),
    line("spec:"),
    either("  hosts: [echo]", "  hosts: [echo, ^a b]", "spec.hosts[1]: invalid host \"a b\""),
    either("  exportTo: [.]", "  exportTo: [^a_b]", "spec.exportTo[0]: expected `.`, `*` or a namespace"),
    line("  http:"),
    either("  - name: one", "  - ^nmae: one", "spec.http[0].nmae: unknown field; did you mean `name`?"),
    line("    match:"),
    either(
        "    - uri: {prefix: /a}",
        "    - uri: {regex: ^'('}",
        "spec.http[0].match[0].uri.regex: \"(\" is not a regular expression",
    ),
    either(
        "      headers: {user: {exact: x}}",
        "      headers: {user: ^{exact: x, prefix: y}}",
        "spec.http[0].match[0].headers.user: expected one of exact, prefix or regex",
    ),
    either(
        "      withoutHeaders: {a: {exact: b}}",
        "      withoutHeaders: {a: {exact: ^[b]}}",
        "spec.http[0].match[0].withoutHeaders.a.exact: expected a string, found a list",
    ),
    either("      port: 7070", "      port: ^70000", "spec.http[0].match[0].port: port 70000 is out of range"),
    either("    timeout: 5s", "    timeout: ^5", "spec.http[0].timeout: a duration has a unit"),
    line("    retries:"),
    either("      attempts: 3", "      attempts: ^-1", "spec.http[0].retries.attempts: attempts -1 is negative"),
    either(
        "      perTryTimeout: 1s",
        "      perTryTimeout: ^1500us",
        "spec.http[0].retries.perTryTimeout: expected whole milliseconds",
    ),
    line("    route:"),
    either(
        "    - destination: {host: echo, subset: v1}",
        "    - destination: {host: echo, subset: ^1}",
        "spec.http[0].route[0].destination.subset: expected a string",
    ),
    either("      weight: 20", "      weight: ^few", "spec.http[0].route[0].weight: expected a whole number"),
    either(
        "    - destination: {host: echo}",
        "    - destination: {^hots: echo}",
        "spec.http[0].route[1].destination.hots: unknown field; did you mean `host`?",
    ),
    either("      weight: 80", "      weight: ^-80", "spec.http[0].route[1].weight: weight -80 is negative"),
    either("  - redirect: {uri: /}", "  - redirect: ^5", "spec.http[1].redirect: expected a mapping"),
    either(
        "  - directResponse: {status: 404}",
        "  - ^directRespons: {status: 404}",
        "spec.http[2].directRespons: unknown field; did you mean `directResponse`?",
    ),
];

const DESTINATION_RULE: &[Line] = &[
    line("apiVersion: networking.istio.io/v1"),
    line("kind: DestinationRule"),
    line("metadata: {name: a}"),
    line("spec:"),
    either("  host: echo", "  host: ^5", "spec.host: expected a string"),
    line("  trafficPolicy:"),
    either(
        "    tls: {mode: MUTUAL, credentialName: c}",
        "    tls: {mode: MUTUAL, ^credentialNam: c}",
        "spec.trafficPolicy.tls.credentialNam: unknown field; did you mean `credentialName`?",
    ),
    either(
        "    loadBalancer: {simple: RANDOM}",
        "    loadBalancer: {simple: ^LEAST_REQUESTS}",
        "spec.trafficPolicy.loadBalancer.simple: unknown load balancer \"LEAST_REQUESTS\"",
    ),
    either(
        "    connectionPool: {tcp: {}}",
        "    connectionPool: {tcp: ^no}",
        "spec.trafficPolicy.connectionPool.tcp: expected a mapping",
    ),
    line("  subsets:"),
    either("  - name: v1", "  - name: ^v_1", "spec.subsets[0].name: invalid subset name \"v_1\""),
    either(
        "    labels: {version: v1}",
        "    labels: {version: ^1}",
        "spec.subsets[0].labels.version: expected a string",
    ),
    either("  - name: v2", "  - ^namee: v2", "spec.subsets[1].namee: unknown field; did you mean `name`?"),
];

const DEPLOYMENT: &[Line] = &[
    line("apiVersion: apps/v1"),
    line("kind: Deployment"),
    line("metadata: {name: a}"),
    line("spec:"),
    either("  replicas: 1", "  replicas: ^-1", "spec.replicas: -1 is out of range"),
    either("  minReadySeconds: 0", "  minReadySeconds: ^soon", "spec.minReadySeconds: expected a whole number"),
    either(
        "  selector: {matchLabels: {app: a}}",
        "  selector: {^matchExpressions: []}",
        "spec.selector.matchExpressions: not supported yet; write the like of `matchLabels: {app: echo}`",
    ),
    either("  strategy: {type: Recreate}", "  strategy: {type: ^Create}", "spec.strategy.type: unknown strategy type"),
    line("  template:"),
    either(
        "    metadata: {labels: {app: a}}",
        "    metadata: {labels: {app: ^7}}",
        "spec.template.metadata.labels.app: expected a string",
    ),
    line("    spec:"),
    either(
        "      serviceAccountName: x",
        "      serviceAccountName: ^[x]",
        "spec.template.spec.serviceAccountName: expected a string",
    ),
    line("      volumes:"),
    either("      - name: data", "      - name: ^5", "spec.template.spec.volumes[0].name: expected a string"),
    either(
        "        configMap: {name: c}",
        "        configMap: {name: c, optional: ^maybe}",
        "spec.template.spec.volumes[0].configMap.optional: expected `true` or `false`",
    ),
    line("      containers:"),
    either(
        "      - name: app",
        "      - name: ^App",
        "spec.template.spec.containers[0].name: invalid container name \"App\"",
    ),
    either("        image: i", "        image: ^{}", "spec.template.spec.containers[0].image: expected a string"),
    either(
        "        ports: [{containerPort: 80, name: grpc}]",
        "        ports: [{containerPort: ^99999, name: grpc}]",
        "spec.template.spec.containers[0].ports[0].containerPort: port 99999 is out of range",
    ),
    either(
        "        env: [{name: A, value: b}]",
        "        env: [{name: A, value: ^8080}]",
        "spec.template.spec.containers[0].env[0].value: expected a string",
    ),
    either(
        "        volumeMounts: [{name: data, mountPath: /d}]",
        "        volumeMounts: [{name: data, mountPath: /d, ^subPath: x}]",
        "spec.template.spec.containers[0].volumeMounts[0].subPath: not supported yet",
    ),
    either(
        "        readinessProbe: {tcpSocket: {port: 80}}",
        "        readinessProbe: {tcpSocket: {^prot: 80}}",
        "spec.template.spec.containers[0].readinessProbe.tcpSocket.prot: unknown field; did you mean `port`?",
    ),
    either(
        "        livenessProbe: {httpGet: {port: 80}}",
        "        livenessProbe: {httpGet: ^80, periodSeconds: 5}",
        "spec.template.spec.containers[0].livenessProbe.httpGet: expected a mapping",
    ),
    either(
        "        startupProbe: {grpc: {port: 80}}",
        "        startupProbe: ^{grpc: {port: 80}, exec: {command: [a]}}",
        "spec.template.spec.containers[0].startupProbe: expected exactly one of",
    ),
    either(
        "        lifecycle: {preStop: {sleep: {seconds: 5}}}",
        "        lifecycle: {preStop: {^slep: {seconds: 5}}}",
        "spec.template.spec.containers[0].lifecycle.preStop.slep: unknown field; did you mean `sleep`?",
    ),
];

const SERVICE: &[Line] = &[
    line("apiVersion: v1"),
    line("kind: Service"),
    line("metadata: {name: a}"),
    line("spec:"),
    either("  type: ClusterIP", "  type: ^Cluster", "spec.type: unknown service type \"Cluster\""),
    either("  clusterIP: None", "  clusterIP: ^none", "spec.clusterIP: expected `None` or an IP address"),
    either("  selector: {app: a}", "  selector: {app: ^true}", "spec.selector.app: expected a string"),
    line("  ports:"),
    either("  - name: grpc", "  - name: ^GRPC", "spec.ports[0].name: invalid port name \"GRPC\""),
    either("    port: 7070", "    port: ^0", "spec.ports[0].port: port 0 is out of range"),
    either("    targetPort: 7070", "    targetPort: ^{}", "spec.ports[0].targetPort: expected a number or a name"),
    either("    protocol: TCP", "    protocol: ^tcp", "spec.ports[0].protocol: unknown protocol \"tcp\""),
    either("  - name: http", "  - ^namee: http", "spec.ports[1].namee: unknown field; did you mean `name`?"),
    either("    port: 80", "    port: ^'80'", "spec.ports[1].port: expected a number"),
];

const EXTERNAL_NAME: &[Line] = &[
    line("apiVersion: v1"),
    line("kind: Service"),
    line("metadata: {name: a}"),
    line("spec:"),
    either("  type: ClusterIP", "  type: ^ExternalName", "spec.type: ExternalName is not supported yet"),
    line("  externalName: a.example.com"),
    either("  ports: [{port: 80}]", "  ports: [{port: ^-80}]", "spec.ports[0].port: port -80 is out of range"),
];

const ENDPOINT_SLICE: &[Line] = &[
    line("apiVersion: discovery.k8s.io/v1"),
    line("kind: EndpointSlice"),
    line("metadata: {name: a}"),
    either("addressType: IPv6", "addressType: ^IPv5", "addressType: unknown address type \"IPv5\""),
    line("endpoints:"),
    either("- addresses: ['2001:db8::1']", "- addresses: ['::1', ^'::g']", "endpoints[0].addresses[1]: "),
    either(
        "  conditions: {ready: true}",
        "  conditions: {ready: ^yes}",
        "endpoints[0].conditions.ready: expected `true`",
    ),
    either("- addresses: ['2001:db8::2']", "- addresses: [^'::h']", "endpoints[1].addresses[0]: "),
    line("ports:"),
    either("- {name: grpc, port: 7070}", "- {name: grpc, port: ^many}", "ports[0].port: expected a whole number"),
];

const PEER_AUTHENTICATION: &[Line] = &[
    line("apiVersion: security.istio.io/v1"),
    line("kind: PeerAuthentication"),
    line("metadata: {name: a}"),
    line("spec:"),
    either(
        "  selector: {matchLabels: {app: a}}",
        "  selector: {^matchLabel: {app: a}}",
        "spec.selector.matchLabel: unknown field; did you mean `matchLabels`?",
    ),
    either("  mtls: {mode: STRICT}", "  mtls: {mode: ^STRIKT}", "spec.mtls.mode: unknown mtls mode \"STRIKT\""),
    line("  portLevelMtls:"),
    either(
        "    8080: {mode: DISABLE}",
        "    ^http: {mode: DISABLE}",
        "spec.portLevelMtls.http: expected a number as key",
    ),
    either("    8081: {mode: STRICT}", "    8081: {mode: ^1}", "spec.portLevelMtls.8081.mode: unknown mtls mode \"1\""),
];

const OBJECTS: [&[Line]; 8] = [
    VIRTUAL_SERVICE,
    DESTINATION_RULE,
    DEPLOYMENT,
    SERVICE,
    EXTERNAL_NAME,
    ENDPOINT_SLICE,
    PEER_AUTHENTICATION,
    &[
        line("apiVersion: v1"),
        line("kind: ConfigMap"),
        line("metadata: {name: a}"),
        line("data:"),
        either("  key: text", "  key: ^5", "data.key: expected a string"),
    ],
];

/// The object with the lines that `is_wrong` chooses, and what is to be said of it: places, and how messages begin.
fn broken(object: &[Line], mut is_wrong: impl FnMut(usize) -> bool) -> (String, Vec<(String, &'static str)>) {
    let mut text = String::new();
    let mut expected = Vec::new();
    for (index, (good, other)) in object.iter().enumerate() {
        let line = match other.filter(|_| is_wrong(index)) {
            Some((wrong, error)) => {
                let column = wrong.find('^').unwrap_or_default() + 1;
                expected.push((format!("f:{}:{column}", index + 1), error));
                wrong.replace('^', "")
            }
            None => (*good).to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    (text, expected)
}

#[track_caller]
fn assert_told(text: &str, expected: &[(String, &str)]) {
    let loaded = load("f", text, "default");
    let told: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
    let all = told.len() == expected.len()
        && told.iter().zip(expected).all(|(told, (place, error))| told.starts_with(&format!("{place}: {error}")));
    assert!(all, "{text}\ntold {told:#?}\nexpected {expected:#?}");
    assert_eq!((loaded.objects.len(), loaded.broken.len()), if expected.is_empty() { (1, 0) } else { (0, 1) });
}

#[test]
fn every_single_mistake_is_told_once() {
    for object in OBJECTS {
        let (text, expected) = broken(object, |_| false);
        assert_told(&text, &expected);
        for (index, _) in object.iter().enumerate().filter(|(_, (_, wrong))| wrong.is_some()) {
            let (text, expected) = broken(object, |line| line == index);
            assert_told(&text, &expected);
        }
    }
}

proptest! {
    #[test]
    fn any_mistakes_of_an_object_are_told_together(which in 0..OBJECTS.len(), wrong in any::<u64>()) {
        let (text, expected) = broken(OBJECTS[which], |line| wrong >> line & 1 == 1);
        assert_told(&text, &expected);
    }
}

#[test]
fn what_is_broken_as_a_whole_says_nothing_of_what_is_missing_inside() {
    for (kind, rest, expected) in [
        ("v1 Service", "spec: 5", "spec: expected a mapping"),
        ("apps/v1 Deployment", "sepc: {replicas: 1}", "sepc: unknown field; did you mean `spec`?"),
        ("networking.istio.io/v1 VirtualService", "spec: {hosts: [a], http: 5}", "spec.http: expected a list"),
        ("networking.istio.io/v1 VirtualService", "spec: {hosts: [a], http: [5]}", "spec.http[0]: expected a mapping"),
        ("networking.istio.io/v1 VirtualService", "spec: {hosts: [a], htpp: []}", "spec.htpp: unknown field"),
        ("networking.istio.io/v1 DestinationRule", "spec: [host]", "spec: expected a mapping"),
    ] {
        let (version, kind) = kind.split_once(' ').unwrap();
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n{rest}\n");
        let told: Vec<String> = load("f", &text, "default").errors.iter().map(ToString::to_string).collect();
        assert!(matches!(told.as_slice(), [only] if only.contains(expected)), "{rest}: {told:?}");
    }
}

#[test]
fn a_misspelt_field_beside_the_right_one_excuses_nothing() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {}\nspce: {ports: []}\n";
    let told: Vec<String> = load("f", text, "default").errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "f:4:7: spec.ports: missing; a Service needs at least one port unless it is headless",
            "f:5:1: spce: unknown field; did you mean `spec`?",
        ]
    );
}

#[test]
fn objects_with_mistakes_are_known_by_their_names() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: 80}
---
apiVersion: apps/v1
kind: Deploymnt
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
    let loaded = load("f", text, "default");
    let keys = |objects: &[Object]| objects.iter().map(|object| object.key().to_string()).collect::<Vec<_>>();
    assert_eq!(keys(&loaded.broken), ["Service default/web", "Deployment shop/web"]);
    assert_eq!((keys(&loaded.objects), loaded.more), (vec!["Namespace shop".to_owned()], false));
    for unknown in ["a: [", "kind: Service\nmetadata: {name: a}\n", "apiVersion: v1\nkind: Service\nmetadata: {}\n"] {
        assert!(load("f", unknown, "default").more, "{unknown}");
    }
}

#[test]
fn what_is_no_yaml_hides_nothing_else() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: a, name: b}
spec: {ports: [{port: x}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: &c c}
data: {a: 5}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: *c}
data: {a: 5}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: d}
data: 5
---
a: b: c
";
    let loaded = load("f", text, "default");
    let told: Vec<String> = loaded.errors.iter().map(|error| format!("{} {}", error.location, error.code)).collect();
    assert_eq!(
        told,
        [
            "f:3:21 yaml-duplicate-key",
            "f:4:23 wrong-type",
            "f:8:18 yaml-anchor",
            "f:9:11 wrong-type",
            "f:13:18 yaml-alias",
            "f:19:7 wrong-type",
            "f:21:5 yaml-syntax",
        ]
    );
    let names: Vec<&str> = loaded.broken.iter().map(|object| object.metadata().name.as_str()).collect();
    assert_eq!((names, loaded.objects.len(), loaded.more), (vec!["a", "c", "d"], 0, true));
}

#[test]
fn mistakes_without_end_are_told_within_bounds() {
    let route = "  - {route: [{destination: {host: a}}], timeout: 5}\n";
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec:\n  hosts: [a]\n  http:\n{}",
        route.repeat(2_000)
    );
    let errors = load("test.yaml", &text, "demo").errors;
    assert!(errors.iter().any(|error| error.code == "too-many-mistakes"), "{errors:?}");
    let durations = errors.iter().filter(|error| error.location.line > 6).count();
    assert!((20..=100).contains(&durations), "{durations} told");
}

#[test]
fn an_empty_list_of_routes_beside_a_redirect_is_none() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n\
                spec: {hosts: [a], http: [{route: [], redirect: {uri: /b}}]}\n";
    let errors = load("test.yaml", text, "demo").errors;
    assert_eq!(errors, []);
}
