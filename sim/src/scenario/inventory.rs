//! What the manifests of a scenario deploy, as far as steps name it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hermesh_istiod::objects::{Container, Labels, Object, ObjectKey};
use hermesh_istiod::yaml::{Location, listed, nearest};

use super::services::Services;
use super::target::Target;
use crate::cluster::injection::{self, asks_for_templates_image, volume_names};
use crate::cluster::machines::is_pod_of;
use crate::cluster::patch::Patch;

/// Where istiod runs, which every mesh has.
const ISTIOD: (&str, &str) = ("istio-system", "istiod");

/// The container that injection adds.
const SIDECAR: &str = "istio-proxy";

/// The objects in the file of a scenario, or those of a step.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    pub(super) whole: Vec<Object>,
    /// Those with mistakes in them: their names count, and little else.
    pub(super) broken: Vec<Object>,
    /// Whether there is more, of which nothing is known.
    pub(super) more: bool,
    /// Of those that a patch made what they are, the patch.
    pub(super) patches: BTreeMap<ObjectKey, Patch>,
}

impl Objects {
    /// All that have a name.
    pub(super) fn named(&self) -> impl Iterator<Item = &Object> {
        self.whole.iter().chain(&self.broken)
    }

    /// The images that their containers want, and whether that is all of them. `agent` is the image that injection
    /// gives agents.
    pub(super) fn images(&self, agent: &str) -> (Vec<WantedImage>, bool) {
        let mut wanted: Vec<WantedImage> = self.whole.iter().flat_map(|object| self.own_images(object)).collect();
        let mut all = !self.more;
        for broken in &self.broken {
            let images = images(broken);
            let deploys = broken.pod_spec().is_some();
            all &= !deploys || (!images.is_empty() && images.iter().all(|wanted| !wanted.image.is_empty()));
            wanted.extend(images.into_iter().filter(|wanted| !wanted.image.is_empty()));
        }
        wanted.extend(self.named().flat_map(|object| injected_images(object, agent)));
        (wanted, all)
    }

    /// The images of an object; of one that was patched those that the patch has brought.
    fn own_images(&self, object: &Object) -> Vec<WantedImage> {
        let mut wanted = images(object);
        if let Some(patch) = self.patches.get(&object.key()) {
            wanted.retain(|wanted| wanted.location.field.as_ref().is_some_and(|field| patch.mentions(field)));
            for image in &mut wanted {
                image.location = patch.place_of(image.location.field.as_deref().unwrap_or_default());
                image.is_precise = true;
            }
        }
        wanted
    }
}

/// A Deployment, StatefulSet or Job, or a Pod of its own.
#[derive(Clone, Debug)]
struct Workload {
    /// `None` if nobody knows, and so of the containers.
    pods: Option<usize>,
    /// Of a StatefulSet, those that its pods are named by.
    ordinals: Range<u32>,
    containers: Option<Vec<String>>,
    /// Those of its own, and those that injection may add.
    volumes: Option<Vec<String>>,
}

/// An image that a container wants.
#[derive(Clone, Debug)]
pub(super) struct WantedImage {
    pub(super) image: String,
    pub(super) location: Location,
    /// Whether that is its own place and not that of its object.
    pub(super) is_precise: bool,
    /// Whether it is wanted only if the pod is injected.
    pub(super) is_injected: bool,
}

/// The workloads that are deployed at some point of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Inventory {
    namespace: String,
    workloads: BTreeMap<(String, String), Workload>,
    services: Services,
    /// The WorkloadGroups and the machines there are, by namespace and name.
    groups: BTreeSet<(String, String)>,
    machines: BTreeSet<(String, String)>,
    /// Whether there is more, of which nothing is known.
    more: bool,
}

impl Inventory {
    /// An empty cluster, seen from `namespace`.
    pub(super) fn seen_from(namespace: &str) -> Self {
        let (istio_system, istiod) = ISTIOD;
        let containers = Some(vec!["discovery".to_owned()]);
        let workload = Workload { pods: Some(1), ordinals: 0..0, containers, volumes: None };
        let workloads = BTreeMap::from([((istio_system.to_owned(), istiod.to_owned()), workload)]);
        let (groups, machines) = (BTreeSet::new(), BTreeSet::new());
        let services = Services::of_istio();
        Self { namespace: namespace.to_owned(), workloads, services, groups, machines, more: false }
    }

