//! Who waits for a search, who is answered meanwhile, and whose result counts.

use std::collections::HashMap;

use parking_lot::Mutex;
use portcullis_core::evidence::Report;
use portcullis_core::findings::{Findings, Scanner};
use portcullis_core::signature::Signer;

use super::*;
use crate::refresh::Remember as _;

/// A registry that takes a second to answer what it was set to when it was asked.
struct Slow {
    says: Mutex<Evidence>,
    asked: AtomicUsize,
    clock: Arc<TestClock>,
    took: Mutex<HashMap<Digest, Duration>>,
}

impl EvidenceSource for Slow {
    async fn evidence(&self, question: &Question, _: Instant) -> Known {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let evidence = Arc::new(self.says.lock().clone());
        let took = self.took.lock().get(&question.digest).copied();
        tokio::time::sleep(took.unwrap_or(Duration::from_secs(1))).await;
        let now = self.clock.now();
        Known {
            evidence,
            fetched_at: now,
            fresh_until: now,
            source: super::super::Source::Registry,
        }
    }
}

struct Desk {
    memory: Memory<Slow>,
    clock: Arc<TestClock>,
    tasks: TaskTracker,
    changes: Changes,
}

impl Desk {
    fn new(says: Evidence, config: MemoryConfig) -> Self {
        let clock = Arc::new(TestClock::new(NOW));
        let slow = Slow {
            says: Mutex::new(says),
            asked: AtomicUsize::new(0),
            clock: clock.clone(),
            took: Mutex::default(),
        };
        let tasks = TaskTracker::new();
        let changes = Changes::default();
        let memory = Memory::new(
            slow,
            config,
            clock.clone(),
            Arc::default(),
            changes.clone(),
            tasks.clone(),
            Handle::current(),
        );
        Self { memory, clock, tasks, changes }
    }

    fn asked(&self) -> usize {
        self.memory.0.inner.asked.load(Ordering::SeqCst)
    }

    fn says(&self, evidence: Evidence) {
        *self.memory.0.inner.says.lock() = evidence;
    }

    async fn ask(&self) -> Known {
        self.memory.evidence(&question(), soon()).await
    }

