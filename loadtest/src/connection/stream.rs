//! The body and trailers of one call in, its messages and its end out.

use super::ConnectionError;

/// The longest message that is received, in bytes; that of gRPC's libraries.
pub(super) const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// The length of what is before each message: a flag and a length.
pub(super) const PREFIX: usize = 5;
/// The status of gRPC where a reply has none.
const UNKNOWN: u16 = 2;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A message and trailers with status 0.
    Answered,
    /// Trailers with another status, or with 0 but without a message.
    Refused(u16),
    /// The peer took the stream away, with this code.
    Reset(u32),
}

/// Who is told what became of calls. `tag` is what the call was begun with.
pub(crate) trait Calls {
    /// A whole message came.
    fn message(&mut self, tag: u64, message: &[u8]);
    /// The call is over.
    fn end(&mut self, tag: u64, end: End);
}

/// One call.
pub(super) struct Stream {
    pub(super) tag: u64,
    pub(super) window: i64,
    pub(super) received: u32,
    pub(super) messages: u64,
    pub(super) status: Option<u16>,
    pub(super) http_ok: bool,
    pub(super) partial: Vec<u8>,
}

impl Stream {
    pub(super) const fn new(tag: u64, window: i64) -> Self {
        Self {
            tag,
            window,
            received: 0,
            messages: 0,
            status: None,
            http_ok: false,
            partial: Vec::new(),
        }
    }

    /// How it ended, by its trailers.
    pub(super) fn end(&self) -> End {
        match self.status {
            Some(0) if self.http_ok && self.messages > 0 && self.partial.is_empty() => {
                End::Answered
            }
            Some(status) if status != 0 => End::Refused(status),
            _ => End::Refused(UNKNOWN),
        }
    }

    /// Takes a piece of the body, and gives each message that is whole to `calls`.
    pub(super) fn take_data(
        &mut self,
        data: &[u8],
        calls: &mut impl Calls,
    ) -> Result<(), ConnectionError> {
        if self.partial.is_empty() {
            let rest = self.take_messages(data, calls)?;
            self.partial.extend_from_slice(rest);
            return Ok(());
        }
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(data);
        let rest = self.take_messages(&partial, calls)?.len();
        partial.drain(..partial.len() - rest);
        self.partial = partial;
        Ok(())
    }

    /// Gives each whole message to `calls`, and what is left back.
    fn take_messages<'a>(
        &mut self,
        mut data: &'a [u8],
        calls: &mut impl Calls,
    ) -> Result<&'a [u8], ConnectionError> {
        while let Some(([_, length @ ..], rest)) = data.split_first_chunk::<PREFIX>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > MAX_MESSAGE {
                return Err(ConnectionError::TooLong(length));
            }
            let Some((message, rest)) = rest.split_at_checked(length) else {
                break;
            };
            self.messages += 1;
            calls.message(self.tag, message);
            data = rest;
        }
        Ok(data)
    }
}
