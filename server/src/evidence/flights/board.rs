//! Who asks and who has found out in, who begins, who follows and whose result counts out.
//!
//! This is the kernel of [`super::Flights`]: it holds no lock and waits for nothing, so that a model
//! checker can run every order of its steps. What is kept is read and written by the closures that it
//! is given, and thus under the lock that it is under itself: whoever finds nothing kept and no flight
//! is the only one to begin, and a flight that was superseded never keeps its result.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// What will do for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// What is kept, or whatever is being found out.
    Plainly,
    /// Only what begins to be found out from now on.
    Anew,
}

/// All flights under way. `S` gives a result to those who wait with a `W`.
pub(crate) struct Board<K, S, W> {
    flights: HashMap<K, Flight<S, W>, RandomState>,
    last: u64,
}

struct Flight<S, W> {
    number: u64,
    waiters: W,
    asked: Asked,
    is_superseded: bool,
    /// The flight that begins when this one has landed.
    next: Option<(S, W)>,
}

/// What whoever asks is to do.
pub(crate) enum Place<V, S, W> {
    /// Nothing: it is known.
    Kept(V),
    /// Wait.
    Follow(W),
    /// Find out, by this number, and wait like all others.
    Lead(u64, S, W),
}

/// What whoever has found out is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Landing<S> {
    /// Nothing more: the result counts.
    Landed,
    /// Nothing more: something newer counts, or will.
    Superseded,
    /// Find out once more, by this number: somebody asked anew meanwhile.
    Again(u64, S),
}

impl<K: Eq + Hash + Clone, S, W: Clone> Board<K, S, W> {
    /// No flight is under way.
    pub(crate) fn new() -> Self {
        Self { flights: HashMap::with_hasher(RandomState::default()), last: 0 }
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    /// Tells somebody what to do. `kept` looks once more whether it is known, and `open` makes a way to
    /// wait.
    pub(crate) fn join<V>(
        &mut self,
        key: &K,
        asked: Asked,
        kept: impl FnOnce() -> Option<V>,
        open: impl FnOnce() -> (S, W),
    ) -> Place<V, S, W> {
        if let Some(flight) = self.flights.get_mut(key) {
            let will_do = asked == Asked::Plainly && !flight.is_superseded;
            if will_do {
                return Place::Follow(flight.waiters.clone());
            }
            if let Some((_, waiters)) = &flight.next {
                return Place::Follow(waiters.clone());
            }
            // One that was itself begun anew lands first, so that a storm of those who ask anew cannot
            // keep every result from counting. Any other is overtaken.
            if flight.asked == Asked::Anew && !flight.is_superseded {
                let (sender, waiters) = open();
                flight.next = Some((sender, waiters.clone()));
                return Place::Follow(waiters);
            }
        } else if asked == Asked::Plainly
            && let Some(value) = kept()
        {
            return Place::Kept(value);
        }
        let (sender, waiters) = open();
        self.last += 1;
        let (number, next) = (self.last, None);
        let flight = Flight { number, waiters: waiters.clone(), asked, is_superseded: false, next };
        self.flights.insert(key.clone(), flight);
        Place::Lead(number, sender, waiters)
    }

    /// Ends the flight of this number. `keep` is called if its result counts.
    pub(crate) fn land(&mut self, key: &K, number: u64, keep: impl FnOnce()) -> Landing<S> {
        let Some(flight) = self.flights.get_mut(key).filter(|flight| flight.number == number)
        else {
            return Landing::Superseded;
        };
        let is_superseded = flight.is_superseded;
        if !is_superseded {
            keep();
        }
        if let Some((sender, waiters)) = flight.next.take() {
            self.last += 1;
            *flight = Flight {
                number: self.last,
                waiters,
                asked: Asked::Anew,
                is_superseded: false,
                next: None,
            };
            return Landing::Again(self.last, sender);
        }
        self.flights.remove(key);
        if is_superseded { Landing::Superseded } else { Landing::Landed }
    }

    /// Forgets the flight of this number, which will never land. `tell` is called if it had not.
    pub(crate) fn lost(&mut self, key: &K, number: u64, tell: impl FnOnce()) {
        if self.flights.get(key).is_some_and(|flight| flight.number == number) {
            self.flights.remove(key);
            tell();
        }
    }

    /// Supersedes the flights that `are` meant: those who wait are answered, and nothing is kept.
    pub(crate) fn supersede(&mut self, are: impl Fn(&K) -> bool) {
        for (_, flight) in self.flights.iter_mut().filter(|(key, _)| are(key)) {
            flight.is_superseded = true;
        }
    }
}

#[cfg(test)]
mod tests;
