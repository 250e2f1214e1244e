//! What was said to be old lately in, whether an answer is of before that out.
//!
//! A registry may be asked about something of which nothing is stored yet while it is said that it changed. Its answer
//! comes later, and may be of before. Nothing that is being asked outlives the process, and so this need not either.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::StoreKey;

/// The most keys that are remembered. With one more, every answer of before is in doubt.
pub(super) const MAX_LATELY: usize = 10_000;

/// The keys whose answers were said to be old, and when that was.
#[derive(Debug, Default)]
pub(super) struct Lately {
    said: HashMap<Box<[u8]>, OffsetDateTime>,
    /// Up to when everything is in doubt.
    all: Option<OffsetDateTime>,
}

impl Lately {
    /// What is kept under `key` was said to be old at `at`.
    pub(super) fn add(&mut self, key: &StoreKey, at: OffsetDateTime) {
        if self.said.len() >= MAX_LATELY && !self.said.contains_key(&key.0) {
            self.all = self.said.drain().map(|(_, at)| at).max().max(self.all);
        }
        let said = self.said.entry(key.0.clone()).or_insert(at);
        *said = at.max(*said);
    }

    /// When it was last said of `key`, or of what it may be.
    pub(super) fn last(&self, key: &StoreKey) -> Option<OffsetDateTime> {
        self.said.get(&key.0).copied().max(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> StoreKey {
        StoreKey(number.to_be_bytes().into())
    }

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)
    }

    #[test]
    fn one_past_the_bound_everything_of_before_is_in_doubt() {
        let mut lately = Lately::default();
        for number in 0..MAX_LATELY {
            lately.add(&key(number), at(5));
        }
        // One that is said again is none more, and a word that comes late takes nothing back.
        lately.add(&key(0), at(7));
        lately.add(&key(0), at(6));
        assert_eq!(lately.last(&key(0)), Some(at(7)));
        assert_eq!(lately.last(&key(MAX_LATELY)), None);
        lately.add(&key(MAX_LATELY), at(8));
        assert_eq!(lately.last(&key(MAX_LATELY)), Some(at(8)));
        assert_eq!(lately.last(&key(1)), Some(at(7)));
        assert_eq!(lately.said.len(), 1);
    }
}
