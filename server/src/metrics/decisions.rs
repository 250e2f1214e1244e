//! Decisions and how long they took.

use std::time::Duration;

use portcullis_core::decide::Action;
use portcullis_telemetry::spans::TraceId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use time::OffsetDateTime;

use super::Metrics;
use super::counts::Counts;
use super::durations::{Durations, Exemplar, Ticks};

/// From a hit to the largest budget.
const BOUNDS: &[f64] = &[
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

pub(super) struct DecisionMetrics {
    decisions: Counts<[(&'static str, &'static str); 1], 3>,
    advised: Counts<[(&'static str, &'static str); 1], 3>,
    exemptions_applied: Counter,
    break_glass: Family<OutcomeLabel, Counter>,
    bulk_decisions: Counts<[(&'static str, &'static str); 1], 3>,
    bulk_pending: Counter,
    check_duration: Durations,
}

impl DecisionMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let actions = [Action::Allow, Action::Audit, Action::Deny];
        let metrics = Self {
            decisions: Counts::new(actions.map(|action| [("action", action.as_str())])),
            advised: Counts::new(actions.map(|action| [("action", action.as_str())])),
            exemptions_applied: Counter::default(),
            break_glass: Family::default(),
            bulk_decisions: Counts::new(actions.map(|action| [("action", action.as_str())])),
            bulk_pending: Counter::default(),
            check_duration: Durations::new(BOUNDS, Ticks::Nanoseconds),
        };
        // There from the start, so that the first one is an increase.
        for outcome in ["used", "not_permitted", "not_recorded"] {
            drop(metrics.break_glass.get_or_create(&OutcomeLabel { outcome }));
        }
        r.register("decisions", "Decisions on containers by action", metrics.decisions.clone());
        r.register(
            "advised_decisions",
            "Decisions on containers that were asked for as advice, by action",
            metrics.advised.clone(),
        );
        r.register(
            "exemptions_applied",
            "Exemptions applied in decisions, each once for a container, rule and manifest",
            metrics.exemptions_applied.clone(),
        );
        r.register(
            "break_glass",
            "Denials of containers for which a justification was given, by outcome",
            metrics.break_glass.clone(),
        );
        r.register(
            "bulk_decisions",
            "What would be decided about images in questions about many, by action",
            metrics.bulk_decisions.clone(),
        );
        r.register(
            "bulk_pending",
            "Images in questions about many that were not known yet",
            metrics.bulk_pending.clone(),
        );
        r.register_with_unit(
            "check_duration",
            "Time from a question to its answer",
            Unit::Seconds,
            metrics.check_duration.clone(),
        );
        metrics
    }

    /// The histogram that has exemplars, as it is called in the text, and these.
    pub(super) fn exemplars(&self) -> (&'static str, Vec<Option<Exemplar>>) {
        ("portcullis_check_duration_seconds_bucket", self.check_duration.exemplars())
    }
}

const fn index(action: Action) -> usize {
    match action {
        Action::Allow => 0,
        Action::Audit => 1,
        Action::Deny => 2,
    }
}

impl Metrics {
    /// A decision was made.
    pub fn decision(&self, action: Action) {
        self.decisions.decisions.add(index(action), 1);
    }

    pub(crate) fn advised(&self, action: Action) {
        self.decisions.advised.add(index(action), 1);
    }

    pub(crate) fn bulk(&self, action: Action, count: usize) {
        self.decisions.bulk_decisions.add(index(action), count as u64);
    }

    pub(crate) fn bulk_pending(&self, count: usize) {
        self.decisions.bulk_pending.inc_by(count as u64);
    }

    pub(crate) fn exemptions_applied(&self, count: usize) {
        // Most have none, and need not touch what all threads share.
        if count > 0 {
            self.decisions.exemptions_applied.inc_by(count as u64);
        }
    }

    pub(crate) fn break_glass(&self, outcome: &'static str, count: usize) {
        self.decisions.break_glass.get_or_create(&OutcomeLabel { outcome }).inc_by(count as u64);
    }

    /// A question was answered; by `trace` it can be looked at, where it is kept.
    pub fn answered(&self, took: Duration, trace: Option<TraceId>, at: OffsetDateTime) {
        match trace {
            None => self.decisions.check_duration.observe(took),
            Some(trace) => self.decisions.check_duration.observe_traced(took, trace, at),
        }
    }
}
