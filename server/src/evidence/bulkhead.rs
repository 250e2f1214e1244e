//! An evidence source in, the same with a limit on its searches at a time out, of all and of one
//! registry.
//!
//! One question may be about hundreds of images, and each search holds memory and sends requests. What
//! is searched for waits its turn here; a registry that never answers takes its own turns and no more.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::evidence::{Cause, CauseKind, Evidence, Source};
use portcullis_core::ports::Clock;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::turns::{NoTurn, Turns};
use super::{EvidenceSource, Known, Question};
use crate::limit::LimitConfig;
use crate::metrics::Metrics;

mod turns;

/// The most searches at a time through what is stored. After a restart all images are asked about, and
/// each holds all that its registry said of it.
const MAX_STORED: usize = 32;
/// How long one waits for its turn there. Then its registry is asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// Searches so many at a time.
pub struct Bulkhead<S> {
    inner: S,
    turns: Turns,
    stored: Semaphore,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl<S: EvidenceSource> Bulkhead<S> {
    /// Lets as many searches through to `inner` as `config` says.
    #[must_use]
    pub fn new(
        inner: S,
        config: &LimitConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let turns = Turns::new(config.searches, config.searches_per_registry);
        Self { inner, turns, stored: Semaphore::new(MAX_STORED), clock, metrics }
    }

    fn unknown(&self, registry: &str, no_turn: NoTurn) -> Known {
        let detail = match no_turn {
            NoTurn::Expired => format!(
                "a search of registry `{registry}` did not get its turn in time; others were under way"
            ),
            NoTurn::Crowded => format!(
                "more searches wait for their turn than the service keeps; this one, of registry \
                 `{registry}`, waited longest"
            ),
        };
        let now = self.clock.now();
        Known {
            evidence: Arc::new(Evidence::Unavailable(Cause { kind: CauseKind::Throttled, detail })),
            fetched_at: now,
            fresh_until: now,
            source: Source::Registry,
        }
    }
}

/// Counts a search that ends in a panic; whoever waits for it hears that it was lost.
struct IfPanicked<'a>(&'a Metrics);

impl Drop for IfPanicked<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked("search");
        }
    }
}

impl<S: EvidenceSource> EvidenceSource for Bulkhead<S> {
    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        let registry = question.image.registry();
        match self.turns.take(registry, deadline).await {
            Ok(_turn) => {
                let _counted = IfPanicked(&self.metrics);
                self.inner.evidence(question, deadline).await
            }
            Err(no_turn) => {
                self.metrics.search_shed(no_turn.as_str());
                self.unknown(registry, no_turn)
            }
        }
    }

    /// Takes none of the turns of registries: none is asked.
    async fn stored(&self, question: &Question, deadline: Instant) -> Option<Known> {
        let until = deadline.min(Instant::now() + PATIENCE);
        let _turn = timeout_at(until, self.stored.acquire()).await.ok()?.ok()?;
        self.inner.stored(question, deadline).await
    }

    fn doubt(&self, question: &Question) {
        self.inner.doubt(question);
    }
}

#[cfg(test)]
mod tests;
