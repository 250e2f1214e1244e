//! A folder of segments in, the number that the next decision has and room for what is to come out.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_core::event::frame::{Found, Frames};
use time::OffsetDateTime;

use super::disk::{Disk, Out};
use super::kind;
use super::segment::{self, Begins, Family, HEADER, Header};

/// The longest segment that is read, in bytes; the longest that may be configured is half of it.
pub(super) const MAX_SEGMENT: u64 = 1024 * 1024 * 1024;
/// The most segments that are looked at.
const MAX_SEGMENTS: usize = 100_000;

/// The segments of one data directory, which no other process uses meanwhile.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
    /// The number that the next decision has.
    pub(super) next: u64,
    index: u64,
    /// Oldest first. Those of the future are not among them: they are left alone.
    segments: Vec<Kept>,
    /// A segment with decisions that may have more than it should, and what it should have in bytes.
    torn: Option<(PathBuf, u64)>,
}

/// A segment that is there.
#[derive(Debug, Clone, Copy)]
struct Kept {
    family: Family,
    index: u64,
    length: u64,
    /// When the last was written into it, as far as the file system knows.
    modified: OffsetDateTime,
    /// When it was begun.
    opened: OffsetDateTime,
}

/// A segment that is being written.
pub(super) struct Open {
    pub(super) family: Family,
    pub(super) index: u64,
    pub(super) length: u64,
    /// Which file it is, by device and number.
    file: (u64, u64),
    out: Box<dyn Out>,
}

/// What stands at the beginning of a segment.
pub(super) struct Origin {
    pub(super) run: u64,
    pub(super) now: OffsetDateTime,
    pub(super) first: u64,
}

