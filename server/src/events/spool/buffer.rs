//! Decisions of many threads in, batches for one writer out.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use portcullis_core::event::frame;
use portcullis_core::event::stored::{self, Made};
use portcullis_core::evidence::Evidence;
use tokio::sync::oneshot;

use super::{MAX_HELD, MAX_TAKEN_BACK, kind};

/// What threads that answer and the thread that writes have in common.
pub(super) struct Shared {
    buffer: Mutex<Buffer>,
    /// Something waits that did not before, or waits no longer.
    news: Condvar,
    /// The most bytes in a batch.
    limit: usize,
}

struct Buffer {
    batch: Batch,
    /// The number of the next decision.
    next: u64,
    /// Whether the batch is to be written now.
    urgent: bool,
    closed: bool,
    /// Whether nobody writes any more.
    abandoned: bool,
}

/// Decisions that are written together. In it, what was known of a manifest is named by its place in
/// `evidence`: the writer knows better names.
#[derive(Default)]
pub(super) struct Batch {
    /// Records whose checks are still to be made.
    pub(super) bytes: Vec<u8>,
    /// What their manifests name. Held while they do, so that no other can have its address.
    pub(super) evidence: Vec<Arc<Evidence>>,
    /// What that weighs.
    held: usize,
    places: HashMap<usize, u32, BuildHasherDefault<Address>>,
    /// Number of the first decision, whether it is in the batch or not.
    pub(super) first: u64,
    /// How many are in it.
    pub(super) count: u64,
    /// How many after those had no room. From the first one on none has, so that the record has one gap.
    pub(super) dropped: u64,
    /// Numbers of decisions, in this batch or before it, that were not given in the end.
    pub(super) taken_back: Vec<u64>,
    /// Who waits until which number is on disk.
    pub(super) awaited: Vec<(u64, oneshot::Sender<()>)>,
}

/// What the writer is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Write the batch, if there is something in it.
    Batch,
    /// The same, and that was the last.
    Last,
}

impl Batch {
    pub(super) const fn is_empty(&self) -> bool {
        !self.has_decisions() && self.taken_back.is_empty()
    }

    const fn has_decisions(&self) -> bool {
        self.count > 0 || self.dropped > 0
    }

    /// Empties it, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.evidence.clear();
        self.places.clear();
        self.awaited.clear();
        self.taken_back.clear();
        (self.count, self.dropped, self.held) = (0, 0, 0);
    }
}

impl Shared {
    /// The next decision is number `next`; a batch has about `limit` bytes at most.
    pub(super) fn new(next: u64, limit: usize) -> Self {
        let batch = Batch::default();
        let buffer = Buffer { batch, next, urgent: false, closed: false, abandoned: false };
        Self { buffer: Mutex::new(buffer), news: Condvar::new(), limit }
    }

    /// Appends a decision, and gives its number; as an error where there is no room for it.
    pub(super) fn push(
        &self,
        made: &Made<'_>,
        grounds: &[u8],
        awaited: Option<oneshot::Sender<()>>,
    ) -> Result<u64, u64> {
        self.append(self.buffer.lock(), awaited, |batch| {
            let Batch { bytes, evidence, held, places, .. } = batch;
            stored::write(bytes, made, grounds, |known| {
                *places.entry(Arc::as_ptr(known).addr()).or_insert_with(|| {
                    *held = held.saturating_add(known.weight());
                    evidence.push(Arc::clone(known));
                    // A batch has fewer decisions than bytes, and far fewer of those than this.
                    u32::try_from(evidence.len() - 1).unwrap_or(u32::MAX)
                })
            });
        })
    }

    /// The same for one that is written already and names nothing. Whoever sends it comes again where it is not
    /// taken: it leaves half of the room to decisions, and no gap.
    pub(super) fn push_whole(
        &self,
        record: &[u8],
        awaited: oneshot::Sender<()>,
    ) -> Result<u64, u64> {
        // What has room now must have it until it is appended.
        let buffer = self.buffer.lock();
        let Buffer { batch, next, abandoned, .. } = &*buffer;
        let half = batch.bytes.len() >= self.limit / 2 || batch.held >= MAX_HELD / 2;
        if *abandoned || batch.dropped > 0 || half {
            return Err(*next);
        }
        self.append(buffer, Some(awaited), |batch| batch.bytes.extend_from_slice(record))
    }

