//! The folder of a record in, what it says out, also while it is being written.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use portcullis_core::event::frame::{Found, Frames, Record};
use portcullis_core::event::stored::{KnownRecord, Stored};
use portcullis_core::image::Digest;

use super::folder::{self, MAX_SEGMENT, list};
use super::segment::{Begins, Family, HEADER};
use super::{Loss, kind};

/// The folder of the record in a data directory.
#[must_use]
pub fn folder_of(data_dir: &Path) -> PathBuf {
    data_dir.join("events")
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder or a segment cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What stands in a record, one after the other.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A segment of the run of the service that started at `run`, in nanoseconds since 1970.
    Segment {
        /// Which run.
        run: u64,
    },
    /// A decision.
    Decision {
        /// Its number.
        seq: u64,
        /// The run in which it was made.
        run: u64,
        /// The decision.
        stored: &'a Stored<'a>,
        /// What its names for what was known stand for.
        known: &'a HashMap<u32, KnownRecord>,
    },
    /// A decision that was not given.
    Void {
        /// Its number.
        seq: u64,
    },
    /// A decision that was not given in the end, and was read as given before.
    TakenBack {
        /// Its number.
        seq: u64,
    },
    /// Decisions that were given and are not in the record.
    Lost {
        /// Number of the first.
        first: u64,
        /// How many.
        count: u64,
        /// Why.
        loss: Option<Loss>,
    },
    /// The service ended, and everything before is in the record.
    End {
        /// The number that the next decision has.
        next: u64,
    },
    /// Bytes that cannot be read.
    Damaged {
        /// In which file.
        path: &'a Path,
    },
    /// The end of a file is not whole.
    Torn {
        /// Which file.
        path: &'a Path,
    },
    /// A file that a newer version wrote.
    Future {
        /// Which file.
        path: &'a Path,
        /// Which version.
        version: u16,
    },
}

/// Reads a record from its beginning on, and goes on where it ended before.
pub struct Reader {
    folder: PathBuf,
    from: u64,
    /// The segment that was read last, and up to where.
    at: Option<(u64, usize)>,
    run: u64,
    known: HashMap<u32, KnownRecord>,
}

impl Reader {
    /// Reads the record in `folder` from the decision number `from` on, or a little before.
    #[must_use]
    pub fn new(folder: PathBuf, from: u64) -> Self {
        Self { folder, from, at: None, run: 0, known: HashMap::new() }
    }

    /// Gives `each` what there is and was not read before.
    ///
    /// # Errors
    /// When a file cannot be read; what is damaged in it is no error.
    pub fn advance(&mut self, mut each: impl FnMut(Entry<'_>)) -> Result<(), SpoolError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Read { path, source }
        };
        let segments = list(&self.folder).map_err(failed(&self.folder))?;
        let mut segments: Vec<_> =
            segments.into_iter().filter(|(family, ..)| *family == Family::Events).collect();
        if self.at.is_none() {
            self.skip(&mut segments);
        }
        let newest = segments.last().map(|(_, index, _)| *index);
        for (_, index, path) in segments {
            let begun = match self.at {
                Some((at, place)) if index < at || (index == at && place == usize::MAX) => continue,
                Some((at, place)) if index == at => place,
                _ => 0,
            };
            match self.segment(index, &path, begun, newest == Some(index), &mut each) {
                // It was too old, and is gone since the folder was looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => read.map_err(failed(&path))?,
            }
        }
        Ok(())
    }

    /// Leaves out segments that have nothing that is asked for.
    fn skip(&self, segments: &mut Vec<(Family, u64, PathBuf)>) {
        let begins_later = |path: &Path| match folder::header(path) {
            Ok(Begins::Header(header)) => header.first > self.from,
            _ => true,
        };
        let first = segments.iter().rposition(|(.., path)| !begins_later(path));
        segments.drain(..first.unwrap_or(0));
    }

