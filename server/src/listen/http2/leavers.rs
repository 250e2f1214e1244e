//! Streams that were left before they were answered in, whether a client leaves more than may be out.
//!
//! To open a stream and reset it at once costs a client nearly nothing, and the bound of streams does not hold
//! it up (rapid reset, CVE-2023-44487). But callers whose time is up reset their streams too, all together where a
//! replica stood still for a while: then its client, which is not at fault, must keep its connection.

use std::time::Duration;

use tokio::time::Instant;

use super::Broken;
use crate::listen::MAX_STREAMS;

/// How many streams a client may leave at once, and again each second: as many as it has where a replica stood
/// still for eight times as long as its callers wait. Whoever floods leaves some 100,000 a second.
pub(super) const MAX_LEAVERS: u32 = 8 * MAX_STREAMS;

/// Those of one connection.
pub(super) struct Leavers {
    count: u32,
    /// Until when those who left before were taken off.
    at: Instant,
    /// Whether there were too many at some time.
    is_flood: bool,
}

impl Leavers {
    pub(super) fn new(now: Instant) -> Self {
        Self { count: 0, at: now, is_flood: false }
    }

    /// Counts one more, and gives whether that is still no flood.
    pub(super) fn bear(&mut self, now: Instant) -> bool {
        let each = Duration::from_secs(1) / MAX_LEAVERS;
        let forgotten = now.saturating_duration_since(self.at).as_nanos() / each.as_nanos();
        if forgotten >= self.count.into() {
            (self.count, self.at) = (0, now);
        } else if let Ok(forgotten) = u32::try_from(forgotten) {
            self.count -= forgotten;
            self.at += each * forgotten;
        }
        self.is_flood |= self.count >= MAX_LEAVERS;
        self.count += 1;
        !self.is_flood
    }

    /// How a connection ends that has no more streams.
    pub(super) const fn end(&self) -> Result<(), Broken> {
        if self.is_flood { Err(Broken::Flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_past_those_who_may_leave_at_once_is_a_flood() {
        let now = Instant::now();
        let half = now + Duration::from_millis(500);
        let later = half + Duration::from_secs(60);
        for ends in [now, half, later] {
            let mut leavers = Leavers::new(now);
            // Some are forgotten as time goes by.
            for (at, count) in [(now, MAX_LEAVERS), (half, MAX_LEAVERS / 2), (later, MAX_LEAVERS)] {
                assert!((0..count).all(|_| leavers.bear(at)));
                if at == ends {
                    break;
                }
            }
            assert!(leavers.end().is_ok());
            assert!(!leavers.bear(ends));
            // Whoever floods is not forgotten.
            assert!(!leavers.bear(later));
            assert!(leavers.end().is_err());
        }
    }

    #[test]
    fn who_leaves_as_many_as_are_forgotten_may_go_on() {
        let each = Duration::from_secs(1) / MAX_LEAVERS;
        let mut now = Instant::now();
        let mut leavers = Leavers::new(now);
        for _ in 0..10 * MAX_LEAVERS {
            now += each;
            assert!(leavers.bear(now));
        }
        // A little faster, and it is a flood at some time.
        let quicker = each.mul_f64(0.9);
        assert!(!(0..20 * MAX_LEAVERS).all(|_| {
            now += quicker;
            leavers.bear(now)
        }));
    }
}
