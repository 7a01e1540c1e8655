//! Resources as a reviewer wants to read them: every field that istiod sets, in YAML's shape, contents unpacked.

mod rbac;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::google::protobuf::{Any, Duration, value::Kind};
use prost::{Message, Name};

/// A Listener, RouteConfiguration, Cluster or ClusterLoadAssignment in words; of anything else its type and size.
#[must_use]
pub fn describe(resource: &Any) -> String {
    let mut page = Page::default();
    page.any(resource);
    page.text
}

/// Text that grows line by line, indented by two spaces a level.
#[derive(Default)]
struct Page {
    text: String,
    depth: usize,
    /// The next line begins a list item.
    item: bool,
}

impl Page {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        if self.item {
            let indent = "  ".repeat(self.depth.saturating_sub(1));
            let _ = writeln!(self.text, "{indent}- {line}");
            self.item = false;
        } else {
            let _ = writeln!(self.text, "{}{line}", "  ".repeat(self.depth));
        }
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name}: {value}"));
    }

    /// A field that is left out when empty.
    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(name, value);
        }
    }

    fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    fn nested(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.line(format_args!("{name}:"));
        self.depth += 1;
        content(self);
        self.depth -= 1;
    }

    fn list<T>(&mut self, name: &str, items: &[T], mut content: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            return;
        }
        self.line(format_args!("{name}:"));
        self.depth += 1;
        for item in items {
            self.item = true;
            content(self, item);
            if std::mem::take(&mut self.item) {
                let indent = "  ".repeat(self.depth - 1);
                let _ = writeln!(self.text, "{indent}- {{}}");
            }
        }
        self.depth -= 1;
    }

    fn any(&mut self, any: &Any) {
        fn is<M: Name>(any: &Any) -> bool {
            any.type_url.rsplit('/').next() == Some(M::full_name().as_str())
        }
        macro_rules! unpack {
            ($($message:ty => $describe:ident)*) => {
                $(if is::<$message>(any) {
                    self.field("type", <$message>::NAME);
                    return match <$message>::decode(any.value.as_slice()) {
                        Ok(message) => self.$describe(&message),
                        Err(error) => self.field("malformed", error),
                    };
                })*
            };
        }
        unpack! {
            Listener => listener
            hcm::HttpConnectionManager => manager
            route::RouteConfiguration => route_configuration
            Cluster => cluster
            ClusterLoadAssignment => load_assignment
            tls::UpstreamTlsContext => upstream_tls
            tls::DownstreamTlsContext => downstream_tls
            HttpFault => fault
            Rbac => rbac
        }
        self.field("type", any.type_url.rsplit(['.', '/']).next().unwrap_or_default());
        if !any.value.is_empty() {
            self.field("size_bytes", any.value.len());
        }
    }

    fn listener(&mut self, listener: &Listener) {
        self.field("name", &listener.name);
        self.optional("address", listener.address.as_ref().map(address));
        if let Some(any) = listener.api_listener.as_ref().and_then(|api| api.api_listener.as_ref()) {
            self.nested("api_listener", |page| page.any(any));
        }
        self.list("filter_chains", &listener.filter_chains, |page, chain| {
            page.field("name", &chain.name);
            page.transport_socket(chain.transport_socket.as_ref());
            page.list("filters", &chain.filters, |page, filter| {
                page.field("name", &filter.name);
                if let Some(filter::ConfigType::TypedConfig(any)) = &filter.config_type {
                    page.nested("typed_config", |page| page.any(any));
                }
            });
        });
    }

    fn manager(&mut self, manager: &hcm::HttpConnectionManager) {
        use hcm::http_connection_manager::RouteSpecifier;
        match &manager.route_specifier {
            Some(RouteSpecifier::Rds(rds)) => self.nested("rds", |page| {
                page.field("route_config_name", &rds.route_config_name);
                page.optional("config_source", rds.config_source.as_ref().map(source));
            }),
            Some(RouteSpecifier::RouteConfig(routes)) => {
                self.nested("route_config", |page| page.route_configuration(routes))
            }
            _ => {}
        }
        self.list("http_filters", &manager.http_filters, |page, filter| {
            page.field("name", &filter.name);
            if let Some(hcm::http_filter::ConfigType::TypedConfig(any)) = &filter.config_type {
                page.nested("typed_config", |page| page.any(any));
            }
        });
    }

    fn route_configuration(&mut self, routes: &route::RouteConfiguration) {
        self.field("name", &routes.name);
        if routes.virtual_hosts.is_empty() {
            self.field("virtual_hosts", "[]");
        }
        self.list("virtual_hosts", &routes.virtual_hosts, |page, host| {
            page.text("name", &host.name);
            page.list("domains", &host.domains, |page, domain| page.line(format_args!("{domain}")));
            if host.include_request_attempt_count {
                page.field("include_request_attempt_count", true);
            }
            page.list("routes", &host.routes, Self::route);
        });
    }

    fn route(&mut self, route: &route::Route) {
        use route::route::Action;
        self.text("name", &route.name);
        if let Some(route_match) = &route.r#match {
            self.nested("match", |page| page.route_match(route_match));
        }
        match &route.action {
            Some(Action::Route(action)) => self.nested("route", |page| page.route_action(action)),
            Some(Action::Redirect(redirect)) => self.nested("redirect", |page| {
                page.text("host_redirect", &redirect.host_redirect);
                if let Some(route::redirect_action::PathRewriteSpecifier::PathRedirect(path)) =
                    &redirect.path_rewrite_specifier
                {
                    page.text("path_redirect", path);
                }
                page.field("response_code", redirect.response_code().as_str_name());
            }),
            Some(Action::DirectResponse(response)) => self.field("direct_response", response.status),
            Some(Action::NonForwardingAction(_)) => self.field("non_forwarding_action", "{}"),
            Some(Action::FilterAction(_)) => self.field("filter_action", "{}"),
            None => self.field("action", "none"),
        }
        self.optional("decorator", route.decorator.as_ref().map(|decorator| &decorator.operation));
        self.metadata(route.metadata.as_ref());
        let overrides: BTreeMap<_, _> = route.typed_per_filter_config.iter().collect();
        for (name, any) in overrides {
            self.nested(&format!("typed_per_filter_config.{name}"), |page| page.any(any));
        }
    }

    fn fault(&mut self, fault: &HttpFault) {
        if let Some(delay) = &fault.delay {
            if let Some(FaultDelaySecifier::FixedDelay(delay)) = &delay.fault_delay_secifier {
                self.field("delay.fixed_delay", duration(delay));
            }
            self.optional("delay.percentage", delay.percentage.as_ref().map(percentage));
        }
        if let Some(abort) = &fault.abort {
            match abort.error_type {
                Some(ErrorType::HttpStatus(status)) => self.field("abort.http_status", status),
                Some(ErrorType::GrpcStatus(number)) => self.field("abort.grpc_status", number),
                _ => {}
            }
            self.optional("abort.percentage", abort.percentage.as_ref().map(percentage));
        }
    }

    fn route_match(&mut self, route_match: &route::RouteMatch) {
        use route::header_matcher::HeaderMatchSpecifier;
        use route::query_parameter_matcher::QueryParameterMatchSpecifier;
        use route::route_match::PathSpecifier;
        match &route_match.path_specifier {
            Some(PathSpecifier::Prefix(prefix)) => self.field("prefix", prefix),
            Some(PathSpecifier::Path(path)) => self.field("path", path),
            Some(PathSpecifier::SafeRegex(regex)) => self.field("safe_regex", &regex.regex),
            _ => self.field("path", "none"),
        }
        self.optional("case_sensitive", route_match.case_sensitive.as_ref().map(|it| it.value));
        self.list("headers", &route_match.headers, |page, header| {
            page.field("name", &header.name);
            match &header.header_match_specifier {
                Some(HeaderMatchSpecifier::StringMatch(matcher)) => page.field("string_match", string_matcher(matcher)),
                Some(HeaderMatchSpecifier::PresentMatch(present)) => page.field("present_match", present),
                _ => page.field("match", "none"),
            }
            if header.invert_match {
                page.field("invert_match", true);
            }
            if header.treat_missing_header_as_empty {
                page.field("treat_missing_header_as_empty", true);
            }
        });
        self.list("query_parameters", &route_match.query_parameters, |page, parameter| {
            page.field("name", &parameter.name);
            match &parameter.query_parameter_match_specifier {
                Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
                    page.field("string_match", string_matcher(matcher))
                }
                Some(QueryParameterMatchSpecifier::PresentMatch(present)) => page.field("present_match", present),
                None => page.field("match", "none"),
            }
        });
    }

    #[expect(deprecated, reason = "istiod sends max_grpc_timeout")]
    fn route_action(&mut self, action: &route::RouteAction) {
        use route::route_action::ClusterSpecifier;
        use route::route_action::hash_policy::PolicySpecifier;
        match &action.cluster_specifier {
            Some(ClusterSpecifier::Cluster(cluster)) => self.field("cluster", cluster),
            Some(ClusterSpecifier::WeightedClusters(weighted)) => {
                self.list("weighted_clusters", &weighted.clusters, |page, cluster| {
                    page.field("name", &cluster.name);
                    page.optional("weight", cluster.weight.as_ref().map(|weight| weight.value));
                });
            }
            _ => self.field("cluster", "none"),
        }
        self.optional("timeout", action.timeout.as_ref().map(duration));
        self.optional("max_grpc_timeout", action.max_grpc_timeout.as_ref().map(duration));
        let stream = action.max_stream_duration.as_ref().and_then(|stream| stream.max_stream_duration.as_ref());
        self.optional("max_stream_duration", stream.map(duration));
        self.list("hash_policy", &action.hash_policy, |page, policy| match &policy.policy_specifier {
            Some(PolicySpecifier::Header(header)) => page.field("header", &header.header_name),
            Some(PolicySpecifier::Cookie(cookie)) => page.field("cookie", &cookie.name),
            Some(PolicySpecifier::ConnectionProperties(properties)) => page.field("source_ip", properties.source_ip),
            Some(PolicySpecifier::QueryParameter(query)) => page.field("query_parameter", &query.name),
            _ => {}
        });
        if let Some(policy) = &action.retry_policy {
            self.nested("retry_policy", |page| page.retry_policy(policy));
        }
    }

    fn retry_policy(&mut self, policy: &route::RetryPolicy) {
        self.text("retry_on", &policy.retry_on);
        self.optional("num_retries", policy.num_retries.as_ref().map(|retries| retries.value));
        self.optional("per_try_timeout", policy.per_try_timeout.as_ref().map(duration));
        let back_off = policy.retry_back_off.as_ref().and_then(|back_off| back_off.base_interval.as_ref());
        self.optional("base_interval", back_off.map(duration));
        self.list("retriable_status_codes", &policy.retriable_status_codes, |page, code| {
            page.line(format_args!("{code}"))
        });
        self.list("retry_host_predicate", &policy.retry_host_predicate, |page, predicate| {
            page.line(format_args!("{}", predicate.name))
        });
        if policy.host_selection_retry_max_attempts != 0 {
            self.field("host_selection_retry_max_attempts", policy.host_selection_retry_max_attempts);
        }
    }

    fn cluster(&mut self, cluster: &Cluster) {
        use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig};
        self.field("name", &cluster.name);
        self.text("alt_stat_name", &cluster.alt_stat_name);
        if let Some(ClusterDiscoveryType::Type(number)) = cluster.cluster_discovery_type {
            let known = DiscoveryType::try_from(number);
            self.field("discovery_type", known.map_or("unknown", |known| known.as_str_name()));
        }
        if let Some(eds) = &cluster.eds_cluster_config {
            self.nested("eds_cluster_config", |page| {
                page.field("service_name", &eds.service_name);
                page.optional("eds_config", eds.eds_config.as_ref().map(source));
            });
        }
        self.field("lb_policy", cluster.lb_policy().as_str_name());
        match &cluster.lb_config {
            Some(LbConfig::RingHashLbConfig(ring)) => {
                self.optional("minimum_ring_size", ring.minimum_ring_size.as_ref().map(|size| size.value));
            }
            Some(LbConfig::MaglevLbConfig(maglev)) => {
                self.optional("table_size", maglev.table_size.as_ref().map(|size| size.value));
            }
            _ => {}
        }
        let thresholds = cluster.circuit_breakers.iter().flat_map(|breakers| &breakers.thresholds);
        for threshold in thresholds {
            self.optional("circuit_breakers.max_requests", threshold.max_requests.as_ref().map(|max| max.value));
        }
        self.transport_socket(cluster.transport_socket.as_ref());
    }

    fn load_assignment(&mut self, assignment: &ClusterLoadAssignment) {
        self.field("cluster_name", &assignment.cluster_name);
        if assignment.endpoints.is_empty() {
            self.field("endpoints", "[]");
        }
        self.list("endpoints", &assignment.endpoints, |page, locality| {
            let place = locality.locality.clone().unwrap_or_default();
            page.field("locality", format_args!("{}/{}/{}", place.region, place.zone, place.sub_zone));
            page.optional("load_balancing_weight", locality.load_balancing_weight.as_ref().map(|weight| weight.value));
            page.field("priority", locality.priority);
            page.list("lb_endpoints", &locality.lb_endpoints, |page, endpoint| {
                if let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier {
                    page.optional("address", endpoint.address.as_ref().map(address));
                }
                page.field("health_status", endpoint.health_status().as_str_name());
                page.optional(
                    "load_balancing_weight",
                    endpoint.load_balancing_weight.as_ref().map(|weight| weight.value),
                );
                page.metadata(endpoint.metadata.as_ref());
            });
        });
    }

    fn transport_socket(&mut self, socket: Option<&core::TransportSocket>) {
        let Some(socket) = socket else { return };
        self.nested("transport_socket", |page| {
            page.field("name", &socket.name);
            if let Some(core::transport_socket::ConfigType::TypedConfig(any)) = &socket.config_type {
                page.nested("typed_config", |page| page.any(any));
            }
        });
    }

    fn upstream_tls(&mut self, context: &tls::UpstreamTlsContext) {
        self.text("sni", &context.sni);
        self.common_tls(context.common_tls_context.as_ref());
    }

    fn downstream_tls(&mut self, context: &tls::DownstreamTlsContext) {
        self.optional("require_client_certificate", context.require_client_certificate.as_ref().map(|it| it.value));
        self.common_tls(context.common_tls_context.as_ref());
    }

    #[expect(deprecated, reason = "istiod sends the fields of both generations")]
    fn common_tls(&mut self, context: Option<&tls::CommonTlsContext>) {
        use tls::common_tls_context::{CertificateProviderInstance, ValidationContextType};
        let Some(context) = context else { return };
        let new = |it: &tls::CertificateProviderPluginInstance| format!("{}/{}", it.instance_name, it.certificate_name);
        let old = |it: &CertificateProviderInstance| format!("{}/{}", it.instance_name, it.certificate_name);
        self.optional("tls_certificate_provider_instance", context.tls_certificate_provider_instance.as_ref().map(new));
        let deprecated = context.tls_certificate_certificate_provider_instance.as_ref().map(old);
        self.optional("tls_certificate_certificate_provider_instance", deprecated);
        if let Some(ValidationContextType::CombinedValidationContext(combined)) = &context.validation_context_type {
            self.nested("combined_validation_context", |page| {
                if let Some(validation) = &combined.default_validation_context {
                    let instance = validation.ca_certificate_provider_instance.as_ref().map(new);
                    page.optional("ca_certificate_provider_instance", instance);
                    page.list("match_subject_alt_names", &validation.match_subject_alt_names, |page, name| {
                        page.line(format_args!("{}", string_matcher(name)));
                    });
                }
                let deprecated = combined.validation_context_certificate_provider_instance.as_ref().map(old);
                page.optional("validation_context_certificate_provider_instance", deprecated);
            });
        }
    }

    fn metadata(&mut self, metadata: Option<&core::Metadata>) {
        let Some(metadata) = metadata else { return };
        // Protobuf's maps have no order of their own.
        let filters = metadata.filter_metadata.iter();
        let values = filters.flat_map(|(filter, content)| content.fields.iter().map(move |field| (filter, field)));
        let lines: BTreeMap<String, &str> = values
            .filter_map(|(filter, (key, value))| match &value.kind {
                Some(Kind::StringValue(text)) => Some((format!("metadata.{filter}.{key}"), text.as_str())),
                _ => None,
            })
            .collect();
        for (name, text) in lines {
            self.field(&name, text);
        }
    }
}

