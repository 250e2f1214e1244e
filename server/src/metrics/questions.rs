//! Questions at a time, and those that were turned away.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    what: &'static str,
    outcome: &'static str,
}

pub(super) struct QuestionMetrics {
    no_answers: Family<OutcomeLabels, Counter>,
    in_flight: Gauge,
}

impl QuestionMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self { no_answers: Family::default(), in_flight: Gauge::default() };
        // There from the start, so that the first one is an increase.
        for outcome in
            ["overloaded", "overloaded_caller", "overloaded_registry", "expired_in_queue"]
        {
            drop(metrics.no_answers.get_or_create(&OutcomeLabels { what: "check", outcome }));
        }
        r.register(
            "no_answers",
            "Questions without an answer by reason",
            metrics.no_answers.clone(),
        );
        r.register("checks_in_flight", "Questions being answered", metrics.in_flight.clone());
        metrics
    }
}

impl Metrics {
    pub(crate) fn no_answer(&self, outcome: &'static str) {
        self.questions.no_answers.get_or_create(&OutcomeLabels { what: "check", outcome }).inc();
    }

    pub(crate) fn in_flight(&self, change: i64) {
        self.questions.in_flight.inc_by(change);
    }
}
