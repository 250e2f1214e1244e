//! Connections whose clients say little, or are told to go.

use std::convert::Infallible;
use std::future::{Pending, pending};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::listen::http2::{Http2, Received};
use crate::listen::wire::Wire;

const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NO_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const AGE: Duration = Duration::from_secs(600);
/// A request on the first stream, which is never answered.
const REQUEST: &[u8] = &[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84];
const GOAWAY: u8 = 7;
const PING: u8 = 6;

/// The other end of a connection that lives for [`AGE`], and how it ends.
fn connect(stop: &CancellationToken) -> (DuplexStream, JoinHandle<End>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    type Never = Pending<Result<Response<Empty<Bytes>>, Infallible>>;
    let never = hyper::service::service_fn(|_: Request<Received>| -> Never { pending() });
    let wire = Wire::new(ours);
    let heard = wire.clone();
    let connection = Http2::new(wire, never, Arc::default());
    let connection = Connection::with_preface(connection, AGE, move || heard.heard());
    let stop = stop.clone();
    (theirs, tokio::spawn(async move { connection.serve(&stop).await }))
}

/// The type of the next frame; pings are answered.
async fn next(client: &mut DuplexStream) -> Option<u8> {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    client.read_exact(&mut payload).await.ok()?;
    if head[3] == PING && head[4] == 0 {
        head[4] = 1;
        client.write_all(&head).await.ok()?;
        client.write_all(&payload).await.ok()?;
    }
    Some(head[3])
}

#[track_caller]
fn assert_about(begun: Instant, expected: Duration) {
    let off = begun.elapsed().abs_diff(expected);
    assert!(off < Duration::from_secs(1), "{:?}, not {expected:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn t130_a_connection_that_says_nothing_is_closed() {
    for said in [&b""[..], b"P", &HELLO[..23]] {
        let begun = Instant::now();
        let (mut client, ended) = connect(&CancellationToken::new());
        client.write_all(said).await.unwrap();
        assert_eq!(ended.await.unwrap(), End::Silent);
        assert_about(begun, HANDSHAKE_TIMEOUT);
    }
}

#[tokio::test(start_paused = true)]
async fn t130_what_is_no_http2_is_closed_at_once() {
    // A ClientHello of TLS, and a request of HTTP/1.1.
    for said in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let begun = Instant::now();
        let (mut client, ended) = connect(&CancellationToken::new());
        client.write_all(said).await.unwrap();
        assert_eq!(ended.await.unwrap(), End::Broken);
        assert_about(begun, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn t139_the_client_of_an_old_connection_is_told_first() {
    let begun = Instant::now();
    let (mut client, ended) = connect(&CancellationToken::new());
    client.write_all(HELLO).await.unwrap();
    client.write_all(NO_SETTINGS).await.unwrap();
    let mut told = 0;
    while let Some(kind) = next(&mut client).await {
        told += usize::from(kind == GOAWAY);
    }
    assert_eq!(ended.await.unwrap(), End::Closed);
    assert_about(begun, AGE);
    // First that it ends, then what was the last request that counts.
    assert_eq!(told, 2);
}

/// A client that asks, answers pings and waits.
async fn wait(mut client: DuplexStream) {
    for said in [HELLO, NO_SETTINGS, REQUEST] {
        client.write_all(said).await.unwrap();
    }
    while next(&mut client).await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn t139_an_old_connection_that_does_not_end_is_cut() {
    let begun = Instant::now();
    let (client, ended) = connect(&CancellationToken::new());
    tokio::spawn(wait(client));
    assert_eq!(ended.await.unwrap(), End::Overdue);
    assert_about(begun, AGE + GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_service_waits_less_for_an_old_connection() {
    let stop = CancellationToken::new();
    let (client, ended) = connect(&stop);
    tokio::spawn(wait(client));
    tokio::time::sleep(AGE + Duration::from_secs(5)).await;
    let begun = Instant::now();
    stop.cancel();
    assert_eq!(ended.await.unwrap(), End::Overdue);
    assert_about(begun, DRAIN);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_pings_is_gone() {
    let begun = Instant::now();
    let (mut client, ended) = connect(&CancellationToken::new());
    client.write_all(HELLO).await.unwrap();
    client.write_all(NO_SETTINGS).await.unwrap();
    // That it is quiet is known after 30 to 40 s; then it is asked, and has 10 s.
    assert_eq!(ended.await.unwrap(), End::Broken);
    assert_about(begun, Duration::from_secs(50));
}

#[test]
fn connections_do_not_all_end_together() {
    let lifetimes = Lifetime::about(AGE);
    let lives: Vec<_> = (0..100).map(|_| lifetimes.one()).collect();
    assert!(lives.iter().all(|life| (AGE * 9 / 10..=AGE * 11 / 10).contains(life)), "{lives:?}");
    let distinct = lives.iter().collect::<std::collections::BTreeSet<_>>();
    assert!(distinct.len() > 50, "{lives:?}");
}

#[tokio::test]
async fn t141_a_connection_that_panics_ends_alone_and_is_counted() {
    let metrics = Metrics::new();
    let ended: End = caught(async { panic!("of a test") }, &metrics).await;
    assert_eq!(ended, End::Broken);
    assert_eq!(caught(async { End::Closed }, &metrics).await, End::Closed);
    let text = metrics.encode().unwrap();
    assert!(text.contains("portcullis_panics_total{what=\"connection\"} 1"), "{text}");
}
