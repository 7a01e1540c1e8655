//! What istiod's validation webhook refuses, and what gRPC clients make of values they do not know.
//!
//! Source: Istio `pkg/config/validation/validation.go`.

use std::collections::BTreeSet;

use super::Check;
use crate::objects::names::{is_dns_label, is_host};
use crate::objects::{
    ClientTls, ConnectionPool, ConsistentHash, DestinationRule, GRPC_STATUSES, HttpFaultInjection, HttpMatch,
    HttpRoute, LoadBalancer, MtlsMode, MutualTls, OutlierDetection, PeerAuthentication, SimpleLoadBalancer,
    StringMatch, TlsMode, TrafficPolicy, VirtualService,
};
use crate::yaml::{field_path, nearest};

pub(in crate::objects) fn destination_rule(check: &mut Check<'_>, rule: &DestinationRule) {
    let spec = &rule.spec;
    host(check, "spec.host", &spec.host);
    export_to(check, &spec.export_to);
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(check, "spec.trafficPolicy", policy);
    }
    let mut names = BTreeSet::new();
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{index}]");
        if subset.name.is_empty() {
            check.error("missing-field", &format!("{path}.name"), "missing; a subset needs a name");
        } else if !is_dns_label(&subset.name) {
            let message =
                format!("invalid subset name {:?}; use lower-case letters, digits and inner dashes", subset.name.value);
            check.error("invalid-name", &format!("{path}.name"), message);
        } else if !names.insert(subset.name.as_str()) {
            let message = format!("subset {:?} is already there; only the first counts", subset.name.value);
            check.warning("duplicate", &format!("{path}.name"), message);
        }
        check.labels(&format!("{path}.labels"), &subset.labels);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(check, &format!("{path}.trafficPolicy"), policy);
        }
    }
    if let Some(selector) = &spec.workload_selector {
        check.labels("spec.workloadSelector.matchLabels", &selector.match_labels);
    }
}

fn traffic_policy(check: &mut Check<'_>, path: &str, policy: &TrafficPolicy) {
    let outliers = policy.outlier_detection;
    outlier_detection(check, path, outliers);
    let (balancer, tls, pool) = (&policy.load_balancer, &policy.tls, &policy.connection_pool);
    policy_fields(check, path, balancer.as_ref(), tls.as_ref(), pool.as_ref(), outliers.is_some());
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        check.port(&format!("{path}.port.number"), port.port.number);
        let outliers = port.outlier_detection;
        outlier_detection(check, &path, outliers);
        let (balancer, tls, pool) = (&port.load_balancer, &port.tls, &port.connection_pool);
        policy_fields(check, &path, balancer.as_ref(), tls.as_ref(), pool.as_ref(), outliers.is_some());
    }
}

fn outlier_detection(check: &mut Check<'_>, path: &str, outliers: Option<OutlierDetection>) {
    let Some(outliers) = outliers else { return };
    let path = format!("{path}.outlierDetection");
    if !(0..=100).contains(&outliers.min_health_percent) {
        let message = format!("expected a percentage from 0 to 100, found {}", outliers.min_health_percent);
        check.error("out-of-range", &format!("{path}.minHealthPercent"), message);
    }
    let message =
        "istiod sends gRPC clients nothing of this, but that localities get priorities: no endpoint is ejected";
    check.note("treated-as", &path, message);
}