    pub(super) fn apply_all(&mut self, objects: &Objects) {
        objects.whole.iter().for_each(|object| self.apply(object));
        for object in &objects.broken {
            match object {
                Object::Service(service) => self.services.apply_name(service),
                Object::ServiceEntry(entry) => self.services.apply_entry(entry, true),
                Object::WorkloadGroup(_) => drop(self.groups.insert(key(object))),
                _ if object.pod_spec().is_some() => {
                    let workload = Workload { pods: None, ordinals: 0..0, containers: None, volumes: None };
                    self.workloads.insert(key(object), workload);
                }
                _ => {}
            }
        }
        self.more |= objects.more;
    }

    fn apply(&mut self, object: &Object) {
        match object {
            Object::Service(service) => return self.services.apply(service),
            Object::ServiceEntry(entry) => return self.services.apply_entry(entry, false),
            Object::WorkloadGroup(_) => {
                self.groups.insert(key(object));
                return;
            }
            _ => {}
        }
        let Some((spec, _)) = object.pod_spec() else { return };
        let pods = match object {
            Object::Deployment(deployment) => Some(deployment.spec.replicas as usize),
            Object::StatefulSet(set) if set.spec.replicas == 0 => Some(0),
            Object::StatefulSet(set) => Some(set.spec.wanted().end as usize),
            // It makes as many as it takes.
            Object::Job(_) => None,
            _ => Some(1),
        };
        let containers = spec.containers.iter().chain(&spec.init_containers);
        let injected = annotations(object).map(|annotations| injection::images(annotations, "")).unwrap_or_default();
        let injected = injected.into_iter().map(|(name, _)| name.to_owned()).filter(|name| name != SIDECAR);
        let containers = containers.map(|container| container.name.clone()).chain(injected).collect();
        let claims = match object {
            Object::StatefulSet(set) => set.spec.volume_claim_templates.as_slice(),
            _ => &[],
        };
        let volumes = spec.volumes.iter().map(|volume| volume.name.clone());
        let volumes = volumes.chain(claims.iter().map(|claim| claim.metadata.name.clone()));
        let injected = annotations(object).and_then(volume_names);
        let volumes = injected.map(|injected| volumes.chain(injected).collect());
        let workload = Workload { pods, ordinals: ordinals(object), containers: Some(containers), volumes };
        self.workloads.insert(key(object), workload);
    }

    pub(super) fn delete(&mut self, object: &Object) {
        self.services.delete(object);
        match object {
            Object::Namespace(namespace) => {
                let machines = self.machines.clone();
                self.workloads.retain(|key, _| key.0 != namespace.metadata.name || machines.contains(key));
                self.groups.retain(|(of, _)| *of != namespace.metadata.name);
            }
            Object::WorkloadGroup(_) => {
                self.groups.remove(&key(object));
            }
            _ if object.pod_spec().is_some() => {
                self.workloads.remove(&key(object));
            }
            _ => {}
        }
    }

    /// A machine of this name is there, and a workload as others are.
    pub(super) fn boot(&mut self, machine: &str) {
        let key = self.own(machine);
        let containers = Some(vec!["app".to_owned()]);
        let machine = Workload { pods: Some(1), ordinals: 0..0, containers, volumes: None };
        self.workloads.entry(key.clone()).or_insert(machine);
        self.machines.insert(key);
    }

    pub(super) fn shut_down(&mut self, machine: &str) {
        let key = self.own(machine);
        if self.machines.remove(&key) {
            self.workloads.remove(&key);
        }
    }

    /// What has a name already that a machine is to get.
    pub(super) fn taken(&self, machine: &str) -> Option<String> {
        let key = self.own(machine);
        let what = if self.machines.contains(&key) { "machine" } else { "workload" };
        let of = &self.namespace;
        if self.workloads.contains_key(&key) {
            return Some(format!("a {what} `{machine}` is there already in namespace {of}"));
        }
        let own = self.workloads.iter().filter(|((namespace, _), _)| namespace == of);
        let mut sets = own.filter(|((_, set), workload)| is_pod_of(machine, set, &workload.ordinals));
        let ((_, set), _) = sets.next()?;
        Some(format!("`{machine}` is a pod of StatefulSet `{set}` in namespace {of}"))
    }

