//! Which clusters are accepted and what they become (gRFC A27, A29, A32, A42, A48, A52).
//!
//! Identifiers such as V-20 name rows of the conformance checklist, after grpc-go's tests of the same idea.

use crate::ads_support::*;
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    self as proto, ClusterDiscoveryType, CustomClusterType, DiscoveryType, LbConfig, LbPolicy as LbPolicyProto,
};
use envoy_types::pb::envoy::config::cluster::v3::load_balancing_policy::Policy;
use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster as ClusterProto, LoadBalancingPolicy, OutlierDetection,
};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{self as core, transport_socket};
use envoy_types::pb::envoy::extensions::load_balancing_policies as policies;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::google::protobuf::{Any, UInt32Value, UInt64Value};
use hermesh_xds::resource::{
    Cluster, Decoded, LbPolicy, Resource, StringMatcherKind, UpstreamTlsContext, Validation, decode,
};
use tls::common_tls_context::{
    CertificateProviderInstance, CombinedCertificateValidationContext, ValidationContextType,
};

fn read(change: impl FnOnce(&mut ClusterProto)) -> Result<Cluster, String> {
    let mut cluster = eds_cluster("c");
    change(&mut cluster);
    let validation = Validation { certificate_providers: ["default".to_owned(), "old".to_owned()].into() };
    match decode(CDS, &any(&cluster), &validation) {
        Decoded::Named { outcome: Ok(Resource::Cluster(cluster)), .. } => Ok((*cluster).clone()),
        Decoded::Named { outcome: Err(error), .. } | Decoded::Unnamed(error) => Err(error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(outcome: Result<T, String>, part: &str) {
    let error = outcome.expect_err(part);
    assert!(error.contains(part), "{error:?} should contain {part:?}");
}

// V-19, V-20
#[test]
fn a_cluster_takes_its_endpoints_from_eds_over_the_same_stream() {
    let cluster = read(|_| {}).unwrap();
    assert_eq!((cluster.endpoints_name(), cluster.lb_policy), ("c", LbPolicy::RoundRobin));
    assert_eq!((cluster.max_requests, &cluster.security), (1024, &None));
    assert!(cluster.unsupported.is_empty());
    let named = read(|it| it.eds_cluster_config.as_mut().unwrap().service_name = "s".into()).unwrap();
    assert_eq!(named.endpoints_name(), "s");

    rejected(read(|it| it.eds_cluster_config = None), "CDS's EDS config source is not ADS or Self");
    rejected(read(|it| it.eds_cluster_config.as_mut().unwrap().eds_config = None), "is not ADS or Self");
    rejected(read(|it| it.name = "xdstp:///c".into()), "EDS service name is not set with a new-style cluster name");
    rejected(read(|it| it.name.clear()), "empty resource name in ClusterResource");
}

// V-20
#[test]
fn clusters_of_other_types_are_rejected_by_name() {
    let of = |kind: DiscoveryType| read(|it| it.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind as i32)));
    rejected(of(DiscoveryType::Static), "unsupported cluster type STATIC");
    rejected(of(DiscoveryType::StrictDns), "unsupported cluster type STRICT_DNS");
    rejected(of(DiscoveryType::OriginalDst), "unsupported cluster type ORIGINAL_DST");
    rejected(of(DiscoveryType::LogicalDns), "LOGICAL_DNS clusters (gRFC A37) are not implemented");
    rejected(read(|it| it.cluster_discovery_type = None), "unsupported cluster type STATIC");
    let custom = |name: &str| {
        let custom = CustomClusterType { name: name.into(), typed_config: None };
        read(|it| it.cluster_discovery_type = Some(ClusterDiscoveryType::ClusterType(custom)))
    };
    rejected(custom("envoy.clusters.aggregate"), "aggregate clusters (gRFC A37) are not implemented");
    rejected(custom("x"), "unsupported cluster type x");
}

// V-23
#[test]
fn what_grpc_would_do_and_this_client_does_not_is_rejected_or_listed() {
    rejected(read(|it| it.outlier_detection = Some(OutlierDetection::default())), "outlier_detection (gRFC A50)");
    rejected(read(|it| it.transport_socket_matches = vec![Default::default()]), "transport_socket_matches");
    rejected(read(|it| it.lrs_server = ads()), "unsupported config_source_specifier in lrs_server");
    let myself = core::ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Self_(core::SelfConfigSource::default())),
        ..Default::default()
    };
    let cluster = read(|it| it.lrs_server = Some(myself)).unwrap();
    assert_eq!(cluster.unsupported, ["lrs_server: load is not reported"]);
}

