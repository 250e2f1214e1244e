//! Hours in milliseconds: what is asked again when, and what is left alone.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use portcullis_core::evidence::{Evidence, Reports, Source};
use portcullis_core::ports::Clock;
use portcullis_core::signature::Trust;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio_util::task::TaskTracker;

use super::*;
use crate::access::AccessScopes;
use crate::evidence::Known;
use crate::evidence::store::Store;
use crate::hooks::news::Kind;
use crate::hooks::queue::{Event, Queue};
use crate::metrics::Metrics;
use crate::refresh::RefreshConfig;
use crate::registry::{Registry, RegistryConfig};
use crate::resolve::{ResolveConfig, Resolver};

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);
/// How old something is when it is to be looked at again.
const SOFT: Duration = Duration::from_secs(240);
const HOUR: Duration = Duration::from_hours(1);

/// The time of the paused runtime.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> OffsetDateTime {
        NOW + self.0.elapsed()
    }
}

struct Entry {
    known: Known,
    asked_at: OffsetDateTime,
    due: OffsetDateTime,
}

/// A memory of images, and registries that fail when they are told to.
struct Fake {
    entries: Mutex<BTreeMap<Reference, Entry>>,
    failing: Mutex<BTreeSet<String>>,
    looks: Mutex<Vec<(Reference, OffsetDateTime)>>,
    under_way: Mutex<BTreeMap<String, (usize, usize)>>,
    /// How often what is old is asked for, and how often something is refreshed, until it goes well.
    panics: Mutex<(usize, usize)>,
    /// In the names of those whose refresh always panics.
    broken: Mutex<Option<&'static str>>,
    clock: Arc<Paused>,
}

fn verified(now: OffsetDateTime) -> Known {
    Known {
        evidence: Arc::new(Evidence::verified(Reports::new(Vec::new(), Vec::new()))),
        fetched_at: now,
        fresh_until: now + Duration::from_secs(300),
        source: Source::Registry,
    }
}

fn panic_while(left: &mut usize) {
    let is_over = *left == 0;
    *left = left.saturating_sub(1);
    assert!(is_over, "a fault that was put here");
}

impl Fake {
    fn fails(&self, image: &Reference) -> bool {
        let failing = self.failing.lock();
        failing.contains(image.registry()) || failing.contains(image.as_str())
    }

    fn fail(&self, what: &str) {
        self.failing.lock().insert(what.to_owned());
    }

    fn ask(&self, image: &Reference) -> OffsetDateTime {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(image).unwrap();
        entry.asked_at = self.clock.now();
        entry.known.fetched_at
    }

    fn looks(&self, part: &str) -> usize {
        self.looks.lock().iter().filter(|(image, _)| image.as_str().contains(part)).count()
    }
}

struct UnderWay(Arc<Fake>, String);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.lock().get_mut(&self.1).unwrap().0 -= 1;
    }
}

impl Remember for Arc<Fake> {
    async fn refresh(&self, question: &Question, _: Instant) -> Known {
        let (image, registry) = (&question.image, question.image.registry().to_owned());
        self.looks.lock().push((image.clone(), self.clock.now()));
        panic_while(&mut self.panics.lock().1);
        let is_broken = self.broken.lock().is_some_and(|part| image.as_str().contains(part));
        assert!(!is_broken, "a fault that was put here");
        {
            let mut under_way = self.under_way.lock();
            let (now, most) = under_way.entry(registry.clone()).or_default();
            *now += 1;
            *most = (*most).max(*now);
        }
        // Who goes away no longer waits.
        let _under_way = UnderWay(Self::clone(self), registry);
        let takes = if self.fails(image) { 10_000 } else { 50 };
        tokio::time::sleep(Duration::from_millis(takes)).await;
        let now = self.clock.now();
        let fails = self.fails(image);
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(image).unwrap();
        if fails {
            entry.due = now + Duration::from_secs(30);
        } else {
            (entry.known, entry.due) = (verified(now), now + SOFT);
        }
        entry.known.clone()
    }

