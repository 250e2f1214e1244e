//! Parts in, DER out, and back: as much of it as made-up revocation needs.

use time::OffsetDateTime;

use crate::TestkitError;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// An element with this tag around these parts of its content.
pub(crate) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut element = vec![tag];
    let bytes = content.len().to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    match u8::try_from(content.len()) {
        Ok(short @ 0..=0x7f) => element.push(short),
        _ => {
            element.push(0x80 | u8::try_from(bytes.len() - zeros).unwrap_or_default());
            element.extend(bytes.iter().skip(zeros));
        }
    }
    element.extend(content);
    element
}

/// `[number]` around other elements.
pub(crate) fn tagged(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    write(0xa0 | number, parts)
}

/// A time with four digits of the year.
pub(crate) fn generalized(time: OffsetDateTime) -> Result<Vec<u8>, TestkitError> {
    let format = time::macros::format_description!("[year][month][day][hour][minute][second]Z");
    Ok(write(GENERALIZED_TIME, &[time.format(format)?.as_bytes()]))
}

/// A time with two digits of the year.
pub(crate) fn utc(time: OffsetDateTime) -> Result<Vec<u8>, TestkitError> {
    let format = time::macros::format_description!(
        "[year repr:last_two][month][day][hour][minute][second]Z"
    );
    Ok(write(UTC_TIME, &[time.format(format)?.as_bytes()]))
}

/// An extension (RFC 5280, section 4.1).
pub(crate) fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical { write(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    write(SEQUENCE, &[&write(OID, &[id]), &flag, &write(OCTET_STRING, &[value])])
}

/// `CRLDistributionPoints` with one point for each URL.
pub(crate) fn points(urls: &[String]) -> Vec<u8> {
    let points = urls.iter().map(|url| write(SEQUENCE, &[&point(url)]));
    write(SEQUENCE, &[&points.collect::<Vec<_>>().concat()])
}

/// A `DistributionPointName` with one URL, in its `[0]`.
pub(crate) fn point(url: &str) -> Vec<u8> {
    tagged(0, &[&tagged(0, &[&write(0x86, &[url.as_bytes()])])])
}

/// Something signed: it, the algorithm, the signature and what follows.
pub(crate) fn signed(content: &[u8], signature: &[u8], rest: &[u8]) -> Vec<u8> {
    write(SEQUENCE, &[content, ECDSA, &write(BIT_STRING, &[&[0], signature]), rest])
}

/// The identifier of ECDSA with SHA-256.
pub(crate) const ECDSA: &[u8] =
    &[0x30, 0x0a, OID, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// The first element of `bytes` with its header, its content, and what follows. Only for DER that is
/// known to be good.
pub(crate) fn first(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, header) = match *bytes {
        [_, short @ 0..=0x7f, ..] => (usize::from(short), 2),
        [_, 0x81, one, ..] => (usize::from(one), 3),
        [_, 0x82, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
        _ => return None,
    };
    let (all, rest) = bytes.split_at_checked(header + length)?;
    Some((all, all.get(header..)?, rest))
}

/// What `path` leads to: at each step so many elements are passed over, and the next one is entered.
pub(crate) fn inside<'a>(bytes: &'a [u8], path: &[usize]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, steps| {
        let at = (0..*steps).try_fold(bytes, |bytes, _| first(bytes).map(|(_, _, rest)| rest))?;
        first(at).map(|(_, content, _)| content)
    })
}
