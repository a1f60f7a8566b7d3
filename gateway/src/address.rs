//! Addresses as limits count them.

use std::net::{IpAddr, Ipv6Addr};

/// The unit of address limits: an IPv4 address, or the /64 that one IPv6 subscriber gets.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}
