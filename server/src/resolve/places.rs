//! A caller and a registry in, a place for one search for them out, while there is one.

use std::sync::Arc;

use parking_lot::Mutex;
use portcullis_core::evidence::{Cause, CauseKind, Evidence};

use super::Unresolved;
use crate::caller::Caller;
use crate::shares::Shares;

/// The most references that registries are asked about at a time. One question names hundreds, each
/// perhaps of a registry that never answers.
pub(super) const MAX_SEARCHES: usize = 16 * 1024;
/// The most of them that one caller asked for first. What the service asks again by itself is in memory,
/// and counts for nobody.
const MAX_PER_CALLER: usize = 4 * 1024;
/// The most of them of one registry.
const MAX_PER_REGISTRY: usize = 8 * 1024;

/// The places of all searches. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    by_caller: Shares<Caller>,
    by_registry: Shares<String>,
}

/// Whose places are taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error(
        "{MAX_SEARCHES} images are being resolved, which is as many as there may be: ask again"
    )]
    Service,
    #[error(
        "{MAX_PER_CALLER} images are being resolved for this caller, which is as many as one may have: \
         ask again"
    )]
    Caller,
    #[error(
        "{MAX_PER_REGISTRY} images of registry `{0}` are being resolved, which is as many as one may \
         have: ask again"
    )]
    Registry(String),
}

impl Full {
    /// What is known of a reference for want of a place.
    pub(super) fn evidence(&self) -> Unresolved {
        let detail = self.to_string();
        Arc::new(Evidence::Unavailable(Cause { kind: CauseKind::Throttled, detail }))
    }
}

impl Places {
    /// A place for a search that `caller` begins, in `registry`.
    ///
    /// # Errors
    /// Of what there is none left.
    pub(super) fn take(&self, caller: Caller, registry: &str) -> Result<Place, Full> {
        let mut taken = self.0.lock();
        if taken.all >= MAX_SEARCHES {
            return Err(Full::Service);
        }
        let is_own = caller == Caller::default();
        if !is_own && taken.by_caller.of(&caller) >= MAX_PER_CALLER {
            return Err(Full::Caller);
        }
        if taken.by_registry.of(registry) >= MAX_PER_REGISTRY {
            return Err(Full::Registry(registry.to_owned()));
        }
        taken.all += 1;
        taken.by_caller.take(&caller);
        taken.by_registry.take(registry);
        Ok(Place { places: self.clone(), caller, registry: registry.to_owned() })
    }
}

/// One search's place, until it is dropped.
pub(super) struct Place {
    places: Places,
    caller: Caller,
    registry: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.all = taken.all.saturating_sub(1);
        taken.by_caller.give_back(&self.caller);
        taken.by_registry.give_back(self.registry.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(n: usize) -> Caller {
        Caller::of(([127, 0, 0, 1], u16::try_from(n).unwrap()).into())
    }

    fn take(places: &Places, n: usize, registry: &str) -> Place {
        places.take(caller(n), registry).ok().unwrap()
    }

    #[test]
    fn t082_t112_neither_a_caller_nor_a_registry_has_all_places() {
        let places = Places::default();
        let first: Vec<_> =
            (0..MAX_PER_CALLER).map(|n| take(&places, 1, &format!("{}.io", n % 4))).collect();
        assert_eq!(places.take(caller(1), "other.io").err(), Some(Full::Caller));
        // The service itself asks again about what is in use.
        assert!(places.take(Caller::default(), "0.io").is_ok());
        let second: Vec<_> =
            (0..MAX_PER_REGISTRY).map(|n| take(&places, 2 + n % 3, "hole.io")).collect();
        let full = places.take(caller(9), "hole.io").err();
        assert_eq!(full, Some(Full::Registry("hole.io".to_owned())));
        let third: Vec<_> = (0..MAX_SEARCHES - MAX_PER_CALLER - MAX_PER_REGISTRY)
            .map(|n| take(&places, 10 + n % 2, "good.io"))
            .collect();
        assert_eq!(places.take(caller(9), "good.io").err(), Some(Full::Service));
        drop((first, second, third));
        let taken = places.0.lock();
        assert_eq!((taken.all, taken.by_caller.len(), taken.by_registry.len()), (0, 0, 0));
    }
}
