//! The choice of a filter chain for an accepted connection (gRFC A36).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::resource::{CidrRange, FilterChain, ServerListener, SourceType};

/// The chain for a connection from `peer` to `local`. Destination prefixes count only if the listener is bound to the
/// wildcard address.
///
/// Each step keeps the best group and never looks back, as the gRFC has it: destination prefix, transport protocol,
/// source type, source prefix, source port; then the default chain.
///
/// # Errors
/// If no chain matches, or two do equally well.
pub fn find_filter_chain(
    listener: &ServerListener,
    bound_to_wildcard: bool,
    local: IpAddr,
    peer: SocketAddr,
) -> Result<&FilterChain, String> {
    let (local, peer_ip) = (local.to_canonical(), peer.ip().to_canonical());
    let source =
        if peer_ip == local || peer_ip.is_loopback() { SourceType::SameIpOrLoopback } else { SourceType::External };

    let mut groups = by_destination(listener);
    if bound_to_wildcard {
        groups.retain(|prefix, _| prefix.is_none_or(|prefix| prefix.contains(local)));
        let longest = groups.keys().map(|prefix| rank(*prefix)).max();
        groups.retain(|prefix, _| Some(rank(*prefix)) == longest);
    }

    // By destination and source prefix: chains of one entry differ in their source ports at most.
    let mut entries: BTreeMap<(Option<CidrRange>, Option<CidrRange>), Vec<&FilterChain>> = BTreeMap::new();
    for (destination, chains) in groups {
        for chain in of_source_type(of_transport_protocol(chains), source) {
            for prefix in or_any(&chain.matches.source_prefix_ranges) {
                entries.entry((destination, prefix)).or_default().push(chain);
            }
        }
    }
    entries.retain(|(_, prefix), _| prefix.is_none_or(|prefix| prefix.contains(peer_ip)));
    let longest = entries.keys().map(|(_, prefix)| rank(*prefix)).max();
    entries.retain(|(_, prefix), _| Some(rank(*prefix)) == longest);
    if entries.len() > 1 {
        return Err("multiple matching filter chains".to_owned());
    }

    let chains = entries.into_values().next().unwrap_or_default();
    let port = u32::from(peer.port());
    let exact = chains.iter().find(|chain| chain.matches.source_ports.contains(&port));
    let any = chains.iter().find(|chain| chain.matches.source_ports.is_empty());
    let chosen = exact.or(any).copied().or(listener.default_filter_chain.as_ref());
    chosen.ok_or_else(|| "no matching filter chain found".to_owned())
}

/// Each chain under each of its destination prefixes.
fn by_destination(listener: &ServerListener) -> BTreeMap<Option<CidrRange>, Vec<&FilterChain>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for chain in &listener.filter_chains {
        for prefix in or_any(&chain.matches.prefix_ranges) {
            groups.entry(prefix).or_default().push(chain);
        }
    }
    groups
}

fn of_transport_protocol(chains: Vec<&FilterChain>) -> Vec<&FilterChain> {
    let raw_buffer = chains.iter().any(|chain| chain.matches.raw_buffer);
    chains.into_iter().filter(|chain| chain.matches.raw_buffer == raw_buffer).collect()
}

fn of_source_type(chains: Vec<&FilterChain>, source: SourceType) -> Vec<&FilterChain> {
    let specific = chains.iter().any(|chain| chain.matches.source_type == source);
    let wanted = if specific { source } else { SourceType::Any };
    chains.into_iter().filter(|chain| chain.matches.source_type == wanted).collect()
}

fn or_any(prefixes: &[CidrRange]) -> impl Iterator<Item = Option<CidrRange>> {
    let any = prefixes.is_empty().then_some(None);
    any.into_iter().chain(prefixes.iter().copied().map(Some))
}

