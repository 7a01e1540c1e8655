//! The hash of an RPC, by which `ring_hash` chooses its endpoint (gRFC A42).

use super::Metadata;
use crate::resource::{HashPolicy, HashPolicyKind};

/// What the policies of a route make of an RPC; `None` if none of them finds anything.
#[must_use]
pub fn request_hash(policies: &[HashPolicy], metadata: Metadata<'_>, channel_id: u64) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in policies {
        let found = match &policy.kind {
            HashPolicyKind::Header { name, rewrite } => metadata.value(name).map(|value| match rewrite {
                Some((regex, text)) => xx_hash64(regex.replace_all(&value, text.as_str()).as_bytes()),
                None => xx_hash64(value.as_bytes()),
            }),
            HashPolicyKind::ChannelId => Some(channel_id),
        };
        if let Some(found) = found {
            hash = Some(hash.unwrap_or_default().rotate_left(1) ^ found);
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

/// XXH64 with the seed 0 (the xxHash specification, version 0.1.1).
#[must_use]
pub fn xx_hash64(input: &[u8]) -> u64 {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"));
    let mut stripes = input.chunks_exact(32);
    let mut hash = if input.len() < 32 {
        PRIMES[4]
    } else {
        let mut lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0_u64.wrapping_sub(PRIMES[0])];
        for stripe in &mut stripes {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(bytes));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
        let joined = turned.fold(0, u64::wrapping_add);
        lanes.iter().fold(joined, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]))
    };
    hash = hash.wrapping_add(input.len() as u64);
    let mut words = stripes.remainder().chunks_exact(8);
    for bytes in &mut words {
        hash = (hash ^ round(0, word(bytes))).rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    let mut rest = words.remainder();
    if let Some((half, after)) = rest.split_first_chunk::<4>() {
        let half = u64::from(u32::from_le_bytes(*half));
        hash = (hash ^ half.wrapping_mul(PRIMES[0])).rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        rest = after;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use regex::Regex;

    use super::*;

    #[test]
    fn the_hash_is_xxh64() {
        for (input, expected) in [
            ("", 0xEF46_DB37_51D8_E999),
            ("a", 0xD24E_C4F1_A98C_6E5B),
            ("abc", 0x44BC_2CF5_AD77_0999),
            ("Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
        ] {
            assert_eq!(xx_hash64(input.as_bytes()), expected, "{input:?}");
        }
    }

    fn header(name: &str) -> HashPolicy {
        HashPolicy { kind: HashPolicyKind::Header { name: name.to_owned(), rewrite: None }, terminal: false }
    }

    fn hash(policies: &[HashPolicy]) -> Option<u64> {
        let headers: HeaderMap = [("x-user", "joe"), ("x-path", "/a/b?c"), ("x-raw-bin", "AA")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        request_hash(policies, Metadata::new(&headers), 7)
    }

    #[test]
    fn policies_are_combined_in_their_order() {
        let joe = xx_hash64(b"joe");
        let channel = || HashPolicy { kind: HashPolicyKind::ChannelId, terminal: false };
        let terminal = |policy: HashPolicy| HashPolicy { terminal: true, ..policy };
        for (policies, expected) in [
            (vec![], None),
            (vec![header("x-user")], Some(joe)),
            (vec![header("absent")], None),
            (vec![header("x-raw-bin")], None),
            (vec![channel()], Some(7)),
            (vec![header("x-user"), channel()], Some(joe.rotate_left(1) ^ 7)),
            (vec![header("absent"), channel()], Some(7)),
            (vec![terminal(header("x-user")), channel()], Some(joe)),
            // What finds nothing ends nothing.
            (vec![terminal(header("absent")), channel()], Some(7)),
        ] {
            assert_eq!(hash(&policies), expected, "{policies:?}");
        }
    }

    #[test]
    fn a_header_is_rewritten_wherever_the_expression_matches() {
        let rewrite = Some((Regex::new("/[a-z]").unwrap(), "-".to_owned()));
        let policy =
            HashPolicy { kind: HashPolicyKind::Header { name: "x-path".to_owned(), rewrite }, terminal: false };
        assert_eq!(hash(&[policy]), Some(xx_hash64(b"--?c")));
    }
}
