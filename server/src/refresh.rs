//! A reason to look again in, what is remembered of images brought up to date out.
//!
//! ```text
//! told   an event of a registry ─┐
//! asked  somebody asks for it ───┼─ Memory ─ registry
//! ahead  it will soon be old ────┘
//! ```
//!
//! Whatever the reason, what is found is verified as at any other time, and what cannot be found out
//! takes nothing away from what was known.

pub mod asked;
pub mod told;
pub mod ahead;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::evidence::Evidence;
use portcullis_core::image::{Digest, Reference};
use portcullis_core::ports::Clock;
use portcullis_core::signature::Trust;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::access::AccessScopes;
use crate::evidence::{Known, Question};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::resolve::Resolver;

/// Which of what is remembered is kept fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshConfig {
    /// What was asked about within this time is asked about again before it is old, and at once when
    /// its registry tells of it. What was not is forgotten then.
    pub asked_within: Duration,
    /// How long one refresh may take at the most.
    pub timeout: Duration,
}

impl Default for RefreshConfig {
    fn default() -> Self {
        Self { asked_within: Duration::from_mins(15), timeout: Duration::from_secs(10) }
    }
}

/// Something that is remembered, and when it is to be looked at again.
#[derive(Debug, Clone)]
pub struct Aging {
    /// The manifest.
    pub image: Reference,
    /// Whose credential its registry was asked with.
    pub access: Arc<str>,
    /// The revision of the trust by which it was judged.
    pub trust: Digest,
    /// From when on it is old enough to be looked at again, or, after a look that failed, rested long
    /// enough.
    pub due: OffsetDateTime,
}

/// A memory of manifests that can be told to look again.
pub trait Remember: Send + Sync + 'static {
    /// Looks now, whatever is remembered, and remembers what it finds: nothing that began before this
    /// call takes its place. Not knowing is a value; what was verified outlives it.
    fn refresh(&self, question: &Question, deadline: Instant)
    -> impl Future<Output = Known> + Send;

    /// What is remembered, fresh or not, and when it was last asked about. To ask so is no use of it.
    fn remembered(&self, question: &Question) -> Option<(Known, OffsetDateTime)>;

    /// What was verified, was asked about since `asked_since`, and is to be looked at again by `due_by`.
    fn aging(&self, asked_since: OffsetDateTime, due_by: OffsetDateTime) -> Vec<Aging>;

    /// Takes what is remembered of a manifest, under whatever trust and access, as no longer known to be
    /// so: the next question asks the registry. What is on disk under the access of `question` is so too.
    fn expire(&self, question: &Question);
}

/// Gives the trust that is in force.
type InForce = dyn Fn() -> Arc<Trust> + Send + Sync;

/// Brings what is remembered up to date.
pub struct Refresher<M> {
    registry: Registry,
    resolver: Resolver,
    memory: M,
    trust: Box<InForce>,
    access: AccessScopes,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    config: RefreshConfig,
    /// For those who ask for it.
    turns: Semaphore,
}

/// Why something was looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// An event.
    Event,
    /// Somebody asked for it.
    Request,
    /// It was about to be old.
    Age,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Request => "request",
            Self::Age => "age",
        }
    }
}

impl<M: Remember> Refresher<M> {
    /// Refreshes `memory` and `resolver`, under the trust that `trust` gives at each time.
    #[must_use]
    pub fn new(
        (registry, resolver, memory): (Registry, Resolver, M),
        trust: impl Fn() -> Arc<Trust> + Send + Sync + 'static,
        access: AccessScopes,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        config: RefreshConfig,
    ) -> Self {
        let (trust, turns) = (Box::new(trust), Semaphore::new(asked::MAX_REFRESHES));
        Self { registry, resolver, memory, trust, access, clock, metrics, config, turns }
    }

    fn question(&self, image: &Reference, digest: Digest) -> Question {
        let access = self.access.of(image);
        Question { image: image.at(digest), digest, trust: (self.trust)(), access }
    }

    /// Since when something must have been asked about to be kept fresh.
    fn asked_since(&self) -> OffsetDateTime {
        self.clock.now() - self.config.asked_within
    }

    /// Looks again, and counts what came of it.
    async fn look(&self, question: &Question, reason: Reason, deadline: Instant) -> Look {
        let before = self.memory.remembered(question).map(|(known, _)| known);
        let after = self.memory.refresh(question, deadline).await;
        let look = Look::new(before, after);
        self.metrics.refresh(reason.as_str(), look.outcome.as_str());
        look
    }
}

/// Whether the registry answered: what was verified before outlives that it did not.
fn is_found_out(after: &Known, before: Option<&Known>) -> bool {
    match &*after.evidence {
        Evidence::Unavailable(_) | Evidence::Unsupported => false,
        _ => before.is_none_or(|before| {
            before.fetched_at != after.fetched_at || !Arc::ptr_eq(&before.evidence, &after.evidence)
        }),
    }
}

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something else is known now.
    Changed,
    /// The registry says what it said before.
    Unchanged,
    /// The registry does not say; what was known is used on.
    Failed,
}

impl Outcome {
    /// In one word, for messages, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// What was known of a manifest, and what is known now.
#[derive(Debug, Clone)]
struct Look {
    before: Option<Known>,
    after: Known,
    outcome: Outcome,
}

impl Look {
    fn new(before: Option<Known>, after: Known) -> Self {
        let outcome = match &before {
            _ if !is_found_out(&after, before.as_ref()) => Outcome::Failed,
            Some(before) if before.evidence == after.evidence => Outcome::Unchanged,
            _ => Outcome::Changed,
        };
        Self { before, after, outcome }
    }
}

#[cfg(test)]
mod tests;
