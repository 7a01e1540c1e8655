//! Routes choose the subset that a small model of Istio's rules chooses, for any labels, matches and order of rules.

use std::collections::{BTreeMap, BTreeSet};

use hermesh::Call;
use hermesh_tests::manifests::{self, TARGET};
use proptest::prelude::*;

/// The method that echo's forwarder calls.
const PATH: &str = "/proto.EchoTestService/Echo";

#[derive(Clone, Debug)]
enum Text {
    Exact(&'static str),
    Prefix(&'static str),
    Regex(&'static str),
}

impl Text {
    /// The model: what Istio's documentation says of a StringMatch. The few regular expressions are spelt out.
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => value == *text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Regex("a.*") => value.starts_with('a'),
            Self::Regex(".*Echo") => value.ends_with("Echo"),
            Self::Regex(other) => panic!("the model does not know {other}"),
        }
    }

    fn yaml(&self) -> String {
        match self {
            Self::Exact(text) => format!("{{exact: \"{text}\"}}"),
            Self::Prefix(text) => format!("{{prefix: \"{text}\"}}"),
            Self::Regex(text) => format!("{{regex: \"{text}\"}}"),
        }
    }
}

/// One alternative of a rule: all of it must hold.
#[derive(Clone, Debug)]
struct Match {
    uri: Option<Text>,
    headers: BTreeMap<&'static str, Text>,
    without: BTreeMap<&'static str, Text>,
    port: Option<u16>,
    source: Option<&'static str>,
}

impl Match {
    fn holds(&self, headers: &BTreeMap<&'static str, &'static str>) -> bool {
        self.uri.as_ref().is_none_or(|uri| uri.matches(PATH))
            && self.headers.iter().all(|(name, text)| headers.get(name).is_some_and(|value| text.matches(value)))
            // Envoy takes an absent header for an empty one here. gRPC does not, and holds no condition on it true.
            && self.without.iter().all(|(name, text)| headers.get(name).is_some_and(|value| !text.matches(value)))
            && self.is_for_the_caller()
    }

    /// What istiod looks at, before any request.
    fn is_for_the_caller(&self) -> bool {
        self.port.is_none_or(|port| port == 7070)
            && self.source.is_none_or(|version| CALLER_LABELS.contains(&("version", version)))
    }

    fn yaml(&self) -> String {
        let mut fields = Vec::new();
        fields.extend(self.uri.iter().map(|uri| format!("uri: {}", uri.yaml())));
        for (field, headers) in [("headers", &self.headers), ("withoutHeaders", &self.without)] {
            let headers: Vec<_> = headers.iter().map(|(name, text)| format!("{name}: {}", text.yaml())).collect();
            fields.extend((!headers.is_empty()).then(|| format!("{field}: {{{}}}", headers.join(", "))));
        }
        fields.extend(self.port.map(|port| format!("port: {port}")));
        fields.extend(self.source.map(|version| format!("sourceLabels: {{version: {version}}}")));
        format!("  - {{{}}}\n", fields.join(", "))
    }
}

#[derive(Clone, Debug)]
struct Rule {
    /// Any of them; none is for all requests.
    matches: Vec<Match>,
    subset: &'static str,
}

impl Rule {
    fn is_for_the_caller(&self) -> bool {
        self.matches.is_empty() || self.matches.iter().any(Match::is_for_the_caller)
    }

    fn matches(&self, headers: &BTreeMap<&'static str, &'static str>) -> bool {
        self.matches.is_empty() || self.matches.iter().any(|alternative| alternative.holds(headers))
    }

