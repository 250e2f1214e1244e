//! Records in, a file that only grows until all in it is done out; and back, whatever became of it.
//!
//! ```text
//! record: length 4 │ CRC-32C 4 │ kind 1 │ body          first: magic, for whom
//! ```
//!
//! Numbers are little-endian; length and checksum are of kind and body. Reading ends at the first record that is
//! not whole: behind it, it is not known which reports were sent. A file of somebody else, whose reports the service
//! would refuse for good, gets another name.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::queue::{Lost, MAX_RUNS};
use super::{MAX_BYTES, Run};
use crate::config::Place;

/// What a file begins with: its kind and its version.
const MAGIC: &[u8; 8] = b"pcansw02";
/// How many files that are not ours are kept beside it. No other takes their place.
const MAX_ASIDE: usize = 16;
/// The longest record: the longest report and its kind.
const MAX_RECORD: usize = 1024 * 1024;
/// The longest file: it is written anew when it is longer than twice what may wait.
const MAX_FILE: usize = 3 * MAX_BYTES;

const HEADER: u8 = 0;
const REPORT: u8 = 1;
/// So many of the reports before are done.
const DONE: u8 = 2;
/// All runs of which reports were dropped and the service does not know: the run, and how many.
const LOST: u8 = 3;

/// A file of reports that are not sent yet.
pub(super) struct File {
    path: PathBuf,
    header: Vec<u8>,
    open: Option<fs::File>,
    length: u64,
}

/// What a file had.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restored {
    /// Reports that were not sent, the oldest first.
    pub(super) reports: Vec<Bytes>,
    /// What is to be told of reports that were dropped.
    pub(super) lost: Vec<Lost>,
    /// How many bytes at its end were no records.
    pub(super) torn: usize,
    /// Where it is now, if it is not one of ours: of somebody else or another version, or too long.
    pub(super) aside: Option<PathBuf>,
}

impl File {
    /// The file of whoever reports from `place`, as the service compares it with his certificate.
    pub(super) fn new(path: PathBuf, place: &Place) -> Self {
        let Place { cluster, provider, account, region, platforms: _ } = place;
        let mut header = MAGIC.to_vec();
        for part in [cluster, provider, account, region] {
            header.extend_from_slice(&(part.len() as u64).to_le_bytes());
            header.extend_from_slice(part.as_bytes());
        }
        Self { path, header, open: None, length: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Reads what is there. What is not ours is kept beside it, and not read.
    pub(super) fn restore(&self) -> io::Result<Restored> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Restored::default()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        let whole = if bytes.len() > MAX_FILE { None } else { read(&bytes, &self.header) };
        match whole {
            Some(restored) => Ok(restored),
            None => Ok(Restored { aside: Some(self.set_aside()?), ..Restored::default() }),
        }
    }

    /// Gives it another name, which no file has.
    fn set_aside(&self) -> io::Result<PathBuf> {
        for number in 1..=MAX_ASIDE {
            let aside = self.path.with_extension(format!("aside-{number}"));
            if !aside.try_exists()? {
                fs::rename(&self.path, &aside)?;
                return Ok(aside);
            }
        }
        let text = format!(
            "it is of another cluster or version, and {MAX_ASIDE} files are set aside beside it already: look at \
             them, and take them away"
        );
        Err(io::Error::other(text))
    }

    /// Writes the file anew with these reports and what is to be told of others, in one step.
    pub(super) fn rewrite(&mut self, reports: &[Bytes], lost: &[Lost]) -> io::Result<()> {
        self.open = None;
        let mut bytes = Vec::new();
        push(&mut bytes, HEADER, &self.header);
        reports.iter().for_each(|report| push(&mut bytes, REPORT, report));
        if !lost.is_empty() {
            push(&mut bytes, LOST, &written(lost));
        }
        let beside = self.path.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)?;
        self.length = bytes.len() as u64;
        self.open = Some(file);
        Ok(())
    }

    /// Adds these reports, that the first `done` of all in the file are done, and what is to be told of others in
    /// place of what was. After an error the file is to be written anew.
    pub(super) fn append(
        &mut self,
        reports: &[Bytes],
        done: Option<u64>,
        lost: Option<&[Lost]>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        reports.iter().for_each(|report| push(&mut bytes, REPORT, report));
        if let Some(done) = done {
            push(&mut bytes, DONE, &done.to_le_bytes());
        }
        if let Some(lost) = lost {
            push(&mut bytes, LOST, &written(lost));
        }
        let file = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn written(lost: &[Lost]) -> Vec<u8> {
    let one = |lost: &Lost| [lost.run.as_slice(), &lost.count.to_le_bytes()].concat();
    lost.iter().flat_map(one).collect()
}

/// As it was written, if it was.
fn lost(body: &[u8]) -> Option<Vec<Lost>> {
    let (whole, rest) = body.as_chunks::<24>();
    if !rest.is_empty() || whole.len() > MAX_RUNS {
        return None;
    }
    let one = |bytes: &[u8; 24]| {
        let (run, count) = bytes.split_first_chunk::<16>()?;
        Some(Lost { run: Run::from(*run), count: u64::from_le_bytes(count.try_into().ok()?) })
    };
    whole.iter().map(one).collect()
}

fn push(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), body);
    let length = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(body);
}

/// The kind, the body and the length of the record at the beginning of `bytes`, if it is whole.
fn record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let whole = rest.get(..length).filter(|_| length <= MAX_RECORD)?;
    if crc32c::crc32c(whole) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (kind, body) = whole.split_first()?;
    Some((*kind, body, 8 + length))
}

/// The reports in a file that begins with `header`. An empty one has none.
fn read(bytes: &[u8], header: &[u8]) -> Option<Restored> {
    let mut rest = bytes;
    let mut reports = VecDeque::new();
    let (mut gone, mut is_lost) = (0, Vec::new());
    if !rest.is_empty() {
        let (HEADER, body, length) = record(rest)? else { return None };
        if body != header {
            return None;
        }
        rest = rest.get(length..)?;
    }
    while let Some((kind, body, length)) = record(rest) {
        match kind {
            REPORT => reports.push_back(Bytes::copy_from_slice(body)),
            DONE => {
                let done = <[u8; 8]>::try_from(body).map_or(0, u64::from_le_bytes);
                while gone < done && reports.pop_front().is_some() {
                    gone += 1;
                }
            }
            LOST => match lost(body) {
                Some(lost) => is_lost = lost,
                None => break,
            },
            _ => break,
        }
        rest = rest.get(length..)?;
    }
    Some(Restored { reports: reports.into(), lost: is_lost, torn: rest.len(), aside: None })
}

#[cfg(test)]
mod tests;
