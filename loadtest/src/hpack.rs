//! Header blocks in, the few fields that say how a call ended out; and fixed lists the other way.
//!
//! RFC 7541 whole for what is read, as a peer may use all of it. What is written is one list of fields
//! that is the same for every request: literal and kept by the peer at first, indices afterwards.

use std::collections::VecDeque;

mod headers;
mod huffman;

pub(crate) use self::headers::Headers;

/// The size of the table that we keep for the peer, in bytes (RFC 7541 section 4.2; the default).
const TABLE: usize = 4096;
/// What an entry costs beside its texts (RFC 7541 section 4.1).
const ENTRY: usize = 32;
/// The longest header block that is read, in bytes.
pub(crate) const MAX_BLOCK: usize = 64 * 1024;

/// The names of the static table (RFC 7541 appendix A), from index 1.
const STATIC: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];
/// The values of `:status` in the static table, from index 8.
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// Why a header block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HpackError {
    /// It ends in the middle of something.
    #[error("a header block is cut off")]
    Cut,
    /// An integer is too large.
    #[error("a number in a header block is too large")]
    Number,
    /// An index leads nowhere.
    #[error("a header block names entry {0}, which is not there")]
    Index(usize),
    /// A text is not Huffman code.
    #[error("a text in a header block is not Huffman code")]
    Huffman,
    /// The table is to be larger than we said.
    #[error("a header block asks for a table of {0} bytes")]
    Table(usize),
}

/// What a field says that the harness cares about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The status of HTTP.
    Status(u16),
    /// The status of gRPC.
    Grpc(u16),
    /// Anything else.
    Other,
}

impl Field {
    fn of(name: &[u8], value: &[u8]) -> Self {
        let number = || std::str::from_utf8(value).ok()?.parse().ok();
        match name {
            b":status" => number().map_or(Self::Other, Self::Status),
            // What is no number is no success.
            b"grpc-status" => Self::Grpc(number().unwrap_or(u16::MAX)),
            _ => Self::Other,
        }
    }
}

struct Entry {
    name: Vec<u8>,
    size: usize,
    field: Field,
}

/// Reads the header blocks of one connection, in their order.
pub(crate) struct Decoder {
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: TABLE }
    }

    /// Gives each field of `block` to `visit`.
    pub(crate) fn read(
        &mut self,
        block: &[u8],
        mut visit: impl FnMut(Field),
    ) -> Result<(), HpackError> {
        let mut rest = block;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = number(&mut rest, 7)?;
                visit(self.field(index)?);
            } else if first & 0xe0 == 0x20 {
                let limit = number(&mut rest, 5)?;
                if limit > TABLE {
                    return Err(HpackError::Table(limit));
                }
                self.limit = limit;
                self.evict();
            } else {
                let kept = first & 0x40 != 0;
                let index = number(&mut rest, if kept { 6 } else { 4 })?;
                let name = if index == 0 { text(&mut rest)? } else { self.name(index)?.to_vec() };
                let value = text(&mut rest)?;
                let field = Field::of(&name, &value);
                visit(field);
                if kept {
                    self.keep(Entry { size: name.len() + value.len() + ENTRY, name, field });
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, entry: Entry) {
        self.size += entry.size;
        self.entries.push_front(entry);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.limit {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.size;
        }
    }

    fn entry(&self, index: usize) -> Result<&Entry, HpackError> {
        let own = index.checked_sub(STATIC.len() + 1);
        own.and_then(|own| self.entries.get(own)).ok_or(HpackError::Index(index))
    }

    fn field(&self, index: usize) -> Result<Field, HpackError> {
        if index == 0 {
            return Err(HpackError::Index(0));
        }
        if index > STATIC.len() {
            return Ok(self.entry(index)?.field);
        }
        let status = index.checked_sub(8).and_then(|at| STATUSES.get(at));
        Ok(status.map_or(Field::Other, |status| Field::Status(*status)))
    }

    fn name(&self, index: usize) -> Result<&[u8], HpackError> {
        match index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            Some(name) => Ok(name.as_bytes()),
            None => Ok(&self.entry(index)?.name),
        }
    }
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1).
fn number(rest: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let mask = (1_usize << bits) - 1;
    let (first, mut tail) = rest.split_first().ok_or(HpackError::Cut)?;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (byte, more) = tail.split_first().ok_or(HpackError::Cut)?;
            tail = more;
            value += (usize::from(*byte) & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(HpackError::Number);
            }
        }
    }
    *rest = tail;
    Ok(value)
}

