//! A configuration in use as text: from the listener to the endpoints, or the filter chains of a server.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use hermesh_xds::dependency_manager::{ClusterState, XdsConfig};
use hermesh_xds::resource::{
    Cluster, DownstreamTlsContext, Endpoints, FilterChain, FilterOverride, FilterOverrides, HeaderMatcher,
    HeaderMatcherKind, HttpConnectionManager, HttpFilterKind, LbPolicy, PathMatcher, RbacAction, RbacRules,
    RetryPolicy, Route, RouteAction, ServerListener, StringMatcher, StringMatcherKind, UpstreamTlsContext, VirtualHost,
};

use super::names::Names;

/// What a channel uses.
pub(super) fn of_channel(config: &XdsConfig, names: &Names) -> String {
    let mut page = Page { text: String::new(), names };
    page.line(0, format_args!("listener {}{}", config.listener.name, filters(config.http())));
    page.line(1, format_args!("routes {}", config.route_configuration.name));
    page.virtual_host(2, config.virtual_host());
    for (name, state) in &config.clusters {
        page.cluster(name, state);
    }
    page.text
}

/// What a server uses.
pub(super) fn of_server(listener: &ServerListener, names: &Names) -> String {
    let mut page = Page { text: String::new(), names };
    for chain in &listener.filter_chains {
        page.filter_chain(chain, false);
    }
    if let Some(chain) = &listener.default_filter_chain {
        page.filter_chain(chain, true);
    }
    page.text
}

struct Page<'n> {
    text: String,
    names: &'n Names,
}

impl Page<'_> {
    fn virtual_host(&mut self, depth: usize, host: &VirtualHost) {
        let retry = retries(host.retry_policy.as_ref());
        // A Service's address is drawn.
        let is_name = |domain: &&String| domain.parse::<IpAddr>().is_err() && domain.parse::<SocketAddr>().is_err();
        let domains = host.domains.iter().filter(is_name).map(String::as_str).collect::<Vec<_>>().join(", ");
        self.line(depth, format_args!("host {domains}{retry}{}", overrides(&host.overrides)));
        for route in &host.routes {
            self.route(depth + 1, route);
        }
    }

    fn route(&mut self, depth: usize, route: &Route) {
        let matches = matches(route);
        match &route.action {
            RouteAction::Forward { clusters, max_stream_duration, retry_policy, hash_policies } => {
                let timeout =
                    max_stream_duration.limit(None).map(|time| format!(", at most {time:?}")).unwrap_or_default();
                let hashes = if hash_policies.is_empty() { "" } else { ", hashed" };
                let retry = retries(retry_policy.as_ref());
                self.line(depth, format_args!("{matches}{timeout}{retry}{hashes}{}", overrides(&route.overrides)));
                for cluster in clusters {
                    let own = overrides(&cluster.overrides);
                    self.line(depth + 1, format_args!("to {} weight {}{own}", cluster.name, cluster.weight));
                }
            }
            RouteAction::NonForwarding => {
                self.line(depth, format_args!("{matches}: served here{}", overrides(&route.overrides)));
            }
            RouteAction::Unsupported(action) => self.line(depth, format_args!("{matches}: {action}, which fails")),
        }
    }

    fn cluster(&mut self, name: &str, state: &ClusterState) {
        match state {
            ClusterState::Failed(error) => {
                self.line(1, format_args!("cluster {name}: {}", self.names.within(error)));
            }
            ClusterState::Ready { cluster, endpoints } => {
                let Cluster { lb_policy, security, max_requests, .. } = &**cluster;
                let (policy, tls) = (policy(*lb_policy), upstream(security.as_ref()));
                self.line(1, format_args!("cluster {name}: {policy}, {tls}, at most {max_requests} requests"));
                match endpoints {
                    Ok(endpoints) => self.endpoints(endpoints),
                    Err(error) => self.line(2, format_args!("no endpoints: {}", self.names.within(error))),
                }
            }
        }
    }

    fn endpoints(&mut self, endpoints: &Endpoints) {
        for drop in &endpoints.drops {
            self.line(2, format_args!("drops {} of a million for {}", drop.per_million, drop.category));
        }
        for locality in &endpoints.localities {
            let (priority, weight, id) = (locality.priority, locality.weight, locality.id.to_string());
            let id = id.trim_end_matches('/');
            let at = if id.is_empty() { String::new() } else { format!(", {id}") };
            self.line(2, format_args!("priority {priority}{at}, weight {weight}"));
            let usable = locality.endpoints.iter().map(|endpoint| (endpoint, ""));
            let unhealthy = locality.unhealthy.iter().map(|endpoint| (endpoint, ", not used"));
            // In the order of their names: that of addresses is chance.
            let mut lines: Vec<String> = usable
                .chain(unhealthy)
                .map(|(endpoint, note)| {
                    let (address, health, weight) =
                        (self.names.address(endpoint.address), endpoint.health, endpoint.weight);
                    format!("{address} {health:?} weight {weight}{note}")
                })
                .collect();
            lines.sort();
            lines.iter().for_each(|line| self.line(3, format_args!("{line}")));
        }
        if endpoints.localities.is_empty() {
            self.line(2, format_args!("no endpoints"));
        }
    }

    fn filter_chain(&mut self, chain: &FilterChain, is_default: bool) {
        let name = if chain.name.is_empty() { "without a name" } else { &chain.name };
        let default = if is_default { ", the default" } else { "" };
        let (tls, filters) = (downstream(chain.security.as_ref()), filters(&chain.http));
        self.line(0, format_args!("chain {name}{default}: {tls}{filters}"));
    }

    fn line(&mut self, depth: usize, line: std::fmt::Arguments<'_>) {
        let infallible = "writing to a String cannot fail";
        write!(self.text, "{:width$}", "", width = 2 * depth).expect(infallible);
        writeln!(self.text, "{line}").expect(infallible);
    }
}

