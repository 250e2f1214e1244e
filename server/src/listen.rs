//! A listener in, connections served out, until the service stops.
//!
//! gRPC is served on hyper's HTTP/2 itself: tonic's server has a deadline layer that cannot be taken
//! off and answers CANCELLED where DEADLINE_EXCEEDED is owed. Connections are dealt to threads that
//! have a runtime each; the admin endpoint is served where its listener is, out of their way.

mod accept;
mod attend;
mod connection;
mod inline;
pub mod workers;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::{Accepted, Doors};
use self::attend::{Attended, Streams};
use self::connection::{Connection, Heard, Lifetime};
use self::inline::Answering;
use self::workers::Dealer;
use crate::admin::Admin;
use crate::caller::Caller;
use crate::hooks::endpoint::Endpoint;
use crate::metrics::Metrics;

/// The most connections at a time on one listener, where nothing else is configured.
pub const MAX_CONNECTIONS: usize = 10_000;
/// The most connections at a time from one peer, where nothing else is configured.
pub const MAX_CONNECTIONS_PER_PEER: usize = 1_000;
/// The most connections at a time on the admin listener, and on that for registries.
const MAX_ADMIN_CONNECTIONS: usize = 256;
/// The most at a time from one peer on the admin listener: probes must find a place.
const MAX_ADMIN_CONNECTIONS_PER_PEER: usize = 64;
/// The most streams at a time on one connection.
pub const MAX_STREAMS: u32 = 128;
/// The largest header list of one request, in bytes.
pub const MAX_HEADER_LIST: u32 = 16 * 1024;
/// Streams that a peer resets before they are taken up (rapid reset, RUSTSEC-2023-0034).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we reset for a peer's faults (RUSTSEC-2024-0003).
const MAX_LOCAL_RESETS: usize = 256;
/// The most bytes of answers that wait in one stream for its reader, before more are asked for.
const MAX_UNSENT: usize = 64 * 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a connection is used, more or less, where nothing else is configured.
const CONNECTION_AGE: Duration = Duration::from_secs(600);
/// For how long a service that is told to stop answers on, where nothing else is configured: balancers
/// may hear of it 15 s late.
const DRAIN: Duration = Duration::from_secs(20);
/// How long a client may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How connections are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// How many threads serve gRPC, each with a runtime of its own.
    pub workers: NonZeroUsize,
    /// The most connections at a time; one more is closed as soon as it is there.
    pub max_connections: usize,
    /// The most connections at a time from one address, or one /64 network of IPv6.
    pub max_connections_per_peer: usize,
    /// For how long a connection is used, give or take a tenth and 5 s at the least; then its client is
    /// asked to make another, so that new replicas get their share.
    pub connection_age: Duration,
    /// For how long a service that is told to stop answers on, while balancers hear of it.
    pub drain: Duration,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_connections: MAX_CONNECTIONS,
            max_connections_per_peer: MAX_CONNECTIONS_PER_PEER,
            connection_age: CONNECTION_AGE,
            drain: DRAIN,
        }
    }
}

/// Serves gRPC until `stop` on the threads of `dealer`, each connection with the service that `make`
/// gives for its caller. Connections are tasks of `tasks` and end when their answers are given.
pub(crate) async fn grpc<M, S, B>(
    listener: TcpListener,
    make: M,
    config: ListenConfig,
    dealer: Dealer,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
) where
    M: Fn(Caller) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let doors =
        Doors::new("grpc", config.max_connections, config.max_connections_per_peer, metrics);
    let lifetimes = Lifetime::about(config.connection_age);
    accept::all(listener, doors, &stop.clone(), |accepted: Accepted| {
        let Accepted { stream, peer, place } = accepted;
        let Ok(stream) = stream.into_std() else { return };
        let stop = stop.clone();
        let service = Attended::new(make(Caller::of(peer)));
        let lifetime = lifetimes.one();
        dealer.deal(&tasks, async move {
            // The stream is watched by the runtime that serves it.
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let (io, heard) = Heard::new(stream);
            let streams = Streams::default();
            let connection = http2(streams.clone()).serve_connection(TokioIo::new(io), service);
            let connection = Answering::new(connection, streams.0);
            let connection = Connection::new(connection, lifetime).with_preface(heard);
            place.ended(connection.serve(&stop).await.as_str());
        });
    })
    .await;
}

/// HTTP/2 with its bounds, for a connection whose streams are run by `streams`.
fn http2(streams: Streams) -> Builder<Streams> {
    let mut http = Builder::new(streams);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        // Nobody reads it in gRPC.
        .auto_date_header(false)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_send_buf_size(MAX_UNSENT)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    http
}

/// Serves the admin endpoint until `stop`.
pub(crate) async fn admin(
    listener: TcpListener,
    admin: Arc<Admin>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let metrics = Arc::clone(&admin.metrics);
    let doors = Doors::new("admin", MAX_ADMIN_CONNECTIONS, MAX_ADMIN_CONNECTIONS_PER_PEER, metrics);
    accept::all(listener, doors, &stop.clone(), |accepted: Accepted| {
        let Accepted { stream, peer: _, place } = accepted;
        let admin = Arc::clone(&admin);
        let answer = hyper::service::service_fn(move |request| {
            let answer = admin.answer(&request);
            async move { answer }
        });
        let connection = http.serve_connection(TokioIo::new(stream), answer);
        let stop = stop.clone();
        tasks.spawn(async move {
            let connection = Connection::new(connection, CONNECTION_AGE);
            place.ended(connection.serve(&stop).await.as_str());
        });
    })
    .await;
}

/// Serves what registries tell until `stop`.
pub(crate) async fn hooks(
    listener: TcpListener,
    endpoint: Arc<Endpoint>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let doors = Doors::new("hooks", MAX_ADMIN_CONNECTIONS, MAX_ADMIN_CONNECTIONS, metrics);
    accept::all(listener, doors, &stop.clone(), |accepted: Accepted| {
        let Accepted { stream, peer: _, place } = accepted;
        let endpoint = Arc::clone(&endpoint);
        let answer = hyper::service::service_fn(move |request| {
            let endpoint = Arc::clone(&endpoint);
            async move { endpoint.answer(request).await }
        });
        let connection = http.serve_connection(TokioIo::new(stream), answer);
        let stop = stop.clone();
        tasks.spawn(async move {
            let connection = Connection::new(connection, CONNECTION_AGE);
            place.ended(connection.serve(&stop).await.as_str());
        });
    })
    .await;
}
