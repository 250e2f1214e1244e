//! Events and what they name in, a bounded queue of lines to write out.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use portcullis_core::event::Event;
use portcullis_core::evidence::{Evidence, Report, Statements, Subject};
use portcullis_core::image::Digest;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Lines that wait for the writer before the next is dropped.
pub const QUEUE: usize = 10_000;
/// What they weigh at most, in bytes of memory, unless it is one alone: nobody else may have them any more.
pub(super) const MAX_QUEUED: usize = 64 * 1024 * 1024;
/// What is assumed of each part of an event that is cut at lengths of its own.
const PART: usize = 1024;
/// How many reports and VEX documents are remembered as written. When there are more, all are
/// forgotten, and each is written once more.
const MAX_WRITTEN: usize = 100_000;

/// One line that waits to be written.
#[derive(Debug)]
pub(super) enum Entry {
    Decision(Box<Event>),
    /// A decision that is given once its line is on disk, and not at all if nobody waits for that
    /// any more.
    Awaited(Box<Event>, oneshot::Sender<()>),
    Report(Arc<Report>),
    Vex(Arc<Statements>),
}

/// A line, and the room that it takes.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) entry: Entry,
    _room: Room,
}

impl Entry {
    /// Whether it says what did not happen.
    pub(super) fn is_void(&self) -> bool {
        matches!(self, Self::Awaited(_, awaited) if awaited.is_closed())
    }

    /// Whether it is counted where it is lost: one that is awaited is counted by who waits.
    pub(super) const fn is_counted(&self) -> bool {
        matches!(self, Self::Decision(_))
    }
}

/// So many bytes of those that may wait, until it is dropped.
#[derive(Debug)]
struct Room {
    bytes: usize,
    taken: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a line is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too much waits.
    Full,
    /// Nobody writes.
    Closed,
}

impl From<TrySendError<Queued>> for Refused {
    fn from(error: TrySendError<Queued>) -> Self {
        match error {
            TrySendError::Full(_) => Self::Full,
            TrySendError::Closed(_) => Self::Closed,
        }
    }
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct Queue {
    lines: mpsc::Sender<Queued>,
    /// What the lines that wait weigh.
    taken: Arc<AtomicUsize>,
    written: Written,
}

/// Digests of the reports and VEX documents that are in the file, or on their way to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Written(Arc<Mutex<HashSet<Digest>>>);

impl Written {
    /// Whether `digest` was not there before.
    fn add(&self, digest: Digest) -> bool {
        let mut written = self.0.lock();
        if written.len() >= MAX_WRITTEN && !written.contains(&digest) {
            written.clear();
        }
        written.insert(digest)
    }

    fn remove(&self, digest: Digest) {
        self.0.lock().remove(&digest);
    }

    /// Nothing that was written before is in the file any more, or it is not known.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

impl Queue {
    /// A queue of at most `room` lines, and its other end.
    pub(super) fn new(room: usize) -> (Self, mpsc::Receiver<Queued>) {
        let (lines, entries) = mpsc::channel(room);
        (Self { lines, taken: Arc::default(), written: Written::default() }, entries)
    }

    pub(super) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Adds what `subjects` have that was not written yet, and then `event`. `false` if there is no
    /// room for the event. What it names and has no room is added with the next event that names it.
    pub(super) fn push(&self, event: Event, subjects: &[Subject]) -> bool {
        self.named(subjects);
        let weight = weight(&event);
        self.send(weight, || Entry::Decision(Box::new(event))).is_ok()
    }

    /// As [`Queue::push`], and gives what tells when the event is on disk, or fails if it will not be.
    pub(super) fn push_awaited(
        &self,
        event: Event,
        subjects: &[Subject],
    ) -> Result<oneshot::Receiver<()>, Refused> {
        self.named(subjects);
        let (awaited, receiver) = oneshot::channel();
        let weight = weight(&event);
        self.send(weight, || Entry::Awaited(Box::new(event), awaited))?;
        Ok(receiver)
    }

    fn send(&self, weight: usize, entry: impl FnOnce() -> Entry) -> Result<(), Refused> {
        let room = self.room(weight)?;
        Ok(self.lines.try_send(Queued { entry: entry(), _room: room })?)
    }

    /// Room for `bytes`, where so much does not wait yet.
    fn room(&self, bytes: usize) -> Result<Room, Refused> {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        // What is taken here is given back by it, also where it is too much.
        let room = Room { bytes, taken: Arc::clone(&self.taken) };
        let fits = before == 0 || before.saturating_add(bytes) <= MAX_QUEUED;
        if fits { Ok(room) } else { Err(Refused::Full) }
    }

