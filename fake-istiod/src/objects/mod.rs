//! Kubernetes and Istio objects: the typed form that the simulated cluster stores and istiod translates.
//!
//! [`load`] reads them from YAML as the API server and istiod's webhook would: what those refuse is an error with its
//! position. Beyond that it tells three cases apart. Kinds and fields that Kubernetes or Istio knows and Hermesh does
//! not model are accepted and noted; fields that gRPC would honour and Hermesh does not yet are refused by name;
//! fields that nobody knows are errors.

mod authorization_policy;
mod deployment;
mod destination_rule;
mod duration;
mod endpoint_slice;
mod fault;
mod growing;
mod job;
mod kind;
mod known;
mod load;
mod locality;
mod metadata;
mod names;
mod namespace;
mod node;
mod numbers;
mod peer_authentication;
mod pod;
mod probe;
mod proxy_config;
mod readiness_probe;
mod service;
mod service_entry;
mod stateful_set;
mod unplayed;
mod validate;
mod virtual_service;
mod volume;
mod workload_entry;

use std::sync::Arc;

pub(crate) use authorization_policy::ip_range;
pub use authorization_policy::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationPolicySpec, AuthorizationRule, ExtensionProvider,
    PolicyTargetReference, RuleCondition, RuleFrom, RuleOperation, RuleSource, RuleTo,
};
pub use deployment::{
    Deployment, DeploymentSpec, DeploymentStatus, LabelSelector, PodTemplate, RollingUpdate, Strategy, StrategyType,
};
pub use destination_rule::{
    ClientTls, ConnectionPool, ConsistentHash, DestinationRule, DestinationRuleSpec, HttpCookie, HttpSettings,
    LoadBalancer, Maglev, PortTrafficPolicy, RingHash, SimpleLoadBalancer, Subset, TcpSettings, TlsMode, TrafficPolicy,
};
pub use endpoint_slice::{
    AddressType, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, SERVICE_NAME_LABEL, TargetReference,
};
pub use fault::{GRPC_STATUSES, HttpFaultAbort, HttpFaultDelay, HttpFaultInjection, Percent};
pub use job::{Job, JobOutcome, JobSpec, JobStatus};
pub use kind::{Kind, ObjectKey};
pub use load::{Loaded, load, load_tree};
pub use locality::{LocalityDistribute, LocalityFailover, LocalityLbSetting, OutlierDetection};
pub use metadata::{Metadata, Origin, OwnerReference, Written};
pub use names::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value};
pub use namespace::{ConfigMap, Namespace, ServiceAccount};
pub use node::{Node, NodeStatus, REGION_LABEL, SUB_ZONE_LABEL, ZONE_LABEL};
pub use peer_authentication::{MtlsMode, MutualTls, PeerAuthentication, PeerAuthenticationSpec};
pub use pod::{
    ConfigMapKeyReference, Container, ContainerPort, ContainerRestartPolicy, ContainerState, ContainerStatus, EnvVar,
    EnvVarSource, FieldReference, Pod, PodPhase, PodSpec, PodStatus, ReadinessGate, Resources, RestartPolicy,
    Toleration, VolumeMount,
};
pub use probe::{
    ExecAction, GrpcAction, HttpGetAction, HttpHeader, HttpScheme, Lifecycle, LifecycleHandler, Probe, ProbeHandler,
    SleepAction, TcpSocketAction,
};
pub use proxy_config::{ProxyConfig, ProxyConfigSpec, ProxyImage};
pub use readiness_probe::{GrpcHealthCheck, HealthCheckHeader, HttpHealthCheck, ReadinessProbe, TcpHealthCheck};
pub use service::{ClusterIp, IntOrString, Protocol, Service, ServicePort, ServiceSpec, ServiceType};
pub use service_entry::{EntrySelector, MeshLocation, Resolution, ServiceEntry, ServiceEntryPort, ServiceEntrySpec};
pub use stateful_set::{
    Ordinals, PodManagementPolicy, RollingUpdateStatefulSet, StatefulSet, StatefulSetSpec, UpdateStrategy,
    UpdateStrategyType, VolumeClaimTemplate,
};
pub use virtual_service::{
    Destination, HttpDirectResponse, HttpMatch, HttpRedirect, HttpRetry, HttpRoute, HttpRouteDestination, PortSelector,
    StringMatch, VirtualService, VirtualServiceSpec,
};
pub use volume::{
    ConfigMapVolume, DownwardApiItem, DownwardApiVolume, EmptyDirVolume, KeyToPath, ProjectedSource, ProjectedVolume,
    ServiceAccountTokenProjection, Volume, VolumeSource,
};
pub(crate) use workload_entry::HEALTH_CHECKS;
pub use workload_entry::{
    Health, WorkloadEntry, WorkloadEntrySpec, WorkloadEntryStatus, WorkloadGroup, WorkloadGroupMetadata,
    WorkloadGroupSpec,
};

