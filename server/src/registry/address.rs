//! Host names in, only those of their addresses out that an unlisted host may have.
//!
//! The resolver is the one that the connection uses, so that the address checked is the address
//! connected to (CASES T039). Address literals pass by every resolver and are checked by
//! [`is_outside`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::{Host, Url};

/// The most names that are looked up at a time. Each takes a thread of those that verify reports
/// too, for as long as a name server likes: also when nobody waits for it any more.
const MAX_LOOKUPS: usize = 32;

/// The host has addresses, and none of them is public.
#[derive(Debug, thiserror::Error)]
#[error("no public address")]
pub(super) struct NoPublicAddress;

/// Asks the system's resolver, for [`MAX_LOOKUPS`] names at a time. Whoever waits for his turn does
/// so in his request's own time.
pub(super) struct System {
    turns: Arc<Semaphore>,
    look_up: Arc<LookUp>,
}

/// Finds the addresses of a name, and blocks for as long as that takes.
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl System {
    pub(super) fn new() -> Self {
        Self::with(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn with(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { turns: Arc::new(Semaphore::new(MAX_LOOKUPS)), look_up: Arc::new(look_up) }
    }
}

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        let (turns, look_up) = (Arc::clone(&self.turns), Arc::clone(&self.look_up));
        Box::pin(async move {
            let turn = turns.acquire_owned().await?;
            let found = tokio::task::spawn_blocking(move || {
                // Given back by the thread, which goes on when its request has been given up.
                let _turn = turn;
                look_up(name.as_str())
            });
            Ok(Box::new(found.await??.into_iter()) as Addrs)
        })
    }
}