fn policy_fields(
    check: &mut Check<'_>,
    path: &str,
    load_balancer: Option<&LoadBalancer>,
    tls: Option<&ClientTls>,
    pool: Option<&ConnectionPool>,
    fails_over: bool,
) {
    if let Some(LoadBalancer { simple, consistent_hash: hash, locality_lb_setting }) = load_balancer {
        let path = format!("{path}.loadBalancer");
        if let Some(setting) = locality_lb_setting {
            super::locality::locality_lb_setting(check, &format!("{path}.localityLbSetting"), setting, fails_over);
        }
        check.only_one(&path, &["simple", "consistentHash"], "expected one of simple or consistentHash");
        if let Some(hash) = hash {
            consistent_hash(check, &format!("{path}.consistentHash"), hash);
        }
        let path = format!("{path}.simple");
        match simple {
            SimpleLoadBalancer::Random | SimpleLoadBalancer::Passthrough | SimpleLoadBalancer::LeastConn => {
                check.note("treated-as", &path, "istiod gives gRPC clients ROUND_ROBIN instead");
            }
            SimpleLoadBalancer::RoundRobin | SimpleLoadBalancer::LeastRequest | SimpleLoadBalancer::Unspecified => {}
        }
    }
    let pool_path = format!("{path}.connectionPool");
    if let Some(ConnectionPool { tcp: None, http: None }) = pool
        && check.is_whole(&pool_path)
    {
        check.error("missing-field", &pool_path, "needs tcp or http");
    }
    if let Some(http) = pool.and_then(|pool| pool.http)
        && http.http2_max_requests < 0
    {
        let message = format!("{} is negative; leave the field out for the default", http.http2_max_requests);
        check.error("out-of-range", &format!("{pool_path}.http.http2MaxRequests"), message);
    }
    let Some(tls) = tls else { return };
    let path = format!("{path}.tls");
    match tls.mode {
        TlsMode::Simple | TlsMode::Mutual => {
            let message = format!(
                "istiod gives gRPC clients plaintext for {}, as for DISABLE; only ISTIO_MUTUAL encrypts",
                tls.mode
            );
            check.note("treated-as", &format!("{path}.mode"), message);
        }
        TlsMode::Disable | TlsMode::IstioMutual => {}
    }
    let has = |field: &str| check.has(&format!("{path}.{field}"));
    let files = has("clientCertificate") || has("privateKey") || has("caCertificates");
    let wrong = match tls.mode {
        TlsMode::Mutual if has("credentialName") && files => {
            Some("has certificate files and a credentialName; leave one out")
        }
        TlsMode::Mutual if !(has("credentialName") || has("clientCertificate") && has("privateKey")) => {
            Some("MUTUAL needs clientCertificate and privateKey, or a credentialName")
        }
        TlsMode::IstioMutual if files || has("credentialName") => {
            Some("ISTIO_MUTUAL brings its own certificates; leave them out")
        }
        _ => None,
    };
    if let Some(message) = wrong
        && check.is_whole(&path)
    {
        check.error("invalid-value", &path, message);
    }
}

fn consistent_hash(check: &mut Check<'_>, path: &str, hash: &ConsistentHash) {
    let keys = ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"];
    check.only_one(path, &keys, "expected one of httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName");
    check.only_one(path, &["ringHash", "maglev"], "expected one of ringHash or maglev");
    if !keys.iter().any(|key| check.is_given(&format!("{path}.{key}"))) {
        let message = "needs one of httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName";
        check.error("missing-field", path, message);
    }
    if hash.http_header_name.as_deref() == Some("") {
        check.error("missing-field", &format!("{path}.httpHeaderName"), "which header?");
    }
    for key in &keys[1..] {
        let path = format!("{path}.{key}");
        if check.has(&path) {
            check.warning("never-matches", &path, "gRPC clients hash headers only: each call goes to any endpoint");
        }
    }
    if hash.maglev.is_some() {
        let message = "gRPC clients have no Maglev: they reject the cluster, and calls to it fail";
        check.warning("rpc-fails", &format!("{path}.maglev"), message);
    }
}

pub(in crate::objects) fn virtual_service(check: &mut Check<'_>, service: &VirtualService) {
    let spec = &service.spec;
    if spec.hosts.is_empty() {
        check.error("missing-field", "spec.hosts", "missing; a VirtualService needs at least one host");
    }
    let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    let mut hosts = BTreeSet::new();
    for (index, name) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        host(check, &path, name);
        if name.value == "*" && for_mesh && check.is_whole("spec.gateways") {
            check.error("invalid-value", &path, "`*` would take over all hosts of the mesh; name a gateway or a host");
        }
        if !hosts.insert(name.as_str()) {
            check.error("duplicate", &path, format!("host {:?} is already there", name.value));
        }
    }
    export_to(check, &spec.export_to);
    if !for_mesh {
        let message = "names no `mesh`; routes for gateways have no effect on clients in the mesh";
        check.note("no-effect", "spec.gateways", message);
    }
    if spec.http.is_empty() && !check.is_given("spec.tcp") && !check.is_given("spec.tls") {
        check.error("missing-field", "spec.http", "missing; a VirtualService needs at least one route");
    }
    for (index, route) in spec.http.iter().enumerate() {
        http_route(check, &format!("spec.http[{index}]"), route);
    }
}