/// A label selector that wants every one of its labels (`matchLabels`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// The labels a workload must have.
    pub match_labels: Labels,
}

/// Labels or annotations.
pub type Labels = std::collections::BTreeMap<String, String>;

/// Whether `labels` has everything that `selector` wants.
#[must_use]
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// An object of any kind, cheap to clone.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the kind it is named after")]
pub enum Object {
    Namespace(Arc<Namespace>),
    Node(Arc<Node>),
    ServiceAccount(Arc<ServiceAccount>),
    ConfigMap(Arc<ConfigMap>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Pod(Arc<Pod>),
    Deployment(Arc<Deployment>),
    StatefulSet(Arc<StatefulSet>),
    Job(Arc<Job>),
    ServiceEntry(Arc<ServiceEntry>),
    WorkloadEntry(Arc<WorkloadEntry>),
    WorkloadGroup(Arc<WorkloadGroup>),
    ProxyConfig(Arc<ProxyConfig>),
    DestinationRule(Arc<DestinationRule>),
    VirtualService(Arc<VirtualService>),
    PeerAuthentication(Arc<PeerAuthentication>),
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
}

macro_rules! kinds {
    ($($kind:ident)*) => {
        impl Object {
            /// The object's kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// The object's metadata.
            #[must_use]
            pub fn metadata(&self) -> &Metadata {
                match self { $(Self::$kind(object) => &object.metadata,)* }
            }

            /// The object's metadata, to be changed; a shared object is copied first.
            #[must_use]
            pub fn metadata_mut(&mut self) -> &mut Metadata {
                match self { $(Self::$kind(object) => &mut Arc::make_mut(object).metadata,)* }
            }
        }

        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Arc::new(object))
            }
        }

        impl From<Arc<$kind>> for Object {
            fn from(object: Arc<$kind>) -> Self {
                Self::$kind(object)
            }
        }

        impl $kind {
            /// The kind, namespace and name that identify the object.
            #[must_use]
            pub fn key(&self) -> ObjectKey {
                self.metadata.key(Kind::$kind)
            }
        })*
    };
}

kinds! {
    Namespace Node ServiceAccount ConfigMap Service EndpointSlice Pod Deployment StatefulSet Job ServiceEntry
    WorkloadEntry WorkloadGroup ProxyConfig DestinationRule VirtualService PeerAuthentication AuthorizationPolicy
}

impl Object {
    /// The kind, namespace and name that identify the object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        self.metadata().key(self.kind())
    }

    /// What a workload's pods look like; `None` for a Pod of its own, and for what is no workload.
    #[must_use]
    pub fn pod_template(&self) -> Option<&PodTemplate> {
        match self {
            Self::Deployment(deployment) => Some(&deployment.spec.template),
            Self::StatefulSet(set) => Some(&set.spec.template),
            Self::Job(job) => Some(&job.spec.template),
            _ => None,
        }
    }

    /// What runs in a workload's pods or in a Pod, and the path at which that stands; `None` for all else.
    #[must_use]
    pub fn pod_spec(&self) -> Option<(&PodSpec, &'static str)> {
        match self {
            Self::Pod(pod) => Some((&pod.spec, "spec")),
            workload => workload.pod_template().map(|template| (&template.spec, "spec.template.spec")),
        }
    }
}
