//! References of objects to others by name or by labels, and those among them that lead nowhere.

use hermesh_istiod::objects::{
    ConfigMapVolume, Container, DestinationRule, Kind, Labels, Object, PodSpec, SERVICE_NAME_LABEL, VolumeSource,
};
use hermesh_istiod::yaml::{Diagnostic, Location, field_path, nearest};

use super::directory::Directory;
use crate::cluster::ISTIO_NAMESPACE;
use crate::cluster::store::Store;

/// What istiod writes into every namespace, a moment after it is there.
const WRITTEN_BY_ISTIOD: &str = "istio-ca-root-cert";

/// The kinds that refer to others beside those that refer to hosts.
const REFERRING: [Kind; 11] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Pod,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::Job,
    Kind::ServiceEntry,
    Kind::ProxyConfig,
    Kind::DestinationRule,
    Kind::PeerAuthentication,
    Kind::AuthorizationPolicy,
];

/// What leads nowhere now, object by object.
pub(super) fn dangling(store: &Store) -> Vec<Diagnostic> {
    let there = Directory::of(store);
    let mut warnings = Vec::new();
    for object in REFERRING.into_iter().flat_map(|kind| store.list(kind)) {
        // What controllers make refers to what their objects refer to.
        if object.metadata().owner.is_none() && object.metadata().origin.0.is_some() {
            Referrer { object: &object, there: &there, warnings: &mut warnings }.look();
        }
    }
    warnings
}

/// One object, and what is said of it.
struct Referrer<'a> {
    object: &'a Object,
    there: &'a Directory<'a>,
    warnings: &'a mut Vec<Diagnostic>,
}

