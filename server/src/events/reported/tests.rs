//! Reports are recorded once, or their sender keeps them.

use std::time::Duration;

use portcullis_core::decide::Context;
use portcullis_core::event::Answered;
use time::macros::datetime;

use super::*;
use crate::caller::Caller;
use crate::events::Queue;
use crate::events::queue::Entry;

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> OffsetDateTime {
        NOW
    }
}

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

fn report(number: u64, containers: &[&str]) -> Report {
    let answered = Answered {
        by: AnsweredBy::FailPolicy,
        cause: "unreachable".to_owned(),
        at: NOW - Duration::from_secs(60),
        evaluated_at: None,
        run: "01".repeat(16),
        number,
    };
    let containers = containers.iter().map(|name| Container {
        name: (*name).to_owned(),
        image: "reg.io/app:v1".to_owned(),
        digest: None,
        action: Action::Allow,
        rule: String::new(),
        reason: String::new(),
    });
    Report {
        run: [1; 16],
        answered,
        context: Arc::new(Context::default()),
        containers: containers.collect(),
        policy_revision: String::new(),
        cut: false,
    }
}

fn batch(reports: Vec<Report>) -> Batch {
    Batch { caller: Caller::identity(1), run: [1; 16], dropped: 0, reports }
}

fn reported(sinks: Sinks) -> (Arc<Reported>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let ids = Arc::new(Ids::new(NOW));
    let clock = Arc::new(Still);
    let shared = (Arc::new(sinks), ids);
    let reported = Reported::new(shared, clock, Arc::clone(&metrics), Handle::current());
    (Arc::new(reported), metrics)
}

fn count(metrics: &Metrics, line: &str) -> u64 {
    let text = metrics.encode().unwrap();
    let value = text.lines().find_map(|l| l.strip_prefix(line)).map(str::trim);
    value.unwrap_or_else(|| panic!("{line} is not in {text}")).parse().unwrap()
}

#[tokio::test]
async fn t159_a_report_that_is_sent_again_makes_no_second_event() {
    let (queue, mut events) = Queue::new(10);
    let (reported, metrics) = reported(Sinks::from(Some(queue)));
    let hear = |batch| Arc::clone(&reported).hear(batch);
    hear(batch(vec![report(1, &["a", "b"])])).await.unwrap();
    hear(batch(vec![report(1, &["a", "b"]), report(2, &["c"])])).await.unwrap();
    let mut names = Vec::new();
    while let Ok(queued) = events.try_recv() {
        let Entry::Decision(event) = queued.entry else { panic!("not a decision") };
        assert_eq!(event.answered.as_ref().map(|a| a.by), Some(AnsweredBy::FailPolicy));
        assert_eq!(event.time, NOW);
        names.push(event.container);
    }
    assert_eq!(names, ["a", "b", "c"]);
    let line = "portcullis_reported_answers_total{by=\"fail_policy\",action=\"allow\"}";
    assert_eq!(count(&metrics, line), 3);
    assert_eq!(count(&metrics, "portcullis_reported_again_total"), 1);
}

#[tokio::test]
async fn what_has_no_room_is_not_taken_and_comes_again() {
    let (queue, mut events) = Queue::new(1);
    let (reported, _) = reported(Sinks::from(Some(queue)));
    let hear = |batch| Arc::clone(&reported).hear(batch);
    let both = || batch(vec![report(1, &["a"]), report(2, &["b"])]);
    assert_eq!(hear(both()).await, Err(HearError::Unrecorded));
    assert!(events.try_recv().is_ok());
    // The first is in the file already.
    hear(both()).await.unwrap();
    let Entry::Decision(event) = events.try_recv().unwrap().entry else { panic!("no decision") };
    assert_eq!(event.container, "b");
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn where_there_should_be_a_record_and_is_none_reports_stay_with_their_sender() {
    let (reported, _) = reported(Sinks { unrecorded: true, ..Sinks::default() });
    let heard = Arc::clone(&reported).hear(batch(vec![report(1, &["a"])]));
    assert_eq!(heard.await, Err(HearError::Unrecorded));
}

#[tokio::test]
async fn what_will_not_be_reported_is_counted_once() {
    let (reported, metrics) = reported(Sinks::default());
    for _ in 0..2 {
        let lost = Batch { dropped: 5, ..batch(Vec::new()) };
        Arc::clone(&reported).hear(lost).await.unwrap();
    }
    assert_eq!(count(&metrics, "portcullis_reported_dropped_total"), 5);
}
