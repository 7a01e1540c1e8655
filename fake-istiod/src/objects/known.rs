//! What Kubernetes and Istio know beyond what Hermesh models, and what becomes of it.

use crate::yaml::Node;

/// What becomes of a known kind or field that has no typed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It says what Hermesh does anyway.
    Implied,
    /// Accepted and noted.
    NoEffect,
    /// gRPC would act on it and Hermesh does not: using it would be a lie.
    Refused,
    /// A cluster would act on it and Hermesh does not; something else says the same.
    Replaceable(&'static str),
    /// It is in Istio's API, and istiod's webhook refuses whoever uses it.
    RefusedByIstio,
}

use Treatment::{Implied, NoEffect, Refused, RefusedByIstio, Replaceable};

/// Fields by the type they belong to. Sources: Kubernetes 1.33 and Istio 1.32 API references.
const FIELDS: &[(&str, Treatment, &[&str])] = &[
    (
        "Metadata",
        NoEffect,
        &[
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
            "generation",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
            "uid",
        ],
    ),
    ("Namespace", NoEffect, &["spec", "status"]),
    ("Node", NoEffect, &["spec", "status"]),
    ("ServiceAccount", NoEffect, &["automountServiceAccountToken", "imagePullSecrets", "secrets"]),
    ("ConfigMap", NoEffect, &["binaryData"]),
    ("Service", NoEffect, &["status"]),
    (
        "ServiceSpec",
        NoEffect,
        &[
            "allocateLoadBalancerNodePorts",
            "clusterIPs",
            "externalIPs",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "ipFamilies",
            "ipFamilyPolicy",
            "loadBalancerClass",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "sessionAffinity",
            "sessionAffinityConfig",
        ],
    ),
    ("ServiceSpec", Refused, &["internalTrafficPolicy", "trafficDistribution"]),
    ("ServicePort", NoEffect, &["nodePort"]),
    ("Endpoint", NoEffect, &["deprecatedTopology", "hints"]),
    ("TargetReference", NoEffect, &["apiVersion", "fieldPath", "resourceVersion"]),
    ("Deployment", NoEffect, &["status"]),
    ("DeploymentSpec", NoEffect, &["progressDeadlineSeconds", "revisionHistoryLimit"]),
    ("StatefulSet", NoEffect, &["status"]),
    ("StatefulSetSpec", NoEffect, &["minReadySeconds", "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit"]),
    ("RollingUpdateStatefulSet", NoEffect, &["maxUnavailable"]),
    // That they are empty in every new pod is said of the list.
    ("VolumeClaimTemplate", Implied, &["apiVersion", "kind", "spec", "status"]),
    ("Job", NoEffect, &["status"]),
    (
        "JobSpec",
        NoEffect,
        &[
            "backoffLimitPerIndex",
            "completionMode",
            "managedBy",
            "manualSelector",
            "maxFailedIndexes",
            "podFailurePolicy",
            "podReplacementPolicy",
            "selector",
            "successPolicy",
        ],
    ),
    ("ServiceEntry", NoEffect, &["status"]),
    ("WorkloadEntry", NoEffect, &["status"]),
    ("WorkloadGroup", NoEffect, &["status"]),
    ("ProxyConfig", NoEffect, &["status"]),
    ("LabelSelector", Replaceable("matchLabels: {app: echo}"), &["matchExpressions"]),
    ("Pod", NoEffect, &["status"]),
    (
        "PodSpec",
        NoEffect,
        &[
            "activeDeadlineSeconds",
            "affinity",
            "automountServiceAccountToken",
            "dnsConfig",
            "dnsPolicy",
            "enableServiceLinks",
            "ephemeralContainers",
            "hostAliases",
            "hostIPC",
            "hostPID",
            "hostUsers",
            "hostnameOverride",
            "imagePullSecrets",
            "os",
            "overhead",
            "preemptionPolicy",
            "priority",
            "priorityClassName",
            "resourceClaims",
            "resources",
            "runtimeClassName",
            "schedulerName",
            "schedulingGates",
            "securityContext",
            "setHostnameAsFQDN",
            "shareProcessNamespace",
            "topologySpreadConstraints",
        ],
    ),
    ("PodSpec", Refused, &["hostNetwork"]),
    (
        "Container",
        NoEffect,
        &[
            "envFrom",
            "imagePullPolicy",
            "resizePolicy",
            "resources",
            "restartPolicyRules",
            "securityContext",
            "stdin",
            "stdinOnce",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "tty",
            "volumeDevices",
            "workingDir",
        ],
    ),
    ("ContainerPort", NoEffect, &["hostIP", "hostPort"]),
    ("EnvVarSource", NoEffect, &["fileKeyRef", "resourceFieldRef", "secretKeyRef"]),
    ("FieldReference", Implied, &["apiVersion"]),
    ("VolumeMount", NoEffect, &["mountPropagation", "recursiveReadOnly"]),
    ("VolumeMount", Refused, &["subPath", "subPathExpr"]),
    ("Probe", NoEffect, &["terminationGracePeriodSeconds"]),
    ("Lifecycle", NoEffect, &["stopSignal"]),
    ("LifecycleHandler", Refused, &["tcpSocket"]),
    (
        "Volume",
        NoEffect,
        &[
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cephfs",
            "cinder",
            "csi",
            "ephemeral",
            "fc",
            "flexVolume",
            "flocker",
            "gcePersistentDisk",
            "gitRepo",
            "glusterfs",
            "hostPath",
            "image",
            "iscsi",
            "nfs",
            "persistentVolumeClaim",
            "photonPersistentDisk",
            "portworxVolume",
            "quobyte",
            "rbd",
            "scaleIO",
            "secret",
            "storageos",
            "vsphereVolume",
        ],
    ),
    ("EmptyDirVolume", NoEffect, &["sizeLimit"]),
    ("ConfigMapVolume", NoEffect, &["defaultMode"]),
    ("KeyToPath", NoEffect, &["mode"]),
    ("ProjectedVolume", NoEffect, &["defaultMode"]),
    ("ProjectedSource", NoEffect, &["clusterTrustBundle", "podCertificate", "secret"]),
    ("DownwardApiVolume", NoEffect, &["defaultMode"]),
    ("DownwardApiItem", NoEffect, &["mode", "resourceFieldRef"]),
    ("DestinationRule", NoEffect, &["status"]),
    ("TrafficPolicy", NoEffect, &["proxyProtocol", "retryBudget", "tunnel"]),
    (
        "OutlierDetection",
        NoEffect,
        &[
            "baseEjectionTime",
            "consecutive5xxErrors",
            "consecutiveErrors",
            "consecutiveGatewayErrors",
            "consecutiveLocalOriginFailures",
            "interval",
            "maxEjectionPercent",
            "splitExternalLocalOriginErrors",
        ],
    ),
    ("LoadBalancer", NoEffect, &["warmup", "warmupDurationSecs"]),
    ("HttpCookie", NoEffect, &["attributes", "ttl"]),
    (
        "TcpSettings",
        NoEffect,
        &["connectTimeout", "idleTimeout", "maxConnectionDuration", "maxConnections", "tcpKeepalive"],
    ),
    (
        "HttpSettings",
        NoEffect,
        &[
            "h2UpgradePolicy",
            "http1MaxPendingRequests",
            "idleTimeout",
            "maxConcurrentStreams",
            "maxRequestsPerConnection",
            "maxRetries",
            "useClientProtocol",
        ],
    ),
    (
        "ClientTls",
        NoEffect,
        &[
            "caCertificates",
            "caCrl",
            "clientCertificate",
            "credentialName",
            "insecureSkipVerify",
            "privateKey",
            "sni",
            "subjectAltNames",
        ],
    ),
    ("VirtualService", NoEffect, &["status"]),
    ("VirtualServiceSpec", NoEffect, &["tcp", "tls"]),
    (
        "HttpRoute",
        NoEffect,
        &["headers", "mirror", "mirrorPercent", "mirrorPercentage", "mirror_percent", "mirrors", "rewrite"],
    ),
    ("HttpRoute", Refused, &["corsPolicy", "delegate"]),
    ("HttpMatch", NoEffect, &["statPrefix"]),
    ("HttpRouteDestination", NoEffect, &["headers"]),
    ("HttpRedirect", NoEffect, &["derivePort", "port", "scheme"]),
    ("HttpDirectResponse", NoEffect, &["body"]),
    ("HttpFaultDelay", RefusedByIstio, &["exponentialDelay"]),
    ("HttpFaultAbort", RefusedByIstio, &["http2Error"]),
    ("HttpRetry", NoEffect, &["retryIgnorePreviousHosts", "retryRemoteLocalities"]),
    ("PeerAuthentication", NoEffect, &["status"]),
    ("AuthorizationPolicy", NoEffect, &["status"]),
    ("PolicyTargetReference", NoEffect, &["namespace"]),
];

