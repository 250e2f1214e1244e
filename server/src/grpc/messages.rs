//! The body of a request in, its messages out.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::Stream;
use hyper::body::Body;
use tonic::Status;

use super::status;
use super::wire::Frames;

/// The most bytes of requests that have not arrived whole, of all callers together.
const MAX_ARRIVING: usize = 128 * 1024 * 1024;
/// Up to so many bytes of one are not counted: it is on its way, and nearly all are no longer.
const FREE: usize = 32 * 1024;

/// How many there are.
static ARRIVING: AtomicUsize = AtomicUsize::new(0);

/// What one request has of them.
#[derive(Debug)]
struct Taken {
    of: &'static AtomicUsize,
    bytes: usize,
}

impl Taken {
    /// Takes room for `bytes` instead of what was taken before.
    fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        let bytes = if bytes > FREE { bytes } else { 0 };
        let before = std::mem::replace(&mut self.bytes, bytes);
        let Some(more) = bytes.checked_sub(before) else {
            self.of.fetch_sub(before - bytes, Ordering::Relaxed);
            return Ok(());
        };
        if more > 0 && self.of.fetch_add(more, Ordering::Relaxed) + more > MAX_ARRIVING {
            return Err(status::no_room(MAX_ARRIVING));
        }
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Nearly all have none, and touch nothing that is shared.
        if self.bytes > 0 {
            self.of.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// The messages in a body.
#[derive(Debug)]
pub(super) struct Messages<B> {
    body: B,
    frames: Frames,
    /// The first, while it is not known whether it is the only one.
    only: Option<Bytes>,
    taken: Taken,
    ended: bool,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    pub(super) fn new(body: B) -> Self {
        let taken = Taken { of: &ARRIVING, bytes: 0 };
        Self { body, frames: Frames::default(), only: None, taken, ended: false }
    }

    /// Takes room for what arrived and was not given on.
    fn hold(&mut self) -> Result<(), Status> {
        self.taken.hold(self.frames.len() + self.only.as_ref().map_or(0, Bytes::len))
    }

    /// The one message of a body that has no more.
    ///
    /// # Errors
    /// Those of [`Messages::poll_next`], and UNIMPLEMENTED if there is not just one.
    pub(super) fn poll_only(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        loop {
            match ready!(self.poll_message(cx)?) {
                Some(_) if self.only.is_some() => return Poll::Ready(Err(status::not_one())),
                Some(message) => {
                    self.only = Some(message);
                    self.hold()?;
                }
                None => {
                    let only = self.only.take();
                    self.hold()?;
                    return Poll::Ready(only.ok_or_else(status::not_one));
                }
            }
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.frames.next()? {
                self.hold()?;
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                let whole = self.frames.is_empty();
                return Poll::Ready(if whole { Ok(None) } else { Err(status::cut_off()) });
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // After the trailers of a request, of which none are known, there is nothing.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.frames.push(data);
                        self.hold()?;
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
        self.get_mut().poll_message(cx).map(Result::transpose)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body_util::Full;
    use tonic::Code;

    use super::*;

    #[test]
    fn what_has_not_arrived_whole_has_a_bound_for_all_together() {
        static HERE: AtomicUsize = AtomicUsize::new(0);
        let taken = || Taken { of: &HERE, bytes: 0 };
        let (mut one, mut other) = (taken(), taken());
        one.hold(MAX_ARRIVING).unwrap();
        // A small one is never turned away.
        other.hold(FREE).unwrap();
        assert!(other.hold(FREE + 1).is_err());
        one.hold(MAX_ARRIVING - 2 * FREE).unwrap();
        assert_eq!(HERE.load(Ordering::Relaxed), MAX_ARRIVING - FREE + 1);
        other.hold(0).unwrap();
        other.hold(2 * FREE).unwrap();
        drop((one, other));
        assert_eq!(HERE.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_arrives_is_counted_until_it_is_given_on() {
        static HERE: AtomicUsize = AtomicUsize::new(0);
        /// What arrives: the five bytes before a message, and so much of it.
        const ARRIVED: usize = 5 + 2 * FREE;
        let read = |stated: usize| {
            let mut data = vec![0];
            data.extend(u32::try_from(stated).unwrap().to_be_bytes());
            data.resize(ARRIVED, 7);
            let taken = Taken { of: &HERE, bytes: 0 };
            let mut messages = Messages { taken, ..Messages::new(Full::new(Bytes::from(data))) };
            let read = messages.poll_only(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(read) = read else { panic!("all of it is there") };
            (read, messages, HERE.load(Ordering::Relaxed))
        };
        let (whole, messages, counted) = read(2 * FREE);
        assert_eq!((whole.unwrap().len(), counted), (2 * FREE, 0));
        drop(messages);
        let (part, messages, counted) = read(3 * FREE);
        assert_eq!((part.unwrap_err().code(), counted), (Code::InvalidArgument, ARRIVED));
        drop(messages);
        assert_eq!(HERE.load(Ordering::Relaxed), 0);
        // Where there is room for all of it, and for all but a byte.
        for (others, code) in [
            (MAX_ARRIVING - ARRIVED, Code::InvalidArgument),
            (MAX_ARRIVING - ARRIVED + 1, Code::ResourceExhausted),
        ] {
            HERE.store(others, Ordering::Relaxed);
            assert_eq!(read(3 * FREE).0.unwrap_err().code(), code);
            assert_eq!(HERE.load(Ordering::Relaxed), others);
        }
    }
}
