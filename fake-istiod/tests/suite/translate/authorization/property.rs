//! Any policies and any request: what a gRPC server decides by the filters it is sent is what the policies say.

use std::collections::BTreeSet;
use std::sync::Arc;

use hermesh_istiod::objects::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationPolicySpec, AuthorizationRule, Metadata, Object,
    RuleCondition, RuleFrom, RuleOperation, RuleSource, RuleTo, WorkloadSelector,
};
use hermesh_istiod::snapshot::{Mesh, Snapshot};
use hermesh_istiod::translate;
use hermesh_runtime::tls::PeerCertificate;
use hermesh_xds::ResourceType;
use hermesh_xds::rbac::{Caller, Decision, IncomingRpc};
use hermesh_xds::resource::{Decoded, HttpFilterKind, Listener, ListenerKind, Resource, Validation, decode};
use hermesh_xds::routing::Metadata as Headers;
use http::HeaderName;
use proptest::prelude::*;

use super::{LISTENER, cluster};

/// A request and who sends it.
#[derive(Clone, Debug)]
struct Request {
    /// Namespace and service account; plaintext if none.
    caller: Option<(&'static str, &'static str)>,
    address: &'static str,
    host: &'static str,
    path: &'static str,
    user: Option<&'static str>,
}

/// Values of which some match some requests, by attribute.
const PRINCIPALS: &[&str] = &["td/ns/a/sa/x", "td/ns/a/*", "*/sa/y", "*", "td/ns/b/sa/z"];
const NAMESPACES: &[&str] = &["a", "b", "a*", "*c", "*"];
const ACCOUNTS: &[&str] = &["x", "a/x", "b/y"];
const TRUST_DOMAINS: &[&str] = &["td", "t*", "other", "*"];
const RANGES: &[&str] = &["10.0.0.0/8", "10.1.0.0/16", "10.1.0.2", "2001:db8::/32"];
const HOSTS: &[&str] = &["echo:7070", "ECHO:7070", "echo*", "*:80", "*"];
const PATHS: &[&str] = &["/s.S/M", "/s.S/*", "*/N", "*"];
const METHODS: &[&str] = &["POST", "GET", "P*", "*"];
const PORTS: &[&str] = &["17070", "80"];
const USERS: &[&str] = &["ann", "a*", "*b", "*"];

fn requests() -> impl Strategy<Value = Request> {
    let caller = prop::option::weighted(0.8, (select(&["a", "b", "ab", "ns"]), select(&["x", "y", "z"])));
    let address = select(&["10.1.0.2:5", "10.2.0.2:5", "192.168.0.1:5", "[2001:db8::1]:5"]);
    let host = select(&["echo:7070", "Echo:7070", "other:80"]);
    let path = select(&["/s.S/M", "/s.S/N", "/t.T/N"]);
    let user = prop::option::of(select(&["ann", "bob", "a"]));
    (caller, address, host, path, user).prop_map(|(caller, address, host, path, user)| Request {
        caller,
        address,
        host,
        path,
        user,
    })
}

fn select(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(values)
}

/// None, as a rule.
fn values(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(select(of).prop_map(str::to_owned), 1..3),
    ]
}

fn sources() -> impl Strategy<Value = RuleFrom> {
    let identities = (values(PRINCIPALS), values(PRINCIPALS), values(NAMESPACES), values(NAMESPACES));
    let accounts = (values(ACCOUNTS), values(ACCOUNTS), values(TRUST_DOMAINS), values(TRUST_DOMAINS));
    let addresses = (values(RANGES), values(RANGES), values(RANGES), values(RANGES));
    let tokens = (values(&["issuer/subject"]), values(&["*"]));
    (identities, accounts, addresses, tokens).prop_map(|(identities, accounts, addresses, tokens)| RuleFrom {
        source: Some(RuleSource {
            principals: identities.0,
            not_principals: identities.1,
            namespaces: identities.2,
            not_namespaces: identities.3,
            service_accounts: accounts.0,
            not_service_accounts: accounts.1,
            trust_domains: accounts.2,
            not_trust_domains: accounts.3,
            ip_blocks: addresses.0,
            not_ip_blocks: addresses.1,
            remote_ip_blocks: addresses.2,
            not_remote_ip_blocks: addresses.3,
            request_principals: tokens.0,
            not_request_principals: tokens.1,
        }),
    })
}

