//! The routes of a virtual host.
//!
//! Source: Istio `pilot/pkg/networking/core/route/route.go` (`BuildHTTPRoutesForVirtualService`, `translateRoute`).

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::BoolValue;
use route::header_matcher::HeaderMatchSpecifier;
use route::route_match::PathSpecifier;

use super::{ClusterName, fault, hash, proto, retry};
use crate::node::Node;
use crate::objects::{
    Destination, HttpMatch, HttpRedirect, HttpRoute, HttpRouteDestination, StringMatch, VirtualService, selects,
};
use crate::snapshot::{Snapshot, full_host};

/// The routes of `service` for requests of `node` to `port`, up to the first that takes everything.
pub(super) fn of_virtual_service(
    snapshot: &Snapshot,
    node: &Node,
    service: &VirtualService,
    port: u16,
) -> Vec<route::Route> {
    let translation = Translation { snapshot, node, service, port };
    let mut routes = Vec::new();
    for http in &service.spec.http {
        if http.matches.is_empty() {
            routes.push(translation.route(http, None));
            return routes;
        }
        for http_match in http.matches.iter().filter(|http_match| translation.concerns(http_match)) {
            let route = translation.route(http, Some(http_match));
            let takes_everything = takes_everything(&route);
            routes.push(route);
            if takes_everything {
                return routes;
            }
        }
    }
    routes
}

/// The only route of a Service that no VirtualService is for.
pub(super) fn default(snapshot: &Snapshot, node: &Node, host: &str, port: u16) -> route::Route {
    let zero = Some(proto::duration(Duration::ZERO));
    #[expect(deprecated, reason = "istiod sends it")]
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(
            ClusterName::of_service(host, port).to_string(),
        )),
        timeout: zero,
        max_grpc_timeout: zero,
        retry_policy: Some(retry::default_policy()),
        hash_policy: hash::policy(snapshot, node, host, None, Some(port)).into_iter().collect(),
        ..route::RouteAction::default()
    };
    let action = anywhere_again_if_hashed(action);
    route::Route {
        name: "default".to_owned(),
        r#match: Some(route::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..route::RouteMatch::default()
        }),
        decorator: Some(decorator(format!("{host}:{port}/*"))),
        action: Some(route::route::Action::Route(action)),
        ..route::Route::default()
    }
}

struct Translation<'a> {
    snapshot: &'a Snapshot,
    node: &'a Node,
    service: &'a VirtualService,
    port: u16,
}