    fn segment(
        &mut self,
        index: u64,
        path: &Path,
        begun: usize,
        newest: bool,
        each: &mut impl FnMut(Entry<'_>),
    ) -> io::Result<()> {
        let mut place = begun;
        if begun == 0 {
            match folder::header(path)? {
                Begins::Header(header) => {
                    self.run = header.run;
                    each(Entry::Segment { run: header.run });
                }
                Begins::Empty if newest => return Ok(()),
                Begins::Empty => each(Entry::Torn { path }),
                Begins::Damaged => each(Entry::Damaged { path }),
                Begins::Future(version) => {
                    self.at = Some((index, usize::MAX));
                    each(Entry::Future { path, version });
                    return Ok(());
                }
            }
            self.known.clear();
            place = HEADER;
        }
        let mut bytes = Vec::new();
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(place as u64))?;
        file.take(MAX_SEGMENT).read_to_end(&mut bytes)?;
        let taken_back = taken_back(&bytes);
        let mut frames = Frames::new(&bytes, 0);
        let mut whole = 0;
        while let Some(found) = frames.next() {
            match found {
                Found::Record(Record { kind: kind::DECISION, number: seq, .. })
                    if taken_back.contains(&seq) =>
                {
                    each(Entry::Void { seq });
                }
                Found::Record(Record { kind: kind::TAKEN_BACK, number: seq, .. }) => {
                    // In these bytes it is not told of as given.
                    if seq >= self.from && !taken_back.contains(&seq) {
                        each(Entry::TakenBack { seq });
                    }
                }
                Found::Record(record) => self.record(&record, path, each),
                Found::Damaged => each(Entry::Damaged { path }),
                // It may be whole the next time.
                Found::Torn if newest => break,
                Found::Torn => each(Entry::Torn { path }),
            }
            whole = frames.at();
        }
        self.at = Some((index, place.saturating_add(whole)));
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>, path: &Path, each: &mut impl FnMut(Entry<'_>)) {
        let Record { kind, number: seq, body } = *record;
        match kind {
            kind::KNOWN => match (u32::try_from(seq), KnownRecord::read(body)) {
                (Ok(name), Ok(known)) => drop(self.known.insert(name, known)),
                _ => each(Entry::Damaged { path }),
            },
            kind::DECISION if seq < self.from => {}
            kind::DECISION => match Stored::read(body) {
                Ok(stored) => {
                    let (run, known) = (self.run, &self.known);
                    each(Entry::Decision { seq, run, stored: &stored, known });
                }
                Err(_) => each(Entry::Damaged { path }),
            },
            kind::VOID => each(Entry::Void { seq }),
            kind::END => each(Entry::End { next: seq }),
            kind::LOST => {
                let count = body.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                let loss = body.get(8).and_then(|code| Loss::of(*code));
                each(Entry::Lost { first: seq, count, loss });
            }
            // What a newer version added.
            _ => {}
        }
    }
}

/// The numbers of decisions in `bytes` of which the same bytes say that they were not given.
fn taken_back(bytes: &[u8]) -> HashSet<u64> {
    let taken_back: HashSet<u64> = numbers(bytes, kind::TAKEN_BACK).collect();
    if taken_back.is_empty() {
        return taken_back;
    }
    numbers(bytes, kind::DECISION).filter(|seq| taken_back.contains(seq)).collect()
}

/// The numbers of all records of a kind.
fn numbers(bytes: &[u8], kind: u8) -> impl Iterator<Item = u64> {
    Frames::new(bytes, 0).filter_map(move |found| match found {
        Found::Record(record) if record.kind == kind => Some(record.number),
        _ => None,
    })
}

/// Finds the reports and VEX documents that decisions name.
pub struct Attachments {
    folder: PathBuf,
    places: HashMap<Digest, (u64, u64, usize)>,
    /// Up to where each segment was looked at.
    seen: HashMap<u64, usize>,
}

impl Attachments {
    /// Those of the record in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, places: HashMap::new(), seen: HashMap::new() }
    }

    /// The line of an event file that is the report or VEX document `digest`; `None` where the record has
    /// it not, or not yet.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn line(&mut self, digest: Digest) -> Result<Option<Vec<u8>>, SpoolError> {
        let failed = |source| SpoolError::Read { path: self.folder.clone(), source };
        if !self.places.contains_key(&digest) {
            let looked = look(&self.folder, &mut self.seen, &mut self.places);
            looked.map_err(failed)?;
        }
        let Some((index, start, length)) = self.places.get(&digest) else { return Ok(None) };
        let path = super::segment::path(&self.folder, Family::Attached, *index);
        let mut line = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(*start))?;
            file.take(*length as u64).read_to_end(&mut line)
        });
        match read {
            Ok(read) if read == *length => Ok(Some(line)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }
}

/// Finds out what segments have beyond what was `seen` of them.
fn look(
    folder: &Path,
    seen: &mut HashMap<u64, usize>,
    places: &mut HashMap<Digest, (u64, u64, usize)>,
) -> io::Result<()> {
    let segments = list(folder)?;
    for (_, index, path) in segments.into_iter().filter(|(f, ..)| *f == Family::Attached) {
        let begun = seen.get(&index).copied().unwrap_or(HEADER);
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.len() <= begun as u64 || matches!(folder::header(&path)?, Begins::Future(_)) {
            continue;
        }
        let bytes = folder::read(&path)?;
        let mut frames = Frames::new(&bytes, begun);
        let mut whole = begun;
        while let Some(found) = frames.next() {
            if found == Found::Torn {
                break;
            }
            whole = frames.at();
            if let Found::Record(record) = found
                && record.kind == kind::ATTACHED
                && let Some((digest, line)) = record.body.split_first_chunk()
            {
                let start = (whole - line.len()) as u64;
                places.insert(Digest::from_bytes(*digest), (index, start, line.len()));
            }
        }
        seen.insert(index, whole);
    }
    Ok(())
}
