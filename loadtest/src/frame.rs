//! Bytes in, HTTP/2 frames out, and back (RFC 9113 section 4 and 6).

/// What a client says first, before its settings.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The size of what is before each payload, in bytes.
pub(crate) const HEAD: usize = 9;
/// The largest payload that we allow the peer, in bytes (the default).
pub(crate) const MAX_PAYLOAD: usize = 16_384;
/// The largest window (RFC 9113 section 6.9.1).
pub(crate) const MAX_WINDOW: u32 = 0x7fff_ffff;
/// The window of everything before anybody says otherwise.
pub(crate) const DEFAULT_WINDOW: i64 = 65_535;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// `SETTINGS_HEADER_TABLE_SIZE` and the others that a client obeys or sets.
pub(crate) const TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW: u16 = 4;
pub(crate) const MAX_FRAME: u16 = 5;

/// One frame that was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

/// The first frame of `bytes` and what follows it.
pub(crate) enum Read<'a> {
    /// Not all of it is here.
    More,
    /// It is longer than we allow.
    TooLong(usize),
    /// Here it is.
    Frame(Frame<'a>, usize),
}

/// Reads the first frame of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Read<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Read::More;
    };
    let [a, b, c, kind, flags, stream @ ..] = *head;
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if length > MAX_PAYLOAD {
        return Read::TooLong(length);
    }
    let Some(payload) = rest.get(..length) else {
        return Read::More;
    };
    let stream = u32::from_be_bytes(stream) & MAX_WINDOW;
    Read::Frame(Frame { kind, flags, stream, payload }, HEAD + length)
}

impl<'a> Frame<'a> {
    /// The payload of DATA or HEADERS without padding and priority; nothing where they do not fit.
    pub(crate) fn content(&self) -> Option<&'a [u8]> {
        let mut content = self.payload;
        if self.flags & PADDED != 0 {
            let (padding, rest) = content.split_first()?;
            content = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.kind == HEADERS && self.flags & PRIORITY != 0 {
            content = content.get(5..)?;
        }
        Some(content)
    }

    /// The payload as one number of 32 bits: an error code, or an increment.
    pub(crate) fn number(&self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.payload.first_chunk()?))
    }

    /// The settings of the payload.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (u16, u32)> + 'a {
        let (settings, _) = self.payload.as_chunks::<6>();
        settings
            .iter()
            .map(|[a, b, rest @ ..]| (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*rest)))
    }
}

/// Writes what is before a payload of `length` bytes, which is at most 2^24 - 1.
pub(crate) fn head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    let [.., a, b, c] = length.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Writes a whole frame.
pub(crate) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    head(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Writes our settings: no push, and windows that never hold up a reply.
pub(crate) fn write_settings(out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(12);
    for (name, value) in [(ENABLE_PUSH, 0), (INITIAL_WINDOW, MAX_WINDOW)] {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    write(out, SETTINGS, 0, 0, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, DATA, END_STREAM, 7, b"text");
        write_settings(&mut bytes);
        let Read::Frame(frame, length) = read(&bytes) else { panic!("no frame") };
        let expected = Frame { kind: DATA, flags: END_STREAM, stream: 7, payload: b"text" };
        assert_eq!(frame, expected);
        let Read::Frame(frame, _) = read(&bytes[length..]) else { panic!("no frame") };
        let settings: Vec<_> = frame.settings().collect();
        assert_eq!(settings, [(ENABLE_PUSH, 0), (INITIAL_WINDOW, MAX_WINDOW)]);
        assert!(matches!(read(&bytes[..length - 1]), Read::More));
        assert!(matches!(read(&bytes[..8]), Read::More));
    }

    #[test]
    fn a_payload_past_the_bound_is_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, DATA, 0, 1, &vec![0; MAX_PAYLOAD]);
        assert!(matches!(read(&bytes), Read::Frame(..)));
        bytes.clear();
        head(&mut bytes, DATA, 0, 1, MAX_PAYLOAD + 1);
        assert!(matches!(read(&bytes), Read::TooLong(16_385)));
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let content = |kind, flags, payload| Frame { kind, flags, stream: 1, payload }.content();
        assert_eq!(content(DATA, PADDED, b"\x02ab\0\0"), Some(&b"ab"[..]));
        assert_eq!(content(DATA, PADDED, b"\x02a"), None);
        assert_eq!(content(DATA, PADDED, b""), None);
        assert_eq!(content(HEADERS, PRIORITY, b"12345ab"), Some(&b"ab"[..]));
        assert_eq!(content(HEADERS, PADDED | PRIORITY, b"\x0112345ab\0"), Some(&b"ab"[..]));
        assert_eq!(content(HEADERS, PRIORITY, b"1234"), None);
        // What means priority for headers means nothing for data.
        assert_eq!(content(DATA, PRIORITY, b"12345"), Some(&b"12345"[..]));
    }
}
