//! Status, headers and bytes in, an HTTP response out.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

/// The body of a response: whole, or as slow and broken as a fault makes it.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer before it is sent, so that a fault can still change it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(super) fn ok(media_type: &str, body: impl Into<Bytes>) -> Self {
        let mut answer = Self::new(StatusCode::OK).header(CONTENT_TYPE, media_type);
        answer.body = body.into();
        answer
    }

    /// An error in the form of distribution-spec 1.1, "Error Codes".
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        let mut answer = Self::ok("application/json", body.to_string());
        answer.status = status;
        answer
    }

    /// Adds a header; one that HTTP cannot carry, made from a client's strange words, is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The response with the whole body and its true length.
    pub(super) fn whole(self) -> Response<Body> {
        let body = Full::new(self.body.clone()).map_err(|never| match never {}).boxed_unsync();
        self.with(body)
    }

    /// The response with a body that comes in pieces, and may end in an error.
    pub(super) fn streamed(
        self,
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Response<Body> {
        use futures_util::StreamExt as _;
        let frames = pieces.map(|piece| piece.map(Frame::data));
        self.with(StreamBody::new(frames).boxed_unsync())
    }

    fn with(self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
