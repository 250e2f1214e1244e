//! An HTTP request in, its answer out: reviews, probes and metrics, within bounds.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use tokio::time::{Instant, sleep, timeout_at};

use crate::budget::budget;
use crate::metrics::Metrics;
use crate::places::{Place, Places};
use crate::review::MAX_REVIEW;
use crate::reviewer::{Kind, Reviewer, Whole};
use crate::tls::Certificates;
use crate::traced::{self, Traced};

/// Where the API server asks whether an object may be.
pub const VALIDATE: &str = "/validate";
/// Where the API server asks what to change in an object.
pub const MUTATE: &str = "/mutate";
/// Bodies up to this length need no place of their own: most reviews are smaller.
const SMALL: usize = 128 * 1024;
/// How many larger bodies are read at a time.
const LARGE_AT_A_TIME: usize = 8;
/// How many of them are of one address.
const LARGE_PER_PEER: usize = 4;
/// How many wait for such a place. What a body that waits has sent is not read, and all that is sent on one
/// connection and not read may be 1 MiB: with more of them no other body on it would get on.
const WAITING_AT_A_TIME: usize = 16;
/// How many of those are of one address.
const WAITING_PER_PEER: usize = 8;
/// How often one that has no place looks for one.
const LOOK: Duration = Duration::from_millis(10);

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// Whether it showed a certificate that is signed as it should be, or need not show one.
    pub(crate) is_known: bool,
}

/// How long reviews may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// As configured.
    pub(crate) timeout: Duration,
    /// How much earlier than the API server gives up we answer.
    pub(crate) margin: Duration,
    /// How long a body may take to come.
    pub(crate) body: Duration,
}

/// Answers requests.
pub(crate) struct Webhook {
    reviewer: Reviewer,
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
    patience: Patience,
    places: Places,
    large: Places,
    waiting: Places,
    ready: AtomicBool,
    draining: AtomicBool,
}

/// Why a body is not read.
enum Unread {
    /// It is longer than is read; what it begins with.
    TooLarge(Bytes),
    /// It is large, and there is no place for it; what it begins with.
    Crowded(Bytes),
    /// It did not come in time.
    Slow,
    /// It ended early.
    Broken,
}

impl Webhook {
    pub(crate) fn new(
        reviewer: Reviewer,
        certificates: Arc<Certificates>,
        metrics: Arc<Metrics>,
        patience: Patience,
        places: Places,
    ) -> Self {
        Self {
            reviewer,
            certificates,
            metrics,
            patience,
            places,
            large: Places::new(LARGE_AT_A_TIME, LARGE_PER_PEER),
            waiting: Places::new(WAITING_AT_A_TIME, WAITING_PER_PEER),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// API servers may send reviews here.
    pub(crate) fn ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// API servers should send reviews elsewhere from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether API servers should send reviews here, and why not. Where the certificate has expired they cannot, here
    /// or anywhere that has the same: it takes nobody's place, and another replica may have a good one.
    fn readiness(&self) -> Result<(), &'static str> {
        if !self.ready.load(Ordering::Acquire) || self.draining.load(Ordering::Acquire) {
            Err("starting or draining\n")
        } else if self.certificates.is_over() {
            Err("the certificate has expired\n")
        } else {
            Ok(())
        }
    }

    /// Answers what comes over TLS.
    pub(crate) async fn answer<B>(
        &self,
        request: Request<B>,
        peer: Peer,
    ) -> Result<Answer, Infallible>
    where
        B: Body<Data = Bytes>,
    {
        let begin = Instant::now();
        let (kind, route) = match request.uri().path() {
            VALIDATE => (Kind::Validate, VALIDATE),
            MUTATE => (Kind::Mutate, MUTATE),
            _ => return Ok(self.probe(&request)),
        };
        if request.method() != Method::POST {
            let answer = text(StatusCode::METHOD_NOT_ALLOWED, "reviews are sent with POST\n");
            return Ok(with(answer, header::ALLOW, "POST"));
        }
        // Before anything of it is looked at: strangers leave no traces.
        if !peer.is_known {
            self.metrics.refused("no_certificate");
            let said = "a client certificate is demanded: let the API server show one\n";
            return Ok(text(StatusCode::UNAUTHORIZED, said));
        }
        Ok(match Traced::of(request.headers()) {
            Traced::No => self.reviewed(kind, request, peer, begin).await,
            Traced::Told(trace) => trace.around(self.reviewed(kind, request, peer, begin)).await,
            Traced::Kept(beginning) => {
                let at = (route, request.version());
                // Few are, and what they need is not in the way of the others.
                let answer = Box::pin(self.reviewed(kind, request, peer, begin));
                traced::answered(beginning, at, answer, Response::status).await
            }
        })
    }

    /// Answers a review.
    async fn reviewed<B>(
        &self,
        kind: Kind,
        request: Request<B>,
        peer: Peer,
        begin: Instant,
    ) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        let patience = &self.patience;
        let deadline = begin + budget(request.uri().query(), patience.timeout, patience.margin);
        let until = deadline.min(begin + patience.body);
        let Some(_place) = self.places.take(peer.address) else {
            self.metrics.refused("reviews");
            // What is left of it on the connection would pass for the head of the next.
            discard(std::pin::pin!(request.into_body()), until).await;
            return text(StatusCode::TOO_MANY_REQUESTS, "there are too many reviews\n");
        };
        let written = match self.read(request.into_body(), peer.address, until).await {
            Ok(body) => self.reviewer.review(kind, body, deadline).await,
            Err(Unread::TooLarge(beginning)) => self.reviewer.too_large(kind, &beginning),
            Err(Unread::Crowded(beginning)) => self.reviewer.crowded(kind, &beginning),
            Err(Unread::Slow) => {
                self.metrics.refused("slow_body");
                let said = "the body did not come in time\n";
                return with(text(StatusCode::REQUEST_TIMEOUT, said), header::CONNECTION, "close");
            }
            Err(Unread::Broken) => {
                self.metrics.refused("broken_body");
                return text(StatusCode::BAD_REQUEST, "the body ended early\n");
            }
        };
        match written {
            Ok(body) => json(body),
            Err(refusal) => text(refusal.status, refusal.said),
        }
    }

