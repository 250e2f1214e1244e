//! Images that changed in, whether what was stored of one is older than that out.
//!
//! What is in memory is marked in its place; what a store has is only found when it is asked for.

use std::collections::HashMap;

use portcullis_core::image::Digest;
use time::OffsetDateTime;

use super::{Key, Question};

/// The most images that are remembered. With one more, all that was stored until now is in doubt.
pub(super) const MAX_DOUBTS: usize = 10_000;

/// What was said to have changed, and when.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    images: HashMap<(Box<str>, Digest), OffsetDateTime>,
    /// Up to when everything is in doubt.
    all: Option<OffsetDateTime>,
}

impl Doubts {
    /// The image of `like` changed at `now` at the latest.
    pub(super) fn add(&mut self, like: &Key, now: OffsetDateTime) {
        if self.images.len() >= MAX_DOUBTS {
            self.images.clear();
            self.all = Some(now);
        }
        self.images.insert((like.name.clone(), like.digest), now);
    }

    /// Whether what was confirmed at `at` is older than the last change.
    pub(super) fn is_about(&self, question: &Question, at: OffsetDateTime) -> bool {
        let name = (question.image.name().into(), question.digest);
        let changed = self.images.get(&name).copied().max(self.all);
        changed.is_some_and(|changed| at <= changed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use portcullis_core::signature::Trust;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

    fn question(number: usize) -> Question {
        Question {
            image: "reg.io/team/app:v1".parse().unwrap(),
            digest: Digest::of(&number.to_be_bytes()),
            trust: Arc::new(Trust::nobody()),
            access: Arc::from(""),
        }
    }

    #[test]
    fn what_changed_after_it_was_stored_is_in_doubt_and_one_past_the_bound_everything_is() {
        let mut doubts = Doubts::default();
        let later = NOW + Duration::from_secs(1);
        for number in 0..MAX_DOUBTS {
            doubts.add(&question(number).key(), NOW);
        }
        assert!(doubts.is_about(&question(0), NOW));
        assert!(!doubts.is_about(&question(0), later));
        assert!(!doubts.is_about(&question(MAX_DOUBTS), NOW));
        doubts.add(&question(MAX_DOUBTS).key(), later);
        assert!(doubts.is_about(&question(MAX_DOUBTS + 1), NOW));
        assert!(doubts.is_about(&question(0), later));
        assert!(!doubts.is_about(&question(0), later + Duration::from_secs(1)));
    }
}
