//! DATA in, messages out.

use bytes::{Buf as _, Bytes, BytesMut};
use tonic::Status;

use super::HEADER;
use crate::grpc::{MAX_REQUEST, status};

/// The longest message, in bytes, that leaves its room to those after it.
pub(super) const MAX_KEPT: usize = 32 * 1024;

/// Cuts what arrives into messages. What is there whole is not copied, and nothing is allocated by a
/// length that a caller only states.
#[derive(Debug, Default)]
pub(in crate::grpc) struct Frames {
    /// What arrived last. Empty where there is something in `part`.
    last: Bytes,
    /// What arrived in pieces: at most one message of [`MAX_REQUEST`] bytes, and what came with its end.
    part: BytesMut,
}

impl Frames {
    /// Takes what arrived.
    pub(in crate::grpc) fn push(&mut self, data: Bytes) {
        if self.is_empty() {
            self.last = data;
            return;
        }
        self.part.extend_from_slice(&std::mem::take(&mut self.last));
        self.part.extend_from_slice(&data);
    }

    /// Lets go of what was read together with what is kept.
    pub(in crate::grpc) fn settle(&mut self) {
        self.part.extend_from_slice(&std::mem::take(&mut self.last));
    }

    /// How many bytes arrived that no message was cut from.
    pub(in crate::grpc) fn len(&self) -> usize {
        self.last.len() + self.part.len()
    }

    /// Whether nothing is left, not even a part of a message.
    pub(in crate::grpc) fn is_empty(&self) -> bool {
        self.last.is_empty() && self.part.is_empty()
    }

    /// The next message, if all of it arrived.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED for one of more than [`MAX_REQUEST`] bytes, as soon as it says so; INTERNAL
    /// for one that is compressed, which no encoding was stated for.
    pub(in crate::grpc) fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let arrived = if self.part.is_empty() { self.last.as_ref() } else { self.part.as_ref() };
        let Some((header, rest)) = arrived.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [flag, length @ ..] = *header;
        if flag != 0 {
            return Err(status::compressed(flag));
        }
        let length = u32::from_be_bytes(length);
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= MAX_REQUEST)
        else {
            return Err(status::too_large(length));
        };
        if rest.len() < length {
            return Ok(None);
        }
        if self.part.is_empty() {
            self.last.advance(HEADER);
            return Ok(Some(self.last.split_to(length)));
        }
        self.part.advance(HEADER);
        let message = self.part.split_to(length).freeze();
        if length > MAX_KEPT {
            // Its room goes with it: whoever asks next may not do so for long.
            self.last = Bytes::copy_from_slice(&std::mem::take(&mut self.part));
        }
        Ok(Some(message))
    }
}
