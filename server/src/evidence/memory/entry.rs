//! What is kept of a question in, whether it may be used out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use portcullis_core::evidence::Source;
use portcullis_core::image::{Digest, Reference};
use time::OffsetDateTime;

use super::MemoryConfig;
use super::plan::{Plan, stale_until};
use crate::evidence::{Key, Known};

/// What is kept under a key.
pub(super) struct Entry {
    pub(super) plan: Plan,
    /// Whether somebody asks about it again in the background.
    is_asking: AtomicBool,
    uses: AtomicU32,
    /// In Unix seconds.
    used_at: AtomicI64,
}

/// What a look at the memory shows.
pub(super) enum Look {
    /// It may be used.
    Fresh(Known),
    /// It may be used, and somebody has to ask about it again: whoever is told.
    Due(Known),
    /// It has to be asked about before it may be used.
    Expired,
}

impl Entry {
    pub(super) fn look(&self, now: OffsetDateTime, config: &MemoryConfig) -> Look {
        let Plan { known, due, failures, .. } = &self.plan;
        let source = |source| Known { source, ..known.clone() };
        let known = if now < known.fresh_until {
            source(if known.source == Source::Stale { Source::Stale } else { Source::Memory })
        } else if *failures > 0 && stale_until(config, known).is_some_and(|until| now < until) {
            source(Source::Stale)
        } else {
            return Look::Expired;
        };
        let seconds = now.unix_timestamp();
        if self.used_at.load(Ordering::Relaxed) != seconds {
            self.used_at.store(seconds, Ordering::Relaxed);
        }
        self.uses.fetch_add(1, Ordering::Relaxed);
        if now < *due || self.is_asking.swap(true, Ordering::Relaxed) {
            return Look::Fresh(known);
        }
        Look::Due(known)
    }
    /// What counts from now on; `used` is how often what it replaces was used, and when last.
    pub(super) const fn new(plan: Plan, (uses, used_at): (u32, i64)) -> Self {
        Self {
            plan,
            is_asking: AtomicBool::new(false),
            uses: AtomicU32::new(uses),
            used_at: AtomicI64::new(used_at),
        }
    }

    /// How often it was used, and when last.
    pub(super) fn used(&self) -> (u32, i64) {
        (self.uses.load(Ordering::Relaxed), self.used_at.load(Ordering::Relaxed))
    }

    /// When it was last used, to the second.
    pub(super) fn used_at(&self) -> OffsetDateTime {
        let seconds = self.used_at.load(Ordering::Relaxed);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(self.plan.known.fetched_at)
    }

    /// For whoever keeps it fresh.
    pub(super) fn shown(&self, key: &Key) -> Option<KeptEvidence> {
        let Plan { known, due, failures, .. } = &self.plan;
        // What was asked about can be named: its parts are those of a reference.
        let image: Reference = format!("{}@{}", key.name, key.digest).parse().ok()?;
        Some(KeptEvidence {
            image,
            digest: key.digest,
            access: Arc::clone(&key.access),
            trust: key.trust,
            fetched_at: known.fetched_at,
            due: *due,
            fresh_until: known.fresh_until,
            uses: self.used().0,
            used_at: self.used_at(),
            failures: *failures,
        })
    }
}

/// One piece of evidence that is kept, for whoever refreshes it before it goes stale.
#[derive(Debug, Clone)]
pub struct KeptEvidence {
    /// The image, by its digest.
    pub image: Reference,
    /// The manifest.
    pub digest: Digest,
    /// Whose credential the registry was asked with.
    pub access: Arc<str>,
    /// The revision of the trust by which it was judged.
    pub trust: Digest,
    /// When the registry last confirmed it.
    pub fetched_at: OffsetDateTime,
    /// From when on a use asks about it again in the background.
    pub due: OffsetDateTime,
    /// Until when it may be used without asking again.
    pub fresh_until: OffsetDateTime,
    /// How often it was used since it came to be kept.
    pub uses: u32,
    /// When it was last used, to the second.
    pub used_at: OffsetDateTime,
    /// How many searches in a row could not find out.
    pub failures: u32,
}
