//! An evidence source in, the same out, without what is older than what was seen before.

use std::sync::Arc;

use portcullis_core::evidence::{Evidence, Reports};
use portcullis_core::ports::Clock;
use tokio::time::Instant;

use super::{Judgement, Key, Mark, SharedMarks};
use crate::evidence::select::not_taken_back;
use crate::evidence::{EvidenceSource, Known, Question};

/// An evidence source whose evidence only ever gets newer.
pub struct Marked<S> {
    inner: S,
    marks: SharedMarks,
    clock: Arc<dyn Clock>,
}

impl<S: EvidenceSource> Marked<S> {
    /// Compares what `inner` finds with `marks`, and raises them.
    #[must_use]
    pub fn new(inner: S, marks: SharedMarks, clock: Arc<dyn Clock>) -> Self {
        Self { inner, marks, clock }
    }

    async fn judged(&self, question: &Question, evidence: &Evidence) -> Option<Evidence> {
        let key =
            || Key::new(question.image.registry(), question.image.repository(), question.digest);
        let reports = match evidence {
            Evidence::Verified(reports) => reports,
            Evidence::Missing => {
                let mark = self.marks.of(&key()).await;
                return (!mark.is_empty()).then_some(Evidence::Withheld);
            }
            _ => return None,
        };
        let (key, trust, now) = (key(), question.trust.revision(), self.clock.now());
        let mark = self.marks.of(&key).await;
        let judgement = mark.judge(reports, trust, now);
        let floor = match judgement {
            Judgement::Current(floor) => floor,
            Judgement::Rollback(why) => {
                tracing::warn!(image = %question.image, digest = %question.digest,
                    detail = %why.detail, "a report is older than one that was seen");
                return Some(Evidence::Rejected(why));
            }
            Judgement::Withheld => {
                tracing::warn!(image = %question.image, digest = %question.digest,
                    "the report of a scanner was seen and is gone");
                return Some(Evidence::Withheld);
            }
        };
        // What was seen is kept before it counts for anything.
        let raised = mark.raised(&Mark::seen(reports, trust, now));
        if raised != mark {
            self.marks.raise(key, raised, now).await;
        }
        floor.map(|floor| {
            tracing::warn!(image = %question.image, digest = %question.digest,
                "a VEX document was seen and is gone: what was cleared before it is not");
            let vex = not_taken_back(reports.vex().to_vec(), &[Some(floor)]);
            let valid_until = reports.valid_until();
            Evidence::Verified(Reports::new(reports.to_vec(), vex).until(valid_until))
        })
    }
}

impl<S: EvidenceSource> EvidenceSource for Marked<S> {
    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        let found = self.inner.evidence(question, deadline).await;
        match self.judged(question, &found.evidence).await {
            Some(evidence) => Known { evidence: Arc::new(evidence), ..found },
            None => found,
        }
    }
}
