//! What is kept of a question in, whether it may be used out.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use portcullis_core::evidence::Source;
use time::OffsetDateTime;

use super::MemoryConfig;
use super::plan::{Plan, stale_until};
use crate::evidence::Known;

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
}
