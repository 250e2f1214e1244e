//! An evidence source in, the same with a memory out: one search per digest, and none while what is
//! known is fresh.
//!
//! From the soft limit on, what is known is still used and asked about again in the background; from
//! the hard limit on it is not used. A failure is shared by those who wait for it and backed off, longer
//! each time, so that callers do not hammer a registry that is down, but it is never taken for an
//! absence: what was verified before is used until its limit, marked as stale, and asked about again in
//! the background. And an absence after evidence is not a clean slate: reports that were there and are
//! gone are withheld.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Source};
use portcullis_core::image::Digest;
use portcullis_core::ports::Clock;
use portcullis_telemetry::spans::SPANS;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::doubts::Doubts;
use self::entry::{Entry, Look};
use self::plan::{Plan, Roll, plan, stale_until};
use self::words::Words;
use super::flights::{Asked, Begun, Flights, NoResult};
use super::{EvidenceSource, Glance, Key, Known, Question};
use crate::changes::Changes;
use crate::clock::Now;
use crate::metrics::{CacheSize, Lookup, Metrics};
use crate::sieve::Sieve;

mod doubts;
mod entry;
mod plan;
mod words;
mod share;
mod remember;

/// The part of what is kept that the allocator takes beside: it gives out few sizes, and a little more
/// than was asked for.
const ALLOCATOR: usize = 16;

/// How much is kept and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// The most that is kept, in bytes.
    pub max_bytes: u64,
    /// For how long verified evidence is used without asking the registry again: the hard limit.
    pub ttl: Duration,
    /// For how long "nothing attached" and "attached but not believed" are used.
    pub negative_ttl: Duration,
    /// After how much of these two what is in use is asked about again in the background, in percent:
    /// the soft limit. 100: never.
    pub soft: u32,
    /// How much of a lifetime chance may take off, in percent, so that what came together does not go
    /// together; the memory takes less where that is enough. 0: nothing.
    pub spread: u32,
    /// For how long a failed search is not repeated, the first time. Each further one doubles it.
    pub failure_ttl: Duration,
    /// For how long it is not repeated at the most.
    pub max_failure_ttl: Duration,
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
            soft: 80,
            spread: 100,
            failure_ttl: Duration::from_secs(2),
            max_failure_ttl: Duration::from_secs(30),
            stale_ttl: Duration::from_secs(3600),
            search_timeout: Duration::from_secs(10),
        }
    }
}

/// An evidence source with a memory. Clones share it.
pub struct Memory<S>(Arc<Shared<S>>);

impl<S> Clone for Memory<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<S> {
    inner: S,
    config: MemoryConfig,
    kept: Sieve<Key, Entry>,
    flights: Flights<Key, Plan>,
    tasks: TaskTracker,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    changes: Changes,
    random: RandomState,
    rolled: AtomicU64,
    doubts: Mutex<Doubts>,
    words: Words,
}

