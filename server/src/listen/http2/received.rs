//! What a stream of HTTP/2 receives in, the body of a request out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use hyper::body::{Body, Frame};
use tokio::time::Instant;

use crate::arrival::Arrived;

/// Room for so many bytes is given back when their stream ends, if they are all of it. Those of all streams
/// together are a quarter of the window of a connection.
const SMALL: usize = 2 * 1024;

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Received {
    stream: RecvStream,
    at: Instant,
    has_data: bool,
    has_ended: bool,
}

impl Received {
    /// What `stream` receives, of which the beginning is here since `at`.
    pub(super) const fn new(stream: RecvStream, at: Instant) -> Self {
        Self { stream, at, has_data: true, has_ended: false }
    }
}

impl Arrived for Received {
    fn at(&self) -> Instant {
        self.at
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        if this.has_data {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    this.has_ended = this.stream.is_end_stream();
                    if !this.has_ended || data.len() > SMALL {
                        // It was taken, and so the client may send as much again.
                        this.stream.flow_control().release_capacity(data.len())?;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(failed(error)),
                None => this.has_data = false,
            }
        }
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(failed(error)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.stream.is_end_stream()
    }
}

/// Who resets a stream without an error has said all there is to say (RFC 9113, section 8.1).
fn failed(error: h2::Error) -> Option<Result<Frame<Bytes>, h2::Error>> {
    (error.reason() != Some(Reason::NO_ERROR)).then_some(Err(error))
}
