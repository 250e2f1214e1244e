//! Answers that were given without the service.

use portcullis_core::decide::Action;
use portcullis_core::event::AnsweredBy;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Metrics;

type Labels = [(&'static str, &'static str); 2];

pub(super) struct ReportedMetrics {
    answers: Family<Labels, Counter>,
    again: Counter,
    dropped: Counter,
}

impl ReportedMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let (answers, again, dropped) = (Family::default(), Counter::default(), Counter::default());
        // There from the start, so that the first one is an increase.
        for by in AnsweredBy::ALL {
            for action in [Action::Allow, Action::Audit, Action::Deny] {
                drop(Family::<Labels, Counter>::get_or_create(&answers, &labels(by, action)));
            }
        }
        r.register(
            "reported_answers",
            "Answers about containers that were given without the service and reported to it",
            answers.clone(),
        );
        r.register(
            "reported_again",
            "Reports of such answers that were in the record already",
            again.clone(),
        );
        r.register(
            "reported_dropped",
            "Such answers that will not be reported, as those say who gave them",
            dropped.clone(),
        );
        Self { answers, again, dropped }
    }
}

fn labels(by: AnsweredBy, action: Action) -> Labels {
    [("by", by.as_str()), ("action", action.as_str())]
}

impl Metrics {
    pub(crate) fn reported(&self, by: AnsweredBy, action: Action) {
        self.reported.answers.get_or_create(&labels(by, action)).inc();
    }

    pub(crate) fn reported_again(&self) {
        self.reported.again.inc();
    }

    pub(crate) fn reports_dropped(&self, count: u64) {
        self.reported.dropped.inc_by(count);
    }
}
