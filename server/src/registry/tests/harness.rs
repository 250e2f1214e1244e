//! Small registries on the loopback interface, and clients that list them.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::Descriptor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::registry::*;

/// A request as a server saw it.
#[derive(Clone)]
pub(super) struct Seen {
    /// How many came before it.
    pub(super) nth: usize,
    /// Method, path and query.
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Seen {
    pub(super) fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(|v| v.to_str().unwrap())
    }
}

/// A server that answers until it is dropped.
pub(super) struct Server {
    pub(super) authority: String,
    log: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn log(&self) -> Vec<Seen> {
        self.log.lock().await.clone()
    }

    pub(super) async fn lines(&self) -> Vec<String> {
        self.log().await.into_iter().map(|seen| seen.line).collect()
    }

    pub(super) async fn count(&self) -> usize {
        self.log.lock().await.len()
    }

    pub(super) fn image(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.authority).parse().unwrap()
    }
}

/// A server that answers every request with `answer`.
pub(super) async fn serve(
    answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static,
) -> Server {
    serve_later(move |seen| ready(answer(seen))).await
}

/// The same, with answers that may have to wait for each other.
pub(super) async fn serve_later<F: Future<Output = Response> + Send>(
    answer: impl Fn(&Seen) -> F + Clone + Send + Sync + 'static,
) -> Server {
    let log = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let seen = Arc::clone(&log);
    let router = Router::new().fallback(move |request: Request| {
        let (log, answer) = (Arc::clone(&seen), answer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let mut log = log.lock().await;
            let line = format!("{} {}", parts.method, parts.uri);
            let request = Seen { nth: log.len(), line, headers: parts.headers, body };
            log.push(request.clone());
            drop(log);
            answer(&request).await
        }
    });
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { authority, log, task }
}

/// A server that writes exactly `head` to every connection, then `more` again and again for as long
/// as there is somebody who reads. Without `more` it then stays silent.
pub(super) async fn serve_raw(head: &'static [u8], more: &'static [u8]) -> Server {
    let log = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let seen = Arc::clone(&log);
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let nth = seen.lock().await.len();
            let line = read_head(&mut stream).await;
            let (headers, body) = (HeaderMap::new(), Bytes::new());
            seen.lock().await.push(Seen { nth, line, headers, body });
            tokio::spawn(async move {
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() && !more.is_empty() {
                    sent = stream.write_all(more).await;
                }
                let _ = stream.read(&mut [0]).await;
            });
        }
    });
    Server { authority, log, task }
}

pub(super) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A client that lists `servers` as plain HTTP, and asks nobody else but on public addresses.
pub(super) fn client(servers: &[&Server]) -> Registry {
    Registry::new(config(servers)).unwrap()
}

pub(super) fn config(servers: &[&Server]) -> RegistryConfig {
    let plain = || HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
    let hosts: BTreeMap<_, _> =
        servers.iter().map(|server| (server.authority.clone(), plain())).collect();
    let patience = Patience { backoff: Duration::from_millis(1), ..Patience::default() };
    RegistryConfig { hosts, patience, ..RegistryConfig::default() }
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(super) fn answer(status: u16, content_type: &str, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

pub(super) fn index(manifests: &[Value]) -> Response {
    answer(200, OCI_INDEX, json!({"schemaVersion": 2, "manifests": manifests}).to_string())
}

pub(super) fn manifest() -> Response {
    answer(200, OCI_MANIFEST, MANIFEST)
}

pub(super) const MANIFEST: &str = r#"{"schemaVersion":2,"layers":[]}"#;

/// How distribution 2.8 answers where it has no such route.
pub(super) fn no_route() -> Response {
    answer(404, "text/plain; charset=utf-8", "404 page not found\n")
}

pub(super) fn unknown() -> Response {
    error(404, "MANIFEST_UNKNOWN")
}

pub(super) fn error(status: u16, code: &str) -> Response {
    let body = json!({"errors": [{"code": code, "message": "no", "detail": {}}]});
    answer(status, "application/json", body.to_string())
}

pub(super) fn redirect(status: u16, location: &str) -> Response {
    Response::builder().status(status).header("location", location).body(Body::empty()).unwrap()
}

pub(super) fn challenge(status: u16, challenge: &str) -> Response {
    let mut response = error(status, "UNAUTHORIZED");
    response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
    response
}

pub(super) fn with_header(mut response: Response, name: &'static str, value: &str) -> Response {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// An entry of a list.
pub(super) fn entry(content: &str) -> Value {
    json!({
        "mediaType": OCI_MANIFEST,
        "digest": Digest::of(content.as_bytes()),
        "size": content.len(),
        "artifactType": "application/vnd.in-toto+json",
    })
}

pub(super) fn descriptor(content: &[u8], size: u64) -> Descriptor {
    Descriptor {
        media_type: "application/octet-stream".to_owned(),
        digest: Digest::of(content),
        size,
        artifact_type: None,
        annotations: BTreeMap::new(),
        platform: None,
    }
}

/// The fault of an answer that is not of the protocol.
#[track_caller]
pub(super) fn fault<T>(result: Result<T, RegistryError>) -> Fault {
    match result {
        Err(RegistryError::Protocol { source, .. } | RegistryError::Malformed { source, .. }) => {
            source
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was taken for an answer"),
    }
}