/// A text (RFC 7541 section 5.2).
fn text(rest: &mut &[u8]) -> Result<Vec<u8>, HpackError> {
    let packed = rest.first().ok_or(HpackError::Cut)? & 0x80 != 0;
    let length = number(rest, 7)?;
    let (text, tail) = rest.split_at_checked(length).ok_or(HpackError::Cut)?;
    *rest = tail;
    if packed { huffman::decode(text).ok_or(HpackError::Huffman) } else { Ok(text.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::headers::write_text;
    use super::*;

    #[track_caller]
    fn read(decoder: &mut Decoder, hex: &str) -> Vec<Field> {
        let digits: Vec<_> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
        let block: Vec<_> = digits.chunks(2).map(byte).collect();
        let mut fields = Vec::new();
        decoder.read(&block, |field| fields.push(field)).unwrap();
        fields
    }

    /// RFC 7541 appendix C.6: responses with Huffman code, and a table that entries leave.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let mut decoder = Decoder { limit: 256, ..Decoder::new() };
        let first = "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
                     6e919d29ad171863c78f0b97c8e9ae82ae43d3";
        let fields = read(&mut decoder, first);
        assert_eq!(fields, [Field::Status(302), Field::Other, Field::Other, Field::Other]);
        assert_eq!(decoder.size, 222);
        let fields = read(&mut decoder, "4883640effc1c0bf");
        assert_eq!(fields, [Field::Status(307), Field::Other, Field::Other, Field::Other]);
        assert_eq!(decoder.size, 222);
        let third = "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7\
                     821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5\
                     b1063d5007";
        assert_eq!(read(&mut decoder, third)[0], Field::Status(200));
        assert_eq!((decoder.size, decoder.entries.len()), (215, 3));
    }

    #[test]
    fn the_status_of_grpc_is_read_by_name_and_by_index() {
        let mut decoder = Decoder::new();
        let literal = |value: &str| {
            let mut block = vec![0x40];
            write_text(&mut block, "grpc-status");
            write_text(&mut block, value);
            block
        };
        let mut read = |block: &[u8]| {
            let mut fields = Vec::new();
            decoder.read(block, |field| fields.push(field)).unwrap();
            fields
        };
        assert_eq!(read(&literal("0")), [Field::Grpc(0)]);
        assert_eq!(read(&literal("14")), [Field::Grpc(14)]);
        assert_eq!(read(&[0xbe, 0xbf]), [Field::Grpc(14), Field::Grpc(0)]);
        assert_eq!(read(&literal("ok")), [Field::Grpc(u16::MAX)]);
    }

    #[test]
    fn what_is_broken_is_an_error() {
        let read = |block: &[u8]| Decoder::new().read(block, |_| {}).unwrap_err();
        assert_eq!(read(&[0x80]), HpackError::Index(0));
        assert_eq!(read(&[0xbe]), HpackError::Index(62));
        assert_eq!(read(&[0x40, 0x05, b'a']), HpackError::Cut);
        assert_eq!(read(&[0x7f]), HpackError::Cut);
        assert_eq!(read(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]), HpackError::Number);
        assert_eq!(read(&[0x3f, 0xe2, 0x1f]), HpackError::Table(4097));
        assert_eq!(read(&[0x40, 0x81, 0x00, 0x00]), HpackError::Huffman);
    }

    /// Whatever comes is read or refused.
    #[test]
    fn no_bytes_break_the_decoder() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut read = 0;
        for _ in 0..50_000 {
            let length = random.usize(..24);
            let block: Vec<_> = (0..length).map(|_| random.u8(..)).collect();
            let mut decoder = Decoder::new();
            read += u32::from(decoder.read(&block, |_| {}).is_ok());
            assert!(decoder.size <= TABLE);
        }
        assert!((1_000..49_000).contains(&read), "{read} of 50000 are headers");
    }
}
