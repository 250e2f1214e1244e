//! Listeners in, connections served out, until the shim stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::head::{Activity, Heads};
use crate::metrics::Metrics;
use crate::places::{Place, Places};
use crate::tls::Certificates;
use crate::webhook::{Answer, Peer, Webhook};

mod head;

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// For how long a connection may do nothing. API servers keep one for 90 s to use it again, and one that is
/// closed as it is used costs a review.
const IDLE: Duration = Duration::from_secs(120);
/// The same for one that shows no certificate where one is demanded: it has nothing to ask but a probe.
const STRANGER_IDLE: Duration = Duration::from_secs(10);
/// How long what is under way may take once its connection is asked to end.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait after the system refused a connection, for want of file handles say.
const PAUSE: Duration = Duration::from_millis(50);
/// How often an HTTP/2 connection is probed, and how long that may take.
const PROBE: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// The most streams at a time on one connection.
const MAX_STREAMS: u32 = 250;
/// How many bytes of a review, and of all of a connection, may arrive unread.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The largest header list, in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
/// The most connections at a time on the plain listener, and from one address.
const MAX_ADMIN: usize = 128;

/// What serves connections.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) webhook: Arc<Webhook>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) places: Places,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Serving {
    /// Serves the API server over TLS.
    pub(crate) async fn webhook(self, listener: TcpListener) {
        while let Some((stream, peer)) = self.accept(&listener).await {
            let Some(place) = self.place(peer) else { continue };
            let this = self.clone();
            self.tasks.spawn(async move {
                this.connection(stream, peer).await;
                drop(place);
                this.metrics.connections(this.places.taken());
            });
        }
    }

    /// Serves probes and metrics in plain HTTP.
    pub(crate) async fn admin(self, listener: TcpListener) {
        let places = Places::new(MAX_ADMIN, MAX_ADMIN / 2);
        while let Some((stream, peer)) = self.accept(&listener).await {
            let Some(place) = places.take(peer.ip()) else { continue };
            let this = self.clone();
            self.tasks.spawn(async move {
                let _place = place;
                let webhook = Arc::clone(&this.webhook);
                let answer = move |request: Request<Incoming>| {
                    let answer = webhook.admin(&request);
                    async move { answer }
                };
                let activity = Arc::default();
                let stream = Heads::new(stream, Arc::clone(&activity));
                this.serve(http(IDLE).http1_only(), IDLE, stream, activity, answer).await;
            });
        }
    }

    /// The next connection; none when the shim stops.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return None,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) if stream.set_nodelay(true).is_ok() => {
                    return Some((stream, peer));
                }
                // Their clients were gone before they were taken.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.metrics.refused("system");
                    tracing::warn!(%error, "connections cannot be accepted; they wait");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn place(&self, peer: SocketAddr) -> Option<Place> {
        let place = self.places.take(peer.ip());
        if place.is_none() {
            self.metrics.refused("connections");
        }
        self.metrics.connections(self.places.taken());
        place
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Each connection keeps what it began with.
        let shaken = timeout(HANDSHAKE, self.certificates.server.accept(stream)).await;
        let (stream, shown) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => {
                self.metrics.refused("handshake");
                tracing::debug!(%peer, %error, "a handshake failed");
                return;
            }
            Err(_elapsed) => {
                self.metrics.refused("handshake");
                tracing::debug!(%peer, "a handshake took too long");
                return;
            }
        };
        let (_, tls) = stream.get_ref();
        let is_known = !self.certificates.demands() || shown.is_some();
        let is_h2 = tls.alpn_protocol() == Some(b"h2");
        let peer = Peer { address: peer.ip(), is_known };
        let webhook = Arc::clone(&self.webhook);
        let answer = move |request: Request<Incoming>| {
            let webhook = Arc::clone(&webhook);
            // It is large, and is moved some times before it is first asked.
            Box::pin(async move { webhook.answer(request, peer).await })
        };
        let idle = if is_known { IDLE } else { STRANGER_IDLE };
        let activity = Arc::<Activity>::default();
        let counted = Arc::clone(&activity);
        if is_h2 {
            self.serve(http(idle).http2_only(), idle, stream, counted, answer).await;
        } else {
            let stream = Heads::new(stream, Arc::clone(&activity));
            self.serve(http(idle).http1_only(), idle, stream, counted, answer).await;
        }
        if activity.is_slow() {
            self.metrics.refused("slow_head");
        }
    }

    /// Serves one connection until it ends, does nothing for too long, or the shim stops.
    async fn serve<S, A, F>(
        &self,
        http: Builder<TokioExecutor>,
        idle: Duration,
        stream: S,
        activity: Arc<Activity>,
        answer: A,
    ) where
        A: Fn(Request<Incoming>) -> F + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Result<Answer, std::convert::Infallible>> + Send + 'static,
    {
        let counted = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let under_way = counted.begin();
            let answer = answer(request);
            async move {
                let answered = answer.await;
                drop(under_way);
                answered
            }
        });
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut begun = u64::MAX;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    return;
                }
                () = self.stop.cancelled() => break,
                () = sleep(idle) => {
                    let now = activity.begun();
                    if activity.is_idle() && now == begun {
                        break;
                    }
                    begun = now;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        if timeout(GRACE, connection).await.is_err() {
            tracing::debug!("a connection did not end in time");
        }
    }
}

/// hyper's bound for heads counts from the end of the request before: it is that of an idle connection. Heads have one
/// of their own, [`head::HEAD`].
fn http(idle: Duration) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(64 * 1024);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PROBE)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADERS);
    http
}
