//! What changed in, who keeps answers told: a ring of the last changes, read by as many as watch.
//!
//! A change is put down once, whoever watches; each watcher reads on from where it stands, in its own
//! time, and holds nothing here. One that stands so far back that the ring has gone over it is told
//! that everything may have changed. So nobody misses a change, and a slow watcher costs nothing.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use portcullis_core::image::Digest;
use tokio::sync::watch;

/// The most changes that are kept for watchers that lag or come back.
pub const MAX_KEPT: usize = 65_536;
/// The most digests that are read at once.
pub const MAX_BATCH: usize = 1_024;

/// What changed lately. Clones share it.
#[derive(Debug, Clone)]
pub struct Changes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoch: u64,
    ring: Mutex<Ring>,
    head: watch::Sender<u64>,
}

/// The changes with the numbers `head - digests.len() + 1 ..= head`. All before may be anything.
#[derive(Debug)]
struct Ring {
    head: u64,
    digests: VecDeque<Digest>,
    revision: Arc<str>,
}

impl Ring {
    /// The number of the last change that is not kept.
    fn floor(&self) -> u64 {
        self.head.saturating_sub(self.digests.len() as u64)
    }
}

/// Where a watcher stands: which process counted, and how many changes were heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    epoch: u64,
    number: u64,
}

impl Position {
    /// Reads a position as [`Position::bytes`] wrote it.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (epoch, number) = bytes.split_first_chunk::<8>()?;
        let number = number.try_into().ok()?;
        Some(Self { epoch: u64::from_be_bytes(*epoch), number: u64::from_be_bytes(number) })
    }

    /// As 16 bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        (u128::from(self.epoch) << 64 | u128::from(self.number)).to_be_bytes()
    }
}

/// What changed after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The position after it.
    pub position: Position,
    /// The revision of the policy in force.
    pub revision: Arc<str>,
    /// The digests of which something else is known. At most [`MAX_BATCH`].
    pub digests: Vec<Digest>,
    /// Whether everything may have changed.
    pub resync: bool,
    /// Whether there is more to read.
    pub more: bool,
}

impl Default for Changes {
    /// No change yet, under a policy without a revision.
    fn default() -> Self {
        let ring = Ring { head: 0, digests: VecDeque::new(), revision: "".into() };
        // The hasher's keys are random, and so differ from process to process.
        let epoch = RandomState::new().hash_one(0);
        Self(Arc::new(Shared { epoch, ring: Mutex::new(ring), head: watch::Sender::new(0) }))
    }
}

impl Changes {
    /// Something else is known of `digest` than before: to be called after it is what is answered from.
    pub fn digest(&self, digest: Digest) {
        let head = {
            let mut ring = self.0.ring.lock();
            if ring.digests.len() == MAX_KEPT {
                ring.digests.pop_front();
            }
            ring.digests.push_back(digest);
            ring.head += 1;
            ring.head
        };
        self.told(head);
    }

    /// Every answer may be another: the policy in force is of `revision` now, or, where that is not
    /// another one, who is trusted. To be called after it is what is decided by.
    pub fn policy(&self, revision: &str) {
        let head = {
            let mut ring = self.0.ring.lock();
            if *ring.revision != *revision {
                ring.revision = revision.into();
            }
            ring.digests.clear();
            ring.head += 1;
            ring.head
        };
        self.told(head);
    }

    /// Wakes those who wait, in whatever order the changes come here.
    fn told(&self, head: u64) {
        self.0.head.send_if_modified(|told| {
            let newer = *told < head;
            *told = head.max(*told);
            newer
        });
    }

    /// Wakes when there are changes; see [`Changes::since`].
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.head.subscribe()
    }

    /// What changed after `position`; without one, or with that of another process, everything.
    #[must_use]
    pub fn since(&self, position: Option<Position>) -> Since {
        let ring = self.0.ring.lock();
        let revision = Arc::clone(&ring.revision);
        let at = |number| Position { epoch: self.0.epoch, number };
        let known = position
            .filter(|p| p.epoch == self.0.epoch && (ring.floor()..=ring.head).contains(&p.number));
        let Some(known) = known else {
            let position = at(ring.head);
            return Since { position, revision, digests: Vec::new(), resync: true, more: false };
        };
        // It is at least the floor, and no more than the ring's length above it.
        let skip = usize::try_from(known.number - ring.floor()).unwrap_or(usize::MAX);
        let mut digests: Vec<_> = ring.digests.iter().skip(skip).take(MAX_BATCH).copied().collect();
        let number = known.number + digests.len() as u64;
        let more = number < ring.head;
        // One digest in several repositories changes several times in a row.
        digests.dedup();
        Since { position: at(number), revision, digests, resync: false, more }
    }
}

#[cfg(test)]
mod tests;
