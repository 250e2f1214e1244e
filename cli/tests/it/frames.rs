//! Frames of HTTP/2 in, what became of the connection out: things that no library would send.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty message of gRPC.
pub(crate) const EMPTY: [u8; 5] = [0; 5];

/// How long an end that is silent is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A SETTINGS frame.
pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &values.iter().flat_map(one).collect::<Vec<_>>())
}

/// A header field, literally and without a trace in the table.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    assert!(name.len() < 127 && value.len() < 127);
    [vec![0], text(name), text(value)].concat()
}

/// The header block of a call of gRPC.
pub(crate) fn call(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    block.extend(field(":path", path));
    block.extend(field(":authority", "localhost"));
    block.extend(field("content-type", "application/grpc"));
    block.extend(field("te", "trailers"));
    block
}

/// A call of the health service with its empty message.
pub(crate) fn health(stream: u32) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, stream, &call("/grpc.health.v1.Health/Check"));
    [headers, frame(DATA, END_STREAM, stream, &EMPTY)].concat()
}

/// What a connection has told us.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// How many frames there were of each kind.
    pub(crate) frames: [usize; 10],
    /// Why the other end goes away, the last time it said so.
    pub(crate) goaway: Option<u32>,
    /// The header block that came last.
    pub(crate) block: Vec<u8>,
    /// Whether it has closed the connection.
    pub(crate) closed: bool,
}

impl Told {
    pub(crate) const fn count(&self, kind: u8) -> usize {
        self.frames[kind as usize]
    }
}

/// A connection without a mind of its own.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    pub(crate) told: Told,
}

impl Wire {
    /// Connects, and says nothing.
    pub(crate) fn silent(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new(), told: Told::default() }
    }

    /// Connects, and says what a client says first.
    pub(crate) fn open(address: &str, values: &[(u16, u32)]) -> Self {
        let mut wire = Self::silent(address);
        assert!(wire.send(&[PREFACE, &settings(values)].concat()));
        wire
    }

    /// Whether all of it could be sent. An end that does not read is no reason to wait.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends as much as there is as long as the other end takes it, and reads meanwhile. Gives how many
    /// bytes went out.
    pub(crate) fn flood(&mut self, chunks: impl Iterator<Item = Vec<u8>> + Send) -> usize {
        let mut out = self.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let mut sent = 0;
                for chunk in chunks {
                    if out.write_all(&chunk).is_err() {
                        break;
                    }
                    sent += chunk.len();
                }
                // Answered when all before it was worked off.
                drop(out.write_all(&frame(PING, 0, 0, b"the last")));
                sent
            });
            self.read_until(|told| told.closed || told.count(PING) > 0);
            // Whoever still writes to an end that has closed hears so.
            writing.join().unwrap()
        })
    }

    /// Reads until `enough`, or nothing comes any more.
    pub(crate) fn read_until(&mut self, enough: impl Fn(&Told) -> bool) {
        let mut buffer = vec![0; 64 * 1024];
        while !enough(&self.told) {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.told.closed = true,
                Ok(count) => self.take(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return;
                }
                Err(_reset) => self.told.closed = true,
            }
        }
    }

    /// Reads until the other end has closed; false when it does not.
    pub(crate) fn closes(&mut self) -> bool {
        self.read_until(|told| told.closed);
        self.told.closed
    }

    fn take(&mut self, bytes: &[u8]) {
        self.read.extend(bytes);
        let mut rest = &self.read[..];
        while let Some((head, more)) = rest.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, more)) = more.split_at_checked(length) else { break };
            let (kind, flags) = (usize::from(head[3]), head[4]);
            // What only confirms ours is nothing that it told us, but for the last ping.
            if kind < 10 && !(head[3] == SETTINGS && flags == ACK) {
                let counts = head[3] != PING || payload == b"the last";
                self.told.frames[kind] += usize::from(counts);
            }
            if head[3] == HEADERS {
                self.told.block = payload.to_vec();
            }
            if head[3] == GOAWAY {
                self.told.goaway = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
            rest = more;
        }
        self.read = rest.to_vec();
    }
}
