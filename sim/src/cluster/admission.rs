//! What the API server refuses, and what it fills in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_istiod::objects::{
    ClusterIp, Container, Deployment, EndpointSlice, Job, Kind, Metadata, Object, ObjectKey, Pod, PodSpec, ServiceType,
    selects,
};
use hermesh_istiod::yaml::{Diagnostic, Location, field_path};

use super::WORKLOADS;
use super::addresses::Pool;
use super::bounds::{self, PODS_MAX, SERVICES_MAX};
use super::injection::grpc_simple::shell_of;
use super::injection::{InjectionError, asks_for_templates_image};
use super::pods::{self, Pods};
use super::service_accounts;
use super::stateful_sets::add_claims;
use super::store::Store;
use crate::engine::World;
use crate::image::Images;

/// The API server's last word on objects; clones share it.
#[derive(Clone)]
pub(crate) struct Admission {
    world: World,
    store: Store,
    addresses: Arc<Mutex<Pool>>,
}

/// What to do about a Pod that was deleted and is still there.
const APPLY_LATER: &str = "apply it once it is gone, after its grace period at the latest";

/// What admission has to say about a batch of objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Review {
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) notes: Vec<Diagnostic>,
}

impl Admission {
    pub(crate) fn new(world: &World, store: &Store) -> Self {
        let addresses = Arc::new(Mutex::new(Pool::services()));
        Self { world: world.clone(), store: store.clone(), addresses }
    }

    /// Looks at `objects`, which are to be applied in this order. Nothing is changed.
    pub(crate) fn review(&self, objects: &[Object], maker: &Pods, images: &Images) -> Review {
        let mut review = Review::default();
        let mut namespaces: BTreeSet<String> =
            self.store.keys(Kind::Namespace).into_iter().map(|key| key.name).collect();
        let mut labels = BTreeMap::new();
        let mut census = Census::of(&self.store);
        let mut own_pods = BTreeMap::new();
        for object in objects {
            let metadata = object.metadata();
            if let Object::Namespace(namespace) = object {
                namespaces.insert(metadata.name.clone());
                labels.insert(metadata.name.clone(), namespace.metadata.labels.clone());
                continue;
            }
            if object.kind().is_namespaced() && !namespaces.contains(&metadata.namespace) {
                review.errors.push(self.missing_namespace(object, objects));
                continue;
            }
            census.add(object, &mut review);
            let own_labels = labels.get(&metadata.namespace);
            match object {
                Object::Deployment(deployment) => selected(deployment, &mut review),
                Object::EndpointSlice(slice) => loopback(slice, object, &mut review),
                Object::Pod(pod) => {
                    let earlier = own_pods.insert(pod.key(), Arc::clone(pod));
                    self.replaced_pod(pod, earlier, &mut review);
                    self.account(pod, objects, &mut review);
                    pods(Pod::clone(pod), None, object, own_labels, maker, images, &mut review);
                }
                _ => {}
            }
            if let Some(there) = self.store.get(&object.key()) {
                review.errors.extend(immutable_fields(&there, object));
            }
            if let Some(template) = object.pod_template() {
                let mut pod = pods::of_template(&metadata.namespace, template);
                if let Object::StatefulSet(set) = object {
                    add_claims(&mut pod, set);
                }
                pods(pod, Some(&object.key()), object, own_labels, maker, images, &mut review);
            }
        }
        review
    }

    /// Fills in what the API server assigns.
    pub(crate) fn complete(&self, mut object: Object) -> Object {
        let key = object.key();
        if let Object::Service(service) = &mut object
            && service.spec.service_type != ServiceType::ExternalName
        {
            let service = Arc::make_mut(service);
            match service.spec.cluster_ip {
                // Whoever leaves it out keeps what there is, also that there is none.
                None => {
                    let kept = self.cluster_ip(&key).unwrap_or_else(|| ClusterIp::Address(self.address(&key)));
                    service.spec.cluster_ip = Some(kept);
                }
                Some(ClusterIp::Address(address)) => {
                    self.lock().claim(address);
                }
                Some(ClusterIp::None) => {}
            }
        }
        object
    }

