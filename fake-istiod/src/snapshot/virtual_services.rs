//! Which VirtualServices a client sees, and in which order they count.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::objects::VirtualService;

/// `services` come oldest first.
pub(super) fn visible<'a>(services: &'a [Arc<VirtualService>], namespace: &str) -> Vec<&'a Arc<VirtualService>> {
    let mut visible: Vec<_> = services
        .iter()
        .filter(|service| {
            let gateways = &service.spec.gateways;
            gateways.is_empty() || gateways.iter().any(|gateway| gateway == "mesh")
        })
        .filter_map(|service| Some((rank(service, namespace)?, service)))
        .collect();
    visible.sort_by_key(|(rank, _)| *rank);
    visible.into_iter().map(|(_, service)| service).collect()
}

/// 0 for private, 1 for exported to the namespace by name, 2 for public; none if the client does not see it.
fn rank(service: &VirtualService, namespace: &str) -> Option<u8> {
    let own = service.metadata.namespace.as_str();
    let export_to: BTreeSet<&str> =
        service.spec.export_to.iter().map(|name| if name == "." { own } else { name.as_str() }).collect();
    if export_to.is_empty() || export_to.contains("*") {
        Some(2)
    } else if export_to.len() == 1 && export_to.contains(own) {
        (own == namespace).then_some(0)
    } else {
        export_to.contains(namespace).then_some(1)
    }
}
