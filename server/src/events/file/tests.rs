//! Lines that are torn, too long, or met by a fault of ours.

use std::pin::pin;
use std::task::{Context as Task, Wake, Waker};

use portcullis_core::decide::{Context, decide};
use portcullis_core::event::{Call, Event, MAX_LABELS, MAX_NAME};
use portcullis_core::policy::Policy;
use time::OffsetDateTime;

use super::*;

#[test]
fn a_line_ends_at_its_bound() {
    let mut lines = b"before".to_vec();
    let mut bounded = Bounded { lines: &mut lines, room: 4 };
    // Each character is a byte, and there are two quotes.
    assert!(serde_json::to_writer(&mut bounded, "ab").is_ok());
    assert_eq!(lines, b"before\"ab\"");
    let mut bounded = Bounded { lines: &mut lines, room: 4 };
    assert!(serde_json::to_writer(&mut bounded, "abc").is_err());
}

/// Takes so many bytes, and then no more.
struct Full(Vec<u8>, usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (self.1 - self.0.len()).min(bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_after_one_that_was_torn_is_whole() {
    for (room, expected) in [(0, "c\n"), (1, "a\nc\n"), (2, "a\nc\n"), (3, "a\nb\nc\n")] {
        let (mut file, mut torn) = (Full(Vec::new(), room), false);
        assert!(write_lines(&mut file, &mut torn, b"a\nb\n").is_err());
        file.1 = usize::MAX;
        write_lines(&mut file, &mut torn, b"c\n").unwrap();
        assert_eq!(String::from_utf8(file.0).unwrap(), expected);
    }
}

/// With as many labels as an event has, each as long as it has them.
fn event(id: &str) -> Event {
    let label = |n: usize| (n.to_string(), "x".repeat(MAX_NAME));
    let pod_labels = (0..MAX_LABELS).map(label).collect();
    let ctx = Context { pod_labels, ..Context::default() };
    let (image, now) = ("reg.io/app:v1".parse().unwrap(), OffsetDateTime::UNIX_EPOCH);
    let decision = decide(&Policy::default_policy(), &image, &[], &ctx, now);
    let call = Call { id, time: now, took: Default::default(), container: "c" };
    Event::new(call, &image, &[], &ctx, &decision)
}

/// Panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a fault that was put here");
    }
}

#[test]
fn t141_a_panic_costs_the_lines_that_were_taken_and_the_file_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let metrics = Arc::new(Metrics::new());
    let (file, queue) = EventFile::open(path.clone(), Arc::clone(&metrics)).unwrap();
    let mut awaited = pin!(queue.push_awaited(event("1"), &[]).unwrap());
    let waker = Waker::from(Arc::new(Bomb));
    assert!(awaited.as_mut().poll(&mut Task::from_waker(&waker)).is_pending());
    for number in 2..=BATCH + 1 {
        assert!(queue.push(event(&number.to_string()), &[]));
    }
    drop(queue);
    file.run();
    let text = std::fs::read_to_string(path).unwrap();
    let ids = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["id"].as_str().unwrap().parse::<usize>().unwrap()
    });
    // What is written at once is less than what is taken at once.
    let ids: Vec<_> = ids.collect();
    let whole = ids.len() - 1;
    assert!((1..BATCH / 2).contains(&whole), "{ids:?}");
    assert_eq!(ids, (1..=whole).chain([BATCH + 1]).collect::<Vec<_>>());
    let text = metrics.encode().unwrap();
    assert!(text.contains("portcullis_panics_total{what=\"event_file\"} 1"), "{text}");
    let lost = format!("portcullis_events_dropped_total {}", BATCH - whole);
    assert!(text.contains(&lost), "{text}");
}
