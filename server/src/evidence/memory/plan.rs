//! What is known and what was found in, what counts from now on and for how long out.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::evidence::{Evidence, Source};
use time::OffsetDateTime;

use super::MemoryConfig;
use crate::evidence::Known;

/// How much of a lifetime the spread takes off at the most, in percent: what came together does not
/// go together.
const HARD_SPREAD: u32 = 10;
/// The same of the time after which it is asked about again beside use.
const SOFT_SPREAD: u32 = 40;
/// The most that a pause after failures is shortened by, in percent.
const PAUSE_SPREAD: u32 = 25;
/// Over how long those are spread that a restart finds due.
pub(super) const DUE_SPREAD: Duration = Duration::from_secs(30);

/// What counts from now on, and what is to be done about it when.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) known: Known,
    /// From when on it is asked about again, beside use.
    pub(super) due: OffsetDateTime,
    /// How many searches in a row could not find out.
    pub(super) failures: u32,
}

/// A random number, of which parts are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roll(pub(super) u64);

impl Roll {
    /// A part of `percent` percent of `whole` at the most.
    fn part(self, whole: Duration, percent: u32) -> Duration {
        let most = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX) / 100 * u64::from(percent);
        // The upper bits say where between nothing and the whole: no modulo, no bias.
        let share = (u128::from(most) * u128::from(self.0)) >> 64;
        Duration::from_nanos(u64::try_from(share).unwrap_or(most))
    }

    /// Another one.
    const fn next(self) -> Self {
        // The step of SplitMix64.
        let mut z = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self(z ^ (z >> 31))
    }
}

/// Until when what was verified is, whatever the registry says.
pub(super) fn valid_until(evidence: &Evidence) -> Option<OffsetDateTime> {
    match evidence {
        Evidence::Verified(reports) => reports.valid_until(),
        _ => None,
    }
}

/// Until when `known` may be used while the registry cannot be asked; none where it may not be.
pub(super) fn stale_until(config: &MemoryConfig, known: &Known) -> Option<OffsetDateTime> {
    if !matches!(*known.evidence, Evidence::Verified(_) | Evidence::Withheld) {
        return None;
    }
    let until = known.fetched_at + config.stale_ttl;
    Some(valid_until(&known.evidence).map_or(until, |end| end.min(until)))
}

/// What counts after a search at `now`, before which this was known and so many searches had failed:
/// what was verified outlives a search that could not find out, and what was there and is gone is
/// withheld.
pub(super) fn plan(
    config: &MemoryConfig,
    before: Option<(&Known, u32)>,
    found: Known,
    now: OffsetDateTime,
    roll: Roll,
) -> Plan {
    let lifetime = match *found.evidence {
        Evidence::Verified(_) => config.ttl,
        Evidence::Unavailable(_) | Evidence::Unsupported => {
            return failed(config, before, found, now, roll);
        }
        Evidence::Missing | Evidence::Rejected(_) | Evidence::Stale { .. } | Evidence::Withheld => {
            config.negative_ttl
        }
    };
    let usable = before.filter(|(known, _)| stale_until(config, known).is_some_and(|at| now < at));
    let evidence = match (&*found.evidence, usable) {
        (Evidence::Missing, Some(_)) => Arc::new(Evidence::Withheld),
        _ => found.evidence,
    };
    let end = |at: OffsetDateTime| valid_until(&evidence).map_or(at, |end| end.min(at));
    let hard = lifetime - roll.part(lifetime, HARD_SPREAD.min(config.spread));
    let fresh_until = end(found.fetched_at + hard);
    let soft = lifetime * config.soft.min(100) / 100;
    let soft = soft - roll.next().part(soft, SOFT_SPREAD.min(config.spread));
    let mut due = (found.fetched_at + soft).min(fresh_until);
    if due < now {
        due = (now + roll.next().next().part(DUE_SPREAD, 100)).min(fresh_until);
    }
    Plan { known: Known { evidence, fresh_until, ..found }, due, failures: 0 }
}

/// The same after a search that could not find out.
fn failed(
    config: &MemoryConfig,
    before: Option<(&Known, u32)>,
    found: Known,
    now: OffsetDateTime,
    roll: Roll,
) -> Plan {
    let failures = before.map_or(0, |(_, failures)| failures).saturating_add(1);
    let pause = config.failure_ttl * 2_u32.saturating_pow(failures.min(16) - 1);
    let pause = pause.min(config.failure_ttl.max(config.max_failure_ttl));
    let pause = pause - roll.part(pause, PAUSE_SPREAD.min(config.spread));
    let due = now + pause;
    let is_unsupported = matches!(*found.evidence, Evidence::Unsupported);
    let usable = before.filter(|_| !is_unsupported).and_then(|(known, _)| {
        let until = stale_until(config, known)?;
        (now < until).then_some((known, until))
    });
    let known = match usable {
        // It is still as fresh as it was.
        Some((known, _)) if now < known.fresh_until && known.source != Source::Stale => {
            known.clone()
        }
        Some((known, until)) => {
            Known { source: Source::Stale, fresh_until: due.min(until), ..known.clone() }
        }
        None => Known { fresh_until: due, ..found },
    };
    Plan { known, due, failures }
}

#[cfg(test)]
mod tests;
