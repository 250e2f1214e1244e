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

/// A line on its way to the file.
#[derive(Debug)]
pub struct Record {
    pub(super) held: Held,
    /// Who waits until it is on disk.
    pub(super) awaited: Option<oneshot::Sender<()>>,
}

/// What a line says.
#[derive(Debug)]
pub(super) enum Held {
    Decision(Box<Event>),
    Report(Arc<Report>),
    Vex(Arc<Statements>),
}

impl Record {
    /// Whether it was awaited by someone who has given up, and says what did not happen.
    pub(super) fn is_void(&self) -> bool {
        self.awaited.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// The event, if it is one.
    #[cfg(test)]
    pub(super) fn into_event(self) -> Option<Event> {
        match self.held {
            Held::Decision(event) => Some(*event),
            Held::Report(_) | Held::Vex(_) => None,
        }
    }
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct Queue {
    lines: mpsc::Sender<Record>,
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
    pub(super) fn new(room: usize) -> (Self, mpsc::Receiver<Record>) {
        let (lines, records) = mpsc::channel(room);
        (Self { lines, written: Written::default() }, records)
    }

    pub(super) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Adds what `subjects` have that was not written yet, and then `event`. `false` if there is no
    /// room for the event. What it names and has no room is added with the next event that names it.
    pub(super) fn push(&self, event: Event, subjects: &[Subject]) -> bool {
        self.add(event, subjects, None).is_ok()
    }

    /// As [`Queue::push`], and gives what hears when the event is on disk.
    pub(super) fn push_awaited(
        &self,
        event: Event,
        subjects: &[Subject],
    ) -> Result<oneshot::Receiver<()>, TrySendError<Record>> {
        let (awaited, receiver) = oneshot::channel();
        self.add(event, subjects, Some(awaited))?;
        Ok(receiver)
    }

    fn add(
        &self,
        event: Event,
        subjects: &[Subject],
        awaited: Option<oneshot::Sender<()>>,
    ) -> Result<(), TrySendError<Record>> {
        for subject in subjects {
            let Evidence::Verified(reports) = &*subject.evidence else {
                continue;
            };
            for report in reports.iter() {
                self.attached(report.digest, || Held::Report(Arc::clone(report)));
            }
            for document in reports.vex() {
                self.attached(document.digest, || Held::Vex(Arc::clone(document)));
            }
        }
        self.lines.try_send(Record { held: Held::Decision(Box::new(event)), awaited })
    }

    fn attached(&self, digest: Digest, held: impl FnOnce() -> Held) {
        if self.written.add(digest)
            && self.lines.try_send(Record { held: held(), awaited: None }).is_err()
        {
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