    fn append(
        &self,
        mut buffer: MutexGuard<'_, Buffer>,
        awaited: Option<oneshot::Sender<()>>,
        write: impl FnOnce(&mut Batch),
    ) -> Result<u64, u64> {
        let Buffer { batch, next, urgent, abandoned, .. } = &mut *buffer;
        let number = *next;
        *next += 1;
        let was_empty = batch.is_empty();
        if !batch.has_decisions() {
            batch.first = number;
        }
        let full = batch.bytes.len() >= self.limit || batch.held >= MAX_HELD;
        if *abandoned || batch.dropped > 0 || full {
            batch.dropped += 1;
            return Err(number);
        }
        let start = frame::begin(&mut batch.bytes, kind::DECISION, number);
        write(batch);
        frame::end(&mut batch.bytes, start);
        batch.count += 1;
        let much = batch.bytes.len() >= self.limit / 2 || batch.held >= MAX_HELD / 2;
        let hurry = awaited.is_some() || much;
        batch.awaited.extend(awaited.map(|awaited| (number, awaited)));
        let wake = was_empty || (hurry && !*urgent);
        *urgent |= hurry;
        drop(buffer);
        if wake {
            self.news.notify_one();
        }
        Ok(number)
    }

    /// Notes decisions that were not given in the end. What is too many stays in the record as it is.
    pub(super) fn take_back(&self, numbers: &[u64]) {
        let mut buffer = self.buffer.lock();
        let Buffer { batch, next, .. } = &mut *buffer;
        let was_empty = batch.is_empty();
        if was_empty {
            batch.first = *next;
        }
        let room = MAX_TAKEN_BACK.saturating_sub(batch.taken_back.len());
        batch.taken_back.extend(numbers.iter().take(room));
        let wake = was_empty && !batch.is_empty();
        drop(buffer);
        if numbers.len() > room {
            let left = numbers.len() - room;
            tracing::warn!(left, "decisions stay in the record that were not given");
        }
        if wake {
            self.news.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn taken_back(&self) -> Vec<u64> {
        self.buffer.lock().batch.taken_back.clone()
    }

    /// Swaps the empty `batch` for what has come together: when there was something for `pause`, or
    /// someone waits for it, or it is much. Gives it as it is after `idle`.
    pub(super) fn take(&self, batch: &mut Batch, pause: Duration, idle: Duration) -> Turn {
        let mut buffer = self.buffer.lock();
        if !buffer.closed && buffer.batch.is_empty() {
            let quiet = |buffer: &mut Buffer| buffer.batch.is_empty() && !buffer.closed;
            self.news.wait_while_for(&mut buffer, quiet, idle);
        }
        if !buffer.batch.is_empty() {
            let calm = |buffer: &mut Buffer| !buffer.urgent && !buffer.closed;
            self.news.wait_while_for(&mut buffer, calm, pause);
        }
        buffer.urgent = false;
        std::mem::swap(&mut buffer.batch, batch);
        if buffer.closed { Turn::Last } else { Turn::Batch }
    }

    /// Takes nothing for `pause`, unless no more decisions come.
    pub(super) fn rest(&self, pause: Duration) {
        let mut buffer = self.buffer.lock();
        self.news.wait_while_for(&mut buffer, |buffer| !buffer.closed, pause);
    }

    /// The number that the next decision has.
    pub(super) fn next(&self) -> u64 {
        self.buffer.lock().next
    }

    /// No more decisions come.
    pub(super) fn close(&self) {
        self.buffer.lock().closed = true;
        self.news.notify_one();
    }

    /// No more batches are taken.
    pub(super) fn abandon(&self) {
        self.buffer.lock().abandoned = true;
    }
}

/// Hashes one address.
#[derive(Default)]
struct Address(u64);

impl Hasher for Address {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing; the table takes its bits from both ends.
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_leaves_half_of_the_room_and_no_gap() {
        let shared = Shared::new(1, 1_000);
        let told = || shared.push_whole(&[7; 100], oneshot::channel().0);
        let taken = std::iter::from_fn(|| told().ok()).count();
        assert!((1..=5).contains(&taken), "{taken}");
        assert_eq!(told(), Err(shared.next()));
        let decided = |batch: &mut Batch| batch.bytes.extend_from_slice(&[7; 100]);
        let number = shared.append(shared.buffer.lock(), None, decided).unwrap();
        assert_eq!(number, 1 + u64::try_from(taken).unwrap());
        let mut batch = Batch::default();
        shared.take(&mut batch, Duration::ZERO, Duration::ZERO);
        assert_eq!((batch.first, batch.dropped), (1, 0));
        assert!(told().is_ok());
    }
}