/// A prefix of length 0 is still more specific than none.
fn rank(prefix: Option<CidrRange>) -> i16 {
    prefix.map_or(-1, |prefix| prefix.prefix_len().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{FilterChainMatch, HttpConnectionManager, RouteConfiguration, RouteSource};

    fn chain(name: &str, matches: FilterChainMatch) -> FilterChain {
        let routes = RouteSource::Inline(RouteConfiguration { name: String::new(), virtual_hosts: Vec::new() }.into());
        let http = HttpConnectionManager { routes, max_stream_duration: None, http_filters: Vec::new() };
        FilterChain { name: name.to_owned(), matches, security: None, http }
    }

    fn listener(filter_chains: Vec<FilterChain>, default: Option<FilterChain>) -> ServerListener {
        ServerListener { address: "0.0.0.0".into(), port: 7070, filter_chains, default_filter_chain: default }
    }

    fn ranges(texts: &[&str]) -> Vec<CidrRange> {
        let range = |text: &&str| {
            let (address, len) = text.split_once('/').unwrap();
            CidrRange::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
        };
        texts.iter().map(range).collect()
    }

    fn to(texts: &[&str]) -> FilterChainMatch {
        FilterChainMatch { prefix_ranges: ranges(texts), ..FilterChainMatch::default() }
    }

    fn from(texts: &[&str]) -> FilterChainMatch {
        FilterChainMatch { source_prefix_ranges: ranges(texts), ..FilterChainMatch::default() }
    }

    fn find<'a>(listener: &'a ServerListener, wildcard: bool, local: &str, peer: &str) -> Result<&'a str, String> {
        let found = find_filter_chain(listener, wildcard, local.parse().unwrap(), peer.parse().unwrap());
        found.map(|chain| chain.name.as_str())
    }

    #[test]
    fn istios_single_chain_takes_everything() {
        let listener = listener(vec![chain("inbound", FilterChainMatch::default())], None);
        for peer in ["10.0.0.2:1000", "127.0.0.1:1000", "[::1]:1000", "[2001:db8::1]:1000"] {
            assert_eq!(find(&listener, true, "10.0.0.1", peer), Ok("inbound"), "{peer}");
        }
    }

    #[test]
    fn the_longest_destination_prefix_wins_if_the_socket_is_bound_to_the_wildcard() {
        let listener = listener(
            vec![
                chain("any", FilterChainMatch::default()),
                chain("all", to(&["0.0.0.0/0"])),
                chain("ten", to(&["10.0.0.0/8"])),
                chain("one", to(&["10.0.0.1/32", "192.168.0.0/16"])),
            ],
            Some(chain("default", FilterChainMatch::default())),
        );
        for (local, expected) in
            [("10.0.0.1", "one"), ("10.0.0.9", "ten"), ("192.168.1.1", "one"), ("172.16.0.1", "all"), ("::1", "any")]
        {
            assert_eq!(find(&listener, true, local, "10.1.1.1:5"), Ok(expected), "{local}");
        }
        assert_eq!(find(&listener, false, "10.0.0.1", "10.1.1.1:5"), Err("multiple matching filter chains".into()));
    }

    #[test]
    fn raw_buffer_beats_an_unset_transport_protocol() {
        let raw = FilterChainMatch { raw_buffer: true, ..FilterChainMatch::default() };
        let listener = listener(vec![chain("unset", FilterChainMatch::default()), chain("raw", raw)], None);
        assert_eq!(find(&listener, true, "10.0.0.1", "10.1.1.1:5"), Ok("raw"));
    }

    #[test]
    fn a_specific_source_type_wins_even_if_nothing_of_it_matches_later() {
        let local_only = FilterChainMatch { source_type: SourceType::SameIpOrLoopback, ..FilterChainMatch::default() };
        let external = FilterChainMatch {
            source_type: SourceType::External,
            source_prefix_ranges: ranges(&["10.2.0.0/16"]),
            ..FilterChainMatch::default()
        };
        let listener = listener(
            vec![chain("any", FilterChainMatch::default()), chain("local", local_only), chain("external", external)],
            None,
        );
        assert_eq!(find(&listener, true, "10.0.0.1", "127.0.0.1:5"), Ok("local"));
        assert_eq!(find(&listener, true, "10.0.0.1", "10.0.0.1:5"), Ok("local"));
        assert_eq!(find(&listener, true, "10.0.0.1", "10.2.0.1:5"), Ok("external"));
        assert_eq!(find(&listener, true, "10.0.0.1", "10.3.0.1:5"), Err("no matching filter chain found".into()));
    }

    #[test]
    fn source_prefix_then_source_port_then_the_default() {
        let ported = FilterChainMatch { source_ports: vec![5], ..from(&["10.1.0.0/16"]) };
        let listener = listener(
            vec![chain("ten", from(&["10.0.0.0/8"])), chain("ported", ported)],
            Some(chain("default", FilterChainMatch::default())),
        );
        assert_eq!(find(&listener, true, "10.0.0.1", "10.1.1.1:5"), Ok("ported"));
        assert_eq!(find(&listener, true, "10.0.0.1", "10.1.1.1:6"), Ok("default"));
        assert_eq!(find(&listener, true, "10.0.0.1", "10.2.1.1:6"), Ok("ten"));
        assert_eq!(find(&listener, true, "10.0.0.1", "11.0.0.1:6"), Ok("default"));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_it_maps() {
        let listener = listener(vec![chain("ten", to(&["10.0.0.0/8"]))], None);
        assert_eq!(find(&listener, true, "::ffff:10.0.0.1", "[::ffff:10.1.1.1]:5"), Ok("ten"));
    }
}
