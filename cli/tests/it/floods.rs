//! Clients that mean harm, with real frames: each ends or is held in bounds, and others are served.
//!
//! The service is a process of its own, so that its memory is its own.

use std::iter::{once, repeat_n};

use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use tonic::transport::Channel;

use super::frames::*;
use super::world::{Service, World};

/// How much memory a flood may cost the service, in KiB. What it sends is many times as much where it
/// would be kept.
const MAX_GROWTH: u64 = 48 * 1024;
/// The reasons that HTTP/2 gives (RFC 9113, section 7).
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A service, and somebody else who asks it.
struct Scene {
    world: World,
    service: Service,
    runtime: tokio::runtime::Runtime,
    other: DecisionServiceClient<Channel>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let service = world.serve();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let other = runtime.block_on(DecisionServiceClient::connect(service.url())).unwrap();
        let scene = Self { world, service, runtime, other };
        scene.assert_serves();
        scene
    }

    fn address(&self) -> &str {
        self.service.address()
    }

    /// Somebody else gets an answer.
    #[track_caller]
    fn assert_serves(&self) {
        let image = self.world.image("clean").to_owned();
        let container = v1::Container { name: "main".to_owned(), image };
        let request =
            v1::CheckRequest { containers: vec![container], ..v1::CheckRequest::default() };
        let answer = self.runtime.block_on(self.other.clone().check(request)).unwrap();
        assert_eq!(answer.into_inner().decisions.len(), 1);
    }

    /// Floods the service on a connection that begins with `values`. Somebody else is served
    /// meanwhile, and the service's memory stays in bounds.
    #[track_caller]
    fn flood(
        &self,
        values: &[(u16, u32)],
        chunks: impl Iterator<Item = Vec<u8>> + Send + 'static,
    ) -> (Told, usize) {
        let before = self.service.memory();
        let mut wire = Wire::open(self.address(), values);
        let flood = std::thread::spawn(move || {
            let sent = wire.flood(chunks);
            (wire.told, sent)
        });
        let mut most = before;
        loop {
            let over = flood.is_finished();
            self.assert_serves();
            most = most.max(self.service.memory());
            if over {
                break;
            }
        }
        let growth = most.saturating_sub(before);
        assert!(growth < MAX_GROWTH, "memory grew by {growth} KiB");
        flood.join().unwrap()
    }

    /// The same, after which the connection is at an end for the reason `goaway`.
    #[track_caller]
    fn ends(
        &self,
        goaway: u32,
        values: &[(u16, u32)],
        chunks: impl Iterator<Item = Vec<u8>> + Send + 'static,
    ) {
        let (told, sent) = self.flood(values, chunks);
        assert_eq!(told.goaway, Some(goaway), "after {sent} bytes: {told:?}");
        assert!(told.closed, "{told:?}");
    }
}

/// The numbers of a client's streams.
fn streams(count: u32) -> impl Iterator<Item = u32> + Send {
    (0..count).map(|n| 2 * n + 1)
}

fn open_call(stream: u32) -> Vec<u8> {
    let call = call("/portcullis.v1.DecisionService/Check");
    frame(HEADERS, END_HEADERS, stream, &call)
}

#[test]
fn t123_streams_that_are_reset_as_soon_as_they_are_opened_end_the_connection() {
    let cancel = 8_u32.to_be_bytes();
    let pair = move |id| [open_call(id), frame(RST_STREAM, 0, id, &cancel)].concat();
    let scene = Scene::new();
    scene.ends(ENHANCE_YOUR_CALM, &[], streams(200_000).map(pair));
    // The same again, with questions that are whole.
    let pair = move |id| [health(id), frame(RST_STREAM, 0, id, &cancel)].concat();
    let (told, _) = scene.flood(&[], streams(100_000).map(pair));
    assert!(told.closed && told.goaway == Some(ENHANCE_YOUR_CALM), "{told:?}");
}

#[test]
fn t124_streams_that_the_service_must_reset_end_the_connection() {
    let scene = Scene::new();
    // Of no method, and with a header that HTTP/2 forbids.
    let bad = [vec![0x86], field(":path", "/"), field("connection", "close")].concat();
    let bad = move |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &bad);
    scene.ends(ENHANCE_YOUR_CALM, &[(4, 0)], streams(100_000).map(bad));
    // A window that overflows, which is a fault of each stream.
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let over = move |id| [open_call(id), frame(WINDOW_UPDATE, 0, id, &most)].concat();
    scene.ends(ENHANCE_YOUR_CALM, &[], streams(100_000).map(over));
}

