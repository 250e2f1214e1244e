//! The answers of a connection in, an end to those that nobody reads out.
//!
//! A client may leave the window of a stream at nothing and never read. HTTP/2 then waits for ever, and
//! so does what was to be sent. Here each stream knows whose turn it is: while an answer is being found
//! it is ours and nothing is counted; once there is something to send it is the reader's, who has
//! [`SEND_TIMEOUT`] to take it. The stream is then reset, and the others go on.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::MapOk;
use http::{Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::inline::Inline;

/// How long an answer waits for a reader who takes nothing of it.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes that are offered at once, as many as a frame of HTTP/2 has. What is offered counts as
/// taken as soon as the window takes its first byte, and the rest of it then waits where nobody looks.
const MAX_PART: usize = 16 * 1024;

/// Who must act next in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// An answer is being found.
    Ours,
    /// Something was offered to the reader since the stream was polled last.
    Offered,
    /// It has not been taken yet.
    Readers,
}

thread_local! {
    /// The turn in the stream that is being polled. A stream and its body are polled by one thread, one
    /// within the other, so that this costs less than something shared would.
    static TURN: Cell<Turn> = const { Cell::new(Turn::Ours) };
}

/// A service of which each answer tells its stream whose turn it is.
pub(super) struct Attended<S>(S);

impl<S> Attended<S> {
    pub(super) const fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, R, B> Service<Request<R>> for Attended<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<Telling<B>>;
    type Error = S::Error;
    type Future = MapOk<S::Future, fn(Response<B>) -> Response<Telling<B>>>;

    fn call(&self, request: Request<R>) -> Self::Future {
        self.0.call(request).map_ok(|response| response.map(Telling::new))
    }
}

/// A body that tells its stream whose turn it is, and is offered in parts.
pub(super) struct Telling<B> {
    body: B,
    /// What was not offered yet of the last frame.
    rest: Bytes,
}

impl<B> Telling<B> {
    const fn new(body: B) -> Self {
        Self { body, rest: Bytes::new() }
    }

    fn part(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(MAX_PART)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Telling<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            TURN.set(Turn::Offered);
            return Poll::Ready(Some(Ok(this.part())));
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        TURN.set(if frame.is_ready() { Turn::Offered } else { Turn::Ours });
        frame.map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                this.rest = data;
                this.part()
            }
            Err(trailers) => trailers,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

/// Runs streams where their connection is served.
#[derive(Clone, Default)]
pub(super) struct Streams(pub(super) Inline);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.add(Stream { stream, turn: Turn::Ours, patience: None });
    }
}

pin_project! {
    /// A stream that ends when its reader lets it wait. What it held is then dropped, which resets it.
    struct Stream<F> {
        #[pin]
        stream: F,
        turn: Turn,
        // Rarely there: most answers are sent as soon as they are found.
        patience: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.project();
        let before = TURN.replace(*me.turn);
        let polled = me.stream.poll(cx);
        let turn = TURN.replace(before);
        if polled.is_ready() {
            return Poll::Ready(());
        }
        match turn {
            Turn::Ours => {
                *me.turn = Turn::Ours;
                *me.patience = None;
                Poll::Pending
            }
            Turn::Offered | Turn::Readers => {
                let patience = me.patience.get_or_insert_with(|| Box::pin(sleep(SEND_TIMEOUT)));
                if turn == Turn::Offered {
                    // What was offered before has been taken.
                    patience.as_mut().reset(Instant::now() + SEND_TIMEOUT);
                }
                *me.turn = Turn::Readers;
                patience.as_mut().poll(cx)
            }
        }
    }
}

#[cfg(test)]
mod tests;
