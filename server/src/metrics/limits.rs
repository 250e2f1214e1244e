//! Connections, and what was kept in bounds.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    listener: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What may be lost in a panic: one of many, or what goes on for as long as the service.
const PANICS: [&str; 17] = [
    "call",
    "certificates",
    "check",
    "clock",
    "clusters",
    "connection",
    "dictionary",
    "event_file",
    "marks",
    "question",
    "record",
    "registry_events",
    "rules",
    "search",
    "store",
    "sweep",
    "watch",
];

/// The metrics of limits.
pub(super) struct LimitMetrics {
    connections: Family<ListenerLabel, Gauge>,
    refused: Family<RefusedLabels, Counter>,
    ended: Family<RefusedLabels, Counter>,
    searches_shed: Family<OutcomeLabel, Counter>,
    panics: Family<WhatLabel, Counter>,
}

impl LimitMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self {
            connections: Family::default(),
            refused: Family::default(),
            ended: Family::default(),
            searches_shed: Family::default(),
            panics: Family::default(),
        };
        // There from the start, so that the first one is an increase.
        for what in PANICS {
            drop(metrics.panics.get_or_create(&WhatLabel { what }));
        }
        for outcome in ["expired_in_queue", "crowded_out"] {
            drop(metrics.searches_shed.get_or_create(&OutcomeLabel { outcome }));
        }
        r.register("connections", "Connections by listener", metrics.connections.clone());
        r.register(
            "connections_refused",
            "Connections that were not served, by listener and reason",
            metrics.refused.clone(),
        );
        r.register(
            "connections_ended",
            "Connections that ended, by listener and how",
            metrics.ended.clone(),
        );
        r.register(
            "searches_shed",
            "Searches that did not get their turn, by reason",
            metrics.searches_shed.clone(),
        );
        r.register("panics", "Faults of ours that were caught", metrics.panics.clone());
        metrics
    }
}

impl Metrics {
    pub(crate) fn connections(&self, listener: &'static str, change: i64) {
        self.limits.connections.get_or_create(&ListenerLabel { listener }).inc_by(change);
    }

    pub(crate) fn connection_refused(&self, listener: &'static str, reason: &'static str) {
        self.limits.refused.get_or_create(&RefusedLabels { listener, reason }).inc();
    }

    pub(crate) fn connection_ended(&self, listener: &'static str, reason: &'static str) {
        self.limits.ended.get_or_create(&RefusedLabels { listener, reason }).inc();
    }

    pub(crate) fn panicked(&self, what: &'static str) {
        self.limits.panics.get_or_create(&WhatLabel { what }).inc();
    }

    pub(crate) fn search_shed(&self, outcome: &'static str) {
        self.limits.searches_shed.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
