//! An answer in, the body that carries it out: messages, and how the call ended after them.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tonic::Status;

use super::status;

/// The body of a response.
#[derive(Default)]
pub(crate) enum Reply {
    /// All that is to be said was said in the headers, or before.
    #[default]
    Ended,
    /// One message with its five bytes, and that all is well.
    Message(Bytes),
    /// Only that all is well.
    Well,
    /// Messages with their five bytes as they come, and at the end how it ended.
    Stream(mpsc::Receiver<Result<Bytes, Status>>),
    /// What tonic answers.
    Other(tonic::body::Body),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let end = match this {
            Self::Ended => return Poll::Ready(None),
            Self::Message(message) => {
                let message = std::mem::take(message);
                *this = Self::Well;
                return Poll::Ready(Some(Ok(Frame::data(message))));
            }
            Self::Well => Ok(()),
            Self::Stream(messages) => match ready!(messages.poll_recv(cx)) {
                Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                Some(Err(status)) => Err(status),
                None => Ok(()),
            },
            Self::Other(body) => return Pin::new(body).poll_frame(cx),
        };
        *this = Self::Ended;
        Poll::Ready(Some(trailers(end).map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Message(_) | Self::Well | Self::Stream(_) => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ended => SizeHint::with_exact(0),
            Self::Message(_) | Self::Well | Self::Stream(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}

/// The headers of all answers. Copied, they are neither hashed nor looked at.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| one(header::CONTENT_TYPE, status::GRPC));
/// The headers after the last message, where all is well.
static WELL: LazyLock<HeaderMap> = LazyLock::new(|| one(Status::GRPC_STATUS, status::OK));

fn one(name: HeaderName, value: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(name, value);
    headers
}

/// An answer that begins well.
pub(super) fn response(reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    *response.headers_mut() = HEADERS.clone();
    response
}

/// How a call ended, as the headers after its last message say it.
fn trailers(end: Result<(), Status>) -> Result<HeaderMap, Status> {
    let Err(status) = end else { return Ok(WELL.clone()) };
    let mut trailers = HeaderMap::with_capacity(1);
    status.add_header(&mut trailers)?;
    Ok(trailers)
}