    /// Gives back the address of a Service that is going.
    pub(crate) fn release(&self, service: &ObjectKey) {
        if let Some(address) = self.assigned(service) {
            self.lock().release(address);
        }
    }

    /// A new address for a Service.
    fn address(&self, service: &ObjectKey) -> std::net::IpAddr {
        let path = format!("service/{}/{}", service.namespace, service.name);
        let mut draws = self.world.runtime().draws(&path);
        self.lock().drawn(&mut draws).expect("the pool has 65 000 addresses, more than a simulation has Services")
    }

    fn assigned(&self, service: &ObjectKey) -> Option<std::net::IpAddr> {
        self.cluster_ip(service).and_then(ClusterIp::address)
    }

    fn cluster_ip(&self, service: &ObjectKey) -> Option<ClusterIp> {
        match self.store.get(service) {
            Some(Object::Service(service)) => service.spec.cluster_ip,
            _ => None,
        }
    }

    /// A Pod that is there already, or stands `earlier` in the same manifests: hardly anything of it can change.
    fn replaced_pod(&self, pod: &Arc<Pod>, earlier: Option<Arc<Pod>>, review: &mut Review) {
        let key = pod.key();
        let there = self.store.get(&key);
        let owner = there.as_ref().and_then(|there| there.metadata().owner.clone());
        let ends = there.is_some_and(|there| there.metadata().deletion_timestamp.is_some());
        let kept = || match self.store.manifest(&key) {
            Some(Object::Pod(kept)) => Some(kept),
            _ => None,
        };
        let changes = earlier.or_else(kept).is_some_and(|before| before.spec != pod.spec);
        let object = Object::Pod(Arc::clone(pod));
        if let Some(owner) = owner {
            let message = format!("the Pod belongs to {} {}", owner.kind, owner.name);
            let error = Diagnostic::error("owned", place(&object, "metadata.name"), message);
            review.errors.push(error.with_help(format!("change the {} instead", owner.kind)));
        } else if changes {
            let error =
                Diagnostic::error("immutable", place(&object, "spec"), "the spec of a Pod that is there changes");
            let help = "delete the Pod first; changes of its images are not supported yet";
            review.errors.push(match ends {
                true => error.with_help(format!("the Pod is being deleted: {APPLY_LATER}")),
                false => error.with_help(help),
            });
        } else if ends {
            let message = "the Pod is being deleted: it ends all the same, and no other takes its place";
            let note = Diagnostic::warning("terminating", place(&object, "metadata.name"), message);
            review.notes.push(note.with_help(APPLY_LATER));
        }
    }

    fn missing_namespace(&self, object: &Object, objects: &[Object]) -> Diagnostic {
        let namespace = &object.metadata().namespace;
        let message = format!("namespace \"{namespace}\" not found");
        let later = objects.iter().any(|other| other.kind() == Kind::Namespace && other.metadata().name == *namespace);
        let help = if later {
            format!("apply Namespace {namespace} before what is in it")
        } else {
            format!("apply a Namespace {namespace} first")
        };
        Diagnostic::error("namespace-not-found", place(object, "metadata.namespace"), message).with_help(help)
    }

