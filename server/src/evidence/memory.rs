//! An evidence source in, the same with a memory out: one search per digest, and none while what is
//! known is fresh.
//!
//! A failure is shared by those who wait for it and backed off for a moment, so that callers do not
//! hammer a registry that is down, but it is never taken for an absence: what was verified before is
//! used until its limit. And an absence after evidence is not a clean slate: reports that were there
//! and are gone are withheld.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use moka::Expiry;
use moka::future::Cache;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Source};
use portcullis_core::ports::Clock;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::flights::{Flights, NoResult};
use super::{EvidenceSource, Key, Known, Question};
use crate::metrics::{CacheSize, Lookup, Metrics};
use crate::spans::SPANS;

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
    /// For how long verified evidence is used while the registry cannot be asked.
    pub stale_ttl: Duration,
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
            stale_ttl: Duration::from_secs(3600),
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
    /// Remembers what `inner` finds out. Searches are tasks of `tasks` on
    /// `background`.
    #[must_use]
    pub fn new(
        inner: S,
        config: MemoryConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        background: Handle,
    ) -> Self {
        let kept = Cache::builder()
            .name("evidence")
            .max_capacity(config.max_bytes)
            .weigher(|key: &Key, known: &Known| {
                u32::try_from(key_weight(key) + known.evidence.weight()).unwrap_or(u32::MAX)
            })
            .expire_after(ByStatus(config.clone()))
            .build();
        let sized = kept.clone();
        metrics.watch_cache("evidence", move || CacheSize {
            entries: Some(sized.entry_count()),
            bytes: sized.weighted_size(),
        });
        Self {
            inner: Arc::new(inner),
            config,
            kept,
            flights: Flights::new(tasks, background),
            clock,
            metrics,
        }
    }

    async fn search(
        &self,
        question: &Question,
        key: Key,
        before: Option<Known>,
        deadline: Instant,
    ) -> Known {
        let known_before = before
            .clone()
            .filter(|known| matches!(*known.evidence, Evidence::Verified(_) | Evidence::Withheld))
            .map(|known| Known { source: Source::Memory, ..known });
        let begin = || {
            let (inner, question, kept) =
                (Arc::clone(&self.inner), question.clone(), self.kept.clone());
            let (key, config, clock) = (key.clone(), self.config.clone(), Arc::clone(&self.clock));
            let metrics = Arc::clone(&self.metrics);
            async move {
                let _counted = UnderWay::new(&metrics);
                let limit = Instant::now() + config.search_timeout;
                let found = inner.evidence(&question, limit).await;
                let now = clock.now();
                let fresh_until = now + lifetime(&config, &found.evidence);
                let known = Known { fresh_until, ..after(before, found) };
                let fresh_until =
                    valid_until(&known).map_or(fresh_until, |end| end.min(fresh_until));
                let known = Known { fresh_until, ..known };
                // Kept before the flight lands, so that nobody can find neither.
                kept.insert(key, known.clone()).await;
                // So that the sizes that are shown are those of now.
                kept.run_pending_tasks().await;
                known
            }
        };
        let span = tracing::debug_span!(
            target: SPANS,
            "evidence.search",
            container.image.name = question.image.name(),
            oci.manifest.digest = %question.digest,
        );
        let mut began = false;
        let begin = || {
            began = true;
            begin().instrument(span)
        };
        let found = self.flights.join(key.clone(), deadline, begin).await;
        self.metrics.lookup(match &found {
            Ok(known) if known.source == Source::Memory => Lookup::Stale,
            Err(_) if known_before.is_some() => Lookup::Stale,
            Ok(known) if matches!(*known.evidence, Evidence::Unavailable(_)) => Lookup::Failed,
            Err(_) => Lookup::Failed,
            Ok(_) if began => Lookup::Fetched,
            Ok(_) => Lookup::Coalesced,
        });
        // Who cannot wait for the search is answered from before it, while it goes on.
        found.unwrap_or_else(|no_result| known_before.unwrap_or_else(|| self.unknown(no_result)))
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
    fn peek(&self, question: &Question) -> Option<Known> {
        // A look into memory never waits.
        let kept = self.kept.get(&question.key()).now_or_never()??;
        (kept.fresh_until > self.clock.now()).then_some(Known { source: Source::Memory, ..kept })
    }

    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        let key = question.key();
        match self.kept.get(&key).await {
            Some(known) if known.fresh_until > self.clock.now() => {
                self.metrics.lookup(Lookup::Hit);
                Known { source: Source::Memory, ..known }
            }
            kept => {
                let now = self.clock.now();
                let oldest = now - self.config.stale_ttl;
                let is_valid = |known: &Known| valid_until(known).is_none_or(|end| now < end);
                let before = kept.filter(|k| k.fetched_at > oldest && is_valid(k));
                self.search(question, key, before, deadline).await
            }
        }
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

/// What is known after a search, of which this was known before: what was verified outlives a search
/// that could not find out, and what was there and is gone is withheld.
fn after(before: Option<Known>, found: Known) -> Known {
    let Some(before) = before else {
        return found;
    };
    match (&*before.evidence, &*found.evidence) {
        (Evidence::Verified(_) | Evidence::Withheld, Evidence::Unavailable(_)) => {
            Known { source: Source::Memory, ..before }
        }
        (Evidence::Verified(_) | Evidence::Withheld, Evidence::Missing) => {
            Known { evidence: Arc::new(Evidence::Withheld), ..found }
        }
        _ => found,
    }
}

/// Until when what was verified is, whatever the registry says.
fn valid_until(known: &Known) -> Option<OffsetDateTime> {
    match &*known.evidence {
        Evidence::Verified(reports) => reports.valid_until(),
        _ => None,
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

/// Verified evidence is kept longest, also when it is no longer fresh.
struct ByStatus(MemoryConfig);

impl ByStatus {
    fn kept(&self, known: &Known) -> Duration {
        match *known.evidence {
            Evidence::Verified(_) | Evidence::Withheld => self.0.stale_ttl.max(self.0.ttl),
            _ => lifetime(&self.0, &known.evidence),
        }
    }
}

impl Expiry<Key, Known> for ByStatus {
    fn expire_after_create(
        &self,
        _: &Key,
        known: &Known,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(self.kept(known))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        known: &Known,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.kept(known))
    }
}

#[cfg(test)]
mod tests;
