//! What registries answered in, the same out after a restart: signed bytes on disk, never conclusions.
//!
//! One thread writes, so that no answer waits for a disk; what it cannot take in time is dropped and
//! counted. Who reads has little patience: a disk that is slow or hangs is a miss. What comes out is
//! searched through once more by the code that searched a registry, so whoever can write to the file can
//! at most have it rejected (ADR 0018).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_core::image::{Digest, Reference};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use self::file::Found;
use self::writer::{Job, Writer};
use crate::chain::chain;
use crate::metrics::Metrics;
use crate::registry::Answers;

mod file;
mod lately;
mod writer;

/// How long is waited for a disk before it is taken to have nothing.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// For how long a disk that was too slow is not asked.
const REST: Duration = Duration::from_secs(5);
/// The most reads at a time. What a disk that hangs holds up is no more than this.
const MAX_READS: usize = 8;
/// The least room that a store can be given, in bytes.
pub const MIN_BYTES: u64 = 1024 * 1024;

/// Where answers of registries are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder of the file `evidence.redb`. None: nothing is kept on disk.
    pub folder: Option<PathBuf>,
    /// The most that is kept, in bytes. What was confirmed longest ago goes first.
    pub max_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { folder: None, max_bytes: 1024 * 1024 * 1024 }
    }
}

/// What is kept of a registry's answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was asked.
    pub at: OffsetDateTime,
    /// Whether it was said since that this is old: it is used where the registry cannot be asked.
    pub is_doubted: bool,
    /// What it answered.
    pub answers: Answers,
}

/// What something is kept under: each part behind its length, so that no two have one name (CASES T078).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreKey(Box<[u8]>);

impl StoreKey {
    /// What was found of a manifest.
    #[must_use]
    pub fn evidence(image: &Reference, digest: Digest, access: &str) -> Self {
        Self::new(b"e", image, digest.as_bytes(), access)
    }

    /// What an image names: by its digest, or else by its tag.
    #[must_use]
    pub fn name(image: &Reference, access: &str) -> Self {
        match image.digest() {
            Some(digest) => Self::new(b"d", image, digest.as_bytes(), access),
            None => Self::new(b"t", image, image.tag().unwrap_or_default().as_bytes(), access),
        }
    }

    fn new(kind: &[u8], image: &Reference, name: &[u8], access: &str) -> Self {
        let parts = [
            kind,
            image.registry().as_bytes(),
            image.repository().as_bytes(),
            name,
            access.as_bytes(),
        ];
        let mut key = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
        for part in parts {
            key.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            key.extend(part);
        }
        Self(key.into())
    }
}

/// A store of answers. Clones share it.
#[derive(Clone)]
pub struct Store(Option<Arc<Shared>>);

struct Shared {
    writer: Writer,
    opened: watch::Receiver<Opened>,
    reads: Arc<Semaphore>,
    /// How many reads have ended.
    done: Arc<AtomicU64>,
    /// Until when the disk is left alone, in milliseconds since `began`.
    rests_until: AtomicI64,
    began: Instant,
    background: Handle,
    metrics: Arc<Metrics>,
    stopped: Mutex<bool>,
}

/// The file, once it is there.
#[derive(Clone)]
enum Opened {
    NotYet,
    Open(Arc<redb::Database>),
    /// It cannot be used.
    Never,
}

impl Store {
    /// Opens the file of `config` in the background, or makes it. Reads run on `background`. Whatever is wrong with the file, there is a store: one without it has nothing, which the
    /// log and the metrics say.
    #[must_use]
    pub fn open(config: &StoreConfig, metrics: &Arc<Metrics>, background: Handle) -> Self {
        let Some(folder) = &config.folder else { return Self::none() };
        let max_bytes = config.max_bytes.max(MIN_BYTES);
        let (opening, opened) = watch::channel(Opened::NotYet);
        let path = folder.join("evidence.redb");
        let Some(writer) = Writer::start(path, max_bytes, opening, Arc::clone(metrics)) else {
            return Self::none();
        };
        Self(Some(Arc::new(Shared {
            writer,
            opened,
            reads: Arc::new(Semaphore::new(MAX_READS)),
            done: Arc::default(),
            rests_until: AtomicI64::new(0),
            began: Instant::now(),
            background,
            metrics: Arc::clone(metrics),
            stopped: Mutex::new(false),
        })))
    }

    /// A store that keeps nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Waits until the file is open, or cannot be, but no longer than this.
    pub async fn opened(&self, patience: Duration) {
        if let Some(shared) = &self.0 {
            let mut opened = shared.opened.clone();
            let is_told = opened.wait_for(|opened| !matches!(opened, Opened::NotYet));
            // Whoever asks before it is open finds nothing, and asks a registry.
            let _ = timeout(patience, is_told).await;
        }
    }

