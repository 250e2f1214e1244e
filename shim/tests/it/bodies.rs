//! Bodies that are too long, or do not come.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use portcullis_shim::review::MAX_REVIEW;
use reqwest::Body;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{Answer, Shim, Site, UID, eventually, pod};

/// A review that is so long, with its uid first, as the API server writes it.
fn review(length: usize) -> String {
    let mut review = pod("web", "registry.example/good:v1");
    review["request"].as_object_mut().unwrap().remove("uid");
    review["request"]["object"]["metadata"]["annotations"] = serde_json::json!({"fill": ""});
    let review = review.to_string();
    let first = format!("\"request\":{{\"uid\":\"{UID}\",");
    let review = review.replacen("\"request\":{", &first, 1);
    let fill = format!("\"fill\":\"{}\"", "x".repeat(length - review.len()));
    let review = review.replacen("\"fill\":\"\"", &fill, 1);
    assert_eq!(review.len(), length);
    review
}

/// The same in parts, of which nobody knows how many there are.
fn in_parts(text: String) -> Body {
    let parts: Vec<_> = text.into_bytes().chunks(64 * 1024).map(Bytes::copy_from_slice).collect();
    let frames = parts.into_iter().map(|part| Ok::<_, io::Error>(Frame::data(part)));
    Body::wrap(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())))
}

#[tokio::test]
async fn t065_one_byte_too_many_is_a_denial_that_says_so_however_it_comes() {
    let site = Site::new().await;
    let shim = site.start("timeout: 30s\nlimits: {bodyTimeout: 30s}\n").await;
    let h1 = site.client().http1_only().build().unwrap();
    let largest = review(MAX_REVIEW);
    let sent = shim.client.post(shim.url("/validate")).body(largest).send().await.unwrap();
    assert!(Answer::read(&sent.text().await.unwrap()).allowed());
    let asked = site.fake.asked();
    let too_large = || review(MAX_REVIEW + 1);
    for (client, body) in [
        (&shim.client, Body::from(too_large())),
        (&shim.client, in_parts(too_large())),
        (&h1, Body::from(too_large())),
        (&h1, in_parts(too_large())),
    ] {
        let sent = client.post(shim.url("/validate")).body(body).send().await.unwrap();
        let answer = Answer::read(&sent.text().await.unwrap());
        assert!(!answer.allowed() && answer.message().contains("6291456 bytes"), "{answer:?}");
    }
    assert_eq!(site.fake.asked(), asked, "it is not evaluated as what it is not");
}

#[tokio::test]
async fn t066_bodies_that_do_not_come_hurt_nobody_else() {
    let site = Site::new().await;
    let shim = site.start("limits: {reviews: 64, reviewsPerPeer: 32, bodyTimeout: 30s}\n").await;
    // The other half of the API servers has another address.
    let mut slow = Vec::new();
    for _ in 0..24 {
        let mut stream = tls(&site, &shim).await;
        let head = "POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..8 {
        assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
    }
}

#[tokio::test]
async fn t066_one_address_has_so_many_reviews_at_a_time_and_a_slow_body_so_much_time() {
    let site = Site::new().await;
    let shim = site.start("limits: {reviewsPerPeer: 1, bodyTimeout: 300ms}\n").await;
    let mut slow = tls(&site, &shim).await;
    let head = "POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    // Its place is free again.
    assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
    assert_eq!(shim.metric("portcullis_shim_refused_total{reason=\"slow_body\"}").await, 1);
}

#[tokio::test]
async fn t066_one_address_has_so_many_large_bodies_at_a_time_and_is_told_so_past_it() {
    let site = Site::new().await;
    let shim = site.start("limits: {bodyTimeout: 30s}\ntimeout: 30s\n").await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = tls(&site, &shim).await;
        let head = "POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b' '; 200 * 1024]).await.unwrap();
        stream.flush().await.unwrap();
        slow.push(stream);
    }
    let large = |timeout: &'static str| {
        let url = shim.url(&format!("/validate?timeout={timeout}"));
        shim.client.post(url).body(review(256 * 1024)).send()
    };
    eventually(async || {
        let text = large("500ms").await.unwrap().text().await.unwrap();
        Answer::read(&text).annotation("cause") == "crowded"
    })
    .await;
    // A small one needs none of these places, and a place that is left is taken again.
    assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
    drop(slow);
    let text = large("30s").await.unwrap().text().await.unwrap();
    assert!(Answer::read(&text).allowed(), "{text}");
}

/// What waits is not read, and holds up the connection that it shares with others.
#[tokio::test]
async fn t066_few_large_bodies_of_one_address_wait_and_the_next_is_told_so() {
    let site = Site::new().await;
    let shim = site.start("limits: {bodyTimeout: 30s}\ntimeout: 30s\n").await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = tls(&site, &shim).await;
        let head = "POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b' '; 200 * 1024]).await.unwrap();
        stream.flush().await.unwrap();
        slow.push(stream);
    }
    // All four have their places.
    let url = shim.url("/validate?timeout=500ms");
    eventually(async || {
        let sent = shim.client.post(&url).body(review(256 * 1024)).send().await.unwrap();
        Answer::read(&sent.text().await.unwrap()).annotation("cause") == "crowded"
    })
    .await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..9 {
        let sent = shim.client.post(shim.url("/validate")).body(review(256 * 1024)).send();
        waiting.spawn(async move { sent.await.unwrap().text().await.unwrap() });
    }
    let first = Answer::read(&waiting.join_next().await.unwrap().unwrap());
    assert_eq!(first.annotation("cause"), "crowded");
    assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
    drop(slow);
    while let Some(text) = waiting.join_next().await {
        let text = text.unwrap();
        assert!(Answer::read(&text).allowed(), "{text}");
    }
}

#[tokio::test]
async fn t066_connections_have_a_bound_and_a_place_that_is_left_is_taken_again() {
    let site = Site::new().await;
    let shim = site.start("limits: {connections: 3, connectionsPerPeer: 3}\n").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(tls(&site, &shim).await);
    }
    let refused = site.client().build().unwrap();
    let body = pod("web", "registry.example/good:v1").to_string();
    assert!(refused.post(shim.url("/validate")).body(body).send().await.is_err());
    assert_eq!(shim.metric("portcullis_shim_refused_total{reason=\"connections\"}").await, 1);
    drop(open);
    eventually(async || shim.metric("portcullis_shim_connections").await == 0).await;
    assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
}

#[tokio::test]
async fn t066_a_head_that_does_not_end_costs_its_connection() {
    let site = Site::new().await;
    let shim = site.start("").await;
    let mut slow = tls(&site, &shim).await;
    slow.write_all(b"POST /validate HTTP/1.1\r\nhost: localh").await.unwrap();
    let mut answer = Vec::new();
    // It is not said why: whoever does this does not read it.
    let _ = slow.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    let slow = "portcullis_shim_refused_total{reason=\"slow_head\"}";
    eventually(async || shim.metric(slow).await == 1).await;
    assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
}

/// A connection over TLS that speaks HTTP/1.1.
async fn tls(site: &Site, shim: &Shim) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    super::serving::connect(site, shim).await.unwrap()
}
