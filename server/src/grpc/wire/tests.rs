//! What the generated code writes is read, and what is written it reads.

use std::time::Duration;

use bytes::Bytes;
use portcullis_core::image::Digest;
use portcullis_proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use time::macros::datetime;
use tonic::Code;

use super::frames::MAX_KEPT;
use super::read::Value;
use super::*;
use crate::grpc::MAX_REQUEST;

fn frame(flag: u8, length: u32, message: &[u8]) -> Bytes {
    let mut frame = vec![flag];
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    frame.into()
}

#[test]
fn t132_a_message_one_byte_past_its_bound_is_refused_by_its_header() {
    let of = |length: usize| {
        let mut frames = Frames::default();
        frames.push(frame(0, u32::try_from(length).unwrap(), &[]));
        frames.next()
    };
    assert!(of(MAX_REQUEST).unwrap().is_none());
    assert_eq!(of(MAX_REQUEST + 1).unwrap_err().code(), Code::ResourceExhausted);
    // What is only stated is not allocated.
    assert_eq!(of(u32::MAX as usize).unwrap_err().code(), Code::ResourceExhausted);
}

#[test]
fn t132_a_compressed_message_is_refused() {
    for flag in [1, 2, 0xff] {
        let mut frames = Frames::default();
        frames.push(frame(flag, 1, b"x"));
        assert_eq!(frames.next().unwrap_err().code(), Code::Internal, "{flag}");
    }
}

#[test]
fn messages_are_found_however_they_are_cut() {
    let messages: Vec<Vec<u8>> = vec![vec![], vec![1], vec![2; 300], vec![], vec![3; 70]];
    let mut stream = Vec::new();
    for message in &messages {
        stream.extend(frame(0, u32::try_from(message.len()).unwrap(), message));
    }
    for size in 1..=stream.len() {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in stream.chunks(size) {
            frames.push(Bytes::copy_from_slice(piece));
            frames.push(Bytes::new());
            while let Some(message) = frames.next().unwrap() {
                found.push(message.to_vec());
            }
        }
        assert_eq!(found, messages, "in pieces of {size}");
        assert!(frames.is_empty(), "in pieces of {size}");
    }
}

#[test]
fn a_long_message_leaves_no_room_behind() {
    for length in [MAX_KEPT, MAX_KEPT + 1] {
        let mut stream = frame(0, u32::try_from(length).unwrap(), &vec![7; length]).to_vec();
        // And what the next one begins with.
        stream.push(0);
        let mut frames = Frames::default();
        for piece in stream.chunks(16 * 1024) {
            frames.push(Bytes::copy_from_slice(piece));
        }
        let message = frames.next().unwrap().unwrap();
        assert_eq!(message, vec![7; length]);
        assert_eq!(message.is_unique(), length > MAX_KEPT);
        assert_eq!(frames.len(), 1);
        frames.push(Bytes::from_static(&[0, 0, 0, 1, 9]));
        assert_eq!(frames.next().unwrap().unwrap(), [9][..]);
        assert!(frames.is_empty());
    }
}

#[test]
fn a_nested_message_of_any_length_is_read_by_the_generated_code() {
    for length in [0, 1, 126, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
        let name = "x".repeat(length);
        let (mut message, mut long) = (Vec::new(), Vec::new());
        let mut to = Writer::new(&mut message);
        to.message(2, |to| {
            to.text(1, "before");
            to.message(7, |to| to.text(1, &name));
            to.text(2, "after");
        });
        to.number(1, 300);
        let mut to = Writer::new(&mut long);
        to.long_message(2, |to| {
            to.text(1, "before");
            to.long_message(7, |to| to.text(1, &name));
            to.text(2, "after");
        });
        to.number(1, 300);
        assert_eq!(long, message, "{length}");
        let read = v1::CheckResponse::decode(&*message).unwrap();
        assert_eq!(read.action, 300);
        let [decision] = read.decisions.as_slice() else { panic!("{length}") };
        assert_eq!((&*decision.container, &*decision.image), ("before", "after"));
        assert_eq!(decision.violations[0].rule, name);
    }
}

