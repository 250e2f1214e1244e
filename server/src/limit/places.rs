//! A caller and the registries it waits for in, a place for its question out, while there is one.
//!
//! No caller has all places, and neither has the images of one registry: a caller that asks for
//! everything, or a registry that never answers, leaves room for the others.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::LimitConfig;
use crate::caller::Caller;
use crate::check::{Question, Shared};
use crate::shares::Shares;

/// Places of questions that wait.
pub(super) struct Places {
    limit: usize,
    config: LimitConfig,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_caller: Shares<Caller>,
    by_registry: Shares<String>,
}

impl Places {
    pub(super) fn new(limit: usize, config: LimitConfig) -> Self {
        Self { limit, config, taken: Mutex::default() }
    }

    /// A place for `question`: one of all, of its caller, and of each registry that it is about.
    ///
    /// # Errors
    /// Of what there is none left, and how many there are.
    pub(super) fn take(&self, question: &Question) -> Result<Place<'_>, (Shared, usize)> {
        let registries: BTreeSet<&str> =
            question.containers.iter().map(|(_, image)| image.registry()).collect();
        let LimitConfig { in_flight_per_caller, in_flight_per_registry, .. } = self.config;
        let mut taken = self.taken.lock();
        if taken.all >= self.limit {
            return Err((Shared::Service, self.limit));
        }
        if taken.by_caller.of(&question.caller) >= in_flight_per_caller {
            return Err((Shared::Caller, in_flight_per_caller));
        }
        let full = |registry: &&&str| taken.by_registry.of(**registry) >= in_flight_per_registry;
        if let Some(registry) = registries.iter().find(full) {
            return Err((Shared::Registry((*registry).to_owned()), in_flight_per_registry));
        }
        taken.all += 1;
        taken.by_caller.take(&question.caller);
        registries.iter().for_each(|registry| taken.by_registry.take(*registry));
        let registries = registries.into_iter().map(str::to_owned).collect();
        Ok(Place { places: self, caller: question.caller, registries })
    }
}

/// One question's place, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    caller: Caller,
    registries: Vec<String>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        taken.by_caller.give_back(&self.caller);
        for registry in &self.registries {
            taken.by_registry.give_back(registry.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: LimitConfig = LimitConfig {
        in_flight_per_caller: 4,
        in_flight_per_registry: 3,
        searches: 1,
        searches_per_registry: 1,
    };

    fn caller(port: u16) -> Caller {
        Caller::of(([127, 0, 0, 1], port).into())
    }

    fn question(port: u16, images: &[&str]) -> Question {
        let containers = images.iter().map(|image| ("c".into(), image.parse().unwrap()));
        Question {
            context: Default::default(),
            nodes: Default::default(),
            containers: containers.collect(),
            caller: caller(port),
            purpose: Default::default(),
        }
    }

    #[test]
    fn one_past_the_places_of_all_has_none() {
        let places = Places::new(6, CONFIG);
        let take = |n: u16| places.take(&question(n, &[&format!("r{n}.io/app")]));
        let _taken: Vec<_> = (0..6).map(|n| take(n).ok().unwrap()).collect();
        assert_eq!(take(6).err().unwrap(), (Shared::Service, 6));
    }

    #[test]
    fn t112_a_registry_leaves_room_for_others() {
        let places = Places::new(6, CONFIG);
        let take = |n: u16, images: &[&str]| places.take(&question(n, images));
        let _taken: Vec<_> =
            (0..3).map(|n| take(n, &["a.io/app", "a.io/b"]).ok().unwrap()).collect();
        let full = (Shared::Registry("a.io".to_owned()), 3);
        assert_eq!(take(3, &["b.io/app", "a.io/app"]).err().unwrap(), full);
        assert!(take(3, &["b.io/app"]).is_ok());
    }

    #[test]
    fn t082_a_caller_leaves_room_for_others() {
        let places = Places::new(6, CONFIG);
        let take = |port: u16, n: u16| places.take(&question(port, &[&format!("r{n}.io/app")]));
        let mut taken: Vec<_> = (0..4).map(|n| take(1, n).ok().unwrap()).collect();
        assert_eq!(take(1, 5).err().unwrap(), (Shared::Caller, 4));
        assert!(take(2, 5).is_ok());
        taken.pop();
        assert!(take(1, 5).is_ok());
    }

    #[test]
    fn who_waits_for_nothing_is_not_remembered() {
        let places = Places::new(6, CONFIG);
        let one = places.take(&question(1, &["a.io/app", "b.io/app"])).ok().unwrap();
        let other = places.take(&question(1, &["a.io/app"])).ok().unwrap();
        drop(one);
        assert_eq!(places.taken.lock().by_registry.len(), 1);
        drop(other);
        let taken = places.taken.lock();
        assert_eq!((taken.all, taken.by_caller.len(), taken.by_registry.len()), (0, 0, 0));
    }
}
