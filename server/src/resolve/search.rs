//! A name in, what a registry or a store says that it names out, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_core::evidence::{CauseKind, Evidence, Source};
use portcullis_core::image::Reference;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Answer, Entry, Found, Fresh, Key, Plan, Resolver, Shared, read};
use crate::caller::Caller;
use crate::clock::{Now, Stamp};
use crate::evidence::collect::failed;
use crate::evidence::flights::{Asked, Begun};
use crate::evidence::store::{StoreKey, Stored};
use crate::registry::{Answers, jitter};

/// Over how long those are spread that a restart finds due.
const DUE_SPREAD: Duration = Duration::from_secs(30);
/// The longest that a search that fails again and again is not repeated.
const MAX_PAUSE: Duration = Duration::from_secs(30);

impl Entry {
    fn new(plan: Plan) -> Self {
        let alone = plan.fresh.answer.as_ref().ok();
        let alone = alone.filter(|resolved| resolved.platforms.is_empty());
        let alone = alone.map(|resolved| resolved.digest);
        Self { limits: limits(&plan), alone, plan, is_asking: AtomicBool::new(false) }
    }

    /// It is no longer known to be so at `now`.
    pub(super) fn expire(&mut self, now: OffsetDateTime) {
        let Plan { fresh, due, failures } = &mut self.plan;
        let past = fresh.confirmed_at.min(now);
        (fresh.until, *due, *failures) = (past, past, 0);
        self.limits = limits(&self.plan);
    }
}

fn limits(plan: &Plan) -> (Stamp, Stamp) {
    (Stamp::of(plan.fresh.until), Stamp::of(plan.due))
}

impl Resolver {
    /// Begins a search for what `image` names, or joins the one that is under way.
    pub(super) fn begin(
        &self,
        image: &Reference,
        access: &Arc<str>,
        caller: Caller,
    ) -> Begun<Found> {
        let image = image.digest().map_or_else(|| image.clone(), |digest| image.at(digest));
        let key = Key { access: Arc::clone(access), image };
        let (searcher, keeper) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let (searched, kept_key) = (key.clone(), key.clone());
        let work = move || {
            let (shared, key) = (Arc::clone(&searcher), searched.clone());
            let place = shared.places.take(caller, key.image.registry());
            let search = async move {
                // Nobody else is told of it: it is not kept.
                let _place = place.map_err(|full| full.evidence())?;
                Ok(shared.search(&key).await)
            };
            // Below the question that began it.
            search.in_current_span()
        };
        let now = self.0.clock.now();
        let kept = || {
            let fresh = |entry: &Entry| {
                (now < entry.plan.fresh.until && now < entry.plan.due).then(|| entry.plan.clone())
            };
            let hash = self.0.kept.hash(&key);
            self.0.kept.get(hash, |other| *other == key, fresh).flatten().map(Ok)
        };
        let keep = move |found: Option<&Found>| match found {
            Some(Ok(plan)) => keeper.keep(&kept_key, plan),
            Some(Err(_)) | None => keeper.lost(&kept_key),
        };
        self.0.flights.begin(key.clone(), Asked::Plainly, kept, work, keep)
    }
}

impl Shared {
    /// What may be used of what is remembered, and whether whoever is told has to ask again.
    pub(super) fn look(&self, entry: &Entry, now: Now) -> Option<(Source, bool)> {
        let (Plan { fresh, failures, .. }, (until, due)) = (&entry.plan, entry.limits);
        let source = if now.stamp < until {
            if fresh.source == Source::Stale { Source::Stale } else { Source::Memory }
        } else if *failures > 0 && self.is_usable(fresh, now.at) {
            Source::Stale
        } else {
            return None;
        };
        let is_due = now.stamp >= due && !entry.is_asking.swap(true, Ordering::Relaxed);
        Some((source, is_due))
    }

    /// Whether what was remembered may be used while the registry cannot be asked.
    pub(super) fn is_usable(&self, fresh: &Fresh, now: OffsetDateTime) -> bool {
        fresh.answer.is_ok() && now < fresh.confirmed_at + self.config.stale_ttl
    }

    pub(super) async fn search(&self, key: &Key) -> Plan {
        let mut before = self.before(key);
        // A disk that was too slow is asked again each time that the registry is.
        if before.as_ref().is_none_or(|(fresh, _)| is_unknown(&fresh.answer)) {
            let stored = self.stored(key).await;
            if let Some(plan) = stored.as_ref().filter(|plan| self.clock.now() < plan.fresh.until) {
                return plan.clone();
            }
            let failures = before.as_ref().map_or(0, |(_, failures)| *failures);
            before = stored.map(|plan| (plan.fresh, failures)).or(before);
        }
        let limit = Instant::now() + self.config.search_timeout;
        let (answer, is_outage) = self.ask(key, limit).await;
        if let (Err(_), false, Some((Fresh { answer: Ok(was), .. }, _))) =
            (&answer, is_outage, &before)
        {
            // Nor by what it named.
            self.store.forget(StoreKey::name(&key.image.at(was.digest), &key.access));
        }
        self.plan(key, before, answer, is_outage)
    }

