//! Requests for tokens in, what the token services of three clouds answer out, on loopback; and the
//! token server of a registry that others wrote.
//!
//! Each double checks what its cloud checks: method, path, media type, every header and parameter,
//! and signatures by computing them itself. What is wrong is answered in its cloud's words.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::TestkitError;

pub mod entra;
pub mod acr;
pub mod sts;
pub mod ecr;
pub mod gcp;
pub mod distribution;

/// The most requests that are kept; older ones are forgotten.
pub const MAX_RECORDED: usize = 4_096;
/// The largest body that is read, in bytes.
const MAX_BODY: usize = 1024 * 1024;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A request that a service received.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its method: `GET`.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// Its query, empty if there is none.
    pub query: String,
    /// Its headers as sent.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Asked {
    /// A header's value, if there is one and it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The fields of a form with the right media type and each field once; else `None`.
    #[must_use]
    pub fn form(&self) -> Option<BTreeMap<String, String>> {
        if self.header("content-type") != Some(FORM) {
            return None;
        }
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(&self.body) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(fields)
    }

    fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }

    fn basic(&self) -> Option<(String, String)> {
        use base64::Engine as _;
        let given = self.headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
        let pair = base64::prelude::BASE64_STANDARD.decode(given).ok()?;
        let (name, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    }

    fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }
}

/// What a service answers.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    media_type: &'static str,
    body: Bytes,
    challenge: Option<String>,
}

impl Answer {
    /// An answer with a body of this media type.
    #[must_use]
    pub fn new(status: u16, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, media_type, body: body.into(), challenge: None }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string())
    }

    /// The same with a challenge in `WWW-Authenticate`.
    #[must_use]
    pub fn challenge(mut self, challenge: String) -> Self {
        self.challenge = Some(challenge);
        self
    }
}

/// What goes wrong, once for each time that it is asked for.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with an empty body.
    Status(u16),
    /// 200 with a page for people.
    Html,
    /// 200 with this many bytes of JSON.
    Huge(usize),
    /// 200 with this document.
    Json(Value),
}

impl Fault {
    fn answer(self) -> Answer {
        match self {
            Self::Status(status) => Answer::new(status, "text/plain", ""),
            Self::Html => Answer::new(200, "text/html", "<html><body>Sign in</body></html>"),
            Self::Huge(size) => {
                Answer::new(200, JSON, format!("{{\"x\":\"{}\"}}", "x".repeat(size)))
            }
            Self::Json(document) => Answer::json(200, &document),
        }
    }
}

/// A service on a free port of 127.0.0.1. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<VecDeque<Asked>>,
    faults: Mutex<VecDeque<Fault>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Service {
    /// Answers every request with `answer`.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Result<Self, TestkitError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(TestkitError::Listen)?;
        let address = listener.local_addr().map_err(TestkitError::Listen)?;
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(accept(listener, Arc::clone(&shared), Arc::new(answer)));
        Ok(Self { address, shared, server })
    }

    /// `http://127.0.0.1:port/`
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// `127.0.0.1:port`
    #[must_use]
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// What was asked so far, oldest first, of the last [`MAX_RECORDED`].
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().iter().cloned().collect()
    }

    /// Answers the next request with `fault`, after those that were asked for before.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.lock().push_back(fault);
    }
}

async fn accept<A>(listener: TcpListener, shared: Arc<Shared>, answer: Arc<A>)
where
    A: Fn(&Asked) -> Answer + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                async move { Ok::<_, Infallible>(respond(&shared, &*answer, request).await) }
            });
            // A connection ends in an error when the client cuts it, which is not ours to report.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    shared: &Shared,
    answer: &(dyn Fn(&Asked) -> Answer + Send + Sync),
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.map(|body| body.to_bytes()).unwrap_or_default(),
    };
    {
        let mut recorded = shared.asked.lock();
        if recorded.len() >= MAX_RECORDED {
            recorded.pop_front();
        }
        recorded.push_back(asked.clone());
    }
    let fault = shared.faults.lock().pop_front();
    let Answer { status, media_type, body, challenge } =
        fault.map_or_else(|| answer(&asked), Fault::answer);
    let mut builder = Response::builder().status(status).header(CONTENT_TYPE, media_type);
    if let Some(challenge) = challenge {
        builder = builder.header(WWW_AUTHENTICATE, challenge);
    }
    builder.body(Full::new(body)).unwrap_or_default()
}

/// A registry that has one image under every name, and nothing attached to it.
fn registry(asked: &Asked) -> Answer {
    match asked.path.split('/').rev().nth(1) {
        Some("manifests") => Answer::new(200, OCI_MANIFEST, r#"{"schemaVersion":2,"layers":[]}"#),
        Some("referrers") => {
            let empty = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
            Answer::new(200, OCI_INDEX, empty.to_string())
        }
        _ => registry_error(404, "NAME_UNKNOWN"),
    }
}

fn registry_error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({"errors": [{"code": code, "message": "no", "detail": {}}]}))
}

/// The repository of a path of a registry: `/v2/<repository>/manifests/<tag>`.
fn repository(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v2/")?;
    let (rest, _) = rest.rsplit_once('/')?;
    Some(rest.rsplit_once('/')?.0)
}

/// A token that says when it ends and is otherwise what `name` says.
fn jwt(name: &str, end: i64) -> String {
    use base64::Engine as _;
    let encode = |text: String| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = encode(json!({"alg": "RS256", "typ": "JWT"}).to_string());
    let claims = encode(json!({"exp": end, "jti": name}).to_string());
    format!("{header}.{claims}.{}", encode(name.to_owned()))
}
