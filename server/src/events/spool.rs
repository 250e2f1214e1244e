//! Decisions in, a durable record of them under the data directory out.
//!
//! ```text
//! answers ─ Spool (memory, bounded) ─ Writer (a thread) ─ Segments (files, bounded) ─ Reader
//! ```
//!
//! An answer costs what it takes to append a few hundred bytes in memory. The thread takes what has come
//! together, writes it and waits until it is on disk, again and again. Where it cannot keep up, decisions are
//! dropped, counted, and told of in the record itself: their numbers are missing, and a later record says
//! so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::event::Told;
use portcullis_core::event::stored::{self, Made};
use portcullis_core::ports::Clock;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::metrics::Metrics;

mod attached;
mod buffer;
mod disk;
mod folder;
mod names;
mod read;
mod segment;
mod verify;
mod writer;

pub use self::read::{Attachments, Entry, Reader, SpoolError, folder_of};
pub use self::verify::{Gap, Verdict, verify};
pub use self::writer::SpoolWriter;

use self::buffer::Shared;
use self::disk::{Disk, FileSystem};
use self::folder::Folder;

/// The most bytes of decisions that wait in memory for the disk; one more decision may stand beyond it.
pub const MAX_WAITING: usize = 16 * 1024 * 1024;
/// The most bytes that what these decisions name weighs in memory; one more may stand beyond it. Most of it
/// is in the cache too, and stays for as long as it waits here.
pub const MAX_HELD: usize = 128 * 1024 * 1024;
/// The most decisions that are taken back at a time. Each of them was waited for, and so they are few.
const MAX_TAKEN_BACK: usize = 64 * 1024;
/// The shortest and the longest segment that may be configured, in bytes. It ends at the first batch
/// beyond.
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;
/// See [`MIN_SEGMENT_BYTES`].
pub const MAX_SEGMENT_BYTES: u64 = 512 * 1024 * 1024;
/// Kinds of records.
mod kind {
    /// A decision.
    pub(super) const DECISION: u8 = 1;
    /// What was known of a manifest, by the name that decisions of the same segment have for it.
    pub(super) const KNOWN: u8 = 2;
    /// The line of a report or VEX document, behind its digest.
    pub(super) const ATTACHED: u8 = 3;
    /// A decision that was not given: nobody waited for its record any more.
    pub(super) const VOID: u8 = 4;
    /// The service ended, and everything before is written.
    pub(super) const END: u8 = 5;
    /// Decisions that were given and are not in the record: how many from this number on, and why.
    pub(super) const LOST: u8 = 6;
    /// The decision of this number is in the record and was not given: nobody waited for that any more when
    /// it was on disk.
    pub(super) const TAKEN_BACK: u8 = 7;
}

/// Where decisions are recorded, and how much of them is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// The folder of the record. None: there is none.
    pub folder: Option<PathBuf>,
    /// The most bytes that all of it takes: half for decisions, half for reports and VEX documents. When
    /// there are more, the oldest segment goes.
    pub max_bytes: u64,
    /// How long a segment is kept at most after the last was written into it.
    pub max_age: Duration,
    /// From how many bytes on a segment is ended.
    pub segment_bytes: u64,
    /// How long decisions wait in memory at most, so that many are written at once.
    pub sync: Duration,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            folder: None,
            max_bytes: 1024 * 1024 * 1024,
            max_age: Duration::from_secs(30 * 24 * 3600),
            segment_bytes: 32 * 1024 * 1024,
            sync: Duration::from_millis(50),
        }
    }
}

/// Why a decision is not in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Too much waited for the disk.
    Full,
    /// It could not be written, or not be kept.
    Failed,
}

impl Loss {
    /// The word for it, as in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Full => 1,
            Self::Failed => 2,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Full),
            2 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// Takes decisions.
pub struct Spool {
    shared: Arc<Shared>,
}

impl Spool {
    /// Begins the record of a run of the service that starts at `start`. Looks at what is in the folder
    /// first, so that numbers go on; a folder that cannot be used now is tried again whenever there is
    /// something to write, and costs the decisions meanwhile, not the service.
    ///
    /// Blocks, as disks do.
    #[must_use]
    pub fn open(
        config: SpoolConfig,
        folder: PathBuf,
        start: OffsetDateTime,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> (Self, SpoolWriter) {
        Self::with_disk(config, folder, start, clock, metrics, Box::new(FileSystem))
    }

    fn with_disk(
        config: SpoolConfig,
        path: PathBuf,
        start: OffsetDateTime,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        disk: Box<dyn Disk>,
    ) -> (Self, SpoolWriter) {
        let folder = match Folder::open(&path) {
            Ok(folder) => Some(folder),
            Err(error) => {
                tracing::warn!(
                    %error,
                    path = %path.display(),
                    "events cannot be recorded now: decisions go on without a record; make the folder of `dataDir`, \
                     writable for who runs this and used by no other process"
                );
                None
            }
        };
        let next = folder.as_ref().map_or(1, |folder| folder.next);
        let shared = Arc::new(Shared::new(next, MAX_WAITING));
        let run = u64::try_from(start.unix_timestamp_nanos()).unwrap_or(0);
        let writer = SpoolWriter::new(
            Arc::clone(&shared),
            config,
            (path, folder),
            run,
            clock,
            metrics,
            disk,
        );
        (Self { shared }, writer)
    }

    /// Records a decision, and gives its number. `Err` with the number where there was no room.
    ///
    /// # Errors
    /// When too much waits already, or the writer is gone.
    pub fn record(&self, made: &Made<'_>) -> Result<u64, u64> {
        let grounds = stored::grounds(made.decision, made.image);
        self.shared.push(made, &grounds, None)
    }

    /// As [`Self::record`], and gives what tells when the decision is on disk, or fails if it will not be.
    pub(super) fn record_awaited(
        &self,
        made: &Made<'_>,
    ) -> Result<(u64, oneshot::Receiver<()>), u64> {
        let grounds = stored::grounds(made.decision, made.image);
        let (awaited, receiver) = oneshot::channel();
        self.shared.push(made, &grounds, Some(awaited)).map(|number| (number, receiver))
    }
}

impl Spool {
    /// Records what was answered without the service, and gives its number and what tells when it is on disk.
    ///
    /// # Errors
    /// With the number, when too much waits already, or the writer is gone.
    pub(super) fn record_told(&self, told: &Told<'_>) -> Result<(u64, oneshot::Receiver<()>), u64> {
        let mut record = Vec::new();
        stored::write_told(&mut record, told);
        let (awaited, receiver) = oneshot::channel();
        self.shared.push_whole(&record, awaited).map(|number| (number, receiver))
    }

    /// Tells the record that the decisions of these numbers were not given.
    pub(super) fn take_back(&self, numbers: &[u64]) {
        self.shared.take_back(numbers);
    }

    /// The numbers of which the record is still to be told so.
    #[cfg(test)]
    pub(super) fn taken_back(&self) -> Vec<u64> {
        self.shared.taken_back()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[cfg(test)]
mod tests;
