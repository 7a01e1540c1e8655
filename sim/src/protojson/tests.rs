//! What is read from JSON is what `envoy-types` makes of its bytes.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::RingHash;
use envoy_types::pb::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::protobuf::value::Kind;
use hermesh_istiod::yaml::{self, Diagnostic};
use prost::Message;

use super::read::Reader;
use super::{find, write};

fn found(text: &str) -> Result<Vec<Any>, Vec<Diagnostic>> {
    let documents = yaml::parse("d.json", text).unwrap();
    let found = find(&documents[0].root, "d.json", "")?;
    Ok(found.into_iter().map(|found| found.body).collect())
}

/// The message that a text is, of any type.
fn message<M: Message + Default>(text: &str) -> M {
    let documents = yaml::parse("d.json", text).unwrap();
    let mut reader = Reader::of("d.json");
    let any = reader.any(&documents[0].root, "");
    assert!(reader.errors.is_empty(), "{:?}", reader.errors);
    M::decode(&*any.value).unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    found(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_cluster_with_everything_that_the_mapping_has_a_way_of_its_own_for() {
    let cluster: Cluster = message(
        r#"{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a",
            "type": "EDS", "lb_policy": 2, "connectTimeout": "-1.05s", "perConnectionBufferLimitBytes": 7,
            "respectDnsTtl": null, "metadata": {"filterMetadata": {"x": {"n": 1.5, "l": [true, null, "t"]}}},
            "transportSocket": {"name": "tls", "typedConfig": {
              "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
              "sni": "é", "maxSessionKeys": "3", "commonTlsContext": {"alpnProtocols": ["h2", "http/1.1"]}}},
            "outlierDetection": {"enforcingSuccessRate": 5, "interval": "3s"}}"#,
    );
    assert_eq!(cluster.name, "a");
    assert_eq!(cluster.cluster_discovery_type, Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())));
    assert_eq!(cluster.lb_policy(), LbPolicy::RingHash);
    let timeout = cluster.connect_timeout.unwrap();
    assert_eq!((timeout.seconds, timeout.nanos), (-1, -50_000_000));
    assert_eq!(cluster.per_connection_buffer_limit_bytes.unwrap().value, 7);
    let outlier = cluster.outlier_detection.unwrap();
    assert_eq!((outlier.enforcing_success_rate.unwrap().value, outlier.interval.unwrap().seconds), (5, 3));
    let metadata = &cluster.metadata.unwrap().filter_metadata["x"].fields;
    assert_eq!(metadata["n"].kind, Some(Kind::NumberValue(1.5)));
    let Some(Kind::ListValue(list)) = &metadata["l"].kind else { panic!("{metadata:?}") };
    let kinds: Vec<_> = list.values.iter().map(|value| value.kind.clone().unwrap()).collect();
    assert_eq!(kinds, [Kind::BoolValue(true), Kind::NullValue(0), Kind::StringValue("t".to_owned())]);
    let socket = cluster.transport_socket.unwrap().config_type.unwrap();
    let envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType::TypedConfig(any) = socket;
    let tls = UpstreamTlsContext::decode(&*any.value).unwrap();
    assert_eq!((tls.sni.as_str(), tls.max_session_keys.unwrap().value), ("é", 3));
    assert_eq!(tls.common_tls_context.unwrap().alpn_protocols, ["h2", "http/1.1"]);
}

