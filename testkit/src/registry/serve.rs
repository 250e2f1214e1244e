//! Connections in, answers out: the one place of the registry that does IO.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_core::referrers::MAX_MANIFEST;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::{Answer, Body};
use super::fault;
use super::push::too_large;
use super::route::Call;
use super::{MAX_UPLOAD, Recorded, Shared};

/// The most connections that are served at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1_024;
/// How long to wait after a connection could not be accepted, for lack of file handles mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Size in bytes of one piece of a body that is sent at a limited bandwidth.
const PIECE: usize = 1_024;

/// How far away the registry is, and how wide the way to it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    pub(super) round_trip: Duration,
    /// Bytes of a body per second.
    bandwidth: Option<NonZeroU32>,
}

impl Pace {
    pub(super) const fn set_bandwidth(&mut self, bytes_per_second: u32) {
        self.bandwidth = NonZeroU32::new(bytes_per_second);
    }

    fn send(self, answer: Answer) -> Response<Body> {
        match self.bandwidth {
            Some(bandwidth) => fault::paced(answer, PIECE, pause_of(PIECE, bandwidth)),
            None => answer.whole(),
        }
    }
}

/// Serves until it is aborted. The connections are owned here, so that they end with it: also those
/// that hang on purpose, for which a graceful end would wait for ever.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { respond(&shared, request).await }
    });
    // A connection ends in an error when a fault or the client cut it; neither is for us to report.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    let (call, pace, is_refused) = {
        let mut state = shared.state.lock();
        let is_token = path == state.flavor.token_path();
        let call = if is_token { Call::Token } else { Call::read(path) };
        state.record(Recorded {
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or(path, |p| p.as_str()).to_owned(),
            headers: head.headers.clone(),
        });
        let is_refused = state.flavor.refuses_parameters() && has_parameters(&head.headers);
        (call, state.pace, is_refused)
    };
    if is_refused {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Ok(Answer::error(status, "UNSUPPORTED", "the operation is unsupported").whole());
    }
    if !pace.round_trip.is_zero() {
        tokio::time::sleep(pace.round_trip).await;
    }
    let fault = {
        let mut state = shared.state.lock();
        // The token endpoint has its own idea of who may ask.
        if call != Call::Token
            && let Some(challenge) =
                state.access.challenge(&shared.host, &head.method, call, &head.headers)
        {
            return Ok(challenge.whole());
        }
        state.faults.strike(call)
    };
    let limit = match call {
        Call::Upload { .. } => MAX_UPLOAD,
        _ => MAX_MANIFEST,
    };
    let body = if matches!(head.method, Method::GET | Method::HEAD) {
        Bytes::new()
    } else {
        match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Ok(too_large().whole()),
        }
    };
    let truth = || {
        let mut state = shared.state.lock();
        if call == Call::Token {
            return state.access.token(&shared.host, query, &head.headers);
        }
        state
            .push(&head.method, call, query, &head.headers, body)
            .unwrap_or_else(|| state.pull(&head.method, call, query))
    };
    match fault {
        Some(fault) => fault.answer(truth).await,
        None => Ok(pace.send(truth())),
    }
}

/// How long a piece of `size` bytes is under way.
fn pause_of(size: usize, bandwidth: NonZeroU32) -> Duration {
    let nanos = u64::try_from(size).unwrap_or(u64::MAX).saturating_mul(1_000_000_000);
    Duration::from_nanos(nanos / u64::from(bandwidth.get()))
}

/// Whether a media type that is accepted has parameters.
fn has_parameters(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| value.as_bytes().contains(&b';'))
}
