//! Connections of registries in, what they tell handed to the endpoint, in TLS where there is.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Accepted, Doors};
use super::connection::{self, Connection, End, Http1};
use super::secure::Gate;
use super::{CONNECTION_AGE, HEADER_TIMEOUT};
use crate::hooks::endpoint::Endpoint;
use crate::metrics::Metrics;
use crate::tls::Tls;

/// The most connections at a time.
const MAX_CONNECTIONS: usize = 256;
/// The same from one peer, where anybody may connect. Without TLS one proxy speaks for all.
const MAX_CONNECTIONS_PER_PEER: usize = 64;
/// The most bytes of a connection that are kept: its headers are no longer.
const MAX_KEPT: usize = 64 * 1024;

/// Where registries tell what changed.
pub(crate) struct Telling {
    pub(crate) listener: TcpListener,
    /// What connections are made secure by, if they are.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// Serves what registries tell until `stop`.
pub(crate) async fn told(
    telling: Telling,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let Telling { listener, tls, endpoint } = telling;
    let gate = tls.map(|tls| Gate::new(tls, Arc::clone(&metrics)));
    let per_peer = if gate.is_some() { MAX_CONNECTIONS_PER_PEER } else { MAX_CONNECTIONS };
    let doors = Doors::new("hooks", MAX_CONNECTIONS, per_peer, Arc::clone(&metrics));
    accept::all(listener, doors, &stop.clone(), |accepted: Accepted| {
        let Accepted { stream, peer, place } = accepted;
        let (gate, endpoint) = (gate.clone(), Arc::clone(&endpoint));
        let (stop, metrics) = (stop.clone(), Arc::clone(&metrics));
        tasks.spawn(async move {
            let served = async {
                match gate {
                    None => serve(stream, endpoint, &stop).await,
                    Some(gate) => secured(gate, (stream, peer), endpoint, &stop).await,
                }
            };
            place.ended(connection::caught(served, &metrics).await.as_str());
        });
    })
    .await;
}

/// The same of one connection in TLS; how it ended.
async fn secured(
    gate: Gate,
    (stream, peer): (TcpStream, SocketAddr),
    endpoint: Arc<Endpoint>,
    stop: &CancellationToken,
) -> End {
    let passed = tokio::select! {
        passed = gate.pass(stream, peer) => passed,
        () = stop.cancelled() => None,
    };
    match passed {
        // Who is there its secret says, and no certificate.
        Some(secured) => serve(secured.stream, endpoint, stop).await,
        None => End::Insecure,
    }
}

/// Serves one connection; how it ended.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    endpoint: Arc<Endpoint>,
    stop: &CancellationToken,
) -> End {
    let answer = hyper::service::service_fn(move |request| {
        let endpoint = Arc::clone(&endpoint);
        async move { endpoint.answer(request).await }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_KEPT);
    let connection = Http1(Box::pin(http.serve_connection(TokioIo::new(stream), answer)));
    let connection = Connection::new(connection, CONNECTION_AGE);
    connection.serve(stop).await
}
