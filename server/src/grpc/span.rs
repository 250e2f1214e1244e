//! A call in, its span out: within the caller's trace, named by OpenTelemetry's conventions for RPC.

use http::{HeaderMap, HeaderName};
use portcullis_telemetry::spans::{self, ROOTS};
use tonic::{Code, Status};
use tracing::Span;

use crate::metrics::code_name;

/// Looked for in each request: parsed once.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The span of one gRPC call, within the caller's trace if it is in one (W3C trace context); none
/// where the call is not to be traced. Fields are named by OpenTelemetry's semantic conventions for
/// RPC.
pub(crate) fn call(method: &'static str, headers: &HeaderMap) -> Option<Span> {
    let traceparent = || headers.get(&TRACEPARENT).map(http::HeaderValue::as_bytes);
    let tracestate = || headers.get("tracestate")?.to_str().ok();
    let beginning = spans::sampled(traceparent, tracestate)?;
    let span = tracing::debug_span!(
        target: ROOTS,
        parent: None,
        "call",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    beginning.of(&span);
    Some(span)
}

/// Writes into the span of a call how it ended.
pub(crate) fn ended<T>(span: &Span, result: &Result<T, Status>) {
    let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
    span.record("rpc.response.status_code", code_name(code));
    // Those that the conventions call errors of a server; others are the caller's.
    if matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    ) {
        span.record("error.type", code_name(code));
        span.record("otel.status_code", "ERROR");
    }
}
