//! Who has which address: pods from 10.244.0.0/16, Services from 10.96.0.0/16.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use hermesh_runtime::Draws;

/// Addresses of one /16 network.
#[derive(Debug)]
pub(crate) struct Pool {
    network: [u8; 2],
    taken: BTreeSet<u16>,
}

impl Pool {
    /// Addresses for pods.
    pub(crate) fn pods() -> Self {
        Self { network: [10, 244], taken: BTreeSet::new() }
    }

    /// Addresses for Services.
    pub(crate) fn services() -> Self {
        Self { network: [10, 96], taken: BTreeSet::new() }
    }

    /// The lowest free address: one that was given back is soon another's, as in clusters.
    pub(crate) fn lowest(&mut self) -> Option<IpAddr> {
        let free = (Self::FIRST..=Self::LAST).find(|host| !self.taken.contains(host))?;
        Some(self.take(free))
    }

    /// A drawn free address: the API server gives those to Services.
    pub(crate) fn drawn(&mut self, draws: &mut Draws) -> Option<IpAddr> {
        let start = draws.between(u64::from(Self::FIRST), u64::from(Self::LAST)) as u16;
        let free = (start..=Self::LAST).chain(Self::FIRST..start).find(|host| !self.taken.contains(host))?;
        Some(self.take(free))
    }

    /// Takes `address` if it is of this network and free.
    pub(crate) fn claim(&mut self, address: IpAddr) -> bool {
        self.host(address).is_some_and(|host| self.taken.insert(host))
    }

    /// Gives `address` back.
    pub(crate) fn release(&mut self, address: IpAddr) {
        if let Some(host) = self.host(address) {
            self.taken.remove(&host);
        }
    }

    /// 0 is the network, 1 its gateway.
    const FIRST: u16 = 2;
    const LAST: u16 = u16::MAX - 1;

    fn take(&mut self, host: u16) -> IpAddr {
        self.taken.insert(host);
        let [a, b] = self.network;
        let [c, d] = host.to_be_bytes();
        Ipv4Addr::new(a, b, c, d).into()
    }

    fn host(&self, address: IpAddr) -> Option<u16> {
        match address {
            IpAddr::V4(address) => match address.octets() {
                [a, b, c, d] if [a, b] == self.network => Some(u16::from_be_bytes([c, d])),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_given_back_is_given_out_again() {
        let mut pool = Pool::pods();
        let first = pool.lowest().unwrap();
        let second = pool.lowest().unwrap();
        assert_eq!([first, second].map(|ip| ip.to_string()), ["10.244.0.2", "10.244.0.3"]);
        pool.release(first);
        assert_eq!(pool.lowest(), Some(first));
    }

    #[test]
    fn a_claimed_address_is_drawn_by_nobody_else() {
        let mut pool = Pool::services();
        let draws = || Draws::new(7, "service/shop/cart", 0);
        let drawn = pool.drawn(&mut draws()).unwrap();
        assert!(!pool.claim(drawn));
        assert_ne!(pool.drawn(&mut draws()), Some(drawn));
        assert!(!pool.claim("192.168.0.1".parse().unwrap()));
    }
}
