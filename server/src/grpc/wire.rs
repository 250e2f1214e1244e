//! Bytes of HTTP/2 in, messages of gRPC out, and back; protobuf by hand where every admission passes.
//!
//! A message is five bytes, a flag and a length, and then itself ("gRPC over HTTP/2").

mod frames;
mod read;
mod write;

pub(super) use self::frames::Frames;
pub(super) use self::read::{Malformed, Reader};
pub(super) use self::write::{Writer, framed};

/// The flag and the length before each message.
const HEADER: usize = 5;

#[cfg(test)]
mod tests;
