//! The bytes of a connection in, its calls answered out: frames by the `h2` crate, and around it what a server owes.
//!
//! Requests that were read together are answered one after the other by the connection itself, and what is known
//! then goes out in one write: no task, no box and no channel for one of them. What has to be waited for becomes a
//! task. ADR 0025 says what is kept of what hyper does around `h2`, and how.

mod exchange;
mod leavers;
mod pulse;
mod received;

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::Reason;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use http::{Request, Response};
use hyper::body::Body;
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use self::exchange::{End, Exchange};
use self::leavers::{Leavers, MAX_LEAVERS};
use self::pulse::Pulse;
pub(crate) use self::received::Received;
use super::connection::Graceful;
use super::seldom::Asker;
use super::wire::Wire;
use super::{MAX_HEADER_LIST, MAX_STREAMS};
use crate::metrics::Metrics;

/// How long a connection answers one request after the other before it gives the others of its thread a turn.
/// Most are answered in some 10 µs, a question about a thousand manifests in milliseconds.
const MAX_TURN: Duration = Duration::from_millis(1);
/// Streams that a peer resets and that were read, but not taken up (rapid reset, RUSTSEC-2023-0034): where a
/// process stood still, all who left meanwhile are read together.
const MAX_PENDING_RESETS: usize = MAX_LEAVERS as usize;
/// Streams that we reset for a peer's faults (RUSTSEC-2024-0003).
const MAX_LOCAL_RESETS: usize = 256;
/// The most bytes of answers that wait in one stream for its connection, before more are asked for.
const MAX_UNSENT: usize = 64 * 1024;
/// How many bytes a client may send that were not taken, on a connection and on each of its streams.
const WINDOW: u32 = 1024 * 1024;
/// The largest frame that a client may send.
const MAX_FRAME: u32 = 16 * 1024;

