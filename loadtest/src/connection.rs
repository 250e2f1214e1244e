//! Calls in, HTTP/2 frames on a socket out, and what came of each call back.
//!
//! As much of RFC 9113 as a client of gRPC needs, and nothing between the frame and the clock: a call
//! costs some hundred nanoseconds here, so that what is measured is the service.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::SocketAddr;

use mio::net::TcpStream;

use self::stream::{MAX_MESSAGE, Stream};
use crate::frame::{self, Frame};
use crate::hpack::{Decoder, Field, Headers, HpackError, MAX_BLOCK};

pub(crate) use self::stream::{Calls, End};

mod send;
mod stream;

/// How much is read from a socket at once, in bytes.
const PIECE: usize = 256 * 1024;
/// After how many bytes the peer is told that they were taken.
const REPLENISH: u32 = 1 << 20;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The system says so.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The peer closed it.
    #[error("the service closed the connection")]
    Closed,
    /// The peer is leaving.
    #[error("the service is leaving (GOAWAY with code {0})")]
    Leaving(u32),
    /// The peer breaks the protocol.
    #[error("the service breaks HTTP/2: {0}")]
    Protocol(&'static str),
    /// A frame is longer than we allow.
    #[error("a frame of the service is {0} bytes long, more than the 16384 allowed")]
    Frame(usize),
    /// A header block cannot be read.
    #[error("the service breaks HTTP/2")]
    Hpack(#[from] HpackError),
    /// A message is longer than is received.
    #[error("a reply is {0} bytes long, more than the {MAX_MESSAGE} allowed")]
    TooLong(usize),
}

/// One connection to a service.
pub(crate) struct Connection {
    /// For whoever waits for it to be ready.
    pub(crate) socket: TcpStream,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    written: usize,
    decoder: Decoder,
    headers: Headers,
    told_headers: bool,
    indexed: bool,
    settled: bool,
    leaving: bool,
    next: u32,
    first: u32,
    streams: VecDeque<Option<Stream>>,
    open: usize,
    window: i64,
    initial_window: i64,
    max_frame: usize,
    max_streams: usize,
    received: u32,
    block: Option<(u32, u8, Vec<u8>)>,
}

impl Connection {
    /// Begins to connect. Calls can be made once the peer has said its settings.
    pub(crate) fn open(address: SocketAddr, headers: Headers) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        let mut output = frame::PREFACE.to_vec();
        frame::write_settings(&mut output);
        let more = frame::MAX_WINDOW - 65_535;
        frame::write(&mut output, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        Ok(Self {
            socket,
            input: vec![0; PIECE],
            filled: 0,
            output,
            written: 0,
            decoder: Decoder::new(),
            headers,
            told_headers: false,
            indexed: true,
            settled: false,
            leaving: false,
            next: 1,
            first: 1,
            streams: VecDeque::new(),
            open: 0,
            window: frame::DEFAULT_WINDOW,
            initial_window: frame::DEFAULT_WINDOW,
            max_frame: frame::MAX_PAYLOAD,
            max_streams: usize::MAX,
            received: 0,
            block: None,
        })
    }

    /// How many calls are under way.
    pub(crate) const fn open_calls(&self) -> usize {
        self.open
    }

    /// Whether the peer has said its settings.
    pub(crate) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Takes what the peer sent, and tells `calls` of it.
    pub(crate) fn receive(&mut self, calls: &mut impl Calls) -> Result<(), ConnectionError> {
        loop {
            // A frame is shorter than the buffer, and what was whole was taken: there is room.
            let space = self.input.get_mut(self.filled..).unwrap_or_default();
            let room = space.len();
            let got = match self.socket.read(space) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_early(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.filled += got;
            self.take_frames(calls)?;
            // Less than asked for is all that there was.
            if got < room {
                return Ok(());
            }
        }
    }

    fn take_frames(&mut self, calls: &mut impl Calls) -> Result<(), ConnectionError> {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        loop {
            match frame::read(input.get(at..self.filled).unwrap_or_default()) {
                frame::Read::More => break,
                frame::Read::TooLong(length) => return Err(ConnectionError::Frame(length)),
                frame::Read::Frame(frame, length) => {
                    self.take(&frame, calls)?;
                    at += length;
                }
            }
        }
        input.copy_within(at..self.filled, 0);
        self.filled -= at;
        self.input = input;
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, calls: &mut impl Calls) -> Result<(), ConnectionError> {
        let broken = ConnectionError::Protocol;
        if self.block.is_some() && frame.kind != frame::CONTINUATION {
            return Err(broken("a header block is interrupted"));
        }
        match frame.kind {
            frame::DATA => return self.take_data(frame, calls),
            frame::HEADERS => {
                let block = frame.content().ok_or(broken("headers do not fit their frame"))?;
                if frame.flags & frame::END_HEADERS != 0 {
                    return self.take_headers(frame.stream, frame.flags, block, calls);
                }
                self.block = Some((frame.stream, frame.flags, block.to_vec()));
            }
            frame::CONTINUATION => return self.take_continuation(frame, calls),
            frame::RST_STREAM => {
                let code = frame.number().ok_or(broken("a reset has no code"))?;
                self.close(frame.stream, Some(End::Reset(code)), calls);
            }
            frame::SETTINGS if frame.flags & frame::ACK == 0 => self.take_settings(frame)?,
            frame::PING if frame.flags & frame::ACK == 0 => {
                frame::write(&mut self.output, frame::PING, frame::ACK, 0, frame.payload);
            }
            frame::GOAWAY => {
                let code = frame.payload.get(4..).and_then(|code| code.first_chunk());
                let code = u32::from_be_bytes(*code.ok_or(broken("GOAWAY has no code"))?);
                self.leaving = true;
                if code != 0 {
                    return Err(ConnectionError::Leaving(code));
                }
            }
            frame::WINDOW_UPDATE => {
                let more = frame.number().ok_or(broken("an update has no number"))?;
                let more = i64::from(more & frame::MAX_WINDOW);
                match self.stream_mut(frame.stream) {
                    Some(stream) => stream.window += more,
                    None if frame.stream == 0 => self.window += more,
                    None => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the peer said that it takes no more calls.
    pub(crate) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    fn take_settings(&mut self, frame: &Frame<'_>) -> Result<(), ConnectionError> {
        for (name, value) in frame.settings() {
            let size = usize::try_from(value).unwrap_or(usize::MAX);
            match name {
                frame::TABLE_SIZE => self.indexed &= size >= self.headers.table,
                frame::MAX_STREAMS => self.max_streams = size,
                frame::MAX_FRAME => self.max_frame = size.max(frame::MAX_PAYLOAD),
                frame::INITIAL_WINDOW if value > frame::MAX_WINDOW => {
                    return Err(ConnectionError::Protocol("a window is too large"));
                }
                frame::INITIAL_WINDOW => {
                    let change = i64::from(value) - self.initial_window;
                    self.initial_window = i64::from(value);
                    self.streams.iter_mut().flatten().for_each(|s| s.window += change);
                }
                _ => {}
            }
        }
        self.settled = true;
        frame::write(&mut self.output, frame::SETTINGS, frame::ACK, 0, &[]);
        Ok(())
    }

    fn take_continuation(
        &mut self,
        frame: &Frame<'_>,
        calls: &mut impl Calls,
    ) -> Result<(), ConnectionError> {
        let Some((stream, flags, mut block)) = self.block.take() else {
            return Err(ConnectionError::Protocol("a header block continues that did not begin"));
        };
        if stream != frame.stream || block.len() + frame.payload.len() > MAX_BLOCK {
            return Err(ConnectionError::Protocol("a header block is too long, or interrupted"));
        }
        block.extend_from_slice(frame.payload);
        if frame.flags & frame::END_HEADERS != 0 {
            return self.take_headers(stream, flags, &block, calls);
        }
        self.block = Some((stream, flags, block));
        Ok(())
    }

    fn take_headers(
        &mut self,
        id: u32,
        flags: u8,
        block: &[u8],
        calls: &mut impl Calls,
    ) -> Result<(), ConnectionError> {
        let (mut http, mut grpc) = (None, None);
        self.decoder.read(block, |field| match field {
            Field::Status(status) => http = Some(status),
            Field::Grpc(status) => grpc = Some(status),
            Field::Other => {}
        })?;
        if let Some(stream) = self.stream_mut(id) {
            stream.http_ok |= http == Some(200);
            stream.status = grpc.or(stream.status);
        }
        if flags & frame::END_STREAM != 0 {
            self.close(id, None, calls);
        }
        Ok(())
    }

    fn take_data(
        &mut self,
        frame: &Frame<'_>,
        calls: &mut impl Calls,
    ) -> Result<(), ConnectionError> {
        let length = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
        self.received += length;
        if self.received >= REPLENISH {
            let taken = self.received.to_be_bytes();
            frame::write(&mut self.output, frame::WINDOW_UPDATE, 0, 0, &taken);
            self.received = 0;
        }
        let content = frame.content().ok_or(ConnectionError::Protocol("data does not fit"))?;
        let mut taken = None;
        if let Some(stream) = self.stream_mut(frame.stream) {
            stream.received += length;
            if stream.received >= REPLENISH {
                taken = Some(std::mem::take(&mut stream.received));
            }
            stream.take_data(content, calls)?;
        }
        if let Some(taken) = taken {
            let taken = taken.to_be_bytes();
            frame::write(&mut self.output, frame::WINDOW_UPDATE, 0, frame.stream, &taken);
        }
        if frame.flags & frame::END_STREAM != 0 {
            self.close(frame.stream, None, calls);
        }
        Ok(())
    }

    /// The stream is over; without an `end` by what its trailers said.
    fn close(&mut self, id: u32, end: Option<End>, calls: &mut impl Calls) {
        let place = self.place(id).and_then(|place| self.streams.get_mut(place));
        let Some(stream) = place.and_then(Option::take) else {
            return;
        };
        self.open -= 1;
        while let Some(None) = self.streams.front() {
            self.streams.pop_front();
            self.first += 2;
        }
        calls.end(stream.tag, end.unwrap_or_else(|| stream.end()));
    }

    fn place(&self, id: u32) -> Option<usize> {
        let after = id.checked_sub(self.first)?;
        usize::try_from(after / 2).ok().filter(|_| after % 2 == 0)
    }

    fn stream(&self, id: u32) -> Option<&Stream> {
        self.streams.get(self.place(id)?)?.as_ref()
    }

    fn stream_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id)?;
        self.streams.get_mut(place)?.as_mut()
    }
}

/// Whether an error of a socket says no more than that one must wait. Until it is connected, writing
/// fails so.
fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
