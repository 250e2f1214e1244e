//! One context and many digests in, what would be decided about each out, from what is known now.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::decide::{Action, Context, Many, Verdict};
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Source, Subject};
use portcullis_core::image::{Digest, Nodes, Reference};
use portcullis_core::policy::Policy;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{CheckError, Decider, Known, MAX_AGE, reusable};
use crate::caller::Caller;
use crate::clock::Now;
use crate::evidence::EvidenceSource;

/// The most digests in one question.
pub const MAX_BULK: usize = 4096;
/// The most of them that are searched for.
pub const MAX_BULK_SEARCHES: usize = 64;
/// How many are decided about before others have their turn.
const TURN: usize = 64;

/// Many images in one context.
#[derive(Debug, Clone)]
pub struct BulkQuestion {
    /// Where they would run, without a justification.
    pub context: Arc<Context>,
    /// The platforms of the nodes that they may run on, as far as whoever asks knows.
    pub nodes: Nodes,
    /// The name that their container would have.
    pub container: String,
    /// Any image of the repository, and the digests: at most [`MAX_BULK`] in all.
    pub images: Vec<(Reference, Vec<Digest>)>,
    /// Who asks, for the sake of limits; it changes no answer.
    pub caller: Caller,
}

/// What would be decided about one digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkDecided {
    /// The action.
    pub action: Action,
    /// The rule that decided: its place in [`BulkAnswer::rules`].
    pub rule: Option<usize>,
    /// For how long it may be reused.
    pub max_age: Duration,
    /// What is known of the image.
    pub status: Status,
}

/// What is known, from the best to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is a value of `Evidence`, described there")]
pub enum Status {
    Verified,
    Missing,
    Unsupported,
    Stale,
    Withheld,
    Rejected,
    Unavailable,
}

impl Status {
    /// What is known by `evidence`.
    const fn of(evidence: &Evidence) -> Self {
        match evidence {
            Evidence::Verified(_) => Self::Verified,
            Evidence::Missing => Self::Missing,
            Evidence::Unsupported => Self::Unsupported,
            Evidence::Stale { .. } => Self::Stale,
            Evidence::Withheld => Self::Withheld,
            Evidence::Rejected(_) => Self::Rejected,
            Evidence::Unavailable(_) => Self::Unavailable,
        }
    }

    /// The least that is known of `subjects`. An index without evidence leaves the word to its platforms.
    fn least(subjects: &[Subject]) -> Self {
        let silent = |subject: &&Subject| {
            subjects.len() > 1
                && subject.platform.is_none()
                && matches!(*subject.evidence, Evidence::Missing)
        };
        let heard = subjects.iter().filter(|subject| !silent(subject));
        heard.map(|subject| Self::of(&subject.evidence)).max().unwrap_or(Self::Unavailable)
    }
}

/// The answer to a [`BulkQuestion`].
#[derive(Debug, Clone)]
pub struct BulkAnswer {
    /// One per digest, in the order of the question.
    pub decided: Vec<BulkDecided>,
    /// The rules that decided, each once.
    pub rules: Vec<Arc<str>>,
    /// How many digests were not known.
    pub pending: usize,
    /// The policy that was applied to all.
    pub policy: Arc<Policy>,
    /// The time at which it was applied.
    pub evaluated_at: OffsetDateTime,
    /// Fields of the context that it depends on beside those that the policy reads.
    pub depends: &'static [&'static str],
}

/// Something that answers questions about many images.
pub trait Bulk: Send + Sync + 'static {
    /// Tells what would be decided from what is known now. That is no answer only where something is broken.
    fn bulk(
        &self,
        question: BulkQuestion,
    ) -> impl Future<Output = Result<BulkAnswer, CheckError>> + Send;
}

/// An answer that grows.
struct Growing {
    answer: BulkAnswer,
    places: HashMap<Arc<str>, usize>,
    /// The rule of the digest before, which most share.
    last: Option<(Arc<str>, usize)>,
    has_platforms: bool,
    /// The time of the answer.
    now: Now,
}

impl Growing {
    fn place(&mut self, rule: &Arc<str>) -> usize {
        if let Some((_, place)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, rule)) {
            return *place;
        }
        let rules = &mut self.answer.rules;
        let place = *self.places.entry(Arc::clone(rule)).or_insert_with(|| {
            rules.push(Arc::clone(rule));
            rules.len() - 1
        });
        self.last = Some((Arc::clone(rule), place));
        place
    }

    fn add(&mut self, verdict: &Verdict, subjects: &[Subject], known: &Known) {
        let max_age = reusable(known, subjects, verdict.changes_at, self.now).min(MAX_AGE);
        self.has_platforms |= subjects.iter().any(|subject| subject.platform.is_some());
        let rule = verdict.rule.as_ref().map(|rule| self.place(rule));
        let status = Status::least(subjects);
        self.answer.decided.push(BulkDecided { action: verdict.action, rule, max_age, status });
    }
}

impl<S: EvidenceSource> Bulk for Decider<S> {
    async fn bulk(&self, question: BulkQuestion) -> Result<BulkAnswer, CheckError> {
        let count = question.images.iter().map(|(_, digests)| digests.len()).sum();
        let nodes = &self.clusters.nodes(&question.context.cluster, &question.nodes);
        let (trust, now) = (self.rules.trust(), Now::by(&*self.clock));
        let policy = self.rules.policy();
        let answer = BulkAnswer {
            decided: Vec::with_capacity(count),
            rules: Vec::new(),
            pending: 0,
            policy: Arc::clone(&policy),
            evaluated_at: now.at,
            depends: &[],
        };
        let mut growing =
            Growing { answer, places: HashMap::new(), last: None, has_platforms: false, now };
        // What is known of a digest; its room is used again for the next.
        let (mut now, mut known) = (now, Vec::with_capacity(1));
        for (repository, digests) in &question.images {
            // The credential is that of the repository.
            let access = self.access.of(repository);
            let within = self.resolver.repository(repository);
            let (ctx, container, at) = (&question.context, &question.container, growing.now.at);
            let many = Many::new(&policy, repository, ctx, container, at);
            for digest in digests {
                if growing.answer.decided.len() % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                    now = Now::by(&*self.clock);
                }
                let sought = within.at(*digest);
                known.clear();
                if let Some(until) = self.peek(sought, &access, nodes, &trust, now, &mut known) {
                    growing.add(&many.verdict(*digest, &known), &known, &Known::Until(until));
                    continue;
                }
                growing.answer.pending += 1;
                let (subjects, known) = if growing.answer.pending <= MAX_BULK_SEARCHES {
                    // The search begins, and nobody waits for it.
                    let image = sought.image.to_reference();
                    self.subjects(&image, nodes, question.caller, Instant::now()).await
                } else {
                    (vec![not_looked_for(*digest, growing.answer.evaluated_at)], Known::Nothing)
                };
                growing.add(&many.verdict(*digest, &subjects), &subjects, &known);
            }
        }
        let mut answer = growing.answer;
        if growing.has_platforms {
            answer.depends = self.clusters.depends();
        }
        Ok(answer)
    }
}

/// What is known of a digest that nobody looked for.
fn not_looked_for(digest: Digest, now: OffsetDateTime) -> Subject {
    let detail = "too many images of the question are not known yet: ask again".to_owned();
    let cause = Cause { kind: CauseKind::Deadline, detail };
    Subject {
        digest: Some(digest),
        platform: None,
        evidence: Arc::new(Evidence::Unavailable(cause)),
        fetched_at: now,
        source: Source::Memory,
    }
}
