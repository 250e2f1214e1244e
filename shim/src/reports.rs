//! Answers that were given without the service in, reports of them to it out, also after a restart.
//!
//! ```text
//! ask ─ Reports (memory, bounded) ─┬─ send (a task) ─ ReportAnswered
//!                                  └─ keep (a task) ─ a file
//! ```
//!
//! A review does not wait for either task. What has no room is dropped, and counted: the newest, so that nobody
//! can wash out what happened by what happens later. How many those are the service is told, also after a restart. Answers of the near cache, of which there may be very many, have
//! half of the room at the most.

mod answered;
mod queue;
mod file;
mod keep;
mod send;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use parking_lot::Mutex;
use portcullis_proto::v1;
use tokio::sync::Notify;

pub(crate) use self::answered::Given;
pub(crate) use self::keep::Keeper;
use self::queue::Queue;

/// Names a run.
type Run = [u8; 16];

/// The most that may be configured to wait, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// For how long a call with reports may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where reports wait, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportsConfig {
    /// Where they are kept over a restart. None: in memory alone.
    pub file: Option<PathBuf>,
    /// The most that waits, in bytes.
    pub max_bytes: usize,
}

/// Takes answers that were given without the service.
pub(crate) struct Reports {
    queue: Mutex<Queue>,
    /// Something is to be sent.
    to_send: Notify,
    /// Something is to be written.
    to_keep: Notify,
    sent: AtomicU64,
    send_failures: AtomicU64,
    disk_failures: AtomicU64,
    set_aside: AtomicU64,
}

/// What became of the reports, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) made: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) send_failures: u64,
    pub(crate) disk_failures: u64,
    pub(crate) set_aside: u64,
    pub(crate) waiting: usize,
    pub(crate) waiting_bytes: usize,
}

/// Why no reports can be made.
#[derive(Debug, thiserror::Error)]
#[error("the system has no random bytes to name this run by")]
pub struct NoRun;

impl Reports {
    /// Begins a run of its own.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn new(max_bytes: usize) -> Result<Self, NoRun> {
        let mut run: Run = [0; 16];
        rand::fill(&mut run).map_err(|_unspecified| NoRun)?;
        Ok(Self {
            queue: Mutex::new(Queue::new(run, max_bytes)),
            to_send: Notify::new(),
            to_keep: Notify::new(),
            sent: AtomicU64::new(0),
            send_failures: AtomicU64::new(0),
            disk_failures: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
        })
    }

    /// Takes the answer that was given to `request` at `now`.
    pub(crate) fn take(&self, request: v1::CheckRequest, given: &Given<'_>, now: SystemTime) {
        let report = answered::report(request, given, now);
        let (is_taken, dropped) = {
            let mut queue = self.queue.lock();
            (queue.push(report), queue.dropped())
        };
        if !is_taken && dropped.is_power_of_two() {
            tracing::warn!(
                dropped,
                "there is no room to report answers: they are dropped, and counted"
            );
        }
        // That one was dropped is told too, and kept until it is.
        self.to_send.notify_one();
        self.to_keep.notify_one();
    }

    pub(crate) fn counts(&self) -> Counts {
        let queue = self.queue.lock();
        Counts {
            made: queue.made(),
            sent: self.sent.load(Ordering::Relaxed),
            dropped: queue.dropped(),
            send_failures: self.send_failures.load(Ordering::Relaxed),
            disk_failures: self.disk_failures.load(Ordering::Relaxed),
            set_aside: self.set_aside.load(Ordering::Relaxed),
            waiting: queue.len(),
            waiting_bytes: queue.bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
