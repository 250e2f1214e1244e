//! The headers of a call in, the blocks that carry them out.

use super::{ENTRY, STATIC};

/// The header list of every request of a connection, as it is sent the first time and afterwards.
pub(crate) struct Headers {
    /// Literal, to be kept by the peer.
    pub(crate) first: Vec<u8>,
    /// By index.
    pub(crate) later: Vec<u8>,
    /// Literal, not to be kept: for a peer whose table is too small.
    pub(crate) plain: Vec<u8>,
    /// What the peer's table must hold for `later` to be right, in bytes.
    pub(crate) table: usize,
}

impl Headers {
    /// Those of a gRPC call of `path` at `authority`. `timeout` is a `grpc-timeout`.
    pub(crate) fn new(authority: &str, path: &str, timeout: Option<&str>) -> Self {
        // `:method: POST` and `:scheme: http` are in the static table.
        let fixed = [0x80 | 3, 0x80 | 6];
        let mut fields = vec![
            (":path", path),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", concat!("portcullis-loadtest/", env!("CARGO_PKG_VERSION"))),
        ];
        fields.extend(timeout.map(|timeout| ("grpc-timeout", timeout)));
        let (mut first, mut later, mut plain) = (fixed.to_vec(), fixed.to_vec(), fixed.to_vec());
        for (position, (name, value)) in fields.iter().enumerate() {
            for (out, kind) in [(&mut first, 0x40), (&mut plain, 0x00)] {
                out.push(kind);
                write_text(out, name);
                write_text(out, value);
            }
            // The newest entry has the lowest index.
            let index = STATIC.len() + fields.len() - position;
            later.push(0x80 | u8::try_from(index).unwrap_or(0x7e));
        }
        let table = fields.iter().map(|(name, value)| name.len() + value.len() + ENTRY).sum();
        Self { first, later, plain, table }
    }

    /// As `later`, for a call that has only so many milliseconds left: it has waited, and the service
    /// is to know. There must be a timeout; it is the last field.
    pub(crate) fn hurried(&self, left: u64) -> Vec<u8> {
        let mut block = self.later.clone();
        block.pop();
        // Not to be kept, with the name of the newest entry: index 62 with a prefix of four bits.
        block.extend_from_slice(&[0x0f, 62 - 15]);
        write_text(&mut block, &format!("{left}m"));
        block
    }
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    let length = text.len();
    match u8::try_from(length) {
        Ok(short) if short < 0x7f => out.push(short),
        _ => {
            out.push(0x7f);
            let mut left = length.saturating_sub(0x7f);
            while left >= 0x80 {
                out.push(0x80 | u8::try_from(left & 0x7f).unwrap_or_default());
                left >>= 7;
            }
            out.push(u8::try_from(left).unwrap_or_default());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Field};
    use super::*;

    #[test]
    fn our_own_headers_mean_the_same_each_time() {
        let long = "a".repeat(300);
        let headers = Headers::new("127.0.0.1:1", &long, Some("1S"));
        // Our decoder stands in for the peer's: it keeps what it is told to.
        let mut peer = Decoder::new();
        let mut count = |block: &[u8]| {
            let mut fields = 0;
            peer.read(block, |_| fields += 1).unwrap();
            (fields, peer.entries.len(), peer.size)
        };
        assert_eq!(count(&headers.plain), (8, 0, 0));
        assert_eq!(count(&headers.first), (8, 6, headers.table));
        assert_eq!(count(&headers.later), (8, 6, headers.table));
        assert_eq!(count(&headers.hurried(250)), (8, 6, headers.table));
        let names: Vec<_> = peer.entries.iter().map(|entry| entry.name.as_slice()).collect();
        assert_eq!(names.first(), Some(&&b"grpc-timeout"[..]));
        assert_eq!(names.last(), Some(&&b":path"[..]));
    }

    #[test]
    fn a_call_that_has_waited_says_what_is_left() {
        let headers = Headers::new("127.0.0.1:1", "/a/b", Some("1000m"));
        let block = headers.hurried(250);
        assert!(block.ends_with(b"\x0f\x2f\x04250m"), "{block:x?}");
        let mut peer = Decoder::new();
        peer.read(&headers.first, |_| {}).unwrap();
        let mut fields = Vec::new();
        peer.read(&block, |field| fields.push(field)).unwrap();
        assert_eq!(fields, [Field::Other; 8]);
    }
}