#[test]
fn t125_headers_without_end_end_the_connection() {
    let scene = Scene::new();
    for piece in [vec![], field("x", "y"), field("x", &"y".repeat(100))] {
        let begin = frame(HEADERS, 0, 1, &call("/"));
        let more = repeat_n(frame(CONTINUATION, 0, 1, &piece), 1_000_000);
        let (told, sent) = scene.flood(&[], once(begin).chain(more));
        assert!(told.closed, "{told:?} after {sent}");
        assert!(sent < 8 * 1024 * 1024, "{sent}");
    }
}

/// The header block of an answer that says `:status: 431` and no more, as RFC 7541 writes it where the table has
/// nothing of it: the name by its index, the value in Huffman's code.
const TOO_LARGE: [u8; 5] = [0x48, 0x83, 0x69, 0x90, 0xff];

#[test]
fn t126_a_small_header_block_that_grows_is_refused() {
    let scene = Scene::new();
    // An entry of about 4,000 bytes in the table, then references to it of one byte each.
    let long = "v".repeat(3_900);
    let mut entry = vec![0x40, 1, b'x', 0x7f];
    // The length 3,900 as HPACK has it: 127, and the rest in sevens.
    entry.extend([0xbd, 0x1d]);
    entry.extend(long.as_bytes());
    let first = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[call("/"), entry].concat());
    let block = |references| [call("/"), vec![0xbe; references]].concat();
    let more =
        move |id, references| frame(HEADERS, END_HEADERS | END_STREAM, id, &block(references));

    // The entry alone is within the bound, and a call of nothing that there is.
    let mut wire = Wire::open(scene.address(), &[]);
    wire.send(&first);
    wire.read_until(|told| told.count(HEADERS) == 1 || told.closed);
    assert_ne!(wire.told.block, TOO_LARGE);
    // Five times the entry is past the bound of 16 KiB, and no call: its stream hears so, and no other is touched.
    wire.send(&more(3, 5));
    wire.read_until(|told| told.count(HEADERS) == 2 || told.closed);
    assert_eq!(wire.told.block, TOO_LARGE, "{:?}", wire.told);
    wire.send(&[more(5, 1), frame(PING, 0, 0, b"the last")].concat());
    wire.read_until(|told| told.count(PING) > 0 || told.closed);
    assert_eq!((wire.told.count(HEADERS), wire.told.closed), (3, false), "{:?}", wire.told);
    assert_ne!(wire.told.block, TOO_LARGE);

    // A list of 31 MB, were it kept, ends the connection at the first.
    let bombs = streams(2_000).skip(1).map(move |id| more(id, 8_000));
    let (told, sent) = scene.flood(&[], once(first).chain(bombs));
    assert_eq!(
        (told.goaway, told.closed),
        (Some(ENHANCE_YOUR_CALM), true),
        "{told:?} after {sent}"
    );
    // The call before it may be answered by then; nothing else is.
    assert!(told.count(HEADERS) <= 1 && told.count(DATA) == 0, "{told:?} after {sent}");
}

#[test]
fn t126_sizes_of_the_header_table_that_change_for_ever_are_refused_or_borne() {
    let scene = Scene::new();
    let sizes = [[0x20, 0x3f, 0xe1, 0x1f].repeat(4_000), call("/")].concat();
    let sizes = streams(2_000).map(move |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &sizes));
    let (told, _) = scene.flood(&[], sizes);
    // It is cut off where it opens more streams than there may be, time and again.
    assert!(told.closed || told.count(PING) > 0, "{told:?}");
}

#[test]
fn t127_frames_without_data_end_the_connection() {
    let scene = Scene::new();
    let empty = repeat_n(frame(DATA, 0, 1, &[]), 3_000_000);
    scene.ends(ENHANCE_YOUR_CALM, &[], once(open_call(1)).chain(empty));
}

