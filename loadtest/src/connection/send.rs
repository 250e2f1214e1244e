//! Messages in, frames on the socket out, within the windows that the peer gave.

use std::io::{self, Write as _};

use super::stream::{PREFIX, Stream};
use super::{Connection, ConnectionError, is_early};
use crate::frame;

/// The largest identifier of a stream.
const LAST_STREAM: u32 = 0x7fff_ffff;

impl Connection {
    /// Whether a call with a message of `length` bytes can be begun now.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        let length = i64::try_from(length + PREFIX).unwrap_or(i64::MAX);
        self.settled
            && !self.leaving
            && self.open < self.max_streams
            && self.next < LAST_STREAM
            && length <= self.window
            && length <= self.initial_window
    }

    /// Begins a call with one message, and ends our side of it: the caller has asked
    /// [`Self::has_room`].
    /// Where the call has waited, so many milliseconds of its time are `left`.
    pub(crate) fn call(&mut self, tag: u64, message: &[u8], left: Option<u64>) {
        let stream = self.begin(tag, left);
        self.send(stream, message, frame::END_STREAM);
    }

    /// Begins a call that has many messages, and gives its stream.
    pub(crate) fn begin(&mut self, tag: u64, left: Option<u64>) -> u32 {
        let stream = self.next;
        self.next += 2;
        let hurried;
        let block = match (self.indexed, self.told_headers, left) {
            (false, _, _) => &self.headers.plain,
            (true, false, _) => &self.headers.first,
            (true, true, None) => &self.headers.later,
            (true, true, Some(left)) => {
                hurried = self.headers.hurried(left);
                &hurried
            }
        };
        self.told_headers = true;
        frame::write(&mut self.output, frame::HEADERS, frame::END_HEADERS, stream, block);
        self.streams.push_back(Some(Stream::new(tag, self.initial_window)));
        self.open += 1;
        stream
    }

    /// Whether a message of `length` bytes can be sent on an open stream now.
    pub(crate) fn can_send(&self, stream: u32, length: usize) -> bool {
        let length = i64::try_from(length + PREFIX).unwrap_or(i64::MAX);
        length <= self.window && self.stream(stream).is_some_and(|s| length <= s.window)
    }

    /// Sends a message on a stream: the caller has asked [`Self::can_send`].
    pub(crate) fn send(&mut self, stream: u32, message: &[u8], flags: u8) {
        let length = message.len() + PREFIX;
        let spent = i64::try_from(length).unwrap_or(i64::MAX);
        self.window -= spent;
        if let Some(stream) = self.stream_mut(stream) {
            stream.window -= spent;
        }
        let [a, b, c, d] = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        let prefix = [0, a, b, c, d];
        let first = message.len().min(self.max_frame.saturating_sub(PREFIX));
        let (piece, mut rest) = message.split_at(first);
        let last = |rest: &[u8]| if rest.is_empty() { flags } else { 0 };
        frame::head(&mut self.output, frame::DATA, last(rest), stream, piece.len() + PREFIX);
        self.output.extend_from_slice(&prefix);
        self.output.extend_from_slice(piece);
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(rest.len().min(self.max_frame));
            frame::write(&mut self.output, frame::DATA, last(tail), stream, piece);
            rest = tail;
        }
    }

    /// Sends what waits, as far as the system takes it.
    pub(crate) fn flush(&mut self) -> Result<(), ConnectionError> {
        while let Some(waiting) = self.output.get(self.written..).filter(|w| !w.is_empty()) {
            match self.socket.write(waiting) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_early(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}