    /// Asks the registry; whether it could not be asked is told beside the answer.
    async fn ask(&self, key: &Key, limit: Instant) -> (Answer, bool) {
        let stored = || StoreKey::name(&key.image, &key.access);
        // What changes while it is asked may not be seen: what is stored is as old as the question.
        let begun = self.clock.now();
        match self.registry.resolve(&key.image, limit).await {
            Ok(fetched) => {
                let pinned = key.image.at(fetched.digest);
                let by_digest = StoreKey::name(&pinned, &key.access);
                self.store.keep(by_digest, begun, Answers::of(None, &fetched));
                if let (None, Some(tag)) = (key.image.digest(), key.image.tag()) {
                    self.store.keep(stored(), begun, Answers::of(Some(tag), &fetched));
                }
                (read(&fetched).map(Arc::new), false)
            }
            Err(error) => {
                let evidence = failed(&error);
                // What a registry refuses to show is not used on: access ends (CASES T077).
                let is_outage = matches!(evidence, Evidence::Unavailable(_)) && !error.is_refusal();
                if !is_outage {
                    self.store.forget(stored());
                }
                (Err(Arc::new(evidence)), is_outage)
            }
        }
    }

    /// What was known before the service was started, as old as it is.
    async fn stored(&self, key: &Key) -> Option<Plan> {
        let stored = self.store.find(&StoreKey::name(&key.image, &key.access)).await?;
        let Stored { at, is_doubted, answers } = stored;
        let fetched = answers.named(key.image.tag(), key.image.digest())?;
        let answer = Ok(Arc::new(read(&fetched).ok()?));
        let ttl = self.ttl(key);
        let until = if is_doubted { at } else { at + ttl };
        let fresh = Fresh { answer, until, confirmed_at: at, source: Source::Store };
        // The registry is not asked about all of them at once.
        let due = (at + soft(ttl)).max(self.clock.now() + jitter(DUE_SPREAD)).min(until);
        Some(Plan { fresh, due, failures: 0 })
    }

    fn ttl(&self, key: &Key) -> Duration {
        if key.image.digest().is_some() { self.config.access_ttl } else { self.config.tag_ttl }
    }

    fn before(&self, key: &Key) -> Option<(Fresh, u32)> {
        self.kept.get(
            self.kept.hash(key),
            |other| other == key,
            |entry| (entry.plan.fresh.clone(), entry.plan.failures),
        )
    }

    /// What counts after the registry was asked.
    fn plan(
        &self,
        key: &Key,
        before: Option<(Fresh, u32)>,
        answer: Answer,
        is_outage: bool,
    ) -> Plan {
        let now = self.clock.now();
        let failures = before.as_ref().map_or(0, |(_, failures)| *failures).saturating_add(1);
        let pause = self.config.failure_ttl * 2_u32.saturating_pow(failures.min(16) - 1);
        let retry = now + pause.min(self.config.failure_ttl.max(MAX_PAUSE));
        let before = before.map(|(fresh, _)| fresh).filter(|fresh| self.is_usable(fresh, now));
        if let Some(before) = before.filter(|_| is_outage) {
            let limit = before.confirmed_at + self.config.stale_ttl;
            let fresh = if now < before.until && before.source != Source::Stale {
                before
            } else {
                Fresh { until: retry.min(limit), source: Source::Stale, ..before }
            };
            return Plan { fresh, due: retry, failures };
        }
        let source = Source::Registry;
        if answer.is_err() {
            let fresh = Fresh { answer, until: retry, confirmed_at: now, source };
            return Plan { fresh, due: retry, failures };
        }
        let ttl = self.ttl(key);
        let fresh = Fresh { answer, until: now + ttl, confirmed_at: now, source };
        Plan { fresh, due: now + soft(ttl), failures: 0 }
    }

    pub(super) fn keep(&self, key: &Key, plan: &Plan) {
        // What a tag names is known by its digest too.
        if let (None, Ok(resolved), 0) = (key.image.digest(), &plan.fresh.answer, plan.failures) {
            let key = Key { image: key.image.at(resolved.digest), ..key.clone() };
            let until = plan.fresh.confirmed_at + self.config.access_ttl;
            let due = plan.fresh.confirmed_at + soft(self.config.access_ttl);
            self.put(key, Plan { fresh: Fresh { until, ..plan.fresh.clone() }, due, failures: 0 });
        }
        self.put(key.clone(), plan.clone());
    }

    /// A search of it ended without a result: somebody else may ask.
    pub(super) fn lost(&self, key: &Key) {
        let lost = |entry: &Entry| entry.is_asking.store(false, Ordering::Relaxed);
        self.kept.get(self.kept.hash(key), |other| other == key, lost);
    }

    fn put(&self, key: Key, plan: Plan) {
        let weight = key.weight() + plan.fresh.weight();
        let hash = self.kept.hash(&key);
        self.kept.put(hash, key, Entry::new(plan), weight);
    }
}

/// Whether it says no more than that the registry could not be asked. One that refused was asked.
fn is_unknown(answer: &Answer) -> bool {
    let Err(evidence) = answer else { return false };
    let refused = |kind: CauseKind| matches!(kind, CauseKind::Denied | CauseKind::NotFound);
    matches!(&**evidence, Evidence::Unavailable(cause) if !refused(cause.kind))
}

/// After how long what is in use is asked again in the background: chance spreads what came together.
fn soft(ttl: Duration) -> Duration {
    let soft = ttl * 4 / 5;
    soft - jitter(soft * 2 / 5)
}
