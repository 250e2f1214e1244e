//! A service in, the same with its calls counted out, by method, code and time.
//!
//! It is the outermost layer: what is answered before a call reaches its service (a malformed
//! deadline, a method that is not there) is counted too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::Code;

use crate::metrics::{Method, MethodKind, Metrics};

/// Counts the calls of the service inside.
#[derive(Clone)]
pub(crate) struct Metered<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Metered<S> {
    pub(crate) const fn new(inner: S, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    /// The same over the service that `make` makes of the one inside.
    pub(crate) fn map<T>(&self, make: impl FnOnce(&S) -> T) -> Metered<T> {
        Metered { inner: make(&self.inner), metrics: Arc::clone(&self.metrics) }
    }
}

impl<S, B, O> Service<Request<B>> for Metered<S>
where
    S: Service<Request<B>, Response = Response<O>>,
{
    type Response = Response<MeteredBody<O>>;
    type Error = S::Error;
    type Future = MeteredAnswer<S::Future>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let call = Call {
            method: self.metrics.method(request.uri().path()),
            metrics: Arc::clone(&self.metrics),
            began: Instant::now(),
            // As long as nothing else is known: the caller has gone.
            code: Code::Cancelled,
        };
        MeteredAnswer { answer: self.inner.call(request), call: Some(call) }
    }
}

/// A call under way; it is counted when this is dropped.
struct Call {
    metrics: Arc<Metrics>,
    method: Method,
    began: Instant,
    code: Code,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.call_ended(self.method, self.code, self.began.elapsed());
    }
}

pin_project! {
    /// The answer of a [`Metered`] service.
    pub(crate) struct MeteredAnswer<F> {
        #[pin]
        answer: F,
        call: Option<Call>,
    }
}

impl<F, O, E> Future for MeteredAnswer<F>
where
    F: Future<Output = Result<Response<O>, E>>,
{
    type Output = Result<Response<MeteredBody<O>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx));
        let mut call = this.call.take();
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                if let Some(call) = &mut call {
                    call.code = Code::Unknown;
                }
                return Poll::Ready(Err(error));
            }
        };
        if let Some(ended) = &mut call {
            // An error without a message is in the head. Otherwise one message follows, which is there
            // already, or many, and the code comes after them.
            let code = code(response.headers());
            if code.is_some() || ended.method.kind == MethodKind::Unary {
                ended.code = code.unwrap_or(Code::Ok);
                call = None;
            }
        }
        Poll::Ready(Ok(response.map(|body| MeteredBody { body, call })))
    }
}

pin_project! {
    /// The body of an answer, which ends a call of many messages.
    pub(crate) struct MeteredBody<O> {
        #[pin]
        body: O,
        call: Option<Call>,
    }
}

impl<O: Body> Body for MeteredBody<O> {
    type Data = O::Data;
    type Error = O::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<O::Data>, O::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(call) = this.call {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        call.code = code(trailers).unwrap_or(Code::Unknown);
                    }
                }
                Some(Err(_)) => call.code = Code::Unknown,
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::{BodyExt as _, Empty, StreamBody};
    use hyper::service::service_fn;
    use tonic::Status;

    use super::*;

    const CHECK: &str = "/portcullis.v1.DecisionService/Check";
    const STREAM: &str = "/portcullis.v1.DecisionService/CheckStream";

    /// The frames of two messages and an end with `code`.
    fn frames(code: Code) -> impl Body<Data = Bytes, Error = Infallible> {
        let trailers = Status::new(code, "").into_http::<tonic::body::Body>();
        let trailers = Frame::trailers(trailers.headers().clone());
        let message = || Frame::data(Bytes::from_static(b"message"));
        let frames = [message(), message(), trailers];
        StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)))
    }

    #[track_caller]
    fn counted(metrics: &Metrics, path: &str, code: &str, times: usize) {
        let text = metrics.encode().unwrap();
        let method = path.trim_start_matches('/');
        let line = format!(
            "portcullis_rpc_duration_seconds_count{{method=\"{method}\",code=\"{code}\"}} {times}"
        );
        assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        assert_eq!(text.matches("rpc_duration_seconds_count").count(), times, "{text}");
    }

    fn metered() -> Arc<Metrics> {
        Arc::new(Metrics::new())
    }

    #[tokio::test]
    async fn a_message_ends_a_unary_call() {
        let metrics = metered();
        let ok = service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(Response::new(frames(Code::Ok)))
        });
        let request = Request::builder().uri(CHECK).body(Empty::new()).unwrap();
        let response = Metered::new(ok, Arc::clone(&metrics)).call(request).await.unwrap();
        counted(&metrics, CHECK, "OK", 1);
        drop(response);
        counted(&metrics, CHECK, "OK", 1);
    }

    #[tokio::test]
    async fn an_error_in_the_head_ends_any_call() {
        let metrics = metered();
        let busy = service_fn(async |_: Request<Empty<Bytes>>| {
            let status = Status::resource_exhausted("busy");
            Ok::<_, Infallible>(status.into_http::<tonic::body::Body>())
        });
        let request = Request::builder().uri(STREAM).body(Empty::new()).unwrap();
        let response = Metered::new(busy, Arc::clone(&metrics)).call(request).await.unwrap();
        counted(&metrics, STREAM, "RESOURCE_EXHAUSTED", 1);
        drop(response);
        counted(&metrics, STREAM, "RESOURCE_EXHAUSTED", 1);
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_last_frame_or_its_caller() {
        for (read, code) in [(3, "UNAVAILABLE"), (1, "CANCELLED")] {
            let metrics = metered();
            let many = service_fn(async |_: Request<Empty<Bytes>>| {
                Ok::<_, Infallible>(Response::new(frames(Code::Unavailable)))
            });
            let request = Request::builder().uri(STREAM).body(Empty::new()).unwrap();
            let many = Metered::new(many, Arc::clone(&metrics));
            let mut response = many.call(request).await.unwrap();
            for _ in 0..read {
                response.frame().await.unwrap().unwrap();
            }
            assert!(!metrics.encode().unwrap().contains("rpc_duration_seconds_count"));
            drop(response);
            counted(&metrics, STREAM, code, 1);
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_cancels() {
        let metrics = metered();
        let never = service_fn(|_: Request<Empty<Bytes>>| {
            std::future::pending::<Result<Response<tonic::body::Body>, Infallible>>()
        });
        let request = Request::builder().uri(CHECK).body(Empty::new()).unwrap();
        let answer = Metered::new(never, Arc::clone(&metrics)).call(request);
        drop(answer);
        counted(&metrics, CHECK, "CANCELLED", 1);
    }
}
