//! Changes of marks in, a file that has them out: one thread writes what has come together.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use super::{Key, Mark};
use crate::caught::survive_now;
use crate::chain::chain;
use crate::metrics::Metrics;

const MARKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("marks-1");
/// What of the file is kept in memory beside the marks themselves, in bytes.
const CACHE: usize = 8 * 1024 * 1024;
/// The changes that wait for the disk; who has another waits.
const QUEUE: usize = 1_024;
/// The most changes that are written at once.
const BATCH: usize = 256;

/// Why the file of marks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be opened, read or written.
    #[error("failed to use the file of marks")]
    Store(#[from] Box<redb::Error>),
    /// A mark has no JSON form.
    #[error("failed to write a mark")]
    Mark(#[source] serde_json::Error),
    /// Its thread cannot be started, or died.
    #[error("failed to start the thread that writes marks")]
    Thread(#[source] std::io::Error),
}

/// A mark, and when it was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) mark: Mark,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) raised_at: OffsetDateTime,
}

/// One thing to write.
#[derive(Debug)]
pub(super) enum Change {
    Put(Key, Record),
    Remove(Key),
}

type Job = (Vec<Change>, oneshot::Sender<()>);

/// The file, and the thread that writes it.
pub(super) struct Disk {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    /// Opens or makes the file, and reads all of it. A record that cannot be read is passed over, and
    /// said.
    pub(super) fn open(
        path: &Path,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Vec<(Key, Record)>), DiskError> {
        let (database, records) = read(path)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("marks".to_owned())
            .spawn(move || {
                run(queue, &metrics, |batch| {
                    write(&database, batch.iter().flat_map(|(changes, _)| changes))
                });
            })
            .map_err(DiskError::Thread)?;
        Ok((Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) }, records))
    }

    /// Returns when the changes are on disk, or cannot be, which the thread has said then.
    pub(super) async fn write(&self, changes: Vec<Change>) {
        let jobs = self.jobs.lock().clone();
        let (done, written) = oneshot::channel();
        if let Some(jobs) = jobs
            && jobs.send((changes, done)).await.is_ok()
        {
            // Also an error says that nothing more will come.
            let _ = written.await;
        }
    }

    /// Waits for what is under way, and closes the file.
    pub(super) fn close(&self) {
        drop(self.jobs.lock().take());
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes marks died");
        }
    }
}

fn run(
    mut queue: mpsc::Receiver<Job>,
    metrics: &Metrics,
    write: impl Fn(&[Job]) -> Result<(), DiskError>,
) {
    while let Some(job) = queue.blocking_recv() {
        let mut batch = vec![job];
        while batch.len() < BATCH
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        // A file that was changed under it may make the database panic. Whoever waits does so in a search, and so
        // there is no pause: the next is tried when there is something to write.
        let error = match survive_now("marks", metrics, || write(&batch)) {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(chain(&error)),
            None => Some("the database panicked".to_owned()),
        };
        if let Some(error) = error {
            metrics.marks_failed();
            tracing::error!(
                error,
                "marks cannot be written: after a restart older reports are believed again"
            );
        }
        for (_, done) in batch {
            // Who no longer waits needs no word.
            let _ = done.send(());
        }
    }
}

fn store(error: impl Into<redb::Error>) -> DiskError {
    DiskError::Store(Box::new(error.into()))
}

fn write<'a>(
    database: &Database,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<(), DiskError> {
    let transaction = database.begin_write().map_err(store)?;
    {
        let mut table = transaction.open_table(MARKS).map_err(store)?;
        for change in changes {
            match change {
                Change::Put(key, record) => {
                    let bytes = serde_json::to_vec(record).map_err(DiskError::Mark)?;
                    table.insert(key.as_bytes(), bytes.as_slice()).map_err(store)?;
                }
                Change::Remove(key) => {
                    table.remove(key.as_bytes()).map_err(store)?;
                }
            }
        }
    }
    transaction.commit().map_err(store)
}

type Opened = (Database, Vec<(Key, Record)>);

fn read(path: &Path) -> Result<Opened, DiskError> {
    let database = Database::builder().set_cache_size(CACHE).create(path).map_err(store)?;
    let transaction = database.begin_write().map_err(store)?;
    transaction.open_table(MARKS).map_err(store)?;
    // Also shows at once that it can be written.
    transaction.commit().map_err(store)?;
    let transaction = database.begin_read().map_err(store)?;
    let table = transaction.open_table(MARKS).map_err(store)?;
    let mut records = Vec::new();
    for entry in table.iter().map_err(store)? {
        let (key, value) = entry.map_err(store)?;
        match serde_json::from_slice(value.value()) {
            Ok(record) => records.push((Key(key.value().into()), record)),
            Err(error) => tracing::error!(%error, "a mark cannot be read, and is forgotten"),
        }
    }
    Ok((database, records))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn put(name: &str) -> Change {
        let record = Record { mark: Mark::default(), raised_at: OffsetDateTime::UNIX_EPOCH };
        Change::Put(Key(name.as_bytes().into()), record)
    }

    #[test]
    fn t141_a_panic_in_the_middle_of_a_write_leaves_a_file_that_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marks.redb");
        let (database, _) = read(&path).unwrap();
        let (first, second) = (put("first"), put("second"));
        let changes = [&first, &second].into_iter().enumerate().map(|(at, change)| {
            assert_eq!(at, 0, "a fault that was put here");
            change
        });
        let broken = catch_unwind(AssertUnwindSafe(|| write(&database, changes)));
        assert!(broken.is_err());
        write(&database, [&second].into_iter()).unwrap();
        drop(database);
        let (_database, records) = read(&path).unwrap();
        let keys: Vec<_> = records.iter().map(|(key, _)| key.as_bytes().to_vec()).collect();
        assert_eq!(keys, [b"second".to_vec()]);
    }

    #[tokio::test]
    async fn t141_a_panic_costs_the_marks_of_one_write_and_not_the_thread() {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let metrics = Arc::new(Metrics::new());
        let counted = Arc::clone(&metrics);
        let thread = std::thread::spawn(move || {
            run(queue, &counted, |batch| {
                let is_good = batch.iter().all(|(changes, _)| changes.len() == 1);
                assert!(is_good, "a fault that was put here");
                Ok(())
            });
        });
        let thread = Mutex::new(Some(thread));
        let disk = Disk { jobs: Mutex::new(Some(jobs)), thread };
        disk.write(vec![put("one"), put("two")]).await;
        disk.write(vec![put("three")]).await;
        let text = metrics.encode().unwrap();
        assert!(text.contains("portcullis_panics_total{what=\"marks\"} 1"), "{text}");
        assert!(text.contains("portcullis_marks_failed_total 1"), "{text}");
        assert!(!disk.thread.lock().as_ref().unwrap().is_finished());
        disk.close();
    }
}
