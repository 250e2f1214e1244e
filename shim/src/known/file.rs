//! What was last known in, a file that says whose it is and whether it is whole out; and back.
//!
//! ```text
//! magic, cluster, count, (key, at, until, answer)*, SHA-256 of all before
//! ```
//!
//! Numbers are of 8 bytes, the highest first, and texts have their length before them.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_proto::v1;
use prost::Message as _;

use super::{Entry, Key, MAX_BYTES, weight};

/// What a file begins with: its kind and its version.
const MAGIC: &[u8; 8] = b"pcknown1";
const SUM: usize = 32;

/// Why what was last known cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// The file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("`{}` is not what was written: it is not used", .0.display())]
    Damaged(PathBuf),
    /// The file is of another cluster.
    #[error("`{}` is of another cluster: it is not used", .0.display())]
    Cluster(PathBuf),
}

/// Writes entries to `path` in one step.
pub(super) fn write(
    path: &Path,
    cluster: &str,
    entries: impl Iterator<Item = (Key, Entry)>,
) -> Result<(), KnownError> {
    let mut body = Vec::new();
    let mut count = 0_u64;
    for (key, entry) in entries {
        count += 1;
        body.extend(key);
        body.extend(entry.at.to_be_bytes());
        body.extend(entry.until.to_be_bytes());
        text(&mut body, &entry.response.encode_to_vec());
    }
    let mut bytes = MAGIC.to_vec();
    text(&mut bytes, cluster.as_bytes());
    bytes.extend(count.to_be_bytes());
    bytes.extend(body);
    let sum = digest(&SHA256, &bytes);
    bytes.extend(sum.as_ref());
    put(path, &bytes).map_err(|source| KnownError::Write { path: path.to_owned(), source })
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn text(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend((bytes.len() as u64).to_be_bytes());
    into.extend(bytes);
}

/// Reads the entries of `path`, the oldest first. A file that is not there has none.
pub(super) fn read(path: &Path, cluster: &str) -> Result<Vec<(Key, Entry)>, KnownError> {
    let failed = |source| KnownError::Read { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    // Entries weigh more here than there.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let damaged = || KnownError::Damaged(path.to_owned());
    let body = bytes.len().checked_sub(SUM).and_then(|at| bytes.split_at_checked(at));
    let (body, sum) = body.filter(|_| bytes.len() <= MAX_BYTES).ok_or_else(damaged)?;
    if digest(&SHA256, body).as_ref() != sum {
        return Err(damaged());
    }
    let mut reader = Reader(body);
    if reader.bytes(MAGIC.len()) != Some(MAGIC) {
        return Err(damaged());
    }
    if reader.text().ok_or_else(damaged)? != cluster.as_bytes() {
        return Err(KnownError::Cluster(path.to_owned()));
    }
    let count = reader.number().ok_or_else(damaged)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(reader.entry().ok_or_else(damaged)?);
    }
    if reader.0.is_empty() { Ok(entries) } else { Err(damaged()) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.bytes(length)
    }

    fn entry(&mut self) -> Option<(Key, Entry)> {
        let key = self.bytes(32)?.try_into().ok()?;
        let (at, until) = (self.number()?, self.number()?);
        let response = Arc::new(v1::CheckResponse::decode(self.text()?).ok()?);
        let entry = Entry { order: 0, at, until, response };
        (weight(&entry) <= MAX_BYTES).then_some((key, entry))
    }
}
