//! Several DestinationRules for one host become one: which are merged, and whose rule a client gets.
//!
//! Source: Istio `pilot/pkg/model/destination_rule.go` (`mergeDestinationRule`) and `push_context.go`
//! (`destinationRule`), with `ENABLE_ENHANCED_DESTINATIONRULE_MERGE`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Mesh, full_host, hosts_match, is_exported_to};
use crate::objects::{
    ClientTls, ConnectionPool, DestinationRule, Labels, LoadBalancer, ObjectKey, OutlierDetection, Subset,
    TrafficPolicy, selects,
};

/// What several DestinationRules for one host say together.
#[derive(Clone, Debug)]
pub struct MergedRule {
    namespace: String,
    export_to: BTreeSet<String>,
    selector: Option<Labels>,
    traffic_policy: Option<TrafficPolicy>,
    subsets: Vec<Subset>,
    from: Vec<ObjectKey>,
}

/// How clients talk to one port of a host or of one of its subsets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy<'a> {
    /// How endpoints are chosen.
    pub load_balancer: Option<&'a LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<&'a ConnectionPool>,
    /// Whether connections are encrypted.
    pub tls: Option<&'a ClientTls>,
    /// When endpoints are taken out for failing.
    pub outlier_detection: Option<&'a OutlierDetection>,
}

impl MergedRule {
    /// The subsets, first come first.
    #[must_use]
    pub fn subsets(&self) -> &[Subset] {
        &self.subsets
    }

    /// The subset with this name.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| *subset.name == name)
    }

    /// The rules merged into this one, the base first.
    #[must_use]
    pub fn from(&self) -> &[ObjectKey] {
        &self.from
    }

    /// How clients talk to a port of the host, or of one of its subsets.
    ///
    /// A matching `portLevelSettings` entry replaces the policy whole, so that what it leaves out is a default; a
    /// subset's own policy replaces what it sets, and its entry for the port again replaces all.
    #[must_use]
    pub fn policy<'a>(&'a self, port: u16, subset: Option<&'a Subset>) -> Policy<'a> {
        let top = self.traffic_policy.as_ref();
        let inherited =
            top.map(|policy| of_port(policy, port).unwrap_or_else(|| Policy::of(policy))).unwrap_or_default();
        match subset.and_then(|subset| subset.traffic_policy.as_ref()) {
            None => inherited,
            Some(own) => of_port(own, port).unwrap_or_else(|| Policy::of(own).or(inherited)),
        }
    }

    /// Folds in a later rule: subsets with new names, and the policy if there is none yet.
    fn fold(&mut self, rule: &DestinationRule) {
        for subset in &rule.spec.subsets {
            if self.subset(&subset.name).is_none() {
                self.subsets.push(subset.clone());
            }
        }
        if self.traffic_policy.is_none() {
            self.traffic_policy.clone_from(&rule.spec.traffic_policy);
        }
        self.from.push(rule.key());
    }
}

impl<'a> Policy<'a> {
    fn of(policy: &'a TrafficPolicy) -> Self {
        Self {
            load_balancer: policy.load_balancer.as_ref(),
            connection_pool: policy.connection_pool.as_ref(),
            tls: policy.tls.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            load_balancer: self.load_balancer.or(other.load_balancer),
            connection_pool: self.connection_pool.or(other.connection_pool),
            tls: self.tls.or(other.tls),
            outlier_detection: self.outlier_detection.or(other.outlier_detection),
        }
    }
}

/// What a port's own entry says, if it has one.
fn of_port(policy: &TrafficPolicy, port: u16) -> Option<Policy<'_>> {
    let entry = policy.port_level_settings.iter().find(|entry| entry.port.number == u32::from(port))?;
    Some(Policy {
        load_balancer: entry.load_balancer.as_ref(),
        connection_pool: entry.connection_pool.as_ref(),
        tls: entry.tls.as_ref(),
        outlier_detection: entry.outlier_detection.as_ref(),
    })
}

/// All rules, merged, by who may see them.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// For clients of the rules' own namespace.
    local: BTreeMap<String, Hosts>,
    /// For clients of other namespaces.
    exported: BTreeMap<String, Hosts>,
    /// The private rules of the root namespace.
    root_private: Hosts,
}

