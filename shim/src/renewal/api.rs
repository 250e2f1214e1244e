//! Requests to the API server in, objects out; within bounds and a deadline, by the pod's own token.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use portcullis_tls::{Client, ClientFiles, HTTP_1_1, Looked, Now, Oldest, Protocols, ServerName};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::RenewalError;
use super::objects::{MAX_OBJECT, Object, Verb};

/// How long a request may take, its connection included.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest token that is read, in bytes.
pub const MAX_TOKEN: usize = 64 * 1024;
/// The most of what the API server says that is told on, in characters.
const MAX_SAID: usize = 300;

/// How the API server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who signs its certificate, in PEM.
    pub authorities: PathBuf,
    /// Our token.
    pub token: PathBuf,
}

impl ApiConfig {
    fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// What was found, and what time it was there.
pub(crate) struct Found {
    pub(super) value: Value,
    pub(super) date: Option<OffsetDateTime>,
}

/// Where objects are.
pub(crate) trait Objects: Send + Sync + 'static {
    /// One as it is now, and not as it was a moment ago.
    fn get(&self, object: &Object) -> impl Future<Output = Result<Found, RenewalError>> + Send;

    /// Writes one, where it is still of the version in `value`; what it is then.
    fn put(
        &self,
        object: &Object,
        verb: Verb,
        value: &Value,
    ) -> impl Future<Output = Result<Found, RenewalError>> + Send;
}

/// The API server.
pub(crate) struct Api {
    config: ApiConfig,
    name: ServerName<'static>,
    tls: Arc<Client>,
    open: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Api {
    /// Reads the files.
    pub(crate) fn load(
        config: ApiConfig,
        name: ServerName<'static>,
        now: Now,
    ) -> Result<Self, RenewalError> {
        let files = ClientFiles {
            authorities: config.authorities.clone(),
            pair: None,
            oldest: Oldest::Tls12,
            protocols: Protocols::Offered(vec![HTTP_1_1.to_vec()]),
        };
        let tls = Arc::new(Client::load(files, now)?);
        Ok(Self { config, name, tls, open: Mutex::new(None) })
    }

    async fn ask(
        &self,
        verb: Verb,
        object: &Object,
        body: Option<&Value>,
    ) -> Result<Found, RenewalError> {
        let asked = timeout(DEADLINE, async {
            let request = self.request(verb, object, body).await?;
            let answer = self.send(verb, object, request).await?;
            let (head, body) = answer.into_parts();
            let bytes = Limited::new(body, MAX_OBJECT).collect().await.map_err(|source| {
                if source.is::<http_body_util::LengthLimitError>() {
                    RenewalError::TooLarge(object.clone())
                } else {
                    RenewalError::Broken { verb, object: object.clone(), source }
                }
            })?;
            self.found(verb, object, head.status, &head.headers, &bytes.to_bytes())
        });
        let late = RenewalError::Late { verb, object: object.clone(), within: DEADLINE };
        asked.await.unwrap_or(Err(late))
    }

    async fn request(
        &self,
        verb: Verb,
        object: &Object,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, RenewalError> {
        let (method, kind) = match verb {
            Verb::Get => (Method::GET, "application/json"),
            Verb::Update => (Method::PUT, "application/json"),
            Verb::Patch => (Method::PATCH, "application/strategic-merge-patch+json"),
        };
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let failed = |source: http::Error| RenewalError::Broken {
            verb,
            object: object.clone(),
            source: source.into(),
        };
        Request::builder()
            .method(method)
            .uri(object.path())
            .header(HOST, self.config.address())
            .header(USER_AGENT, concat!("portcullis-shim/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, kind)
            .header(AUTHORIZATION, self.token().await?)
            .body(Full::new(body))
            .map_err(failed)
    }

    /// What says who we are. The kubelet puts a new one into its file before the one there ends.
    async fn token(&self) -> Result<HeaderValue, RenewalError> {
        let path = &self.config.token;
        let failed = |source| RenewalError::Token { path: path.clone(), source };
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut text = String::new();
        file.take(MAX_TOKEN as u64 + 1).read_to_string(&mut text).await.map_err(failed)?;
        let token = text.trim();
        if token.is_empty() || text.len() > MAX_TOKEN {
            return Err(RenewalError::NoToken(path.clone()));
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| RenewalError::NoToken(path.clone()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Sends it on the connection that is open, or on a new one. What is sent twice because a connection ended
    /// says for which version it is, and does nothing the second time.
    async fn send(
        &self,
        verb: Verb,
        object: &Object,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, RenewalError> {
        let mut open = self.open.lock().await;
        if let Some(mut sender) = open.take()
            && sender.ready().await.is_ok()
            && let Ok(answer) = sender.send_request(request.clone()).await
        {
            *open = Some(sender);
            return Ok(answer);
        }
        let broken = |source: hyper::Error| RenewalError::Broken {
            verb,
            object: object.clone(),
            source: source.into(),
        };
        let mut sender = self.connect().await?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        *open = Some(sender);
        Ok(answer)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, RenewalError> {
        let ApiConfig { host, port, .. } = &self.config;
        let failed = |source| RenewalError::Connect { address: self.config.address(), source };
        // Files are read where blocking is allowed.
        let tls = Arc::clone(&self.tls);
        for Looked { what, outcome } in tokio::task::spawn_blocking(move || tls.look()).await? {
            if let Err(error) = outcome {
                let error = crate::chain(&error);
                tracing::error!(what, error, "the API server is known by the file from before");
            }
        }
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        let stream = self.tls.connect(self.name.clone(), stream).await.map_err(failed)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|e| failed(io::Error::other(e)))?;
        // It ends with the sender.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API server ended early");
            }
        });
        Ok(sender)
    }

    fn found(
        &self,
        verb: Verb,
        object: &Object,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Found, RenewalError> {
        let object = object.clone();
        let value = serde_json::from_slice::<Value>(body);
        if status == StatusCode::OK {
            let value = value.map_err(|_| RenewalError::Malformed(object))?;
            let date = headers.get(DATE).and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
            return Ok(Found { value, date });
        }
        let said = value.ok().and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
        let said: String = said.unwrap_or_default().chars().take(MAX_SAID).collect();
        let said = said.replace(char::is_control, " ");
        Err(match status {
            StatusCode::UNAUTHORIZED => {
                RenewalError::Unknown { verb, object, token: self.config.token.clone() }
            }
            StatusCode::FORBIDDEN => RenewalError::Forbidden { verb, object, said },
            StatusCode::NOT_FOUND => RenewalError::Absent { object },
            StatusCode::CONFLICT => RenewalError::Conflict { object },
            status => RenewalError::Status { verb, object, status: status.as_u16(), said },
        })
    }
}

impl Objects for Api {
    async fn get(&self, object: &Object) -> Result<Found, RenewalError> {
        self.ask(Verb::Get, object, None).await
    }

    async fn put(&self, object: &Object, verb: Verb, value: &Value) -> Result<Found, RenewalError> {
        self.ask(verb, object, Some(value)).await
    }
}