    /// Waits for all that goes on in the background.
    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn down() -> Evidence {
    Evidence::Unavailable(Cause { kind: CauseKind::Unreachable, detail: "down".to_owned() })
}

/// What a report says that was made so many seconds ago.
fn report(seconds: u64) -> Evidence {
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    let findings = Findings::new(scanner, NOW - Duration::from_secs(seconds), Vec::new());
    let signer = Arc::new(Signer {
        subject: "CN=scanner".to_owned(),
        fingerprint: String::new(),
        policy: "it".to_owned(),
        signed_at: None,
    });
    let digest = Digest::of(&seconds.to_be_bytes());
    Evidence::verified(vec![Arc::new(Report { digest, signer, findings, notices: Vec::new() })])
}

#[tokio::test(start_paused = true)]
async fn t090_a_hundred_followers_survive_a_leader_who_goes_away() {
    let desk = Arc::new(Desk::new(report(1), exact()));
    let ask = || {
        let desk = desk.clone();
        tokio::spawn(async move { desk.ask().await.evidence.status() })
    };
    let leader = ask();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let followers: Vec<_> = (0..100).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    leader.abort();
    for follower in followers {
        assert_eq!(follower.await.unwrap(), "verified");
    }
    assert_eq!(desk.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn t091_a_failure_is_shared_and_not_repeated_until_its_pause_is_over() {
    let desk = Arc::new(Desk::new(down(), exact()));
    let mut pause = 2;
    for searches in 1..=4 {
        let followers: Vec<_> = (0..100)
            .map(|_| {
                let desk = desk.clone();
                tokio::spawn(async move { desk.ask().await.evidence.status() })
            })
            .collect();
        for follower in followers {
            assert_eq!(follower.await.unwrap(), "unavailable");
        }
        assert_eq!(desk.asked(), searches);
        desk.clock.advance(Duration::from_millis(pause * 1_000 - 1));
        assert_eq!(desk.ask().await.evidence.status(), "unavailable");
        assert_eq!(desk.asked(), searches);
        desk.clock.advance(Duration::from_millis(1));
        pause *= 2;
    }
    // A failure is no absence, and is over when the registry answers.
    desk.says(Evidence::Missing);
    assert_eq!(desk.ask().await.evidence.status(), "missing");
}

#[tokio::test(start_paused = true)]
async fn t120_ten_thousand_who_ask_for_one_cold_digest_share_one_search() {
    let desk = Arc::new(Desk::new(report(1), MemoryConfig::default()));
    let asking: Vec<_> = (0..10_000)
        .map(|_| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.ask().await.evidence.status() })
        })
        .collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap(), "verified");
    }
    assert_eq!(desk.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn t092_a_slow_digest_does_not_hold_up_another() {
    let desk = Desk::new(report(1), exact());
    let slow = Question { digest: Digest::of(b"slow"), ..question() };
    *desk.memory.0.inner.took.lock() = HashMap::from([
        (slow.digest, Duration::from_secs(10)),
        (question().digest, Duration::ZERO),
    ]);
    let begun = Instant::now();
    assert_eq!(desk.memory.evidence(&slow, begun).await.evidence.status(), "unavailable");
    assert_eq!(desk.ask().await.evidence.status(), "verified");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    desk.settle().await;
    assert!(desk.memory.peek(&slow).is_some());
}

#[tokio::test(start_paused = true)]
async fn past_the_soft_limit_nobody_waits_and_one_search_goes_on_in_the_background() {
    let config = MemoryConfig { soft: 50, ..exact() };
    let desk = Desk::new(report(2), config);
    desk.ask().await;
    desk.clock.advance(Duration::from_millis(149_999));
    assert!(desk.memory.peek(&question()).is_some());
    assert_eq!(desk.asked(), 1);
    desk.clock.advance(Duration::from_millis(1));
    desk.says(report(1));
    for _ in 0..100 {
        assert_eq!(*desk.memory.peek(&question()).unwrap().evidence, report(2));
    }
    desk.settle().await;
    assert_eq!(desk.asked(), 2);
    let known = desk.memory.peek(&question()).unwrap();
    assert_eq!((&*known.evidence, known.source), (&report(1), super::super::Source::Memory));
    // From then on it is fresh for as long as ever.
    desk.clock.advance(Duration::from_millis(149_999));
    assert!(desk.memory.peek(&question()).is_some());
    assert_eq!(desk.asked(), 2);
    // What nobody asks for in time is asked about before it is used.
    desk.clock.advance(Duration::from_secs(300));
    assert!(desk.memory.peek(&question()).is_none());
    assert_eq!(desk.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn t108_while_the_registry_is_down_one_waits_once_and_all_others_are_told_what_was_known() {
    let desk = Desk::new(report(1), exact());
    desk.ask().await;
    desk.says(down());
    desk.clock.advance(Duration::from_secs(300));
    assert!(desk.memory.peek(&question()).is_none());
    assert_eq!(desk.ask().await.source, super::super::Source::Stale);
    // From now on nobody waits, whatever the searches in the background find.
    for minute in 0..55 {
        let known = desk.memory.peek(&question()).unwrap();
        assert_eq!((known.source, known.fetched_at), (super::super::Source::Stale, NOW + LATE));
        assert_eq!(known.evidence.status(), "verified", "{minute}");
        desk.settle().await;
        desk.clock.advance(Duration::from_secs(60));
    }
    assert!(desk.asked() >= 50, "it is asked on: {}", desk.asked());
    assert!(desk.memory.peek(&question()).is_none(), "and there is a limit");
    assert_eq!(desk.ask().await.evidence.status(), "unavailable");
    // A registry that is back is believed at once.
    desk.says(report(1));
    desk.clock.advance(Duration::from_secs(30));
    let known = desk.ask().await;
    assert_eq!(
        (known.evidence.status(), known.source),
        ("verified", super::super::Source::Registry)
    );
}

/// The clock of the tests does not move while a search goes on.
const LATE: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn t079_what_was_missing_is_seen_within_its_life_or_at_once_by_a_refresh() {
    let desk = Desk::new(Evidence::Missing, exact());
    assert_eq!(desk.ask().await.evidence.status(), "missing");
    desk.says(report(1));
    desk.clock.advance(Duration::from_millis(29_999));
    assert_eq!(desk.ask().await.evidence.status(), "missing");
    desk.clock.advance(Duration::from_millis(1));
    assert_eq!(desk.ask().await.evidence.status(), "verified");

    let desk = Desk::new(Evidence::Missing, exact());
    desk.ask().await;
    desk.says(report(1));
    assert_eq!(desk.memory.refresh(&question(), soon()).await.evidence.status(), "verified");
    assert_eq!(desk.memory.peek(&question()).unwrap().evidence.status(), "verified");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_never_answered_by_what_began_before_it() {
    let desk = Arc::new(Desk::new(report(2), exact()));
    let old = {
        let desk = desk.clone();
        tokio::spawn(async move { desk.ask().await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    desk.says(report(1));
    let new = desk.memory.refresh(&question(), soon()).await;
    assert_eq!(*new.evidence, report(1));
    assert_eq!(*old.await.unwrap().evidence, report(2));
    desk.settle().await;
    assert_eq!(*desk.memory.peek(&question()).unwrap().evidence, report(1));
    // Who has no time for it is told what was known, and it goes on.
    desk.says(Evidence::Missing);
    let known = desk.memory.refresh(&question(), Instant::now()).await;
    assert_eq!(*known.evidence, report(1));
    desk.settle().await;
    assert_eq!(desk.memory.peek(&question()).unwrap().evidence.status(), "withheld");
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_is_asked_about_for_each_credential_and_not_forgotten() {
    let desk = Desk::new(report(1), exact());
    let other = Question { access: Arc::from("basic:robot"), ..question() };
    let elsewhere = Question { image: "reg.io/team/other:v1".parse().unwrap(), ..question() };
    for question in [&question(), &other, &elsewhere] {
        desk.memory.evidence(question, soon()).await;
    }
    desk.memory.invalidate("reg.io", "team/app", question().digest);
    assert!(desk.memory.peek(&question()).is_none());
    assert!(desk.memory.peek(&other).is_none());
    assert!(desk.memory.peek(&elsewhere).is_some());
    // What was seen is withheld if it is gone, and used on if nobody knows.
    desk.says(down());
    assert_eq!(desk.ask().await.source, super::super::Source::Stale);
    desk.memory.invalidate("reg.io", "team/app", question().digest);
    desk.says(Evidence::Missing);
    assert_eq!(desk.ask().await.evidence.status(), "withheld");
}

#[tokio::test(start_paused = true)]
async fn what_was_found_before_an_invalidation_answers_and_is_not_kept() {
    let desk = Arc::new(Desk::new(report(2), exact()));
    let old = {
        let desk = desk.clone();
        tokio::spawn(async move { desk.ask().await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    desk.says(report(1));
    desk.memory.invalidate("reg.io", "team/app", question().digest);
    assert_eq!(*desk.ask().await.evidence, report(1));
    assert_eq!(*old.await.unwrap().evidence, report(2));
    desk.settle().await;
    assert_eq!(*desk.memory.peek(&question()).unwrap().evidence, report(1));
    assert_eq!(desk.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_can_be_listed_with_its_uses_and_its_limits() {
    let desk = Desk::new(report(1), MemoryConfig { soft: 50, ..exact() });
    desk.ask().await;
    desk.clock.advance(Duration::from_secs(7));
    for _ in 0..3 {
        desk.memory.peek(&question()).unwrap();
    }
    let since = |seconds| NOW + Duration::from_secs(seconds);
    let aging = |used, due| desk.memory.aging(since(used), since(due));
    let [kept] = aging(7, 150).try_into().unwrap();
    assert_eq!(kept.image.to_string(), format!("reg.io/team/app@{}", question().digest));
    assert_eq!((kept.access, kept.due), (question().access, since(150)));
    assert!(aging(8, 150).is_empty(), "it was not used since");
    assert!(aging(7, 149).is_empty(), "it is not due");
    let (known, used_at) = desk.memory.remembered(&question()).unwrap();
    assert_eq!((known.evidence.status(), used_at), ("verified", since(7)));
    desk.clock.advance(Duration::from_secs(1));
    desk.memory.remembered(&question()).unwrap();
    assert!(aging(8, 150).is_empty(), "to look so is no use");
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_is_told_of_what_changed_and_of_nothing_else() {
    let desk = Desk::new(report(2), exact());
    let mut seen = desk.changes.since(None).position;
    let mut told = || {
        let since = desk.changes.since(Some(seen));
        seen = since.position;
        since.digests
    };
    desk.ask().await;
    desk.memory.refresh(&question(), soon()).await;
    assert!(told().is_empty(), "it is as it was");
    desk.says(report(1));
    desk.memory.refresh(&question(), soon()).await;
    assert_eq!(told(), [question().digest]);
    // A registry that is down changes nothing of what is known.
    desk.says(down());
    desk.memory.refresh(&question(), soon()).await;
    assert!(told().is_empty());
}

/// An answer from a search that was overtaken is kept by whoever asked, and by no one here.
#[tokio::test(start_paused = true)]
async fn whoever_watches_is_told_where_an_answer_may_be_of_before_a_look_or_an_event() {
    let desk = Arc::new(Desk::new(report(2), exact()));
    let seen = desk.changes.since(None).position;
    let old = {
        let desk = desk.clone();
        tokio::spawn(async move { desk.ask().await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    desk.says(report(1));
    desk.memory.refresh(&question(), soon()).await;
    assert_eq!(*old.await.unwrap().evidence, report(2));
    let since = desk.changes.since(Some(seen));
    assert_eq!(since.digests, [question().digest]);

    // What is not remembered any more may be kept by who asked.
    let unknown = Digest::of(b"unknown");
    desk.memory.invalidate("reg.io", "team/app", unknown);
    assert_eq!(desk.changes.since(Some(since.position)).digests, [unknown]);
}
