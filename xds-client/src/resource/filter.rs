//! HTTP filters of a connection manager and their overrides (gRFC A39).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::google::protobuf::Any;

use crate::resource::decode::parse;
use crate::resource::{DecodeError, FaultPolicy, RbacRules, rbac};

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const FAULT: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";
const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";
const RBAC_PER_ROUTE: &str = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
const FILTER_CONFIG: &str = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
const TYPED_STRUCTS: [&str; 2] =
    ["type.googleapis.com/udpa.type.v1.TypedStruct", "type.googleapis.com/xds.type.v3.TypedStruct"];

/// A filter of the chain that every RPC passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFilter {
    /// Its name within the chain.
    pub name: String,
    /// What it does.
    pub kind: HttpFilterKind,
}

/// The filters this crate knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpFilterKind {
    /// Sends the RPC on its way; always last.
    Router,
    /// Holds RPCs back or fails them on purpose (A33).
    Fault(Arc<FaultPolicy>),
    /// Decides which RPCs a server takes (A41); `None` does nothing.
    Rbac(Option<Arc<RbacRules>>),
}

/// What takes a filter's place for a virtual host, a route or a weighted cluster, by the filter's name.
pub type FilterOverrides = BTreeMap<String, FilterOverride>;

/// What takes a filter's place; it counts for a filter of its own type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterOverride {
    /// Another policy, whole.
    Fault(Arc<FaultPolicy>),
    /// Other rules, or none.
    Rbac(Option<Arc<RbacRules>>),
}

/// Which end of an RPC a filter chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// The filters of a connection manager.
pub(super) fn read_filters(protos: &[proto::HttpFilter], side: Side) -> Result<Vec<HttpFilter>, DecodeError> {
    let mut names = BTreeSet::new();
    let mut filters = Vec::new();
    for filter in protos {
        if filter.name.is_empty() {
            return Err(DecodeError::new("filter missing name field"));
        }
        if !names.insert(&filter.name) {
            return Err(DecodeError::new(format!("duplicate filter name {:?}", filter.name)));
        }
        if let Some(kind) = read_filter(filter, side)? {
            filters.push(HttpFilter { name: filter.name.clone(), kind });
        }
    }
    let Some((last, before)) = filters.split_last() else {
        return Err(DecodeError::new("http filters list is empty"));
    };
    if let Some(early) = before.iter().find(|filter| filter.kind == HttpFilterKind::Router) {
        return Err(DecodeError::new(format!(
            "http filter {:?} is a terminal filter but it is not last in the filter chain",
            early.name
        )));
    }
    if last.kind != HttpFilterKind::Router {
        return Err(DecodeError::new(format!(
            "http filter {:?} is not a terminal filter and is last in the filter chain",
            last.name
        )));
    }
    Ok(filters)
}

/// The overrides of a virtual host, a route or a weighted cluster.
pub(super) fn read_overrides<'a>(
    overrides: impl IntoIterator<Item = (&'a String, &'a Any)>,
) -> Result<FilterOverrides, DecodeError> {
    let mut read = FilterOverrides::new();
    // In order of names, so that equal input gives an equal message.
    let overrides: BTreeMap<_, _> = overrides.into_iter().collect();
    for (name, any) in overrides {
        let wrapper: FilterConfig;
        let mut is_optional = false;
        let mut any = any;
        if any.type_url == FILTER_CONFIG {
            wrapper = parse("FilterConfig", any)?;
            is_optional = wrapper.is_optional;
            let Some(inner) = &wrapper.config else {
                return Err(DecodeError::new(format!("filter override {name:?} in FilterConfig has no config")));
            };
            any = inner;
        }
        let config = Config::of(any)?;
        match config.type_name.as_str() {
            ROUTER => {
                return Err(DecodeError::new(format!(
                    "filter override {name:?}: router filter takes no override config"
                )));
            }
            FAULT => drop(read.insert(name.clone(), FilterOverride::Fault(read_fault(name, &config)?))),
            RBAC_PER_ROUTE => {
                let per_route: RbacPerRoute = parse(RBAC_PER_ROUTE, config.message(name)?)?;
                let rules = read_rbac(name, &per_route.rbac.unwrap_or_default())?;
                read.insert(name.clone(), FilterOverride::Rbac(rules));
            }
            _ if is_optional => {}
            other => {
                return Err(DecodeError::new(format!(
                    "filter override {name:?}: no filter implementation found for {other:?}"
                )));
            }
        }
    }
    Ok(read)
}

