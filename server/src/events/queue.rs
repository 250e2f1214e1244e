//! Events and what they name in, a bounded queue of lines to write out.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use portcullis_core::event::Event;
use portcullis_core::evidence::{Evidence, Report, Statements, Subject};
use portcullis_core::image::Digest;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Lines that wait for the writer before the next is dropped.
pub const QUEUE: usize = 10_000;
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

impl Entry {
    /// Whether it says what did not happen.
    pub(super) fn is_void(&self) -> bool {
        matches!(self, Self::Awaited(_, awaited) if awaited.is_closed())
    }
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct Queue {
    lines: mpsc::Sender<Entry>,
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
    pub(super) fn new(room: usize) -> (Self, mpsc::Receiver<Entry>) {
        let (lines, entries) = mpsc::channel(room);
        (Self { lines, written: Written::default() }, entries)
    }

    pub(super) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Adds what `subjects` have that was not written yet, and then `event`. `false` if there is no
    /// room for the event. What it names and has no room is added with the next event that names it.
    pub(super) fn push(&self, event: Event, subjects: &[Subject]) -> bool {
        self.named(subjects);
        self.lines.try_send(Entry::Decision(Box::new(event))).is_ok()
    }

    /// As [`Queue::push`], and gives what tells when the event is on disk, or fails if it will not be.
    pub(super) fn push_awaited(
        &self,
        event: Event,
        subjects: &[Subject],
    ) -> Result<oneshot::Receiver<()>, TrySendError<Entry>> {
        self.named(subjects);
        let (awaited, receiver) = oneshot::channel();
        self.lines.try_send(Entry::Awaited(Box::new(event), awaited))?;
        Ok(receiver)
    }

    fn named(&self, subjects: &[Subject]) {
        for subject in subjects {
            let Evidence::Verified(reports) = &*subject.evidence else {
                continue;
            };
            for report in reports.iter() {
                self.attached(report.digest, || Entry::Report(Arc::clone(report)));
            }
            for document in reports.vex() {
                self.attached(document.digest, || Entry::Vex(Arc::clone(document)));
            }
        }
    }

    fn attached(&self, digest: Digest, entry: impl FnOnce() -> Entry) {
        if self.written.add(digest) && self.lines.try_send(entry()).is_err() {
            self.written.remove(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
