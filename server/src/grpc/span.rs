//! A call in, its span out: within the caller's trace, named by OpenTelemetry's conventions for RPC.

use http::HeaderMap;
use opentelemetry::propagation::Extractor;
use tonic::{Code, Status};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::spans::SPANS;

/// The span of one gRPC call, within the caller's trace if it is in one (W3C trace context). Fields
/// are named by OpenTelemetry's semantic conventions for RPC. None where nobody looks at spans.
pub(crate) fn call(method: &'static str, headers: &HeaderMap) -> Option<Span> {
    if !tracing::span_enabled!(target: SPANS, tracing::Level::DEBUG) {
        return None;
    }
    let span = tracing::debug_span!(
        target: SPANS,
        "call",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    let caller = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&Headers(headers))
    });
    // Fails only where the span is in no trace, and then there is nothing to join.
    if let Err(error) = span.set_parent(caller) {
        tracing::debug!(%error, "the caller's trace is not continued");
    }
    Some(span)
}

/// Writes into the current span how a call ended.
pub(crate) fn ended<T>(span: &Span, result: &Result<T, Status>) {
    let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
    span.record("rpc.response.status_code", tracing::field::debug(code));
    if matches!(code, Code::Internal | Code::Unknown | Code::Unavailable | Code::DeadlineExceeded) {
        span.record("otel.status_code", "ERROR");
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
