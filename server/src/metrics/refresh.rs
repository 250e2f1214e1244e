//! What registries told, and what was looked at again.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
    outcome: &'static str,
}

pub(super) struct RefreshMetrics {
    registry_events: Family<SourceLabels, Counter>,
    waiting: Gauge,
    refreshes: Family<ReasonLabels, Counter>,
}

impl RefreshMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self {
            registry_events: Family::default(),
            waiting: Gauge::default(),
            refreshes: Family::default(),
        };
        r.register(
            "registry_events",
            "Events of registries by source and outcome",
            metrics.registry_events.clone(),
        );
        r.register(
            "registry_events_waiting",
            "Events of registries that wait to be acted upon",
            metrics.waiting.clone(),
        );
        r.register(
            "refreshes",
            "Manifests that were looked at again by reason and outcome",
            metrics.refreshes.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// `source` is the configured name of one, `outcome` one of few words.
    pub(crate) fn registry_events(&self, source: &str, outcome: &'static str, count: usize) {
        let labels = SourceLabels { source: source.to_owned(), outcome };
        self.refresh.registry_events.get_or_create(&labels).inc_by(count as u64);
    }

    pub(crate) fn registry_events_waiting(&self, count: usize) {
        self.refresh.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn refresh(&self, reason: &'static str, outcome: &'static str) {
        self.refresh.refreshes.get_or_create(&ReasonLabels { reason, outcome }).inc();
    }
}
