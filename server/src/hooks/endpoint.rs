//! A request of a registry in, events into the queue and a quick answer out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::dialect::Dialect;
use super::guard::{Denied, Guard};
use super::news::{Delivery, MAX_BODY};
use super::queue::{Event, Full as QueueFull, Queue};
use super::scope::{Listed, Refused, Scope};
use crate::chain::detail;
use crate::metrics::Metrics;

/// Where events are sent to, with the name of their source behind it.
pub const PATH: &str = "/v1/events/";
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// After how many seconds a sender may come again when there was no room, or it could not be verified.
const RETRY_AFTER: &str = "1";
/// How many requests a minute senders are told that they may make.
const ALLOWED_RATE: &str = "6000";
/// How often it is said in the log that a source sends what is not taken: whoever can connect could
/// fill it.
const SAID_EVERY: Duration = Duration::from_mins(1);
/// The longest name of a sender that is repeated to it, in bytes.
const MAX_ORIGIN: usize = 255;

/// Who sends events, and of what.
pub struct Source {
    /// What it speaks.
    pub dialect: Dialect,
    /// How it shows who it is.
    pub guard: Guard,
    /// Of what it may tell.
    pub scope: Scope,
}

/// Takes events.
pub struct Endpoint {
    sources: BTreeMap<String, Source>,
    listed: Listed,
    queue: Queue,
    metrics: Arc<Metrics>,
    /// When it was last said that a source sends what is not taken.
    said: Mutex<BTreeMap<String, Instant>>,
}

type Answer = Response<Full<Bytes>>;

impl Endpoint {
    /// Takes events of `sources`, by name, about registries that are `listed`.
    #[must_use]
    pub fn new(
        sources: BTreeMap<String, Source>,
        listed: Listed,
        queue: Queue,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { sources, listed, queue, metrics, said: Mutex::default() }
    }

    /// Answers a request: 202 when its events wait to be acted upon or are none of ours.
    ///
    /// # Errors
    /// Never.
    pub async fn answer<B>(&self, request: Request<B>) -> Result<Answer, Infallible>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let name = head.uri.path().strip_prefix(PATH).and_then(|n| self.sources.get_key_value(n));
        let Some((name, source)) = name else {
            return Ok(closing(text(StatusCode::NOT_FOUND, "there is no source of this name\n")));
        };
        let (outcome, answer) = self.take(name, source, &head, body).await;
        if let Some(outcome) = outcome {
            self.metrics.registry_events(name, outcome, 1);
        }
        Ok(answer)
    }

    /// The answer, and what is counted if not single events are.
    async fn take<B>(
        &self,
        name: &str,
        source: &Source,
        head: &Parts,
        body: B,
    ) -> (Option<&'static str>, Answer)
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let is_handshake = head.method == Method::OPTIONS && source.dialect == Dialect::EventGrid;
        if head.method != Method::POST && !is_handshake {
            let answer = text(StatusCode::METHOD_NOT_ALLOWED, "events are sent with POST\n");
            return (None, closing(with(answer, header::ALLOW, "POST")));
        }
        // Before a byte of the body is read.
        if let Err(denied) = source.guard.admit(head).await {
            if self.may_say(name) {
                let error = detail(&denied);
                tracing::warn!(source = name, error, "a registry event was refused");
            }
            return match denied {
                Denied::Unverified(_) => {
                    let said = "who sends cannot be verified now; come again\n";
                    let answer = text(StatusCode::SERVICE_UNAVAILABLE, said);
                    (Some("unverified"), with(answer, header::RETRY_AFTER, RETRY_AFTER))
                }
                Denied::Unknown | Denied::Token(_) => {
                    let said = "this source is not who it should be\n";
                    (Some("denied"), closing(text(StatusCode::UNAUTHORIZED, said)))
                }
            };
        }
        if is_handshake {
            return (Some("handshake"), allowed(&head.headers));
        }
        let body = match read(body).await {
            Ok(body) => body,
            Err(answer) => return (Some("unreadable"), answer),
        };
        let ce_type = head.headers.get("ce-type").and_then(|value| value.to_str().ok());
        match source.dialect.parse(ce_type, &body) {
            Ok(Delivery::Handshake(code)) => {
                let body = serde_json::json!({"validationResponse": code}).to_string();
                let answer = answer(StatusCode::OK, "application/json", body);
                (Some("handshake"), answer)
            }
            Ok(Delivery::News { news, ignored }) => {
                self.metrics.registry_events(name, "ignored", ignored);
                let events = news.iter().map(|news| source.scope.event(news, &self.listed));
                let mut accepted = Vec::new();
                for event in events {
                    match event {
                        Ok(event) => accepted.push(event),
                        Err(Refused::Unlisted) => self.metrics.registry_events(name, "unlisted", 1),
                        Err(Refused::Malformed) => {
                            self.metrics.registry_events(name, "malformed", 1)
                        }
                    }
                }
                (None, self.offer(name, &accepted))
            }
            Err(error) => {
                if self.may_say(name) {
                    let error = detail(&error);
                    tracing::warn!(source = name, error, "a registry event cannot be read");
                }
                let answer =
                    text(StatusCode::BAD_REQUEST, "this is no event of the source's kind\n");
                (Some("unreadable"), answer)
            }
        }
    }

    /// Whether a source's fault may be said now.
    fn may_say(&self, name: &str) -> bool {
        let mut said = self.said.lock();
        if said.get(name).is_some_and(|at| at.elapsed() < SAID_EVERY) {
            return false;
        }
        said.insert(name.to_owned(), Instant::now());
        true
    }

    fn offer(&self, name: &str, events: &[Event]) -> Answer {
        let count = events.len();
        match self.queue.offer(events) {
            Ok(offered) => {
                self.metrics.registry_events(name, "accepted", offered.accepted);
                self.metrics.registry_events(name, "repeated", offered.repeated);
                self.metrics.registry_events_waiting(self.queue.len());
                text(StatusCode::ACCEPTED, "")
            }
            Err(QueueFull) => {
                self.metrics.registry_events(name, "dropped", count);
                let answer =
                    text(StatusCode::SERVICE_UNAVAILABLE, "there is no room; come again\n");
                with(answer, header::RETRY_AFTER, RETRY_AFTER)
            }
        }
    }
}

/// The whole body, or why it is not read.
async fn read<B>(body: B) -> Result<Bytes, Answer>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(text(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 1 MiB\n"))
        }
        Ok(Err(_)) => Err(text(StatusCode::BAD_REQUEST, "the body ended early\n")),
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
    }
}

/// The answer to the question of CloudEvents whether events may be sent
/// (<https://github.com/cloudevents/spec/blob/v1.0/http-webhook.md>, 4).
fn allowed(headers: &HeaderMap) -> Answer {
    let origin = headers.get("webhook-request-origin").filter(|o| o.len() <= MAX_ORIGIN);
    let Some(origin) = origin else {
        return text(StatusCode::BAD_REQUEST, "expected the header `WebHook-Request-Origin`\n");
    };
    let mut answer = text(StatusCode::OK, "");
    answer.headers_mut().insert("webhook-allowed-origin", origin.clone());
    answer.headers_mut().insert("webhook-allowed-rate", HeaderValue::from_static(ALLOWED_RATE));
    answer
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    with(response, header::CONTENT_TYPE, content_type)
}

/// An answer to somebody who has not shown a secret of ours: its connection is for others.
fn closing(answer: Answer) -> Answer {
    with(answer, header::CONNECTION, "close")
}

fn with(mut answer: Answer, name: header::HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

#[cfg(test)]
mod tests;