fn operations() -> impl Strategy<Value = RuleTo> {
    let hosts = (values(HOSTS), values(HOSTS));
    let methods = (values(METHODS), values(METHODS));
    let paths = (values(PATHS), values(PATHS));
    let ports = (values(PORTS), values(PORTS));
    (hosts, methods, paths, ports).prop_map(|(hosts, methods, paths, ports)| RuleTo {
        operation: Some(RuleOperation {
            hosts: hosts.0,
            not_hosts: hosts.1,
            methods: methods.0,
            not_methods: methods.1,
            paths: paths.0,
            not_paths: paths.1,
            ports: ports.0,
            not_ports: ports.1,
        }),
    })
}

fn conditions() -> impl Strategy<Value = RuleCondition> {
    let attribute = prop_oneof![
        Just(("request.headers[x-user]", USERS)),
        Just(("source.principal", PRINCIPALS)),
        Just(("source.namespace", NAMESPACES)),
        Just(("source.ip", RANGES)),
        Just(("remote.ip", RANGES)),
        Just(("destination.port", PORTS)),
        Just(("request.auth.claims[group]", &["admin"][..])),
    ];
    attribute.prop_flat_map(|(key, of)| {
        (values(of), values(of)).prop_map(move |(values, not_values)| RuleCondition {
            key: key.to_owned(),
            values,
            not_values,
        })
    })
}

fn policies() -> impl Strategy<Value = AuthorizationPolicy> {
    let rule = (
        prop::collection::vec(sources(), 0..3),
        prop::collection::vec(operations(), 0..3),
        prop::collection::vec(conditions(), 0..2),
    );
    let rule = rule.prop_map(|(from, to, when)| AuthorizationRule { from, to, when });
    let action = prop_oneof![
        4 => Just(AuthorizationAction::Allow),
        3 => Just(AuthorizationAction::Deny),
        1 => Just(AuthorizationAction::Audit),
    ];
    let selector = prop::option::of(select(&["echo", "other"]));
    (select(&["ns", "istio-system", "other"]), selector, action, prop::collection::vec(rule, 0..3)).prop_map(
        |(namespace, app, action, rules)| AuthorizationPolicy {
            metadata: Metadata::named(namespace, "p"),
            spec: AuthorizationPolicySpec {
                selector: app.map(|app| WorkloadSelector { match_labels: [("app".into(), app.into())].into() }),
                action,
                rules,
                ..AuthorizationPolicySpec::default()
            },
        },
    )
}

/// What the policies say, read aloud.
mod model {
    use super::*;

    pub(super) fn is_let_in(policies: &[AuthorizationPolicy], request: &Request) -> bool {
        let ours = policies.iter().filter(|policy| {
            let selector = policy.spec.selector.as_ref();
            ["ns", "istio-system"].contains(&&*policy.metadata.namespace)
                && selector.is_none_or(|selector| selector.match_labels["app"] == "echo")
        });
        let rules = |action| {
            let ours = ours.clone().filter(move |policy| policy.spec.action == action);
            ours.flat_map(|policy| {
                policy.spec.rules.iter().map(|rule| holds(&policy.metadata.namespace, rule, request))
            })
        };
        let denied = rules(AuthorizationAction::Deny).any(|holds| holds);
        let mut allowing = rules(AuthorizationAction::Allow).peekable();
        !denied && (allowing.peek().is_none() || allowing.any(|holds| holds))
    }

    fn holds(namespace: &str, rule: &AuthorizationRule, request: &Request) -> bool {
        (rule.from.is_empty() || rule.from.iter().any(|from| source(namespace, from, request)))
            && (rule.to.is_empty() || rule.to.iter().any(|to| operation(to, request)))
            && rule.when.iter().all(|condition| {
                attribute(&condition.values, &condition.not_values, |value| match &*condition.key {
                    "request.headers[x-user]" => request.user.is_some_and(|user| matches(value, user)),
                    "source.principal" => principal(value, request),
                    "source.namespace" => namespace_of(value, request),
                    "source.ip" | "remote.ip" => in_range(value, request),
                    "destination.port" => value == "17070",
                    _ => false,
                })
            })
    }

    fn source(namespace: &str, from: &RuleFrom, request: &Request) -> bool {
        let source = from.source.as_ref().unwrap();
        attribute(&source.principals, &source.not_principals, |value| principal(value, request))
            && attribute(&source.request_principals, &source.not_request_principals, |_| false)
            && attribute(&source.namespaces, &source.not_namespaces, |value| namespace_of(value, request))
            && attribute(&source.service_accounts, &source.not_service_accounts, |value| {
                let (own, account) = value.split_once('/').unwrap_or((namespace, value));
                request.caller == Some((own, account))
            })
            && attribute(&source.trust_domains, &source.not_trust_domains, |value| {
                request.caller.is_some() && matches(value, "td")
            })
            && attribute(&source.ip_blocks, &source.not_ip_blocks, |value| in_range(value, request))
            && attribute(&source.remote_ip_blocks, &source.not_remote_ip_blocks, |value| in_range(value, request))
    }

