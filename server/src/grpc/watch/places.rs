//! A caller in, a place for one watcher of it out, while there is one.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{MAX_WATCHERS, MAX_WATCHERS_PER_CALLER};
use crate::caller::Caller;
use crate::shares::Shares;

/// The places of all watchers. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    by_caller: Shares<Caller>,
}

/// Whose places are taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Full {
    Service,
    Caller,
}

impl Places {
    /// A place for a watcher of `caller`: one of all, and one of its own.
    ///
    /// # Errors
    /// Of what there is none left.
    pub(super) fn take(&self, caller: Caller) -> Result<Place, Full> {
        let mut taken = self.0.lock();
        if taken.all >= MAX_WATCHERS {
            return Err(Full::Service);
        }
        if taken.by_caller.of(&caller) >= MAX_WATCHERS_PER_CALLER {
            return Err(Full::Caller);
        }
        taken.all += 1;
        taken.by_caller.take(&caller);
        Ok(Place { places: self.clone(), caller })
    }
}

/// One watcher's place, until it is dropped.
pub(super) struct Place {
    places: Places,
    caller: Caller,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.all = taken.all.saturating_sub(1);
        taken.by_caller.give_back(&self.caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t082_a_caller_leaves_others_places_and_who_has_none_is_forgotten() {
        let places = Places::default();
        let caller = |n: u16| Caller::of(([127, 0, 0, 1], n).into());
        let take = |n| places.take(caller(n)).ok().unwrap();
        let mut own: Vec<_> = (0..MAX_WATCHERS_PER_CALLER).map(|_| take(1)).collect();
        assert_eq!(places.take(caller(1)).err(), Some(Full::Caller));
        let others: Vec<_> = (2..).take(MAX_WATCHERS - MAX_WATCHERS_PER_CALLER).map(take).collect();
        assert_eq!(places.take(caller(0)).err(), Some(Full::Service));
        own.pop();
        own.push(take(1));
        drop((own, others));
        let taken = places.0.lock();
        assert_eq!((taken.all, taken.by_caller.len()), (0, 0));
    }
}