    /// The machine, `namespace/name`, whose name an object would get, or one of its pods.
    pub(super) fn machine_named(&self, object: &Object) -> Option<String> {
        object.pod_spec()?;
        let (of, name) = key(object);
        let ordinals = ordinals(object);
        let mut machines = self.machines.iter().filter(|(namespace, _)| *namespace == of);
        let (_, machine) = machines.find(|(_, machine)| *machine == name || is_pod_of(machine, &name, &ordinals))?;
        Some(format!("{of}/{machine}"))
    }

    /// What is wrong with the name of a WorkloadGroup of the scenario's namespace.
    pub(super) fn group_complaint(&self, group: &str, ever: &Self) -> Option<String> {
        missing("WorkloadGroup", &self.own(group), &self.groups, &ever.groups, "applied").filter(|_| !self.more)
    }

    /// What is wrong with the name of a machine.
    pub(super) fn machine_complaint(&self, machine: &str, ever: &Self) -> Option<String> {
        missing("machine", &self.own(machine), &self.machines, &ever.machines, "on")
    }

    /// What is wrong with the name of a volume of a workload's pods.
    pub(super) fn volume_complaint(&self, target: &Target, volume: &str) -> Option<String> {
        let key = self.resolve(target)?;
        let name = &target.workload;
        if self.machines.contains(&key) {
            return Some(format!("machine `{name}` has no volumes"));
        }
        if self.is_istiod(target) {
            return Some("istiod keeps nothing in volumes".to_owned());
        }
        let own = self.workloads[&key].volumes.as_ref()?;
        let names: Vec<&str> = own.iter().map(String::as_str).collect();
        if names.contains(&volume) {
            return None;
        }
        Some(match nearest(volume, names.iter().copied()) {
            Some(near) => format!("the pods of `{name}` have no volume `{volume}`; did you mean `{near}`?"),
            None => format!("the pods of `{name}` have no volume `{volume}`; they can have {}", listed(&names)),
        })
    }

    /// Whether that is istiod itself.
    pub(super) fn is_istiod(&self, target: &Target) -> bool {
        self.resolve(target).is_some_and(|(namespace, name)| (namespace.as_str(), name.as_str()) == ISTIOD)
    }

    fn own(&self, name: &str) -> (String, String) {
        (self.namespace.clone(), name.to_owned())
    }

    /// Whether any name may be that of something there.
    pub(super) fn has_more(&self) -> bool {
        self.more
    }

    /// The namespaces in which a pod may be that nobody knows.
    pub(super) fn namespaces(&self, target: &Target) -> BTreeSet<String> {
        self.workloads.keys().map(|(of, _)| of.clone()).chain([self.namespace_of(target).to_owned()]).collect()
    }

    /// The namespace that a name means.
    pub(super) fn namespace_of<'a>(&'a self, target: &'a Target) -> &'a str {
        target.namespace.as_ref().unwrap_or(&self.namespace)
    }

    /// The Services there are.
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// Whether a workload is known, and none of its pods can ever be.
    pub(super) fn is_without_pods(&self, target: &Target) -> bool {
        self.resolve(target).is_some_and(|key| self.workloads[&key].pods == Some(0))
    }

    /// Whether any workload but istiod is deployed.
    pub(super) fn is_empty(&self) -> bool {
        self.workloads.len() <= 1 && !self.more
    }

    /// The name by which reports and traces know the workload: with its namespace unless it is the scenario's.
    pub(super) fn resolve(&self, target: &Target) -> Option<(String, String)> {
        let (istio_system, istiod) = ISTIOD;
        let candidates = match &target.namespace {
            Some(namespace) => vec![namespace.as_str()],
            None if target.workload == istiod => vec![&self.namespace, istio_system],
            None => vec![self.namespace.as_str()],
        };
        let keys = candidates.into_iter().map(|namespace| (namespace.to_owned(), target.workload.clone()));
        keys.into_iter().find(|key| self.workloads.contains_key(key))
    }

    /// What is wrong with a name, if something is. `ever` is all that any step of the scenario deploys.
    pub(super) fn complaint(&self, target: &Target, ever: &Self) -> Option<String> {
        let Some(key) = self.resolve(target) else {
            if self.more {
                return None;
            }
            if ever.resolve(target).is_some() {
                return Some(not_deployed(target));
            }
            return Some(self.unknown(target, ever));
        };
        let workload = &self.workloads[&key];
        let name = &target.workload;
        if let (Some(pods), Some(ordinal)) = (workload.pods, target.ordinal)
            && ordinal >= pods
        {
            return Some(match pods {
                0 => format!("workload `{name}` has no pods"),
                1 => format!("workload `{name}` has no pod {ordinal}; its only pod is `{name}/0`"),
                pods => format!("workload `{name}` has no pod {ordinal}; its pods are 0 to {}", pods - 1),
            });
        }
        let container = target.container.as_deref()?;
        let mut names: Vec<&str> = workload.containers.as_ref()?.iter().map(String::as_str).collect();
        if key.0 != ISTIOD.0 {
            names.push(SIDECAR);
        }
        if names.contains(&container) {
            return None;
        }
        Some(super::read::unknown("container", container, &names))
    }

