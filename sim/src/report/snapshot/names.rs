//! Names that mean the same in every run: pods by workload and number, addresses by the pods that have them.

use std::collections::BTreeMap;

use crate::engine::PodAdded;
use crate::trace::Trace;

/// The letters of what Kubernetes draws for names.
const DRAWN: &str = "bcdfghjklmnpqrstvwxz2456789";

/// How many letters it draws for a pod.
const SUFFIX_LEN: usize = 5;

/// The longest hash of a template in a pod's name.
const HASH_MAX: usize = 10;

/// What pods and their addresses are called.
pub(super) struct Names {
    /// `namespace/name` and what it is called: `namespace/workload/number`, in the order in which pods came to be.
    pods: BTreeMap<String, String>,
    /// By address; of several pods that had one the last.
    addresses: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn of(trace: &Trace) -> Self {
        let (mut pods, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        for (_, added) in trace.of::<PodAdded>() {
            let name = pods.entry(added.pod.clone()).or_insert_with(|| match workload(&added.pod) {
                Some(workload) => {
                    let number = numbers.entry(workload.to_owned()).or_default();
                    *number += 1;
                    format!("{workload}/{}", *number - 1)
                }
                None => added.pod.clone(),
            });
            addresses.extend(added.addresses.iter().map(|address| (address.to_string(), name.clone())));
        }
        Self { pods, addresses }
    }

    /// What the pod `namespace/name` is called, without its namespace.
    pub(super) fn pod(&self, pod: &str) -> String {
        let name = self.pods.get(pod).map_or(pod, String::as_str);
        name.split_once('/').map_or(name, |(_, rest)| rest).to_owned()
    }

    /// What the process `namespace/pod/container` is called.
    pub(super) fn process(&self, at: &str) -> String {
        match at.rsplit_once('/') {
            Some((pod, container)) => format!("{} {container}", self.pod(pod)),
            None => at.to_owned(),
        }
    }

    /// Whose address it is, with the port.
    pub(super) fn address(&self, address: std::net::SocketAddr) -> String {
        match self.addresses.get(&address.ip().to_string()) {
            Some(pod) => format!("{}:{}", pod.split_once('/').map_or(pod.as_str(), |(_, rest)| rest), address.port()),
            None => address.to_string(),
        }
    }

    /// A text with the names and addresses in it replaced.
    pub(super) fn within(&self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let mut out = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find(is_part) {
            out.push_str(&rest[..begin]);
            rest = &rest[begin..];
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, later) = rest.split_at(end);
            out.push_str(&self.word(word));
            rest = later;
        }
        out.push_str(rest);
        out
    }

    fn word(&self, word: &str) -> String {
        if let Some(pod) = self.addresses.get(word) {
            return pod.split_once('/').map_or(pod.as_str(), |(_, rest)| rest).to_owned();
        }
        // `pod`, or `pod.namespace` as in node IDs.
        for (pod, name) in &self.pods {
            let Some((namespace, own)) = pod.split_once('/') else { continue };
            let Some(after) = word.strip_prefix(own) else { continue };
            let called = name.split_once('/').map_or(name.as_str(), |(_, rest)| rest);
            if after.is_empty() || after.strip_prefix('.') == Some(namespace) {
                return format!("{called}{after}");
            }
        }
        word.to_owned()
    }
}

/// The workload in the name of a pod, `namespace/name`, that has letters drawn for it.
fn workload(pod: &str) -> Option<&str> {
    let drawn = |part: &str| !part.is_empty() && part.chars().all(|c| DRAWN.contains(c));
    let (rest, suffix) = pod.rsplit_once('-')?;
    if suffix.len() != SUFFIX_LEN || !drawn(suffix) {
        return None;
    }
    match rest.rsplit_once('-') {
        Some((workload, hash)) if drawn(hash) && hash.len() <= HASH_MAX => Some(workload),
        _ => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_of_a_name_is_no_part_of_the_workload() {
        assert_eq!(workload("shop/web-69d6d96cb7-gpcpd"), Some("shop/web"));
        assert_eq!(workload("shop/migrate-gpcpd"), Some("shop/migrate"));
        assert_eq!(workload("shop/db-0"), None);
        assert_eq!(workload("shop/alone"), None);
    }

    #[test]
    fn names_and_addresses_are_replaced_where_they_are_whole() {
        let pods = BTreeMap::from([("shop/web-69d6d96cb7-gpcpd".to_owned(), "shop/web/0".to_owned())]);
        let addresses = BTreeMap::from([("10.244.0.3".to_owned(), "shop/web/0".to_owned())]);
        let names = Names { pods, addresses };
        let text = "node sidecar~10.244.0.3~web-69d6d96cb7-gpcpd.shop~shop.svc: 10.244.0.31 web-69d6d96cb7-gpcpdx";
        assert_eq!(names.within(text), "node sidecar~web/0~web/0.shop~shop.svc: 10.244.0.31 web-69d6d96cb7-gpcpdx");
        assert_eq!(names.address("10.244.0.3:17070".parse().unwrap()), "web/0:17070");
        assert_eq!(names.process("shop/web-69d6d96cb7-gpcpd/app"), "web/0 app");
    }
}
