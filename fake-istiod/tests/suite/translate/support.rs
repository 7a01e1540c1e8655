//! A cluster for translation tests: objects from YAML, pods as the kubelet and its controllers would report them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind as ValueKind};
use hermesh_istiod::node::Node;
use hermesh_istiod::objects::{
    ClusterIp, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, IntOrString, Kind, Metadata, Object,
    ObjectKey, OwnerReference, Pod, PodPhase, SERVICE_NAME_LABEL, Service, TargetReference, load, selects,
};
use hermesh_istiod::snapshot::{Mesh, Snapshot};
use hermesh_istiod::translate::{self, Resource};
use hermesh_xds::ResourceType;
use hermesh_xds::resource::{Decoded, Validation, decode};

/// Objects and a clock: what is applied later is younger.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) objects: BTreeMap<ObjectKey, Object>,
    now: u64,
}

impl Cluster {
    /// Applies objects one second after whatever was applied before.
    pub(crate) fn apply(&mut self, yaml: &str) -> &mut Self {
        let loaded = load("test.yaml", yaml, "default");
        assert_eq!(loaded.errors, [], "the objects are valid");
        self.now += 1;
        for mut object in loaded.objects {
            let created = self.objects.get(&object.key()).and_then(|object| object.metadata().creation_timestamp);
            object.metadata_mut().creation_timestamp = Some(created.unwrap_or(self.now));
            if let Object::Service(service) = &mut object {
                let mut own = (**service).clone();
                let number = u8::try_from(self.objects.len() + 1).unwrap();
                own.spec.cluster_ip.get_or_insert_with(|| ClusterIp::Address([10, 96, 0, number].into()));
                object = own.into();
            }
            self.objects.insert(object.key(), object);
        }
        self
    }

    /// Applies a file of the article's example.
    pub(crate) fn apply_example(&mut self, file: &str) -> &mut Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/grpc-echo").join(file);
        #[expect(clippy::disallowed_methods, reason = "test data is no business of the Runtime")]
        let text = std::fs::read_to_string(path).expect("the example is there");
        self.apply(&text)
    }

    pub(crate) fn delete(&mut self, kind: Kind, namespace: &str, name: &str) -> &mut Self {
        assert!(self.objects.remove(&ObjectKey::new(kind, namespace, name)).is_some(), "what is deleted was there");
        self
    }

    /// Starts one ready pod for each Deployment, at 10.244.0.1 and up, and writes the EndpointSlices.
    pub(crate) fn run_deployments(&mut self) -> &mut Self {
        let deployments = self.objects.values().filter_map(|object| match object {
            Object::Deployment(deployment) => Some(deployment.clone()),
            _ => None,
        });
        let deployments: Vec<_> = deployments.collect();
        for (index, deployment) in deployments.iter().enumerate() {
            let mut metadata = deployment.spec.template.metadata.clone();
            metadata.name = format!("{}-0", deployment.metadata.name);
            metadata.namespace.clone_from(&deployment.metadata.namespace);
            metadata.owner = Some(OwnerReference {
                kind: Kind::Deployment,
                name: deployment.metadata.name.clone(),
                uid: String::new(),
            });
            let mut pod = Pod { metadata, spec: deployment.spec.template.spec.clone(), ..Pod::default() };
            pod.status.pod_ip = Some([10, 244, 0, u8::try_from(index + 1).unwrap()].into());
            pod.status.phase = PodPhase::Running;
            pod.status.ready = true;
            self.objects.insert(pod.key(), pod.into());
        }
        self.write_slices()
    }

    /// Changes a pod and what follows from it.
    pub(crate) fn change_pod(&mut self, namespace: &str, name: &str, change: impl FnOnce(&mut Pod)) -> &mut Self {
        let key = ObjectKey::new(Kind::Pod, namespace, name);
        let Some(Object::Pod(pod)) = self.objects.get(&key) else { panic!("there is no {key}") };
        let mut pod = (**pod).clone();
        change(&mut pod);
        self.objects.insert(key, pod.into());
        self.write_slices()
    }

    pub(crate) fn write_slices(&mut self) -> &mut Self {
        let of_kind = |kind| self.objects.values().filter(move |object: &&Object| object.kind() == kind).cloned();
        let pods: Vec<Object> = of_kind(Kind::Pod).collect();
        let slices: Vec<Object> = of_kind(Kind::Service)
            .filter_map(|service| match service {
                Object::Service(service) => Some(slice(&service, &pods).into()),
                _ => None,
            })
            .collect();
        self.objects.extend(slices.into_iter().map(|slice: Object| (slice.key(), slice)));
        self
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(Mesh::default(), self.objects.values().cloned())
    }

    /// The node of a pod.
    pub(crate) fn node(&self, namespace: &str, name: &str) -> Node {
        let key = ObjectKey::new(Kind::Pod, namespace, name);
        let Some(Object::Pod(pod)) = self.objects.get(&key) else { panic!("there is no {key}") };
        node(namespace, name, &pod.status.pod_ip.unwrap().to_string())
    }

    pub(crate) fn resources(&self, node: &Node, resource_type: ResourceType, names: &[&str]) -> Vec<Resource> {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let resources = translate::resources(&self.snapshot(), node, resource_type, &names);
        let again = translate::resources(&self.snapshot(), node, resource_type, &names);
        for (resource, again) in resources.iter().zip(&again) {
            assert_eq!(resource.body, again.body, "the same objects give the same bytes");
            accepted(resource_type, resource);
        }
        resources
    }

    /// Resources in words, each with the objects it was made from.
    pub(crate) fn described(&self, node: &Node, resource_type: ResourceType, names: &[&str]) -> String {
        let describe = |resource: Resource| {
            let from: Vec<String> = resource.from.iter().map(ToString::to_string).collect();
            format!("# {} from {}\n{}", resource.name, from.join(", "), translate::describe(&resource.body))
        };
        self.resources(node, resource_type, names).into_iter().map(describe).collect::<Vec<_>>().join("\n")
    }
}