// A32
#[test]
fn the_first_threshold_of_default_priority_limits_requests() {
    let threshold = |priority, max: Option<u32>| Thresholds {
        priority,
        max_requests: max.map(|value| UInt32Value { value }),
        ..Default::default()
    };
    for (thresholds, expected) in [
        (vec![threshold(1, Some(1)), threshold(0, Some(7)), threshold(0, Some(9))], 7),
        (vec![threshold(0, None), threshold(0, Some(9))], 1024),
        (vec![threshold(1, Some(1))], 1024),
        (vec![threshold(0, Some(0))], 0),
    ] {
        let breakers = CircuitBreakers { thresholds, ..Default::default() };
        assert_eq!(read(|it| it.circuit_breakers = Some(breakers)).unwrap().max_requests, expected);
    }
}

fn number(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

// V-20, C-12, own-01
#[test]
fn the_legacy_field_knows_three_policies() {
    let with = |policy: LbPolicyProto, config| {
        read(|it| {
            it.lb_policy = policy as i32;
            it.lb_config = config;
        })
    };
    let ring = |min, max, hash_function| {
        let (minimum_ring_size, maximum_ring_size) = (min, max);
        let config = proto::RingHashLbConfig { minimum_ring_size, hash_function, maximum_ring_size };
        with(LbPolicyProto::RingHash, Some(LbConfig::RingHashLbConfig(config)))
    };
    let most = 8 * 1024 * 1024;
    let rings = |min_size, max_size| LbPolicy::RingHash { min_size, max_size };
    assert_eq!(with(LbPolicyProto::RingHash, None).unwrap().lb_policy, rings(1024, most));
    assert_eq!(ring(number(5), number(6), 0).unwrap().lb_policy, rings(5, 6));
    rejected(ring(None, None, 1), "unsupported ring_hash hash function");
    rejected(ring(number(most + 1), None, 0), "must not exceed 8388608");
    rejected(ring(None, number(most + 1), 0), "must not exceed 8388608");
    rejected(ring(number(9), number(8), 0), "minimum_ring_size 9 is above maximum_ring_size 8");

    let least = |count: Option<u32>| {
        let choice_count = count.map(|value| UInt32Value { value });
        let config = proto::LeastRequestLbConfig { choice_count, ..Default::default() };
        with(LbPolicyProto::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config)))
    };
    assert_eq!(with(LbPolicyProto::LeastRequest, None).unwrap().lb_policy, LbPolicy::LeastRequest { choice_count: 2 });
    assert_eq!(least(None).unwrap().lb_policy, LbPolicy::LeastRequest { choice_count: 2 });
    assert_eq!(least(Some(5)).unwrap().lb_policy, LbPolicy::LeastRequest { choice_count: 5 });
    rejected(least(Some(1)), "choice_count 1 is below 2");

    for other in [
        LbPolicyProto::Random,
        LbPolicyProto::Maglev,
        LbPolicyProto::ClusterProvided,
        LbPolicyProto::LoadBalancingPolicyConfig,
    ] {
        rejected(with(other, None), &format!("unexpected lbPolicy {}", other.as_str_name()));
    }
}

fn list(configs: &[Any]) -> LoadBalancingPolicy {
    let policy = |config: &Any| Policy {
        typed_extension_config: Some(core::TypedExtensionConfig {
            name: "x".into(),
            typed_config: Some(config.clone()),
        }),
    };
    LoadBalancingPolicy { policies: configs.iter().map(policy).collect() }
}

fn wrr_locality(child: &Any) -> Any {
    let endpoint_picking_policy = Some(list(std::slice::from_ref(child)));
    any(&policies::wrr_locality::v3::WrrLocality { endpoint_picking_policy })
}

