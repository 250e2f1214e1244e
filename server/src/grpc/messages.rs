//! The body of a request in, its messages out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::Stream;
use hyper::body::Body;
use tonic::Status;

use super::status;
use super::wire::Frames;

/// The messages in a body.
#[derive(Debug)]
pub(super) struct Messages<B> {
    body: B,
    frames: Frames,
    /// The first, while it is not known whether it is the only one.
    only: Option<Bytes>,
    ended: bool,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    pub(super) fn new(body: B) -> Self {
        Self { body, frames: Frames::default(), only: None, ended: false }
    }

    /// The one message of a body that has no more.
    ///
    /// # Errors
    /// Those of [`Messages::poll_next`], and UNIMPLEMENTED if there is not just one.
    pub(super) fn poll_only(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        loop {
            match ready!(self.poll_message(cx)?) {
                Some(_) if self.only.is_some() => return Poll::Ready(Err(status::not_one())),
                Some(message) => self.only = Some(message),
                None => return Poll::Ready(self.only.take().ok_or_else(status::not_one)),
            }
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.frames.next()? {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended || self.body.is_end_stream() {
                self.ended = true;
                let whole = self.frames.is_empty();
                return Poll::Ready(if whole { Ok(None) } else { Err(status::cut_off()) });
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // After the trailers of a request, of which none are known, there is nothing.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.frames.push(data),
                    Err(_trailers) => self.ended = true,
                },
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(status::broken(&error)));
                }
                None => self.ended = true,
            }
        }
    }
}

impl<B> Stream for Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    type Item = Result<Bytes, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_message(cx).map(Result::transpose)
    }
}
