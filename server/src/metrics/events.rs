//! The record of decisions.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::Metrics;

pub(super) struct EventMetrics {
    dropped: Counter,
}

impl EventMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self { dropped: Counter::default() };
        r.register(
            "events_dropped",
            "Events that were lost because the sink was slow or failed",
            metrics.dropped.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn event_dropped(&self) {
        self.events.dropped.inc();
    }
}