impl<S: EvidenceSource> Memory<S> {
    /// Remembers what `inner` finds out, and tells `changes` of a digest of which something else is known
    /// than before. Searches are tasks of `tasks` on `background`.
    #[must_use]
    pub fn new(
        inner: S,
        config: MemoryConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        changes: Changes,
        tasks: TaskTracker,
        background: Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            inner,
            kept: Sieve::new(config.max_bytes),
            words: Words::new(config.max_bytes),
            config,
            flights: Flights::new(tasks.clone(), background),
            tasks,
            clock,
            metrics,
            changes,
            random: RandomState::default(),
            rolled: AtomicU64::new(0),
            doubts: Mutex::default(),
        });
        let sized = Arc::downgrade(&shared);
        shared.metrics.watch_cache("evidence", move || {
            let (entries, bytes) = sized.upgrade().map(|shared| shared.size()).unwrap_or_default();
            CacheSize { entries: Some(entries as u64), bytes }
        });
        Self(shared)
    }

    /// Asks again now, whatever is kept, and tells what was found out by `deadline`; who cannot wait so
    /// long is told what was known before. What began before this call never takes the place of what it
    /// finds. Many calls at once share a search that begins after all of them.
    pub async fn refresh(&self, question: &Question, deadline: Instant) -> Known {
        let begun = self.begin(question, Asked::Anew);
        let found = begun.wait(deadline).await;
        found.map_or_else(|no_result| self.before(question, no_result), |plan| plan.known)
    }

    /// Takes everything that is kept of a digest as no longer known to be so: the next question asks
    /// the registry, what is being found out now is not kept, and who watches is told, for an answer that
    /// somebody keeps may be older than what is remembered. What was seen is not forgotten: if the
    /// registry cannot be asked it is used on as stale, and if it is gone it is withheld.
    pub fn invalidate(&self, registry: &str, repository: &str, digest: Digest) {
        let like = Key::like(registry, repository, digest);
        let is = |key: &Key| key.is_like(&like);
        self.0.flights.supersede(&like, is, || {
            self.0.doubts.lock().add(&like, self.0.clock.now());
            self.0.kept.change(self.0.kept.hash(&like), is, |entry| {
                entry.expire(self.0.clock.now());
            });
        });
        self.0.changes.digest(digest);
    }

    /// What is known of `question` now without waiting; see [`EvidenceSource::glance`].
    #[must_use]
    pub fn peek(&self, question: &Question) -> Option<Known> {
        self.glance(&question.at(Now::by(&*self.0.clock)))
    }

    /// How many digests are kept, and what they weigh in bytes with all behind them.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        self.0.size()
    }

    fn look(&self, glance: &Glance<'_>) -> Look {
        let hash = glance.hash.unwrap_or_else(|| self.0.kept.hash(&glance.asked()));
        let look = |entry: &Entry| entry.look(glance.now, &self.0.config);
        let found = self.0.kept.get(hash, |key| key.is_of(glance), look);
        found.unwrap_or(Look::Expired)
    }

    /// Begins to ask, or joins whoever does.
    fn begin(&self, question: &Question, asked: Asked) -> Begun<Plan> {
        let (shared, keeper) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let (key, owned) = (question.key(), question.clone());
        let kept_key = key.clone();
        let work = move || {
            let (shared, question) = (Arc::clone(&shared), owned.clone());
            let span = tracing::debug_span!(
                target: SPANS,
                "evidence.search",
                container.image.name = question.image.name(),
                oci.manifest.digest = %question.digest,
            );
            async move { shared.search(&question, asked).await }.instrument(span)
        };
        let kept = || {
            let now = Now::by(&*self.0.clock);
            let fresh = |entry: &Entry| {
                let is_fresh = now.at < entry.plan.known.fresh_until;
                (is_fresh && !entry.is_due(now.stamp, &self.0.config)).then(|| entry.plan.clone())
            };
            self.0.kept.get(self.0.kept.hash(&key), |other| *other == key, fresh).flatten()
        };
        let keep = move |plan: Option<&Plan>| match plan {
            Some(plan) => keeper.keep(kept_key.clone(), plan.clone(), asked),
            None => keeper.lost(&kept_key),
        };
        self.0.flights.begin(key.clone(), asked, kept, work, keep)
    }

    /// What is used where a search has no result in time: what was known before it, or why not.
    fn before(&self, question: &Question, no_result: NoResult) -> Known {
        let now = self.0.clock.now();
        let before = self.0.before(question).map(|(known, _)| known);
        let is_usable =
            |known: &Known| stale_until(&self.0.config, known).is_some_and(|at| now < at);
        match before.filter(is_usable) {
            Some(known) if now < known.fresh_until => Known { source: Source::Memory, ..known },
            Some(known) => Known { source: Source::Stale, ..known },
            None => unknown(no_result, now),
        }
    }
}

impl<S: EvidenceSource> Shared<S> {
    async fn search(self: &Arc<Self>, question: &Question, asked: Asked) -> Plan {
        let _counted = UnderWay::new(&self.metrics);
        let limit = Instant::now() + self.config.search_timeout;
        let mut stored = None;
        if self.before(question).is_none_or(|(known, _)| is_unknown(&known)) {
            // Nothing but what was stored when it was confirmed: it is as old as it is. A disk that was
            // too slow is asked again each time that the registry is.
            stored = self.inner.stored(question, limit).await;
            if let Some(known) = &mut stored {
                known.evidence = self.share(Arc::clone(&known.evidence));
            }
            let now = self.clock.now();
            let is_doubted = |known: &Known| known.source == Source::Stale;
            if let Some(known) = stored.clone().filter(|_| asked == Asked::Plainly)
                && !is_doubted(&known)
                && !self.doubts.lock().is_about(question, known.fetched_at)
            {
                let plan = plan(&self.config, None, known, now, self.roll());
                if now < plan.known.fresh_until {
                    return plan;
                }
            }
        }
        let mut found = self.inner.evidence(question, limit).await;
        found.evidence = self.share(found.evidence);
        let now = self.clock.now();
        let before = match (self.before(question), stored) {
            (Some((known, failures)), Some(stored)) if is_unknown(&known) => {
                Some((stored, failures))
            }
            (before, stored) => before.or_else(|| stored.map(|known| (known, 0))),
        };
        let before = before.as_ref().map(|(known, failures)| (known, *failures));
        plan(&self.config, before, found, now, self.roll())
    }