fn http_route(check: &mut Check<'_>, path: &str, route: &HttpRoute) {
    let given = [
        !route.route.is_empty() || !check.is_read(&format!("{path}.route")),
        check.is_given(&format!("{path}.redirect")),
        check.is_given(&format!("{path}.directResponse")),
    ];
    match given {
        [_, false, false] if route.route.is_empty() => {
            check.error("missing-field", &format!("{path}.route"), "missing; where do the requests go?");
        }
        [true, false, false] | [false, true, false] | [false, false, true] => {}
        _ => check.error("invalid-value", path, "expected one of route, redirect or directResponse"),
    }
    for (name, present) in [("redirect", route.redirect.is_some()), ("directResponse", route.direct_response.is_some())]
    {
        if present {
            check.warning(
                "rpc-fails",
                &format!("{path}.{name}"),
                "gRPC clients do not do this: calls that take this route fail",
            );
        }
    }
    if let Some(response) = &route.direct_response
        && !(200..=599).contains(&response.status)
    {
        let message = format!("expected an HTTP status from 200 to 599, found {}", response.status);
        check.error("out-of-range", &format!("{path}.directResponse.status"), message);
    }
    let mut total: i64 = 0;
    for (index, destination) in route.route.iter().enumerate() {
        let path = format!("{path}.route[{index}]");
        let target = &destination.destination;
        host(check, &format!("{path}.destination.host"), &target.host);
        if target.host.starts_with('*') {
            check.error("invalid-value", &format!("{path}.destination.host"), "a destination cannot be a wildcard");
        }
        if let Some(subset) = &target.subset
            && !is_dns_label(subset)
        {
            let message =
                format!("invalid subset name {:?}; use lower-case letters, digits and inner dashes", subset.value);
            check.error("invalid-name", &format!("{path}.destination.subset"), message);
        }
        if let Some(port) = target.port {
            check.port(&format!("{path}.destination.port.number"), port.number);
        }
        if destination.weight < 0 {
            check.error(
                "out-of-range",
                &format!("{path}.weight"),
                format!("weight {} is negative", destination.weight),
            );
        }
        total += i64::from(destination.weight);
    }
    let paths = format!("{path}.route");
    if !check.is_whole(&paths) {
        // Who knows what the weights are.
    } else if route.route.len() > 1 && total == 0 {
        check.error("invalid-value", &paths, "the weights sum to 0; give at least one destination a weight");
    } else if total > i64::from(u32::MAX) {
        check.error("out-of-range", &paths, format!("the weights sum to {total}, more than a client accepts"));
    } else if route.route.len() > 1 && total != 100 {
        check.note("weights", &paths, format!("the weights sum to {total}; Istio takes them as shares of that sum"));
    }
    for (index, http_match) in route.matches.iter().enumerate() {
        match_fields(check, &format!("{path}.match[{index}]"), http_match);
    }
    if let Some(injection) = &route.fault {
        fault(check, &format!("{path}.fault"), injection);
    }
    if let Some(retries) = &route.retries
        && retries.attempts < 0
    {
        let message = format!("attempts {} is negative; 0 turns retries off", retries.attempts);
        check.error("out-of-range", &format!("{path}.retries.attempts"), message);
    }
}

fn fault(check: &mut Check<'_>, path: &str, injection: &HttpFaultInjection) {
    if injection.delay.is_none() && injection.abort.is_none() && check.is_whole(path) {
        check.error("missing-field", path, "needs a delay or an abort");
    }
    let never = |check: &mut Check<'_>, path: &str, what: &str| {
        check.warning("never-happens", path, format!("without a percentage no call is {what}"));
    };
    if let Some(delay) = &injection.delay {
        let path = format!("{path}.delay");
        if delay.fixed_delay.is_none() && check.is_whole(&path) {
            check.error("missing-field", &format!("{path}.fixedDelay"), "missing; how long?");
        }
        if !(0..=100).contains(&delay.percent) {
            let message = format!("expected a percentage from 0 to 100, found {}", delay.percent);
            check.error("out-of-range", &format!("{path}.percent"), message);
        }
        if !check.is_given(&format!("{path}.percentage")) && !check.is_given(&format!("{path}.percent")) {
            never(check, &path, "held back");
        }
    }
    if let Some(abort) = &injection.abort {
        let path = format!("{path}.abort");
        check.only_one(&path, &["httpStatus", "grpcStatus"], "expected one of httpStatus or grpcStatus");
        if abort.http_status.is_none() && abort.grpc_status.is_none() && check.is_whole(&path) {
            check.error("missing-field", &path, "needs one of httpStatus or grpcStatus");
        }
        if let Some(status) = abort.http_status
            && !(200..=599).contains(&status)
        {
            let message = format!("expected an HTTP status from 200 to 599, found {status}");
            check.error("out-of-range", &format!("{path}.httpStatus"), message);
        }
        if let Some(name) = &abort.grpc_status
            && !GRPC_STATUSES.contains(&name.as_str())
        {
            let near = nearest(name, GRPC_STATUSES);
            let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            check.error("invalid-value", &format!("{path}.grpcStatus"), format!("unknown gRPC status {name:?}{meant}"));
        }
        if !check.is_given(&format!("{path}.percentage")) {
            never(check, &path, "aborted");
        }
    }
}

