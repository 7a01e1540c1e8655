//! What of AuthorizationPolicies istiod's webhook would refuse, and what gRPC servers make of the rest.

use hermesh_istiod::objects::load;

/// Errors and notes of a policy with this spec, which begins in line 4.
fn said(spec: &str) -> (Vec<String>, Vec<String>) {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a, annotations: {{istio.io/dry-run: \"false\"}}}}\nspec: {spec}\n"
    );
    said_of(&text)
}

fn said_of(text: &str) -> (Vec<String>, Vec<String>) {
    let loaded = load("f", text, "default");
    let texts = |diagnostics: &[hermesh_istiod::yaml::Diagnostic]| {
        diagnostics.iter().map(|it| it.to_string().replacen("f:", "", 1)).collect()
    };
    (texts(&loaded.errors), texts(&loaded.notes))
}

#[test]
fn what_the_webhook_refuses_is_refused() {
    let rule = |rule: &str| format!("{{rules: [{rule}]}}");
    for (spec, expected) in [
        (
            "{action: DNY, rules: [{}]}".to_owned(),
            "spec.action: unknown action \"DNY\"; expected ALLOW, DENY, AUDIT or CUSTOM",
        ),
        ("{action: DENY}".to_owned(), "spec.rules: DENY without rules would never deny"),
        ("{action: CUSTOM, rules: [{}]}".to_owned(), "spec.provider.name: missing; who decides?"),
        ("{action: CUSTOM, provider: {name: p}}".to_owned(), "spec.rules: CUSTOM without rules would never be asked"),
        ("{provider: {name: p}, rules: [{}]}".to_owned(), "spec.provider: only CUSTOM has a provider"),
        (
            "{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: x}, rules: [{}]}".to_owned(),
            "spec.selector: expected one of selector, targetRef or targetRefs",
        ),
        (rule("{from: []}"), "spec.rules[0].from: is empty; leave it out to mean any"),
        (rule("{to: []}"), "spec.rules[0].to: is empty; leave it out to mean any"),
        (rule("{from: [{}]}"), "spec.rules[0].from[0].source: missing; who?"),
        (rule("{to: [{}]}"), "spec.rules[0].to[0].operation: missing; what?"),
        (rule("{from: [{source: {}}]}"), "spec.rules[0].from[0].source: is empty"),
        (rule("{to: [{operation: {}}]}"), "spec.rules[0].to[0].operation: is empty"),
        (rule("{from: [{source: {principals: [\"\"]}}]}"), "principals[0]: expected a value that is not empty"),
        (rule("{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}"), "ipBlocks[0]: expected an IP address or a range"),
        (rule("{from: [{source: {principal: [a]}}]}"), "principal: unknown field; did you mean `principals`?"),
        (rule("{from: [{source: {serviceAccounts: [\"a*\"]}}]}"), "serviceAccounts[0]: expected `name` or"),
        (rule("{from: [{source: {notServiceAccounts: [a/b/c]}}]}"), "notServiceAccounts[0]: expected `name` or"),
        (rule("{from: [{source: {serviceAccounts: [a/]}}]}"), "serviceAccounts[0]: expected `name` or"),
        (rule("{from: [{source: {serviceAccounts: [\"\"]}}]}"), "serviceAccounts[0]: expected `name` or"),
        (
            rule(&format!("{{from: [{{source: {{serviceAccounts: [{}]}}}}]}}", "a".repeat(321))),
            "serviceAccounts[0]: expected no more than 320 characters",
        ),
        (
            rule(&format!("{{from: [{{source: {{serviceAccounts: [{}]}}}}]}}", ["a"; 17].join(", "))),
            "serviceAccounts: 17 are more than the 16 that istiod takes; write another rule",
        ),
        (
            rule("{when: [{key: source.serviceAccount, values: [\"a*\"]}]}"),
            "when[0].values[0]: expected `name` or `namespace/name` without `*`, found \"a*\"",
        ),
        (
            rule(&format!("{{when: [{{key: source.serviceAccount, notValues: [{}]}}]}}", ["a"; 17].join(", "))),
            "when[0].notValues: 17 are more than the 16 that istiod takes",
        ),
        (
            rule("{from: [{source: {notServiceAccounts: [a], notPrincipals: [b]}}]}"),
            "notServiceAccounts: service accounts say principals and namespaces already",
        ),
        (
            rule("{to: [{operation: {paths: [\"/a/{id}\"]}}]}"),
            "paths[0]: expected {*} or {**} as a whole part of a path, and no other braces, found \"/a/{id}\"",
        ),
        (rule("{to: [{operation: {paths: [\"/a{*}/b\"]}}]}"), "paths[0]: expected {*} or {**} as a whole part"),
        (rule("{to: [{operation: {notPaths: [\"/{**}/{*}\"]}}]}"), "notPaths[0]: expected {**} as the last template"),
        (rule("{to: [{operation: {paths: [\"/{*}/a b\"]}}]}"), "paths[0]: expected what a URL's path may have"),
        (
            rule("{when: [{key: experimental.envoy.filters.a.b, values: [a]}]}"),
            "write `experimental.envoy.filters.filter[name]`",
        ),
        (
            rule("{when: [{key: request.experimental.inline.headers, values: [a]}]}"),
            "write `request.experimental.inline.headers[name]`",
        ),
        (
            "{action: CUSTOM, provider: {name: p}, rules: [{from: [{source: {principals: [a]}}]}]}".to_owned(),
            "spec.rules[0].from[0].source.principals: CUSTOM cannot tell who calls; leave it to a policy that ALLOWs",
        ),
        (
            "{action: CUSTOM, provider: {name: p}, rules: [{when: [{key: source.namespace, values: [a]}]}]}".to_owned(),
            "spec.rules[0].when[0].key: CUSTOM cannot tell who calls",
        ),
        (
            rule("{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}"),
            "serviceAccounts: service accounts say principals and namespaces already",
        ),
        (rule("{to: [{operation: {ports: [\"http\"]}}]}"), "ports[0]: expected a port from 0 to 65535, found \"http\""),
        (rule("{to: [{operation: {ports: [80]}}]}"), "ports[0]: expected a string, found a number (80)"),
        (rule("{when: [{values: [a]}]}"), "when[0].key: missing; a condition of what?"),
        (rule("{when: [{key: source.ip}]}"), "when[0]: needs values or notValues"),
        (rule("{when: [{key: source.ip, values: [a]}]}"), "values[0]: expected an IP address"),
        (
            rule("{when: [{key: sorce.ip, values: [a]}]}"),
            "no condition is about \"sorce.ip\"; did you mean `source.ip`?",
        ),
        (rule("{when: [{key: request.headers, values: [a]}]}"), "write `request.headers[name]`"),
        (rule("{when: [{key: destination.port, notValues: [\"65536\"]}]}"), "notValues[0]: expected a port"),
    ] {
        let (errors, _) = said(&spec);
        assert!(errors.iter().any(|error| error.contains(expected)), "{spec}: {errors:?}");
        assert_eq!(errors.len(), 1, "{spec}: one mistake, one error: {errors:?}");
    }
}

#[test]
fn what_means_something_else_to_grpc_servers_is_said() {
    let rule = |rule: &str| format!("{{rules: [{rule}]}}");
    for (spec, expected) in [
        ("{}".to_owned(), "spec.rules: istiod sends gRPC servers nothing of a policy without rules"),
        ("{action: AUDIT, rules: [{}]}".to_owned(), "spec.action: istiod sends gRPC servers only policies that"),
        (
            "{action: CUSTOM, provider: {name: p}, rules: [{}]}".to_owned(),
            "istiod sends gRPC servers only policies that",
        ),
        (
            "{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}], rules: [{}]}".to_owned(),
            "spec.targetRefs: policies for gateways and waypoints have no effect",
        ),
        (
            rule("{from: [{source: {requestPrincipals: [a]}}]}"),
            "requestPrincipals: gRPC servers know nothing of it: this holds for no call",
        ),
        (rule("{from: [{source: {notRequestPrincipals: [a]}}]}"), "this holds for every call"),
        (rule("{when: [{key: \"request.auth.claims[g]\", values: [a]}]}"), "values: gRPC servers know nothing of it"),
        (rule("{to: [{operation: {methods: [GET]}}]}"), "methods: the method of every gRPC call is POST"),
        (rule("{to: [{operation: {paths: [\"/a/{*}/b\"]}}]}"), "paths[0]: gRPC servers know no templates of paths"),
        (rule("{when: [{key: \"request.headers[grpc-timeout]\", values: [a]}]}"), "they reject the whole listener"),
        (rule("{when: [{key: \"request.headers[a-bin]\", values: [a]}]}"), "binary metadata (-bin)"),
        (rule("{when: [{key: connection.sni, values: [a]}]}"), "gRPC servers take the name to be empty"),
    ] {
        let (errors, notes) = said(&spec);
        assert_eq!(errors, [""; 0], "{spec}");
        assert!(notes.len() == 1 && notes[0].contains(expected), "{spec}: {notes:?}");
    }
    let (_, notes) = said_of(
        "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {name: a, annotations: {istio.io/dry-run: \"true\"}}\nspec: {rules: [{}]}\n",
    );
    assert!(notes[0].contains("the policy is enforced"), "{notes:?}");
    let good =
        rule("{from: [{source: {principals: [a]}}], to: [{operation: {methods: [GET, \"*\"], ports: [\"80\"]}}]}");
    assert_eq!(said(&good), (Vec::new(), Vec::new()));
    let inline = rule("{when: [{key: \"request.experimental.inline.headers[x-team]\", values: [a]}]}");
    assert_eq!(said(&inline), (Vec::new(), Vec::new()));
}