impl Translation<'_> {
    /// Whether a match is for this client and port at all; the client never learns of the others.
    fn concerns(&self, http_match: &HttpMatch) -> bool {
        let gateways = &http_match.gateways;
        http_match.port.is_none_or(|port| port == 0 || port == u32::from(self.port))
            && (gateways.is_empty() || gateways.iter().any(|gateway| gateway == "mesh"))
            && selects(&http_match.source_labels, self.snapshot.labels(self.node))
            && http_match
                .source_namespace
                .as_deref()
                .is_none_or(|namespace| namespace.is_empty() || namespace == self.node.namespace())
    }

    fn route(&self, http: &HttpRoute, http_match: Option<&HttpMatch>) -> route::Route {
        let metadata = &self.service.metadata;
        let name = match http_match.map(|http_match| http_match.name.as_str()).filter(|name| !name.is_empty()) {
            Some(name) => format!("{}.{name}", http.name),
            None => http.name.clone(),
        };
        let action = match (&http.redirect, http.direct_response) {
            (Some(redirect), _) => redirect_action(redirect),
            (None, Some(response)) => Some(route::route::Action::DirectResponse(route::DirectResponseAction {
                status: response.status,
                ..route::DirectResponseAction::default()
            })),
            (None, None) => Some(route::route::Action::Route(self.action(http))),
        };
        let path =
            format!("/apis/networking.istio.io/v1/namespaces/{}/virtual-service/{}", metadata.namespace, metadata.name);
        let mut route = route::Route {
            name,
            r#match: Some(route_match(http_match)),
            metadata: Some(proto::metadata("istio", "config", path)),
            typed_per_filter_config: http.fault.as_ref().and_then(fault::filter_config).into_iter().collect(),
            action,
            ..route::Route::default()
        };
        route.decorator = Some(decorator(operation(&route, &metadata.name, self.port)));
        route
    }

    fn action(&self, http: &HttpRoute) -> route::RouteAction {
        let specifier = match http.route.as_slice() {
            [only] => route::route_action::ClusterSpecifier::Cluster(self.cluster(&only.destination)),
            several => route::route_action::ClusterSpecifier::WeightedClusters(route::WeightedCluster {
                clusters: several.iter().filter_map(|destination| self.weighted(destination)).collect(),
                ..route::WeightedCluster::default()
            }),
        };
        let timeout = Some(proto::duration(http.timeout.unwrap_or_default()));
        let weighs = |it: &&HttpRouteDestination| http.route.len() == 1 || it.weight > 0;
        let hash_policy = http.route.iter().filter(weighs).filter_map(|it| self.hash_policy(&it.destination)).collect();
        let action = route::RouteAction {
            cluster_specifier: Some(specifier),
            timeout,
            // The only one of the two that gRPC reads.
            max_stream_duration: Some(route::route_action::MaxStreamDuration {
                max_stream_duration: timeout,
                ..route::route_action::MaxStreamDuration::default()
            }),
            retry_policy: retry::policy(http.retries.as_ref()),
            hash_policy,
            ..route::RouteAction::default()
        };
        if http.route.len() == 1 { anywhere_again_if_hashed(action) } else { action }
    }

    fn hash_policy(&self, destination: &Destination) -> Option<route::route_action::HashPolicy> {
        let host = full_host(&destination.host, &self.service.metadata.namespace, self.snapshot.mesh());
        let port = destination.port.and_then(|port| u16::try_from(port.number).ok());
        let subset = destination.subset.as_ref().map(|subset| subset.value.as_str());
        hash::policy(self.snapshot, self.node, &host, subset, port)
    }

    /// Destinations without a share are left out.
    fn weighted(&self, destination: &HttpRouteDestination) -> Option<route::weighted_cluster::ClusterWeight> {
        let weight = u32::try_from(destination.weight).ok().filter(|weight| *weight > 0)?;
        Some(route::weighted_cluster::ClusterWeight {
            name: self.cluster(&destination.destination),
            weight: Some(proto::uint32(weight)),
            ..route::weighted_cluster::ClusterWeight::default()
        })
    }

    /// A destination's cluster. Without a port it is the only one of the destination, else that of the request.
    fn cluster(&self, destination: &Destination) -> String {
        let host = full_host(&destination.host, &self.service.metadata.namespace, self.snapshot.mesh());
        let named = destination.port.and_then(|port| u16::try_from(port.number).ok());
        let port = named.unwrap_or_else(|| match self.snapshot.service(&host, self.node.namespace()) {
            Some(service) => match service.ports() {
                [only] => only.port,
                _ => self.port,
            },
            None => self.port,
        });
        let subset = destination.subset.as_ref().map(|subset| subset.value.clone()).unwrap_or_default();
        ClusterName { port, subset, host }.to_string()
    }
}

/// A request that its hash leads to one endpoint may be tried there again.
fn anywhere_again_if_hashed(mut action: route::RouteAction) -> route::RouteAction {
    if let Some(retry) = action.retry_policy.as_mut().filter(|_| !action.hash_policy.is_empty()) {
        retry.retry_host_predicate.clear();
    }
    action
}

fn redirect_action(redirect: &HttpRedirect) -> Option<route::route::Action> {
    use route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode};
    let code = match redirect.redirect_code {
        0 | 301 => RedirectResponseCode::MovedPermanently,
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => return None,
    };
    Some(route::route::Action::Redirect(route::RedirectAction {
        host_redirect: redirect.authority.clone(),
        response_code: code.into(),
        path_rewrite_specifier: Some(PathRewriteSpecifier::PathRedirect(redirect.uri.clone())),
        ..route::RedirectAction::default()
    }))
}

