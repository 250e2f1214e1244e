//! `/metrics`, `/livez` and `/readyz` over HTTP/1.1 for Prometheus and the kubelet.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use crate::metrics::{Exposition, Metrics};

/// Whether the service takes questions: false while it starts and once it drains.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Says whether the service takes questions.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether the service takes questions.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the admin endpoint shows.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Arc<Readiness>,
}

impl Admin {
    pub(crate) fn answer<B>(
        &self,
        request: &Request<B>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        Ok(match request.uri().path() {
            _ if !read => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n"),
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.readiness.get() => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting or draining\n"),
            "/metrics" => self.metrics(request.headers()),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n"),
        })
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let exposition = Exposition::wanted(accept);
        match self.metrics.encode_as(exposition) {
            Ok(body) => answer(StatusCode::OK, exposition.content_type(), body),
            Err(error) => {
                tracing::error!(%error, "metrics could not be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be written\n")
            }
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let value = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_ready_only_while_it_takes_questions() {
        let readiness = Arc::new(Readiness::default());
        let admin = Admin { metrics: Arc::default(), readiness: Arc::clone(&readiness) };
        let status = |page: &str| {
            let request = Request::builder().uri(page).body(()).unwrap();
            admin.answer(&request).unwrap().status().as_u16()
        };
        assert_eq!((status("/livez"), status("/readyz")), (200, 503));
        readiness.set(true);
        assert_eq!((status("/livez"), status("/readyz")), (200, 200));
        readiness.set(false);
        assert_eq!((status("/livez"), status("/readyz")), (200, 503));
    }
}
