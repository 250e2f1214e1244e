//! A review in, its span out, and those of the calls that it makes: within the API server's trace if it is in one, named
//! by OpenTelemetry's conventions for HTTP servers and for RPC.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, StatusCode, Version};
use portcullis_client::{Call, CallSpan, TraceContext, Tracer, traced};
use portcullis_telemetry::spans::{self, Beginning, Choice, ROOTS, SPANS};
use tracing::{Instrument as _, Span};

/// The header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// What becomes of the trace of a review.
#[derive(Debug)]
pub enum Traced {
    /// There is none, or none that goes on.
    No,
    /// It has no spans here, and the service is told of it.
    Told(TraceContext),
    /// It has spans here.
    Kept(Beginning),
}

impl Traced {
    /// By the headers that the review came with. Where traces are off, the API server's goes on at the service.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let traceparent = || headers.get(TRACEPARENT).map(HeaderValue::as_bytes);
        let tracestate = || headers.get(TRACESTATE)?.to_str().ok();
        let told = match spans::choose(traceparent, tracestate) {
            Some(Choice::Kept(beginning)) => return Self::Kept(beginning),
            Some(Choice::Left) => left(),
            Some(Choice::LeftByCaller) | None => callers(headers),
        };
        told.map_or(Self::No, Self::Told)
    }
}

/// What the API server says of its trace.
fn callers(headers: &HeaderMap) -> Option<TraceContext> {
    let parent = headers.get(TRACEPARENT)?;
    TraceContext::of(parent.as_bytes(), headers.get(TRACESTATE).map(HeaderValue::as_bytes))
}

/// What the service is told of a trace that is not kept: it would choose anew otherwise.
fn left() -> Option<TraceContext> {
    static LEFT: OnceLock<Option<TraceContext>> = OnceLock::new();
    LEFT.get_or_init(|| TraceContext::of(spans::left().as_bytes(), None)).clone()
}

/// The answer to a review at `route`, in a span of its own; and in one each what the service is asked for it.
pub async fn answered<F, T>(
    beginning: Beginning,
    (route, version): (&'static str, Version),
    answer: F,
    status: impl FnOnce(&T) -> StatusCode,
) -> T
where
    F: Future<Output = T>,
{
    let span = review(route, version);
    beginning.of(&span);
    let answer = traced(Arc::new(Calls), answer).instrument(span.clone()).await;
    let status = status(&answer);
    span.record("http.response.status_code", status.as_u16());
    // Others are the caller's errors.
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
    answer
}

fn review(route: &'static str, version: Version) -> Span {
    tracing::debug_span!(
        target: ROOTS,
        parent: None,
        "review",
        otel.name = %format_args!("POST {route}"),
        otel.kind = "server",
        http.request.method = "POST",
        http.route = route,
        url.path = route,
        url.scheme = "https",
        network.protocol.version = if version == Version::HTTP_2 { "2" } else { "1.1" },
        http.response.status_code = tracing::field::Empty,
        portcullis.review.images = tracing::field::Empty,
        portcullis.review.source = tracing::field::Empty,
        portcullis.review.cause = tracing::field::Empty,
        portcullis.review.allowed = tracing::field::Empty,
        error.type = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    )
}

/// Makes spans of calls, within that of their review.
#[derive(Debug)]
pub struct Calls;

impl Tracer for Calls {
    fn begin(&self, call: &Call<'_>) -> Box<dyn CallSpan> {
        let Call { method, server, port, replica } = call;
        Box::new(CallOf(tracing::debug_span!(
            target: SPANS,
            "call",
            otel.name = method,
            otel.kind = "client",
            rpc.system.name = "grpc",
            rpc.method = method,
            server.address = server,
            server.port = port,
            network.peer.address = %replica,
            network.peer.port = port,
            rpc.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
        )))
    }
}

struct CallOf(Span);

impl CallSpan for CallOf {
    fn context(&self) -> Option<TraceContext> {
        let parent = spans::traceparent(&self.0)?;
        let state = spans::tracestate(&self.0);
        TraceContext::of(parent.as_bytes(), state.as_deref().map(str::as_bytes))
    }

    fn end(&mut self, status: &'static str) {
        self.0.record("rpc.response.status_code", status);
        if status != "OK" {
            self.0.record("error.type", status);
            self.0.record("otel.status_code", "ERROR");
        }
    }
}