    fn remembered(&self, question: &Question) -> Option<(Known, OffsetDateTime)> {
        let entries = self.entries.lock();
        let entry = entries.get(&question.image)?;
        Some((entry.known.clone(), entry.asked_at))
    }

    fn aging(&self, asked_since: OffsetDateTime, due_by: OffsetDateTime) -> Vec<Aging> {
        panic_while(&mut self.panics.lock().0);
        let entries = self.entries.lock();
        let aging = entries.iter().filter(|(_, e)| e.asked_at >= asked_since && e.due <= due_by);
        let aging = aging.map(|(image, entry)| Aging {
            image: image.clone(),
            access: Arc::from("anonymous"),
            trust: Trust::nobody().revision(),
            due: entry.due,
        });
        aging.collect()
    }

    fn expire(&self, _: &Question) {}
}

/// A sweep over images that are known since now.
struct World {
    memory: Arc<Fake>,
    images: Vec<Reference>,
    refresher: Arc<Refresher<Arc<Fake>>>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

fn world(images: &[&str]) -> World {
    let clock = Arc::new(Paused(Instant::now()));
    let digest = |name: &str| Digest::of(name.as_bytes());
    let images: Vec<Reference> =
        images.iter().map(|name| format!("{name}@{}", digest(name)).parse().unwrap()).collect();
    let entry = || Entry { known: verified(NOW), asked_at: NOW, due: NOW + SOFT };
    let entries = images.iter().map(|image| (image.clone(), entry())).collect();
    let memory = Arc::new(Fake {
        entries: Mutex::new(entries),
        failing: Mutex::default(),
        looks: Mutex::default(),
        under_way: Mutex::default(),
        panics: Mutex::default(),
        broken: Mutex::default(),
        clock: Arc::clone(&clock),
    });
    let registry = Registry::new(RegistryConfig::default()).unwrap();
    let config = ResolveConfig::default();
    let resolver = Resolver::new(
        registry.clone(),
        Store::none(),
        config,
        clock.clone(),
        TaskTracker::new(),
        tokio::runtime::Handle::current(),
    );
    let trust = Arc::new(Trust::nobody());
    let metrics = Arc::new(Metrics::new());
    let refresher = Arc::new(Refresher::new(
        (registry.clone(), resolver, Arc::clone(&memory)),
        move || Arc::clone(&trust),
        AccessScopes::new(registry),
        clock,
        Arc::clone(&metrics),
        RefreshConfig::default(),
    ));
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&refresher).keep_fresh(stop.clone()));
    World { memory, images, refresher, metrics, stop }
}

impl World {
    /// Lets time pass while each image is asked about each minute; gives the greatest age of what was
    /// answered.
    async fn pass(&self, time: Duration) -> Duration {
        let mut oldest = Duration::ZERO;
        for _ in 0..time.as_secs() / 60 {
            tokio::time::sleep(Duration::from_mins(1)).await;
            for image in &self.images {
                let age = self.memory.clock.now() - self.memory.ask(image);
                oldest = oldest.max(age.unsigned_abs());
            }
        }
        oldest
    }