impl Referrer<'_> {
    fn look(&mut self) {
        let object = self.object;
        if let Some((spec, path)) = object.pod_spec() {
            self.pod_spec(path, spec);
        }
        match object {
            Object::Service(service) if !service.spec.selector.is_empty() => {
                self.workloads("spec.selector", &service.spec.selector, "it has no endpoints");
            }
            Object::EndpointSlice(slice) => {
                if let Some(name) = slice.service_name() {
                    let field = field_path("metadata.labels", SERVICE_NAME_LABEL);
                    self.named(Kind::Service, &field, name, "nobody is told of these endpoints");
                }
            }
            Object::StatefulSet(set) if !set.spec.service_name.is_empty() => {
                let name = &set.spec.service_name;
                self.named(Kind::Service, "spec.serviceName", name, "its pods have no names of their own");
            }
            Object::ServiceEntry(entry) => {
                if let Some(selector) = &entry.spec.workload_selector {
                    self.workloads("spec.workloadSelector.labels", &selector.labels, "it has no endpoints");
                }
            }
            Object::DestinationRule(rule) => {
                if let Some(selector) = &rule.spec.workload_selector {
                    let field = "spec.workloadSelector.matchLabels";
                    self.workloads(field, &selector.match_labels, "the rule is for no client");
                }
                self.subsets(rule);
            }
            Object::PeerAuthentication(policy) => {
                let selector = policy.spec.selector.as_ref().map(|selector| &selector.match_labels);
                self.policy(selector);
            }
            Object::AuthorizationPolicy(policy) => {
                let selector = policy.spec.selector.as_ref().map(|selector| &selector.match_labels);
                self.policy(selector);
            }
            Object::ProxyConfig(config) => self.policy(config.spec.labels()),
            _ => {}
        }
    }

    fn policy(&mut self, selector: Option<&Labels>) {
        if let Some(selector) = selector {
            self.workloads("spec.selector.matchLabels", selector, "it is for nobody");
        }
    }

    /// The workloads that have the labels: of the namespace, or of all if the object is a policy of the mesh.
    fn workloads(&mut self, field: &str, selector: &Labels, so: &str) {
        let namespace = self.object.metadata().namespace.clone();
        let is_policy = matches!(
            self.object.kind(),
            Kind::PeerAuthentication | Kind::AuthorizationPolicy | Kind::ProxyConfig | Kind::DestinationRule
        );
        let of = Some(namespace.as_str()).filter(|namespace| !(is_policy && *namespace == ISTIO_NAMESPACE));
        if selector.is_empty() || self.there.selects(of, selector) {
            return;
        }
        let place = of.map_or_else(|| "the mesh".to_owned(), |namespace| format!("namespace {namespace}"));
        let message = format!("no workload in {place} has the labels {}: {so}", described(selector));
        let meant = self.meant(of, selector);
        self.warn(field, message, meant);
    }

    /// The label that was perhaps meant by one that nobody has.
    fn meant(&self, of: Option<&str>, selector: &Labels) -> Option<String> {
        selector.iter().find_map(|(key, value)| {
            let values = self.there.values(of, key);
            let near = nearest(value, values.iter().copied()).filter(|near| near != value)?;
            Some(format!("{key}: {near}"))
        })
    }

    fn subsets(&mut self, rule: &DestinationRule) {
        let own = &rule.metadata.namespace;
        let mut parts = rule.spec.host.split('.');
        let (name, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or(own));
        let Some(Object::Service(service)) = self.there.get(Kind::Service, namespace, name) else { return };
        let selector = &service.spec.selector;
        // Of a Service that itself selects nobody enough is said.
        if selector.is_empty() || !self.there.selects(Some(namespace), selector) {
            return;
        }
        for (index, subset) in rule.spec.subsets.iter().enumerate().filter(|(_, subset)| !subset.labels.is_empty()) {
            let both: Labels = selector.clone().into_iter().chain(subset.labels.clone()).collect();
            if !self.there.selects(Some(namespace), &both) {
                let labels = described(&subset.labels);
                let message =
                    format!("no workload of {name}.{namespace} has the labels {labels}: calls to it will fail");
                let meant = self.meant(Some(namespace), &subset.labels);
                self.warn(&format!("spec.subsets[{index}].labels"), message, meant);
            }
        }
    }

    fn pod_spec(&mut self, path: &str, spec: &PodSpec) {
        if spec.service_account() != "default" {
            let field = ["serviceAccountName", "serviceAccount"].map(|field| format!("{path}.{field}"));
            let field = if self.is_written(&field[0]) { &field[0] } else { &field[1] };
            self.named(Kind::ServiceAccount, field, spec.service_account(), "its pods cannot be made");
        }
        for (index, volume) in spec.volumes.iter().enumerate() {
            let path = format!("{path}.volumes[{index}]");
            match &volume.source {
                VolumeSource::ConfigMap(volume) => self.volume(&format!("{path}.configMap"), volume),
                VolumeSource::Projected(volume) => {
                    for (number, source) in volume.sources.iter().enumerate() {
                        if let Some(volume) = &source.config_map {
                            self.volume(&format!("{path}.projected.sources[{number}].configMap"), volume);
                        }
                    }
                }
                VolumeSource::EmptyDir(_) | VolumeSource::DownwardApi(_) => {}
            }
        }
        for (list, containers) in [("initContainers", &spec.init_containers), ("containers", &spec.containers)] {
            for (index, container) in containers.iter().enumerate() {
                self.environment(&format!("{path}.{list}[{index}]"), container);
            }
        }
    }

    fn volume(&mut self, path: &str, volume: &ConfigMapVolume) {
        if volume.optional || volume.name == WRITTEN_BY_ISTIOD {
            return;
        }
        const SO: &str = "its pods stay in ContainerCreating";
        let namespace = &self.object.metadata().namespace;
        let Some(map) = self.there.config_map(namespace, &volume.name) else {
            return self.named(Kind::ConfigMap, &format!("{path}.name"), &volume.name, SO);
        };
        for (index, item) in volume.items.iter().enumerate().filter(|(_, item)| !map.data.contains_key(&item.key)) {
            let message = format!("ConfigMap {} has no key {:?}: {SO}", volume.name, item.key);
            let meant = nearest(&item.key, map.data.keys().map(String::as_str)).map(str::to_owned);
            self.warn(&format!("{path}.items[{index}].key"), message, meant);
        }
    }

    fn environment(&mut self, path: &str, container: &Container) {
        const SO: &str = "its container does not start (CreateContainerConfigError)";
        for (index, variable) in container.env.iter().enumerate() {
            let reference = variable.value_from.as_ref().and_then(|source| source.config_map_key_ref.as_ref());
            let Some(reference) = reference.filter(|reference| !reference.optional) else { continue };
            let path = format!("{path}.env[{index}].valueFrom.configMapKeyRef");
            match self.there.config_map(&self.object.metadata().namespace, &reference.name) {
                None => self.named(Kind::ConfigMap, &format!("{path}.name"), &reference.name, SO),
                Some(map) if !map.data.contains_key(&reference.key) => {
                    let message = format!("ConfigMap {} has no key {:?}: {SO}", reference.name, reference.key);
                    let meant = nearest(&reference.key, map.data.keys().map(String::as_str)).map(str::to_owned);
                    self.warn(&format!("{path}.key"), message, meant);
                }
                Some(_) => {}
            }
        }
    }

    /// An object of the same namespace by its name.
    fn named(&mut self, kind: Kind, field: &str, name: &str, so: &str) {
        let namespace = self.object.metadata().namespace.clone();
        if self.there.has(kind, &namespace, name) {
            return;
        }
        let names = self.there.names(kind, &namespace);
        let meant = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
        self.warn(field, format!("there is no {kind} {name} in namespace {namespace}: {so}"), meant);
    }

    fn is_written(&self, field: &str) -> bool {
        let live = self.object.metadata().written.live.as_ref();
        live.is_some_and(|tree| tree.find(field).is_some())
    }

    fn warn(&mut self, field: &str, message: String, meant: Option<String>) {
        let metadata = self.object.metadata();
        let origin = metadata.origin.0.clone().unwrap_or_else(|| Location::in_file(""));
        let position =
            metadata.written.live.as_ref().map_or_else(|| origin.position(), |tree| tree.at_path(field).position);
        let warning = Diagnostic::warning("dangling", origin.at(position).field(field), message);
        self.warnings.push(match meant {
            Some(meant) => warning.with_help(format!("did you mean `{meant}`?")),
            None => warning,
        });
    }
}

fn described(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