    fn yaml(&self) -> String {
        let matches: String = self.matches.iter().map(Match::yaml).collect();
        let matches = if matches.is_empty() { matches } else { format!("  match:\n{matches}") };
        let route = manifests::split(&[(self.subset, 100)]).replacen("- route:", "  route:", 1);
        format!("- name: rule\n{matches}{route}")
    }
}

/// The pods: name and labels.
const PODS: [(&str, [(&str, &str); 2]); 4] = [
    ("echo-a", [("version", "v1"), ("track", "stable")]),
    ("echo-b", [("version", "v2"), ("track", "stable")]),
    ("echo-c", [("version", "v1"), ("track", "canary")]),
    ("echo-d", [("version", "v2"), ("track", "canary")]),
];

/// Of the pod that calls.
const CALLER_LABELS: [(&str, &str); 2] = PODS[0].1;

/// The subsets: name and the labels that select their pods.
const SUBSETS: [(&str, &[(&str, &str)]); 5] = [
    ("v1", &[("version", "v1")]),
    ("v2", &[("version", "v2")]),
    ("canary", &[("track", "canary")]),
    ("v2-stable", &[("version", "v2"), ("track", "stable")]),
    ("everyone", &[]),
];

/// The model: the workloads that a call may reach.
fn reachable(rules: &[Rule], headers: &BTreeMap<&'static str, &'static str>) -> BTreeSet<String> {
    // istiod takes a VirtualService of which nothing is for the client's port and labels for none at all.
    if !rules.iter().any(Rule::is_for_the_caller) {
        return PODS.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    let Some(rule) = rules.iter().find(|rule| rule.matches(headers)) else { return BTreeSet::new() };
    let (_, wanted) = SUBSETS.iter().find(|(name, _)| *name == rule.subset).expect("rules name known subsets");
    let selected = PODS.iter().filter(|(_, labels)| wanted.iter().all(|label| labels.contains(label)));
    selected.map(|(name, _)| (*name).to_owned()).collect()
}

fn text(values: &'static [&'static str], regex: &'static str) -> impl Strategy<Value = Text> {
    prop_oneof![
        prop::sample::select(values).prop_map(Text::Exact),
        prop::sample::select(values).prop_map(|value| Text::Prefix(&value[..value.len() / 2 + 1])),
        Just(Text::Regex(regex)),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (prop::collection::vec(alternative(), 0..=2), prop::sample::select(SUBSETS.map(|(name, _)| name).to_vec()))
        .prop_map(|(matches, subset)| Rule { matches, subset })
}

fn alternative() -> impl Strategy<Value = Match> {
    let uri = text(&[PATH, "/proto.EchoTestService/ForwardEcho"], ".*Echo");
    let headers = |most| {
        let header = text(&["alpha", "beta"], "a.*");
        prop::collection::btree_map(prop::sample::select(&["user", "tier"][..]), header, 0..=most)
    };
    (
        prop::option::weighted(0.4, uri),
        headers(2),
        headers(1),
        prop::option::weighted(0.2, prop::sample::select(&[7070_u16, 7071][..])),
        prop::option::weighted(0.2, prop::sample::select(&["v1", "v2"][..])),
    )
        .prop_filter_map("Istio refuses a match without conditions", |(uri, headers, without, port, source)| {
            let some =
                uri.is_some() || !headers.is_empty() || !without.is_empty() || port.is_some() || source.is_some();
            // A header that must match and must not is refused too.
            let apart = headers.keys().all(|name| !without.contains_key(name));
            (some && apart).then_some(Match { uri, headers, without, port, source })
        })
}

fn headers() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let value = prop::sample::select(&["alpha", "beta", "al", "gamma"][..]);
    prop::collection::btree_map(prop::sample::select(&["user", "tier"][..]), value, 0..=2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_go_where_the_model_says(
        rules in prop::collection::vec(rule(), 1..=4),
        calls in prop::collection::vec(headers(), 4),
        seed in 1..1_000_000_u64,
    ) {
        let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
        mesh.apply(manifests::echo(&[]));
        for (name, labels) in PODS {
            mesh.apply(manifests::deployment(name, &labels, true));
        }
        mesh.wait_ready();
        let http: String = rules.iter().map(Rule::yaml).collect();
        mesh.apply(manifests::subsets(&SUBSETS)).apply(manifests::virtual_service(&http)).wait_converged();

        for headers in calls {
            let expected = reachable(&rules, &headers);
            // Round robin: as many calls as pods reach all of them, paced so that no connection is still being made.
            let mut call = Call::new("echo-a", TARGET).count(8).qps(10);
            for (name, value) in &headers {
                call = call.header(*name, *value);
            }
            let report = mesh.call(call);
            let reached: BTreeSet<String> = report.workloads.keys().cloned().collect();
            prop_assert_eq!(&reached, &expected, "{:?} under {:#?}", headers, rules);
            if expected.is_empty() {
                let failure = report.failure.expect("no rule matches");
                prop_assert_eq!(failure.request_code, Some(tonic::Code::Unavailable));
                prop_assert!(failure.message.contains("no matched route was found"), "{}", failure.message);
            }
        }
    }
}