/// What is sent, a client takes under the name it asked for.
fn accepted(resource_type: ResourceType, resource: &Resource) {
    let validation = Validation { certificate_providers: ["default".to_owned()].into() };
    match decode(resource_type, &resource.body, &validation) {
        Decoded::Named { name, outcome: Ok(_) } => assert_eq!(name, resource.name),
        Decoded::Named { name, outcome: Err(error) } => panic!("{name}: {error}"),
        Decoded::Unnamed(error) => panic!("{}: {error}", resource.name),
    }
}

/// A proxyless node.
pub(crate) fn node(namespace: &str, pod: &str, address: &str) -> Node {
    let text = |text: &str| Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
    let fields = [("GENERATOR".to_owned(), text("grpc")), ("NAMESPACE".to_owned(), text(namespace))].into();
    Node::parse(&core::Node {
        id: format!("sidecar~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields }),
        ..core::Node::default()
    })
    .expect("the node is valid")
}

fn slice(service: &Service, pods: &[Object]) -> EndpointSlice {
    let mut metadata = Metadata::named(&service.metadata.namespace, &service.metadata.name);
    metadata.labels.insert(SERVICE_NAME_LABEL.to_owned(), service.metadata.name.clone());
    let pods = pods.iter().filter_map(|pod| match pod {
        Object::Pod(pod) => Some(pod),
        _ => None,
    });
    let selected = pods.filter(|pod| {
        pod.metadata.namespace == service.metadata.namespace && selects(&service.spec.selector, &pod.metadata.labels)
    });
    let endpoints = selected.map(|pod| Endpoint {
        addresses: pod.status.pod_ip.into_iter().collect(),
        conditions: EndpointConditions {
            ready: Some(pod.status.ready),
            serving: Some(pod.status.ready),
            terminating: Some(pod.metadata.deletion_timestamp.is_some()),
        },
        target_ref: Some(TargetReference {
            kind: "Pod".to_owned(),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: String::new(),
        }),
        ..Endpoint::default()
    });
    let ports = service.spec.ports.iter().map(|port| EndpointPort {
        name: port.name.clone(),
        port: match port.target_port {
            Some(IntOrString::Int(number)) => u16::try_from(number).unwrap(),
            _ => port.port,
        },
        ..EndpointPort::default()
    });
    EndpointSlice { endpoints: endpoints.collect(), ports: ports.collect(), metadata, ..EndpointSlice::default() }
}