// V-30, V-31
#[test]
fn the_first_policy_of_the_list_that_this_client_has_wins() {
    let with = |configs: &[Any]| read(|it| it.load_balancing_policy = Some(list(configs)));
    let unknown = Any { type_url: "type.googleapis.com/x.Y".into(), ..Default::default() };
    let maglev = any(&policies::maglev::v3::Maglev::default());
    let round_robin = any(&policies::round_robin::v3::RoundRobin::default());
    let least = any(&policies::least_request::v3::LeastRequest::default());
    let ring = |min| any(&policies::ring_hash::v3::RingHash { minimum_ring_size: number(min), ..Default::default() });
    let pick_first = any(&policies::pick_first::v3::PickFirst::default());
    let cluster = with(&[unknown.clone(), maglev.clone(), wrr_locality(&round_robin), least.clone()]).unwrap();
    assert_eq!((cluster.lb_policy, cluster.unsupported.len()), (LbPolicy::RoundRobin, 0));
    let cluster = with(&[ring(7), wrr_locality(&round_robin)]).unwrap();
    assert_eq!(cluster.lb_policy, LbPolicy::RingHash { min_size: 7, max_size: 8 * 1024 * 1024 });
    assert_eq!(with(std::slice::from_ref(&least)).unwrap().lb_policy, LbPolicy::LeastRequest { choice_count: 2 });
    let cluster = with(&[pick_first.clone(), wrr_locality(&round_robin)]).unwrap();
    assert_eq!(cluster.lb_policy, LbPolicy::RoundRobin);
    let passed_over = "load_balancing_policy pick_first (gRFC A62): passed over for the next of the list";
    assert_eq!(cluster.unsupported, [passed_over]);

    rejected(with(&[]), "no supported policy found");
    rejected(with(&[unknown, maglev]), "no supported policy found");
    rejected(with(&[pick_first]), "pick_first (gRFC A62) not implemented by this client");
    rejected(with(&[wrr_locality(&least)]), "least_request below wrr_locality not implemented by this client");
    rejected(with(&[wrr_locality(&ring(7))]), "ring_hash below wrr_locality not implemented by this client");
    rejected(with(&[ring(9_000_000), wrr_locality(&round_robin)]), "must not exceed 8388608");
    let mut deep = round_robin;
    for _ in 0..16 {
        deep = wrr_locality(&deep);
    }
    rejected(with(&[deep]), "exceeds max depth of 16");
    rejected(
        read(|it| {
            it.lb_policy = LbPolicyProto::Maglev as i32;
            it.load_balancing_policy = Some(list(&[any(&policies::round_robin::v3::RoundRobin::default())]));
        }),
        "unexpected lbPolicy MAGLEV",
    );
    let overridden = read(|it| {
        it.lb_policy = LbPolicyProto::RingHash as i32;
        let round_robin = any(&policies::round_robin::v3::RoundRobin::default());
        it.load_balancing_policy = Some(list(&[wrr_locality(&round_robin)]));
    });
    assert_eq!(overridden.unwrap().lb_policy, LbPolicy::RoundRobin);
}

fn instance(name: &str, certificate: &str) -> Option<tls::CertificateProviderPluginInstance> {
    Some(tls::CertificateProviderPluginInstance { instance_name: name.into(), certificate_name: certificate.into() })
}

fn deprecated_instance(name: &str) -> Option<CertificateProviderInstance> {
    Some(CertificateProviderInstance { instance_name: name.into(), certificate_name: "old".into() })
}

#[expect(deprecated, reason = "gRPC reads this field")]
fn validation(roots: Option<&str>, names: &[&str]) -> tls::CertificateValidationContext {
    let exact =
        |name: &&str| StringMatcher { match_pattern: Some(MatchPattern::Exact((*name).into())), ..Default::default() };
    tls::CertificateValidationContext {
        ca_certificate_provider_instance: roots.and_then(|name| instance(name, "ROOTCA")),
        match_subject_alt_names: names.iter().map(exact).collect(),
        ..Default::default()
    }
}

