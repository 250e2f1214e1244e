//! Fields in, the bytes of a protobuf message out, in one pass.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use portcullis_core::image::Digest;
use time::OffsetDateTime;

use super::HEADER;

/// The room that a thread keeps for the next message, in bytes: what was written past it is given back.
const MAX_KEPT: usize = 64 * 1024;
/// The bytes that say the length of a message of less than 128 bytes, as most are.
const SHORT: usize = 1;
/// Those of one of less than 16 KiB.
const LONG: usize = 2;
/// The most bytes of a number.
const MAX_VARINT: usize = 10;

thread_local! {
    /// Where messages are written before it is known how long they are.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The message that `write` writes, with the five bytes before it: one allocation, of its length.
pub(in crate::grpc) fn framed(write: impl FnOnce(&mut Writer<'_>)) -> Bytes {
    let own = |room: &mut Vec<u8>| {
        room.clear();
        Writer::new(room).frame(write);
        let message = Bytes::copy_from_slice(room);
        if room.capacity() > MAX_KEPT {
            *room = Vec::new();
        }
        message
    };
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut room) => own(&mut room),
        // Only where what is written writes a message of its own.
        Err(_taken) => own(&mut Vec::new()),
    })
}

/// Writes messages, one after the other, to the end of a buffer. A field with its default value is left
/// out, as proto3 has it.
#[derive(Debug)]
pub(in crate::grpc) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(in crate::grpc) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A message with the five bytes before it.
    pub(in crate::grpc) fn frame(&mut self, write: impl FnOnce(&mut Self)) {
        let begin = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        write(self);
        let length = self.out.len() - begin - HEADER;
        // No answer comes near the 4 GiB that a header can say.
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        if let Some((_, place)) =
            self.out.get_mut(begin..).and_then(|message| message.split_first_mut())
            && let Some(place) = place.first_chunk_mut::<4>()
        {
            *place = length;
        }
    }

    #[inline]
    pub(in crate::grpc) fn number(&mut self, field: u32, number: u64) {
        if number != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(number);
        }
    }

    pub(in crate::grpc) fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.element(field, text);
        }
    }

    /// One text of several, which may be empty.
    pub(in crate::grpc) fn element(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.begin(field);
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// A text as it is displayed.
    pub(in crate::grpc) fn display(&mut self, field: u32, text: &dyn fmt::Display) {
        self.nested(field, |writer| {
            // A vector takes whatever is written.
            let _ = fmt::Write::write_fmt(writer, format_args!("{text}"));
        });
    }

    /// `sha256:…`, if there is a digest.
    pub(in crate::grpc) fn digest(&mut self, field: u32, digest: Option<Digest>) {
        const PREFIX: &[u8] = b"sha256:";
        let Some(digest) = digest else { return };
        self.begin(field);
        self.varint((PREFIX.len() + 64) as u64);
        self.out.extend_from_slice(PREFIX);
        self.out.extend_from_slice(&digest.hex_digits());
    }

    /// A `google.protobuf.Timestamp`.
    pub(in crate::grpc) fn timestamp(&mut self, field: u32, at: OffsetDateTime) {
        self.message(field, |writer| {
            writer.number(1, at.unix_timestamp().cast_unsigned());
            writer.number(2, at.nanosecond().into());
        });
    }

    /// A `google.protobuf.Duration`.
    pub(in crate::grpc) fn duration(&mut self, field: u32, span: std::time::Duration) {
        self.message(field, |writer| {
            writer.number(1, span.as_secs());
            writer.number(2, span.subsec_nanos().into());
        });
    }

    /// A message in this one, which is there even if it is empty.
    pub(in crate::grpc) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.nested(field, write);
    }

    /// The same for one that has 128 bytes or more, as a rule.
    pub(in crate::grpc) fn long_message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.nested_in(field, LONG, write);
    }

    /// A message in this one that the generated code writes: what is rare.
    pub(in crate::grpc) fn generated(&mut self, field: u32, message: &impl prost::Message) {
        self.begin(field);
        self.varint(message.encoded_len() as u64);
        // A vector takes whatever is written.
        let _ = message.encode(self.out);
    }

    /// Numbers, packed. There are none if `numbers` has none.
    pub(in crate::grpc) fn packed(
        &mut self,
        field: u32,
        numbers: impl ExactSizeIterator<Item = u64>,
    ) {
        if numbers.len() > 0 {
            self.nested(field, |writer| numbers.for_each(|number| writer.varint(number)));
        }
    }

    fn nested(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.nested_in(field, SHORT, write);
    }

    /// A message whose length takes `room` bytes stays where it is written; others are moved.
    fn nested_in(&mut self, field: u32, room: usize, write: impl FnOnce(&mut Self)) {
        self.begin(field);
        let place = self.out.len();
        self.out.resize(place + room, 0);
        write(self);
        let end = self.out.len();
        let length = end - place - room;
        let size = varint_len(length);
        if size > room {
            self.out.resize(end + size - room, 0);
        }
        if size != room {
            self.out.copy_within(place + room..end, place + size);
            self.out.truncate(place + size + length);
        }
        let mut left = length;
        for (at, byte) in self.out.iter_mut().skip(place).take(size).enumerate() {
            let [low, ..] = left.to_le_bytes();
            *byte = if at + 1 == size { low & 0x7f } else { low | 0x80 };
            left >>= 7;
        }
    }

    /// Fields that are there already, as some other writer wrote them.
    pub(in crate::grpc) fn written(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    /// Room for so many bytes more, so that a long message does not grow in steps.
    pub(in crate::grpc) fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    #[inline]
    fn begin(&mut self, field: u32) {
        self.varint(u64::from(field) << 3 | 2);
    }

    #[inline]
    fn varint(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(byte @ 0..0x80) => self.out.push(byte),
            _ => self.long_varint(number),
        }
    }

    /// The same for one of several bytes, which are put together first.
    fn long_varint(&mut self, mut number: u64) {
        let (mut bytes, mut length) = ([0; MAX_VARINT], 0);
        for byte in &mut bytes {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            length += 1;
            if number == 0 {
                *byte = low;
                break;
            }
            *byte = low | 0x80;
        }
        self.out.extend_from_slice(bytes.get(..length).unwrap_or(&bytes));
    }
}

/// How many bytes a number takes.
fn varint_len(number: usize) -> usize {
    (number.checked_ilog2().unwrap_or(0) / 7 + 1) as usize
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
