//! Changes in, a file that has them all or none of them out.

use std::io;
use std::path::Path;

use portcullis_core::image::Digest;
use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, Table,
    TableDefinition, WriteTransaction,
};
use time::OffsetDateTime;

use super::StoreKey;
use super::lately::Lately;
use super::writer::Job;

/// What is in the file; a greater number is of a later version.
const FORMAT: u64 = 1;

type Bytes<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// `format`, `bytes` and `last`, the last place that was given.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// Key → what is known of the body: a [`Head`].
const HEADS: Bytes<'_> = TableDefinition::new("heads");
/// Key → answers.
const BODIES: Bytes<'_> = TableDefinition::new("bodies");
/// Place → key, in the order in which they were confirmed.
const ORDER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("order");

/// The keys whose answers were said to be old, and when that was, in milliseconds since 1970. Each has a
/// head.
const DOUBTS: TableDefinition<'_, &[u8], i64> = TableDefinition::new("doubts");
/// What of the file is kept in memory, in bytes. An entry is read once after a restart, so that more would
/// be of little use; and the system keeps what it has room for.
const CACHE: usize = 32 * 1024 * 1024;
/// The bytes of a [`Head`].
const HEAD: usize = 8 + 8 + 8 + 32;
/// What is counted for an entry beside its key and its body, in bytes: about what its places in four
/// tables take.
const ENTRY: u64 = 256;
/// Longer than any search takes, in milliseconds.
const OVERTAKEN: i64 = 10 * 60 * 1000;

/// Why the file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The database cannot be opened.
    #[error("failed to open the evidence store")]
    Database(#[source] Box<DatabaseError>),
    /// What is in it cannot be read or written.
    #[error("failed to use the evidence store")]
    Store(#[from] Box<redb::Error>),
    /// It is of a later version.
    #[error(
        "the evidence store has format {found}, and this version knows {FORMAT}: run the version that \
         wrote it, or move the file away"
    )]
    Newer {
        /// Its format.
        found: u64,
    },
    /// The database gave up on it.
    #[error("the database cannot read the evidence store")]
    Panicked,
    /// It cannot be moved aside.
    #[error("failed to move the broken evidence store aside")]
    Aside(#[source] io::Error),
}

impl OpenError {
    /// Whether the file is no store any more, so that nothing is lost by another one. One that is
    /// another's, or cannot be reached, is left as it is.
    pub(super) fn is_broken(&self) -> bool {
        let is_invalid = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        };
        match self {
            Self::Panicked => true,
            Self::Database(error) => match &**error {
                DatabaseError::RepairAborted => true,
                DatabaseError::Storage(StorageError::Corrupted(_)) => true,
                DatabaseError::Storage(StorageError::Io(error)) => is_invalid(error),
                _ => false,
            },
            Self::Store(error) => match &**error {
                redb::Error::Corrupted(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableIsMultimap(_) => true,
                redb::Error::Io(error) => is_invalid(error),
                _ => false,
            },
            Self::Newer { .. } | Self::Aside(_) => false,
        }
    }
}

/// An error of the database in use.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the evidence store")]
pub(super) struct FileError(#[source] Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for FileError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// What was stored.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) at: OffsetDateTime,
    pub(super) is_doubted: bool,
    pub(super) bytes: Vec<u8>,
    sum: Digest,
}

impl Found {
    /// Whether it is what was written, as far as a disk is to blame.
    pub(super) fn is_whole(&self) -> bool {
        Digest::of(&self.bytes) == self.sum
    }
}

/// What a batch has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) evicted: u64,
}