#[test]
fn t127_frames_with_a_byte_of_data_are_borne_in_bounds() {
    let scene = Scene::new();
    // A message of 4 MiB that is sent by single bytes, on each of many streams.
    let begin = |id| [open_call(id), frame(DATA, 0, id, &[0, 0, 64, 0, 0])].concat();
    let bytes = (0..300_000_u32).map(|n| frame(DATA, 0, n % 100 * 2 + 1, &[0]));
    let (told, sent) = scene.flood(&[], streams(100).map(begin).chain(bytes));
    assert!(told.closed || told.count(PING) > 0 || sent < 1024 * 1024, "{told:?} after {sent}");
}

#[test]
fn t127_control_frames_are_borne_in_bounds() {
    let scene = Scene::new();
    let one = 1_u32.to_be_bytes();
    let frames = [
        frame(PING, 0, 0, &[7; 8]),
        settings(&[]),
        settings(&[(1, 4096), (4, 65_535)]),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 7]),
        frame(WINDOW_UPDATE, 0, 0, &one),
        frame(WINDOW_UPDATE, 0, 1, &one),
        // Of a kind that nobody knows.
        frame(0xbb, 0, 0, &[1; 64]),
    ];
    for frame in frames {
        let kind = frame[3];
        let (told, sent) = scene.flood(&[], once(open_call(1)).chain(repeat_n(frame, 500_000)));
        assert!(told.closed || told.count(PING) > 0, "kind {kind}: {told:?} after {sent}");
    }
}

/// A client that asks for much and reads nothing: what waits for it is bounded.
#[test]
fn t127_answers_to_control_frames_do_not_pile_up() {
    let scene = Scene::new();
    let before = scene.service.memory();
    let mut wires = Vec::new();
    for frame in [frame(PING, 0, 0, &[7; 8]), settings(&[(1, 4096)])] {
        let mut wire = Wire::open(scene.address(), &[]);
        let chunk = frame.repeat(1_000);
        let sent = (0..5_000).take_while(|_| wire.send(&chunk)).count();
        // 5,000 times 1,000: at some point it does not read on, and so holds us up.
        assert!(sent < 5_000, "all was taken");
        scene.assert_serves();
        wires.push(wire);
    }
    let growth = scene.service.memory().saturating_sub(before);
    assert!(growth < MAX_GROWTH, "memory grew by {growth} KiB");
}

#[test]
fn t128_faults_of_the_protocol_end_the_connection() {
    let scene = Scene::new();
    let big = (1_u32 << 31) - 1;
    let whole = |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &call("/"));
    let cases: [(&str, Vec<u8>, &[u32]); 15] = [
        ("frames of no size", settings(&[(5, 0)]), &[PROTOCOL_ERROR]),
        ("frames of 2^24", settings(&[(5, 1 << 24)]), &[PROTOCOL_ERROR]),
        ("a window past 2^31", settings(&[(4, 1 << 31)]), &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ("a push that is 2", settings(&[(2, 2)]), &[PROTOCOL_ERROR]),
        ("a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), &[PROTOCOL_ERROR]),
        (
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &big.to_be_bytes()),
            &[FLOW_CONTROL_ERROR],
        ),
        ("a stream that is even", whole(2), &[PROTOCOL_ERROR]),
        (
            "a stream that is taken again",
            [whole(1), whole(1)].concat(),
            &[PROTOCOL_ERROR, STREAM_CLOSED],
        ),
        ("streams that go back", [whole(5), whole(3)].concat(), &[PROTOCOL_ERROR, STREAM_CLOSED]),
        ("data of no stream", frame(DATA, 0, 1, &EMPTY), &[PROTOCOL_ERROR]),
        ("a frame too large", frame(DATA, 0, 1, &[0; 16_385]), &[FRAME_SIZE_ERROR]),
        ("a short ping", frame(PING, 0, 0, &[0; 7]), &[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), &[PROTOCOL_ERROR]),
        (
            "a push by a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            &[PROTOCOL_ERROR],
        ),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &[]), &[PROTOCOL_ERROR]),
    ];
    for (what, bytes, reasons) in cases {
        let mut wire = Wire::open(scene.address(), &[]);
        wire.send(&bytes);
        assert!(wire.closes(), "{what}: {:?}", wire.told);
        let reason = wire.told.goaway;
        assert!(reason.is_some_and(|reason| reasons.contains(&reason)), "{what}: {reason:?}");
        scene.assert_serves();
    }
    // Rubbish of any kind ends it too.
    let mut wire = Wire::open(scene.address(), &[]);
    wire.send(&[0xff; 4096]);
    assert!(wire.closes(), "{:?}", wire.told);
    scene.assert_serves();
}

