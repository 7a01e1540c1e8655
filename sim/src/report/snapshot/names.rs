//! Names that mean the same in every run: pods by workload and number, addresses by the pods that have them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

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
    /// By `namespace/name`.
    pods: BTreeMap<String, Called>,
    /// The pods that have the addresses; of several that had one the last.
    addresses: BTreeMap<String, String>,
}

/// What a pod is called.
struct Called {
    /// `namespace/workload/number`, in the order in which pods came to be.
    full: String,
    /// Whether there is one of that name in another namespace as well.
    is_ambiguous: bool,
}

impl Called {
    /// With the namespace only if the name does not say which it is without.
    fn shown(&self) -> &str {
        if self.is_ambiguous { &self.full } else { self.name() }
    }

    fn name(&self) -> &str {
        self.full.split_once('/').map_or(&self.full, |(_, name)| name)
    }
}

impl Names {
    pub(super) fn of(trace: &Trace) -> Self {
        Self::of_pods(trace.of::<PodAdded>().map(|(_, added)| (added.pod.as_str(), added.addresses.as_slice())))
    }

    /// Of pods, `namespace/name`, and their addresses.
    pub(super) fn of_pods<'a>(added: impl Iterator<Item = (&'a str, &'a [IpAddr])>) -> Self {
        let added: Vec<(&str, &[IpAddr])> = added.collect();
        let mut namespaces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (pod, _) in &added {
            if let Some((namespace, name)) = workload(pod).unwrap_or(pod).split_once('/') {
                namespaces.entry(name).or_default().insert(namespace);
            }
        }
        let (mut pods, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (pod, own) in added {
            let drawn = workload(pod);
            let name = drawn.unwrap_or(pod).split_once('/').map_or(pod, |(_, name)| name);
            let is_ambiguous = namespaces.get(name).is_some_and(|namespaces| namespaces.len() > 1);
            pods.entry(pod.to_owned()).or_insert_with(|| match drawn {
                Some(workload) => {
                    let number = numbers.entry(workload).or_default();
                    *number += 1;
                    Called { full: format!("{workload}/{}", *number - 1), is_ambiguous }
                }
                None => Called { full: pod.to_owned(), is_ambiguous },
            });
            addresses.extend(own.iter().map(|address| (address.to_string(), pod.to_owned())));
        }
        Self { pods, addresses }
    }

    /// What the pod `namespace/name` is called, without its namespace if that says which it is.
    pub(super) fn pod(&self, pod: &str) -> String {
        match self.pods.get(pod) {
            Some(called) => called.shown().to_owned(),
            None => pod.split_once('/').map_or(pod, |(_, name)| name).to_owned(),
        }
    }

    /// What the process `namespace/pod/container` is called.
    pub(super) fn process(&self, at: &str) -> String {
        match at.rsplit_once('/') {
            Some((pod, container)) => format!("{} {container}", self.pod(pod)),
            None => at.to_owned(),
        }
    }

    /// The same, always with the namespace: no two processes have it.
    pub(super) fn full_process(&self, at: &str) -> String {
        match at.rsplit_once('/') {
            Some((pod, container)) => {
                format!("{} {container}", self.pods.get(pod).map_or(pod, |called| &called.full))
            }
            None => at.to_owned(),
        }
    }

    /// Whose address it is, with the port.
    pub(super) fn address(&self, address: std::net::SocketAddr) -> String {
        match self.addresses.get(&address.ip().to_string()) {
            Some(pod) => format!("{}:{}", self.pod(pod), address.port()),
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
            let word = self.word(word, &out);
            out.push_str(&word);
            rest = later;
        }
        out.push_str(rest);
        out
    }

    /// A word with what stands before it.
    fn word(&self, word: &str, before: &str) -> String {
        if let Some(pod) = self.addresses.get(word) {
            return self.pod(pod);
        }
        // `pod`, or `pod.namespace` as in node IDs.
        let mut found = None;
        for (pod, called) in &self.pods {
            let Some((namespace, own)) = pod.split_once('/') else { continue };
            let Some(after) = word.strip_prefix(own) else { continue };
            if after.strip_prefix('.') == Some(namespace) {
                return format!("{}{after}", called.name());
            }
            if !after.is_empty() {
                continue;
            }
            if before.strip_suffix('/').is_some_and(|before| before.ends_with(namespace)) {
                return called.name().to_owned();
            }
            // Without its namespace it may be either of two.
            let name = if found.is_some() { word } else { called.shown() };
            found = Some(name.to_owned());
        }
        found.unwrap_or_else(|| word.to_owned())
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

    fn names(pods: &[(&str, &str)]) -> Names {
        let pods: Vec<(&str, [IpAddr; 1])> =
            pods.iter().map(|(pod, address)| (*pod, [address.parse().unwrap()])).collect();
        Names::of_pods(pods.iter().map(|(pod, addresses)| (*pod, addresses.as_slice())))
    }

    #[test]
    fn names_and_addresses_are_replaced_where_they_are_whole() {
        let names = names(&[("shop/web-69d6d96cb7-gpcpd", "10.244.0.3")]);
        let text = "node sidecar~10.244.0.3~web-69d6d96cb7-gpcpd.shop~shop.svc: 10.244.0.31 web-69d6d96cb7-gpcpdx";
        assert_eq!(names.within(text), "node sidecar~web/0~web/0.shop~shop.svc: 10.244.0.31 web-69d6d96cb7-gpcpdx");
        assert_eq!(names.address("10.244.0.3:17070".parse().unwrap()), "web/0:17070");
        assert_eq!(names.process("shop/web-69d6d96cb7-gpcpd/app"), "web/0 app");
    }

    #[test]
    fn workloads_of_one_name_are_told_apart_by_their_namespaces() {
        let names = names(&[
            ("shop/web-69d6d96cb7-gpcpd", "10.244.0.3"),
            ("bank/web-69d6d96cb7-bcdfg", "10.244.0.4"),
            ("bank/cart-69d6d96cb7-xzvwt", "10.244.0.5"),
            ("bank/db-0", "10.244.0.6"),
            ("shop/db-0", "10.244.0.7"),
        ]);
        assert_eq!(names.process("shop/web-69d6d96cb7-gpcpd/app"), "shop/web/0 app");
        assert_eq!(names.process("bank/web-69d6d96cb7-bcdfg/app"), "bank/web/0 app");
        assert_eq!(names.process("bank/cart-69d6d96cb7-xzvwt/app"), "cart/0 app");
        assert_eq!(names.full_process("bank/cart-69d6d96cb7-xzvwt/app"), "bank/cart/0 app");
        assert_eq!(names.address("10.244.0.4:1".parse().unwrap()), "bank/web/0:1");
        let text = "bank/web-69d6d96cb7-bcdfg web-69d6d96cb7-bcdfg db-0 db-0.shop shop/db-0 10.244.0.7";
        assert_eq!(names.within(text), "bank/web/0 bank/web/0 db-0 db-0.shop shop/db-0 shop/db-0");
    }
}