fn upstream(security: Option<&UpstreamTlsContext>) -> String {
    let Some(UpstreamTlsContext { identity, subject_alt_names, .. }) = security else { return "plaintext".to_owned() };
    let mode = if identity.is_some() { "mTLS" } else { "TLS" };
    let names: Vec<String> = subject_alt_names.iter().map(matcher).collect();
    if names.is_empty() { mode.to_owned() } else { format!("{mode} with {}", names.join(" or ")) }
}

fn downstream(security: Option<&DownstreamTlsContext>) -> &'static str {
    match security {
        None => "plaintext",
        Some(tls) if tls.require_client_certificate => "mTLS",
        Some(_) => "TLS",
    }
}

fn policy(policy: LbPolicy) -> String {
    match policy {
        LbPolicy::RoundRobin => "round robin".to_owned(),
        LbPolicy::RingHash { min_size, max_size } => format!("ring hash {min_size} to {max_size}"),
        LbPolicy::LeastRequest { choice_count } => format!("least request of {choice_count}"),
        other => format!("{other:?}"),
    }
}

fn filters(http: &HttpConnectionManager) -> String {
    let told: Vec<String> = http
        .http_filters
        .iter()
        .filter_map(|filter| match &filter.kind {
            HttpFilterKind::Router | HttpFilterKind::Rbac(None) => None,
            HttpFilterKind::Fault(fault) => {
                (fault.delay.is_some() || fault.abort.is_some()).then(|| format!("{fault:?}"))
            }
            HttpFilterKind::Rbac(Some(rules)) => Some(rbac(rules)),
        })
        .collect();
    if told.is_empty() { String::new() } else { format!(", {}", told.join(", ")) }
}

fn overrides(overrides: &FilterOverrides) -> String {
    let told = overrides.iter().map(|(name, filter)| match filter {
        FilterOverride::Fault(fault) => format!(", {name}: {fault:?}"),
        FilterOverride::Rbac(Some(rules)) => format!(", {name}: {}", rbac(rules)),
        FilterOverride::Rbac(None) => format!(", {name}: off"),
    });
    told.collect()
}

fn rbac(rules: &RbacRules) -> String {
    let action = match rules.action {
        RbacAction::Allow => "allows only",
        RbacAction::Deny => "denies",
    };
    let policies: Vec<&str> = rules.policies.keys().map(String::as_str).collect();
    format!("{action} by {}", if policies.is_empty() { "nothing".to_owned() } else { policies.join(" or ") })
}

fn retries(policy: Option<&RetryPolicy>) -> String {
    let Some(policy) = policy.filter(|policy| policy.max_attempts() > 1) else { return String::new() };
    let codes: Vec<String> = policy.retry_on.iter().map(|on| format!("{on:?}")).collect();
    format!(", {} attempts on {}", policy.max_attempts(), codes.join(" or "))
}

fn matches(route: &Route) -> String {
    let mut text = match &route.matches.path {
        PathMatcher::Exact { path, .. } => format!("path {path}"),
        PathMatcher::Prefix { prefix, .. } if prefix.is_empty() || prefix == "/" => "any path".to_owned(),
        PathMatcher::Prefix { prefix, .. } => format!("prefix {prefix}"),
        PathMatcher::Regex(regex) => format!("path like {}", regex.pattern()),
    };
    route.matches.headers.iter().for_each(|wanted| text.push_str(&header(wanted)));
    if let Some(share) = route.matches.per_million {
        text.push_str(&format!(", {share} of a million"));
    }
    text
}

fn header(wanted: &HeaderMatcher) -> String {
    let not = if wanted.invert { "not " } else { "" };
    let what = match &wanted.kind {
        HeaderMatcherKind::String(text) => matcher(text),
        other => format!("{other:?}"),
    };
    format!(", {not}header {} {what}", wanted.name)
}

fn matcher(matcher: &StringMatcher) -> String {
    match &matcher.kind {
        StringMatcherKind::Exact(text) => text.clone(),
        StringMatcherKind::Prefix(text) => format!("{text}..."),
        StringMatcherKind::Suffix(text) => format!("...{text}"),
        StringMatcherKind::Contains(text) => format!("...{text}..."),
        StringMatcherKind::Regex(regex) => format!("like {}", regex.pattern()),
    }
}
