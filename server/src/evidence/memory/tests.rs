//! What is remembered, for how long, and of whom.

use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_core::evidence::{Reason, Rejection, Reports};
use portcullis_core::image::Digest;
use portcullis_core::signature::{StoreFile, StoreKind, Trust};
use portcullis_testkit::clock::TestClock;
use portcullis_testkit::keys::Authority;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

/// Knows one thing of everything, and counts how often it is asked.
struct Source {
    evidence: Evidence,
    asked: AtomicUsize,
    clock: Arc<TestClock>,
}

impl EvidenceSource for Source {
    async fn evidence(&self, _: &Question, _: Instant) -> Known {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.clock.now();
        Known {
            evidence: Arc::new(self.evidence.clone()),
            fetched_at: now,
            fresh_until: now,
            source: super::Source::Registry,
        }
    }
}

struct World {
    memory: Memory<Source>,
    clock: Arc<TestClock>,
}

/// No chance in it, and nothing asked about in the background.
fn exact() -> MemoryConfig {
    MemoryConfig { soft: 100, spread: 0, ..MemoryConfig::default() }
}

/// A memory whose three lifetimes differ and pass by the test's clock alone.
fn world(evidence: Evidence) -> World {
    let clock = Arc::new(TestClock::new(NOW));
    let source = Source { evidence, asked: AtomicUsize::new(0), clock: Arc::clone(&clock) };
    let config = MemoryConfig {
        ttl: Duration::from_secs(300),
        negative_ttl: Duration::from_secs(200),
        failure_ttl: Duration::from_secs(100),
        ..exact()
    };
    let memory = Memory::new(
        source,
        config,
        clock.clone(),
        Arc::default(),
        Changes::default(),
        TaskTracker::new(),
        Handle::current(),
    );
    World { memory, clock }
}

impl World {
    /// Asks, and tells how often the source has been asked by then.
    async fn ask(&self, question: &Question) -> usize {
        let before = self.memory.0.inner.asked.load(Ordering::SeqCst);
        let known = self.memory.evidence(question, Instant::now() + Duration::from_secs(5)).await;
        let after = self.memory.0.inner.asked.load(Ordering::SeqCst);
        let expected = if after > before { super::Source::Registry } else { super::Source::Memory };
        assert_eq!(known.source, expected);
        after
    }
}

fn question() -> Question {
    Question {
        image: "reg.io/team/app:v1".parse().unwrap(),
        digest: Digest::of(b"image"),
        trust: Arc::new(Trust::nobody()),
        access: Arc::from("anonymous"),
    }
}

#[tokio::test]
async fn each_kind_of_evidence_lives_as_long_as_it_may() {
    let rejection =
        Rejection { reason: Reason::Unsigned, report: None, detail: "no signature".to_owned() };
    let cause = Cause { kind: CauseKind::Denied, detail: "status 403".to_owned() };
    for (evidence, seconds) in [
        (Evidence::Verified(Vec::new().into()), 300),
        (Evidence::Missing, 200),
        (Evidence::Rejected(rejection), 200),
        (Evidence::Unavailable(cause), 100),
        (Evidence::Unsupported, 100),
    ] {
        let status = evidence.status();
        let world = world(evidence);
        assert_eq!(world.ask(&question()).await, 1, "{status}");
        world.clock.advance(Duration::from_millis(seconds * 1_000 - 1));
        assert_eq!(world.ask(&question()).await, 1, "{status}");
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(world.ask(&question()).await, 2, "{status}");
    }
}