#[derive(Debug, Default)]
struct Hosts(BTreeMap<String, Vec<MergedRule>>);

impl Rules {
    pub(super) fn new(mesh: &Mesh, mut rules: Vec<Arc<DestinationRule>>) -> Self {
        rules.sort_by(|a, b| {
            let order = |rule: &DestinationRule| rule.spec.workload_selector.is_none();
            (order(a), a.metadata.age()).cmp(&(order(b), b.metadata.age()))
        });
        let mut index = Self::default();
        for rule in &rules {
            let namespace = rule.metadata.namespace.as_str();
            let host = full_host(&rule.spec.host, namespace, mesh);
            let has_selector = rule.spec.workload_selector.is_some();
            let export_to: BTreeSet<String> = if has_selector {
                BTreeSet::from([".".to_owned()])
            } else {
                rule.spec.export_to.iter().cloned().collect()
            };
            let is_private = export_to.len() == 1 && (export_to.contains(".") || export_to.contains(namespace));
            index.local.entry(namespace.to_owned()).or_default().merge(&host, &export_to, rule);
            if !is_private {
                index.exported.entry(namespace.to_owned()).or_default().merge(&host, &export_to, rule);
            } else if namespace == mesh.root_namespace {
                index.root_private.merge(&host, &export_to, rule);
            }
        }
        index
    }

    /// The first level with a rule for the host wins: the client's namespace, the service's, the root namespace.
    pub(super) fn lookup(
        &self,
        mesh: &Mesh,
        namespace: &str,
        labels: &Labels,
        host: &str,
        service_namespace: &str,
    ) -> Option<&MergedRule> {
        let own = if namespace == mesh.root_namespace { Some(&self.root_private) } else { self.local.get(namespace) };
        let exported_by = |owner: &str| {
            let rules = self.exported.get(owner)?.matching(host)?;
            let visible = rules.iter().filter(|rule| is_exported_to(&rule.export_to, owner, namespace));
            choose(visible, namespace, labels)
        };
        own.and_then(|own| own.matching(host))
            .and_then(|rules| choose(rules.iter(), namespace, labels))
            .or_else(|| exported_by(service_namespace))
            .or_else(|| exported_by(&mesh.root_namespace))
    }
}

impl Hosts {
    fn merge(&mut self, host: &str, export_to: &BTreeSet<String>, rule: &DestinationRule) {
        let selector = rule.spec.workload_selector.as_ref().map(|selector| &selector.match_labels);
        let existing = self.0.entry(host.to_owned()).or_default();
        let mut stands_alone = true;
        for merged in existing.iter_mut() {
            if merged.selector.as_ref() != selector {
                continue;
            }
            if merged.export_to == *export_to {
                stands_alone = false;
            } else if merged.export_to.is_empty() || !export_to.is_superset(&merged.export_to) {
                continue;
            }
            merged.fold(rule);
        }
        if stands_alone {
            existing.push(MergedRule {
                namespace: rule.metadata.namespace.clone(),
                export_to: export_to.clone(),
                selector: selector.cloned(),
                traffic_policy: rule.spec.traffic_policy.clone(),
                subsets: Vec::new(),
                from: Vec::new(),
            });
            let merged = existing.last_mut().expect("one was pushed just before");
            merged.fold(rule);
        }
    }

    /// The rules for exactly `host`, else those of the longest wildcard that covers it.
    fn matching(&self, host: &str) -> Option<&Vec<MergedRule>> {
        self.0.get(host).or_else(|| {
            let wildcards = self.0.iter().filter(|(rule, _)| rule.starts_with('*') && hosts_match(rule, host));
            wildcards.max_by_key(|(rule, _)| rule.len()).map(|(_, rules)| rules)
        })
    }
}

/// A rule whose selector fits the client, else the last one without a selector.
fn choose<'a>(
    rules: impl Iterator<Item = &'a MergedRule> + Clone,
    namespace: &str,
    labels: &Labels,
) -> Option<&'a MergedRule> {
    let fits = |rule: &&MergedRule| {
        rule.namespace == namespace && rule.selector.as_ref().is_some_and(|selector| selects(selector, labels))
    };
    rules.clone().find(fits).or_else(|| rules.filter(|rule| rule.selector.is_none()).last())
}
