//! References to hosts and subsets that do not exist: accepted as in a cluster, and worth a warning.

use crate::objects::{Labels, Object, Origin};
use crate::snapshot::{ServiceInfo, Snapshot, full_host};
use crate::yaml::{Diagnostic, Location, Spanned, listed, nearest};

/// What `object` refers to and `snapshot` does not have, each with its place if the object came from a file.
///
/// Clients of the object's own namespace are taken as the measure of what is visible.
#[must_use]
pub fn dangling(snapshot: &Snapshot, object: &Object) -> Vec<Diagnostic> {
    let Origin(origin) = &object.metadata().origin;
    let origin = origin.clone().unwrap_or_else(|| Location::in_file("").object(object.key().to_string()));
    let namespace = &object.metadata().namespace;
    let mut warnings = Vec::new();
    let mut warn = |field: String, place: &Spanned<String>, message: String, suggestion: Option<&str>| {
        let location = origin.clone().at(place.position.unwrap_or_else(|| origin.position())).field(field);
        let warning = Diagnostic::warning("dangling", location, message);
        warnings.push(match suggestion {
            Some(name) => warning.with_help(format!("did you mean `{name}`?")),
            None => warning,
        });
    };
    let near = |host: &str| nearest(host, snapshot.services(namespace).map(crate::snapshot::ServiceInfo::host));
    match object {
        Object::VirtualService(service) => {
            let spec = &service.spec;
            let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
            for (index, name) in spec.hosts.iter().enumerate().filter(|_| for_mesh) {
                let host = full_host(name, namespace, snapshot.mesh());
                if !host.starts_with('*') && snapshot.service(&host, namespace).is_none() {
                    let message = format!("there is no Service {host}: no call takes these routes");
                    warn(format!("spec.hosts[{index}]"), name, message, near(&host));
                }
            }
            let destinations = spec.http.iter().enumerate().flat_map(|(http, rule)| {
                rule.route
                    .iter()
                    .enumerate()
                    .map(move |(index, route)| (format!("spec.http[{http}].route[{index}]"), route))
            });
            for (path, route) in destinations {
                let destination = &route.destination;
                let host = full_host(&destination.host, namespace, snapshot.mesh());
                let Some(service) = snapshot.service(&host, namespace) else {
                    let message = format!("there is no Service {host}");
                    warn(format!("{path}.destination.host"), &destination.host, message, near(&host));
                    continue;
                };
                let port = destination.port.map(|port| port.number);
                if let Some(port) = port.filter(|port| !has_port(service, *port)) {
                    let field = format!("{path}.destination.port.number");
                    let live = object.metadata().written.live.as_ref();
                    let position = live.map_or(destination.host.position, |tree| Some(tree.at_path(&field).position));
                    let ports: Vec<String> = service.ports().iter().map(|port| port.port.to_string()).collect();
                    let message =
                        format!("{host} has no port {port}; calls to it will fail; it has {}", listed(&ports));
                    warn(field, &Spanned { position, value: String::new() }, message, None);
                }
                let Some(subset) = &destination.subset else { continue };
                let rule = snapshot.destination_rule_for(namespace, &Labels::new(), &host, service.namespace());
                if rule.is_none_or(|rule| rule.subset(subset).is_none()) {
                    let message =
                        format!("no DestinationRule for {host} has a subset {:?}; calls to it will fail", subset.value);
                    let subsets = rule.into_iter().flat_map(|rule| rule.subsets());
                    let suggestion = nearest(subset, subsets.map(|subset| subset.name.as_str()));
                    warn(format!("{path}.destination.subset"), subset, message, suggestion);
                }
            }
        }
        Object::DestinationRule(rule) => {
            let host = full_host(&rule.spec.host, namespace, snapshot.mesh());
            if !host.starts_with('*') && snapshot.service(&host, namespace).is_none() {
                let message = format!("there is no Service {host}");
                warn("spec.host".to_owned(), &rule.spec.host, message, near(&host));
            }
        }
        _ => {}
    }
    warnings
}

fn has_port(service: &ServiceInfo, number: u32) -> bool {
    u16::try_from(number).is_ok_and(|number| service.port(number).is_some())
}
