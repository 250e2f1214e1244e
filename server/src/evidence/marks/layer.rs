//! An evidence source in, the same out, without what is older than what was seen before.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::evidence::{Evidence, Reports};
use portcullis_core::ports::Clock;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

use super::{Judgement, Key, Mark, SharedMarks};
use crate::evidence::collect::Attached;
use crate::evidence::select::not_taken_back;
use crate::evidence::{EvidenceSource, Inspect, Known, Question};

/// How long is waited for a mark to be on disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// An evidence source whose evidence only ever gets newer.
pub struct Marked<S> {
    inner: S,
    marks: SharedMarks,
    clock: Arc<dyn Clock>,
}

impl<S> Marked<S> {
    /// Compares what `inner` finds with `marks`, and raises them.
    #[must_use]
    pub fn new(inner: S, marks: SharedMarks, clock: Arc<dyn Clock>) -> Self {
        Self { inner, marks, clock }
    }

    /// What becomes of `evidence` beside what was seen before, and what is seen by it.
    async fn judged(&self, question: &Question, evidence: &Evidence) -> Judged {
        let key =
            || Key::new(question.image.registry(), question.image.repository(), question.digest);
        let reports = match evidence {
            Evidence::Verified(reports) => reports,
            Evidence::Missing => {
                let mark = self.marks.of(&key()).await;
                return Judged::new((!mark.is_empty()).then_some(Evidence::Withheld));
            }
            _ => return Judged::new(None),
        };
        let (key, trust, now) = (key(), question.trust.revision(), self.clock.now());
        let mark = self.marks.of(&key).await;
        let judgement = mark.judge(reports, trust, now);
        let floor = match judgement {
            Judgement::Current(floor) => floor,
            Judgement::Rollback(why) => {
                tracing::warn!(image = %question.image, digest = %question.digest,
                    detail = %why.detail, "a report is older than one that was seen");
                return Judged::new(Some(Evidence::Rejected(why)));
            }
            Judgement::Withheld => {
                tracing::warn!(image = %question.image, digest = %question.digest,
                    "the report of a scanner was seen and is gone");
                return Judged::new(Some(Evidence::Withheld));
            }
        };
        let raised = mark.raised(&Mark::seen(reports, trust, now));
        let instead = floor.map(|floor| {
            tracing::warn!(image = %question.image, digest = %question.digest,
                "a VEX document was seen and is gone: what was cleared before it is not");
            let vex = not_taken_back(reports.vex().to_vec(), &[Some(floor)]);
            let valid_until = reports.valid_until();
            Evidence::Verified(Reports::new(reports.to_vec(), vex).until(valid_until))
        });
        Judged { instead, raise: (raised != mark).then_some((key, raised, now)) }
    }

    /// Keeps what was seen, before it counts for anything. Memory has it at once; a disk that hangs
    /// must not keep the evidence from counting.
    async fn raise(&self, (key, mark, now): (Key, Mark, OffsetDateTime), deadline: Instant) {
        let until = deadline.min(Instant::now() + PATIENCE);
        if timeout_at(until, self.marks.raise(key, mark, now)).await.is_err() {
            tracing::error!(
                "a mark is not on disk yet: after a restart an older report may be believed again"
            );
        }
    }
}

/// What becomes of evidence.
struct Judged {
    /// What counts in its place.
    instead: Option<Evidence>,
    /// The mark to be raised.
    raise: Option<(Key, Mark, OffsetDateTime)>,
}

impl Judged {
    const fn new(instead: Option<Evidence>) -> Self {
        Self { instead, raise: None }
    }
}

impl<S: Inspect> Inspect for Marked<S> {
    async fn inspect(&self, question: &Question, deadline: Instant) -> (Evidence, Vec<Attached>) {
        let (evidence, attached) = self.inner.inspect(question, deadline).await;
        let judged = self.judged(question, &evidence).await;
        (judged.instead.unwrap_or(evidence), attached)
    }
}

impl<S: EvidenceSource> Marked<S> {
    async fn marked(&self, question: &Question, found: Known, deadline: Instant) -> Known {
        let Judged { instead, raise } = self.judged(question, &found.evidence).await;
        if let Some(raise) = raise {
            self.raise(raise, deadline).await;
        }
        match instead {
            Some(evidence) => Known { evidence: Arc::new(evidence), ..found },
            None => found,
        }
    }
}

impl<S: EvidenceSource> EvidenceSource for Marked<S> {
    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        let found = self.inner.evidence(question, deadline).await;
        self.marked(question, found, deadline).await
    }

    async fn stored(&self, question: &Question, deadline: Instant) -> Option<Known> {
        let found = self.inner.stored(question, deadline).await?;
        Some(self.marked(question, found, deadline).await)
    }

    fn doubt(&self, question: &Question) {
        self.inner.doubt(question);
    }
}