/// What istiod sends: the fields of today and the deprecated ones, with the same content.
#[expect(deprecated, reason = "istiod sends both")]
fn istio() -> tls::CommonTlsContext {
    tls::CommonTlsContext {
        tls_certificate_provider_instance: instance("default", "default"),
        tls_certificate_certificate_provider_instance: deprecated_instance("default"),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(validation(Some("default"), &["spiffe://td/ns/a/sa/b"])),
                validation_context_certificate_provider_instance: deprecated_instance("default"),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn secured(common: tls::CommonTlsContext) -> Result<UpstreamTlsContext, String> {
    let context = tls::UpstreamTlsContext { common_tls_context: Some(common), ..Default::default() };
    with_socket("envoy.transport_sockets.tls", any(&context))
}

fn with_socket(name: &str, config: Any) -> Result<UpstreamTlsContext, String> {
    let config_type = Some(transport_socket::ConfigType::TypedConfig(config));
    let socket = core::TransportSocket { name: name.into(), config_type };
    read(|it| it.transport_socket = Some(socket)).map(|cluster| cluster.security.unwrap())
}

// V-22
#[test]
fn what_istiod_sends_for_mutual_tls_is_understood() {
    let security = secured(istio()).unwrap();
    let identity = security.identity.unwrap();
    assert_eq!((identity.instance_name.as_str(), identity.certificate_name.as_str()), ("default", "default"));
    assert_eq!(security.roots.certificate_name, "ROOTCA");
    assert_eq!(security.subject_alt_names[0].kind, StringMatcherKind::Exact("spiffe://td/ns/a/sa/b".into()));
}

// V-22
#[test]
#[expect(deprecated, reason = "this is about the deprecated fields")]
fn the_deprecated_fields_will_do_where_the_others_are_missing() {
    let common = tls::CommonTlsContext {
        tls_certificate_certificate_provider_instance: deprecated_instance("old"),
        validation_context_type: Some(ValidationContextType::ValidationContextCertificateProviderInstance(
            CertificateProviderInstance { instance_name: "old".into(), certificate_name: "r".into() },
        )),
        ..Default::default()
    };
    let security = secured(common).unwrap();
    assert_eq!((security.identity.unwrap().instance_name, security.roots.certificate_name), ("old".into(), "r".into()));
}

#[test]
fn tls_without_a_client_certificate_needs_roots_only() {
    let roots = ValidationContextType::ValidationContext(validation(Some("default"), &[]));
    let common = tls::CommonTlsContext { validation_context_type: Some(roots), ..Default::default() };
    let security = secured(common).unwrap();
    assert!(security.identity.is_none() && security.subject_alt_names.is_empty());
}

// V-21, V-22, V-35, S-03
#[test]
fn bad_upstream_security_is_rejected_by_name() {
    let common = || tls::CommonTlsContext {
        tls_certificate_provider_instance: instance("default", "default"),
        validation_context_type: Some(ValidationContextType::ValidationContext(validation(Some("default"), &[]))),
        ..Default::default()
    };
    let with = |change: fn(&mut tls::CertificateValidationContext)| {
        let mut context = validation(Some("default"), &[]);
        change(&mut context);
        secured(tls::CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContext(context)),
            ..common()
        })
    };
    let no_roots = "security configuration on the client-side does not contain root certificate provider instance name";
    rejected(with_socket("raw", any(&tls::UpstreamTlsContext::default())), "unexpected name: \"raw\"");
    rejected(
        with_socket("envoy.transport_sockets.tls", any(&tls::DownstreamTlsContext::default())),
        "unexpected typeURL",
    );
    rejected(
        with_socket("envoy.transport_sockets.tls", any(&tls::UpstreamTlsContext::default())),
        "does not contain a CommonTlsContext",
    );
    rejected(secured(tls::CommonTlsContext::default()), no_roots);
    rejected(secured(tls::CommonTlsContext { validation_context_type: None, ..common() }), no_roots);
    rejected(secured(tls::CommonTlsContext { tls_params: Some(Default::default()), ..common() }), "tls_params");
    rejected(
        secured(tls::CommonTlsContext { custom_handshaker: Some(Default::default()), ..common() }),
        "custom_handshaker",
    );
    rejected(
        secured(tls::CommonTlsContext {
            tls_certificate_provider_instance: None,
            tls_certificates: vec![Default::default()],
            ..common()
        }),
        "tls_certificates",
    );
    rejected(
        secured(tls::CommonTlsContext {
            tls_certificate_provider_instance: None,
            tls_certificate_sds_secret_configs: vec![Default::default()],
            ..common()
        }),
        "tls_certificate_sds_secret_configs",
    );
    rejected(
        secured(tls::CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(Default::default())),
            ..common()
        }),
        "validation context contains unexpected type",
    );
    rejected(with(|it| it.verify_certificate_spki = vec!["x".into()]), "verify_certificate_spki");
    rejected(with(|it| it.verify_certificate_hash = vec!["x".into()]), "verify_certificate_hash");
    rejected(with(|it| it.crl = Some(Default::default())), "crl");
    rejected(with(|it| it.custom_validator_config = Some(Default::default())), "custom_validator_config");
    rejected(
        secured(tls::CommonTlsContext { tls_certificate_provider_instance: instance("x", ""), ..common() }),
        "identity certificate provider instance name \"x\" missing in bootstrap configuration",
    );
    let roots = ValidationContextType::ValidationContext(validation(Some("x"), &[]));
    rejected(
        secured(tls::CommonTlsContext { validation_context_type: Some(roots), ..common() }),
        "root certificate provider instance name \"x\" missing in bootstrap configuration",
    );
}
