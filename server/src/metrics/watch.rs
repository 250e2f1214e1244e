//! Who watches for changes.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

pub(super) struct WatchMetrics {
    watchers: Gauge,
    resyncs: Counter,
}

impl WatchMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self { watchers: Gauge::default(), resyncs: Counter::default() };
        r.register("watchers", "Callers of Watch", metrics.watchers.clone());
        r.register(
            "watch_resyncs",
            "Times that a watcher was told to drop everything",
            metrics.resyncs.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn watchers(&self, change: i64) {
        self.watch.watchers.inc_by(change);
    }

    pub(crate) fn watch_resync(&self) {
        self.watch.resyncs.inc();
    }
}
