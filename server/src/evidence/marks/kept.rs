//! Marks in, the same again out, as long as there is room: in memory, and on disk if it can be.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use parking_lot::Mutex;
use time::OffsetDateTime;

use super::disk::{Change, Disk, DiskError, Record};
use super::{Key, Mark, Marks, MarksConfig};
use crate::chain::chain;
use crate::metrics::Metrics;

/// The most images whose marks are kept, where nothing else is configured.
pub const MAX_ENTRIES: usize = 100_000;

/// Marks that this process keeps.
pub struct Kept {
    entries: Mutex<Entries>,
    disk: Option<Disk>,
    metrics: Arc<Metrics>,
}

struct Entries {
    limit: usize,
    /// Counts what is raised, so that the one raised longest ago is known.
    turn: u64,
    marks: HashMap<Key, (u64, Mark)>,
    order: BTreeMap<u64, Key>,
}

impl Entries {
    fn of(limit: usize) -> Self {
        Self { limit, turn: 0, marks: HashMap::new(), order: BTreeMap::new() }
    }

    /// Gives what has no room any more.
    fn put(&mut self, key: Key, mark: Mark) -> Option<Key> {
        self.remove(&key);
        self.turn += 1;
        self.order.insert(self.turn, key.clone());
        self.marks.insert(key, (self.turn, mark));
        if self.marks.len() <= self.limit {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        self.marks.remove(&oldest);
        Some(oldest)
    }

    fn remove(&mut self, key: &Key) {
        if let Some((turn, _)) = self.marks.remove(key) {
            self.order.remove(&turn);
        }
    }
}

impl Kept {
    /// Marks in memory alone, of `limit` images at the most.
    #[must_use]
    pub fn in_memory(limit: usize, metrics: Arc<Metrics>) -> Self {
        Self { entries: Mutex::new(Entries::of(limit)), disk: None, metrics }
    }

    /// Marks that outlive the process, in the file `marks.redb` of `folder`. A file that cannot be used
    /// makes nothing unknown: marks are then kept in memory alone, which the log and the metrics say.
    #[must_use]
    pub fn open(folder: &Path, limit: usize, metrics: Arc<Metrics>) -> Self {
        let path = folder.join("marks.redb");
        match Disk::open(&path, Arc::clone(&metrics)) {
            Ok((disk, mut records)) => {
                records.sort_by_key(|(_, record)| record.raised_at);
                let mut entries = Entries::of(limit);
                for (key, record) in records {
                    entries.put(key, record.mark);
                }
                Self { entries: Mutex::new(entries), disk: Some(disk), metrics }
            }
            Err(error) => {
                Self::failed(&metrics, &error, &path);
                Self::in_memory(limit, metrics)
            }
        }
    }

    /// The marks of a configuration, without those that it says to forget.
    pub async fn start(config: &MarksConfig, metrics: Arc<Metrics>) -> Self {
        let kept = match &config.folder {
            Some(folder) => Self::open(folder, config.max_entries, metrics),
            None => Self::in_memory(config.max_entries, metrics),
        };
        for image in &config.forget {
            let Some(digest) = image.digest() else { continue };
            tracing::warn!(%image, "`marks.forget`: its mark is forgotten; remove it from there");
            kept.forget(Key::new(image.registry(), image.repository(), digest)).await;
        }
        kept
    }

    fn failed(metrics: &Metrics, error: &DiskError, path: &Path) {
        metrics.marks_failed();
        tracing::error!(error = %chain(error), path = %path.display(),
            "marks cannot be kept on disk: after a restart older reports are believed again; make \
             the folder of `dataDir`, writable for who runs this and used by no other process");
    }

    /// Closes the file. Marks are kept in memory alone from then on.
    pub fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }

    async fn write(&self, changes: Vec<Change>) {
        if let Some(disk) = &self.disk {
            disk.write(changes).await;
        }
    }
}

impl Marks for Kept {
    fn of(&self, key: &Key) -> BoxFuture<'_, Mark> {
        let entries = self.entries.lock();
        let mark = entries.marks.get(key).map(|(_, mark)| mark.clone());
        ready(mark.unwrap_or_default()).boxed()
    }

    fn raise(&self, key: Key, seen: Mark, now: OffsetDateTime) -> BoxFuture<'_, ()> {
        let (mark, forgotten) = {
            let mut entries = self.entries.lock();
            let mark = match entries.marks.get(&key) {
                Some((_, mark)) => mark.raised(&seen),
                None => seen,
            };
            let forgotten = entries.put(key.clone(), mark.clone());
            (mark, forgotten)
        };
        let mut changes = vec![Change::Put(key, Record { mark, raised_at: now })];
        if let Some(forgotten) = forgotten {
            self.metrics.mark_forgotten();
            changes.push(Change::Remove(forgotten));
        }
        self.write(changes).boxed()
    }

    fn forget(&self, key: Key) -> BoxFuture<'_, ()> {
        self.entries.lock().remove(&key);
        self.write(vec![Change::Remove(key)]).boxed()
    }
}
