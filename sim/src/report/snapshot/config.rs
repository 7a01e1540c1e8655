//! A configuration in use as text: from the listener to the endpoints, or the filter chains of a server.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hermesh_xds::dependency_manager::{ClusterState, XdsConfig};
use hermesh_xds::resource::{
    Cluster, DownstreamTlsContext, Endpoint, Endpoints, FilterChain, FilterChainMatch, FilterOverride, FilterOverrides,
    HashPolicy, HashPolicyKind, HttpConnectionManager, HttpFilterKind, LbPolicy, PathMatcher, RbacRules, RetryPolicy,
    Route, RouteAction, RouteConfiguration, RouteSource, ServerListener, SourceType, UpstreamTlsContext, VirtualHost,
};

use super::names::Names;
use super::rules::{any_case, header, matcher, policy as rbac_policy, rbac};

/// The pauses between attempts of a retry policy that does not say: gRFC A44 has 25 ms, and ten times that at most.
const DEFAULT_PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));

/// What a channel uses.
pub(super) fn of_channel(config: &XdsConfig, names: &Names) -> String {
    let mut page = Page { text: String::new(), names };
    page.line(0, format_args!("listener {}{}", config.listener.name, filters(config.http())));
    page.policies(1, config.http());
    page.line(1, format_args!("routes {}", config.route_configuration.name));
    page.virtual_host(2, config.virtual_host(), config.http().max_stream_duration);
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
    /// `limit` is how long RPCs may take whose route does not say.
    fn virtual_host(&mut self, depth: usize, host: &VirtualHost, limit: Option<Duration>) {
        let retry = retries(host.retry_policy.as_ref()).unwrap_or_default();
        // A Service's address is drawn.
        let is_name = |domain: &&String| domain.parse::<IpAddr>().is_err() && domain.parse::<SocketAddr>().is_err();
        let domains = host.domains.iter().filter(is_name).map(String::as_str).collect::<Vec<_>>().join(", ");
        self.line(depth, format_args!("host {domains}{retry}{}", overrides(&host.overrides)));
        self.overriding(depth + 1, &host.overrides);
        for route in &host.routes {
            self.route(depth + 1, route, limit);
        }
    }

    fn route(&mut self, depth: usize, route: &Route, limit: Option<Duration>) {
        let matches = matches(route);
        match &route.action {
            RouteAction::Forward { clusters, max_stream_duration, retry_policy, hash_policies } => {
                let timeout =
                    max_stream_duration.limit(limit).map(|time| format!(", at most {time:?}")).unwrap_or_default();
                let hashes = hashes(hash_policies);
                // One that retries nothing still takes the place of the host's.
                let retry = retry_policy
                    .as_ref()
                    .map(|policy| retries(Some(policy)).unwrap_or_else(|| ", no retries".to_owned()));
                let retry = retry.unwrap_or_default();
                self.line(depth, format_args!("{matches}{timeout}{retry}{hashes}{}", overrides(&route.overrides)));
                self.overriding(depth + 1, &route.overrides);
                for cluster in clusters {
                    let own = overrides(&cluster.overrides);
                    self.line(depth + 1, format_args!("to {} weight {}{own}", cluster.name, cluster.weight));
                    self.overriding(depth + 2, &cluster.overrides);
                }
            }
            RouteAction::NonForwarding => {
                self.line(depth, format_args!("{matches}: served here{}", overrides(&route.overrides)));
                self.overriding(depth + 1, &route.overrides);
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
                    format!("{address} {health:?} weight {weight}{}{note}", self.of_endpoint(endpoint))
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
        // What the default one wants is not looked at.
        let connections = if is_default { String::new() } else { self.connections(&chain.matches) };
        self.line(0, format_args!("chain {name}{default}: {tls}{connections}{filters}"));
        self.policies(1, &chain.http);
        match &chain.http.routes {
            RouteSource::Rds(name) => self.line(1, format_args!("routes {name}")),
            RouteSource::Inline(routes) if serves_all(routes) => {}
            RouteSource::Inline(routes) => {
                let name = if routes.name.is_empty() { "without a name" } else { &routes.name };
                self.line(1, format_args!("routes {name}"));
                for host in &routes.virtual_hosts {
                    self.virtual_host(2, host, chain.http.max_stream_duration);
                }
            }
        }
    }

    /// Which connections a chain is for; nothing if it is for all.
    fn connections(&self, wanted: &FilterChainMatch) -> String {
        let FilterChainMatch { prefix_ranges, raw_buffer, source_type, source_prefix_ranges, source_ports } = wanted;
        let list = |texts: Vec<String>| texts.join(" or ");
        let mut text = String::new();
        if !prefix_ranges.is_empty() {
            let ranges = prefix_ranges.iter().map(|range| self.names.within(&range.to_string())).collect();
            text.push_str(&format!(", to {}", list(ranges)));
        }
        if *raw_buffer {
            text.push_str(", over raw_buffer");
        }
        match source_type {
            SourceType::Any => {}
            SourceType::SameIpOrLoopback => text.push_str(", from this host"),
            SourceType::External => text.push_str(", from other hosts"),
        }
        if !source_prefix_ranges.is_empty() {
            let ranges = source_prefix_ranges.iter().map(|range| self.names.within(&range.to_string())).collect();
            text.push_str(&format!(", from {}", list(ranges)));
        }
        if !source_ports.is_empty() {
            text.push_str(&format!(", from port {}", list(source_ports.iter().map(u32::to_string).collect())));
        }
        text
    }

    /// What an endpoint has besides an address, a health and a weight.
    fn of_endpoint(&self, endpoint: &Endpoint) -> String {
        let mut text: String = endpoint
            .additional_addresses
            .iter()
            .map(|address| format!(", also {}", self.names.address(*address)))
            .collect();
        if !endpoint.hostname.is_empty() {
            text.push_str(&format!(", host name {}", endpoint.hostname));
        }
        if let Some(key) = &endpoint.hash_key {
            text.push_str(&format!(", hash key {key}"));
        }
        text
    }

    /// The rules of the policies of all filters.
    fn policies(&mut self, depth: usize, http: &HttpConnectionManager) {
        for filter in &http.http_filters {
            if let HttpFilterKind::Rbac(Some(rules)) = &filter.kind {
                self.rules(depth, rules);
            }
        }
    }

    /// The rules of the policies that take the place of others.
    fn overriding(&mut self, depth: usize, overrides: &FilterOverrides) {
        for filter in overrides.values() {
            if let FilterOverride::Rbac(Some(rules)) = filter {
                self.rules(depth, rules);
            }
        }
    }

    fn rules(&mut self, depth: usize, rules: &RbacRules) {
        for (name, policy) in &rules.policies {
            self.line(depth, format_args!("policy {name}: {}", rbac_policy(policy)));
        }
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

/// None if nothing is retried.
fn retries(policy: Option<&RetryPolicy>) -> Option<String> {
    let policy = policy.filter(|policy| policy.max_attempts() > 1)?;
    let codes: Vec<String> = policy.retry_on.iter().map(|on| format!("{on:?}")).collect();
    let pauses = match (policy.base_interval, policy.max_interval) {
        DEFAULT_PAUSES => String::new(),
        (base, max) => format!(" after {base:?} to {max:?}"),
    };
    Some(format!(", {} attempts on {}{pauses}", policy.max_attempts(), codes.join(" or ")))
}

/// `, hashed by header x-user`
fn hashes(policies: &[HashPolicy]) -> String {
    let told: Vec<String> = policies
        .iter()
        .map(|policy| {
            let last = if policy.terminal { " (terminal)" } else { "" };
            match &policy.kind {
                HashPolicyKind::Header { name, rewrite: None } => format!("header {name}{last}"),
                HashPolicyKind::Header { name, rewrite: Some((regex, text)) } => {
                    format!("header {name} with {text:?} for each {}{last}", regex.as_str())
                }
                HashPolicyKind::ChannelId => format!("channel{last}"),
            }
        })
        .collect();
    if told.is_empty() { String::new() } else { format!(", hashed by {}", told.join(" and ")) }
}

/// Whether these are the routes of a server that takes whatever comes.
fn serves_all(routes: &RouteConfiguration) -> bool {
    let [host] = routes.virtual_hosts.as_slice() else { return false };
    let [route] = host.routes.as_slice() else { return false };
    let any_path =
        matches!(&route.matches.path, PathMatcher::Prefix { prefix, .. } if prefix.is_empty() || prefix == "/");
    host.domains == ["*"]
        && any_path
        && route.matches.headers.is_empty()
        && route.matches.per_million.is_none()
        && route.action == RouteAction::NonForwarding
        && host.overrides.is_empty()
        && route.overrides.is_empty()
}

fn matches(route: &Route) -> String {
    let mut text = match &route.matches.path {
        PathMatcher::Exact { path, ignore_case } => format!("path {path}{}", any_case(*ignore_case)),
        PathMatcher::Prefix { prefix, .. } if prefix.is_empty() || prefix == "/" => "any path".to_owned(),
        PathMatcher::Prefix { prefix, ignore_case } => format!("prefix {prefix}{}", any_case(*ignore_case)),
        PathMatcher::Regex(regex) => format!("path like {}", regex.pattern()),
    };
    route.matches.headers.iter().for_each(|wanted| text.push_str(&format!(", {}", header(wanted))));
    if let Some(share) = route.matches.per_million {
        text.push_str(&format!(", {share} of a million"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hermesh_xds::resource::{CidrRange, FullRegex, RetryOn, RouteMatch};

    use super::*;

    /// A server's chain with one route.
    fn chain(matches: FilterChainMatch, path: PathMatcher) -> FilterChain {
        let route = Route {
            name: String::new(),
            matches: RouteMatch { path, headers: Vec::new(), per_million: None },
            action: RouteAction::NonForwarding,
            overrides: FilterOverrides::new(),
        };
        let host = VirtualHost {
            name: String::new(),
            domains: vec!["*".to_owned()],
            routes: vec![route],
            retry_policy: None,
            overrides: FilterOverrides::new(),
        };
        let routes = RouteConfiguration { name: "inbound".to_owned(), virtual_hosts: vec![host] };
        let routes = RouteSource::Inline(Arc::new(routes));
        let http = HttpConnectionManager { routes, max_stream_duration: None, http_filters: Vec::new() };
        FilterChain { name: "in".to_owned(), matches, security: None, http }
    }

    fn text(chain: FilterChain) -> String {
        let (address, port) = ("0.0.0.0".to_owned(), 7070);
        let listener = ServerListener { address, port, filter_chains: vec![chain], default_filter_chain: None };
        of_server(&listener, &Names::of_pods(std::iter::empty()))
    }

    #[test]
    fn what_a_chain_is_for_is_told_unless_it_is_everything() {
        let any = || PathMatcher::Prefix { prefix: "/".to_owned(), ignore_case: false };
        assert_eq!(text(chain(FilterChainMatch::default(), any())), "chain in: plaintext\n");
        let ten = CidrRange::new("10.0.0.0".parse().unwrap(), 8).unwrap();
        let matches = FilterChainMatch {
            prefix_ranges: vec![ten],
            raw_buffer: true,
            source_type: SourceType::External,
            source_prefix_ranges: vec![ten],
            source_ports: vec![1, 2],
        };
        assert_eq!(
            text(chain(matches, any())),
            "chain in: plaintext, to 10.0.0.0/8, over raw_buffer, from other hosts, from 10.0.0.0/8, from port 1 or 2\n"
        );
        let echo = PathMatcher::Regex(FullRegex::new("/echo.*").unwrap());
        assert_eq!(
            text(chain(FilterChainMatch::default(), echo)),
            "chain in: plaintext\n  routes inbound\n    host *\n      path like /echo.*: served here\n"
        );
    }

    #[test]
    fn retries_and_hashes_are_told_whole() {
        let millis = Duration::from_millis;
        let policy = |base, max| RetryPolicy {
            retry_on: [RetryOn::Unavailable].into(),
            num_retries: 2,
            base_interval: millis(base),
            max_interval: millis(max),
        };
        assert_eq!(retries(Some(&policy(25, 250))).unwrap(), ", 3 attempts on Unavailable");
        assert_eq!(retries(Some(&policy(25, 1000))).unwrap(), ", 3 attempts on Unavailable after 25ms to 1s");
        assert_eq!(retries(None), None);
        let user = HashPolicyKind::Header { name: "x-user".to_owned(), rewrite: None };
        let user = HashPolicy { kind: user, terminal: true };
        let channel = HashPolicy { kind: HashPolicyKind::ChannelId, terminal: false };
        assert_eq!(hashes(&[user, channel]), ", hashed by header x-user (terminal) and channel");
        assert_eq!(hashes(&[]), "");
    }
}