    fn unknown(&self, target: &Target, ever: &Self) -> String {
        let namespace = self.namespace_of(target);
        let names: BTreeSet<&str> =
            ever.workloads.keys().filter(|(of, _)| of == namespace).map(|(_, name)| name.as_str()).collect();
        let name = &target.workload;
        if let Some(near) = nearest(name, names.iter().copied().chain([ISTIOD.1])) {
            return format!("no workload `{name}` in namespace {namespace}; did you mean `{near}`?");
        }
        let elsewhere = ever.workloads.keys().find(|(_, other)| other == name);
        if let Some((of, _)) = elsewhere {
            return format!("no workload `{name}` in namespace {namespace}; did you mean `{of}/{name}`?");
        }
        if ever.more {
            return not_deployed(target);
        }
        match names.into_iter().collect::<Vec<_>>().as_slice() {
            [] => format!("no workload `{name}` in namespace {namespace}; no manifest deploys anything there"),
            names => {
                let listed = hermesh_istiod::yaml::listed(names);
                format!("no workload `{name}` in namespace {namespace}; the manifests deploy {listed}")
            }
        }
    }
}

/// What to say of a name that is not among `now`.
fn missing(
    what: &str,
    key: &(String, String),
    now: &BTreeSet<(String, String)>,
    ever: &BTreeSet<(String, String)>,
    state: &str,
) -> Option<String> {
    let (of, name) = key;
    if now.contains(key) {
        return None;
    }
    if ever.contains(key) {
        return Some(format!("{what} `{name}` is not {state} at this step"));
    }
    let names: Vec<&str> = ever.iter().filter(|(other, _)| other == of).map(|(_, name)| name.as_str()).collect();
    Some(match nearest(name, names.iter().copied()) {
        Some(near) => format!("no {what} `{name}` in namespace {of}; did you mean `{near}`?"),
        None => format!("no {what} `{name}` in namespace {of}"),
    })
}

fn not_deployed(target: &Target) -> String {
    format!("workload `{}` is not deployed at this step", target.workload)
}

/// The ordinals of a StatefulSet's pods.
fn ordinals(object: &Object) -> Range<u32> {
    match object {
        Object::StatefulSet(set) => set.spec.wanted(),
        _ => 0..0,
    }
}

fn key(object: &Object) -> (String, String) {
    let metadata = object.metadata();
    (metadata.namespace.clone(), metadata.name.clone())
}

/// The annotations of an object's pods.
fn annotations(object: &Object) -> Option<&Labels> {
    match object {
        Object::Pod(pod) => Some(&pod.metadata.annotations),
        _ => object.pod_template().map(|template| &template.metadata.annotations),
    }
}

/// The images that the containers of `object` get if its pods are injected.
fn injected_images(object: &Object, agent: &str) -> Vec<WantedImage> {
    let (Some((spec, path)), Some(annotations)) = (object.pod_spec(), annotations(object)) else { return Vec::new() };
    let has_own = |name: &str| {
        let mut containers = spec.init_containers.iter().chain(&spec.containers);
        containers.any(|container| container.name == name && !asks_for_templates_image(&container.image))
    };
    let origin = object.metadata().origin.0.clone().unwrap_or_else(|| Location::in_file(""));
    let images = injection::images(annotations, agent).into_iter().filter(|(name, _)| !has_own(name));
    images
        .map(|(_, image)| {
            let location = origin.clone().field(path);
            WantedImage { image, location, is_precise: false, is_injected: true }
        })
        .collect()
}