/// Gives only the public addresses that `inner` finds.
pub(super) struct PublicOnly {
    pub(super) inner: Arc<dyn Resolve>,
    /// The name that may have any address: that of the proxy.
    pub(super) except: Option<String>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        if self.except.as_deref() == Some(name.as_str()) {
            return self.inner.resolve(name);
        }
        let inner = self.inner.resolve(name);
        Box::pin(async move {
            let public: Vec<SocketAddr> = inner.await?.filter(|a| is_public(a.ip())).collect();
            if public.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether `url` may be asked without being listed, as far as can be told before its name is looked
/// up. The host of the proxy may not: its name may have any address.
pub(super) fn is_outside(url: &Url, proxy: Option<&str>) -> bool {
    is_allowed_literal(url) && (proxy.is_none() || proxy != url.host_str())
}

/// Whether the host of `url` is a name, which the resolver will check, or a public address. The
/// parser of `url` has already turned `0x7f.1` and `2130706433` into the address that they mean.
fn is_allowed_literal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        None => false,
    }
}

/// Whether an address is one of the public internet's, by the special-purpose registries of IANA
/// (RFC 6890 and its updates). What is not known to be public is not.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    let refused = match address.octets() {
        // This network, private, loopback, link-local (and with it the clouds' metadata).
        [0 | 10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] => true,
        // Carrier-grade NAT, benchmarks, protocol assignments, documentation, 6to4 relays.
        [100, 64..=127, ..] | [198, 18 | 19, ..] | [192, 0, 0 | 2, _] => true,
        [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => true,
        // Azure's metadata and wire server, which has an address that looks public.
        [168, 63, 129, 16] => true,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => true,
        _ => false,
    };
    !refused
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 (RFC 6052): how a cluster without IPv4 reaches it; the address inside decides.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocol assignments with Teredo and ORCHID, documentation twice, 6to4.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] | [0x2002, ..] => {
            false
        }
        // Global unicast is 2000::/3; all else is mapped, local, multicast or not assigned.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::runtime::Handle;
    use tokio::sync::{mpsc, watch};

    use super::*;

    #[track_caller]
    fn check(public: bool, addresses: &str) {
        for address in addresses.split_whitespace() {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[tokio::test]
    async fn names_are_not_looked_up_one_past_their_bound_though_nobody_waits() {
        let (sender, mut begun) = mpsc::channel(MAX_LOOKUPS + 1);
        let (gate, held) = watch::channel(());
        let runtime = Handle::current();
        let system = System::with(move |name| {
            sender.blocking_send(name.to_owned()).unwrap();
            // An error is the test's end, at which nothing may hang.
            let _ended = runtime.block_on(held.clone().changed());
            Ok(vec![([8, 8, 8, 8], 0).into()])
        });
        let resolve = |name: &str| system.resolve(name.parse().unwrap());
        let mut given_up = Vec::new();
        for nth in 0..MAX_LOOKUPS {
            let mut looking = resolve(&format!("slow{nth}.example"));
            assert!(poll!(&mut looking).is_pending());
            given_up.push(looking);
            begun.recv().await.unwrap();
        }
        drop(given_up);

        let mut past = resolve("past.example");
        assert!(poll!(&mut past).is_pending());
        assert_eq!(system.turns.available_permits(), 0);
        // Where one has ended, there is room.
        drop(gate);
        assert_eq!(past.await.unwrap().count(), 1);
        assert_eq!(begun.recv().await.unwrap(), "past.example");
    }

    /// Finds a name at each of these addresses in turn, as a rebinding name server does, or at all.
    struct Answers(parking_lot::Mutex<Vec<Vec<SocketAddr>>>);

    impl Resolve for Answers {
        fn resolve(&self, _: Name) -> Resolving {
            let next = self.0.lock().remove(0);
            Box::pin(async move { Ok(Box::new(next.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn t039_each_answer_of_a_resolver_is_checked_and_none_inside_is_connected_to() {
        let (public, inside) = (([8, 8, 8, 8], 0).into(), ([10, 0, 0, 5], 0).into());
        let answers = vec![vec![public], vec![inside], vec![inside, public]];
        let inner = Arc::new(Answers(parking_lot::Mutex::new(answers)));
        let resolver = PublicOnly { inner, except: None };
        let mut found = Vec::new();
        for _ in 0..3 {
            let addresses = resolver.resolve("rebinding.example".parse().unwrap()).await;
            found.push(addresses.map(Iterator::collect::<Vec<_>>).ok());
        }
        assert_eq!(found, [Some(vec![public]), None, Some(vec![public])]);
    }

    #[test]
    fn addresses_inside_are_not_public() {
        check(false, "0.0.0.0 0.1.2.3 10.0.0.5 10.255.255.255 127.0.0.1 127.255.255.254");
        check(false, "169.254.0.0 169.254.169.254 172.16.0.0 172.31.255.255 192.168.0.1");
        check(false, "100.64.0.0 100.100.100.200 100.127.255.255 198.18.0.0 198.19.255.255");
        check(false, "192.0.0.192 192.0.2.1 198.51.100.7 203.0.113.9 192.88.99.1");
        check(false, "168.63.129.16 224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255");
        check(false, ":: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 100::1 5f00::1");
        check(false, "fe80::1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 1fff::1 4000::1");
        check(false, "2001::1 2001:1ff::1 2001:db8::1 2002:7f00:1:: 3fff::1 3fff:fff::1");
        check(false, "64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::808:808");
    }

    #[test]
    fn addresses_one_past_a_range_are_public() {
        check(true, "1.0.0.0 9.255.255.255 11.0.0.0 126.255.255.255 128.0.0.0 8.8.8.8");
        check(true, "100.63.255.255 100.128.0.0 169.253.255.255 169.255.0.0");
        check(true, "172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 192.0.1.1 192.0.3.1");
        check(true, "198.17.255.255 198.20.0.0 198.51.99.1 203.0.112.1 223.255.255.255");
        check(true, "168.63.129.15 168.63.129.17 192.88.98.1");
        check(true, "2000:: 2001:200:: 2001:db7:: 2001:4860:4860::8888 2003:: 3fff:1000::");
        check(true, "2606:4700::1111 64:ff9b::808:808");
    }

    #[test]
    fn t036_an_address_is_found_however_it_is_written() {
        let allowed = |url: &str| is_allowed_literal(&url.parse().unwrap());
        for host in [
            "169.254.169.254",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "127.1",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "10.0.0.1:8443",
            "%31%30.0.0.1",
            "①②⑦.0.0.1",
        ] {
            assert!(!allowed(&format!("https://{host}/v2/")), "{host}");
        }
        assert!(allowed("https://8.8.8.8/"));
        assert!(allowed("https://[2606:4700::1111]/"));
        // A name is the resolver's to check.
        assert!(allowed("https://localhost/"));
    }
}
