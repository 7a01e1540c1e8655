//! Which of the traffic policies that DestinationRules have for a host, its subsets and its ports a call goes by, for
//! any of them, against a small model.
//!
//! Source: Istio `pilot/pkg/model/push_context.go` (the most specific host wins) and `networking/util` (a subset
//! overrides the fields that it sets, a port replaces all).

use hermesh::{Call, Mesh};
use hermesh_tests::manifests::{self, TARGET};
use proptest::prelude::*;

/// What the server wants is mTLS, so that a call tells by its success what the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Disable,
    Mutual,
}

impl Tls {
    fn yaml(self) -> &'static str {
        match self {
            Self::Disable => "tls: {mode: DISABLE}",
            Self::Mutual => "tls: {mode: ISTIO_MUTUAL}",
        }
    }
}

/// A traffic policy: its own setting, and one for a port, which may set nothing.
#[derive(Clone, Copy, Debug)]
struct Policy {
    tls: Option<Tls>,
    port: Option<(u16, Option<Tls>)>,
}

impl Policy {
    /// The model: a policy on top of `below`, for the port 7070.
    fn over(self, below: Option<Tls>) -> Option<Tls> {
        match self.port {
            Some((7070, tls)) => tls,
            _ => self.tls.or(below),
        }
    }

    fn yaml(self) -> String {
        let own = self.tls.map(|tls| tls.yaml().to_owned());
        let port = self.port.map(|(port, tls)| {
            let setting = tls.map_or("loadBalancer: {simple: ROUND_ROBIN}", Tls::yaml);
            format!("portLevelSettings: [{{port: {{number: {port}}}, {setting}}}]")
        });
        // A policy says something; this is none of what istiod tells gRPC clients.
        let other = "proxyProtocol: {version: V1}".to_owned();
        let fields: Vec<String> = own.into_iter().chain(port).chain([other]).collect();
        format!("{{{}}}", fields.join(", "))
    }
}

/// The hosts that rules are for, the most specific first.
const HOSTS: [&str; 3] = [manifests::HOST, "*.echo-grpc.svc.cluster.local", "*.cluster.local"];

/// A rule for one of the hosts, with a subset `v1` that may have a policy of its own.
#[derive(Clone, Copy, Debug)]
struct Rule {
    policy: Policy,
    subset: Option<Policy>,
}

impl Rule {
    fn yaml(self, number: usize) -> String {
        let subset = self.subset.map(|policy| format!(", trafficPolicy: {}", policy.yaml())).unwrap_or_default();
        format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: rule-{number}}}
spec:
  host: \"{}\"
  trafficPolicy: {}
  subsets:
  - {{name: v1, labels: {{version: v1}}{subset}}}
",
            HOSTS[number],
            self.policy.yaml(),
        )
    }
}

/// The model: what a client that calls the subset speaks.
fn effective(rules: &[Option<Rule>; 3]) -> Option<Tls> {
    let rule = rules.iter().flatten().next()?;
    let own = rule.policy.over(None);
    rule.subset.map_or(own, |subset| subset.over(own))
}

fn tls() -> impl Strategy<Value = Option<Tls>> {
    prop_oneof![Just(None), Just(Some(Tls::Disable)), Just(Some(Tls::Mutual))]
}

fn policy() -> impl Strategy<Value = Policy> {
    let port = prop::option::weighted(0.4, (prop::sample::select(&[7070_u16, 7071][..]), tls()));
    let policy = (tls(), port).prop_map(|(tls, port)| Policy { tls, port });
    policy.prop_filter("Istio refuses an empty policy", |policy| policy.tls.is_some() || policy.port.is_some())
}

fn rule() -> impl Strategy<Value = Rule> {
    (policy(), prop::option::of(policy())).prop_map(|(policy, subset)| Rule { policy, subset })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_go_by_the_policy_that_the_model_says(
        exact in prop::option::weighted(0.7, rule()),
        near in prop::option::of(rule()),
        far in rule(),
        seed in 1..1_000_000_u64,
    ) {
        let rules = [exact, near, Some(far)];
        let mut mesh = mesh(seed);
        for (number, rule) in rules.iter().enumerate() {
            if let Some(rule) = rule {
                mesh.apply(rule.yaml(number));
            }
        }
        mesh.apply(manifests::virtual_service(&manifests::split(&[("v1", 100)]))).wait_converged();

        let report = mesh.call(Call::new("echo-v1", TARGET));
        prop_assert_eq!(report.is_ok(), effective(&rules) == Some(Tls::Mutual), "{:?}: {:#?}", report, rules);
    }
}

fn mesh(seed: u64) -> Mesh {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1"])).apply(manifests::server_tls("STRICT")).wait_ready();
    mesh
}
