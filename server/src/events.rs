//! A checker in, the same with a record of every decision out.
//!
//! Every answer makes one event for each container. Events go to the record under the data directory
//! (`spool`), and through a bounded queue to a file of JSON lines, each with a writer of its own: a slow or
//! full disk never slows an answer, and what is dropped is counted. Only where break-glass lifts a denial,
//! the answer waits until that is on disk (`glass`).

mod file;
mod glass;
mod queue;
mod reported;
pub mod spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::decide::Action;
use portcullis_core::event::stored::{Made, is_plain};
use portcullis_core::event::{Call, Event};
use portcullis_core::evidence::Subject;
use portcullis_core::ports::Clock;
use portcullis_telemetry::spans;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::check::bulk::{Bulk, BulkAnswer, BulkQuestion};
use crate::check::{Answer, Check, CheckError, Decided, Purpose, Question};
use crate::clock::Stamp;
use crate::metrics::Metrics;

pub use self::file::EventFile;
pub use self::queue::{QUEUE, Queue};
pub use self::reported::Reported;
use self::spool::Spool;

/// Records what `inner` answers, and counts it.
pub struct Recorded<C> {
    inner: C,
    sinks: Arc<Sinks>,
    ids: Arc<Ids>,
    metrics: Arc<Metrics>,
}

/// Where events go, as far as it is configured.
#[derive(Default)]
pub struct Sinks {
    /// The record under the data directory.
    pub spool: Option<Spool>,
    /// A file of JSON lines.
    pub queue: Option<Queue>,
    /// Whether there should be a record and is none: what would be in it is lost, and counted.
    pub unrecorded: bool,
}

impl From<Option<Queue>> for Sinks {
    fn from(queue: Option<Queue>) -> Self {
        Self { spool: None, queue, unrecorded: false }
    }
}

/// Names events: the process's start and a number, so that a gap shows. Where there is a spool, it counts.
struct Ids {
    start: i128,
    next: AtomicU64,
}

impl Ids {
    fn new(start: OffsetDateTime) -> Self {
        Self { start: start.unix_timestamp_nanos(), next: AtomicU64::new(1) }
    }

    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn name(&self, number: u64) -> String {
        format!("{:x}-{number}", self.start)
    }
}

/// What there is to say about `decided`, a part of `answer`.
fn made<'a>(answer: &'a Answer, decided: &'a Decided) -> Made<'a> {
    let Decided { container, image, subjects, decision, took } = decided;
    let (time, ctx) = (answer.evaluated_at, &answer.context);
    Made { time, took: *took, image, subjects, ctx, container, decision }
}

impl<C> Recorded<C> {
    /// Records into `sinks`, and into the log. Events are named after the time `start`, which tells one
    /// run of the service from another, and a running number.
    #[must_use]
    pub fn new(
        inner: C,
        sinks: impl Into<Sinks>,
        start: OffsetDateTime,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (sinks, ids) = (Arc::new(sinks.into()), Arc::new(Ids::new(start)));
        Self { inner, sinks, ids, metrics }
    }

    /// What records reports beside the decisions, in tasks of `background`.
    #[must_use]
    pub fn reported(&self, clock: Arc<dyn Clock>, background: Handle) -> Reported {
        let shared = (Arc::clone(&self.sinks), Arc::clone(&self.ids));
        Reported::new(shared, clock, Arc::clone(&self.metrics), background)
    }

    fn event(&self, number: u64, answer: &Answer, decided: &Decided) -> Event {
        let Decided { container, image, subjects, decision, took } = decided;
        let (id, time) = (self.ids.name(number), answer.evaluated_at);
        let call = Call { id: &id, time, took: *took, container };
        Event::new(call, image, subjects, &answer.context, decision)
    }

