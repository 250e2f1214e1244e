//! Answers that are slow, endless or broken below HTTP, and TLS that is not good enough.

use std::time::Duration;

use portcullis_core::evidence::CauseKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::harness::*;
use crate::registry::exchange::MAX_TRIES;
use crate::registry::*;

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n";

/// Asks a server that writes `head` and then `more` for ever.
async fn ask(head: String, more: String) -> Result<Fetched, RegistryError> {
    let (head, more) = (head.into_bytes().leak(), more.into_bytes().leak());
    let server = serve_raw(head, more).await;
    let mut config = config(&[&server]);
    config.patience.request = Duration::from_secs(1);
    Registry::new(config).unwrap().resolve(&server.image("a:v1"), soon()).await
}

#[tokio::test]
async fn t049_headers_chunks_and_early_answers_have_bounds() {
    let much = "x".repeat(1024 * 1024);
    let many = "X-Header: x\r\n".repeat(10_000);
    for (head, more) in [
        (format!("{HEAD}X-Header: {much}\r\nContent-Length: 0\r\n\r\n"), String::new()),
        (format!("{HEAD}{many}Content-Length: 0\r\n\r\n"), String::new()),
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        (String::new(), "HTTP/1.1 199 What\r\nX-Header: x\r\n\r\n".to_owned()),
        (format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"), String::new()),
        (format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n"), String::new()),
        (format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"), String::new()),
        (format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1;"), much.clone()),
        (format!("{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), String::new()),
        ("SSH-2.0-OpenSSH\r\n".to_owned(), String::new()),
    ] {
        let what: String = head.chars().rev().take(40).collect();
        let error = ask(head, more).await.unwrap_err();
        assert_eq!(error.cause().kind, CauseKind::Unreachable, "{what:?}: {error:?}");
    }
}

/// A server that takes connections, writes `head`, and then a byte of `rest` after each pause.
async fn dripping(head: &'static str, rest: &'static str) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                read_head(&mut stream).await;
                let mut sent = stream.write_all(head.as_bytes()).await;
                for byte in rest.bytes().cycle() {
                    if sent.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    sent = stream.write_all(&[byte]).await;
                }
            });
        }
    });
    (authority, task)
}

/// Each byte comes long before the connection would count as idle, and still there is an end.
#[tokio::test]
async fn t048_bodies_and_headers_that_drip_end_with_the_request_or_the_deadline() {
    const BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\
         Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n";
    for (head, rest) in [(BODY, " "), ("HTTP/1.1 200 OK\r\n", "X-A: b\r\n")] {
        let (authority, task) = dripping(head, rest).await;
        let image = format!("{authority}/a:v1").parse().unwrap();
        let mut config = config(&[]);
        let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
        config.hosts.insert(authority, host);
        let patient = Registry::new(config.clone()).unwrap();
        let error = patient.resolve(&image, Instant::now() + Duration::from_millis(100)).await;
        assert!(matches!(error, Err(RegistryError::Deadline)));
        config.patience.request = Duration::from_millis(100);
        let error = Registry::new(config).unwrap().resolve(&image, soon()).await.unwrap_err();
        assert_eq!(error.cause().kind, CauseKind::Unreachable);
        task.abort();
    }
}

/// TLS 1.1 and what is no TLS at all: the connection fails, is tried once more, and never plain.
#[tokio::test]
async fn t046_what_is_not_good_tls_is_no_answer_and_not_asked_in_plain_text() {
    // A fatal alert, "protocol version", as a server for TLS 1.1 sends it.
    const TOO_OLD: &[u8] = &[0x15, 3, 2, 0, 2, 2, 70];
    for said in [TOO_OLD, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("localhost:{}", listener.local_addr().unwrap().port());
        let (sender, mut seen) = tokio::sync::mpsc::channel(16);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The type of the first record: 22 is a handshake, and a letter is plain text.
                sender.send(stream.read_u8().await.unwrap()).await.unwrap();
                stream.write_all(said).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
        let mut config = config(&[]);
        config.hosts.insert(authority.clone(), HostConfig::default());
        let registry = Registry::new(config).unwrap();
        let image = format!("{authority}/a:v1").parse().unwrap();
        let error = registry.resolve(&image, soon()).await.unwrap_err();
        assert_eq!(error.cause().kind, CauseKind::Unreachable);
        let mut tries = 0;
        while let Ok(first) = seen.try_recv() {
            assert_eq!(first, 22);
            tries += 1;
        }
        assert!((1..=MAX_TRIES).contains(&tries), "{tries}");
        task.abort();
    }
}

#[tokio::test]
async fn t047_plain_text_is_for_one_host_and_port_and_not_for_where_it_leads() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/", inside.local_addr().unwrap());
    let server = serve(move |_| redirect(307, &location)).await;
    let result = client(&[&server]).resolve(&server.image("a:v1"), soon()).await;
    assert!(matches!(fault(result), Fault::Redirect("it is not TLS")));
    super::faults::assert_untouched(&inside).await;
}
