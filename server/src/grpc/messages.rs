//! The body of a request in, its messages out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::Stream;
use hyper::body::Body;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use self::arriving::{Room, SMALL, Taken};
use super::deadline::MAX_DEADLINE;
use super::status;
use super::wire::Frames;
use crate::caller::Caller;

mod arriving;
pub(crate) mod small;

/// How long after its end a message that was begun is found not to have been read meanwhile.
const UNREAD: Duration = Duration::from_secs(1);

/// The messages in a body.
#[derive(Debug)]
pub(super) struct Messages<B> {
    body: B,
    frames: Frames,
    /// The first, while it is not known whether it is the only one.
    only: Option<Bytes>,
    /// Room for what waits here for its rest.
    taken: Taken,
    /// When the message that was begun has to be there, where its end is waited for.
    late: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    /// Those that `caller` sends in `body`.
    pub(super) fn new(body: B, caller: Caller) -> Self {
        let taken = Taken::new(Room::of_all(), caller);
        let frames = Frames::default();
        Self { body, frames, only: None, taken, late: None, ended: false }
    }

    /// Takes room for what arrived and has to wait for what did not. What arrives whole, as nearly all does,
    /// takes none.
    fn wait(&mut self) -> Result<(), Status> {
        let bytes = self.frames.len() + self.only.as_ref().map_or(0, Bytes::len);
        if bytes == self.taken.bytes() {
            return Ok(());
        }
        // A part of what was read together would keep all of it.
        self.frames.settle();
        if let Some(only) = self.only.as_mut().filter(|only| only.len() <= SMALL) {
            *only = Bytes::copy_from_slice(only);
        }
        self.taken.hold(bytes)
    }

    /// Whether a message that was begun is still not there when it has to be.
    fn poll_late(&mut self, cx: &mut Context<'_>, has_more: bool) -> Poll<()> {
        let end = || Instant::now() + MAX_DEADLINE;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(end())));
        // Long past, and not just now, while another byte came.
        if has_more && Instant::now() >= late.deadline() + UNREAD {
            // Nobody read it meanwhile, so that it could not come.
            late.as_mut().reset(end());
        }
        late.as_mut().poll(cx)
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
                None => {
                    // It is given on, and waits here no longer.
                    self.taken.give_back();
                    return Poll::Ready(self.only.take().ok_or_else(status::not_one));
                }
            }
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.frames.next()? {
                self.taken.give_back();
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                let whole = self.frames.is_empty();
                return Poll::Ready(if whole { Ok(None) } else { Err(status::cut_off()) });
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                self.wait()?;
                return Poll::Pending;
            };
            match frame {
                // After the trailers of a request, of which none are known, there is nothing.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.frames.push(data);
                        // Nobody has to be asked again for the end of nearly all.
                        self.ended = self.body.is_end_stream();
                    }
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
        let this = self.get_mut();
        let before = this.frames.len();
        match this.poll_message(cx) {
            Poll::Ready(message) => {
                this.late = None;
                Poll::Ready(message.transpose())
            }
            // A stream may wait for its next message as long as it likes.
            Poll::Pending if this.frames.is_empty() => Poll::Pending,
            Poll::Pending => {
                ready!(this.poll_late(cx, this.frames.len() > before));
                Poll::Ready(Some(Err(status::unfinished(MAX_DEADLINE))))
            }
        }
    }
}

#[cfg(test)]
mod tests;