    fn count_evidence(&self, decided: &Decided, now: Stamp) {
        for Subject { digest, evidence, source, fetched_at, .. } in &decided.subjects {
            // A tag that could not be resolved names no manifest of which something could be known.
            if digest.is_some() {
                let age = now.since(Stamp::of(*fetched_at));
                self.metrics.evidence(evidence, *source, age);
            }
        }
    }

    /// Records all but the lifted denials, of which there is a record already. Advice is counted alone: by
    /// it nothing is admitted, and what asks for it must have no side effects.
    fn record(&self, answer: &Answer) {
        if answer.purpose == Purpose::Advice {
            let actions = answer.decided.iter().map(|decided| decided.decision.action);
            return actions.for_each(|action| self.metrics.advised(action));
        }
        let now = Stamp::of(answer.evaluated_at);
        for decided in &answer.decided {
            let action = decided.decision.action;
            self.metrics.decision(action);
            self.metrics.exemptions_applied(decided.decision.exemptions.len());
            self.count_evidence(decided, now);
            if decided.decision.break_glass.is_some() {
                continue;
            }
            let number = match &self.sinks.spool {
                Some(spool) => spool.record(&made(answer, decided)).unwrap_or_else(|lost| {
                    self.metrics.event_dropped();
                    lost
                }),
                None => {
                    if self.sinks.unrecorded {
                        self.metrics.event_dropped();
                    }
                    self.ids.next()
                }
            };
            // Most decisions are recorded without more ado.
            if self.sinks.queue.is_none() && is_plain(&decided.decision) {
                continue;
            }
            let event = self.event(number, answer, decided);
            if action != Action::Allow {
                tracing::info!(
                    id = event.id,
                    action = action.as_str(),
                    image = event.image,
                    rule = event.rule,
                    cluster = event.cluster,
                    namespace = event.namespace,
                    reason = event.reason,
                    "decision"
                );
            }
            if let Some(queue) = &self.sinks.queue
                && !queue.push(event, &decided.subjects)
            {
                self.metrics.event_dropped();
            }
        }
    }
}

impl<C: Check> Check for Recorded<C> {
    /// Where a denial may be lifted, its record has to be waited for.
    fn check_now(&self, question: &Question) -> Option<Result<Answer, CheckError>> {
        if !question.context.break_glass.is_empty() {
            return None;
        }
        let answer = self.inner.check_now(question)?;
        if let Ok(answer) = &answer {
            self.record(answer);
            // What is answered at once was all in memory, and was decided together.
            let known = answer.decided.iter().map(|decided| decided.subjects.len()).sum();
            self.metrics.hits(known);
            let took = answer.decided.iter().map(|decided| decided.took).max();
            let took = took.unwrap_or_default();
            self.metrics.answered(took, spans::trace_id(), answer.evaluated_at);
        }
        Some(answer)
    }

    async fn check(&self, question: Question, deadline: Instant) -> Result<Answer, CheckError> {
        let asked = Instant::now();
        let answer = self.inner.check(question, deadline).await?;
        let answer = match answer.purpose {
            Purpose::Admission => self.record_first(answer, deadline).await,
            Purpose::Advice => glass::unlifted(answer),
        };
        self.record(&answer);
        self.metrics.answered(asked.elapsed(), spans::trace_id(), answer.evaluated_at);
        Ok(answer)
    }
}

