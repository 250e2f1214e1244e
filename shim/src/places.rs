//! An address in, a place out if there is one: so many at a time, and so many of one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Places of one kind.
#[derive(Clone)]
pub(crate) struct Places {
    limit: usize,
    per_peer: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Places {
    /// At most `limit`, and `per_peer` of one address.
    pub(crate) fn new(limit: usize, per_peer: usize) -> Self {
        Self { limit, per_peer, taken: Arc::default() }
    }

    /// A place for `peer`, until it is dropped; none where all are taken.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<Place> {
        let peer = network(peer);
        let mut taken = self.taken.lock();
        if taken.all >= self.limit {
            return None;
        }
        let of_peer = taken.by_peer.entry(peer).or_default();
        if *of_peer >= self.per_peer {
            return None;
        }
        *of_peer += 1;
        taken.all += 1;
        Some(Place { places: self.clone(), peer })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().all
    }
}

/// One place.
pub(crate) struct Place {
    places: Places,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Entry::Occupied(mut of_peer) = taken.by_peer.entry(self.peer) {
            *of_peer.get_mut() -= 1;
            if *of_peer.get() == 0 {
                of_peer.remove();
            }
        }
    }
}

/// Who has one address of a /64 of IPv6 has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_place_one_past_a_bound() {
        let places = Places::new(3, 2);
        let take = |address: &str| places.take(address.parse().unwrap());
        let first = take("2001:db8::1").unwrap();
        let _second = take("2001:db8::2").unwrap();
        assert!(take("2001:db8::3").is_none(), "of one network");
        let third = take("192.0.2.1").unwrap();
        assert!(take("::ffff:192.0.2.2").is_none(), "of all");
        drop(first);
        assert!(take("192.0.2.3").is_some());
        drop(third);
        assert_eq!(places.taken(), 1);
        // Who has no place is not remembered.
        assert_eq!(places.taken.lock().by_peer.len(), 1);
    }
}
