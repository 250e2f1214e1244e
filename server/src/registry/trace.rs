//! A request to a registry in, its span out: named by OpenTelemetry's conventions for HTTP clients.

use http::Method;
use portcullis_telemetry::spans::SPANS;
use reqwest::Response;
use tracing::Span;
use url::Url;

use super::observe::Route;

/// The span of a request, within that of the question or search that it is for. `resent` is how often
/// it was sent before.
pub(super) fn span(route: Route, method: &Method, url: &Url, resent: usize) -> Span {
    let target = route.template().unwrap_or(route.as_str());
    tracing::debug_span!(
        target: SPANS,
        "registry",
        otel.name = %format_args!("{method} {target}"),
        otel.kind = "client",
        http.request.method = method.as_str(),
        url.template = route.template(),
        server.address = url.host_str(),
        server.port = url.port_or_known_default(),
        http.request.resend_count = resent,
        http.response.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    )
}

/// Writes into its span how a request ended.
pub(super) fn ended(span: &Span, sent: &Result<Response, reqwest::Error>) {
    if span.is_disabled() {
        return;
    }
    let error = match sent {
        Ok(response) => {
            let status = response.status();
            span.record("http.response.status_code", status.as_u16());
            let failed = status.is_client_error() || status.is_server_error();
            failed.then(|| status.as_str().to_owned())
        }
        Err(error) if error.is_timeout() => Some("timeout".to_owned()),
        Err(error) if error.is_connect() => Some("connect".to_owned()),
        Err(_) => Some("_OTHER".to_owned()),
    };
    if let Some(error) = error {
        span.record("error.type", error);
        span.record("otel.status_code", "ERROR");
    }
}