    /// Answers what comes without TLS.
    pub(crate) fn admin<B>(&self, request: &Request<B>) -> Result<Answer, Infallible> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if !is_read || request.uri().path() != "/metrics" {
            return Ok(self.probe(request));
        }
        Ok(match self.metrics.encode() {
            Ok(body) => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                with(Response::new(Full::new(body.into())), header::CONTENT_TYPE, kind)
            }
            Err(error) => {
                tracing::error!(%error, "metrics could not be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be written\n")
            }
        })
    }

    fn probe<B>(&self, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match path {
            "/livez" | "/readyz" if !is_read => {
                text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n")
            }
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.readiness() {
                Ok(()) => text(StatusCode::OK, "ok\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            },
            _ => text(StatusCode::NOT_FOUND, "there are /validate, /mutate, /livez and /readyz\n"),
        }
    }

    /// A place among the large bodies, as soon as there is one.
    async fn place(&self, peer: IpAddr, until: Instant) -> Option<Place> {
        let mut waiting = None;
        loop {
            if let Some(place) = self.large.take(peer) {
                return Some(place);
            }
            if waiting.is_none() {
                waiting = Some(self.waiting.take(peer)?);
            }
            if Instant::now() + LOOK >= until {
                return None;
            }
            sleep(LOOK).await;
        }
    }

    /// The whole body, until an instant. Of what is too large no more is read than shows it.
    async fn read<B>(&self, body: B, peer: IpAddr, until: Instant) -> Result<Whole, Unread>
    where
        B: Body<Data = Bytes>,
    {
        let mut body = std::pin::pin!(body);
        let mut read = BytesMut::new();
        let mut place = None;
        loop {
            let frame = match timeout_at(until, body.frame()).await {
                Ok(None) => return Ok(Whole { bytes: read.freeze(), _place: place }),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(Unread::Broken),
                Err(_elapsed) => return Err(Unread::Slow),
            };
            let Ok(data) = frame.into_data() else { continue };
            let length = read.len() + data.len();
            if length > MAX_REVIEW {
                discard(body, until).await;
                return Err(Unread::TooLarge(read.freeze()));
            }
            if length > SMALL && place.is_none() {
                place = self.place(peer, until).await;
                if place.is_none() {
                    self.metrics.refused("large");
                    return Err(Unread::Crowded(read.freeze()));
                }
            }
            // Most reviews come in one piece.
            if read.is_empty() && body.is_end_stream() {
                return Ok(Whole { bytes: data, _place: place });
            }
            if read.is_empty() {
                read.reserve(room(length, body.size_hint().lower()));
            }
            read.extend_from_slice(&data);
        }
    }
}

/// How much room is made for a body of which `length` bytes are there and `more` are to come, as it says itself.
fn room(length: usize, more: u64) -> usize {
    length.saturating_add(usize::try_from(more).unwrap_or(usize::MAX)).min(SMALL.max(length))
}

/// Reads on for a while without keeping anything: whoever still writes does not see an answer that its
/// connection is closed behind.
async fn discard<B>(mut body: Pin<&mut B>, until: Instant)
where
    B: Body<Data = Bytes>,
{
    let mut discarded = 0;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > MAX_REVIEW {
            return;
        }
    }
}

fn json(body: Vec<u8>) -> Answer {
    with(Response::new(Full::new(body.into())), header::CONTENT_TYPE, "application/json")
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    with(response, header::CONTENT_TYPE, "text/plain; charset=utf-8")
}

fn with(mut answer: Answer, name: header::HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
