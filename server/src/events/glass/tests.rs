//! What is not on disk is not lifted (CASES T105, T106).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use portcullis_core::decide::{Action, Condition, Context, Decision, Lifted, Notice, Violation};
use portcullis_core::policy::Policy;
use portcullis_testkit::clock::TestClock;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::check::{Check, CheckError, Question};
use crate::events::EventFile;
use crate::events::queue::{Entry, Queue};
use crate::events::spool::SpoolConfig;
use crate::metrics::Metrics;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);
const WHY: &str = "outage 4711";
/// Longer than any disk takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Denies every container, and lifts that where the context says why.
struct Denies;

impl Check for Denies {
    async fn check(&self, question: Question, _: Instant) -> Result<Answer, CheckError> {
        let context = question.context;
        let decided = question.containers.into_iter().map(|(container, image)| {
            let mut decision = denial();
            if !context.break_glass.is_empty() {
                decision.action = Action::Audit;
                let justification = context.break_glass.clone();
                decision.break_glass = Some(Lifted { name: "on-call".into(), justification });
            }
            Decided { container, image, subjects: Vec::new(), decision, took: Duration::ZERO }
        });
        Ok(Answer {
            decided: decided.collect(),
            context: context.clone(),
            policy: Arc::new(Policy::default_policy()),
            evaluated_at: NOW,
            max_age: Duration::ZERO,
            depends: &[],
            purpose: Default::default(),
        })
    }
}

fn denial() -> Decision {
    let mut violation = Violation::new("no".into(), Action::Deny, Condition::Unscanned);
    violation.deciding = true;
    Decision {
        action: Action::Deny,
        rule: Some("no".into()),
        violations: vec![violation],
        exemptions: Vec::new(),
        break_glass: None,
        notices: vec![Notice {
            rule: None,
            subject: None,
            platform: None,
            kind: NoticeKind::OutOfScope,
        }],
        changes_at: None,
        policy_revision: "r".into(),
    }
}

fn question(why: &str) -> Question {
    let image = |name: &str| (Arc::from(name), "reg.io/app:v1".parse().unwrap());
    let context = Context { break_glass: why.to_owned(), ..Context::default() };
    Question {
        context: Arc::new(context),
        nodes: Default::default(),
        containers: vec![image("a"), image("b")],
        caller: Default::default(),
        purpose: Default::default(),
    }
}

/// A checker with its file, whose writer runs.
struct Site {
    recorded: Recorded<Denies>,
    path: PathBuf,
    metrics: Arc<Metrics>,
    writer: JoinHandle<()>,
}

impl Site {
    fn new(path: &Path) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (file, queue) = EventFile::open(path.to_owned(), Arc::clone(&metrics)).unwrap();
        let writer = std::thread::spawn(move || file.run());
        let recorded = Recorded::new(Denies, Some(queue), NOW, Arc::clone(&metrics));
        Self { recorded, path: path.to_owned(), metrics, writer }
    }

    async fn ask(&self, why: &str) -> Action {
        ask(&self.recorded, why, PATIENCE).await
    }

    fn events(&self) -> Vec<Value> {
        lines(&self.path)
    }

    /// Ends the writer.
    fn stop(self) -> Vec<Value> {
        let Self { recorded, path, metrics: _, writer } = self;
        drop(recorded);
        writer.join().unwrap();
        lines(&path)
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one action of both containers; what was not lifted says so.
async fn ask<C: Check>(recorded: &Recorded<C>, why: &str, patience: Duration) -> Action {
    let answer = recorded.check(question(why), Instant::now() + patience).await.unwrap();
    let decisions = answer.decided.iter().map(|decided| &decided.decision);
    let actions: Vec<_> = decisions.clone().map(|decision| decision.action).collect();
    assert_eq!(actions, [actions[0]; 2]);
    let lifted = actions[0] == Action::Audit;
    assert!(decisions.clone().all(|decision| decision.break_glass.is_some() == lifted));
    assert!(answer.decided.iter().all(|decided| is_refused(decided) != lifted || why.is_empty()));
    actions[0]
}

#[track_caller]
fn assert_counted(metrics: &Metrics, expected: &[(&str, usize)]) {
    let text = metrics.encode().unwrap();
    let counts = text.lines().filter_map(|l| l.strip_prefix("portcullis_break_glass_total{"));
    let mut counts: Vec<_> = counts.filter(|line| !line.ends_with(" 0")).collect();
    counts.sort_unstable();
    let expected: Vec<_> =
        expected.iter().map(|(outcome, n)| format!("outcome=\"{outcome}\"}} {n}")).collect();
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn a_lifted_denial_is_in_the_file_when_its_answer_comes() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(&folder.path().join("events.jsonl"));
    assert_eq!(site.ask("").await, Action::Deny);
    assert_eq!(site.ask(WHY).await, Action::Audit);
    let events = site.events();
    // In the order of the queue, and so after those of the question before.
    assert_eq!(events.len(), 4);
    for (event, container) in events[2..].iter().zip(["a", "b"]) {
        assert_eq!(event["container"], container);
        assert_eq!(event["action"], "audit");
        assert_eq!(event["rule"], "no");
        assert_eq!(event["break_glass"], "on-call");
        assert_eq!(event["justification"], WHY);
    }
    assert_counted(&site.metrics, &[("used", 2)]);
    // Once, not once more as all others.
    assert_eq!(site.stop().len(), 4);
}

#[tokio::test]
async fn without_an_event_file_no_denial_is_lifted() {
    let metrics = Arc::new(Metrics::new());
    let recorded = Recorded::new(Denies, None, NOW, Arc::clone(&metrics));
    assert_eq!(ask(&recorded, WHY, PATIENCE).await, Action::Deny);
    assert_counted(&metrics, &[("not_recorded", 2)]);
}

#[tokio::test]
async fn where_too_many_events_wait_no_denial_is_lifted() {
    // One of both fits.
    let (queue, mut entries) = Queue::new(1);
    let recorded = Recorded::new(Denies, Some(queue), NOW, Arc::default());
    assert_eq!(ask(&recorded, WHY, PATIENCE).await, Action::Deny);
    assert!(entries.try_recv().unwrap().entry.is_void());
}

#[tokio::test]
async fn where_the_writer_is_gone_no_denial_is_lifted() {
    let (queue, entries) = Queue::new(10);
    drop(entries);
    let recorded = Recorded::new(Denies, Some(queue), NOW, Arc::default());
    assert_eq!(ask(&recorded, WHY, PATIENCE).await, Action::Deny);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_lifts_no_denial_and_leaves_time_for_the_answer() {
    for (patience, left) in [(1_000, 50), (100, 25)] {
        let patience = Duration::from_millis(patience);
        let (queue, mut entries) = Queue::new(10);
        let recorded = Recorded::new(Denies, Some(queue), NOW, Arc::default());
        let asked = Instant::now();
        assert_eq!(ask(&recorded, WHY, patience).await, Action::Deny);
        let expected = patience - Duration::from_millis(left);
        // The clock of timers has whole milliseconds.
        assert!(asked.elapsed() - expected <= Duration::from_millis(1), "{:?}", asked.elapsed());
        // What did not happen is not to be written; what did is.
        for _ in 0..2 {
            let lifted = entries.try_recv().unwrap().entry;
            assert!(lifted.is_void());
            assert!(matches!(lifted, Entry::Awaited(event, _) if event.action == Action::Audit));
        }
        for _ in 0..2 {
            let Entry::Decision(refused) = entries.try_recv().unwrap().entry else {
                panic!("not a decision")
            };
            assert_eq!(refused.action, Action::Deny);
            assert_eq!(refused.notices[0].kind, "break_glass_refused");
            assert_eq!((refused.break_glass, &*refused.justification), (None, WHY));
        }
    }
}

/// The disk hung, and goes on: what nobody waits for is no longer true.
#[tokio::test]
async fn a_lifted_denial_that_was_given_up_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let (file, queue) = EventFile::open(path.clone(), Arc::default()).unwrap();
    let recorded = Recorded::new(Denies, Some(queue), NOW, Arc::default());
    assert_eq!(ask(&recorded, WHY, Duration::from_millis(1)).await, Action::Deny);
    drop(recorded);
    std::thread::spawn(move || file.run()).join().unwrap();
    let events = lines(&path);
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event["action"] == "deny"));
}

