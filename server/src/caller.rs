//! Who asks, as far as limits tell callers apart.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One caller. Places are shared out between callers.
///
/// Who shows a certificate is who that says. Otherwise a caller is the network address it asks from, and on this
/// machine one connection, because a proxy here speaks for many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Caller(Kind);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Kind {
    /// Asked from inside the process.
    #[default]
    Inside,
    Connection(SocketAddr),
    Network(IpAddr),
    /// By its place in the configuration.
    Identity(u32),
}

impl Caller {
    /// Whoever is known by a certificate under this number.
    pub(crate) const fn identity(number: u32) -> Self {
        Self(Kind::Identity(number))
    }

    /// The same where it is known by a certificate; all others are one.
    pub(crate) const fn identified(self) -> Self {
        match self.0 {
            Kind::Identity(_) => self,
            Kind::Inside | Kind::Connection(_) | Kind::Network(_) => Self(Kind::Inside),
        }
    }

    /// Whoever asks from `peer`.
    #[must_use]
    pub fn of(peer: SocketAddr) -> Self {
        let network = network(peer.ip());
        if peer.ip().to_canonical().is_loopback() {
            Self(Kind::Connection(SocketAddr::new(network, peer.port())))
        } else {
            Self(Kind::Network(network))
        }
    }
}

/// What one peer surely has to itself: an address of IPv4, a /64 of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, same: bool) {
        let of = |text: &str| Caller::of(text.parse().unwrap());
        assert_eq!(of(one) == of(other), same, "{one} and {other}");
    }

    #[test]
    fn a_caller_is_a_network_and_on_this_machine_a_connection() {
        check("192.0.2.1:1000", "192.0.2.1:2000", true);
        check("192.0.2.1:1000", "192.0.2.2:1000", false);
        check("192.0.2.1:1000", "[::ffff:192.0.2.1]:2000", true);
        check("[2001:db8::1]:1000", "[2001:db8::ffff:2]:2000", true);
        check("[2001:db8:0:1::1]:1000", "[2001:db8::1]:1000", false);
        check("127.0.0.1:1000", "127.0.0.1:1000", true);
        check("127.0.0.1:1000", "127.0.0.1:2000", false);
        check("[::1]:1000", "[::1]:2000", false);
        check("[::ffff:127.0.0.1]:1000", "127.0.0.1:1000", true);
    }
}
