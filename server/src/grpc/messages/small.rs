//! The body of a request that tonic answers in, the same with room for what tonic holds of it out.
//!
//! tonic puts the parts of a message together out of our sight, without a bound of all of them together. So what
//! came of a body whose rest is waited for has room here, as what our own calls wait for has.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;

use super::arriving::{Room, Taken};
use crate::caller::Caller;
use crate::grpc::{MAX_SMALL_REQUEST, status};

/// The most that tonic holds of one request: a message, and what came with its end.
const MAX_HELD: usize = 2 * MAX_SMALL_REQUEST;

/// The body of a request with small messages. One that is a stream has room for all that came, up to a bound:
/// where its messages end is not looked at.
pub(crate) struct Small<B> {
    body: B,
    came: usize,
    taken: Taken,
}

impl<B> Small<B> {
    /// What `caller` sends in `body`.
    pub(in crate::grpc) fn new(body: B, caller: Caller) -> Self {
        Self { body, came: 0, taken: Taken::new(Room::of_all(), caller) }
    }
}

impl<B> Body for Small<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            // What arrives whole, as nearly all does, takes no room.
            let held = this.came.min(MAX_HELD);
            return match this.taken.hold(held) {
                Ok(()) => Poll::Pending,
                Err(status) => Poll::Ready(Some(Err(status))),
            };
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                this.came += frame.data_ref().map_or(0, Bytes::len);
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(status::broken(&error))),
            None => {
                this.taken.give_back();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::StreamBody;
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt as _;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::Code;

    use super::*;

    type Parts = mpsc::Sender<Bytes>;

    /// A body whose parts are sent, with room of `room`.
    fn body(
        room: &'static Room,
        n: u16,
    ) -> (Parts, impl Body<Data = Bytes, Error = Status> + Unpin) {
        let (send, parts) = mpsc::channel(4);
        let parts = ReceiverStream::new(parts);
        let body = StreamBody::new(parts.map(|part| Ok::<_, std::fmt::Error>(Frame::data(part))));
        let caller = Caller::of(([127, 0, 0, 1], n).into());
        (send, Small { body, came: 0, taken: Taken::new(room, caller) })
    }

    /// Reads what there is. The code where there is no more, if there is one.
    async fn read(body: &mut (impl Body<Data = Bytes, Error = Status> + Unpin)) -> Option<Code> {
        // Nothing is read by who has had its turn.
        tokio::task::yield_now().await;
        let next = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx)));
        match next.await {
            Poll::Ready(Some(Ok(_))) => Box::pin(read(body)).await,
            Poll::Ready(Some(Err(status))) => Some(status.code()),
            Poll::Ready(None) | Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_tonic_waits_for_has_room_while_it_waits() {
        let room: &'static Room = Box::leak(Box::default());
        let (parts, mut one) = body(room, 1);
        parts.try_send(vec![0; 1_000].into()).unwrap();
        assert_eq!(room.held(), (0, 0));
        assert_eq!((read(&mut one).await, room.held()), (None, (1_000, 1)));
        parts.try_send(vec![0; 500].into()).unwrap();
        assert_eq!((read(&mut one).await, room.held()), (None, (1_500, 1)));
        // No more than tonic may hold.
        parts.try_send(vec![0; 5 * MAX_HELD].into()).unwrap();
        assert_eq!((read(&mut one).await, room.held()), (None, (MAX_HELD, 1)));
        drop(parts);
        assert_eq!((read(&mut one).await, room.held()), (None, (0, 0)));
        // One that is dropped while it waits gives it back too.
        let (parts, mut other) = body(room, 1);
        parts.try_send(vec![0; 1_000].into()).unwrap();
        assert_eq!((read(&mut other).await, room.held()), (None, (1_000, 1)));
        drop(other);
        assert_eq!(room.held(), (0, 0));
    }

    #[tokio::test]
    async fn one_past_the_room_of_its_caller_is_refused() {
        let room: &'static Room = Box::leak(Box::default());
        let mut held = Vec::new();
        let refused = loop {
            let (parts, mut one) = body(room, 1);
            parts.try_send(vec![0; MAX_SMALL_REQUEST].into()).unwrap();
            match read(&mut one).await {
                None => held.push((parts, one)),
                refused => break refused,
            }
            assert!(held.len() < 10_000, "all are taken");
        };
        assert_eq!(refused, Some(Code::ResourceExhausted));
        assert_eq!(held.len() * MAX_SMALL_REQUEST, 32 * 1024 * 1024);
        // Others have theirs.
        let (parts, mut other) = body(room, 2);
        parts.try_send(vec![0; MAX_SMALL_REQUEST].into()).unwrap();
        assert_eq!(read(&mut other).await, None);
    }
}