/// `None` for an optional filter that this side does not have.
fn read_filter(filter: &proto::HttpFilter, side: Side) -> Result<Option<HttpFilterKind>, DecodeError> {
    let name = &filter.name;
    let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
        if filter.is_optional {
            return Ok(None);
        }
        return Err(DecodeError::new(format!("http filter {name:?} has no typed_config")));
    };
    let config = Config::of(any)?;
    let sides = match config.type_name.as_str() {
        ROUTER => &[Side::Client, Side::Server][..],
        FAULT => &[Side::Client][..],
        RBAC => &[Side::Server][..],
        _ if filter.is_optional => return Ok(None),
        other => {
            return Err(DecodeError::new(format!(
                "http filter {name:?}: no filter implementation found for {other:?}"
            )));
        }
    };
    if !sides.contains(&side) {
        if filter.is_optional {
            return Ok(None);
        }
        let side = if side == Side::Client { "client" } else { "server" };
        return Err(DecodeError::new(format!("HTTP filter {name:?} not supported {side}-side")));
    }
    Ok(Some(match config.type_name.as_str() {
        FAULT => HttpFilterKind::Fault(read_fault(name, &config)?),
        RBAC => HttpFilterKind::Rbac(read_rbac(name, &parse(RBAC, config.message(name)?)?)?),
        _ => {
            parse::<Router>(ROUTER, config.message(name)?)?;
            HttpFilterKind::Router
        }
    }))
}

fn read_fault(name: &str, config: &Config<'_>) -> Result<Arc<FaultPolicy>, DecodeError> {
    let proto: HttpFault = parse(FAULT, config.message(name)?)?;
    let policy = FaultPolicy::from_proto(&proto);
    policy.map(Arc::new).map_err(|error| DecodeError::new(format!("http filter {name:?}: {error}")))
}

fn read_rbac(name: &str, proto: &Rbac) -> Result<Option<Arc<RbacRules>>, DecodeError> {
    let rules = rbac::read_filter(proto);
    rules.map(|rules| rules.map(Arc::new)).map_err(|error| DecodeError::new(format!("http filter {name:?}: {error}")))
}

/// A filter's configuration and what type it is of.
struct Config<'a> {
    any: &'a Any,
    type_name: String,
    is_struct: bool,
}

impl<'a> Config<'a> {
    fn of(any: &'a Any) -> Result<Self, DecodeError> {
        let is_struct = TYPED_STRUCTS.contains(&any.type_url.as_str());
        let type_url =
            if is_struct { parse::<TypedStruct>("TypedStruct", any)?.type_url } else { any.type_url.clone() };
        let type_name = type_url.rsplit_once('/').map_or(type_url.as_str(), |(_, name)| name).to_owned();
        Ok(Self { any, type_name, is_struct })
    }

    /// The filters of this crate want their own messages, not the JSON form of them.
    fn message(&self, name: &str) -> Result<&'a Any, DecodeError> {
        if self.is_struct {
            let message = format!("http filter {name:?}: config of {} cannot be given as TypedStruct", self.type_name);
            return Err(DecodeError::new(message));
        }
        Ok(self.any)
    }
}

/// Both messages of this name begin alike.
#[derive(Clone, PartialEq, prost::Message)]
struct TypedStruct {
    #[prost(string, tag = "1")]
    type_url: String,
}
