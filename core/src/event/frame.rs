//! Records in, bytes of a segment out; and such bytes in, whatever became of them, their records out.
//!
//! ```text
//! marker 2 │ check 2 │ length 4 │ crc 4 ║ kind 1 │ number 8 │ body
//! ```
//!
//! Numbers are little-endian. `length` and `crc` (CRC-32C) are of what follows the double line; `check`
//! is of `length` and `crc`. So a header can be told from other bytes without what it is the header of:
//! a reader that meets a damaged record goes on with the next, and looks at each byte but twice, whatever
//! they are.

/// What a record begins with.
const MARKER: [u8; 2] = [0xe7, b'P'];
/// Length of what stands before the part that is checked.
pub const HEADER: usize = 12;
/// Length of kind and number.
const HEAD: usize = 9;
/// The longest record, in bytes without its header: as long as the longest line of an event file.
pub const MAX_RECORD: usize = crate::simulate::recorded::MAX_LINE + HEAD;

/// A record in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub kind: u8,
    /// Its number; what that counts depends on the kind.
    pub number: u64,
    /// What it says.
    pub body: &'a [u8],
}

/// What stands at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record that is as it was written.
    Record(Record<'a>),
    /// Bytes that are no such record.
    Damaged,
    /// The beginning of a record that is not whole at the end of the bytes: it is still being written,
    /// or whoever wrote it died.
    Torn,
}

