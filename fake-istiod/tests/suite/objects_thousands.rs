//! One mistake for every kind of object, all of them in thousands of documents: each is found in one pass, once, where
//! it stands, with what would be right.

use std::collections::BTreeSet;

use hermesh_istiod::objects::{Kind, load};

/// Kind and version, then what follows the name, with a mark where the mistake stands; what is said of it.
const TABLE: &[(&str, &str, &str, &str)] = &[
    (
        "Namespace",
        "v1",
        "metadata: {name: a, labels: {a: ^'b c'}}",
        "metadata.labels.a: invalid label value \"b c\"; use",
    ),
    ("Node", "v1", "metadata: {name: a, labels: {a: ^5}}", "metadata.labels.a: expected a string, found a number (5)"),
    (
        "ServiceAccount",
        "v1",
        "metadata: {name: ^A}",
        "metadata.name: invalid name \"A\"; use lower-case letters, digits, dashes and dots",
    ),
    ("ConfigMap", "v1", "metadata: {name: a}\ndata: {a: ^5}", "data.a: expected a string, found a number (5); write"),
    ("Service", "v1", "metadata: {name: a}\nspec: {ports: [{port: ^70000}]}", "spec.ports[0].port: "),
    (
        "EndpointSlice",
        "discovery.k8s.io/v1",
        "metadata: {name: a}\naddressType: IPv4\nendpoints: [{addresses: [^a]}]\nports: [{port: 1}]",
        "endpoints[0].addresses[0]: ",
    ),
    ("Pod", "v1", "metadata: {name: a}\nspec: {containers: [{^nmae: a, name: a, image: b}]}", "did you mean `name`?"),
    (
        "Deployment",
        "apps/v1",
        "metadata: {name: a}\nspec: {selector: {matchLabels: ^{a: b}}, template: {metadata: {labels: {a: c}}, spec: \
         {containers: [{name: a, image: b}]}}}",
        "spec.selector.matchLabels: does not match the template's labels; add `a: b` to",
    ),
    (
        "StatefulSet",
        "apps/v1",
        "metadata: {name: a}\nspec: {selector: {matchLabels: {a: b}}, updateStrategy: {type: OnDelete, rollingUpdate: \
         ^{partition: 1}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}",
        "spec.updateStrategy.rollingUpdate: has no place beside type OnDelete; leave one out",
    ),
    (
        "Job",
        "batch/v1",
        "metadata: {name: a}\nspec: {template: {spec: {restartPolicy: ^Always, containers: [{name: a, image: b}]}}}",
        "spec.template.spec.restartPolicy: a Job's pods come to an end; write OnFailure or Never",
    ),
    (
        "ServiceEntry",
        "networking.istio.io/v1",
        "metadata: {name: a}\nspec: {hosts: [a.b], endpoints: ^[{address: 10.0.0.1}]}",
        "spec.endpoints: has no place beside resolution NONE; write `resolution: STATIC`",
    ),
    (
        "WorkloadEntry",
        "networking.istio.io/v1",
        "metadata: {name: a}\nspec: {address: ^'a:80'}",
        "spec.address: expected an IP address or a DNS name, found \"a:80\"",
    ),
    (
        "WorkloadGroup",
        "networking.istio.io/v1",
        "metadata: {name: a}\nspec: ^{metadata: {labels: {a: b}}}",
        "spec.template: missing; `template: {}` is the least",
    ),
    (
        "ProxyConfig",
        "networking.istio.io/v1beta1",
        "metadata: {name: a}\nspec: {concurrency: ^-1}",
        "spec.concurrency: -1 is negative; 0 means all cores",
    ),
    (
        "DestinationRule",
        "networking.istio.io/v1",
        "metadata: {name: a}\nspec: {host: a, trafficPolicy: {tls: {mode: ^ISTIO_MUTAL}}}",
        "spec.trafficPolicy.tls.mode: ",
    ),
    (
        "VirtualService",
        "networking.istio.io/v1",
        "metadata: {name: a}\nspec: {hosts: [a], http: [{route: [{destination: {host: a}, weight: ^-1}]}]}",
        "spec.http[0].route[0].weight: weight -1 is negative",
    ),
    (
        "PeerAuthentication",
        "security.istio.io/v1",
        "metadata: {name: a}\nspec: {portLevelMtls: ^{80: {mode: STRICT}}}",
        "spec.portLevelMtls: needs a selector: ports belong to workloads",
    ),
    (
        "AuthorizationPolicy",
        "security.istio.io/v1",
        "metadata: {name: a}\nspec: {rules: [{to: [{operation: {paths: [^'/a/{id}']}}]}]}",
        "spec.rules[0].to[0].operation.paths[0]: expected {*} or {**} as a whole part of a path",
    ),
];

/// How often the table stands in the text.
const TIMES: usize = 200;

#[test]
fn all_mistakes_of_thousands_of_documents_are_found_in_one_pass() {
    let kinds: BTreeSet<&str> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(kinds, Kind::ALL.into_iter().map(Kind::name).collect(), "no kind is left out");
    let (mut text, mut line) = (String::new(), 1);
    let mut expected = Vec::new();
    for (kind, version, rest, said) in (0..TIMES).flat_map(|_| TABLE) {
        let document = format!("apiVersion: {version}\nkind: {kind}\n{rest}\n---\n");
        let marked = document.find('^').expect("each has a mark");
        let before = &document[..marked];
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
        expected.push((line + before.matches('\n').count(), column, *said));
        text.push_str(&document.replacen('^', "", 1));
        line += document.matches('\n').count();
    }
    let loaded = load("f", &text, "default");
    assert_eq!(loaded.errors.len(), expected.len(), "one mistake, one error");
    for (error, (line, column, said)) in loaded.errors.iter().zip(&expected) {
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("f:{line}:{column}: ")) && error.contains(said),
            "{line}:{column} {said}: {error}"
        );
    }
    assert_eq!(loaded.objects.len(), 0);
}
