//! What is to be kept in, a thread that keeps it out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};

use super::file::{self, OpenError, Outcome};
use super::lately::Lately;
use super::{Opened, StoreKey};
use crate::caught::said;
use crate::chain::chain;
use crate::metrics::Metrics;
use crate::registry::Answers;

/// The most changes that wait for the disk. One more is dropped.
pub(super) const QUEUE: usize = 4_096;
/// The most bytes of them. What is past it is dropped.
pub(super) const MAX_PENDING: usize = 64 * 1024 * 1024;
/// The most changes that are written at once.
const BATCH: usize = 256;

/// One change of the store.
#[derive(Debug)]
pub(super) enum Job {
    Keep(StoreKey, OffsetDateTime, Answers),
    Forget(StoreKey),
    Doubt(StoreKey, OffsetDateTime),
}

/// The thread, and the way to it.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pending: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Starts the thread, which opens the file and says so. None if there can be no thread, which is
    /// said too.
    pub(super) fn start(
        path: PathBuf,
        max_bytes: u64,
        opening: watch::Sender<Opened>,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let pending = Arc::new(AtomicUsize::new(0));
        let run =
            Run { path, max_bytes, pending: Arc::clone(&pending), metrics: Arc::clone(&metrics) };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run.run(queue, &opening));
        match thread {
            Ok(thread) => Some(Self {
                jobs: Mutex::new(Some(jobs)),
                thread: Mutex::new(Some(thread)),
                pending,
                metrics,
            }),
            Err(error) => {
                metrics.store_failed();
                tracing::error!(%error, "the evidence store has no thread: nothing is kept on disk");
                None
            }
        }
    }

    /// Hands over a change, unless too many wait.
    pub(super) fn send(&self, job: Job) {
        let weight = job.weight();
        let before = self.pending.fetch_add(weight, Ordering::Relaxed);
        let jobs = self.jobs.lock().clone();
        let is_sent = before.saturating_add(weight) <= MAX_PENDING
            && jobs.is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !is_sent {
            self.pending.fetch_sub(weight, Ordering::Relaxed);
            self.metrics.store_dropped();
        }
    }

    /// Waits until all is written.
    pub(super) fn close(&self) {
        drop(self.jobs.lock().take());
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the evidence store died");
        }
    }
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Keep(_, _, answers) => answers.weight(),
            Self::Forget(_) | Self::Doubt(..) => 0,
        }
    }
}

struct Run {
    path: PathBuf,
    max_bytes: u64,
    pending: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Run {
    fn run(self, mut queue: mpsc::Receiver<Job>, opening: &watch::Sender<Opened>) {
        let Some(database) = open(&self.path, &self.metrics) else {
            opening.send_replace(Opened::Never);
            return;
        };
        opening.send_replace(Opened::Open(Arc::clone(&database)));
        let (mut is_failing, mut lately) = (false, Lately::default());
        while let Some(job) = queue.blocking_recv() {
            let mut batch = vec![job];
            while batch.len() < BATCH
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            let weight = batch.iter().map(Job::weight).sum();
            // A file that was changed under it may make the database panic.
            let write = || file::write(&database, batch, self.max_bytes, &mut lately);
            let written = catch_unwind(AssertUnwindSafe(write));
            self.pending.fetch_sub(weight, Ordering::Relaxed);
            match written {
                Ok(Ok(Outcome { entries, bytes, evicted })) => {
                    is_failing = false;
                    self.metrics.store_kept(entries, bytes);
                    self.metrics.store_evicted(evicted);
                }
                Ok(Err(error)) => {
                    self.metrics.store_failed();
                    // Once for each time that it begins, not for each write.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(error = %chain(&error), path = %self.path.display(),
                            "evidence cannot be kept on disk: after a restart it is asked for again; see \
                             that the folder is writable for who runs this, and that the disk has room");
                    }
                }
                Err(panic) => {
                    self.metrics.panicked("store");
                    self.metrics.store_failed();
                    tracing::error!(panic = said(&*panic), path = %self.path.display(),
                        "the evidence store is broken: nothing is kept on disk until a restart");
                    opening.send_replace(Opened::Never);
                    return;
                }
            }
        }
    }
}

/// Opens the file. One that is broken is moved aside, and a new one begun.
fn open(path: &Path, metrics: &Metrics) -> Option<Arc<redb::Database>> {
    let failed = |error: &OpenError| {
        metrics.store_failed();
        tracing::error!(error = %chain(error), path = %path.display(),
            "the evidence store cannot be used: nothing is kept on disk; make the folder of `dataDir`, writable for \
             who runs this and used by no other process");
    };
    let error = match guarded(path) {
        Ok(database) => return Some(Arc::new(database)),
        Err(error) => error,
    };
    if !error.is_broken() {
        failed(&error);
        return None;
    }
    let aside = path.with_extension("redb.broken");
    metrics.store_failed();
    tracing::warn!(error = %chain(&error), path = %path.display(), aside = %aside.display(),
        "the evidence store is broken: it is moved aside, and a new one is begun");
    let moved = std::fs::rename(path, &aside).map_err(OpenError::Aside);
    match moved.and_then(|()| guarded(path)) {
        Ok(database) => Some(Arc::new(database)),
        Err(error) => {
            failed(&error);
            None
        }
    }
}

/// Opens the file; that the database panics says that it is broken.
fn guarded(path: &Path) -> Result<redb::Database, OpenError> {
    catch_unwind(AssertUnwindSafe(|| file::open(path))).unwrap_or(Err(OpenError::Panicked))
}