/// The images that the containers of `object` want, but for those that injection decides.
fn images(object: &Object) -> Vec<WantedImage> {
    let Some((spec, path)) = object.pod_spec() else { return Vec::new() };
    let templates = annotations(object).map(|annotations| injection::images(annotations, "")).unwrap_or_default();
    let is_replaced = |container: &Container| {
        asks_for_templates_image(&container.image) && templates.iter().any(|(name, _)| *name == container.name)
    };
    let origin = object.metadata().origin.0.clone().unwrap_or_else(|| Location::in_file(""));
    let mut wanted = Vec::new();
    for (list, containers) in [("initContainers", &spec.init_containers), ("containers", &spec.containers)] {
        let own = containers.iter().enumerate().filter(|(_, container)| !is_replaced(container));
        wanted.extend(own.map(|(index, container)| WantedImage {
            image: container.image.clone(),
            location: origin.clone().field(format!("{path}.{list}[{index}].image")),
            is_precise: false,
            is_injected: false,
        }));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::{Deployment, Metadata};

    use super::*;

    fn deployment(namespace: &str, name: &str, replicas: u32) -> Object {
        let mut deployment = Deployment { metadata: Metadata::named(namespace, name), ..Deployment::default() };
        deployment.spec.replicas = replicas;
        deployment.spec.template.spec.containers = vec![Container { name: "app".into(), ..Container::default() }];
        deployment.into()
    }

    fn inventory() -> Inventory {
        let mut inventory = Inventory::seen_from("shop");
        inventory.apply(&deployment("shop", "web", 2));
        inventory.apply(&deployment("shop", "cart-v1", 1));
        inventory.apply(&deployment("bank", "ledger", 0));
        inventory.apply_all(&Objects { broken: vec![deployment("shop", "broken", 0)], ..Objects::default() });
        inventory
    }

    #[test]
    fn names_that_mean_something_give_no_complaint() {
        let inventory = inventory();
        for name in ["web", "web/1", "web/0/app", "web/0/istio-proxy", "bank/ledger", "istiod", "istiod/0/discovery"]
            .into_iter()
            .chain(["broken", "broken/7", "broken/0/sidecar"])
        {
            assert_eq!(inventory.complaint(&name.parse().unwrap(), &inventory), None, "{name}");
        }
    }

    #[test]
    fn names_that_mean_nothing_are_explained() {
        let inventory = inventory();
        for (name, complaint) in [
            ("wep", "no workload `wep` in namespace shop; did you mean `web`?"),
            ("ledger", "no workload `ledger` in namespace shop; did you mean `bank/ledger`?"),
            ("checkout", "no workload `checkout` in namespace shop; the manifests deploy broken, cart-v1 or web"),
            ("none/web", "no workload `web` in namespace none; did you mean `shop/web`?"),
            ("none/x", "no workload `x` in namespace none; no manifest deploys anything there"),
            ("web/2", "workload `web` has no pod 2; its pods are 0 to 1"),
            ("cart-v1/1", "workload `cart-v1` has no pod 1; its only pod is `cart-v1/0`"),
            ("bank/ledger/0", "workload `ledger` has no pods"),
            ("web/0/ap", "unknown container \"ap\"; expected app or istio-proxy"),
            ("web/0/isto-proxy", "unknown container \"isto-proxy\"; did you mean `istio-proxy`?"),
        ] {
            assert_eq!(inventory.complaint(&name.parse().unwrap(), &inventory).as_deref(), Some(complaint), "{name}");
        }
    }

    #[test]
    fn containers_that_injection_adds_are_known() {
        let mut inventory = Inventory::seen_from("shop");
        let mut web = deployment("shop", "web", 1);
        if let Object::Deployment(web) = &mut web {
            let annotations = &mut std::sync::Arc::make_mut(web).spec.template.metadata.annotations;
            annotations.insert("inject.istio.io/templates".to_owned(), "grpc-simple".to_owned());
        }
        inventory.apply(&web);
        let complaint = |name: &str| inventory.complaint(&name.parse().unwrap(), &inventory);
        assert_eq!(complaint("web/0/grpc-bootstrap-init"), None);
        assert_eq!(
            complaint("web/0/grpc-bootstrap-inti").as_deref(),
            Some("unknown container \"grpc-bootstrap-inti\"; did you mean `grpc-bootstrap-init`?")
        );
    }

    #[test]
    fn a_deleted_workload_is_known_but_not_deployed() {
        let ever = inventory();
        let mut now = ever.clone();
        now.delete(&deployment("shop", "web", 2));
        assert_eq!(
            now.complaint(&"web".parse().unwrap(), &ever).as_deref(),
            Some("workload `web` is not deployed at this step")
        );
    }
}