    fn panics(&self, what: &str) -> String {
        let text = self.metrics.encode().unwrap();
        let line = format!("portcullis_panics_total{{what=\"{what}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)).unwrap().to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_about_is_never_old_and_what_is_not_is_left() {
    let world = world(&["a.io/x", "b.io/x"]);
    let oldest = world.pass(HOUR).await;
    assert!(oldest < Duration::from_secs(300), "{oldest:?}");
    let looks = world.memory.looks("");
    assert!((28..=30).contains(&looks), "{looks}");
    // Nobody asks any more.
    tokio::time::sleep(RefreshConfig::default().asked_within).await;
    let looks = world.memory.looks("");
    tokio::time::sleep(24 * HOUR).await;
    assert_eq!(world.memory.looks(""), looks);
}

#[tokio::test(start_paused = true)]
async fn t121_a_registry_that_fails_is_asked_seldom_and_what_is_known_stays() {
    let names: Vec<_> = (0..100).map(|n| format!("down.io/x{n}")).collect();
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.push("up.io/x");
    let world = world(&names);
    world.memory.fail("down.io");
    let oldest = world.pass(HOUR).await;
    // No more than the first few, and then one each 5, 10, 20, … seconds, and at last 5 minutes.
    let looks = world.memory.looks("down.io");
    assert!((10..=25).contains(&looks), "{looks}");
    // All that is known is as old as the outage, and the other registry has none of it.
    assert_eq!(oldest, HOUR);
    assert_eq!(world.memory.looks("up.io"), 14);
    world.memory.failing.lock().clear();
    world.pass(Duration::from_mins(11)).await;
    let oldest = world.pass(HOUR).await;
    assert!(oldest < Duration::from_secs(300), "{oldest:?}");
    let (_, most) = world.memory.under_way.lock()["down.io"];
    assert_eq!(most, MAX_OF_ONE_REGISTRY);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_fails_alone_holds_up_no_other_of_its_registry() {
    let world = world(&["a.io/gone", "a.io/x", "a.io/y"]);
    world.memory.fail(world.images[0].as_str());
    world.pass(HOUR).await;
    for name in ["a.io/x", "a.io/y"] {
        let looks = world.memory.looks(name);
        assert!(looks >= 12, "{name}: {looks}");
    }
}

#[tokio::test(start_paused = true)]
async fn t141_a_sweep_that_panics_begins_again_and_nothing_grows_old() {
    let world = world(&["a.io/x"]);
    *world.memory.panics.lock() = (3, 0);
    let oldest = world.pass(HOUR).await;
    assert!(oldest < Duration::from_secs(300), "{oldest:?}");
    assert_eq!(world.panics("sweep"), "3");
    // In the middle of it as well.
    *world.memory.panics.lock() = (0, 2);
    let oldest = world.pass(HOUR).await;
    assert!(oldest < Duration::from_secs(300), "{oldest:?}");
    assert_eq!(world.panics("sweep"), "5");
}

/// More of them than tell something of their registry, and all before the others.
#[tokio::test(start_paused = true)]
async fn t141_images_that_always_panic_cost_no_other_its_refresh() {
    let bad = ["a.io/bad0", "a.io/bad1", "a.io/bad2", "a.io/bad3", "a.io/bad4"];
    let world = world(&[&bad[..], &["a.io/x", "b.io/y"]].concat());
    *world.memory.broken.lock() = Some("/bad");
    for _ in 0..60 {
        world.pass(Duration::from_mins(1)).await;
        for image in &world.images[bad.len()..] {
            let age = world.memory.clock.now() - world.memory.ask(image);
            assert!(age < Duration::from_secs(300), "{image}: {age}");
        }
    }
    // After 5, 10, 20, … seconds, and at last every 5 minutes: no flood, and none is given up.
    for name in bad {
        let looks = world.memory.looks(name);
        assert!((12..=20).contains(&looks), "{name}: {looks}");
    }
    assert_eq!(world.panics("sweep"), world.memory.looks("/bad").to_string());
}

#[tokio::test(start_paused = true)]
async fn t141_an_event_of_a_registry_that_panics_is_tried_again() {
    let world = world(&["a.io/x"]);
    *world.memory.panics.lock() = (0, 1);
    let queue = Queue::default();
    let (kind, subject) = (Kind::Scanned, crate::hooks::news::Subject::Nothing);
    queue.offer(&[Event { kind, image: world.images[0].clone(), subject }]).unwrap();
    let refresher = Arc::clone(&world.refresher);
    tokio::spawn(refresher.follow(queue.clone(), world.stop.clone(), TaskTracker::new()));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((world.memory.looks(""), queue.len()), (2, 0));
    assert_eq!(world.panics("registry_events"), "1");
}