/// Begins a record, and gives where: [`end`] wants to know.
pub fn begin(out: &mut Vec<u8>, kind: u8, number: u64) -> usize {
    let start = out.len();
    let mut header = [0; HEADER + HEAD];
    if let Some((first, rest)) = header.split_first_chunk_mut::<HEADER>() {
        let [a, b, ..] = first;
        [*a, *b] = MARKER;
        if let Some((own, place)) = rest.split_first_mut() {
            *own = kind;
            place.copy_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(&header);
    start
}

/// Ends the record that began at `start`. Its checks are still to be made: [`seal`].
pub fn end(out: &mut [u8], start: usize) {
    let length = out.len().saturating_sub(start + HEADER);
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Appends a whole record.
pub fn push(out: &mut Vec<u8>, kind: u8, number: u64, body: &[u8]) {
    let start = begin(out, kind, number);
    out.extend_from_slice(body);
    end(out, start);
    if let Some(record) = out.get_mut(start..) {
        seal(record, |_, _, _| {});
    }
}

/// Makes the checks of all `records`, each of which began and ended. Before that, `change` may change
/// each one's kind, and its body, by its number.
pub fn seal(records: &mut [u8], mut change: impl FnMut(u64, &mut u8, &mut [u8])) {
    let mut rest = records;
    while let Some((header, behind)) = rest.split_first_chunk_mut::<HEADER>() {
        let Some((record, next)) = behind.split_at_mut_checked(field(header, 4) as usize) else {
            return;
        };
        if let Some((head, body)) = record.split_first_chunk_mut::<HEAD>()
            && let Some((kind, number)) = head.split_first_mut()
        {
            let number = number.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            change(number, kind, body);
        }
        let crc = crc32c::crc32c(record).to_le_bytes();
        let [.., a, b, c, d] = header;
        [*a, *b, *c, *d] = crc;
        let check = check(header);
        let [_, _, a, b, ..] = header;
        [*a, *b] = check;
        rest = next;
    }
}

fn check(header: &[u8; HEADER]) -> [u8; 2] {
    let [.., a, b, c, d, e, f, g, h] = *header;
    let [low, high, ..] = crc32c::crc32c(&[a, b, c, d, e, f, g, h]).to_le_bytes();
    [low, high]
}

fn field(header: &[u8; HEADER], at: usize) -> u32 {
    let field = header.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The length and the crc that the header at the beginning of `bytes` states, if there is one.
fn header(bytes: &[u8]) -> Option<(usize, u32)> {
    let header = bytes.first_chunk::<HEADER>()?;
    let [a, b, c, d, ..] = *header;
    let length = field(header, 4) as usize;
    let good = [a, b] == MARKER && [c, d] == check(header);
    (good && (HEAD..=MAX_RECORD).contains(&length)).then(|| (length, field(header, 8)))
}

/// Reads records.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// Reads `bytes` from the place `at` on, where a record begins.
    #[must_use]
    pub const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where what is read next begins.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some((length, crc)) = header(rest) else {
            let next = (1..rest.len()).find(|at| rest.get(*at..).and_then(header).is_some());
            self.at += next.unwrap_or(rest.len());
            let short = next.is_none() && rest.len() < HEADER;
            let begun = MARKER.iter().zip(rest).all(|(expected, byte)| expected == byte);
            return Some(if short && begun { Found::Torn } else { Found::Damaged });
        };
        let Some(record) = rest.get(HEADER..HEADER + length) else {
            self.at = self.bytes.len();
            return Some(Found::Torn);
        };
        self.at += HEADER + length;
        if crc32c::crc32c(record) != crc {
            return Some(Found::Damaged);
        }
        let Some((head, body)) = record.split_first_chunk::<HEAD>() else {
            return Some(Found::Damaged);
        };
        let [kind, number @ ..] = *head;
        Some(Found::Record(Record { kind, number: u64::from_le_bytes(number), body }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(bodies: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, body) in (1..).zip(bodies) {
            push(&mut bytes, 1, number, body);
        }
        bytes
    }

    /// The numbers of the good records, and how often something was damaged and torn.
    fn read(bytes: &[u8]) -> (Vec<u64>, usize, usize) {
        let (mut numbers, mut damaged, mut torn) = (Vec::new(), 0, 0);
        for found in Frames::new(bytes, 0) {
            match found {
                Found::Record(record) => numbers.push(record.number),
                Found::Damaged => damaged += 1,
                Found::Torn => torn += 1,
            }
        }
        (numbers, damaged, torn)
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = segment(&[b"one", b"", b"three"]);
        let bodies: Vec<_> = Frames::new(&bytes, 0)
            .map(|found| match found {
                Found::Record(record) => (record.kind, record.number, record.body),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(bodies, [(1, 1, &b"one"[..]), (1, 2, b""), (1, 3, b"three")]);
        assert_eq!(Frames::new(&[], 0).next(), None);
    }

    #[test]
    fn t162_a_record_that_is_not_whole_is_torn_wherever_it_ends() {
        let bytes = segment(&[b"one", b"two"]);
        let first = bytes.len() / 2;
        for end in first + 1..bytes.len() {
            assert_eq!(read(&bytes[..end]), (vec![1], 0, 1), "{end}");
        }
        assert_eq!(read(&bytes[..first]), (vec![1], 0, 0));
    }

    #[test]
    fn t162_a_flipped_bit_costs_one_record_wherever_it_is() {
        let bytes = segment(&[b"one", b"two", b"three"]);
        let (from, to) = (HEADER + HEAD + 3, 2 * (HEADER + HEAD + 3));
        for bit in from * 8..to * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bytes), (vec![1, 3], 1, 0), "{bit}");
        }
    }

    #[test]
    fn zeros_after_the_records_are_damage_and_not_records() {
        let mut bytes = segment(&[b"one"]);
        bytes.extend([0; 4096]);
        assert_eq!(read(&bytes), (vec![1], 1, 0));
    }

    #[test]
    fn a_record_may_be_as_long_as_the_longest_and_no_longer() {
        let header_of = |length: usize| {
            let mut bytes = [0; HEADER];
            bytes[..2].copy_from_slice(&MARKER);
            bytes[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
            let check = check(&bytes);
            bytes[2..4].copy_from_slice(&check);
            header(&bytes).map(|(length, _)| length)
        };
        assert_eq!(header_of(MAX_RECORD), Some(MAX_RECORD));
        assert_eq!(header_of(MAX_RECORD + 1), None);
        assert_eq!(header_of(HEAD), Some(HEAD));
        assert_eq!(header_of(HEAD - 1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(
            bytes in proptest::collection::vec(any::<u8>(), 0..256),
            cut in 0..64_usize,
        ) {
            let mut all = segment(&[&bytes]);
            all.truncate(all.len() - cut.min(all.len()));
            all.extend(&bytes);
            let mut frames = Frames::new(&all, 0);
            let mut last = 0;
            while frames.next().is_some() {
                prop_assert!(frames.at() > last && frames.at() <= all.len());
                last = frames.at();
            }
            prop_assert_eq!(last, all.len());
        }
    }
}
