//! What a segment is in, the bytes that it begins with out; and back.
//!
//! ```text
//! magic 8 │ version 2 │ family 1 │ 0 │ run 8 │ opened 8 │ first 8 │ crc 4 ║ records …
//! ```

use std::path::{Path, PathBuf};

/// Length of what stands before the records.
pub(super) const HEADER: usize = 40;
/// What a segment begins with.
const MAGIC: [u8; 8] = *b"PCLSPOOL";
/// The version that is written, and the newest that is read.
const VERSION: u16 = 1;

/// What the records of a segment are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    /// Decisions, and what was known when they were made.
    Events,
    /// Reports and VEX documents that decisions name.
    Attached,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::Events, Self::Attached];

    const fn extension(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Attached => "attached",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Attached => 2,
        }
    }
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) family: Family,
    /// When the service started that wrote it, in nanoseconds since 1970.
    pub(super) run: u64,
    /// When it was begun, in nanoseconds since 1970.
    pub(super) opened: u64,
    /// The number of the first decision that may be in it.
    pub(super) first: u64,
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    Header(Header),
    /// With nothing: whoever made it got no further.
    Empty,
    /// With the version of a service that knows more.
    Future(u16),
    /// Otherwise than any segment, or it is damaged.
    Damaged,
}

impl Header {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([self.family.code(), 0]);
        for number in [self.run, self.opened, self.first] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Begins {
        if bytes.len() < HEADER {
            let begun = MAGIC.iter().zip(bytes).all(|(expected, byte)| expected == byte);
            return if begun { Begins::Empty } else { Begins::Damaged };
        }
        let version = bytes.get(8..).and_then(|rest| rest.first_chunk()).copied();
        let version = version.map_or(0, u16::from_le_bytes);
        if !bytes.starts_with(&MAGIC) || version == 0 {
            return Begins::Damaged;
        }
        if version > VERSION {
            return Begins::Future(version);
        }
        let number = |at: usize| {
            let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
            bytes.map_or(0, u64::from_le_bytes)
        };
        let family = Family::ALL.into_iter().find(|f| bytes.get(10) == Some(&f.code()));
        let crc = bytes.get(..HEADER - 4).map(|own| crc32c::crc32c(own).to_le_bytes());
        let same = crc.is_some_and(|crc| bytes.get(HEADER - 4..HEADER) == Some(&crc));
        match family {
            Some(family) if same => {
                let (run, opened, first) = (number(12), number(20), number(28));
                Begins::Header(Self { family, run, opened, first })
            }
            _ => Begins::Damaged,
        }
    }
}

/// The file of the segment `index` in `folder`.
pub(super) fn path(folder: &Path, family: Family, index: u64) -> PathBuf {
    folder.join(format!("{index:012}.{}", family.extension()))
}

/// Which segment `path` is, by its name.
pub(super) fn index(path: &Path) -> Option<(Family, u64)> {
    let extension = path.extension()?;
    let family = Family::ALL.into_iter().find(|family| extension == family.extension())?;
    Some((family, path.file_stem()?.to_str()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Header = Header { family: Family::Events, run: 1, opened: 2, first: 3 };

    #[test]
    fn what_a_segment_says_of_itself_is_read() {
        for family in Family::ALL {
            let header = Header { family, ..ONE };
            assert_eq!(header.bytes().len(), HEADER);
            assert_eq!(Header::read(&header.bytes()), Begins::Header(header));
            let file = path(Path::new("f"), family, 7);
            assert_eq!(index(&file), Some((family, 7)));
        }
        assert_eq!(index(Path::new("f/lock")), None);
        assert_eq!(index(Path::new("f/x.events")), None);
    }

    #[test]
    fn t162_a_beginning_that_is_not_one_is_told_apart() {
        let bytes = ONE.bytes();
        for end in 0..HEADER {
            assert_eq!(Header::read(&bytes[..end]), Begins::Empty, "{end}");
        }
        for bit in 0..HEADER * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let expected = |begins: &Begins| match begins {
                Begins::Damaged => true,
                // A version with a bit more is one of the future.
                Begins::Future(_) => (64..80).contains(&bit),
                _ => false,
            };
            assert!(expected(&Header::read(&bytes)), "{bit}");
        }
        let mut future = bytes;
        future[8..10].copy_from_slice(&2_u16.to_le_bytes());
        assert_eq!(Header::read(&future), Begins::Future(2));
        assert_eq!(Header::read(b"{\"kind\":"), Begins::Damaged);
    }
}
