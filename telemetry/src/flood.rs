//! A log line in, whether it is written out: no kind of line floods the log.
//!
//! What callers and registries do again and again would otherwise be said again and again: a line for
//! each denial, thousands a second, makes the log useless and the answers slow, for they wait for
//! standard error. Each place in the source that logs has a bucket of its own, so that one kind of
//! line never keeps another back. Events are the record of decisions; the log is for people.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

/// For how many seconds' worth of lines a quiet place in the source may log at once.
const BURST: u32 = 10;

/// Lines that were not written, by the whole process.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Lines that were not written because there were too many like them.
#[must_use]
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Bounds the lines of each place in the source. Places are as many as there are in the source.
#[derive(Clone)]
pub(crate) struct Flood {
    /// Between two lines of one place in the long run; zero for no bound.
    interval: Duration,
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

/// The bucket of one place in the source.
struct Place {
    /// When it will be full again.
    full_at: Instant,
    left_out: u64,
}

impl Flood {
    /// At most `per_second` lines a second of each place, in the long run; 0 for as many as come.
    pub(crate) fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        Self { interval, places: Arc::default() }
    }

    /// Whether this place may write a line now.
    fn lets(&self, place: Identifier, now: Instant) -> bool {
        if self.interval.is_zero() {
            return true;
        }
        let mut places = self.places.lock();
        let place = places.entry(place).or_insert(Place { full_at: now, left_out: 0 });
        // As a token bucket, of which only the time is kept at which it will be full.
        let full_at = place.full_at.max(now) + self.interval;
        if full_at > now + Duration::from_secs(u64::from(BURST)) {
            place.left_out += 1;
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        place.full_at = full_at;
        true
    }

    /// How many lines of this place were left out since one was written; from now on none.
    pub(crate) fn take_left_out(&self, place: &Identifier) -> u64 {
        if self.interval.is_zero() {
            return 0;
        }
        self.places.lock().get_mut(place).map_or(0, |place| std::mem::take(&mut place.left_out))
    }
}

impl<S: Subscriber> Filter<S> for Flood {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.lets(event.metadata().callsite(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Identifier {
        struct Here;
        impl tracing::Callsite for Here {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}

            fn metadata(&self) -> &Metadata<'_> {
                panic!("nobody asks")
            }
        }
        static HERE: Here = Here;
        Identifier(&HERE)
    }

    fn let_through(flood: &Flood, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| flood.lets(place(), now)).count()
    }

    #[test]
    fn a_place_may_log_so_many_lines_and_says_how_many_were_left_out() {
        let (flood, now) = (Flood::new(5), Instant::now());
        assert_eq!(let_through(&flood, 1000, now), 50);
        assert_eq!(flood.take_left_out(&place()), 950);
        assert_eq!(flood.take_left_out(&place()), 0);
        let later = now + Duration::from_secs(2);
        assert_eq!(let_through(&flood, 1000, later), 10);
        let much_later = now + Duration::from_secs(3600);
        assert_eq!(let_through(&flood, 1000, much_later), 50);
    }

    #[test]
    fn without_a_bound_all_are_written() {
        let (flood, now) = (Flood::new(0), Instant::now());
        assert_eq!(let_through(&flood, 1000, now), 1000);
        assert_eq!(flood.take_left_out(&place()), 0);
    }
}
