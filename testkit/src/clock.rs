//! A clock that stands still until it is set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use portcullis_core::ports::Clock;
use time::OffsetDateTime;

/// A clock that tests set. It keeps whole milliseconds; what is finer is cut off.
#[derive(Debug)]
pub struct TestClock {
    milliseconds: AtomicI64,
}

impl TestClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        Self { milliseconds: AtomicI64::new(milliseconds(now)) }
    }

    /// Sets the clock, forwards or back.
    pub fn set(&self, now: OffsetDateTime) {
        self.milliseconds.store(milliseconds(now), Ordering::SeqCst);
    }

    /// Moves the clock forwards.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        // The closure always gives a value, so there is no error to look at.
        let _ = self
            .milliseconds
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(by)));
    }
}

impl Clock for TestClock {
    /// The time that was set; the Unix epoch if it was moved past the year 9999.
    fn now(&self) -> OffsetDateTime {
        let milliseconds = self.milliseconds.load(Ordering::SeqCst);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    // Every `OffsetDateTime` is within the years ±9999, and thus within an i64 of milliseconds.
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_clock_stands_until_it_is_moved() {
        let clock = TestClock::new(datetime!(2026-08-01 12:00 UTC));
        assert_eq!(clock.now(), datetime!(2026-08-01 12:00 UTC));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.now(), datetime!(2026-08-01 12:00:01.5 UTC));
        clock.set(datetime!(1969-12-31 23:59:59.999 UTC));
        assert_eq!(clock.now(), datetime!(1969-12-31 23:59:59.999 UTC));
    }

    #[test]
    fn a_clock_moved_past_all_years_does_not_panic() {
        let clock = TestClock::new(datetime!(9999-12-31 23:59:59 UTC));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), OffsetDateTime::UNIX_EPOCH);
    }
}