#[test]
fn filters_and_policies_that_have_descriptors_of_our_own() {
    let url = |name: &str| format!("\"@type\": \"type.googleapis.com/envoy.extensions.{name}\"");
    let fault: HttpFault = message(&format!(
        "{{{}, \"delay\": {{\"fixedDelay\": \"2s\"}}, \"abort\": {{\"grpcStatus\": 14}}, \"maxActiveFaults\": 9}}",
        url("filters.http.fault.v3.HTTPFault")
    ));
    assert_eq!(fault.abort.unwrap().error_type, Some(ErrorType::GrpcStatus(14)));
    assert_eq!(fault.max_active_faults.unwrap().value, 9);
    assert!(fault.delay.is_some_and(|delay| delay.fault_delay_secifier.is_some()));
    let rbac: Rbac = message(&format!(
        "{{{}, \"rules\": {{\"action\": \"DENY\", \"policies\": {{\"p\": {{\"permissions\": [{{\"any\": true}}], \
         \"principals\": [{{\"any\": true}}]}}}}}}, \"shadowRulesStatPrefix\": \"s\"}}",
        url("filters.http.rbac.v3.RBAC")
    ));
    let rules = rbac.rules.unwrap();
    assert_eq!((rules.action, rules.policies["p"].permissions.len()), (1, 1));
    assert_eq!(rbac.shadow_rules_stat_prefix, "s");
    let policies = url("load_balancing_policies.ring_hash.v3.RingHash");
    let ring: RingHash =
        message(&format!("{{{policies}, hashFunction: XX_HASH, minimumRingSize: \"8\", maximum_ring_size: 16}}"));
    assert_eq!((ring.hash_function, ring.minimum_ring_size.unwrap().value), (1, 8));
    assert_eq!(ring.maximum_ring_size.unwrap().value, 16);
    let policies = url("load_balancing_policies.least_request.v3.LeastRequest");
    let least: LeastRequest = message(&format!("{{{policies}, choiceCount: 3, selectionMethod: FULL_SCAN}}"));
    assert_eq!((least.choice_count.unwrap().value, least.selection_method), (3, 1));
    let inner =
        "{name: rr, typedConfig: {\"@type\": type.googleapis.com/xds.type.v3.TypedStruct, type_url: x, value: {a: 1}}}";
    let policies = url("load_balancing_policies.wrr_locality.v3.WrrLocality");
    let wrr: WrrLocality =
        message(&format!("{{{policies}, endpointPickingPolicy: {{policies: [{{typedExtensionConfig: {inner}}}]}}}}"));
    let policy = &wrr.endpoint_picking_policy.unwrap().policies[0];
    assert_eq!(policy.typed_extension_config.as_ref().unwrap().name, "rr");
}

#[test]
fn a_dump_gives_what_its_clients_accepted() {
    let dump = r#"{"configs": [
      {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamicListeners": [{"name": "l",
        "activeState": {"listener": {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l",
          "apiListener": {"apiListener": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "statPrefix": "s"}}}},
        "errorState": {"failedConfiguration": {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "no"}}}]},
      {"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump", "dynamicActiveSecrets": [{"secret": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"}}]},
      {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamicRouteConfigs": [{"routeConfig": {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "r", "virtualHosts": [
          {"domains": ["*"], "routes": [{"match": {"prefix": ""}, "route": {"cluster": "c", "timeout": "1s"}}]}]}}]}]}"#;
    let bodies = found(dump).unwrap();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    let listener = Listener::decode(&*bodies[0].value).unwrap();
    assert_eq!(listener.name, "l");
    let manager = HttpConnectionManager::decode(&*listener.api_listener.unwrap().api_listener.unwrap().value).unwrap();
    assert_eq!(manager.stat_prefix, "s");
    let routes = RouteConfiguration::decode(&*bodies[1].value).unwrap();
    let Some(Action::Route(route)) = &routes.virtual_hosts[0].routes[0].action else { panic!("{routes:?}") };
    assert_eq!(route.timeout.as_ref().map(|timeout| timeout.seconds), Some(1));
}

/// The message that a text is, written again.
fn written(text: &str) -> serde_json::Value {
    let documents = yaml::parse("d.json", text).unwrap();
    let mut reader = Reader::of("d.json");
    let any = reader.any(&documents[0].root, "");
    assert!(reader.errors.is_empty(), "{:?}", reader.errors);
    write(&any)
}

#[test]
fn what_is_written_is_what_was_read() {
    let text = r#"{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a",
        "connectTimeout": "-1.050s", "perConnectionBufferLimitBytes": 0, "lbPolicy": "RING_HASH",
        "ringHashLbConfig": {"minimumRingSize": "18446744073709551615"},
        "commonLbConfig": {"healthyPanicThreshold": {"value": 12.5}},
        "metadata": {"filterMetadata": {"x": {"n": 1.5, "l": [true, null, "t", {}], "a": {"b": "c"}}, "y": {}},
          "typedFilterMetadata": {
            "any": {"@type": "type.googleapis.com/google.protobuf.Any",
                    "value": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"}},
            "bytes": {"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": "/+8="},
            "number": {"@type": "type.googleapis.com/google.protobuf.DoubleValue", "value": "-Infinity"},
            "time": {"@type": "type.googleapis.com/google.protobuf.Timestamp", "value": "2025-01-01T00:00:18.500Z"}}},
        "transportSocket": {"name": "tls", "typedConfig": {
          "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
          "commonTlsContext": {"alpnProtocols": ["h2"]}, "sni": "é", "maxSessionKeys": 3}},
        "type": "EDS"}"#;
    let wanted: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(written(text), wanted);
    for (name, read, told) in [
        ("Duration", "0s", "0s"),
        ("Duration", "1.1s", "1.100s"),
        ("Duration", "-0.000001s", "-0.000001s"),
        ("Duration", "2.000000001s", "2.000000001s"),
        ("Timestamp", "2025-01-01T00:00:18Z", "2025-01-01T00:00:18Z"),
        ("Timestamp", "2025-01-01T00:00:18.5Z", "2025-01-01T00:00:18.500Z"),
        ("Timestamp", "1969-12-31T23:59:59.1234Z", "1969-12-31T23:59:59.123400Z"),
        ("Timestamp", "2025-01-01T01:00:18.000000001+01:00", "2025-01-01T00:00:18.000000001Z"),
    ] {
        let text = format!("{{\"@type\": \"type.googleapis.com/google.protobuf.{name}\", \"value\": \"{read}\"}}");
        assert_eq!(written(&text)["value"], told, "{name}");
    }
}

