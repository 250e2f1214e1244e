//! An evidence source in, the same with a memory out: one search per digest, and none while what is
//! known is fresh.
//!
//! Only what the registry said with authority is kept. A failure is shared by those who wait for it
//! and backed off for a moment, so that callers do not hammer a registry that is down, but it is
//! never taken for an absence.

use std::sync::Arc;
use std::time::Duration;

use moka::Expiry;
use moka::future::Cache;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Source};
use portcullis_core::ports::Clock;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::flights::{Flights, NoResult};
use super::{EvidenceSource, Key, Known, Question};
use crate::metrics::Metrics;

/// How much is kept and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// The most that is kept, in bytes.
    pub max_bytes: u64,
    /// For how long verified evidence is used without asking the registry again.
    pub ttl: Duration,
    /// For how long "nothing attached" and "attached but not believed" are used.
    pub negative_ttl: Duration,
    /// For how long a failed search is not repeated.
    pub failure_ttl: Duration,
    /// How long one search may take at the most.
    pub search_timeout: Duration,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024 * 1024,
            ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(30),
            failure_ttl: Duration::from_secs(2),
            search_timeout: Duration::from_secs(10),
        }
    }
}

/// An evidence source with a memory.
pub struct Memory<S> {
    inner: Arc<S>,
    config: MemoryConfig,
    kept: Cache<Key, Known>,
    flights: Flights<Key, Known>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl<S: EvidenceSource> Memory<S> {
    /// Remembers what `inner` finds out. Searches are tasks of `tasks`.
    #[must_use]
    pub fn new(
        inner: S,
        config: MemoryConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Self {
        let kept = Cache::builder()
            .name("evidence")
            .max_capacity(config.max_bytes)
            .weigher(|key: &Key, known: &Known| {
                u32::try_from(key_weight(key) + known.evidence.weight()).unwrap_or(u32::MAX)
            })
            .expire_after(ByStatus(config.clone()))
            .build();
        Self { inner: Arc::new(inner), config, kept, flights: Flights::new(tasks), clock, metrics }
    }

    async fn search(&self, question: &Question, key: Key, deadline: Instant) -> Known {
        let begin = || {
            let (inner, question, kept) =
                (Arc::clone(&self.inner), question.clone(), self.kept.clone());
            let (key, config, clock) = (key.clone(), self.config.clone(), Arc::clone(&self.clock));
            let metrics = Arc::clone(&self.metrics);
            async move {
                let _counted = UnderWay::new(&metrics);
                let limit = Instant::now() + config.search_timeout;
                let mut known = inner.evidence(&question, limit).await;
                known.fresh_until = clock.now() + lifetime(&config, &known.evidence);
                // Kept before the flight lands, so that nobody can find neither.
                kept.insert(key, known.clone()).await;
                // So that the sizes are those of now.
                kept.run_pending_tasks().await;
                metrics.kept(kept.entry_count(), kept.weighted_size());
                known
            }
        };
        let found = self.flights.join(key.clone(), deadline, begin).await;
        found.unwrap_or_else(|no_result| self.unknown(no_result))
    }

    fn unknown(&self, no_result: NoResult) -> Known {
        let cause = match no_result {
            NoResult::Deadline => Cause {
                kind: CauseKind::Deadline,
                detail: "the registry did not answer in time; the search goes on".to_owned(),
            },
            NoResult::Lost => Cause {
                kind: CauseKind::Unreachable,
                detail: "the search ended without a result; ask again".to_owned(),
            },
        };
        let now = self.clock.now();
        Known {
            evidence: Arc::new(Evidence::Unavailable(cause)),
            fetched_at: now,
            fresh_until: now,
            source: Source::Registry,
        }
    }
}

impl<S: EvidenceSource> EvidenceSource for Memory<S> {
    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        let key = question.key();
        let kept = self.kept.get(&key).await.filter(|known| known.fresh_until > self.clock.now());
        let known = match kept {
            Some(known) => Known { source: Source::Memory, ..known },
            None => self.search(question, key, deadline).await,
        };
        self.metrics.evidence(known.evidence.status(), known.source.as_str());
        known
    }
}

/// Counts a search for as long as it is under way, also when it panics.
struct UnderWay<'a>(&'a Metrics);

impl<'a> UnderWay<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.flights(1);
        Self(metrics)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.flights(-1);
    }
}

/// The heap and inline bytes of a key.
fn key_weight(key: &Key) -> usize {
    size_of::<Key>() + key.access.len() + key.registry.len() + key.repository.len()
}

fn lifetime(config: &MemoryConfig, evidence: &Evidence) -> Duration {
    match evidence {
        Evidence::Verified(_) => config.ttl,
        Evidence::Missing | Evidence::Rejected(_) | Evidence::Stale { .. } | Evidence::Withheld => {
            config.negative_ttl
        }
        Evidence::Unavailable(_) | Evidence::Unsupported => config.failure_ttl,
    }
}

/// Verified evidence lives longest, a failure only for a moment.
struct ByStatus(MemoryConfig);

impl Expiry<Key, Known> for ByStatus {
    fn expire_after_create(
        &self,
        _: &Key,
        known: &Known,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(lifetime(&self.0, &known.evidence))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        known: &Known,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(lifetime(&self.0, &known.evidence))
    }
}

#[cfg(test)]
mod tests;
