//! A certificate in, its three parts out, read as strictly as DER is.
//!
//! Nobody signs what stands around the signed part of a certificate, and x509-parser takes other
//! tags there too. One certificate must have one spelling, or its fingerprint names nothing.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;

/// The parts of a certificate (RFC 5280, section 4.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// What the issuer signed.
    pub(super) signed: &'a [u8],
    /// The algorithm as the signed part states it.
    pub(super) inner_algorithm: &'a [u8],
    /// The algorithm as it is stated beside the signature.
    pub(super) outer_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Splits a certificate, or `None` where its frame is not DER.
pub(super) fn split(certificate: &[u8]) -> Option<Parts<'_>> {
    let whole = element(certificate, SEQUENCE)?;
    let signed = element(whole.content, SEQUENCE)?;
    let outer_algorithm = element(signed.rest, SEQUENCE)?;
    let signature = element(outer_algorithm.rest, BIT_STRING)?;
    // The first byte counts the unused bits at the end.
    let (0, bits) = signature.content.split_first()? else {
        return None;
    };
    if !whole.rest.is_empty() || !signature.rest.is_empty() {
        return None;
    }
    // Version 1 is not written.
    let fields = element(signed.content, VERSION).map_or(signed.content, |version| version.rest);
    let serial = element(fields, INTEGER)?;
    Some(Parts {
        signed: signed.all,
        inner_algorithm: element(serial.rest, SEQUENCE)?.all,
        outer_algorithm: outer_algorithm.all,
        signature: bits,
    })
}

struct Element<'a> {
    all: &'a [u8],
    content: &'a [u8],
    rest: &'a [u8],
}

/// The first element of `bytes`, with this tag and its length in the shortest form (X.690,
/// section 10.1). Longer than 65535 bytes is more than a certificate may be.
fn element(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    let (length, header) = match *bytes {
        [first, short @ 0..=0x7f, ..] if first == tag => (usize::from(short), 2),
        [first, 0x81, one @ 0x80..=0xff, ..] if first == tag => (usize::from(one), 3),
        [first, 0x82, high @ 1..=0xff, low, ..] if first == tag => {
            (usize::from(u16::from_be_bytes([high, low])), 4)
        }
        _ => return None,
    };
    let (all, rest) = bytes.split_at_checked(header + length)?;
    Some(Element { all, content: all.get(header..)?, rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], content: Option<&[u8]>) {
        assert_eq!(element(bytes, 0x30).map(|e| e.content), content, "{bytes:02x?}");
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
        ] {
            let content = vec![7; length];
            check(&[header, &content].concat(), Some(&content));
            check(&[header, &content[1..]].concat(), None);
        }
        check(&[&[0x30, 0x82, 0, 0xff][..], &[7; 0xff]].concat(), None);
        check(&[&[0x30, 0x83, 1, 0, 0][..], &[7; 0x10000]].concat(), None);
    }
}