impl Folder {
    /// Makes the folder in the data directory if need be, and finds out where the numbers go on. What is not whole at the end
    /// of the last segment is cut off: nobody was answered before it was written.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process uses it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // The data directory itself is made by whoever owns it: a wrong name is to be seen.
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let lock =
            File::options().create(true).truncate(false).write(true).open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::other("another process uses it"),
            fs::TryLockError::Error(error) => error,
        })?;
        let mut folder = Self {
            path: path.to_owned(),
            _lock: lock,
            next: 1,
            index: 1,
            segments: Vec::new(),
            torn: None,
        };
        folder.look()?;
        folder.number()?;
        Ok(folder)
    }

    fn look(&mut self) -> io::Result<()> {
        for (family, index, path) in list(&self.path)? {
            self.index = self.index.max(index.saturating_add(1));
            let metadata = fs::metadata(&path)?;
            let modified = metadata.modified()?.into();
            let mut opened = modified;
            match header(&path)? {
                Begins::Future(version) => {
                    tracing::warn!(
                        path = %path.display(),
                        version,
                        "a newer version wrote this segment of events: it is left alone"
                    );
                    continue;
                }
                Begins::Header(header) => {
                    opened = OffsetDateTime::from_unix_timestamp_nanos(header.opened.into())
                        .unwrap_or(modified);
                }
                Begins::Empty | Begins::Damaged => {}
            }
            self.segments.push(Kept { family, index, length: metadata.len(), modified, opened });
        }
        Ok(())
    }

    /// Finds the last number, in the newest segment that has one.
    fn number(&mut self) -> io::Result<()> {
        let newest: Vec<_> = self
            .segments
            .iter()
            .rev()
            .filter(|kept| kept.family == Family::Events)
            .copied()
            .collect();
        for (age, kept) in newest.into_iter().enumerate() {
            let path = segment::path(&self.path, kept.family, kept.index);
            let bytes = read(&path)?;
            if let Begins::Header(header) = Header::read(&bytes) {
                self.next = self.next.max(header.first);
            }
            let (mut whole, mut found) = (HEADER, false);
            let mut frames = Frames::new(&bytes, HEADER);
            while let Some(next) = frames.next() {
                match next {
                    Found::Record(record) => {
                        if let Some(last) = last_of(&record) {
                            self.next = self.next.max(last.saturating_add(1));
                            found = true;
                        }
                        whole = frames.at();
                    }
                    Found::Damaged => whole = frames.at(),
                    Found::Torn if age == 0 => {
                        tracing::warn!(
                            path = %path.display(),
                            bytes = bytes.len() - whole,
                            "the last record of events is not whole, and is cut off"
                        );
                        File::options().write(true).open(&path)?.set_len(whole as u64)?;
                    }
                    Found::Torn => {}
                }
            }
            if found {
                break;
            }
        }
        Ok(())
    }

    /// Begins a new segment. One with decisions is not begun before the end of the last one is sure: what is
    /// told as lost is not there as well.
    pub(super) fn begin(
        &mut self,
        disk: &dyn Disk,
        family: Family,
        origin: &Origin,
    ) -> io::Result<Open> {
        if family == Family::Events
            && let Some((path, length)) = &self.torn
        {
            match disk.cut(path, *length) {
                // Somebody took it away, with all that it had.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                cut => cut?,
            }
            self.torn = None;
        }
        let index = self.index;
        let path = segment::path(&self.path, family, index);
        self.index += 1;
        let nanoseconds = u64::try_from(origin.now.unix_timestamp_nanos()).unwrap_or(0);
        let header = Header { family, run: origin.run, opened: nanoseconds, first: origin.first };
        let begun = disk.create(&path).and_then(|mut out| {
            out.write_all(&header.bytes())?;
            Ok((out, identity(&path)?))
        });
        let (out, file) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // A file with half a beginning is of no use; if it stays, a reader passes over it.
                let _ = fs::remove_file(&path);
                return Err(error);
            }
        };
        let length = HEADER as u64;
        let (modified, opened) = (origin.now, origin.now);
        self.segments.push(Kept { family, index, length, modified, opened });
        Ok(Open { family, index, length, file, out })
    }

    /// Whether the segment is where whoever reads looks for it.
    pub(super) fn has(&self, open: &Open) -> bool {
        let path = segment::path(&self.path, open.family, open.index);
        identity(&path).is_ok_and(|file| file == open.file)
    }

    /// The segments of a family that somebody else took away, among them the one that is written. They are not
    /// among those that are there any more.
    pub(super) fn taken_away(&mut self, family: Family, open: Option<&Open>) -> Vec<u64> {
        let (mut gone, folder) = (Vec::new(), &self.path);
        self.segments.retain(|kept| {
            let found = identity(&segment::path(folder, family, kept.index));
            let is_gone = match (open, found) {
                _ if kept.family != family => false,
                (Some(open), Ok(file)) if open.index == kept.index => file != open.file,
                (_, found) => found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound),
            };
            if is_gone {
                gone.push(kept.index);
            }
            !is_gone
        });
        gone
    }

    /// Appends `parts` to a segment, and returns when they are on disk. After an error the segment is as
    /// it was before, as far as that is possible, and must not be used again: what a disk has of what it
    /// failed to keep is not known.
    pub(super) fn append(
        &mut self,
        open: &mut Open,
        parts: &[&[u8]],
        now: OffsetDateTime,
    ) -> io::Result<()> {
        let appended = parts.iter().try_for_each(|part| open.out.write_all(part));
        if let Err(error) = appended.and_then(|()| open.out.sync()) {
            if let Err(error) = open.out.cut(open.length).and_then(|()| open.out.sync()) {
                tracing::warn!(%error, segment = open.index, "a segment of events keeps a torn end");
                self.doubt(open);
            }
            return Err(error);
        }
        open.length += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let same = |kept: &&mut Kept| (kept.family, kept.index) == (open.family, open.index);
        if let Some(kept) = self.segments.iter_mut().rev().find(same) {
            (kept.length, kept.modified) = (open.length, now);
        }
        Ok(())
    }

    /// A segment is not used again, and may have more than what it was told to keep: that is cut off before the next
    /// one with decisions is begun.
    pub(super) fn doubt(&mut self, open: &Open) {
        if open.family == Family::Events {
            self.torn = Some((segment::path(&self.path, open.family, open.index), open.length));
        }
    }

    /// Takes away the oldest segments of a family until the rest has at most `bytes`, and those that are
    /// older than `age`, but never `current`. Gives which.
    pub(super) fn trim(
        &mut self,
        family: Family,
        current: Option<u64>,
        limit: (u64, Duration),
        now: OffsetDateTime,
    ) -> Vec<u64> {
        let (bytes, age) = limit;
        let mut total: u64 =
            self.segments.iter().filter(|kept| kept.family == family).map(|kept| kept.length).sum();
        let mut gone = Vec::new();
        let folder = &self.path;
        self.segments.retain(|kept| {
            let old = now - kept.modified > age;
            let own = kept.family == family && Some(kept.index) != current;
            if !own || (total <= bytes && !old) {
                return true;
            }
            let path = segment::path(folder, family, kept.index);
            let removed = fs::remove_file(&path);
            if let Err(error) = &removed
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, path = %path.display(), "an old segment stays");
                return true;
            }
            total = total.saturating_sub(kept.length);
            gone.push(kept.index);
            false
        });
        gone
    }

    /// The segments of a family, oldest first.
    pub(super) fn of(&self, family: Family) -> Vec<(u64, PathBuf)> {
        let own = self.segments.iter().filter(|kept| kept.family == family);
        own.map(|kept| (kept.index, segment::path(&self.path, family, kept.index))).collect()
    }

    /// How many bytes all segments have, and when the oldest with decisions was begun.
    pub(super) fn size(&self) -> (u64, Option<OffsetDateTime>) {
        let oldest = self.segments.iter().find(|kept| kept.family == Family::Events);
        let bytes = self.segments.iter().map(|kept| kept.length).sum();
        (bytes, oldest.map(|kept| kept.opened))
    }
}

/// The number of the last decision that `record` accounts for.
fn last_of(record: &portcullis_core::event::frame::Record<'_>) -> Option<u64> {
    match record.kind {
        kind::DECISION | kind::VOID => Some(record.number),
        kind::LOST => {
            let count = record.body.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            record.number.checked_add(count)?.checked_sub(1)
        }
        kind::END => record.number.checked_sub(1),
        _ => None,
    }
}

/// Which file is at `path`, by device and number.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The segments in `folder`, by name, oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(Family, u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_SEGMENTS) {
        let path = entry?.path();
        if let Some((family, index)) = segment::index(&path) {
            found.push((family, index, path));
        }
    }
    found.sort_unstable_by_key(|(_, index, _)| *index);
    Ok(found)
}

/// What a segment begins with.
pub(super) fn header(path: &Path) -> io::Result<Begins> {
    use std::io::Read as _;
    let mut bytes = Vec::with_capacity(HEADER);
    File::open(path)?.take(HEADER as u64).read_to_end(&mut bytes)?;
    Ok(Header::read(&bytes))
}

/// All of a segment.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SEGMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SEGMENT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
