//! Requests of HTTP/2 in, answers out: the calls of every admission by our own hand, all others by tonic.
//!
//! Between the frames of HTTP/2 and a question there is nothing but the five bytes before a message: no router,
//! no layers, no boxes. A question whose answer is known is answered where its last byte is read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use hyper::body::Body;
use hyper::service::Service;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tracing::Span;

use super::messages::Messages;
use super::messages::small::Small;
use super::reply::{self, Reply};
use super::{Answered, Decisions, deadline, span, status};
use crate::arrival::Arrived;
use crate::check::Check;
use crate::check::bulk::Bulk;
use crate::identity::Who;

/// Looked for in each request: parsed once.
static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The calls that are answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Check,
    CheckStream,
    BulkCheck,
    ReportAnswered,
}

impl Call {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/portcullis.v1.DecisionService/")? {
            "Check" => Some(Self::Check),
            "CheckStream" => Some(Self::CheckStream),
            "BulkCheck" => Some(Self::BulkCheck),
            "ReportAnswered" => Some(Self::ReportAnswered),
            _ => None,
        }
    }

    /// As traces have it.
    const fn name(self) -> &'static str {
        match self {
            Self::Check => "portcullis.v1.DecisionService/Check",
            Self::CheckStream => "portcullis.v1.DecisionService/CheckStream",
            Self::BulkCheck => "portcullis.v1.DecisionService/BulkCheck",
            Self::ReportAnswered => "portcullis.v1.DecisionService/ReportAnswered",
        }
    }
}

/// Answers decisions itself, and gives all other requests to `others`.
pub(crate) struct Front<C, R> {
    decisions: Arc<Decisions<C>>,
    others: R,
    who: Who,
}

impl<C, R: Clone> Front<C, R> {
    /// The same for what `who` asks.
    pub(crate) fn for_whom(&self, who: Who) -> Self {
        Self { who, ..self.clone() }
    }
}

impl<C, R> Front<C, R> {
    pub(crate) fn new(decisions: Decisions<C>, others: R) -> Self {
        Self { decisions: Arc::new(decisions), others, who: Who::default() }
    }
}

impl<C, R: Clone> Clone for Front<C, R> {
    fn clone(&self) -> Self {
        Self {
            decisions: Arc::clone(&self.decisions),
            others: self.others.clone(),
            who: self.who.clone(),
        }
    }
}

impl<C, R, B> Service<Request<B>> for Front<C, R>
where
    C: Check + Bulk,
    R: Service<Request<Small<B>>, Response = Response<tonic::body::Body>, Error = Infallible>,
    R::Future: Send + 'static,
    B: Body<Data = Bytes> + Arrived + Send + Unpin + 'static,
    B::Error: std::error::Error,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Answering<C, B>;

    fn call(&self, mut request: Request<B>) -> Answering<C, B> {
        if let Err(refusal) = self.who.may(request.uri().path()) {
            return Answering::Ready(Some(status::refused(&refusal).into_http()));
        }
        let Some(call) = Call::of(request.uri().path()) else {
            let caller = self.who.caller();
            request.extensions_mut().insert(caller);
            let answer = self.others.call(request.map(|body| Small::new(body, caller)));
            return Answering::Other(Box::pin(async move {
                answer.await.map(|answer| answer.map(Reply::Other))
            }));
        };
        let timeout = match checked(request.headers()) {
            Ok(timeout) => timeout,
            Err(refusal) => return Answering::Ready(Some(*refusal)),
        };
        let span = span::call(call.name(), request.headers());
        // Its caller's time runs since it came, and not since it has its turn.
        let at = request.body().at();
        let messages = Messages::new(request.into_body(), self.who.caller());
        if call == Call::CheckStream {
            let until = timeout.and_then(|timeout| at.checked_add(timeout));
            let who = self.who.clone();
            return Answering::Ready(Some(self.decisions.stream(messages, who, span, until)));
        }
        let timeout = timeout.unwrap_or(self.decisions.budget).min(deadline::MAX_DEADLINE);
        let deadline = at + timeout;
        let decisions = Arc::clone(&self.decisions);
        Answering::Unary(Unary {
            call,
            who: self.who.clone(),
            decisions,
            messages,
            deadline,
            span,
            state: State::Reading(None),
        })
    }
}