/// What a field means when it is absent, or what a cluster fills in: written out, it changes nothing. Source:
/// Kubernetes 1.33 API reference.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("ServiceSpec", "allocateLoadBalancerNodePorts", "true"),
    ("ServiceSpec", "externalTrafficPolicy", "Cluster"),
    ("ServiceSpec", "internalTrafficPolicy", "Cluster"),
    ("ServiceSpec", "ipFamilyPolicy", "SingleStack"),
    ("ServiceSpec", "sessionAffinity", "None"),
    ("DeploymentSpec", "progressDeadlineSeconds", "600"),
    ("DeploymentSpec", "revisionHistoryLimit", "10"),
    ("StatefulSetSpec", "minReadySeconds", "0"),
    ("StatefulSetSpec", "revisionHistoryLimit", "10"),
    ("JobSpec", "completionMode", "NonIndexed"),
    ("JobSpec", "manualSelector", "false"),
    ("JobSpec", "podReplacementPolicy", "TerminatingOrFailed"),
    ("PodSpec", "automountServiceAccountToken", "true"),
    ("PodSpec", "dnsPolicy", "ClusterFirst"),
    ("PodSpec", "enableServiceLinks", "true"),
    ("PodSpec", "hostIPC", "false"),
    ("PodSpec", "hostNetwork", "false"),
    ("PodSpec", "hostPID", "false"),
    ("PodSpec", "preemptionPolicy", "PreemptLowerPriority"),
    ("PodSpec", "priority", "0"),
    ("PodSpec", "schedulerName", "default-scheduler"),
    ("PodSpec", "setHostnameAsFQDN", "false"),
    ("PodSpec", "shareProcessNamespace", "false"),
    ("Container", "stdin", "false"),
    ("Container", "stdinOnce", "false"),
    ("Container", "terminationMessagePath", "/dev/termination-log"),
    ("Container", "terminationMessagePolicy", "File"),
    ("Container", "tty", "false"),
    ("ConfigMapVolume", "defaultMode", "420"),
    ("ProjectedVolume", "defaultMode", "420"),
    ("DownwardApiVolume", "defaultMode", "420"),
];