    /// What is kept, whatever its limits, and how often it could not be found out since.
    fn before(&self, question: &Question) -> Option<(Known, u32)> {
        self.kept.get(
            self.kept.hash(&question.asked()),
            |key| key.is(question),
            |entry| (entry.plan.known.clone(), entry.plan.failures),
        )
    }

    fn keep(&self, key: Key, plan: Plan, asked: Asked) {
        let hash = self.kept.hash(&key);
        let seen = |entry: &Entry| (entry.used_at(), Arc::clone(&entry.plan.known.evidence));
        let (used_at, before) = self.kept.get(hash, |other| *other == key, seen).unzip();
        let used_at = used_at.unwrap_or_else(|| self.clock.now().unix_timestamp());
        // Whoever keeps answers about what was not known has asked while it was not, and knows so; but
        // who asks anew may overtake a search whose answer is of before.
        let now = &plan.known.evidence;
        let is_news = match before {
            Some(before) => !Arc::ptr_eq(&before, now) && *before != **now,
            None => asked == Asked::Anew,
        };
        let digest = key.digest;
        let weight = key.weight() + plan.known.evidence.weight();
        let weight = weight + weight / ALLOCATOR;
        let evicted = self.kept.put(hash, key, Entry::new(plan, used_at), weight);
        self.metrics.evidence_evicted(evicted);
        if is_news {
            self.changes.digest(digest);
        }
    }

    /// A search of it ended without a result: somebody else may ask.
    fn lost(&self, key: &Key) {
        self.kept.get(self.kept.hash(key), |other| other == key, Entry::lost);
    }

    fn size(&self) -> (usize, u64) {
        (self.kept.len(), self.kept.bytes() + self.words.weight() as u64)
    }

    fn roll(&self) -> Roll {
        Roll(self.random.hash_one(self.rolled.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Whether it says no more than that it could not be found out.
fn is_unknown(known: &Known) -> bool {
    matches!(*known.evidence, Evidence::Unavailable(_))
}

fn unknown(no_result: NoResult, now: OffsetDateTime) -> Known {
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
    Known {
        evidence: Arc::new(Evidence::Unavailable(cause)),
        fetched_at: now,
        fresh_until: now,
        source: Source::Registry,
    }
}

impl<S: EvidenceSource> EvidenceSource for Memory<S> {
    fn glance(&self, glance: &Glance<'_>) -> Option<Known> {
        match self.look(glance) {
            Look::Fresh(known) => Some(known),
            Look::Due(known) => {
                // Nobody waits for it.
                drop(self.begin(&glance.question(), Asked::Plainly));
                Some(known)
            }
            Look::Expired => None,
        }
    }

    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        if let Some(known) = self.peek(question) {
            let is_stale = known.source == Source::Stale;
            self.0.metrics.lookup(if is_stale { Lookup::Stale } else { Lookup::Hit });
            return known;
        }
        let begun = self.begin(question, Asked::Plainly);
        let is_first = begun.is_first();
        let found = begun.wait(deadline).await;
        // Who cannot wait for the search is answered from before it, while it goes on.
        let known =
            found.map_or_else(|no_result| self.before(question, no_result), |plan| plan.known);
        self.0.metrics.lookup(match (&*known.evidence, known.source) {
            (Evidence::Unavailable(_), _) => Lookup::Failed,
            (_, Source::Stale | Source::Memory) => Lookup::Stale,
            _ if is_first => Lookup::Fetched,
            _ => Lookup::Coalesced,
        });
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

#[cfg(test)]
mod tests;
