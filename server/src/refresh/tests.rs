//! The memory and what keeps it fresh, together, through hours that pass in milliseconds.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use portcullis_core::evidence::{Cause, CauseKind, Reports, Source as Origin};
use portcullis_core::image::Nodes;
use time::macros::datetime;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::changes::Changes;
use crate::evidence::EvidenceSource;
use crate::evidence::memory::{Memory, MemoryConfig};
use crate::evidence::store::Store;
use crate::hooks::news::{Kind, Subject};
use crate::hooks::queue::{Event, Queue, RESTS};
use crate::registry::RegistryConfig;
use crate::resolve::ResolveConfig;

mod day;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

/// The time of the paused runtime.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> OffsetDateTime {
        NOW + self.0.elapsed()
    }
}

/// Everything is verified, unless the registry is down.
struct Source {
    clock: Arc<Paused>,
    is_down: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl EvidenceSource for Source {
    async fn evidence(&self, _: &Question, _: Instant) -> Known {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let evidence = if self.is_down.load(Ordering::SeqCst) {
            let (kind, detail) = (CauseKind::Unreachable, "down".to_owned());
            Evidence::Unavailable(Cause { kind, detail })
        } else {
            Evidence::verified(Reports::new(Vec::new(), Vec::new()))
        };
        let now = self.clock.now();
        Known {
            evidence: Arc::new(evidence),
            fetched_at: now,
            fresh_until: now,
            source: Origin::Registry,
        }
    }
}

struct World {
    memory: Memory<Source>,
    refresher: Arc<Refresher<Memory<Source>>>,
    image: Reference,
    clock: Arc<Paused>,
    is_down: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    fn new() -> Self {
        Self::remembering(MemoryConfig::default())
    }

    fn remembering(config: MemoryConfig) -> Self {
        let clock = Arc::new(Paused(Instant::now()));
        let (is_down, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let source = Source {
            clock: Arc::clone(&clock),
            is_down: Arc::clone(&is_down),
            asked: Arc::clone(&asked),
        };
        let metrics = Arc::new(Metrics::new());
        let memory = Memory::new(
            source,
            config,
            clock.clone(),
            Arc::clone(&metrics),
            Changes::default(),
            TaskTracker::new(),
            Handle::current(),
        );
        let registry = Registry::new(RegistryConfig::default()).unwrap();
        let resolver = Resolver::new(
            registry.clone(),
            Store::none(),
            ResolveConfig::default(),
            clock.clone(),
            TaskTracker::new(),
            Handle::current(),
        );
        let trust = Arc::new(Trust::nobody());
        let refresher = Arc::new(Refresher::new(
            (registry.clone(), resolver, memory.clone()),
            move || Arc::clone(&trust),
            AccessScopes::new(registry),
            clock.clone(),
            Arc::clone(&metrics),
            RefreshConfig::default(),
        ));
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&refresher).keep_fresh(stop.clone()));
        let image = format!("a.io/x@{}", Digest::of(b"x")).parse().unwrap();
        Self { memory, refresher, image, clock, is_down, asked, metrics, stop }
    }

    /// Has `event` acted upon.
    fn tell(&self, event: Event) -> Queue {
        let queue = Queue::default();
        queue.offer(&[event]).unwrap();
        let refresher = Arc::clone(&self.refresher);
        tokio::spawn(refresher.follow(queue.clone(), self.stop.clone(), TaskTracker::new()));
        queue
    }

    async fn ask(&self) -> Known {
        let question = self.refresher.question(&self.image, Digest::of(b"x"));
        self.memory.evidence(&question, Instant::now() + Duration::from_secs(1)).await
    }

    fn counted(&self, reason: &str, outcome: &str) -> u64 {
        let labels =
            format!("portcullis_refreshes_total{{reason=\"{reason}\",outcome=\"{outcome}\"}} ");
        let text = self.metrics.encode().unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(&labels));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_about_now_and_then_is_always_answered_from_memory() {
    let world = World::new();
    assert_eq!(world.ask().await.source, Origin::Registry);
    // Seldom enough that a use would often come too late to ask again in the background.
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(301)).await;
        let known = world.ask().await;
        assert_eq!(known.source, Origin::Memory);
        let age = world.clock.now() - known.fetched_at;
        assert!(age < Duration::from_secs(300), "{age}");
    }
    assert!(world.counted("age", "unchanged") + world.counted("age", "changed") >= 12);
    assert_eq!(world.counted("age", "failed"), 0);
}

