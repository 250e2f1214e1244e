//! DER in, its elements out, one after the other and read as strictly as DER is.
//!
//! Nobody signs what stands around the signed part of a certificate, and x509-parser takes other
//! tags there too. One certificate must have one spelling, or its fingerprint names nothing. What
//! may be large, as a revocation list is, is walked here without keeping any of it.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag of `[number]` around other elements.
pub(super) const fn tagged(number: u8) -> u8 {
    0xa0 | number
}

/// The tag of `[number]` in place of the tag of something that holds no elements.
pub(super) const fn replaced(number: u8) -> u8 {
    0x80 | number
}

/// The parts of a certificate (RFC 5280, section 4.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// What the issuer signed.
    pub(super) signed: &'a [u8],
    /// The serial number, as two's complement.
    pub(super) serial: &'a [u8],
    /// The algorithm as the signed part states it.
    pub(super) inner_algorithm: &'a [u8],
    /// The algorithm as it is stated beside the signature.
    pub(super) outer_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Splits a certificate, or `None` where its frame is not DER.
pub(super) fn split(certificate: &[u8]) -> Option<Parts<'_>> {
    let frame = Signed::read(certificate)?;
    let mut fields = Reader::new(frame.content);
    // Version 1 is not written.
    fields.optional(tagged(0))?;
    let serial = fields.take(INTEGER)?;
    Some(Parts {
        signed: frame.all,
        serial,
        inner_algorithm: fields.element(SEQUENCE)?.all,
        outer_algorithm: frame.algorithm,
        signature: frame.signature,
    })
}

/// Something signed: certificates, revocation lists and OCSP responses are all framed so.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    /// What is signed, with its tag and length.
    pub(super) all: &'a [u8],
    /// What is signed, without them.
    pub(super) content: &'a [u8],
    /// The algorithm as it is stated beside the signature.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// What comes after the signature.
    pub(super) rest: Reader<'a>,
}

impl<'a> Signed<'a> {
    /// Reads something that ends with its signature.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let signed = Self::with_rest(bytes)?;
        signed.rest.is_empty().then_some(signed)
    }

    /// Reads something that has more after its signature.
    pub(super) fn with_rest(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Reader::only(bytes, SEQUENCE)?;
        let signed = rest.element(SEQUENCE)?;
        let algorithm = rest.element(SEQUENCE)?.all;
        let signature = rest.take(BIT_STRING)?;
        // The first byte counts the unused bits at the end.
        let (0, signature) = signature.split_first()? else {
            return None;
        };
        Some(Self { all: signed.all, content: signed.content, algorithm, signature, rest })
    }
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// The whole of it.
    pub(super) all: &'a [u8],
    /// What stands after its tag and length.
    pub(super) content: &'a [u8],
}

/// Elements that follow each other. `None` from any of its functions is that they are not as
/// asked, or not DER; the reader is of no use then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The elements in the one element that `bytes` are.
    pub(super) fn only(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut outer = Self(bytes);
        let inner = outer.enter(tag)?;
        outer.is_empty().then_some(inner)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// That nothing follows.
    pub(super) fn end(self) -> Option<()> {
        self.is_empty().then_some(())
    }

    /// The tag of the next element.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever it is. Its length is in the shortest form (X.690, section 10.1),
    /// and its tag is one byte.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, after) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, header) = match *after {
            [short @ 0..=0x7f, ..] => (usize::from(short), 2),
            [0x81, one @ 0x80..=0xff, ..] => (usize::from(one), 3),
            [0x82, a @ 1..=0xff, b, ..] => (usize::from(u16::from_be_bytes([a, b])), 4),
            [0x83, a @ 1..=0xff, b, c, ..] => (length([0, a, b, c])?, 5),
            [0x84, a @ 1..=0xff, b, c, d, ..] => (length([a, b, c, d])?, 6),
            _ => return None,
        };
        let (all, rest) = self.0.split_at_checked(length.checked_add(header)?)?;
        self.0 = rest;
        Some(Element { tag, all, content: all.get(header..)? })
    }

    /// The next element, which has this tag.
    pub(super) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// The content of the next element, which has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.content)
    }

    /// The elements in the next element, which has this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// The content of the next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.peek() == Some(tag) { self.take(tag).map(Some) } else { Some(None) }
    }

    /// A truth, which is left out where it is the usual `false`.
    pub(super) fn flag(&mut self, tag: u8) -> Option<bool> {
        match self.optional(tag)? {
            None => Some(false),
            // DER writes no default, and one spelling of true.
            Some([0xff]) => Some(true),
            Some(_) => None,
        }
    }

    /// A time in one of the two forms of RFC 5280, section 4.1.2.5.
    pub(super) fn time(&mut self) -> Option<OffsetDateTime> {
        let element = self.any()?;
        match element.tag {
            UTC_TIME => utc_time(element.content),
            GENERALIZED_TIME => generalized_time(element.content),
            _ => None,
        }
    }
}

/// An element with this tag around these parts of its content.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let significant = bytes.get(significant..).unwrap_or_default();
    let mut element = vec![tag];
    match (u8::try_from(length), u8::try_from(significant.len())) {
        (Ok(short @ 0..=0x7f), _) => element.push(short),
        // A length has at most as many bytes as a `usize`.
        (_, count) => {
            element.push(0x80 | count.unwrap_or_default());
            element.extend_from_slice(significant);
        }
    }
    parts.iter().for_each(|part| element.extend_from_slice(part));
    element
}

