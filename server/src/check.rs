//! A question in, an answer out: resolve, find evidence, decide. Layers wrap one trait.

use std::cmp::min;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use portcullis_core::decide::{Context, Decision, decide_container};
use portcullis_core::evidence::{Evidence, Subject};
use portcullis_core::image::{Digest, Nodes, Platform, Reference};
use portcullis_core::policy::Policy;
use portcullis_core::ports::Clock;
use portcullis_core::signature::Trust;
use portcullis_telemetry::spans::SPANS;
use smallvec::SmallVec;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::access::AccessScopes;
use crate::caller::Caller;
use crate::clock::{Now, Stamp};
use crate::clusters::Clusters;
use crate::evidence::{EvidenceSource, Glance, Question as EvidenceQuestion};
use crate::resolve::{Fresh, Named, Resolver, Sought};
use crate::rules::Rules;

pub mod bulk;

pub use self::error::{CheckError, Shared};

mod error;

/// The most containers in one question.
pub const MAX_CONTAINERS: usize = 256;
/// The most manifests that are answered about without a pause, however much is known of them: others wait
/// for the thread. A question about more waits, and is decided in parts.
pub const MAX_AT_ONCE: usize = 1_024;
/// How many containers are a part: with the most platforms that each may have, about as many.
const PART: usize = 16;
/// How much of the caller's time is kept for deciding and answering, but at most a quarter of it: an
/// answer that comes a moment late is no answer.
const RESERVE: Duration = Duration::from_millis(150);

/// One admission: where, and which images.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where the images would run; names no container.
    pub context: Arc<Context>,
    /// The platforms of the nodes that they may run on, as far as whoever asks knows.
    pub nodes: Nodes,
    /// The containers: name and image, at most [`MAX_CONTAINERS`].
    pub containers: Vec<(Arc<str>, Reference)>,
    /// Who asks, for the sake of limits; it changes no answer.
    pub caller: Caller,
    /// What the answer is for.
    pub purpose: Purpose,
}

/// What an answer is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The images run or do not run by it.
    #[default]
    Admission,
    /// To know what would be: it has no side effects, and nothing is admitted by it.
    Advice,
}

/// The answer to one admission.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Where the images would run, as in the question.
    pub context: Arc<Context>,
    /// One per container, in the order of the question.
    pub decided: Vec<Decided>,
    /// The policy that was applied.
    pub policy: Arc<Policy>,
    /// The time at which it was applied.
    pub evaluated_at: OffsetDateTime,
    /// For how long the answer may be reused.
    pub max_age: Duration,
    /// Fields of the context that it depends on beside those that the policy reads.
    pub depends: &'static [&'static str],
    /// What it is for, as in the question.
    pub purpose: Purpose,
}

/// What was decided about one container, and from what.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Its name.
    pub container: Arc<str>,
    /// The image as asked, normalised.
    pub image: Reference,
    /// What is known of the image and its platforms.
    pub subjects: Vec<Subject>,
    /// The decision.
    pub decision: Decision,
    /// How long it took from question to decision.
    pub took: Duration,
}

impl Decided {
    fn has_platforms(&self) -> bool {
        self.subjects.iter().any(|subject| subject.platform.is_some())
    }
}

/// Something that answers questions.
pub trait Check: Send + Sync + 'static {
    /// Answers at once where all that is needed is known. Never waits: None is for [`Self::check`].
    fn check_now(&self, _question: &Question) -> Option<Result<Answer, CheckError>> {
        None
    }

    /// Answers by `deadline` at the latest.
    fn check(
        &self,
        question: Question,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, CheckError>> + Send;
}

/// Decides by rules from evidence: the innermost layer.
pub struct Decider<S> {
    resolver: Resolver,
    evidence: S,
    rules: Arc<Rules>,
    clock: Arc<dyn Clock>,
    access: AccessScopes,
    clusters: Clusters,
}

impl<S: EvidenceSource> Decider<S> {
    /// Decides by the `rules` in force at each question.
    #[must_use]
    pub fn new(
        resolver: Resolver,
        evidence: S,
        rules: Arc<Rules>,
        clock: Arc<dyn Clock>,
        access: AccessScopes,
        clusters: Clusters,
    ) -> Self {
        Self { resolver, evidence, rules, clock, access, clusters }
    }