#[test]
fn t129_answers_that_nobody_reads_are_bounded() {
    let scene = Scene::new();
    let before = scene.service.memory();
    let mut wires = Vec::new();
    for _ in 0..20 {
        // No window at all: nothing of an answer can be sent.
        let mut wire = Wire::open(scene.address(), &[(4, 0)]);
        for id in streams(200) {
            wire.send(&health(id));
        }
        wire.send(&frame(PING, 0, 0, b"the last"));
        wire.read_until(|told| told.count(PING) > 0);
        // One past the bound of streams is refused.
        assert!(wire.told.count(RST_STREAM) >= 200 - 128, "{:?}", wire.told);
        assert_eq!(wire.told.count(DATA), 0);
        scene.assert_serves();
        wires.push(wire);
    }
    let growth = scene.service.memory().saturating_sub(before);
    assert!(growth < MAX_GROWTH, "memory grew by {growth} KiB");
}

#[test]
fn t130_connections_that_say_nothing_are_closed_and_others_served() {
    let scene = Scene::new();
    let before = scene.service.memory();
    let mut silent: Vec<_> = (0..400).map(|_| Wire::silent(scene.address())).collect();
    // A part of a ClientHello, and of the preface.
    silent[0].send(b"\x16\x03\x01\x02\x00\x01");
    silent[1].send(&PREFACE[..20]);
    scene.assert_serves();
    for wire in &mut silent {
        assert!(wire.closes());
    }
    scene.assert_serves();
    let growth = scene.service.memory().saturating_sub(before);
    assert!(growth < MAX_GROWTH, "memory grew by {growth} KiB");
}

#[test]
fn t130_one_connection_past_the_limit_of_a_peer_is_closed_at_once() {
    let world = World::new();
    world.configure("limits: {connectionsPerPeer: 3}\n");
    let service = world.serve();
    let mut open: Vec<_> = (0..3).map(|_| Wire::open(service.address(), &[])).collect();
    for wire in &mut open {
        wire.read_until(|told| told.count(SETTINGS) > 0);
    }
    let mut late = Wire::silent(service.address());
    assert!(late.closes());
    // One that ends makes room.
    drop(open.pop());
    let served = || {
        let mut wire = Wire::open(service.address(), &[]);
        wire.read_until(|told| told.count(SETTINGS) > 0 || told.closed);
        !wire.told.closed
    };
    assert!((0..1_000).any(|_| served()));
}

#[test]
fn t131_a_service_without_file_handles_serves_those_it_has_and_recovers() {
    let world = World::new();
    let service = world.serve_with_handles(96);
    let mut first = Wire::open(service.address(), &[]);
    first.send(&health(1));
    first.read_until(|told| told.count(DATA) > 0);
    // More than there are handles: the system takes them, and the service cannot.
    let many: Vec<_> = (0..200).map(|_| Wire::silent(service.address())).collect();
    for id in streams(100).skip(1) {
        first.send(&health(id));
    }
    first.read_until(|told| told.count(DATA) == 100 || told.closed);
    assert!(!first.told.closed);
    drop(many);
    let mut next = Wire::open(service.address(), &[]);
    next.send(&health(1));
    next.read_until(|told| told.count(DATA) > 0 || told.closed);
    assert_eq!(next.told.count(DATA), 1, "{:?}", next.told);
    drop((first, next));
    let ended = service.end("TERM").ends_with(0);
    assert!(ended.stderr.contains("connections cannot be accepted"), "{}", ended.stderr);
}

#[test]
fn t127_http2_below_is_new_enough_for_floods_of_empty_frames() {
    let lock = include_str!("../../../Cargo.lock");
    let (_, after) = lock.split_once("name = \"h2\"\nversion = \"").unwrap();
    let version: Vec<u32> =
        after.split('"').next().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    // RUSTSEC-2026-0258.
    assert!(version >= vec![0, 4, 16], "{version:?}");
}