/// The clock of the machine is set back by an hour: a lifetime is not an hour longer for that.
#[tokio::test(start_paused = true)]
async fn t154_what_was_found_out_before_the_clock_was_set_back_is_asked_about_again() {
    for evidence in [Evidence::Verified(Vec::new().into()), Evidence::Missing] {
        let world = world(evidence);
        assert_eq!(world.ask(&question()).await, 1);
        world.clock.set(NOW - Duration::from_secs(3_600));
        let before = world.memory.0.inner.asked.load(Ordering::SeqCst);
        let known =
            world.memory.evidence(&question(), Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(known.source, super::Source::Memory, "it is used meanwhile");
        world.memory.0.tasks.close();
        world.memory.0.tasks.wait().await;
        assert_eq!(world.memory.0.inner.asked.load(Ordering::SeqCst), before + 1);
        // And from then on it lives as long as ever.
        assert_eq!(world.ask(&question()).await, before + 1);
        world.clock.advance(Duration::from_secs(300));
        assert_eq!(world.ask(&question()).await, before + 2);
    }
}

#[test]
fn t154_after_a_failure_it_is_the_pause_that_passes_though_the_clock_was_set_back() {
    let hour = Duration::from_secs(3_600);
    let due = |failures, pause| {
        let evidence = Arc::new(Evidence::Missing);
        let source = super::Source::Stale;
        let known = Known { evidence, fetched_at: NOW + hour, fresh_until: NOW + hour, source };
        let entry = Entry::new(Plan { known, due: NOW + pause, failures }, 0);
        entry.is_due(crate::clock::Stamp::of(NOW), &exact())
    };
    assert!(due(0, hour), "it was found out before");
    let pause = exact().max_failure_ttl;
    assert!(!due(1, pause) && due(1, Duration::ZERO) && due(1, hour));
}

#[tokio::test]
async fn verified_evidence_is_verified_again_when_a_signature_may_have_ended() {
    let until = |seconds| Some(NOW + Duration::from_secs(seconds));
    for (until, seconds) in [(until(299), 299), (until(301), 300), (None, 300)] {
        let world = world(Evidence::Verified(Reports::default().until(until)));
        assert_eq!(world.ask(&question()).await, 1);
        world.clock.advance(Duration::from_millis(seconds * 1_000 - 1));
        assert_eq!(world.ask(&question()).await, 1);
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(world.ask(&question()).await, 2);
    }
}

/// The key is taken apart by a pattern, so that a field that is added must be changed here too.
#[tokio::test]
async fn t075_a_question_that_differs_in_any_part_of_the_key_is_another() {
    let Key { access: _, name: _, registry: _, digest: _, trust: _ } = question().key();
    let authority = Authority::new("it", NOW).unwrap();
    let root = StoreFile {
        kind: StoreKind::Ca,
        store: "it".to_owned(),
        file: "root.pem".to_owned(),
        bytes: authority.root_pem().into_bytes(),
    };
    let policy = authority.trust_policy_json("*", "it").unwrap();
    let trust = Arc::new(Trust::parse(policy.as_bytes(), &[root]).unwrap());
    let world = world(Evidence::Missing);
    let with_image = |image: &str| Question { image: image.parse().unwrap(), ..question() };
    let others = [
        question(),
        Question { access: Arc::from("basic:robot"), ..question() },
        with_image("other.io/team/app:v1"),
        with_image("reg.io/team/other:v1"),
        Question { digest: Digest::of(b"other"), ..question() },
        Question { trust, ..question() },
    ];
    for (before, question) in others.iter().enumerate() {
        assert_eq!(world.ask(question).await, before + 1);
    }
    for question in &others {
        assert_eq!(world.ask(question).await, others.len());
    }
    // A tag is no part of it.
    assert_eq!(world.ask(&with_image("reg.io/team/app:v2")).await, others.len());
}

#[tokio::test]
async fn what_does_not_fit_is_forgotten_and_not_wrong() {
    let clock = Arc::new(TestClock::new(NOW));
    let source = Source {
        evidence: Evidence::Missing,
        asked: AtomicUsize::new(0),
        clock: Arc::clone(&clock),
    };
    let config = MemoryConfig { max_bytes: 1, ..exact() };
    let memory = Memory::new(
        source,
        config,
        clock.clone(),
        Arc::default(),
        Changes::default(),
        TaskTracker::new(),
        Handle::current(),
    );
    let world = World { memory, clock };
    assert_eq!(world.ask(&question()).await, 1);
    assert_eq!(world.ask(&question()).await, 2);
    assert_eq!(world.memory.0.kept.bytes(), 0);
}

/// A disk that is too slow when it is asked first, and a registry that is down.
struct LateDisk(AtomicUsize);

impl EvidenceSource for LateDisk {
    async fn evidence(&self, _: &Question, _: Instant) -> Known {
        unknown(NoResult::Lost, NOW)
    }

    async fn stored(&self, _: &Question, _: Instant) -> Option<Known> {
        let reads = self.0.fetch_add(1, Ordering::SeqCst);
        (reads > 0).then(|| Known {
            evidence: Arc::new(Evidence::Verified(Reports::default())),
            fetched_at: NOW,
            fresh_until: NOW,
            source: super::Source::Store,
        })
    }
}

#[tokio::test]
async fn what_was_stored_is_used_when_the_disk_was_late_and_the_registry_is_down() {
    for (seconds, source) in [(3, super::Source::Store), (400, super::Source::Stale)] {
        let clock = Arc::new(TestClock::new(NOW));
        let memory = Memory::new(
            LateDisk(AtomicUsize::new(0)),
            exact(),
            clock.clone(),
            Arc::default(),
            Changes::default(),
            TaskTracker::new(),
            Handle::current(),
        );
        let ask = async || {
            let deadline = Instant::now() + Duration::from_secs(5);
            memory.evidence(&question(), deadline).await
        };
        assert!(matches!(*ask().await.evidence, Evidence::Unavailable(_)));
        clock.advance(Duration::from_secs(seconds));
        let known = ask().await;
        assert!(matches!(*known.evidence, Evidence::Verified(_)), "{:?}", known.evidence);
        assert_eq!(known.source, source);
    }
}

mod asking;
mod bound;
mod lost;
