//! A request in, its turn out: an origin is asked neither more often nor by more at once than its
//! budget allows.
//!
//! The rate is that of a token bucket, kept as the one time at which it will be full again (the
//! generic cell rate algorithm). A turn is told at once, so whoever could not wait for it does not
//! wait at all, and takes nothing from those who can.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

/// The most origins whose budget is remembered.
const MAX_LANES: u64 = 10_000;
/// For how long one that is not asked is remembered. By then its bucket is full, or nearly.
const IDLE: Duration = Duration::from_mins(10);

/// How much one registry is asked at the most, with one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Requests per second, in the long run.
    pub requests_per_second: NonZeroU32,
    /// Requests that may be made at once after a time without any.
    pub burst: NonZeroU32,
    /// Requests under way at a time, until their answers are read.
    pub concurrent: NonZeroU32,
}

impl Default for Budget {
    fn default() -> Self {
        // A cold image takes about ten requests: thirty images at once, and ten more each second.
        let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self { requests_per_second: number(100), burst: number(300), concurrent: number(64) }
    }
}

/// The budgets that are being spent, by whose credential is sent where.
pub(super) struct Budgets {
    lanes: Cache<String, Arc<Lane>>,
}

struct Lane {
    /// When the bucket will be full again.
    full_at: Mutex<Instant>,
    room: Arc<Semaphore>,
}

/// The right to one request. It goes with the answer, and ends when that is read or dropped.
#[derive(Clone)]
pub(super) struct Turn {
    _room: Arc<OwnedSemaphorePermit>,
    /// How long it was waited for.
    pub(super) waited: Duration,
}

/// The budget is spent until after the deadline.
#[derive(Debug)]
pub(super) struct Spent;

impl Budgets {
    pub(super) fn new() -> Self {
        Self { lanes: Cache::builder().max_capacity(MAX_LANES).time_to_idle(IDLE).build() }
    }

    /// Waits for a turn in `lane`.
    pub(super) async fn turn(
        &self,
        lane: &str,
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Turn, Spent> {
        let begun = Instant::now();
        let lane = self.lanes.entry_by_ref(lane).or_insert_with(Lane::new(budget)).await;
        let lane = lane.into_value();
        let at = lane.reserve(budget, deadline).ok_or(Spent)?;
        if at > begun {
            sleep_until(at).await;
        }
        match timeout_at(deadline, Arc::clone(&lane.room).acquire_owned()).await {
            Ok(Ok(room)) => Ok(Turn { _room: Arc::new(room), waited: begun.elapsed() }),
            Ok(Err(_)) | Err(_) => Err(Spent),
        }
    }
}

impl Lane {
    async fn new(budget: &Budget) -> Arc<Self> {
        let room = usize::try_from(budget.concurrent.get()).unwrap_or(Semaphore::MAX_PERMITS);
        let full_at = Mutex::new(Instant::now());
        Arc::new(Self { full_at, room: Arc::new(Semaphore::new(room)) })
    }

    /// The time of the next turn, if it is not after `deadline`.
    fn reserve(&self, budget: &Budget, deadline: Instant) -> Option<Instant> {
        let each = Duration::from_secs(1) / budget.requests_per_second.get();
        let ahead = each * (budget.burst.get() - 1);
        let now = Instant::now();
        let mut full_at = self.full_at.lock();
        let at = full_at.checked_sub(ahead).map_or(now, |at| at.max(now));
        if at > deadline {
            return None;
        }
        *full_at = (*full_at).max(now) + each;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(requests_per_second: u32, burst: u32, concurrent: u32) -> Budget {
        let number = |n| NonZeroU32::new(n).unwrap();
        Budget {
            requests_per_second: number(requests_per_second),
            burst: number(burst),
            concurrent: number(concurrent),
        }
    }

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_past_the_burst_waits_its_turn_or_is_refused_at_once() {
        let (budgets, budget) = (Budgets::new(), budget(10, 3, 99));
        let turn = async |seconds| budgets.turn("a", &budget, after(seconds)).await;
        for _ in 0..3 {
            assert_eq!(turn(0).await.unwrap().waited, Duration::ZERO);
        }
        for _ in 0..10 {
            turn(1).await.unwrap();
        }
        assert!(turn(0).await.is_err());
        // Who was refused took nothing: the next turn is a tenth of a second away, as before.
        let waited = turn(1).await.unwrap().waited;
        assert!((99..=101).contains(&waited.as_millis()), "{waited:?}");
        assert!(budgets.turn("b", &budget, after(0)).await.is_ok());
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..3 {
            assert_eq!(turn(0).await.unwrap().waited, Duration::ZERO);
        }
        assert!(turn(0).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_under_way_than_have_room() {
        let (budgets, budget) = (Budgets::new(), budget(1000, 1000, 2));
        let turn = async |seconds| budgets.turn("a", &budget, after(seconds)).await;
        let first = turn(1).await.unwrap();
        let second = turn(1).await.unwrap();
        assert!(turn(1).await.is_err());
        assert!(budgets.turn("b", &budget, after(1)).await.is_ok());
        // It goes with each copy.
        let copy = first.clone();
        drop(first);
        assert!(turn(1).await.is_err());
        drop(copy);
        assert!(turn(1).await.is_ok());
        drop(second);
    }
}
