//! A request that is being answered in, its answer sent out, as far as the reader takes it.
//!
//! A client may leave the window of a stream at nothing and never read. HTTP/2 then waits for ever, and so does
//! what was to be sent. Here the reader has [`SEND_TIMEOUT`] to take something of what there is; the stream is then
//! reset, and the others go on. While an answer is still being found nothing is counted.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use hyper::body::Body;
use tokio::time::{Sleep, sleep};

/// How long an answer waits for a reader who takes nothing of it.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes that one stream asks room for at once, as many as a frame of HTTP/2 has.
const MAX_PART: usize = 16 * 1024;

/// One stream. Dropped before its end, it resets it.
pub(super) struct Exchange<F, B> {
    respond: SendResponse<Bytes>,
    stage: Stage<F, B>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its answer, as far as the reader took it.
    Answered,
    /// Whoever asked reset it, or has gone.
    Left,
}

enum Stage<F, B> {
    /// The answer is being found.
    Finding(F),
    /// It is there, or its beginning.
    Sending(Sending<B>),
}

impl<F, B> Exchange<F, B> {
    pub(super) const fn new(answer: F, respond: SendResponse<Bytes>) -> Self {
        Self { respond, stage: Stage::Finding(answer) }
    }
}

impl<F, B> Future for Exchange<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        if let Stage::Finding(answer) = &mut this.stage {
            let Poll::Ready(Ok(response)) = Pin::new(answer).poll(cx) else {
                // Who resets its stream does not wait any more; neither does who has gone.
                return this.respond.poll_reset(cx).map(|_| End::Left);
            };
            match begin(&mut this.respond, response) {
                Ok(Some(sending)) => this.stage = Stage::Sending(sending),
                Ok(None) => return Poll::Ready(End::Answered),
                Err(Gone) => return Poll::Ready(End::Left),
            }
        }
        match &mut this.stage {
            Stage::Sending(sending) => sending.poll(cx),
            Stage::Finding(_) => Poll::Pending,
        }
    }
}

/// Sends the head of an answer. Where that is all, nothing is left to send.
fn begin<B: Body>(
    respond: &mut SendResponse<Bytes>,
    response: Response<B>,
) -> Result<Option<Sending<B>>, Gone> {
    let (head, body) = response.into_parts();
    let is_all = body.is_end_stream();
    match respond.send_response(Response::from_parts(head, ()), is_all) {
        Ok(to) => Ok((!is_all).then(|| Sending { to, body, rest: Bytes::new(), patience: None })),
        Err(error) => {
            // The stream was reset meanwhile; or the head is none that HTTP/2 has, which is our fault.
            tracing::debug!(%error, "an answer was not sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
            Err(Gone)
        }
    }
}

struct Sending<B> {
    to: SendStream<Bytes>,
    body: B,
    /// What there is of it that was not taken yet.
    rest: Bytes,
    /// Rarely there: most answers are taken as soon as they are found.
    patience: Option<Pin<Box<Sleep>>>,
}

/// The stream is at an end, and nothing more can be sent.
struct Gone;

impl<B: Body<Data = Bytes, Error: Display> + Unpin> Sending<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            while !self.rest.is_empty() {
                match self.poll_part(cx) {
                    Poll::Ready(Ok(())) => self.patience = None,
                    Poll::Ready(Err(Gone)) => return Poll::Ready(End::Left),
                    Poll::Pending => return self.poll_patience(cx),
                }
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return self.to.poll_reset(cx).map(|_| End::Left),
            };
            let sent = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.rest = data;
                        continue;
                    }
                    Err(last) => match last.into_trailers() {
                        Ok(trailers) => self.to.send_trailers(trailers),
                        Err(_unknown) => continue,
                    },
                },
                Some(Err(error)) => {
                    tracing::debug!(%error, "an answer broke off");
                    self.to.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(End::Answered);
                }
                None => self.to.send_data(Bytes::new(), true),
            };
            if let Err(error) = sent {
                tracing::debug!(%error, "the end of an answer was not sent");
            }
            return Poll::Ready(End::Answered);
        }
    }

    /// Sends as much as there is room for. What is sent never waits for its reader: there is room for it.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        // Not before there is something to send, or it would be kept from other streams.
        self.to.reserve_capacity(self.rest.len().min(MAX_PART));
        let mut room = self.to.capacity();
        while room == 0 {
            room = match ready!(self.to.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
            };
        }
        let part = self.rest.split_to(room.min(self.rest.len()));
        Poll::Ready(self.to.send_data(part, false).map_err(|_| Gone))
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(SEND_TIMEOUT)));
        ready!(patience.as_mut().poll(cx));
        self.to.send_reset(Reason::CANCEL);
        Poll::Ready(End::Answered)
    }
}