/// Why a connection broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The client did not keep to the protocol or its bounds, or went away.
    #[error("the client did not keep to HTTP/2, or went away")]
    Http2(#[from] h2::Error),
    /// Nothing can be sent.
    #[error("the connection takes no bytes")]
    Io(#[from] io::Error),
    /// The client is not there any longer.
    #[error("the client did not answer a ping")]
    Silent,
    /// The client opens streams to reset them.
    #[error("the client left more than {MAX_LEAVERS} streams before they were answered")]
    Flood,
}

/// A connection whose requests are answered by `S`.
pub(super) struct Http2<T, S> {
    stage: Stage<T>,
    wire: Wire<T>,
    service: S,
    metrics: Arc<Metrics>,
    bell: Arc<Bell>,
    /// Rings the bell.
    ringer: Waker,
}

/// A request.
struct Came {
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    at: Instant,
}

enum Stage<T> {
    Greeting(Box<Handshake<Wire<T>, Bytes>>),
    Serving(Box<Connection<Wire<T>, Bytes>>, Box<Pulse>, Leavers),
}

/// Wakes the task of a connection, unless the connection is asked anyway.
#[derive(Default)]
struct Bell {
    task: Asker,
    /// Whether HTTP/2 is asked once more before the task ends its turn. Whoever rings meanwhile has changed
    /// something before, and it is seen then.
    is_asked: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_asked.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, S> Http2<T, S> {
    /// Serves what comes of `wire`, and counts in `metrics` what panics.
    pub(super) fn new(wire: Wire<T>, service: S, metrics: Arc<Metrics>) -> Self {
        let greeting = bounds().handshake(wire.clone());
        let bell = Arc::new(Bell::default());
        let ringer = Waker::from(Arc::clone(&bell));
        let stage = Stage::Greeting(Box::new(greeting));
        Self { stage, wire, service, metrics, bell, ringer }
    }
}

/// HTTP/2 with its bounds.
fn bounds() -> Builder {
    let mut http = Builder::new();
    http.max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .max_send_buffer_size(MAX_UNSENT)
        .initial_connection_window_size(WINDOW)
        .initial_window_size(WINDOW)
        .max_frame_size(MAX_FRAME);
    http
}

impl<T, S, B> Http2<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Received>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Display> + Unpin + Send + 'static,
{
    fn poll_calls(&mut self) -> Poll<Result<(), Broken>> {
        let Self { stage, wire, service, metrics, bell, ringer } = self;
        let mut cx = Context::from_waker(ringer);
        loop {
            match stage {
                Stage::Greeting(greeting) => {
                    let mut connection = ready!(Pin::new(&mut **greeting).poll(&mut cx))?;
                    let pulse = Pulse::new(connection.ping_pong());
                    let leavers = Leavers::new(Instant::now());
                    *stage = Stage::Serving(Box::new(connection), Box::new(pulse), leavers);
                }
                Stage::Serving(connection, pulse, leavers) => {
                    let begun = Instant::now();
                    while let Poll::Ready(came) = accept(connection, begun, &mut cx) {
                        let Some(came) = came else { return Poll::Ready(leavers.end()) };
                        bell.is_asked.store(true, Ordering::SeqCst);
                        let ended = answer(service, metrics, came?, &mut cx);
                        bell.is_asked.store(false, Ordering::SeqCst);
                        if ended == Some(End::Left) && !leavers.bear(begun) {
                            // Nothing more is accepted once this is told.
                            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        }
                        if begun.elapsed() >= MAX_TURN {
                            // What else came is answered when the others of this thread had theirs.
                            ringer.wake_by_ref();
                            break;
                        }
                    }
                    // After all that came was read.
                    return pulse.poll(&mut cx, || wire.heard()).map(Err);
                }
            }
        }
    }
}

/// The next request that is read, in a turn that began at `now`.
fn accept<T: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<Wire<T>, Bytes>,
    now: Instant,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Came, h2::Error>>> {
    let came = |(request, respond)| Came { request, respond, at: now };
    connection.poll_accept(cx).map(|accepted| accepted.map(|accepted| accepted.map(came)))
}

/// Answers a request if the answer is known, which is its end, and has a task wait for it otherwise.
fn answer<S, B>(
    service: &S,
    metrics: &Arc<Metrics>,
    Came { request, respond, at }: Came,
    cx: &mut Context<'_>,
) -> Option<End>
where
    S: Service<Request<Received>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Display> + Unpin + Send + 'static,
{
    // One that panics ends alone: its stream is reset, as if it were a task.
    let waiting = catch_unwind(AssertUnwindSafe(|| {
        let answer = service.call(request.map(|stream| Received::new(stream, at)));
        let mut exchange = Exchange::new(answer, respond);
        match Pin::new(&mut exchange).poll(cx) {
            Poll::Ready(end) => Ok(end),
            Poll::Pending => Err(exchange),
        }
    }));
    match waiting {
        Ok(Ok(end)) => return Some(end),
        Ok(Err(exchange)) => {
            let metrics = Arc::clone(metrics);
            // It is looked at again there, and wakes that task from then on.
            tokio::spawn(async move {
                if AssertUnwindSafe(exchange).catch_unwind().await.is_err() {
                    lost(&metrics);
                }
            });
        }
        Err(_panic) => lost(metrics),
    }
    None
}

fn lost(metrics: &Metrics) {
    metrics.panicked("call");
    tracing::error!("a call was lost in a panic");
}

impl<T, S, B> Future for Http2<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Received>, Response = Response<B>, Error = Infallible> + Unpin,
    S::Future: Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Display> + Unpin + Send + 'static,
{
    type Output = Result<(), Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.bell.task.is(cx.waker());
        let polled = this.poll_calls();
        // What was written in this turn, also where it was the last one.
        let sent = this.wire.poll_send(&mut Context::from_waker(&this.ringer));
        match (polled, sent) {
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            (polled, _) => polled,
        }
    }
}

impl<T, S> Graceful for Http2<T, S>
where
    Self: Future<Output = Result<(), Broken>>,
    T: AsyncRead + AsyncWrite + Unpin,
    S: Unpin,
{
    type Error = Broken;

    /// In two steps, as `h2` does it: that it ends, and after a round trip which request is the last.
    fn graceful_shutdown(self: Pin<&mut Self>) {
        // Whoever has not said hello within its time is cut off before this.
        if let Stage::Serving(connection, ..) = &mut self.get_mut().stage {
            connection.graceful_shutdown();
        }
    }
}

#[cfg(test)]
mod tests;