/// What is known of a body.
struct Head {
    /// When it was confirmed, in milliseconds since 1970.
    at: i64,
    /// Its place in the order.
    place: u64,
    /// What is counted for it, in bytes.
    weight: u64,
    /// The digest of the body.
    sum: Digest,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk()?;
        let (place, rest) = rest.split_first_chunk()?;
        let (weight, rest) = rest.split_first_chunk()?;
        let sum = <[u8; 32]>::try_from(rest).ok()?;
        Some(Self {
            at: i64::from_be_bytes(*at),
            place: u64::from_be_bytes(*place),
            weight: u64::from_be_bytes(*weight),
            sum: Digest::from_bytes(sum),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend(self.at.to_be_bytes());
        bytes.extend(self.place.to_be_bytes());
        bytes.extend(self.weight.to_be_bytes());
        bytes.extend(self.sum.as_bytes());
        bytes
    }
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// Opens the file or makes it, and shows that it can be written.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    let database = Database::builder().set_cache_size(CACHE).create(path);
    let database = database.map_err(|e| OpenError::Database(Box::new(e)))?;
    prepare(&database)?;
    Ok(database)
}

fn prepare(database: &Database) -> Result<(), OpenError> {
    let failed = |FileError(error)| OpenError::Store(error);
    let found = format(database).map_err(failed)?;
    match found {
        Some(found) if found > FORMAT => Err(OpenError::Newer { found }),
        Some(_) => Ok(()),
        None => begin(database).map_err(failed),
    }
}

fn format(database: &Database) -> Result<Option<u64>, FileError> {
    match database.begin_read()?.open_table(ABOUT) {
        Ok(about) => Ok(about.get("format")?.map(|format| format.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn begin(database: &Database) -> Result<(), FileError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(ABOUT)?.insert("format", FORMAT)?;
    drop(Tables::open(&transaction)?);
    Ok(transaction.commit()?)
}

/// What is stored under `key`.
pub(super) fn find(database: &Database, key: &StoreKey) -> Result<Option<Found>, FileError> {
    let transaction = database.begin_read()?;
    let head = transaction.open_table(HEADS)?.get(&*key.0)?.and_then(|h| Head::read(h.value()));
    let Some(head) = head else { return Ok(None) };
    let Some(body) = transaction.open_table(BODIES)?.get(&*key.0)? else { return Ok(None) };
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(head.at) * 1_000_000);
    let Ok(at) = at else { return Ok(None) };
    let is_doubted = match transaction.open_table(DOUBTS) {
        Ok(doubts) => doubts.get(&*key.0)?.is_some(),
        // A version made the file that had none, and nobody has written since.
        Err(redb::TableError::TableDoesNotExist(_)) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Found { at, is_doubted, bytes: body.value().to_vec(), sum: head.sum }))
}

/// Writes all of `batch`, and lets go what has no room in `max_bytes`.
pub(super) fn write(
    database: &Database,
    batch: Vec<Job>,
    max_bytes: u64,
    lately: &mut Lately,
) -> Result<Outcome, FileError> {
    let mut transaction = database.begin_write()?;
    // After a crash it is open at once, however large it is.
    transaction.set_quick_repair(true);
    let outcome = {
        let mut tables = Tables::open(&transaction)?;
        for job in batch {
            match job {
                Job::Keep(key, at, answers) => match answers.encode() {
                    Ok(body) => {
                        tables.keep(&key, at, &body, max_bytes, lately.last(&key))?;
                    }
                    Err(error) => {
                        tracing::info!(error = %crate::chain::chain(&error),
                            "what was found in a search is not kept on disk");
                        tables.forget(&key.0)?;
                    }
                },
                Job::Forget(key) => tables.forget(&key.0)?,
                Job::Doubt(key, at) => {
                    lately.add(&key, at);
                    tables.doubt(&key.0, at)?;
                }
            }
        }
        let evicted = tables.make_room(max_bytes)?;
        tables.finish(evicted)?
    };
    transaction.commit()?;
    Ok(outcome)
}

struct Tables<'t> {
    about: Table<'t, &'static str, u64>,
    heads: Table<'t, &'static [u8], &'static [u8]>,
    bodies: Table<'t, &'static [u8], &'static [u8]>,
    order: Table<'t, u64, &'static [u8]>,
    doubts: Table<'t, &'static [u8], i64>,
    bytes: u64,
    last: u64,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, FileError> {
        let about = transaction.open_table(ABOUT)?;
        let number = |name| Ok::<_, FileError>(about.get(name)?.map_or(0, |n| n.value()));
        let (bytes, last) = (number("bytes")?, number("last")?);
        Ok(Self {
            about,
            heads: transaction.open_table(HEADS)?,
            bodies: transaction.open_table(BODIES)?,
            order: transaction.open_table(ORDER)?,
            doubts: transaction.open_table(DOUBTS)?,
            bytes,
            last,
        })
    }

    fn keep(
        &mut self,
        key: &StoreKey,
        at: OffsetDateTime,
        body: &[u8],
        max_bytes: u64,
        lately: Option<OffsetDateTime>,
    ) -> Result<(), FileError> {
        let weight = (3 * key.0.len() + body.len()) as u64 + ENTRY;
        if weight > max_bytes {
            // It would drive out all others, and then itself.
            return self.forget(&key.0);
        }
        let sum = Digest::of(body);
        let before = self.heads.get(&*key.0)?.and_then(|head| Head::read(head.value()));
        let ms = milliseconds(at);
        // A search that was overtaken ended last: what is there was asked later. Later than a search can take,
        // the clock was set back.
        let overtaken = |before: &Head| before.at > ms && before.at - ms <= OVERTAKEN;
        if before.as_ref().is_some_and(overtaken) {
            return Ok(());
        }
        let is_same = before.as_ref().is_some_and(|before| before.sum == sum);
        if let Some(before) = &before {
            self.order.remove(before.place)?;
            self.bytes = self.bytes.saturating_sub(before.weight);
        }
        if !is_same {
            self.bodies.insert(&*key.0, body)?;
        }
        self.last += 1;
        // What a registry was asked before it was said to be old is so still. What was said in a process before
        // this one is known to the millisecond.
        let lately = lately.filter(|said| *said >= at).map(milliseconds);
        let stored = self.doubts.get(&*key.0)?.map(|said| said.value()).filter(|said| *said > ms);
        match lately.max(stored) {
            Some(said) => drop(self.doubts.insert(&*key.0, said)?),
            None => drop(self.doubts.remove(&*key.0)?),
        }
        let head = Head { at: ms, place: self.last, weight, sum };
        self.heads.insert(&*key.0, &*head.bytes())?;
        self.order.insert(self.last, &*key.0)?;
        self.bytes += weight;
        Ok(())
    }

    fn forget(&mut self, key: &[u8]) -> Result<(), FileError> {
        let before = self.heads.remove(key)?.and_then(|head| Head::read(head.value()));
        if let Some(before) = before {
            self.order.remove(before.place)?;
            self.bytes = self.bytes.saturating_sub(before.weight);
        }
        self.bodies.remove(key)?;
        self.doubts.remove(key)?;
        Ok(())
    }

    fn doubt(&mut self, key: &[u8], at: OffsetDateTime) -> Result<(), FileError> {
        if self.heads.get(key)?.is_some() {
            self.doubts.insert(key, milliseconds(at))?;
        }
        Ok(())
    }

    /// Lets go what was confirmed longest ago.
    fn make_room(&mut self, max_bytes: u64) -> Result<u64, FileError> {
        let mut evicted = 0;
        while self.bytes > max_bytes {
            let key = match self.order.pop_first()? {
                Some((_, key)) => key.value().to_vec(),
                None => break,
            };
            self.forget(&key)?;
            evicted += 1;
        }
        Ok(evicted)
    }

    fn finish(mut self, evicted: u64) -> Result<Outcome, FileError> {
        use redb::ReadableTableMetadata as _;
        self.about.insert("bytes", self.bytes)?;
        self.about.insert("last", self.last)?;
        Ok(Outcome { entries: self.heads.len()?, bytes: self.bytes, evicted })
    }
}