#[tokio::test(start_paused = true)]
async fn t121_while_a_registry_fails_old_facts_stay_and_do_not_flap() {
    let world = World::new();
    world.ask().await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    world.ask().await;
    world.is_down.store(true, Ordering::SeqCst);
    let (asked, mut last) = (world.asked.load(Ordering::SeqCst), world.ask().await.fetched_at);
    let begun = last;
    for _ in 0..180 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let known = world.ask().await;
        assert_eq!(known.evidence.status(), "verified");
        // It is as old as it is, whatever was tried since.
        assert!(known.fetched_at >= last && known.fetched_at <= begun + Duration::from_secs(1));
        last = known.fetched_at;
    }
    let tried = world.asked.load(Ordering::SeqCst) - asked;
    assert!((5..=120).contains(&tried), "{tried}");
    assert!(world.counted("age", "failed") > 0);
    world.is_down.store(false, Ordering::SeqCst);
    for _ in 0..33 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.ask().await;
    }
    let age = world.clock.now() - world.ask().await.fetched_at;
    assert!(age < Duration::from_secs(300), "{age}");
}

#[tokio::test(start_paused = true)]
async fn an_event_about_what_was_asked_lately_asks_again_and_about_other_things_does_not() {
    let world = World::new();
    world.ask().await;
    let event = |image: &Reference| Event {
        kind: Kind::Scanned,
        image: image.clone(),
        subject: Subject::Nothing,
    };
    let asked = || world.asked.load(Ordering::SeqCst);
    world.refresher.told(&event(&world.image)).await;
    assert_eq!((asked(), world.counted("event", "unchanged")), (2, 1));
    let other = format!("a.io/x@{}", Digest::of(b"other")).parse().unwrap();
    world.refresher.told(&event(&other)).await;
    assert_eq!((asked(), world.counted("event", "forgotten")), (2, 1));
    // Nobody asks for a while: it is asked about when somebody does.
    tokio::time::sleep(RefreshConfig::default().asked_within + Duration::from_secs(1)).await;
    let before = asked();
    world.refresher.told(&event(&world.image)).await;
    assert_eq!((asked(), world.counted("event", "forgotten")), (before, 2));
    assert_eq!(world.ask().await.source, Origin::Registry);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_is_told_where_the_registry_does_not_say_what_it_has() {
    let world = World::new();
    let digest = Digest::of(b"x");
    // Where nobody listens.
    let image: Reference = format!("localhost:1/x@{digest}").parse().unwrap();
    let soon = Instant::now() + Duration::from_secs(60);
    world.memory.refresh(&world.refresher.question(&image, digest), soon).await;
    let refreshed = world.refresher.asked(&image, &Nodes::default(), soon).await.unwrap();
    let [manifest] = refreshed.manifests.as_slice() else { panic!("{refreshed:?}") };
    let status = |subject: &portcullis_core::evidence::Subject| subject.evidence.status();
    assert_eq!(manifest.before.as_ref().map(status), Some("verified"));
    assert_eq!((status(&manifest.after), manifest.outcome), ("unavailable", Outcome::Failed));
}

#[tokio::test(start_paused = true)]
async fn an_event_while_its_registry_is_away_is_acted_upon_when_it_is_back() {
    let world = World::new();
    world.ask().await;
    world.is_down.store(true, Ordering::SeqCst);
    let (kind, subject) = (Kind::Scanned, Subject::Nothing);
    let queue = world.tell(Event { kind, image: world.image.clone(), subject });
    let begun = world.clock.now();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let tries = RESTS.len() as u64;
    assert!((3..tries).contains(&world.counted("event", "failed")));
    assert_eq!((queue.len(), world.ask().await.fetched_at <= begun), (1, true));
    world.is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(queue.is_empty());
    assert_eq!(world.counted("event", "unchanged"), 1);
    assert!(world.ask().await.fetched_at > begun + Duration::from_secs(100));
    assert_eq!(world.counted("event", "given_up"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_image_is_never_found_out_is_given_up_and_told_of() {
    let world = World::new();
    // Of something that is attached to we do not know what, where nobody listens.
    let image = format!("localhost:1/x@{}", Digest::of(b"signature")).parse().unwrap();
    let queue = world.tell(Event { kind: Kind::Pushed, image, subject: Subject::Unsaid });
    let tries = RESTS.len() as u64 + 1;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(world.counted("event", "failed"), tries);
    assert_eq!((world.counted("event", "given_up"), queue.len()), (1, 0));
    // What is gone is not there the next time either.
    let image = format!("localhost:1/x@{}", Digest::of(b"gone")).parse().unwrap();
    let queue = world.tell(Event { kind: Kind::Deleted, image, subject: Subject::Unsaid });
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!((world.counted("event", "unknown"), queue.len()), (1, 0));
}