    /// What is known of an image: of what the reference names and of each platform in it that `nodes`
    /// would take. What has to be found out is `caller`'s to wait for.
    async fn subjects(
        &self,
        image: &Reference,
        nodes: &Nodes,
        caller: Caller,
        deadline: Instant,
    ) -> (Vec<Subject>, Known) {
        let access = self.access.of(image);
        let trust = self.rules.trust();
        let question = |digest: Digest| EvidenceQuestion {
            image: image.clone(),
            digest,
            trust: Arc::clone(&trust),
            access: Arc::clone(&access),
        };
        // What a digest names is not known yet, and what is attached to it can be found out meanwhile.
        let early = async {
            match image.digest() {
                Some(digest) => Some(self.subject(&question(digest), None, digest, deadline).await),
                None => None,
            }
        };
        let span = tracing::debug_span!(
            target: SPANS,
            "resolve",
            container.image.name = image.name(),
            container.image.tag = image.tag(),
        );
        let resolved = self.resolver.resolve(image, &access, caller, deadline).instrument(span);
        let (resolved, early) = join(resolved, early).await;
        let Fresh { answer, until, confirmed_at, source } = resolved;
        let resolved = match answer {
            Ok(resolved) => resolved,
            Err(evidence) => {
                let subject = Subject {
                    digest: image.digest(),
                    platform: None,
                    evidence,
                    fetched_at: confirmed_at,
                    source,
                };
                return (vec![subject], Known::Nothing);
            }
        };
        let own = early.is_none().then_some((None, resolved.digest));
        let platforms = resolved.taken_by(nodes).into_iter().map(|(p, digest)| (Some(p), digest));
        let searches = own.into_iter().chain(platforms).map(|(platform, digest)| {
            let question = question(digest);
            async move { self.subject(&question, platform, digest, deadline).await }
        });
        let mut found: Vec<_> = early.into_iter().collect();
        found.extend(join_all(searches).await);
        // A tag may move before what is known of its digest changes.
        let until = found.iter().map(|(_, until)| *until).fold(until, min);
        let subjects = found.into_iter().map(|(subject, _)| subject).collect();
        (subjects, Known::Until(Stamp::of(until)))
    }

    async fn subject(
        &self,
        question: &EvidenceQuestion,
        platform: Option<Platform>,
        digest: Digest,
        deadline: Instant,
    ) -> (Subject, OffsetDateTime) {
        let span = tracing::debug_span!(
            target: SPANS,
            "evidence",
            oci.manifest.digest = %digest,
            portcullis.evidence.status = tracing::field::Empty,
            portcullis.evidence.source = tracing::field::Empty,
            portcullis.cache.outcome = tracing::field::Empty,
        );
        // Of thousands that are all known none waits: others must have their turn all the same.
        tokio::task::coop::consume_budget().await;
        let known = self.evidence.evidence(question, deadline).instrument(span.clone()).await;
        span.record("portcullis.evidence.status", known.evidence.status());
        span.record("portcullis.evidence.source", known.source.as_str());
        let until = known.fresh_until;
        (known.about(platform, digest), until)
    }
}

/// Until when what was found out may be used.
enum Known {
    Nothing,
    Until(Stamp),
}

impl<S: EvidenceSource> Check for Decider<S> {
    fn check_now(&self, question: &Question) -> Option<Result<Answer, CheckError>> {
        let asked = Instant::now();
        let nodes = &self.clusters.nodes(&question.context.cluster, &question.nodes);
        // Nothing is waited for, so that one look at the clock is for all.
        let (trust, now) = (self.rules.trust(), Now::by(&*self.clock));
        let mut found: SmallVec<[_; 1]> = SmallVec::new();
        let mut manifests = 0;
        for (_, image) in &question.containers {
            let mut subjects = Vec::with_capacity(1);
            let access = self.access.of(image);
            let until =
                self.peek(self.resolver.sought(image), &access, nodes, &trust, now, &mut subjects)?;
            manifests += subjects.len();
            if manifests > MAX_AT_ONCE {
                return None;
            }
            found.push(((subjects, Known::Until(until)), Duration::ZERO));
        }
        let mut answer =
            self.decided(question, &question.containers, found, self.rules.policy(), now);
        let took = asked.elapsed();
        answer.decided.iter_mut().for_each(|decided| decided.took = took);
        Some(Ok(answer))
    }