fn address(address: &core::Address) -> String {
    match &address.address {
        Some(core::address::Address::SocketAddress(socket)) => match socket.port_specifier {
            Some(core::socket_address::PortSpecifier::PortValue(port)) => {
                super::name::join_host_port(&socket.address, port)
            }
            _ => socket.address.clone(),
        },
        _ => "none".to_owned(),
    }
}

fn source(source: &core::ConfigSource) -> &'static str {
    match source.config_source_specifier {
        Some(core::config_source::ConfigSourceSpecifier::Ads(_)) => "ads",
        _ => "other",
    }
}

fn string_matcher(matcher: &matcher::StringMatcher) -> String {
    use matcher::string_matcher::MatchPattern;
    match &matcher.match_pattern {
        Some(MatchPattern::Exact(text)) => format!("exact {text}"),
        Some(MatchPattern::Prefix(text)) => format!("prefix {text}"),
        Some(MatchPattern::Suffix(text)) => format!("suffix {text}"),
        Some(MatchPattern::Contains(text)) => format!("contains {text}"),
        Some(MatchPattern::SafeRegex(regex)) => format!("safe_regex {}", regex.regex),
        _ => "none".to_owned(),
    }
}

fn percentage(percent: &FractionalPercent) -> String {
    format!("{}/{}", percent.numerator, percent.denominator().as_str_name())
}

fn duration(duration: &Duration) -> String {
    let nanos = duration.nanos.unsigned_abs();
    if nanos == 0 {
        return format!("{}s", duration.seconds);
    }
    let fraction = format!("{nanos:09}");
    format!("{}.{}s", duration.seconds, fraction.trim_end_matches('0'))
}