    /// That a pod of its own has its account, `objects` being applied in their order.
    fn account(&self, pod: &Pod, objects: &[Object], review: &mut Review) {
        let account = service_accounts::of(pod);
        let place_of = |key: &ObjectKey| objects.iter().position(|object| object.key() == *key);
        let (own, accounts) = (place_of(&pod.key()), place_of(&account));
        if self.store.contains(&pod.key())
            || service_accounts::is_there(&account, &self.store)
            || accounts.is_some_and(|accounts| own.is_some_and(|own| accounts < own))
        {
            return;
        }
        let object = Object::from(pod.clone());
        let written = pod.metadata.written.live.as_ref();
        let is_old = written.is_some_and(|tree| tree.find("spec.serviceAccountName").is_none());
        let field = if is_old { "spec.serviceAccount" } else { "spec.serviceAccountName" };
        let error = Diagnostic::error("forbidden", place(&object, field), service_accounts::not_found(&account));
        let help = if accounts.is_some() {
            format!("apply ServiceAccount {} before its pods", account.name)
        } else {
            format!("apply a ServiceAccount {} first", account.name)
        };
        review.errors.push(error.with_help(help));
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the objects of the cluster, and those about to be applied, ask for.
struct Census {
    pods: BTreeMap<ObjectKey, u64>,
    services: BTreeMap<ObjectKey, Option<IpAddr>>,
}

impl Census {
    fn of(store: &Store) -> Self {
        let mut census = Self { pods: BTreeMap::new(), services: BTreeMap::new() };
        let kinds = WORKLOADS.into_iter().chain([Kind::Pod, Kind::Service]);
        // Pods of a workload are counted with it.
        let own = |object: &Object| object.metadata().owner.is_none();
        kinds.flat_map(|kind| store.list(kind)).filter(own).for_each(|object| census.count(&object));
        census
    }

    fn count(&mut self, object: &Object) {
        match object {
            _ if object.pod_spec().is_some() => drop(self.pods.insert(object.key(), bounds::pods(object))),
            Object::Service(service) => {
                let address = service.spec.cluster_ip.and_then(ClusterIp::address);
                self.services.insert(object.key(), address);
            }
            _ => {}
        }
    }

    fn add(&mut self, object: &Object, review: &mut Review) {
        let before = self.pods.values().sum::<u64>();
        let kept = self.pods.get(&object.key()).copied().unwrap_or_default();
        self.count(object);
        let pods = self.pods.values().sum::<u64>();
        if pods > PODS_MAX && pods > before {
            let field = match object.kind() {
                Kind::Deployment | Kind::StatefulSet => "spec.replicas",
                Kind::Job => "spec.parallelism",
                _ => "",
            };
            let message = format!("{pods} pods are more than the {PODS_MAX} that a simulated cluster holds");
            let error = Diagnostic::error("too-many-pods", place(object, field), message);
            let room = PODS_MAX.saturating_sub(before - kept);
            review.errors.push(error.with_help(format!("there is room for {room}")));
            // The next object is judged as if this one were not there.
            self.pods.insert(object.key(), kept);
        }
        let Object::Service(service) = object else { return };
        if self.services.len() as u64 > SERVICES_MAX {
            let message = format!("more Services than the {SERVICES_MAX} that a simulated cluster holds");
            review.errors.push(Diagnostic::error("too-many-services", place(object, ""), message));
            self.services.remove(&object.key());
        }
        let Some(address) = service.spec.cluster_ip.and_then(ClusterIp::address) else { return };
        let key = object.key();
        if let Some((other, _)) = self.services.iter().find(|(other, at)| **other != key && **at == Some(address)) {
            let message = format!("{address} is the address of {other} already");
            let error = Diagnostic::error("address-taken", place(object, "spec.clusterIP"), message);
            review.errors.push(error.with_help("leave it out, and the Service gets one of its own"));
        }
    }
}

/// Endpoints that only their own pod could call. An istiod without a cluster takes them.
fn loopback(slice: &EndpointSlice, object: &Object, review: &mut Review) {
    for (number, endpoint) in slice.endpoints.iter().enumerate() {
        for (at, address) in endpoint.addresses.iter().enumerate().filter(|(_, address)| address.is_loopback()) {
            let message = format!("{address} is a loopback address: nobody else can call it");
            let place = place(object, &format!("endpoints[{number}].addresses[{at}]"));
            review.errors.push(Diagnostic::error("invalid-value", place, message));
        }
    }
}

fn selected(deployment: &Deployment, review: &mut Review) {
    let selector = &deployment.spec.selector.match_labels;
    let object = Object::from(deployment.clone());
    if !selects(selector, &deployment.spec.template.metadata.labels) {
        let message = "`selector` does not match template `labels`";
        review.errors.push(Diagnostic::error("selector", place(&object, "spec.selector"), message));
    }
}

/// Workloads that have the name of a machine, or one of whose pods would: nobody could tell them apart.
pub(super) fn named_as_machines(objects: &[Object], is_machine: impl Fn(&str, &str) -> bool) -> Vec<Diagnostic> {
    let taken = |object: &Object| {
        object.pod_spec()?;
        let Metadata { namespace, name, .. } = object.metadata();
        let pods = match object {
            Object::StatefulSet(set) => set.spec.wanted(),
            _ => 0..0,
        };
        let pods = pods.take(usize::try_from(PODS_MAX).unwrap_or_default()).map(|ordinal| format!("{name}-{ordinal}"));
        let machine = std::iter::once(name.clone()).chain(pods).find(|name| is_machine(namespace, name))?;
        let message = format!("{namespace}/{machine} is a machine");
        let error = Diagnostic::error("name-taken", place(object, "metadata.name"), message);
        Some(error.with_help("a workload needs a name of its own; shut the machine down first, or take another"))
    };
    objects.iter().filter_map(taken).collect()
}

/// What `new` changes of the object `old`, which is there already, and nobody may change.
///
/// Source: kubernetes `pkg/apis/apps/validation/validation.go` (`ValidateStatefulSetUpdate`),
/// `pkg/apis/batch/validation/validation.go` (`ValidateJobSpecUpdate`), `pkg/apis/core/validation/validation.go`
/// (`ValidateServiceClusterIPsRelatedFields`, `ValidateConfigMapUpdate`) and
/// `pkg/apis/discovery/validation/validation.go` (`ValidateEndpointSliceUpdate`).
pub(crate) fn immutable_fields(old: &Object, new: &Object) -> Vec<Diagnostic> {
    let template = |job: &Job| {
        let template = &job.spec.template;
        (template.metadata.labels.clone(), template.metadata.annotations.clone(), template.spec.clone())
    };
    let fields = match (old, new) {
        (Object::Deployment(old), Object::Deployment(new)) => {
            vec![("selector", old.spec.selector == new.spec.selector)]
        }
        (Object::StatefulSet(old), Object::StatefulSet(new)) => vec![
            ("selector", old.spec.selector == new.spec.selector),
            ("serviceName", old.spec.service_name == new.spec.service_name),
            ("podManagementPolicy", old.spec.pod_management_policy == new.spec.pod_management_policy),
            ("volumeClaimTemplates", old.spec.volume_claim_templates == new.spec.volume_claim_templates),
        ],
        (Object::Job(old), Object::Job(new)) => vec![
            ("completions", old.spec.completions() == new.spec.completions()),
            ("template", template(old) == template(new)),
        ],
        // Whoever leaves it out keeps what there is.
        (Object::Service(old), Object::Service(new)) => {
            let (before, after) = (old.spec.cluster_ip, new.spec.cluster_ip);
            vec![("clusterIP", before.is_none() || after.is_none() || before == after)]
        }
        (Object::EndpointSlice(old), Object::EndpointSlice(new)) => {
            vec![("addressType", old.address_type == new.address_type)]
        }
        (Object::ConfigMap(old), Object::ConfigMap(new)) if old.immutable => {
            vec![("immutable", new.immutable), ("data", old.data == new.data)]
        }
        _ => Vec::new(),
    };
    let beside_spec = ["addressType", "immutable", "data"];
    let of_spec = |field: &str| if beside_spec.contains(&field) { field.to_owned() } else { format!("spec.{field}") };
    let changed = fields.into_iter().filter(|(_, stays)| !stays).map(|(field, _)| {
        let error = Diagnostic::error("immutable", place(new, &of_spec(field)), "field is immutable");
        error.with_help(format!("delete the {} first", new.kind()))
    });
    changed.collect()
}

/// Whether the pods can be made and run.
fn pods(
    pod: Pod,
    workload: Option<&ObjectKey>,
    object: &Object,
    namespace_labels: Option<&hermesh_istiod::objects::Labels>,
    maker: &Pods,
    images: &Images,
    review: &mut Review,
) {
    let spec = pod.spec.clone();
    let annotations = if workload.is_some() { "spec.template.metadata.annotations" } else { "metadata.annotations" };
    match maker.inject(pod, workload, namespace_labels) {
        Ok(injected) => {
            let notes = injected.notes.into_iter();
            review.notes.extend(notes.map(|note| Diagnostic::warning("injection", place(object, annotations), note)));
            for added in added(&spec, &injected.pod.spec).filter(|added| images.find(&added.image).is_none()) {
                let (name, image) = (&added.name, &added.image);
                let message = format!("nothing plays image `{image}`, which container `{name}` gets by injection");
                let error = Diagnostic::error("image-not-found", place(object, annotations), message);
                review.errors.push(error.with_help("say what plays it, for example `agent`"));
            }
        }
        Err(error) => review.errors.push(refused(&error, workload, object, annotations)),
    }
    let prefix = if workload.is_some() { "spec.template.spec" } else { "spec" };
    let too_large = bounds::pod_spec(prefix, &spec).into_iter();
    let error = |it: bounds::TooLarge| Diagnostic::error("beyond-bounds", place(object, &it.field), it.message);
    review.errors.extend(too_large.map(error));
    let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
    let numbered = |(list, containers): (&'static str, &'_ Vec<Container>)| {
        containers.iter().enumerate().map(move |(index, container)| (list, index, container.image.clone())).collect()
    };
    for (list, index, image) in lists.into_iter().flat_map::<Vec<_>, _>(numbered) {
        if !asks_for_templates_image(&image) && images.find(&image).is_none() {
            let known: Vec<&str> = images.globs().collect();
            let field = format!("{prefix}.{list}[{index}].image");
            let message = format!("no image `{image}`; those there are: {}", known.join(", "));
            let error = Diagnostic::error("image-not-found", place(object, &field), message);
            review.errors.push(error.with_help("say what plays it, for example `stand-in`"));
        }
    }
}

/// The containers whose images injection has decided, but for those that bring along what plays them.
fn added<'a>(before: &'a PodSpec, after: &'a PodSpec) -> impl Iterator<Item = &'a Container> {
    let own: BTreeSet<(&str, &str)> = before
        .init_containers
        .iter()
        .chain(&before.containers)
        .map(|container| (container.name.as_str(), container.image.as_str()))
        .collect();
    let all = after.init_containers.iter().chain(&after.containers);
    all.filter(move |container| !own.contains(&(container.name.as_str(), container.image.as_str())))
        .filter(|container| shell_of(container).is_none())
}

/// That the webhook refuses a pod. Of a workload it refuses the pods only, which a cluster would not tell of here.
fn refused(error: &InjectionError, workload: Option<&ObjectKey>, object: &Object, annotations: &str) -> Diagnostic {
    let field = error.annotation().map_or_else(|| annotations.to_owned(), |name| field_path(annotations, name));
    let code = if workload.is_some() { "pods-refused" } else { "injection" };
    Diagnostic::error(code, place(object, &field), error.to_string())
}

fn place(object: &Object, field: &str) -> Location {
    let origin = object.metadata().origin.0.clone();
    let location = origin.unwrap_or_else(|| Location::in_file("cluster")).object(object.key().to_string());
    if field.is_empty() { location } else { location.field(field) }
}