    fn operation(to: &RuleTo, request: &Request) -> bool {
        let operation = to.operation.as_ref().unwrap();
        attribute(&operation.hosts, &operation.not_hosts, |value| {
            matches(&value.to_lowercase(), &request.host.to_lowercase())
        }) && attribute(&operation.methods, &operation.not_methods, |value| matches(value, "POST"))
            && attribute(&operation.paths, &operation.not_paths, |value| matches(value, request.path))
            && attribute(&operation.ports, &operation.not_ports, |value| value == "17070")
    }

    fn attribute(values: &[String], not_values: &[String], holds: impl Fn(&str) -> bool) -> bool {
        (values.is_empty() || values.iter().any(|value| holds(value))) && !not_values.iter().any(|value| holds(value))
    }

    fn principal(value: &str, request: &Request) -> bool {
        request.caller.is_some_and(|(namespace, account)| matches(value, &format!("td/ns/{namespace}/sa/{account}")))
    }

    fn namespace_of(value: &str, request: &Request) -> bool {
        request.caller.is_some_and(|(namespace, _)| matches(value, namespace))
    }

    fn in_range(value: &str, request: &Request) -> bool {
        let prefix = match value {
            "10.0.0.0/8" => "10.",
            "10.1.0.0/16" => "10.1.",
            "10.1.0.2" => "10.1.0.2:",
            _ => "[2001:db8:",
        };
        request.address.starts_with(prefix)
    }

    /// `*` at an end stands for the rest.
    fn matches(pattern: &str, text: &str) -> bool {
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(suffix), _) => text.ends_with(suffix),
            (None, Some(prefix)) => text.starts_with(prefix),
            (None, None) => text == pattern,
        }
    }
}

/// The listener that a gRPC server is sent.
fn listener(policies: &[AuthorizationPolicy]) -> Arc<Listener> {
    let cluster = cluster();
    let policies = policies.iter().enumerate().map(|(index, policy)| {
        let mut policy = policy.clone();
        policy.metadata.name = format!("p{index}");
        Object::from(policy)
    });
    let mesh = Mesh { trust_domain: "td".to_owned(), ..Mesh::default() };
    let snapshot = Snapshot::new(mesh, cluster.objects.values().cloned().chain(policies));
    let names = BTreeSet::from([LISTENER.to_owned()]);
    let (_, body) = translate::listeners(&snapshot, &cluster.node("ns", "echo-0"), &names).remove(0);
    let decoded = decode(ResourceType::Listener, &body, &Validation::default());
    let Decoded::Named { outcome: Ok(Resource::Listener(listener)), .. } = decoded else { panic!("{decoded:?}") };
    listener
}

/// What it decides.
fn is_let_in(listener: &Listener, request: &Request) -> bool {
    let ListenerKind::Server(server) = &listener.kind else { panic!("{listener:?}") };
    let mut certificate = PeerCertificate::default();
    let uris = request.caller.map(|(namespace, account)| format!("spiffe://td/ns/{namespace}/sa/{account}"));
    certificate.uri_sans = uris.into_iter().collect();
    let headers = request.user.iter().map(|user| (HeaderName::from_static("x-user"), user.parse().unwrap())).collect();
    let rpc = IncomingRpc {
        path: request.path,
        authority: request.host,
        metadata: Headers::new(&headers),
        local: "10.244.0.1:17070".parse().unwrap(),
        peer: request.address.parse().unwrap(),
        caller: if request.caller.is_some() { Caller::Tls(Some(&certificate)) } else { Caller::Plaintext },
    };
    server.filter_chains[0].http.http_filters.iter().all(|filter| match &filter.kind {
        HttpFilterKind::Rbac(Some(rules)) => matches!(rules.judge(&rpc), Decision::Allowed(_)),
        _ => true,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn servers_decide_as_the_policies_say(
        policies in prop::collection::vec(policies(), 0..4),
        requests in prop::collection::vec(requests(), 16),
    ) {
        let listener = listener(&policies);
        for request in requests {
            prop_assert_eq!(is_let_in(&listener, &request), model::is_let_in(&policies, &request), "{:?}", request);
        }
    }
}
