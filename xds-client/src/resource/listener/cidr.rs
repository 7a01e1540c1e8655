//! Ranges of IP addresses.

use std::fmt;
use std::net::IpAddr;

/// A range of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CidrRange {
    address: IpAddr,
    prefix_len: u8,
}

impl CidrRange {
    /// The range of addresses that share the first `prefix_len` bits with `address`. Other bits are cleared, and an
    /// IPv4-mapped IPv6 address counts as IPv4. `None` if there are fewer bits.
    #[must_use]
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let canonical = address.to_canonical();
        let prefix_len = if canonical == address { prefix_len } else { prefix_len.saturating_sub(96) };
        let address = match canonical {
            IpAddr::V4(v4) if prefix_len <= 32 => {
                IpAddr::V4((v4.to_bits() & mask(u128::from(prefix_len), 32) as u32).into())
            }
            IpAddr::V6(v6) if prefix_len <= 128 => {
                IpAddr::V6((v6.to_bits() & mask(u128::from(prefix_len), 128)).into())
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { address, prefix_len })
    }

    /// Whether `address` is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                ours.to_bits() == theirs.to_bits() & mask(u128::from(self.prefix_len), 32) as u32
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                ours.to_bits() == theirs.to_bits() & mask(u128::from(self.prefix_len), 128)
            }
            _ => false,
        }
    }

    /// How many leading bits count: the longer, the more specific.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }
}

impl fmt::Display for CidrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// The `prefix_len` highest of `bits` bits.
fn mask(prefix_len: u128, bits: u32) -> u128 {
    let all = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
    let low = u32::try_from(prefix_len).map_or(0, |len| bits - len.min(bits));
    if low == 128 { 0 } else { all >> low << low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_the_addresses_that_share_its_prefix() {
        let range = |address: &str, len| CidrRange::new(address.parse().expect("a literal"), len).expect("it fits");
        let contains = |range: CidrRange, address: &str| range.contains(address.parse().expect("a literal"));
        let ten = range("10.1.2.3", 8);
        assert_eq!(ten.to_string(), "10.0.0.0/8");
        assert!(contains(ten, "10.255.0.1") && contains(ten, "::ffff:10.0.0.1") && !contains(ten, "11.0.0.1"));
        assert!(contains(range("0.0.0.0", 0), "255.1.2.3") && !contains(range("0.0.0.0", 0), "::1"));
        assert!(contains(range("::", 0), "fe80::1"));
        assert!(contains(range("fd00::1", 128), "fd00::1") && !contains(range("fd00::1", 128), "fd00::2"));
        assert_eq!(range("::ffff:10.0.0.0", 104), range("10.0.0.0", 8));
        assert_eq!(CidrRange::new("10.0.0.0".parse().expect("a literal"), 33), None);
    }
}