#[test]
fn what_is_not_known_is_written_as_its_bytes() {
    let any = |type_url: &str, value: Vec<u8>| Any { type_url: type_url.to_owned(), value };
    let unknown = any("type.googleapis.com/corp.Filter", b"\xff\x00".to_vec());
    assert_eq!(write(&unknown), serde_json::json!({"@type": unknown.type_url, "value": "/wA="}));
    let broken = any("type.googleapis.com/envoy.config.cluster.v3.Cluster", b"\xff".to_vec());
    assert_eq!(write(&broken), serde_json::json!({"@type": broken.type_url, "value": "/w=="}));
    // Without a bound this would be the end of the stack.
    let deep = (0..1000)
        .fold(any("t/x", Vec::new()), |inner, _| any("type.googleapis.com/google.protobuf.Any", inner.encode_to_vec()));
    let mut told = &write(&deep);
    while told["value"].is_object() {
        told = &told["value"];
    }
    assert_eq!(told["@type"], "type.googleapis.com/google.protobuf.Any");
    assert!(told["value"].is_string());
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let cluster = "\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\"";
    assert_eq!(
        mistakes(&format!(
            "{{{cluster},\n \"name\": 5,\n \"connectTimeout\": \"5\",\n \"eds_cluster_config\": [],\n \
             \"type\": \"EDS\", \"clusterType\": {{}},\n \"ignoreHealthOnHostRemoval\": \"yes\",\n \"dnsRefreshRate\": {{\"seconds\": 1}},\n \
             \"perConnectionBufferLimitBytes\": 4294967296,\n \"lb_policy\": 1, \"lbPolicy\": 2,\n \"filters\": {{}}}}"
        )),
        [
            "d.json:2:10: name: expected a text, found the number 5; put it into quotes if it is meant: \"5\"",
            "d.json:3:20: connectTimeout: expected a duration in seconds, such as \"1.500s\", found the text \"5\"",
            "d.json:4:24: eds_cluster_config: expected a mapping: envoy.config.cluster.v3.Cluster.EdsClusterConfig, found a list",
            "d.json:5:17: clusterType: `clusterType` and `type` exclude each other; leave one out",
            "d.json:6:31: ignoreHealthOnHostRemoval: expected true or false, found the text \"yes\"",
            "d.json:7:20: dnsRefreshRate: expected a duration in seconds, such as \"1.500s\", found a mapping",
            "d.json:8:35: perConnectionBufferLimitBytes: expected a whole number from 0 to 4294967295, found the number 4294967296",
            "d.json:9:18: lbPolicy: `lbPolicy` stands here twice, under both of its names",
            "d.json:10:13: filters: expected a list, found a mapping",
        ]
    );
    assert_eq!(
        mistakes("{\"@type\": \"envoy.config.cluster.v3.Cluster\"}"),
        ["d.json:1:11: @type: expected a type's URL such as \"type.googleapis.com/envoy.config.cluster.v3.Cluster\""]
    );
    assert!(mistakes("{}")[0].contains("no resource of xDS is here"));
}

#[test]
fn every_type_that_clients_read_or_istiod_sends_is_known() {
    let extensions = [
        "filters.http.fault.v3.HTTPFault",
        "filters.http.rbac.v3.RBACPerRoute",
        "filters.http.router.v3.Router",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        "load_balancing_policies.pick_first.v3.PickFirst",
        "load_balancing_policies.round_robin.v3.RoundRobin",
        "rbac.audit_loggers.stream.v3.StdoutAuditLog",
        "retry.host.previous_hosts.v3.PreviousHostsPredicate",
        "transport_sockets.tls.v3.DownstreamTlsContext",
    ];
    let names = extensions.map(|name| format!("envoy.extensions.{name}"));
    let others =
        ["envoy.config.route.v3.FilterConfig", "udpa.type.v1.TypedStruct", "envoy.service.discovery.v3.Resource"];
    for name in names.iter().map(String::as_str).chain(others) {
        assert!(super::POOL.get_message_by_name(name).is_some(), "{name}");
    }
}
