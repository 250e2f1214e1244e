//! `grpc-timeout` in, a deadline out, obeyed exactly.
//!
//! tonic's own layer ignores a malformed header and answers CANCELLED when time is up; a caller that
//! set a deadline is owed INVALID_ARGUMENT and DEADLINE_EXCEEDED (gRPC over HTTP/2, "Timeout").

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response};
use tokio::time::Instant;
use tonic::Status;
use tower::{Layer, Service};

use super::status;

/// The longest that a caller may ask us to work on one question.
pub const MAX_DEADLINE: Duration = Duration::from_secs(30);

/// Looked for in each request: parsed once.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When the caller's time is up. Put into each request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// Reads `grpc-timeout` for the service inside, and answers for it when the time is up. Where there is
/// none, the service has its own budget, and [`MAX_DEADLINE`] for a request that does not arrive whole.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlined<S>;

    fn layer(&self, inner: S) -> Deadlined<S> {
        Deadlined { inner }
    }
}

/// The service that [`DeadlineLayer`] makes.
#[derive(Debug, Clone)]
pub struct Deadlined<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Deadlined<S>
where
    S: Service<Request<B>, Response = Response<tonic::body::Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let timeout = match timeout(request.headers()) {
            Ok(timeout) => timeout,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Box::pin(async { Ok(status::deadline_exceeded().into_http()) });
        }
        let deadline = Instant::now() + timeout.unwrap_or(MAX_DEADLINE).min(MAX_DEADLINE);
        if timeout.is_some() {
            request.extensions_mut().insert(Deadline(deadline));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(answer) => answer,
                Err(_elapsed) => Ok(status::deadline_exceeded().into_http()),
            }
        })
    }
}

/// The caller's time-out, if it gave one.
///
/// # Errors
/// INVALID_ARGUMENT if the header is malformed, or there are several.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let mut values = headers.get_all(&GRPC_TIMEOUT).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let read = std::str::from_utf8(value.as_bytes()).ok().and_then(parse);
    match (read, values.next()) {
        (Some(timeout), None) => Ok(Some(timeout)),
        _ => {
            let header = String::from_utf8_lossy(value.as_bytes());
            let message = format!(
                "`{header}` is not a `grpc-timeout`: expected 1 to 8 digits and one of H M S m u n"
            );
            Err(status::invalid("grpc-timeout", &message))
        }
    }
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = if plain { digits.parse().ok()? } else { return None };
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