    async fn check(&self, question: Question, deadline: Instant) -> Result<Answer, CheckError> {
        let asked = Instant::now();
        let (wait, caller) = (answer_by(deadline), question.caller);
        let nodes = &self.clusters.nodes(&question.context.cluster, &question.nodes);
        let found = question.containers.iter().map(|(_, image)| async move {
            let found = self.subjects(image, nodes, caller, wait).await;
            (found, asked.elapsed())
        });
        let found = join_all(found).await;
        // Rules and the clock are read once, after all waiting, so that every container is decided
        // by the same revision at the same time.
        let (policy, now) = (self.rules.policy(), Now::by(&*self.clock));
        let (mut found, mut parts) = (found.into_iter(), question.containers.chunks(PART));
        let first = parts.next().unwrap_or_default();
        let mut answer = self.decided(&question, first, &mut found, Arc::clone(&policy), now);
        for part in parts {
            tokio::task::yield_now().await;
            let more = self.decided(&question, part, &mut found, Arc::clone(&policy), now);
            answer.decided.extend(more.decided);
            answer.max_age = answer.max_age.min(more.max_age);
            answer.depends = if answer.depends.is_empty() { more.depends } else { answer.depends };
        }
        Ok(answer)
    }
}

impl<S: EvidenceSource> Decider<S> {
    /// As [`Self::subjects`], where nothing has to be looked for: adds to `subjects`, and gives until when
    /// that may be used.
    fn peek(
        &self,
        sought: Sought<'_>,
        access: &Arc<str>,
        nodes: &Nodes,
        trust: &Arc<Trust>,
        now: Now,
        subjects: &mut Vec<Subject>,
    ) -> Option<Stamp> {
        let (named, mut until) = self.resolver.named(sought, access, now)?;
        let mut look = |platform: Option<Platform>, digest: Digest| {
            let (image, hash) = (sought.image, sought.hash_of(digest));
            let glance = Glance { image, digest, trust, access, now, hash };
            let known = self.evidence.glance(&glance)?;
            until = until.min(Stamp::of(known.fresh_until));
            subjects.push(known.about(platform, digest));
            Some(())
        };
        match named {
            Named::One(digest) => look(None, digest)?,
            Named::Index(index) => {
                look(None, index.digest)?;
                for (platform, digest) in index.taken_by(nodes) {
                    look(Some(platform), digest)?;
                }
            }
        }
        Some(until)
    }

    /// Decides about what was `found` of each of `containers`.
    fn decided(
        &self,
        question: &Question,
        containers: &[(Arc<str>, Reference)],
        found: impl IntoIterator<Item = ((Vec<Subject>, Known), Duration)>,
        policy: Arc<Policy>,
        now: Now,
    ) -> Answer {
        // Whoever says why an image must run is recorded each time.
        let asked_plainly = question.context.break_glass.is_empty();
        let mut max_age = if asked_plainly { MAX_AGE } else { Duration::ZERO };
        let decided: Vec<_> = containers
            .iter()
            .zip(found)
            .map(|((container, image), ((subjects, known), took))| {
                let context = &question.context;
                let decision =
                    decide_container(&policy, image, &subjects, context, container, now.at);
                max_age = max_age.min(reusable(&known, &subjects, decision.changes_at, now));
                let (container, image) = (Arc::clone(container), image.clone());
                Decided { container, image, subjects, decision, took }
            })
            .collect();
        let has_platforms = decided.iter().any(Decided::has_platforms);
        let depends = if has_platforms { self.clusters.depends() } else { &[] };
        let context = Arc::clone(&question.context);
        let (evaluated_at, purpose) = (now.at, question.purpose);
        Answer { context, decided, policy, evaluated_at, max_age, depends, purpose }
    }
}

/// Until when to wait for what is not known yet, so that the answer is there by `deadline`.
pub(crate) fn answer_by(deadline: Instant) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    now + left.saturating_sub(RESERVE.min(left / 4))
}

/// The longest that any answer may be reused.
const MAX_AGE: Duration = Duration::from_secs(60);

/// For how long one decision may be reused: while its evidence is fresh and the clock, which does at
/// `changes_at`, changes nothing. What could not be found out may not be reused at all.
fn reusable(
    known: &Known,
    subjects: &[Subject],
    changes_at: Option<OffsetDateTime>,
    now: Now,
) -> Duration {
    let failed =
        |s: &Subject| matches!(*s.evidence, Evidence::Unavailable(_) | Evidence::Stale { .. });
    let Known::Until(fresh) = known else {
        return Duration::ZERO;
    };
    if subjects.iter().any(failed) {
        return Duration::ZERO;
    }
    let until = changes_at.map_or(*fresh, |change| Stamp::of(change).min(*fresh));
    until.since(now.stamp)
}

#[cfg(test)]
mod tests;