/// One extension (RFC 5280, section 4.1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Extension<'a> {
    /// The content of its object identifier.
    pub(super) id: &'a [u8],
    pub(super) critical: bool,
    pub(super) value: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next extension.
    pub(super) fn extension(&mut self) -> Option<Extension<'a>> {
        let mut fields = self.enter(SEQUENCE)?;
        let id = fields.take(OID)?;
        let critical = fields.flag(BOOLEAN)?;
        let value = fields.take(OCTET_STRING)?;
        fields.end()?;
        Some(Extension { id, critical, value })
    }
}

fn length(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

/// `YYMMDDHHMMSSZ`; years below 50 are those of this century.
fn utc_time(text: &[u8]) -> Option<OffsetDateTime> {
    let (year, rest) = digits(text, 2)?;
    time(if year < 50 { 2000 + year } else { 1900 + year }, rest)
}

/// `YYYYMMDDHHMMSSZ`, without fractions.
pub(super) fn generalized_time(text: &[u8]) -> Option<OffsetDateTime> {
    let (year, rest) = digits(text, 4)?;
    time(year, rest)
}

fn time(year: u16, text: &[u8]) -> Option<OffsetDateTime> {
    let mut rest = text;
    let mut two = || {
        let (value, after) = digits(rest, 2)?;
        rest = after;
        u8::try_from(value).ok()
    };
    let (month, day, hour, minute, second) = (two()?, two()?, two()?, two()?, two()?);
    let month = Month::try_from(month).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    (rest == b"Z").then(|| PrimitiveDateTime::new(date, time).assume_utc())
}

fn digits(text: &[u8], count: usize) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let mut value = 0;
    for digit in digits {
        value = value * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], content: Option<&[u8]>) {
        assert_eq!(Reader::new(bytes).take(0x30), content, "{:02x?}", bytes.get(..8));
    }

    #[test]
    fn a_length_is_in_its_shortest_form() {
        check(&[0x30, 1, 7, 9], Some(&[7]));
        check(&[0x30, 0], Some(&[]));
        check(&[0x30, 0x81, 1, 7], None);
        check(&[0x30, 0x82, 0, 1, 7], None);
        check(&[0x30, 0x80, 7, 0, 0], None);
        check(&[0x31, 1, 7], None);
        check(&[0x30, 2, 7], None);
        check(&[0x30], None);
        check(&[], None);
        for (length, header) in [
            (0x7f, &[0x30, 0x7f][..]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0xff, &[0x30, 0x81, 0xff]),
            (0x100, &[0x30, 0x82, 1, 0]),
            (0xffff, &[0x30, 0x82, 0xff, 0xff]),
            (0x1_0000, &[0x30, 0x83, 1, 0, 0]),
            (0x100_0000, &[0x30, 0x84, 1, 0, 0, 0]),
        ] {
            let content = vec![7; length];
            check(&[header, &content].concat(), Some(&content));
            check(&[header, &content[1..]].concat(), None);
        }
        check(&[&[0x30, 0x82, 0, 0xff][..], &[7; 0xff]].concat(), None);
        check(&[&[0x30, 0x83, 0, 0xff, 0xff][..], &[7; 0xffff]].concat(), None);
        check(&[&[0x30, 0x84, 0, 1, 0, 0][..], &[7; 0x1_0000]].concat(), None);
        check(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], None);
        check(&[0x30, 0x85, 1, 0, 0, 0, 0], None);
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; length];
            let (first, second) = content.split_at(length / 2);
            check(&write(SEQUENCE, &[first, second]), Some(&content));
        }
    }

    #[test]
    fn a_tag_is_one_byte() {
        assert_eq!(Reader::new(&[0x1f, 1, 7]).any(), None);
        assert_eq!(Reader::new(&[0xbf, 1, 7]).any(), None);
    }

    #[test]
    fn a_truth_has_one_spelling() {
        let flag = |bytes: &[u8]| Reader::new(bytes).flag(BOOLEAN);
        assert_eq!(flag(&[1, 1, 0xff]), Some(true));
        assert_eq!(flag(&[2, 1, 0xff]), Some(false));
        for bytes in [&[1, 1, 0][..], &[1, 1, 1], &[1, 2, 0xff, 0xff], &[1, 0]] {
            assert_eq!(flag(bytes), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn times_are_those_of_rfc_5280() {
        let read = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            Reader::new(&[&[tag, length][..], text.as_bytes()].concat()).time()
        };
        assert_eq!(read(UTC_TIME, "490102030405Z"), Some(datetime!(2049-01-02 03:04:05 UTC)));
        assert_eq!(read(UTC_TIME, "500102030405Z"), Some(datetime!(1950-01-02 03:04:05 UTC)));
        let long = "20500229030405Z";
        assert_eq!(read(GENERALIZED_TIME, long), None);
        let long = "20520229030405Z";
        assert_eq!(read(GENERALIZED_TIME, long), Some(datetime!(2052-02-29 03:04:05 UTC)));
        for text in ["20520229030405", "20520229030405.5Z", "20520229030405+0100", "2052022903Z"] {
            assert_eq!(read(GENERALIZED_TIME, text), None, "{text}");
        }
        for text in ["4901020304Z", "490102030405+0000", "49O102030405Z", "491302030405Z", ""] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(read(INTEGER, "490102030405Z"), None);
    }
}