fn route_match(http_match: Option<&HttpMatch>) -> route::RouteMatch {
    let prefix = || PathSpecifier::Prefix("/".to_owned());
    let Some(http_match) = http_match else {
        return route::RouteMatch { path_specifier: Some(prefix()), ..route::RouteMatch::default() };
    };
    let path = match &http_match.uri {
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(path)) => PathSpecifier::Prefix(path.clone()),
        Some(StringMatch::Regex(path)) => PathSpecifier::SafeRegex(regex(path)),
        Some(StringMatch::Present) | None => prefix(),
    };
    let mut headers: Vec<_> = http_match.headers.iter().map(|(name, value)| header(name, value)).collect();
    headers.extend(http_match.without_headers.iter().map(|(name, value)| {
        let header = header(name, value);
        let is_presence = matches!(header.header_match_specifier, Some(HeaderMatchSpecifier::PresentMatch(_)));
        route::HeaderMatcher { invert_match: true, treat_missing_header_as_empty: !is_presence, ..header }
    }));
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    let pseudo =
        [(":method", &http_match.method), (":authority", &http_match.authority), (":scheme", &http_match.scheme)];
    headers.extend(pseudo.into_iter().filter_map(|(name, value)| Some(header(name, value.as_ref()?))));
    let query_parameters = http_match.query_params.iter().map(|(name, value)| query_parameter(name, value)).collect();
    route::RouteMatch {
        case_sensitive: Some(BoolValue { value: !http_match.ignore_uri_case }),
        headers,
        query_parameters,
        path_specifier: Some(path),
        ..route::RouteMatch::default()
    }
}

/// Headers are compared by `string_match` (gRFC A63), never by the older fields.
fn header(name: &str, value: &StringMatch) -> route::HeaderMatcher {
    let specifier = match string_matcher(value) {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    route::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..route::HeaderMatcher::default()
    }
}

fn query_parameter(name: &str, value: &StringMatch) -> route::QueryParameterMatcher {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier;
    let specifier = match string_matcher(value) {
        Some(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
        None => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    route::QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}

/// None if any text will do.
fn string_matcher(value: &StringMatch) -> Option<matcher::StringMatcher> {
    use matcher::string_matcher::MatchPattern;
    let pattern = match value {
        StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.clone()),
        StringMatch::Regex(text) if text == "*" => return None,
        StringMatch::Regex(text) => MatchPattern::SafeRegex(regex(text)),
        StringMatch::Present => return None,
    };
    Some(matcher::StringMatcher { match_pattern: Some(pattern), ..matcher::StringMatcher::default() })
}

fn regex(text: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: text.to_owned(), ..matcher::RegexMatcher::default() }
}

fn takes_everything(route: &route::Route) -> bool {
    let Some(route_match) = &route.r#match else { return false };
    let any_path = match &route_match.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    any_path && route_match.headers.is_empty() && route_match.query_parameters.is_empty()
}

/// What a trace calls the route: host, port and path, or the VirtualService's name where there are several hosts.
fn operation(route: &route::Route, service: &str, port: u16) -> String {
    let path = match route.r#match.as_ref().and_then(|route_match| route_match.path_specifier.as_ref()) {
        Some(PathSpecifier::Prefix(prefix)) => format!("{prefix}*"),
        Some(PathSpecifier::Path(path)) => path.clone(),
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex.clone(),
        _ => "/*".to_owned(),
    };
    if let Some(route::route::Action::Route(action)) = &route.action
        && let Some(route::route_action::ClusterSpecifier::Cluster(cluster)) = &action.cluster_specifier
        && let Some(cluster) = ClusterName::parse(cluster)
    {
        return format!("{}:{}{path}", cluster.host, cluster.port);
    }
    format!("{service}:{port}{path}")
}

fn decorator(operation: String) -> route::Decorator {
    route::Decorator { operation, propagate: None }
}
