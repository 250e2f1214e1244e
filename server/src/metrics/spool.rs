//! The record of decisions under the data directory.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use time::OffsetDateTime;

use super::Metrics;

pub(super) struct SpoolMetrics {
    written: Counter,
    failed: Counter,
    expired: Counter,
    bytes: Gauge<i64, AtomicI64>,
    oldest: Gauge<f64, AtomicU64>,
}

impl SpoolMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self {
            written: Counter::default(),
            failed: Counter::default(),
            expired: Counter::default(),
            bytes: Gauge::default(),
            oldest: Gauge::default(),
        };
        r.register(
            "events_written",
            "Events that are on disk in the record under the data directory",
            metrics.written.clone(),
        );
        r.register(
            "events_failures",
            "Times that the record under the data directory could not be written or kept on disk",
            metrics.failed.clone(),
        );
        r.register(
            "events_segments_expired",
            "Segments of the record that were taken away because they were too old or too much",
            metrics.expired.clone(),
        );
        r.register_with_unit(
            "events_kept",
            "Size of the record under the data directory",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        r.register_with_unit(
            "events_oldest_timestamp",
            "When the oldest segment of the record was begun, or 0 where there is none",
            Unit::Seconds,
            metrics.oldest.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn events_written(&self, count: u64) {
        self.spool.written.inc_by(count);
    }

    /// So many that were taken cannot be written.
    pub(crate) fn events_lost(&self, count: u64) {
        (0..count).for_each(|_| self.event_dropped());
    }

    pub(crate) fn spool_failed(&self) {
        self.spool.failed.inc();
    }

    /// How large the record is, when its oldest segment was begun, and how many segments are gone now.
    pub(crate) fn spool_kept(&self, bytes: u64, oldest: Option<OffsetDateTime>, gone: usize) {
        self.spool.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.spool.oldest.set(oldest.map_or(0.0, |oldest| oldest.unix_timestamp() as f64));
        self.spool.expired.inc_by(gone as u64);
    }
}