/// Nothing is admitted by it, and so there is no event: what is looked at again every few minutes would
/// bury what happened. It is counted (ADR 0017).
impl<C: Bulk> Bulk for Recorded<C> {
    async fn bulk(&self, question: BulkQuestion) -> Result<BulkAnswer, CheckError> {
        let answer = self.inner.bulk(question).await?;
        for action in [Action::Allow, Action::Audit, Action::Deny] {
            let count = answer.decided.iter().filter(|decided| decided.action == action).count();
            self.metrics.bulk(action, count);
        }
        self.metrics.bulk_pending(answer.pending);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::decide::decide_container;
    use portcullis_core::policy::Policy;
    use time::macros::datetime;

    use super::*;
    use crate::events::queue::Entry;

    const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

    /// Answers every question with what is asked, or not at all.
    struct Echo(Option<CheckError>);

    impl Check for Echo {
        async fn check(&self, question: Question, _: Instant) -> Result<Answer, CheckError> {
            if let Some(error) = &self.0 {
                return Err(error.clone());
            }
            let policy = Arc::new(Policy::default_policy());
            let decided = question.containers.into_iter().map(|(container, image)| {
                let context = &question.context;
                let decision = decide_container(&policy, &image, &[], context, &container, NOW);
                Decided { container, image, subjects: Vec::new(), decision, took: Duration::ZERO }
            });
            let (decided, context) = (decided.collect(), question.context.clone());
            Ok(Answer {
                context,
                decided,
                policy,
                evaluated_at: NOW,
                max_age: Duration::ZERO,
                depends: &[],
                purpose: Default::default(),
            })
        }
    }

    fn question(containers: &[&str]) -> Question {
        let image = |name: &&str| (Arc::from(*name), "reg.io/app:v1".parse().unwrap());
        let containers = containers.iter().map(image).collect();
        Question {
            context: Arc::default(),
            nodes: Default::default(),
            containers,
            caller: Default::default(),
            purpose: Default::default(),
        }
    }

    fn dropped(metrics: &Metrics) -> String {
        let text = metrics.encode().unwrap();
        let line = text.lines().find(|l| l.starts_with("portcullis_events_dropped_total"));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_dropped_and_counted_and_answered() {
        let (metrics, (queue, mut events)) = (Arc::new(Metrics::new()), Queue::new(2));
        let recorded = Recorded::new(Echo(None), Some(queue), NOW, Arc::clone(&metrics));
        let answer = recorded.check(question(&["a", "b", "c"]), Instant::now()).await.unwrap();
        assert_eq!(answer.decided.len(), 3);
        assert_eq!(dropped(&metrics), "1");
        let mut next = || match events.try_recv().unwrap().entry {
            Entry::Decision(event) => event,
            other => panic!("not a decision: {other:?}"),
        };
        let (a, b) = (next(), next());
        assert_eq!((a.container.as_str(), b.container.as_str()), ("a", "b"));
        recorded.check(question(&["d"]), Instant::now()).await.unwrap();
        // The number of what was dropped is missing, so that a reader sees the gap.
        let start = NOW.unix_timestamp_nanos();
        let ids = [a.id, b.id, next().id];
        assert_eq!(ids, [1, 2, 4].map(|number| format!("{start:x}-{number}")));
    }

    #[tokio::test]
    async fn where_a_record_cannot_be_begun_each_event_is_counted_as_lost() {
        let metrics = Arc::new(Metrics::new());
        let sinks = Sinks { unrecorded: true, ..Sinks::default() };
        let recorded = Recorded::new(Echo(None), sinks, NOW, Arc::clone(&metrics));
        recorded.check(question(&["a", "b"]), Instant::now()).await.unwrap();
        assert_eq!(dropped(&metrics), "2");
    }

    #[tokio::test]
    async fn no_answer_is_no_event() {
        let (queue, mut events) = Queue::new(1);
        let echo = Echo(Some(CheckError::DeadlineExceeded));
        let recorded = Recorded::new(echo, Some(queue), NOW, Arc::default());
        assert!(recorded.check(question(&["a"]), Instant::now()).await.is_err());
        assert!(events.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_writer_that_is_gone_does_not_take_the_answers_with_it() {
        let (metrics, (queue, events)) = (Arc::new(Metrics::new()), Queue::new(1));
        drop(events);
        let recorded = Recorded::new(Echo(None), Some(queue), NOW, Arc::clone(&metrics));
        assert!(recorded.check(question(&["a"]), Instant::now()).await.is_ok());
        assert_eq!(dropped(&metrics), "1");
    }
}
