//! Records in, a file that only grows until all in it is done out; and back, whatever became of it.
//!
//! ```text
//! record: length 4 │ CRC-32C 4 │ kind 1 │ body          first: magic, cluster
//! ```
//!
//! Numbers are little-endian; length and checksum are of kind and body. Reading ends at the first record that is
//! not whole: behind it, it is not known which reports were sent.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::MAX_BYTES;

/// What a file begins with: its kind and its version.
const MAGIC: &[u8; 8] = b"pcansw01";
/// The longest record: the longest report and its kind.
const MAX_RECORD: usize = 1024 * 1024;
/// The longest file: it is written anew when it is longer than twice what may wait.
const MAX_FILE: usize = 3 * MAX_BYTES;

const HEADER: u8 = 0;
const REPORT: u8 = 1;
/// So many of the reports before are done.
const DONE: u8 = 2;

/// A file of reports that are not sent yet.
pub(super) struct File {
    path: PathBuf,
    cluster: String,
    open: Option<fs::File>,
    length: u64,
}

/// What a file had.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restored {
    /// Reports that were not sent, the oldest first.
    pub(super) reports: Vec<Bytes>,
    /// How many bytes at its end were no records.
    pub(super) torn: usize,
    /// Where it is now, if it is not one of ours: of another cluster or version, or too long.
    pub(super) aside: Option<PathBuf>,
}

impl File {
    pub(super) fn new(path: PathBuf, cluster: &str) -> Self {
        Self { path, cluster: cluster.to_owned(), open: None, length: 0 }
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
        let whole = if bytes.len() > MAX_FILE { None } else { read(&bytes, &self.header()) };
        match whole {
            Some(restored) => Ok(restored),
            None => {
                let aside = self.path.with_extension("aside");
                fs::rename(&self.path, &aside)?;
                Ok(Restored { aside: Some(aside), ..Restored::default() })
            }
        }
    }

    fn header(&self) -> Vec<u8> {
        [MAGIC.as_slice(), self.cluster.as_bytes()].concat()
    }

    /// Writes the file anew with these reports, in one step.
    pub(super) fn rewrite(&mut self, reports: &[Bytes]) -> io::Result<()> {
        self.open = None;
        let mut bytes = Vec::new();
        push(&mut bytes, HEADER, &self.header());
        reports.iter().for_each(|report| push(&mut bytes, REPORT, report));
        let beside = self.path.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)?;
        self.length = bytes.len() as u64;
        self.open = Some(file);
        Ok(())
    }

    /// Adds these reports, and that the first `done` of all in the file are done. After an error the file is to
    /// be written anew.
    pub(super) fn append(&mut self, reports: &[Bytes], done: Option<u64>) -> io::Result<()> {
        let mut bytes = Vec::new();
        reports.iter().for_each(|report| push(&mut bytes, REPORT, report));
        if let Some(done) = done {
            push(&mut bytes, DONE, &done.to_le_bytes());
        }
        let file = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        self.length += bytes.len() as u64;
        Ok(())
    }
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
    let mut gone = 0;
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
            _ => break,
        }
        rest = rest.get(length..)?;
    }
    Some(Restored { reports: reports.into(), torn: rest.len(), aside: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    fn file(folder: &tempfile::TempDir, cluster: &str) -> File {
        File::new(folder.path().join("reports"), cluster)
    }

    #[test]
    fn what_is_written_and_not_done_is_read_by_its_own_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = file(&folder, "east");
        assert_eq!(written.restore().unwrap(), Restored::default());
        assert!(written.append(&bytes(&["a"]), None).is_err(), "it was not begun");
        written.rewrite(&bytes(&["a"])).unwrap();
        written.append(&bytes(&["b", "c"]), Some(1)).unwrap();
        written.append(&[], Some(2)).unwrap();
        let length = fs::metadata(written.path()).unwrap().len();
        assert_eq!(written.length(), length);
        let restored = file(&folder, "east").restore().unwrap();
        assert_eq!(restored, Restored { reports: bytes(&["c"]), ..Restored::default() });
        let other = file(&folder, "west").restore().unwrap();
        assert!(other.reports.is_empty() && other.aside.unwrap().exists());
        assert!(!written.path().exists());
    }

    #[test]
    fn t162_a_torn_end_is_cut_and_what_is_before_it_is_read_wherever_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = file(&folder, "east");
        written.rewrite(&bytes(&["one"])).unwrap();
        let first = usize::try_from(written.length()).unwrap();
        written.append(&bytes(&["two"]), None).unwrap();
        let whole = fs::read(written.path()).unwrap();
        for end in first..whole.len() {
            fs::write(written.path(), &whole[..end]).unwrap();
            let restored = written.restore().unwrap();
            assert_eq!((restored.reports, restored.torn), (bytes(&["one"]), end - first));
        }
    }

    #[test]
    fn a_flipped_bit_ends_what_is_read_and_a_file_of_others_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = file(&folder, "east");
        written.rewrite(&bytes(&["one"])).unwrap();
        let first = usize::try_from(written.length()).unwrap();
        written.append(&bytes(&["two"]), None).unwrap();
        let whole = fs::read(written.path()).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(written.path(), &bytes).unwrap();
            let restored = written.restore().unwrap();
            let is_header = bit / 8 < first - 12;
            assert_eq!(restored.aside.is_some(), is_header, "{bit}");
            assert!(restored.reports.len() < 2, "{bit}");
        }
        let long = fs::File::create(written.path()).unwrap();
        long.set_len(MAX_FILE as u64 + 1).unwrap();
        assert!(written.restore().unwrap().aside.is_some());
    }
}
