//! What istiod's validation webhook refuses of a VirtualService, and what gRPC clients do not do.
//!
//! Source: Istio `pkg/config/validation/validation.go` (`ValidateVirtualService`) and `virtualservice.go`.

use super::Check;
use super::fault::fault;
use super::http_match::match_fields;
use super::istio::{Exporter, export_to, gateways, host};
use crate::objects::names::is_mesh_label;
use crate::objects::{HttpRedirect, HttpRetry, HttpRoute, HttpRouteDestination, VirtualService};
use crate::yaml::{Spanned, nearest};

/// What `retryOn` may say, beside HTTP statuses (`supportedRetryOnPolicies`).
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(in crate::objects) fn virtual_service(check: &mut Check<'_>, service: &VirtualService) {
    let spec = &service.spec;
    if spec.hosts.is_empty() {
        let message = "missing; a VirtualService needs at least one host, since delegates are not supported yet";
        check.error("missing-field", "spec.hosts", message);
    }
    let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    gateways(check, "spec.gateways", &spec.gateways);
    hosts(check, &spec.hosts, for_mesh);
    export_to(check, &spec.export_to, Exporter::Routes);
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

fn hosts(check: &mut Check<'_>, hosts: &[Spanned<String>], for_mesh: bool) {
    for (index, name) in hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        host(check, &path, name);
        if name.value == "*" && for_mesh && check.is_whole("spec.gateways") {
            check.error("invalid-value", &path, "`*` would take over all hosts of the mesh; name a gateway or a host");
        } else if let Some(other) =
            hosts[..index].iter().find(|other| other.value != "*" && *other != name && meet(other, name))
        {
            check.error("duplicate", &path, format!("host {:?} meets {:?} before it", name.value, other.value));
        } else if hosts[..index].contains(name) {
            check.error("duplicate", &path, format!("host {:?} is already there", name.value));
        }
    }
}

/// Whether there are names that both hosts are for.
fn meet(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(suffix), None) => b.ends_with(suffix),
        (None, Some(suffix)) => a.ends_with(suffix),
        (None, None) => a == b,
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
    conflicts(check, path);
    if let Some(redirect) = &route.redirect {
        redirected(check, &format!("{path}.redirect"), redirect);
    }
    destinations(check, &format!("{path}.route"), &route.route);
    for (index, http_match) in route.matches.iter().enumerate() {
        match_fields(check, &format!("{path}.match[{index}]"), http_match);
    }
    if let Some(injection) = &route.fault {
        fault(check, &format!("{path}.fault"), injection);
    }
    if let Some(again) = &route.retries {
        retries(check, &format!("{path}.retries"), again);
    }
}

/// Source: `validateHTTPRouteConflict`.
fn conflicts(check: &mut Check<'_>, path: &str) {
    let answer = ["redirect", "directResponse"].into_iter().find(|answer| check.has(&format!("{path}.{answer}")));
    for (answer, beside) in answer.into_iter().flat_map(|answer| [(answer, "fault"), (answer, "rewrite")]) {
        if check.has(&format!("{path}.{beside}")) {
            let message = format!("has no place beside {answer}; leave one out");
            check.error("invalid-value", &format!("{path}.{beside}"), message);
        }
    }
    if check.has(&format!("{path}.mirror")) && check.has(&format!("{path}.mirrors")) {
        check.error("invalid-value", &format!("{path}.mirror"), "has no place beside mirrors; write it there");
    }
}

/// Source: `validateHTTPRedirect`.
fn redirected(check: &mut Check<'_>, path: &str, redirect: &HttpRedirect) {
    let elsewhere = ["port", "derivePort", "scheme"].iter().any(|field| check.has(&format!("{path}.{field}")));
    if redirect.uri.is_empty() && redirect.authority.is_empty() && !elsewhere && check.is_whole(path) {
        check.error("missing-field", path, "leads nowhere else; write a uri, an authority, a scheme or a port");
    }
    if redirect.redirect_code != 0 && !(300..=399).contains(&redirect.redirect_code) {
        let message = format!("expected an HTTP status from 300 to 399, found {}", redirect.redirect_code);
        check.error("out-of-range", &format!("{path}.redirectCode"), message);
    }
}

fn destinations(check: &mut Check<'_>, paths: &str, destinations: &[HttpRouteDestination]) {
    let mut total: i64 = 0;
    for (index, destination) in destinations.iter().enumerate() {
        let path = format!("{paths}[{index}]");
        let target = &destination.destination;
        if target.host.value == "*" {
            let message = "requests go to one host; name it";
            check.error("invalid-value", &format!("{path}.destination.host"), message);
        } else {
            host(check, &format!("{path}.destination.host"), &target.host);
        }
        if let Some(subset) = target.subset.as_ref().filter(|subset| !subset.is_empty() && !is_mesh_label(subset)) {
            let message = format!("invalid subset name {:?}; use letters, digits and inner dashes", subset.value);
            check.error("invalid-name", &format!("{path}.destination.subset"), message);
        }
        if let Some(port) = target.port {
            check.port(&format!("{path}.destination.port.number"), port.number);
        }
        if destination.weight < 0 {
            let message = format!("weight {} is negative", destination.weight);
            check.error("out-of-range", &format!("{path}.weight"), message);
        }
        total += i64::from(destination.weight);
    }
    if !check.is_whole(paths) {
        // Who knows what the weights are.
    } else if destinations.len() > 1 && total == 0 {
        check.error("invalid-value", paths, "the weights sum to 0; give at least one destination a weight");
    } else if total > i64::from(u32::MAX) {
        check.error("out-of-range", paths, format!("the weights sum to {total}, more than a client accepts"));
    } else if destinations.len() > 1 && total != 100 {
        check.note("weights", paths, format!("the weights sum to {total}; Istio takes them as shares of that sum"));
    }
}

/// Source: `validateHTTPRetry`.
fn retries(check: &mut Check<'_>, path: &str, retries: &HttpRetry) {
    if retries.attempts < 0 {
        let message = format!("attempts {} is negative; 0 turns retries off", retries.attempts);
        check.error("out-of-range", &format!("{path}.attempts"), message);
    }
    let how = ["perTryTimeout", "retryOn", "retryRemoteLocalities"];
    let how = how.into_iter().find(|field| check.has(&format!("{path}.{field}")));
    if let Some(field) = how.filter(|_| retries.attempts == 0 && check.is_read(&format!("{path}.attempts"))) {
        let message = "has no place without attempts, which are 0: retries are off; write how many";
        check.error("invalid-value", &format!("{path}.{field}"), message);
    }
    for word in retries.retry_on.split(',').filter(|_| !retries.retry_on.is_empty()) {
        let is_status = word.parse::<u16>().ok().and_then(|code| http::StatusCode::from_u16(code).ok());
        let is_known = is_status.is_some_and(|status| status.canonical_reason().is_some());
        if !is_known && !RETRY_ON.contains(&word) {
            let meant = match nearest(word.trim(), RETRY_ON) {
                Some(near) if near == word.trim() => "; leave out the blanks".to_owned(),
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            let message = format!("no failure is called {word:?}{meant}");
            check.error("invalid-value", &format!("{path}.retryOn"), message);
        }
    }
}
