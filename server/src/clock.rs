//! The system's clock as core's port, and instants that are cheap to compare.

pub(crate) mod jumps;

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_core::ports::Clock;
use time::OffsetDateTime;

thread_local! {
    /// The second in which this thread last asked, by its number: all but its fraction is the same for
    /// many thousand questions.
    static SECOND: Cell<(u64, OffsetDateTime)> = const { Cell::new((0, OffsetDateTime::UNIX_EPOCH)) };
}

/// Says the system's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others are handed")]
    fn now(&self) -> OffsetDateTime {
        let Ok(since) = SystemTime::now().duration_since(UNIX_EPOCH) else {
            return OffsetDateTime::now_utc();
        };
        // A thread that ends asks without the help of what it remembers.
        let second =
            SECOND.try_with(Cell::get).ok().filter(|(number, _)| *number == since.as_secs());
        let second = second.map_or_else(|| begin(since.as_secs()), |(_, second)| second);
        second.replace_nanosecond(since.subsec_nanos()).unwrap_or(second)
    }
}

/// The instant at which a second begins, which is remembered.
fn begin(number: u64) -> OffsetDateTime {
    let second =
        i64::try_from(number).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    // The year 9999 is the last that has one.
    let second = second.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let _ = SECOND.try_with(|kept| kept.set((number, second)));
    second
}

/// An instant in nanoseconds since 1970. What is past 2262 is as late as that, and what is before 1677 as
/// early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(i64);

impl Stamp {
    /// The stamp of `at`.
    #[must_use]
    pub fn of(at: OffsetDateTime) -> Self {
        Self::from_parts(at.unix_timestamp(), at.nanosecond())
    }

    fn from_parts(seconds: i64, nanoseconds: u32) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into()))
    }

    /// How long after `earlier` it is; nothing where it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The time of one question: read once, and the same for all that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub at: OffsetDateTime,
    /// The same, for comparisons.
    pub stamp: Stamp,
    /// The same, in whole seconds since 1970.
    pub seconds: i64,
}

impl Now {
    /// The time that `clock` says.
    #[must_use]
    pub fn by(clock: &dyn Clock) -> Self {
        Self::from(clock.now())
    }
}

impl From<OffsetDateTime> for Now {
    fn from(at: OffsetDateTime) -> Self {
        let seconds = at.unix_timestamp();
        Self { at, stamp: Stamp::from_parts(seconds, at.nanosecond()), seconds }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_time_is_that_of_the_system() {
        for _ in 0..3 {
            let before = OffsetDateTime::now_utc();
            let now = SystemClock.now();
            assert!(before <= now && now <= OffsetDateTime::now_utc(), "{before} and then {now}");
        }
    }

    #[test]
    fn a_second_that_is_remembered_is_not_another() {
        let at = |number| begin(number).unix_timestamp();
        assert_eq!((at(5), at(6)), (5, 6));
        assert_eq!(SECOND.get().0, 6);
        // Whatever was remembered, the time is that of the system.
        SECOND.set((1, OffsetDateTime::UNIX_EPOCH));
        assert!((SystemClock.now() - OffsetDateTime::now_utc()).abs() < Duration::from_secs(1));
    }

    #[test]
    fn stamps_stand_in_the_order_of_their_instants() {
        let instants = [
            datetime!(1500-01-01 0:00 UTC),
            datetime!(1969-12-31 23:59:59.999_999_999 UTC),
            OffsetDateTime::UNIX_EPOCH,
            datetime!(2026-08-01 12:00:00.000_000_001 UTC),
            datetime!(2026-08-01 12:00:01 UTC),
            datetime!(9999-12-31 23:59:59.999_999_999 UTC),
        ];
        for pair in instants.map(Stamp::of).windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        let [.., one, other, _] = instants.map(Stamp::of);
        assert_eq!(other.since(one), Duration::from_nanos(999_999_999));
        assert_eq!(one.since(other), Duration::ZERO);
        // Another offset, the same instant.
        assert_eq!(Stamp::of(datetime!(2026-08-01 14:00:01 +2)), other);
    }
}