    fn named(&self, subjects: &[Subject]) {
        for subject in subjects {
            let Evidence::Verified(reports) = &*subject.evidence else {
                continue;
            };
            for report in reports.iter() {
                let entry = || Entry::Report(Arc::clone(report));
                self.attached(report.digest, || report.weight(), entry);
            }
            for document in reports.vex() {
                let entry = || Entry::Vex(Arc::clone(document));
                self.attached(document.digest, || document.weight(), entry);
            }
        }
    }

    fn attached(
        &self,
        digest: Digest,
        weight: impl FnOnce() -> usize,
        entry: impl FnOnce() -> Entry,
    ) {
        if self.written.add(digest) && self.send(weight(), entry).is_err() {
            self.written.remove(digest);
        }
    }
}

/// What an event weighs, about: its labels are the caller's.
fn weight(event: &Event) -> usize {
    let labels = event.namespace_labels.iter().chain(&event.pod_labels);
    let labels: usize = labels.map(|(name, value)| name.len() + value.len()).sum();
    let Event { violations, exemptions, notices, evidence, .. } = event;
    let parts = 1 + violations.len() + exemptions.len() + notices.len() + evidence.len();
    labels + event.justification.len() + parts * PART
}

#[cfg(test)]
mod tests {
    use portcullis_core::decide::{Context, decide};
    use portcullis_core::event::Call;
    use portcullis_core::evidence::Source;
    use portcullis_core::findings::{Findings, Scanner};
    use portcullis_core::policy::Policy;
    use portcullis_core::signature::Signer;
    use time::OffsetDateTime;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn event(label: usize) -> Event {
        let pod_labels = [("label".to_owned(), "x".repeat(label))].into();
        let ctx = Context { pod_labels, ..Context::default() };
        let image = "reg.io/app:v1".parse().unwrap();
        let decision = decide(&Policy::default_policy(), &image, &[], &ctx, NOW);
        let call = Call { id: "1", time: NOW, took: Default::default(), container: "c" };
        Event::new(call, &image, &[], &ctx, &decision)
    }

    /// An image with a report that weighs about half of what may wait.
    fn large(name: &str) -> Subject {
        let signer = Signer {
            subject: "x".repeat(MAX_QUEUED / 2),
            fingerprint: String::new(),
            policy: String::new(),
            signed_at: None,
        };
        let scanner = Scanner { name: "trivy".to_owned(), version: None };
        let report = Report {
            digest: Digest::of(name.as_bytes()),
            signer: Arc::new(signer),
            findings: Findings::new(scanner, NOW, Vec::new()),
            notices: Vec::new(),
        };
        Subject {
            digest: None,
            platform: None,
            evidence: Arc::new(Evidence::verified(vec![Arc::new(report)])),
            fetched_at: NOW,
            source: Source::Memory,
        }
    }

    #[test]
    fn what_waits_has_a_bound_in_bytes_and_what_had_no_room_is_named_again() {
        let (queue, mut entries) = Queue::new(QUEUE);
        let subjects = [large("a"), large("b")];
        assert!(queue.push(event(1), &subjects));
        // There is no room for the second report, and there is for the decision.
        assert!(matches!(entries.try_recv().unwrap().entry, Entry::Report(_)));
        assert!(matches!(entries.try_recv().unwrap().entry, Entry::Decision(_)));
        assert!(entries.try_recv().is_err());
        assert_eq!(queue.taken.load(Ordering::Relaxed), 0);
        assert!(queue.push(event(1), &subjects));
        let Entry::Report(report) = entries.try_recv().unwrap().entry else { panic!("no report") };
        assert_eq!(report.digest, Digest::of(b"b"));
    }

    #[test]
    fn decisions_past_the_bound_in_bytes_are_refused() {
        let (queue, mut entries) = Queue::new(QUEUE);
        let labels = 512;
        let one = weight(&event(labels));
        assert!(one > labels);
        let held = queue.room(MAX_QUEUED - one).unwrap();
        assert!(queue.push(event(labels), &[]));
        assert!(!queue.push(event(labels), &[]));
        assert_eq!(queue.push_awaited(event(labels), &[]).unwrap_err(), Refused::Full);
        drop(held);
        assert!(queue.push(event(labels), &[]));
        entries.close();
        assert!(!queue.push(event(labels), &[]));
        assert_eq!(queue.push_awaited(event(labels), &[]).unwrap_err(), Refused::Closed);
    }

    #[test]
    fn what_was_written_is_remembered_up_to_its_bound() {
        let written = Written::default();
        let digest = |n: usize| Digest::of(&n.to_le_bytes());
        for n in 0..MAX_WRITTEN {
            assert!(written.add(digest(n)));
        }
        assert!(!written.add(digest(0)));
        assert!(written.add(digest(MAX_WRITTEN)));
        // All were forgotten, and only the last is known.
        assert!(written.add(digest(0)));
        assert!(!written.add(digest(MAX_WRITTEN)));
    }
}