fn string_match(check: &mut Check<'_>, path: &str) {
    check.only_one(path, &["exact", "prefix", "regex"], "expected one of exact, prefix or regex");
}

fn match_fields(check: &mut Check<'_>, path: &str, http_match: &HttpMatch) {
    string_match(check, &format!("{path}.uri"));
    if http_match.uri == Some(StringMatch::Present) && check.is_whole(&format!("{path}.uri")) {
        check.error("missing-field", &format!("{path}.uri"), "needs one of exact, prefix or regex");
    }
    let headers = [("headers", &http_match.headers), ("withoutHeaders", &http_match.without_headers)];
    for (field, headers) in headers {
        for name in headers.keys() {
            let path = field_path(&format!("{path}.{field}"), name);
            string_match(check, &path);
            let is_token = |b: u8| b.is_ascii_graphic() && !br#"(),/:;<=>?@[\]{}""#.contains(&b);
            if name.starts_with('@') {
                check.error("not-supported", &path, "matching on JWT claims is not supported yet");
            } else if name.is_empty() || !name.bytes().all(is_token) {
                check.error("invalid-name", &path, format!("invalid header name {name:?}"));
            } else if field == "headers" && name.to_ascii_lowercase().ends_with("-bin") {
                // gRFC A28: they count as absent.
                let message = "gRPC clients keep binary metadata (-bin) out of routing: no call takes the route";
                check.warning("never-matches", &path, message);
            }
        }
    }
    if let Some(port) = http_match.port {
        check.port(&format!("{path}.port"), port);
    }
    check.labels(&format!("{path}.sourceLabels"), &http_match.source_labels);
    let pseudo = [("method", &http_match.method), ("authority", &http_match.authority), ("scheme", &http_match.scheme)];
    for (field, condition) in pseudo {
        string_match(check, &format!("{path}.{field}"));
        if condition.is_some() {
            let message = "gRPC clients match metadata only, never this: no call takes the route";
            check.warning("never-matches", &format!("{path}.{field}"), message);
        }
    }
    for name in http_match.query_params.keys() {
        string_match(check, &field_path(&format!("{path}.queryParams"), name));
    }
    if !http_match.query_params.is_empty() {
        let message = "gRPC clients leave out routes with query parameters: no call takes the route";
        check.warning("never-matches", &format!("{path}.queryParams"), message);
    }
}

pub(in crate::objects) fn peer_authentication(check: &mut Check<'_>, policy: &PeerAuthentication) {
    let spec = &policy.spec;
    let has_selector = spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    if let Some(selector) = &spec.selector {
        check.labels("spec.selector.matchLabels", &selector.match_labels);
    }
    if !spec.port_level_mtls.is_empty() && !has_selector && check.is_whole("spec.selector") {
        check.error("invalid-value", "spec.portLevelMtls", "needs a selector: ports belong to workloads");
    }
    mode(check, "spec.mtls.mode", spec.mtls);
    for (port, mtls) in &spec.port_level_mtls {
        let path = format!("spec.portLevelMtls.{port}");
        if !(1..=65535).contains(port) {
            check.error("out-of-range", &path, format!("port {port} is out of range; expected 1 to 65535"));
        }
        mode(check, &format!("{path}.mode"), *mtls);
    }
}

fn mode(check: &mut Check<'_>, path: &str, mtls: MutualTls) {
    if mtls.mode == MtlsMode::Permissive {
        let message = "a gRPC server cannot take both: it gets plaintext, or TLS if its pod has the label security.istio.io/tlsMode=istio";
        check.note("treated-as", path, message);
    }
}

fn host(check: &mut Check<'_>, path: &str, host: &str) {
    if host.is_empty() {
        check.error("missing-field", path, "missing; which host?");
    } else if !is_host(host) {
        check.error(
            "invalid-name",
            path,
            format!("invalid host {host:?}; use a DNS name, maybe with a first label `*`"),
        );
    }
}

pub(super) fn export_to(check: &mut Check<'_>, namespaces: &[String]) {
    let mut seen = BTreeSet::new();
    for (index, namespace) in namespaces.iter().enumerate() {
        let path = format!("spec.exportTo[{index}]");
        if !matches!(namespace.as_str(), "." | "*" | "~") && !is_dns_label(namespace) {
            check.error("invalid-name", &path, format!("expected `.`, `*` or a namespace, found {namespace:?}"));
        } else if !seen.insert(namespace) {
            check.error("duplicate", &path, format!("{namespace:?} is already there"));
        }
    }
    if seen.len() > 1 && check.is_whole("spec.exportTo") && namespaces.iter().any(|namespace| namespace == "*") {
        check.error("invalid-value", "spec.exportTo", "`*` includes all other namespaces; leave them out");
    }
}
