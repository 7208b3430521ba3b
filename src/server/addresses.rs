//! Addresses: how many connections each has, and how many of them are there only to be refused.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

/// The open connections by address. Only opening and closing one touches it.
pub struct Addresses {
    per_address_max: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; it is free again when this is dropped.
pub struct Place {
    open: Arc<Mutex<Open>>,
    address: IpAddr,
}

impl Addresses {
    /// No connections yet.
    pub fn new(per_address_max: usize) -> Addresses {
        Addresses { per_address_max, open: Arc::default() }
    }

    /// Counts a connection; whether its address had room for it. Those of `uncounted` networks always have.
    pub fn enter(&self, address: IpAddr, uncounted: &[IpNet]) -> (Place, bool) {
        let is_free = uncounted.iter().any(|network| network.contains(&address.to_canonical()));
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.by_address.entry(address).or_insert(0);
        *count += 1;
        let within = is_free || *count <= self.per_address_max;
        (Place { open: Arc::clone(&self.open), address }, within)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: a single host is given a whole /64 network of IPv6 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_no_more() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().unwrap(), &["192.0.2.128/25".parse().unwrap()]);
        let (first, within) = enter("192.0.2.1");
        assert!(within);
        let (_second, within) = enter("::ffff:192.0.2.1");
        assert!(within);
        let (third, within) = enter("192.0.2.1");
        assert!(!within);
        assert!(enter("192.0.2.2").1);
        let proxies = [(); 5].map(|()| enter("192.0.2.129"));
        assert!(proxies.iter().all(|(_, within)| *within));
        drop(proxies);
        drop((first, third));
        assert!(enter("192.0.2.1").1);
        assert_eq!(addresses.open.lock().unwrap().by_address.len(), 1, "what nobody uses is not kept");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses = Addresses::new(1);
        let enter = |text: &str| addresses.enter(text.parse().unwrap(), &[]);
        let (_place, within) = enter("2001:db8:1:2::1");
        assert!(within);
        assert!(!enter("2001:db8:1:2:ffff::9").1);
        assert!(enter("2001:db8:1:3::1").1);
    }
}
