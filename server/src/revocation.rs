//! Questions whether certificates were revoked in, what OCSP and CRLs say out: from memory at once,
//! and asked for where memory has nothing.
//!
//! An examination asks [`Revocation`] for what is known and never waits. What it is told is pending
//! the search asks for, within its own deadline, and examines again. What is in use is asked for
//! again before its time is over, in the background, so that nobody waits for it twice. A failure is
//! backed off and remembered as not known: never as good, and never in place of an answer that still
//! holds.

mod source;

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use moka::sync::Cache;
use portcullis_core::image::Digest;
use portcullis_core::ports::Clock;
use portcullis_core::signature::revocation::Answer;
use portcullis_core::signature::{RevocationQuestion, RevocationStatus, Revocations};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::source::Sources;
use crate::evidence::flights::Flights;
use crate::metrics::Metrics;
use crate::registry::Downloads;

/// The most certificates of which it is remembered whether they were revoked.
pub const MAX_KNOWN: u64 = 10_000;
/// The longest time that an answer is used, however long its source stands by it: lists are often
/// good for weeks, and a revocation in between is in the next one only.
pub const MAX_LIFE: Duration = Duration::from_hours(12);
/// The shortest, so that a source that promises nothing is not asked by every search.
pub const MIN_LIFE: Duration = Duration::from_mins(1);
/// How long a failure is not tried again at first; it doubles with each one that follows.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
/// The longest.
const LAST_BACKOFF: Duration = Duration::from_mins(2);

/// Whom to ask, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationConfig {
    /// Hosts, with their port unless it is the scheme's, that may have an address that is not
    /// public.
    pub hosts: BTreeSet<String>,
    /// How long is waited for the OCSP responders of one certificate.
    pub ocsp_timeout: Duration,
    /// How long is waited for its CRLs.
    pub crl_timeout: Duration,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            hosts: BTreeSet::new(),
            ocsp_timeout: Duration::from_secs(2),
            crl_timeout: Duration::from_secs(5),
        }
    }
}

/// Who knows whether certificates were revoked. Clones share what they know.
#[derive(Clone)]
pub struct Revocation(Arc<Inner>);

struct Inner {
    sources: Sources,
    known: Cache<Digest, Known>,
    flights: Flights<Digest, Known>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    runtime: Handle,
    random: RandomState,
}

/// What is known of one certificate.
#[derive(Debug, Clone)]
struct Known {
    status: RevocationStatus,
    /// From when on it is asked again in the background.
    refresh_at: OffsetDateTime,
    /// From when on it is not used.
    until: OffsetDateTime,
    /// How often in a row it could not be found out.
    failures: u32,
}

impl Revocation {
    /// Asks by way of `downloads`. What is asked runs as tasks of `tasks`, on the runtime in which
    /// this is called.
    #[must_use]
    pub fn new(
        downloads: Downloads,
        config: &RevocationConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Self {
        Self(Arc::new(Inner {
            sources: Sources::new(downloads, config, Arc::clone(&clock), metrics),
            known: Cache::builder().name("revocation").max_capacity(MAX_KNOWN).build(),
            flights: Flights::new(tasks.clone(), Handle::current()),
            clock,
            tasks,
            runtime: Handle::current(),
            random: RandomState::new(),
        }))
    }

    /// Finds out what is asked, all of it side by side, until `deadline` at the latest. What is not
    /// known by then is still asked, and still pending.
    pub async fn ask(&self, questions: &[RevocationQuestion], deadline: Instant) {
        join_all(questions.iter().map(|question| self.find(question, deadline))).await;
    }

    async fn find(&self, question: &RevocationQuestion, deadline: Instant) {
        let key = key(question);
        let work = || {
            let (this, question) = (self.clone(), question.clone());
            async move {
                // Another flight may have landed since whoever begins this one looked.
                let kept = this.0.known.get(&key);
                if let Some(kept) = kept.filter(|known| this.0.clock.now() < known.refresh_at) {
                    return kept;
                }
                let found = this.0.sources.ask(&question).await;
                let known = this.after(key, found);
                // Kept before the flight lands, so that nobody can find neither.
                this.0.known.insert(key, known.clone());
                known
            }
        };
        // Who has no result by then finds the question pending, whatever the cause.
        let _ = self.0.flights.join(key, deadline, work).await;
    }

    /// Asks again what is known and will soon have to be asked.
    fn refresh(&self, question: &RevocationQuestion) {
        let (this, question) = (self.clone(), question.clone());
        let limit = Instant::now() + this.0.sources.patience();
        let work = async move { this.find(&question, limit).await };
        self.0.tasks.spawn_on(work, &self.0.runtime);
    }

    /// What is known after asking.
    fn after(&self, key: Digest, found: Result<Answer, String>) -> Known {
        let (now, before) = (self.0.clock.now(), self.0.known.get(&key));
        let detail = match found {
            Ok(Answer { status: RevocationStatus::Unknown { detail }, .. }) | Err(detail) => detail,
            Ok(Answer { status, next_update }) => {
                let life = Duration::try_from(next_update - now).unwrap_or_default();
                let life = life.clamp(MIN_LIFE, MAX_LIFE);
                // Between the half and three quarters of its life, not all at once.
                let part = life.mul_f64(0.5 + 0.25 * self.random(key));
                return Known { status, refresh_at: now + part, until: now + life, failures: 0 };
            }
        };
        let failures = before.as_ref().map_or(0, |before| before.failures);
        let backoff = FIRST_BACKOFF.saturating_mul(1 << failures.min(8)).min(LAST_BACKOFF);
        let again = now + backoff.mul_f64(1.0 + 0.25 * self.random(key));
        let failures = failures.saturating_add(1);
        match before {
            Some(before) if now < before.until && before.is_answer() => {
                Known { refresh_at: again.min(before.until), failures, ..before }
            }
            _ => {
                let status = RevocationStatus::Unknown { detail };
                Known { status, refresh_at: again, until: again, failures }
            }
        }
    }

    /// A number from 0 to 1 that is another one in every process.
    #[expect(clippy::cast_precision_loss, reason = "a part of a time needs no 64 bits")]
    fn random(&self, key: Digest) -> f64 {
        self.0.random.hash_one((key, self.0.clock.now())) as f64 / u64::MAX as f64
    }
}

impl Revocations for Revocation {
    fn status(&self, question: &RevocationQuestion) -> RevocationStatus {
        let now = self.0.clock.now();
        match self.0.known.get(&key(question)) {
            Some(known) if now < known.until => {
                if now >= known.refresh_at {
                    self.refresh(question);
                }
                known.status
            }
            _ => RevocationStatus::Pending,
        }
    }
}

impl Known {
    const fn is_answer(&self) -> bool {
        matches!(self.status, RevocationStatus::Good | RevocationStatus::Revoked { .. })
    }
}

/// Which certificate of which issuer.
fn key(question: &RevocationQuestion) -> Digest {
    // The length first, so that no byte can be taken for one of the other.
    let length = question.certificate.len().to_be_bytes();
    Digest::of(&[&length, question.certificate.as_slice(), &question.issuer].concat())
}

#[cfg(test)]
mod tests;
