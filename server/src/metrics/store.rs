//! What had room in memory and on disk.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Default)]
pub(super) struct StoreMetrics {
    evidence_evicted: Counter,
    reads: Family<OutcomeLabel, Counter>,
    dropped: Counter,
    failed: Counter,
    evicted: Counter,
    entries: Gauge,
    bytes: Gauge,
}

impl StoreMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self::default();
        r.register(
            "evidence_evicted",
            "Digests that made room for others in memory",
            metrics.evidence_evicted.clone(),
        );
        r.register(
            "store_reads",
            "Times that the evidence store was looked into, by outcome",
            metrics.reads.clone(),
        );
        r.register(
            "store_dropped",
            "Changes that the evidence store could not take in time",
            metrics.dropped.clone(),
        );
        r.register(
            "store_failed",
            "Times that the evidence store could not be opened, read or written",
            metrics.failed.clone(),
        );
        r.register(
            "store_evicted",
            "Entries of the evidence store that made room for others",
            metrics.evicted.clone(),
        );
        r.register("store_entries", "Entries of the evidence store", metrics.entries.clone());
        r.register_with_unit(
            "store_kept",
            "Room that the entries of the evidence store take",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn evidence_evicted(&self, count: u64) {
        self.store.evidence_evicted.inc_by(count);
    }

    pub(crate) fn store_read(&self, outcome: &'static str) {
        self.store.reads.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn store_dropped(&self) {
        self.store.dropped.inc();
    }

    pub(crate) fn store_failed(&self) {
        self.store.failed.inc();
    }

    pub(crate) fn store_evicted(&self, count: u64) {
        self.store.evicted.inc_by(count);
    }

    pub(crate) fn store_kept(&self, entries: u64, bytes: u64) {
        self.store.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.store.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
