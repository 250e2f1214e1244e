//! Durations in, a histogram out: as cheap as a counter for who observes, whatever else does so too.
//!
//! `prometheus-client`'s own histogram takes a lock for each observation, and a second one where
//! there are exemplars, so that threads wait for each other at every answer. Here each thread has
//! cells of its own, and only an answer that is traced (one of many) touches what is shared.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_telemetry::spans::TraceId;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use time::OffsetDateTime;

use super::shards::Shards;

/// Bounds, the sum among them, of one histogram at the most.
const CELLS: usize = 32;

/// One recent observation, by which its trace is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exemplar {
    pub(super) trace: TraceId,
    pub(super) value: f64,
    pub(super) at: OffsetDateTime,
}

/// A histogram of durations, in seconds.
#[derive(Debug, Clone)]
pub(super) struct Durations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper bounds in seconds, rising, without infinity.
    bounds: &'static [f64],
    /// The same in nanoseconds.
    limits: Box<[u64]>,
    ticks: Ticks,
    shards: Shards<Cells>,
    exemplars: Mutex<[Option<Exemplar>; CELLS]>,
}

#[derive(Debug)]
struct Cells {
    sum: AtomicU64,
    counts: [AtomicU64; CELLS],
}

/// How finely durations are added up. The sum is a `u64`: of nanoseconds it is enough for a hundred
/// thousand answers of a millisecond each second for five years, of milliseconds for as many answers
/// from evidence of an hour's age.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ticks {
    Nanoseconds,
    Milliseconds,
}

impl Ticks {
    fn of(self, duration: Duration) -> u64 {
        let ticks = match self {
            Self::Nanoseconds => duration.as_nanos(),
            Self::Milliseconds => duration.as_millis(),
        };
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    #[expect(clippy::cast_precision_loss, reason = "a sum of durations is an estimate")]
    fn seconds(self, ticks: u64) -> f64 {
        match self {
            Self::Nanoseconds => ticks as f64 / 1e9,
            Self::Milliseconds => ticks as f64 / 1e3,
        }
    }
}

impl Durations {
    /// Nothing observed yet. `bounds` are upper bounds in seconds, rising; of more than 31, those
    /// after are one.
    pub(super) fn new(bounds: &'static [f64], ticks: Ticks) -> Self {
        let bounds = bounds.get(..CELLS - 1).unwrap_or(bounds);
        let cells =
            || Cells { sum: AtomicU64::new(0), counts: std::array::from_fn(|_| AtomicU64::new(0)) };
        let (shards, exemplars) = (Shards::new(cells), Mutex::new([None; CELLS]));
        let limits = bounds.iter().map(|bound| nanoseconds(*bound)).collect();
        Self(Arc::new(Inner { bounds, limits, ticks, shards, exemplars }))
    }

    /// Counts one duration.
    pub(super) fn observe(&self, duration: Duration) {
        self.count(self.bucket(duration), duration);
    }

    /// Counts one duration, and remembers by which trace it can be looked at.
    pub(super) fn observe_traced(&self, duration: Duration, trace: TraceId, at: OffsetDateTime) {
        let bucket = self.bucket(duration);
        self.count(bucket, duration);
        // Who finds it locked leaves it: another exemplar is as good.
        if let Some(mut exemplars) = self.0.exemplars.try_lock()
            && let Some(exemplar) = exemplars.get_mut(bucket)
        {
            *exemplar = Some(Exemplar { trace, value: duration.as_secs_f64(), at });
        }
    }

    /// The exemplar of each bucket that has one, by its number from below.
    pub(super) fn exemplars(&self) -> Vec<Option<Exemplar>> {
        self.0.exemplars.lock().to_vec()
    }

    fn bucket(&self, duration: Duration) -> usize {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.limits.partition_point(|limit| *limit < nanoseconds)
    }

    fn count(&self, bucket: usize, duration: Duration) {
        let cells = self.0.shards.mine();
        if let Some(count) = cells.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        cells.sum.fetch_add(self.0.ticks.of(duration), Ordering::Relaxed);
    }

    /// Sum, count, and how many in each bucket, of infinity too.
    fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let Inner { bounds, ticks, shards, .. } = &*self.0;
        let sum = shards.all().map(|c| c.sum.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        let bounds = bounds.iter().copied().chain(std::iter::once(f64::INFINITY));
        let buckets: Vec<_> = bounds
            .enumerate()
            .map(|(bucket, bound)| {
                let counts = shards.all().filter_map(|cells| cells.counts.get(bucket));
                (bound, counts.map(|count| count.load(Ordering::Relaxed)).sum())
            })
            .collect();
        // Not counted apart, so that the buckets add up to it whatever is observed meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        (ticks.seconds(sum), count, buckets)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bound is a whole number of nanoseconds within a few weeks"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let (sum, count, buckets) = self.read();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[f64] = &[0.001, 0.01];

    fn micros(duration: u64) -> Duration {
        Duration::from_micros(duration)
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let durations = Durations::new(BOUNDS, Ticks::Nanoseconds);
        for duration in [0, 1_000, 1_001, 10_000, 10_001] {
            durations.observe(micros(duration));
        }
        let (sum, count, buckets) = durations.read();
        assert_eq!(buckets, [(0.001, 2), (0.01, 2), (f64::INFINITY, 1)]);
        assert_eq!((sum, count), (0.022_002, 5));
    }

    #[test]
    fn only_a_traced_one_leaves_an_exemplar() {
        let durations = Durations::new(BOUNDS, Ticks::Nanoseconds);
        durations.observe(micros(5));
        durations.observe_traced(micros(2_000), TraceId::from(7), OffsetDateTime::UNIX_EPOCH);
        let exemplar =
            Exemplar { trace: TraceId::from(7), value: 0.002, at: OffsetDateTime::UNIX_EPOCH };
        assert_eq!(durations.exemplars()[..3], [None, Some(exemplar), None]);
        assert_eq!(durations.read().1, 2);
    }

    #[test]
    fn more_bounds_than_there_is_room_for_are_one() {
        const MANY: &[f64] = &[1.0; CELLS + 1];
        let durations = Durations::new(MANY, Ticks::Milliseconds);
        durations.observe(Duration::from_secs(2));
        assert_eq!(durations.read().2.len(), CELLS);
        assert_eq!(durations.read().1, 1);
    }
}