/// Kinds by their API group.
const KINDS: &[(&str, Treatment, &[&str])] = &[
    (
        "",
        NoEffect,
        &[
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
        ],
    ),
    ("apps", NoEffect, &["ControllerRevision", "DaemonSet", "ReplicaSet"]),
    ("batch", NoEffect, &["CronJob"]),
    ("autoscaling", NoEffect, &["HorizontalPodAutoscaler"]),
    ("policy", NoEffect, &["PodDisruptionBudget"]),
    ("networking.k8s.io", NoEffect, &["Ingress", "IngressClass", "IPAddress", "NetworkPolicy", "ServiceCIDR"]),
    ("rbac.authorization.k8s.io", NoEffect, &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
    ("storage.k8s.io", NoEffect, &["CSIDriver", "CSINode", "CSIStorageCapacity", "StorageClass", "VolumeAttachment"]),
    ("scheduling.k8s.io", NoEffect, &["PriorityClass"]),
    ("coordination.k8s.io", NoEffect, &["Lease"]),
    ("certificates.k8s.io", NoEffect, &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("node.k8s.io", NoEffect, &["RuntimeClass"]),
    ("apiextensions.k8s.io", NoEffect, &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", NoEffect, &["APIService"]),
    (
        "admissionregistration.k8s.io",
        NoEffect,
        &[
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("networking.istio.io", NoEffect, &["EnvoyFilter", "Gateway"]),
    ("networking.istio.io", Refused, &["Sidecar"]),
    ("security.istio.io", NoEffect, &["RequestAuthentication"]),
    ("telemetry.istio.io", NoEffect, &["Telemetry"]),
    ("extensions.istio.io", NoEffect, &["WasmPlugin"]),
    (
        "gateway.networking.k8s.io",
        NoEffect,
        &["BackendTLSPolicy", "Gateway", "GatewayClass", "ReferenceGrant", "TCPRoute", "TLSRoute", "UDPRoute"],
    ),
    ("gateway.networking.k8s.io", Refused, &["GRPCRoute", "HTTPRoute"]),
];

/// What becomes of the field `name` of the type that serde calls `type_name` with this value; `None` if nobody knows
/// the field.
pub(super) fn field(type_name: &str, name: &str, value: &Node) -> Option<Treatment> {
    if value.text().is_some_and(|value| DEFAULTS.contains(&(type_name, name, value))) {
        return Some(Implied);
    }
    let mut rows = FIELDS.iter().filter(|(owner, ..)| *owner == type_name);
    let (_, treatment, _) = rows.find(|(_, _, names)| names.contains(&name))?;
    let says_nothing = value.entries().is_some_and(<[_]>::is_empty) || value.items().is_some_and(<[_]>::is_empty);
    Some(if *treatment == NoEffect && says_nothing { Implied } else { *treatment })
}

/// The known names of fields of a type that have no typed form.
pub(super) fn field_names(type_name: &str) -> impl Iterator<Item = &'static str> {
    FIELDS.iter().filter(move |(owner, ..)| *owner == type_name).flat_map(|(_, _, names)| names.iter().copied())
}

/// What becomes of the kind `name` in the API group `group`; `None` if nobody knows it.
pub(super) fn kind(group: &str, name: &str) -> Option<Treatment> {
    let mut rows = KINDS.iter().filter(|(owner, ..)| *owner == group);
    rows.find(|(_, _, names)| names.contains(&name)).map(|(_, treatment, _)| *treatment)
}

/// The known names of kinds that have no typed form.
pub(super) fn kind_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|(_, _, names)| names.iter().copied())
}
