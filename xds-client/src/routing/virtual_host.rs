//! The choice of a virtual host by its domains (Envoy's `VirtualHost.domains`, gRFC A27).

use std::cmp::Reverse;

use crate::resource::VirtualHost;

/// The index of the virtual host for `host`: an exact domain beats a suffix pattern (`*.com`), that a prefix pattern
/// (`echo.*`), that `*`; among equals the longer pattern wins, then the first.
///
/// As in grpc-go, case matters, and one malformed domain (empty, or with `*` in the middle only) spoils the whole
/// lookup.
#[must_use]
pub fn find_virtual_host(virtual_hosts: &[VirtualHost], host: &str) -> Option<usize> {
    let mut best: Option<((Kind, Reverse<usize>), usize)> = None;
    for (index, virtual_host) in virtual_hosts.iter().enumerate() {
        for domain in &virtual_host.domains {
            let (kind, matched) = Kind::of(domain, host)?;
            let rank = (kind, Reverse(domain.len()));
            if matched && best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, index));
            }
        }
    }
    best.map(|(_, index)| index)
}

/// How a domain is written, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exact,
    Suffix,
    Prefix,
    Universal,
}

impl Kind {
    /// The kind of `domain` and whether `host` matches it; `None` if the domain is malformed.
    fn of(domain: &str, host: &str) -> Option<(Self, bool)> {
        match (domain, domain.strip_prefix('*'), domain.strip_suffix('*')) {
            ("", ..) => None,
            ("*", ..) => Some((Self::Universal, true)),
            (_, Some(suffix), _) => Some((Self::Suffix, host.ends_with(suffix))),
            (_, None, Some(prefix)) => Some((Self::Prefix, host.starts_with(prefix))),
            (exact, None, None) => (!exact.contains('*')).then_some((Self::Exact, exact == host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn virtual_hosts(domains: &[&[&str]]) -> Vec<VirtualHost> {
        let virtual_host = |(index, domains): (usize, &&[&str])| VirtualHost {
            name: index.to_string(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            routes: Vec::new(),
            retry_policy: None,
            overrides: [].into(),
        };
        domains.iter().enumerate().map(virtual_host).collect()
    }

    #[test]
    fn precedence_is_exact_then_suffix_then_prefix_then_any() {
        let hosts =
            virtual_hosts(&[&["*"], &["echo.*", "ec*"], &["*.local", "*local"], &["echo.local"], &["echo.local"]]);
        for (host, expected) in [
            ("echo.local", 3),
            ("other.local", 2),
            ("echo.remote", 1),
            ("echoes", 1),
            ("remote", 0),
            ("ECHO.local", 2),
            ("Echo.Remote", 0),
        ] {
            assert_eq!(find_virtual_host(&hosts, host), Some(expected), "{host}");
        }
    }

    #[test]
    fn the_longer_pattern_wins_and_then_the_first() {
        let hosts = virtual_hosts(&[&["*a"], &["*.a"], &["x*"], &["x.*"], &["*.a"]]);
        assert_eq!(find_virtual_host(&hosts, "q.a"), Some(1));
        assert_eq!(find_virtual_host(&hosts, "x.b"), Some(3));
        assert_eq!(find_virtual_host(&hosts, "b"), None);
    }

    #[test]
    fn a_star_at_both_ends_is_a_suffix_pattern_with_a_literal_star() {
        let hosts = virtual_hosts(&[&["*a*"]]);
        assert_eq!(find_virtual_host(&hosts, "bab"), None);
        assert_eq!(find_virtual_host(&hosts, "ba*"), Some(0));
    }

    #[test]
    fn a_malformed_domain_spoils_the_lookup_even_after_an_exact_match() {
        assert_eq!(find_virtual_host(&virtual_hosts(&[&["echo"], &["a*b"]]), "echo"), None);
        assert_eq!(find_virtual_host(&virtual_hosts(&[&["echo", ""]]), "echo"), None);
    }

    #[test]
    fn no_domain_no_match() {
        assert_eq!(find_virtual_host(&virtual_hosts(&[&[]]), "echo"), None);
        assert_eq!(find_virtual_host(&[], "echo"), None);
    }

    /// The rule read aloud: four passes, one a kind, each looking for the longest.
    fn model(hosts: &[VirtualHost], host: &str) -> Option<usize> {
        let domains = || {
            hosts.iter().enumerate().flat_map(|(index, host)| host.domains.iter().map(move |domain| (index, domain)))
        };
        if domains().any(|(_, domain)| {
            domain.is_empty() || (!domain.starts_with('*') && !domain.ends_with('*') && domain.contains('*'))
        }) {
            return None;
        }
        let longest = |test: &dyn Fn(&str) -> bool| {
            let mut found: Option<(usize, usize)> = None;
            for (index, domain) in domains() {
                if test(domain) && found.is_none_or(|(len, _)| len < domain.len()) {
                    found = Some((domain.len(), index));
                }
            }
            found.map(|(_, index)| index)
        };
        longest(&|domain| domain == host && !domain.contains('*'))
            .or_else(|| longest(&|domain| domain != "*" && domain.starts_with('*') && host.ends_with(&domain[1..])))
            .or_else(|| {
                longest(&|domain| {
                    !domain.starts_with('*') && domain.ends_with('*') && host.starts_with(&domain[..domain.len() - 1])
                })
            })
            .or_else(|| longest(&|domain| domain == "*"))
    }

    proptest! {
        #[test]
        fn agrees_with_four_passes(
            domains in prop::collection::vec(prop::collection::vec("[ab*]{1,4}", 0..3), 0..4),
            host in "[ab]{0,4}",
        ) {
            let domains: Vec<Vec<&str>> = domains.iter().map(|list| list.iter().map(String::as_str).collect()).collect();
            let slices: Vec<&[&str]> = domains.iter().map(Vec::as_slice).collect();
            let hosts = virtual_hosts(&slices);
            prop_assert_eq!(find_virtual_host(&hosts, &host), model(&hosts, &host));
        }
    }
}
