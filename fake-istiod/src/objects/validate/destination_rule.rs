//! What istiod's validation webhook refuses of a DestinationRule, and what gRPC clients make of values that they do
//! not know.
//!
//! Source: Istio `pkg/config/validation/validation.go` (`ValidateDestinationRule`).

use std::collections::BTreeSet;

use super::Check;
use super::istio::{Exporter, export_to, host};
use crate::objects::names::is_mesh_label;
use crate::objects::{
    ClientTls, ConnectionPool, ConsistentHash, DestinationRule, LoadBalancer, OutlierDetection, SimpleLoadBalancer,
    TlsMode, TrafficPolicy,
};
use crate::yaml::{Node, listed};

/// What a policy is of, as far as the webhook asks.
const OF_POLICY: [&str; 7] =
    ["outlierDetection", "connectionPool", "loadBalancer", "tls", "portLevelSettings", "tunnel", "proxyProtocol"];

/// How large Maglev's table can be.
const TABLE_MAX: u64 = 5_000_011;

pub(in crate::objects) fn destination_rule(check: &mut Check<'_>, rule: &DestinationRule) {
    let spec = &rule.spec;
    host(check, "spec.host", &spec.host);
    let is_for_some_workloads = spec.workload_selector.is_some();
    export_to(check, &spec.export_to, Exporter::Rule { is_for_some_workloads });
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(check, "spec.trafficPolicy", policy);
    }
    let mut names = BTreeSet::new();
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{index}]");
        if subset.name.is_empty() {
            check.error("missing-field", &format!("{path}.name"), "missing; a subset needs a name");
        } else if !is_mesh_label(&subset.name) {
            let message = format!("invalid subset name {:?}; use letters, digits and inner dashes", subset.name.value);
            check.error("invalid-name", &format!("{path}.name"), message);
        } else if !names.insert(subset.name.as_str()) {
            let message = format!("subset {:?} is already there", subset.name.value);
            check.error("duplicate", &format!("{path}.name"), message);
        }
        check.labels(&format!("{path}.labels"), &subset.labels);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(check, &format!("{path}.trafficPolicy"), policy);
        }
    }
    if let Some(selector) = &spec.workload_selector {
        check.selector("spec.workloadSelector.matchLabels", &selector.match_labels);
    }
}

fn traffic_policy(check: &mut Check<'_>, path: &str, policy: &TrafficPolicy) {
    is_of_something(check, path, &OF_POLICY);
    let outliers = policy.outlier_detection;
    outlier_detection(check, path, outliers);
    let (balancer, tls, pool) = (&policy.load_balancer, &policy.tls, &policy.connection_pool);
    policy_fields(check, path, balancer.as_ref(), tls.as_ref(), pool.as_ref(), outliers.is_some());
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        is_of_something(check, &path, &OF_POLICY[..4]);
        check.port(&format!("{path}.port.number"), port.port.number);
        let outliers = port.outlier_detection;
        outlier_detection(check, &path, outliers);
        let (balancer, tls, pool) = (&port.load_balancer, &port.tls, &port.connection_pool);
        policy_fields(check, &path, balancer.as_ref(), tls.as_ref(), pool.as_ref(), outliers.is_some());
    }
}

fn is_of_something(check: &mut Check<'_>, path: &str, fields: &[&str]) {
    if check.is_whole(path) && !fields.iter().any(|field| check.has(&format!("{path}.{field}"))) {
        check.error("missing-field", path, format!("says nothing; leave it out, or write {}", listed(fields)));
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
    let of_others = has("caCertificates") || has("caCrl");
    let own = has("clientCertificate") && has("privateKey");
    let files = has("clientCertificate") || has("privateKey") || of_others;
    let skips = check.root.at_path(&path).get("insecureSkipVerify").and_then(Node::text) == Some("true");
    let verifies = has("caCertificates") || has("subjectAltNames");
    let wrong = match tls.mode {
        TlsMode::Simple | TlsMode::Mutual if skips && verifies => {
            Some("insecureSkipVerify has no place beside caCertificates or subjectAltNames; leave one out")
        }
        TlsMode::Simple if skips && has("credentialName") => {
            Some("insecureSkipVerify has no place beside a credentialName; leave one out")
        }
        TlsMode::Simple | TlsMode::Mutual if has("credentialName") && files => {
            Some("has certificate files and a credentialName; leave one out")
        }
        TlsMode::Mutual if !has("credentialName") && !own => {
            Some("MUTUAL needs clientCertificate and privateKey, or a credentialName")
        }
        TlsMode::Disable | TlsMode::Simple | TlsMode::Mutual | TlsMode::IstioMutual => None,
    };
    if tls.mode == TlsMode::IstioMutual && (files || has("credentialName")) {
        check.note("no-effect", &path, "ISTIO_MUTUAL brings its own certificates: those that are named have no effect");
    }
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
    let minimum = format!("{path}.minimumRingSize");
    if hash.minimum_ring_size != 0 && (hash.ring_hash.is_some() || hash.maglev.is_some()) {
        let message = "has no place beside ringHash or maglev; ringHash has one of its own";
        check.error("invalid-value", &minimum, message);
    }
    if let Some(cookie) = &hash.http_cookie
        && cookie.name.is_empty()
    {
        check.error("missing-field", &format!("{path}.httpCookie.name"), "missing; which cookie?");
    }
    if let Some(maglev) = hash.maglev {
        let path = format!("{path}.maglev.tableSize");
        match maglev.table_size {
            0 => check.error("missing-field", &path, "missing; a prime number such as 65537"),
            size if size >= TABLE_MAX || !is_prime(size) => {
                let message = format!("expected a prime number below {TABLE_MAX}, such as 65537, found {size}");
                check.error("invalid-value", &path, message);
            }
            _ => {}
        }
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

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}
