//! A listener in, connections served out, until the service stops.
//!
//! gRPC is served on hyper's HTTP/2 itself: tonic's server has a deadline layer that cannot be taken
//! off and answers CANCELLED where DEADLINE_EXCEEDED is owed.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;

/// The most connections at a time on one listener.
pub const MAX_CONNECTIONS: usize = 10_000;
/// The most streams at a time on one connection.
pub const MAX_STREAMS: u32 = 128;
/// The largest header list of one request, in bytes.
pub const MAX_HEADER_LIST: u32 = 16 * 1024;
/// Streams that a peer resets before they are taken up (rapid reset, RUSTSEC-2023-0034).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we reset for a peer's faults (RUSTSEC-2024-0003).
const MAX_LOCAL_RESETS: usize = 256;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after the system refused a connection, for want of file handles say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection lives on after the service was told to stop.
const DRAIN: Duration = Duration::from_secs(15);
/// How long a client may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves gRPC until `stop`; connections are tasks of `tasks` and end when their answers are given.
pub(crate) async fn grpc<S, B>(
    listener: TcpListener,
    service: S,
    stop: CancellationToken,
    tasks: TaskTracker,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        // Nobody reads it in gRPC.
        .auto_date_header(false)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    accept(listener, &stop.clone(), &tasks, move |stream| {
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let stop = stop.clone();
        async move { until(connection, &stop).await }
    })
    .await;
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
    accept(listener, &stop.clone(), &tasks, move |stream| {
        let admin = Arc::clone(&admin);
        let answer = hyper::service::service_fn(move |request| {
            let answer = admin.answer(&request);
            async move { answer }
        });
        let connection = http.serve_connection(TokioIo::new(stream), answer);
        let stop = stop.clone();
        async move { until(connection, &stop).await }
    })
    .await;
}

/// Serves a connection until it ends, or its answers are given after `stop`.
async fn until<C>(connection: C, stop: &CancellationToken)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // Who watches for ever, as health checks do, must not hold up the end.
            tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Takes connections until `stop`, so many at a time, whatever errors the system gives.
async fn accept<F>(
    listener: TcpListener,
    stop: &CancellationToken,
    tasks: &TaskTracker,
    serve: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            stream = next(&listener, &places) => stream,
        };
        match stream {
            Ok((stream, place)) => {
                let connection = serve(stream);
                tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // An answer must not wait for the acknowledgement of the one before (43 ms once per connection).
    stream.set_nodelay(true)?;
    Ok((stream, place))
}
