use std::future::pending;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use parking_lot::Mutex;

use super::*;

/// What the counter of the process counts is one test's at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn span() -> SpanData {
    let at = std::time::UNIX_EPOCH;
    let (trace, id) = (TraceId::from(1), SpanId::from(1));
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "one".into(),
        start_time: at,
        end_time: at,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

/// A collector that is there or not, or never answers.
#[derive(Debug, Clone)]
enum Act {
    Takes,
    Fails,
    Hangs,
}

#[derive(Debug, Clone)]
struct Collector {
    act: Arc<Mutex<Act>>,
    taken: Arc<AtomicUsize>,
}

impl Collector {
    fn new(act: Act) -> Self {
        Self { act: Arc::new(Mutex::new(act)), taken: Arc::default() }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let act = self.act.lock().clone();
        match act {
            Act::Takes => {
                self.taken.fetch_add(batch.len(), Ordering::Relaxed);
                Ok(())
            }
            Act::Fails => Err(OTelSdkError::InternalFailure("nobody\nis there".to_owned())),
            Act::Hangs => pending().await,
        }
    }
}

#[test]
fn what_has_no_room_is_lost_and_counted() {
    let _alone = ALONE.lock();
    let before = lost();
    let collector = Collector::new(Act::Hangs);
    let processor = processor(collector.clone(), 8);
    // The first batch, of as many as may wait, is with the collector and stays there.
    for _ in 0..1_000 {
        processor.on_end(span());
    }
    let without_room = lost() - before;
    assert!((984..=992).contains(&without_room), "{without_room}");
    // Nobody waits for it for longer than so, and then what waits and what is with it is lost too.
    assert!(processor.shutdown_with_timeout(Duration::from_millis(1)).is_err());
    assert_eq!(lost() - before, 1_000);
    // What ends later is nobody's.
    let then = lost();
    processor.on_end(span());
    assert_eq!(lost() - then, 1);
    assert_eq!(collector.taken.load(Ordering::Relaxed), 0);
}

#[test]
fn what_cannot_be_sent_is_lost_and_what_comes_after_is_not() {
    let _alone = ALONE.lock();
    let before = lost();
    let collector = Collector::new(Act::Fails);
    let processor = processor(collector.clone(), 100);
    (0..7).for_each(|_| processor.on_end(span()));
    drop(processor.force_flush());
    assert_eq!(lost() - before, 7);
    *collector.act.lock() = Act::Takes;
    (0..5).for_each(|_| processor.on_end(span()));
    processor.shutdown().unwrap();
    assert_eq!((lost() - before, collector.taken.load(Ordering::Relaxed)), (7, 5));
}

#[test]
fn there_is_room_again_for_as_many_as_were_taken() {
    let _alone = ALONE.lock();
    let before = lost();
    let collector = Collector::new(Act::Takes);
    let processor = processor(collector.clone(), 16);
    for _ in 0..100 {
        (0..16).for_each(|_| processor.on_end(span()));
        processor.force_flush().unwrap();
    }
    assert_eq!((lost() - before, collector.taken.load(Ordering::Relaxed)), (0, 1_600));
}

#[test]
fn the_environment_says_how_many_wait() {
    for (text, expected) in [("12", 12), ("0", 2_048), ("-1", 2_048), ("many", 2_048)] {
        assert_eq!(most(Some(text.into())), expected, "{text}");
    }
    assert_eq!(most(None), 2_048);
}