/// What the record may have by then of a lifted denial is not so.
#[tokio::test(start_paused = true)]
async fn a_lifted_denial_that_is_not_given_is_taken_back_in_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("events"), Arc::new(TestClock::new(NOW)));
    // Nobody writes: the disk hangs.
    let (spool, _writer) =
        Spool::open(SpoolConfig::default(), path, NOW, clock, Arc::new(Metrics::new()));
    let sinks = Sinks { spool: Some(spool), ..Sinks::default() };
    let recorded = Recorded::new(Denies, sinks, NOW, Arc::default());
    assert_eq!(ask(&recorded, WHY, Duration::from_secs(1)).await, Action::Deny);
    let taken_back = || recorded.sinks.spool.as_ref().unwrap().taken_back();
    assert_eq!(taken_back(), [1, 2]);
    // The refusals have numbers of their own. A caller who goes away is told of nothing either.
    let mut gone = Box::pin(recorded.check(question(WHY), Instant::now() + PATIENCE));
    assert!(futures_util::poll!(&mut gone).is_pending());
    drop(gone);
    assert_eq!(taken_back(), [1, 2, 5, 6]);
}

#[tokio::test]
async fn a_device_that_is_full_lifts_no_denial() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        println!("skipped: this system has no /dev/full");
        return;
    }
    let site = Site::new(full);
    assert_eq!(site.ask(WHY).await, Action::Deny);
    assert_counted(&site.metrics, &[("not_recorded", 2)]);
}

#[tokio::test]
async fn what_keeps_nothing_lifts_no_denial() {
    // It takes every byte, and has none.
    let site = Site::new(Path::new("/dev/null"));
    assert_eq!(site.ask(WHY).await, Action::Deny);
}

#[tokio::test]
async fn a_file_that_was_taken_away_is_made_again_and_without_its_folder_nothing_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let site = Site::new(&inner.join("events.jsonl"));
    assert_eq!(site.ask(WHY).await, Action::Audit);
    // Rotated: what comes now is in a file of the old name.
    fs::rename(&site.path, inner.join("rotated")).unwrap();
    assert_eq!(site.ask(WHY).await, Action::Audit);
    assert_eq!((site.events().len(), lines(&inner.join("rotated")).len()), (2, 2));

    fs::remove_dir_all(&inner).unwrap();
    assert_eq!(site.ask(WHY).await, Action::Deny);
    fs::create_dir(&inner).unwrap();
    assert_eq!(site.ask(WHY).await, Action::Audit);
    let events = site.stop();
    let lifted = |event: &&Value| event["break_glass"] == "on-call";
    assert_eq!(events.iter().filter(lifted).count(), 2);
}
