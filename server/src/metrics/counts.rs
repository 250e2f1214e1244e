//! An index in, one more of it out: counters with labels whose values are all known beforehand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::shards::Shards;

/// `N` counters of one name, each with a label set of its own. They are there from the start, at
/// zero, and to count is to add one where only this thread does: no look-up, no lock.
#[derive(Debug)]
pub(super) struct Counts<L, const N: usize>(Arc<Inner<L, N>>);

#[derive(Debug)]
struct Inner<L, const N: usize> {
    labels: [L; N],
    shards: Shards<[AtomicU64; N]>,
}

impl<L, const N: usize> Counts<L, N> {
    /// A counter for each label set, at zero.
    pub(super) fn new(labels: [L; N]) -> Self {
        let shards = Shards::new(|| std::array::from_fn(|_| AtomicU64::new(0)));
        Self(Arc::new(Inner { labels, shards }))
    }

    /// Adds `count` to the counter of the label set at `index`. One that is not there is not
    /// counted; callers have it from an exhaustive `match`.
    pub(super) fn add(&self, index: usize, count: u64) {
        if let Some(counter) = self.0.shards.mine().get(index) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl<L, const N: usize> Clone for Counts<L, N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: EncodeLabelSet + fmt::Debug, const N: usize> EncodeMetric for Counts<L, N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (index, labels) in self.0.labels.iter().enumerate() {
            let counters = self.0.shards.all().filter_map(|shard| shard.get(index));
            let total: u64 = counters.map(|counter| counter.load(Ordering::Relaxed)).sum();
            encoder
                .encode_family(labels)?
                .encode_counter(&total, None::<&Exemplar<[(&str, &str); 0], u64>>)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