/// The caller's time, if it gives one; or what it is told of a request that no message is read of.
fn checked(headers: &HeaderMap) -> Result<Option<Duration>, Box<Response<Reply>>> {
    let is_grpc = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        // As gRPC over HTTP/2 has it, so that what is not a client of gRPC can read it.
        let mut refusal = Response::new(Reply::default());
        *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Box::new(refusal));
    }
    if let Some(encoding) = headers.get(&GRPC_ENCODING)
        && encoding != "identity"
    {
        return Err(Box::new(status::unknown_encoding(encoding).into_http()));
    }
    match deadline::timeout(headers) {
        Ok(Some(timeout)) if timeout.is_zero() => {
            Err(Box::new(status::deadline_exceeded().into_http()))
        }
        Ok(timeout) => Ok(timeout),
        Err(status) => Err(Box::new(status.into_http())),
    }
}

/// The answer to a request, when it is there.
pub(crate) enum Answering<C, B> {
    /// To one question.
    Unary(Unary<C, B>),
    /// Nothing is to be waited for: a refusal, or the beginning of a stream.
    Ready(Option<Response<Reply>>),
    /// By tonic.
    Other(Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>),
}

impl<C, B> Future for Answering<C, B>
where
    C: Check + Bulk,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    type Output = Result<Response<Reply>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Unary(unary) => unary.poll(cx).map(Ok),
            Self::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // It was given, and nobody asks twice.
                None => Poll::Pending,
            },
            Self::Other(answer) => answer.as_mut().poll(cx),
        }
    }
}

/// One question, from its first byte to its answer.
pub(crate) struct Unary<C, B> {
    call: Call,
    who: Who,
    decisions: Arc<Decisions<C>>,
    messages: Messages<B>,
    deadline: Instant,
    span: Option<Span>,
    state: State,
}

enum State {
    /// Until the deadline, of which nobody has to be reminded if all of the question is there.
    Reading(Option<Pin<Box<Sleep>>>),
    /// What is asked has to be waited for.
    Waiting(Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>),
}

impl<C, B> Unary<C, B>
where
    C: Check + Bulk,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<Reply>> {
        let answer = ready!(self.poll_answer(cx));
        if let Some(span) = &self.span {
            span::ended(span, &answer);
        }
        Poll::Ready(match answer {
            Ok(message) => reply::response(Reply::Message(message)),
            Err(status) => status.into_http(),
        })
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        loop {
            let _entered = self.span.as_ref().map(Span::enter);
            match &mut self.state {
                State::Waiting(answer) => return answer.as_mut().poll(cx),
                State::Reading(timer) => match self.messages.poll_only(cx) {
                    Poll::Ready(message) => match self.begin(&message?) {
                        Answered::Now(answer) => return Poll::Ready(answer),
                        Answered::Later(answer) => self.state = State::Waiting(answer),
                    },
                    Poll::Pending => {
                        let timer =
                            timer.get_or_insert_with(|| Box::pin(sleep_until(self.deadline)));
                        ready!(timer.as_mut().poll(cx));
                        return Poll::Ready(Err(status::deadline_exceeded()));
                    }
                },
            }
        }
    }

    fn begin(&self, message: &[u8]) -> Answered {
        // Under overload a question waits for its turn on this thread. One that nobody waits for any more
        // is not worked on: those after it are still in time.
        if self.deadline <= Instant::now() {
            self.decisions.metrics.no_answer("expired_in_queue");
            return Answered::Now(Err(status::deadline_exceeded()));
        }
        match self.call {
            Call::BulkCheck => self.decisions.bulk_check(message, &self.who, self.deadline),
            Call::ReportAnswered => self.decisions.report(message, &self.who, self.deadline),
            Call::Check | Call::CheckStream => {
                self.decisions.check(message, &self.who, self.deadline)
            }
        }
    }
}

#[cfg(test)]
mod tests;