    /// Keeps what a registry that was asked at `at` answered, in place of what it answered before. Never waits.
    pub fn keep(&self, key: StoreKey, at: OffsetDateTime, answers: Answers) {
        if let Some(shared) = &self.0 {
            shared.writer.send(Job::Keep(key, at, answers));
        }
    }

    /// Forgets what is kept. Never waits.
    pub fn forget(&self, key: StoreKey) {
        if let Some(shared) = &self.0 {
            shared.writer.send(Job::Forget(key));
        }
    }

    /// Marks what is kept, and what is being asked, as said to be old at `at`: what a registry is asked after that is
    /// not. Never waits.
    pub fn doubt(&self, key: StoreKey, at: OffsetDateTime) {
        if let Some(shared) = &self.0 {
            shared.writer.send(Job::Doubt(key, at));
        }
    }

    /// What a registry answered, and when. None where nothing is kept, or the disk cannot tell in time.
    pub async fn find(&self, key: &StoreKey) -> Option<Stored> {
        let shared = self.0.as_ref()?;
        let (outcome, found) = match shared.read(key).await {
            Read::Found(found) => match decoded(found) {
                Some(found) => ("hit", Some(found)),
                None => {
                    shared.writer.send(Job::Forget(key.clone()));
                    ("rejected", None)
                }
            },
            Read::Nothing => ("miss", None),
            Read::Late => ("late", None),
        };
        shared.metrics.store_read(outcome);
        found
    }

    /// Writes what has come so far, and closes the file. Nothing is kept from then on.
    pub fn close(&self) {
        if let Some(shared) = &self.0
            && !std::mem::replace(&mut *shared.stopped.lock(), true)
        {
            shared.writer.close();
        }
    }
}

/// What was stored, if it is that.
fn decoded(found: Found) -> Option<Stored> {
    if !found.is_whole() {
        tracing::warn!("what was stored of a search is damaged, and is forgotten");
        return None;
    }
    let Found { at, is_doubted, bytes, .. } = found;
    match Answers::decode(&bytes.into()) {
        Ok(answers) => Some(Stored { at, is_doubted, answers }),
        Err(error) => {
            tracing::warn!(error = %chain(&error),
                "what was stored of a search cannot be used, and is forgotten");
            None
        }
    }
}

enum Read {
    Found(Found),
    Nothing,
    Late,
}

impl Shared {
    async fn read(&self, key: &StoreKey) -> Read {
        let Some(database) = self.database().await else { return Read::Nothing };
        if self.is_resting() {
            return Read::Late;
        }
        let Some(turn) = self.turn().await else { return Read::Late };
        // Its disk may have been found to hang meanwhile.
        if self.is_resting() {
            return Read::Late;
        }
        let (key, done) = (key.clone(), Arc::clone(&self.done));
        let read = self.background.spawn_blocking(move || {
            let found = file::find(&database, &key);
            // Given back when the disk has answered, however long that takes.
            done.fetch_add(1, Ordering::Relaxed);
            drop(turn);
            found
        });
        let error = match timeout(PATIENCE, read).await {
            Ok(Ok(Ok(Some(found)))) => return Read::Found(found),
            Ok(Ok(Ok(None))) => return Read::Nothing,
            Ok(Ok(Err(error))) => chain(&error),
            Ok(Err(died)) => chain(&died),
            Err(_elapsed) => {
                let rest = i64::try_from(REST.as_millis()).unwrap_or(i64::MAX);
                self.rests_until.store(self.now().saturating_add(rest), Ordering::Relaxed);
                return Read::Late;
            }
        };
        self.metrics.store_failed();
        tracing::error!(error, "the evidence store cannot be read: registries are asked instead");
        Read::Nothing
    }

    /// The file, if it is open or soon will be.
    async fn database(&self) -> Option<Arc<redb::Database>> {
        let mut opened = self.opened.clone();
        let is_told = opened.wait_for(|opened| !matches!(opened, Opened::NotYet));
        match timeout(PATIENCE, is_told).await.ok()?.ok()?.clone() {
            Opened::Open(database) => Some(database),
            Opened::NotYet | Opened::Never => None,
        }
    }

    /// The right to one read. It is waited for as long as others are done with theirs.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let mut turn = std::pin::pin!(Arc::clone(&self.reads).acquire_owned());
        loop {
            let done = self.done.load(Ordering::Relaxed);
            match timeout(PATIENCE, &mut turn).await {
                Ok(turn) => return turn.ok(),
                Err(_elapsed) if done == self.done.load(Ordering::Relaxed) => return None,
                Err(_elapsed) => {}
            }
        }
    }

    fn is_resting(&self) -> bool {
        self.now() < self.rests_until.load(Ordering::Relaxed)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests;
