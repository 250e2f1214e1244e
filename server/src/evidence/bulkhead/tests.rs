//! Searches through what is stored and in registries, so many at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::poll;
use portcullis_core::image::Digest;
use portcullis_core::signature::Trust;
use portcullis_testkit::clock::TestClock;
use time::macros::datetime;

use super::*;

/// Finds something when it is let.
struct Slow {
    under_way: AtomicUsize,
    asked: AtomicUsize,
    gate: Arc<Semaphore>,
}

impl EvidenceSource for Slow {
    async fn evidence(&self, _: &Question, _: Instant) -> Known {
        self.asked.fetch_add(1, Ordering::SeqCst);
        found(Source::Registry)
    }

    async fn stored(&self, _: &Question, _: Instant) -> Option<Known> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        Some(found(Source::Store))
    }
}

fn found(source: Source) -> Known {
    let now = datetime!(2026-08-01 12:00 UTC);
    Known { evidence: Arc::new(Evidence::Missing), fetched_at: now, fresh_until: now, source }
}

fn question() -> Question {
    Question {
        image: "reg.io/app:v1".parse().unwrap(),
        digest: Digest::of(b"image"),
        trust: Arc::new(Trust::nobody()),
        access: Arc::from(""),
    }
}

fn bulkhead(gate: &Arc<Semaphore>, config: &LimitConfig) -> Bulkhead<Slow> {
    let slow = Slow { under_way: 0.into(), asked: 0.into(), gate: Arc::clone(gate) };
    let clock = Arc::new(TestClock::new(datetime!(2026-08-01 12:00 UTC)));
    Bulkhead::new(slow, config, clock, Arc::default())
}

#[tokio::test(start_paused = true)]
async fn t135_a_search_whose_time_is_up_is_not_begun_and_is_counted() {
    let bulkhead = bulkhead(&Arc::new(Semaphore::new(0)), &LimitConfig::default());
    let late = bulkhead.evidence(&question(), Instant::now()).await;
    assert!(matches!(&*late.evidence, Evidence::Unavailable(_)), "{late:?}");
    assert_eq!(bulkhead.inner.asked.load(Ordering::SeqCst), 0);
    let in_time = bulkhead.evidence(&question(), Instant::now() + PATIENCE).await;
    assert_eq!((in_time.source, bulkhead.inner.asked.into_inner()), (Source::Registry, 1));
    let text = bulkhead.metrics.encode().unwrap();
    let line = "portcullis_searches_shed_total{outcome=\"expired_in_queue\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_search_past_those_through_what_is_stored_waits_and_then_asks_its_registry() {
    let gate = Arc::new(Semaphore::new(0));
    let bulkhead = bulkhead(&gate, &LimitConfig::default());
    let question = question();
    let begun = Instant::now();
    let late = begun + 100 * PATIENCE;
    let under_way = || bulkhead.inner.under_way.load(Ordering::SeqCst);
    let mut all: Vec<_> =
        (0..MAX_STORED).map(|_| Box::pin(bulkhead.stored(&question, late))).collect();
    for one in &mut all {
        assert!(poll!(one).is_pending());
    }
    // One more has no turn in time, and one that has less time waits no longer than that.
    assert!(bulkhead.stored(&question, late).await.is_none());
    assert_eq!((begun.elapsed(), under_way()), (PATIENCE, MAX_STORED));
    let soon = Instant::now() + PATIENCE / 4;
    assert!(bulkhead.stored(&question, soon).await.is_none());
    assert_eq!((Instant::now(), under_way()), (soon, MAX_STORED));
    // Where one ends, the next begins.
    let mut next = Box::pin(bulkhead.stored(&question, late));
    assert!(poll!(&mut next).is_pending());
    gate.add_permits(1);
    let first = all.remove(0);
    assert!(first.await.is_some());
    assert!(poll!(&mut next).is_pending());
    assert_eq!(under_way(), MAX_STORED + 1);
}
