//! What is kept of a question in, whether it may be used out.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use portcullis_core::evidence::Source;
use time::OffsetDateTime;

use super::MemoryConfig;
use super::plan::{Plan, stale_until};
use crate::clock::{Now, Stamp};
use crate::evidence::Known;

/// What clocks may differ by without being set.
const SLACK: Duration = Duration::from_secs(1);

/// What is kept under a key.
pub(super) struct Entry {
    pub(super) plan: Plan,
    /// When what is known is no longer fresh, and when it is due, as the plan says.
    limits: (Stamp, Stamp),
    /// Whether somebody asks about it again in the background.
    is_asking: AtomicBool,
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
    pub(super) fn look(&self, now: Now, config: &MemoryConfig) -> Look {
        let (Plan { known, failures, .. }, (fresh_until, _)) = (&self.plan, self.limits);
        let source = |source| Known { source, ..known.clone() };
        let known = if now.stamp < fresh_until {
            source(if known.source == Source::Stale { Source::Stale } else { Source::Memory })
        } else if *failures > 0 && stale_until(config, known).is_some_and(|until| now.at < until) {
            source(Source::Stale)
        } else {
            return Look::Expired;
        };
        if self.used_at.load(Ordering::Relaxed) != now.seconds {
            self.used_at.store(now.seconds, Ordering::Relaxed);
        }
        if !self.is_due(now.stamp, config) || self.is_asking.swap(true, Ordering::Relaxed) {
            return Look::Fresh(known);
        }
        Look::Due(known)
    }

    /// Whether it has to be asked about again, beside use. It has, too, if more than a lifetime is left of it: then it
    /// was found out before the clock was set back (T154); after a failure, if more than the longest pause is left.
    pub(super) fn is_due(&self, now: Stamp, config: &MemoryConfig) -> bool {
        let (fresh_until, due) = self.limits;
        let (end, most) = if self.plan.failures > 0 {
            (due, config.failure_ttl.max(config.max_failure_ttl))
        } else {
            (fresh_until, config.ttl.max(config.negative_ttl))
        };
        now >= due || end.since(now) > most + SLACK
    }

    /// Whoever asked about it again has no result.
    pub(super) fn lost(&self) {
        self.is_asking.store(false, Ordering::Relaxed);
    }

    /// What counts from now on; what it replaces was used last at `used_at`, in Unix seconds.
    pub(super) fn new(plan: Plan, used_at: i64) -> Self {
        Self {
            limits: limits(&plan),
            plan,
            is_asking: AtomicBool::new(false),
            used_at: AtomicI64::new(used_at),
        }
    }

    /// What is known is no longer fresh at `now`, nor was it since it was found out.
    pub(super) fn expire(&mut self, now: OffsetDateTime) {
        let past = self.plan.known.fetched_at.min(now);
        self.plan.known.fresh_until = past;
        (self.plan.due, self.plan.failures) = (past, 0);
        self.limits = limits(&self.plan);
    }

    /// When it was used last, in Unix seconds.
    pub(super) fn used_at(&self) -> i64 {
        self.used_at.load(Ordering::Relaxed)
    }
}

fn limits(plan: &Plan) -> (Stamp, Stamp) {
    (Stamp::of(plan.known.fresh_until), Stamp::of(plan.due))
}