#[test]
fn times_spans_digests_and_texts_are_read_by_the_generated_code() {
    let digest = Digest::of(b"x");
    let mut message = Vec::new();
    let mut to = Writer::new(&mut message);
    to.timestamp(4, datetime!(1969-12-31 23:59:59.75 UTC));
    to.duration(5, Duration::from_millis(1_500));
    to.element(6, "");
    to.message(2, |to| {
        to.digest(3, Some(digest));
        to.display(6, &format_args!("{} {}", 1, 2));
    });
    let read = v1::CheckResponse::decode(&*message).unwrap();
    let at = prost_types::Timestamp { seconds: -1, nanos: 750_000_000 };
    assert_eq!(read.evaluated_at, Some(at));
    assert_eq!(read.max_age, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
    assert_eq!(read.vary, [""]);
    assert_eq!(read.decisions[0].digest, digest.to_string());
    assert_eq!(read.decisions[0].message, "1 2");
}

#[test]
fn what_a_thread_writes_is_framed_and_what_is_written_within_it_too() {
    let inner = framed(|to| to.text(1, "inner"));
    let outer = framed(|to| {
        assert_eq!(framed(|to| to.text(1, "inner")), inner);
        to.text(1, "outer");
    });
    let mut frames = Frames::default();
    frames.push(outer);
    let message = frames.next().unwrap().unwrap();
    assert_eq!(v1::Container::decode(message).unwrap().name, "outer");
}

/// Reads everything that is a message within it, too, as a reader of the contract might.
fn read_all(message: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(message);
    while let Some((_, value)) = reader.next()? {
        if let (Value::Bytes(_), 0..4) = (value, depth) {
            // Not all bytes are messages.
            let _ = read_all(value.bytes()?, depth + 1);
        }
    }
    Ok(())
}

/// The texts of a message that has `message` as a field, as far as it can be read; the second as they are
/// read where all of it may be text.
fn read_texts(message: &[u8]) -> [Vec<Result<(u32, String), Malformed>>; 2] {
    let mut outer = Vec::new();
    Writer::new(&mut outer).element(2, &"x".repeat(message.len()));
    let start = outer.len() - message.len();
    outer[start..].copy_from_slice(message);
    let (_, value) = Reader::new(&outer).next().unwrap().unwrap();
    [value.message(), value.texts()].map(|reader| {
        let (mut reader, mut read) = (reader.unwrap(), Vec::new());
        loop {
            match reader.next() {
                Ok(None) => return read,
                Ok(Some((field, value))) => {
                    // And what is a message in it.
                    if let Ok(Some((field, value))) = value.message().and_then(|mut m| m.next()) {
                        read.push(value.text().map(|text| (field, text.to_owned())));
                    }
                    read.push(value.text().map(|text| (field, text.to_owned())));
                }
                Err(error) => {
                    read.push(Err(error));
                    return read;
                }
            }
        }
    })
}

#[test]
fn a_text_that_is_cut_within_a_character_is_none() {
    // As a whole it is one.
    let [plain, texts] = read_texts(b"\x0a\x01\xc3\x0a\x01a");
    assert_eq!(plain, [Err(Malformed::Text), Ok((1, "a".to_owned()))]);
    assert_eq!(texts, plain);
    let [plain, texts] = read_texts("\u{a}\u{1}é".as_bytes());
    assert_eq!(plain.first(), Some(&Err(Malformed::Text)));
    assert_eq!(texts, plain);
    let [plain, texts] = read_texts("\u{a}\u{2}é\u{12}\u{3}abc".as_bytes());
    assert_eq!(plain, [Ok((1, "é".to_owned())), Ok((2, "abc".to_owned()))]);
    assert_eq!(texts, plain);
}

proptest! {
    #[test]
    fn what_may_be_text_as_a_whole_is_read_as_any_other(
        bytes in prop_oneof![
            prop::collection::vec(
                prop::sample::select(vec!['\n', '\u{12}', '\u{1}', '\u{2}', '\u{3}', 'a', 'é', '€']),
                0..40,
            )
            .prop_map(|text| text.into_iter().collect::<String>().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..60),
        ],
    ) {
        let [plain, texts] = read_texts(&bytes);
        prop_assert_eq!(plain, texts);
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_and_nothing_breaks(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        // A message without fields reads the same as ours: everything is unknown to it.
        prop_assert_eq!(read_all(&bytes, 0).is_ok(), <() as prost::Message>::decode(&*bytes).is_ok());
    }
}
