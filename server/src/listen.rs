//! A listener in, connections served out, until the service stops.
//!
//! gRPC is served on the `h2` crate itself: what is known is answered where it was read, and tonic's server has a
//! deadline layer that cannot be taken off and answers CANCELLED where DEADLINE_EXCEEDED is owed. Connections are
//! dealt to threads that have a runtime each; the admin endpoint is served where its listener is, out of their way.

mod accept;
mod wire;
mod http2;
mod connection;
mod secure;
mod told;
mod seldom;
pub mod workers;

use std::convert::Infallible;
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::{Accepted, Doors};
use self::connection::{Connection, End, Http1, Lifetime};
use self::http2::{Http2, Received};
use self::secure::{Gate, Secured};
pub(crate) use self::told::{Telling, told};
use self::wire::Wire;
use self::workers::Dealer;
use crate::admin::Admin;
use crate::caller::Caller;
use crate::identity::Who;
use crate::metrics::Metrics;
use crate::tls::Tls;

/// The most connections at a time on one listener, where nothing else is configured.
pub const MAX_CONNECTIONS: usize = 10_000;
/// The most connections at a time from one peer, where nothing else is configured.
pub const MAX_CONNECTIONS_PER_PEER: usize = 1_000;
/// The most connections at a time on the admin listener.
const MAX_ADMIN_CONNECTIONS: usize = 256;
/// The most at a time from one peer on the admin listener: probes must find a place.
const MAX_ADMIN_CONNECTIONS_PER_PEER: usize = 64;
/// The most streams at a time on one connection.
pub const MAX_STREAMS: u32 = 128;
/// The largest header list of one request, in bytes.
pub const MAX_HEADER_LIST: u32 = 16 * 1024;
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

/// Where and how gRPC is served.
pub(crate) struct Listening {
    pub(crate) listener: TcpListener,
    pub(crate) config: ListenConfig,
    /// What connections are made secure by, if they are.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Serves gRPC until `stop` on the threads of `dealer`, in TLS where there is, each connection with the service
/// that `make` gives for who asks on it. Connections are tasks of `tasks` and end when their answers are given.
pub(crate) async fn grpc<M, S, B>(
    listening: Listening,
    make: M,
    dealer: Dealer,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
) where
    M: Fn(Who) -> S + Clone + Send + 'static,
    S: Service<Request<Received>, Response = Response<B>, Error = Infallible>,
    S: Unpin + Send + 'static,
    S::Future: Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Display> + Unpin + Send + 'static,
{
    let Listening { listener, config, tls } = listening;
    let gate = tls.map(|tls| Gate::new(tls, Arc::clone(&metrics)));
    let (max, per_peer) = (config.max_connections, config.max_connections_per_peer);
    let doors = Doors::new("grpc", max, per_peer, Arc::clone(&metrics));
    let lifetimes = Lifetime::about(config.connection_age);
    accept::all(listener, doors, &stop.clone(), |accepted: Accepted| {
        let Accepted { stream, peer, place } = accepted;
        let Ok(stream) = stream.into_std() else { return };
        let stop = stop.clone();
        let lifetime = lifetimes.one();
        let metrics = Arc::clone(&metrics);
        if let Some(gate) = gate.clone() {
            let served = secured(gate, stream, peer, make.clone(), lifetime, stop);
            let counted = async move {
                if let Some(end) = connection::caught(served, &metrics).await {
                    place.ended(end.as_str());
                }
            };
            dealer.deal(&tasks, Box::pin(counted));
            return;
        }
        let service = make(Who::open(Caller::of(peer)));
        dealer.deal(&tasks, async move {
            // The stream is watched by the runtime that serves it.
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let wire = Wire::new(stream);
            let heard = wire.clone();
            let connection = Http2::new(wire, service, Arc::clone(&metrics));
            let connection = Connection::with_preface(connection, lifetime, move || heard.heard());
            let served = connection::caught(connection.serve(&stop), &metrics);
            place.ended(served.await.as_str());
        });
    })
    .await;
}

/// Serves one connection of gRPC in TLS; how it ended, if it began. It is used no longer than the certificate of
/// its client is valid.
async fn secured<M, S, B>(
    gate: Gate,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    make: M,
    lifetime: Duration,
    stop: CancellationToken,
) -> Option<End>
where
    M: Fn(Who) -> S,
    S: Service<Request<Received>, Response = Response<B>, Error = Infallible>,
    S: Unpin + Send + 'static,
    S::Future: Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Display> + Unpin + Send + 'static,
{
    let stream = TcpStream::from_std(stream).ok()?;
    let passed = tokio::select! {
        passed = gate.pass(stream, peer) => passed,
        () = stop.cancelled() => return None,
    };
    let Some(Secured { stream, who, valid }) = passed else { return Some(End::Insecure) };
    let wire = Wire::new(stream);
    let heard = wire.clone();
    let connection = Http2::new(wire, make(who), Arc::clone(&gate.metrics));
    let lifetime = lifetime.min(valid);
    let connection = Connection::with_preface(connection, lifetime, move || heard.heard());
    Some(connection.serve(&stop).await)
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
        let (stop, metrics) = (stop.clone(), Arc::clone(&admin.metrics));
        let admin = Arc::clone(&admin);
        let answer = hyper::service::service_fn(move |request| {
            let answer = admin.answer(&request);
            async move { answer }
        });
        let connection = Http1(Box::pin(http.serve_connection(TokioIo::new(stream), answer)));
        tasks.spawn(async move {
            let connection = Connection::new(connection, CONNECTION_AGE);
            let served = connection::caught(connection.serve(&stop), &metrics);
            place.ended(served.await.as_str());
        });
    })
    .await;
}
