//! The body of a review in, the body of its answer out: read, exempt or asked about, answered.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::StatusCode;
use portcullis_telemetry::spans;
use tokio::time::Instant;

use crate::ask::{Asker, Purpose};
use crate::metrics::Metrics;
use crate::places::Place;
use crate::review::{self, Asked, Fault, Response, Review, ReviewError, Settings};

/// What the API server asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whether an object may be.
    Validate,
    /// What to change in it.
    Mutate,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Mutate => "mutate",
        }
    }
}

/// The body of a review, and its place among the large ones until it is read.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) _place: Option<Place>,
}

/// Why a review has no answer that the API server could read.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) said: &'static str,
}

/// Answers reviews.
pub(crate) struct Reviewer {
    pub(crate) asker: Arc<Asker>,
    pub(crate) settings: Settings,
    pub(crate) exempt: BTreeSet<String>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What came of a review, in words for metrics.
struct Told {
    response: Response,
    source: &'static str,
}

impl Reviewer {
    /// Answers a review by `deadline`. A fault of ours costs this review alone, which then counts as one that cannot
    /// be read; others on its connection go on.
    pub(crate) async fn review(
        &self,
        kind: Kind,
        body: Whole,
        deadline: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let review = AssertUnwindSafe(self.whole(kind, body, deadline)).catch_unwind();
        review.await.unwrap_or_else(|_panic| {
            self.lost();
            let said = "the review was lost in a fault of the shim\n";
            Err(Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, said })
        })
    }

    async fn whole(&self, kind: Kind, body: Whole, deadline: Instant) -> Result<Vec<u8>, Refusal> {
        let begin = Instant::now();
        let read = review::read(&body.bytes, &self.settings);
        // While the service is asked, only what was read of it is kept.
        drop(body);
        let told = match read {
            Ok(review) => {
                let answer = AssertUnwindSafe(self.answer(kind, &review, deadline)).catch_unwind();
                match answer.await {
                    Ok(told) => told,
                    Err(_panic) => {
                        self.lost();
                        self.unreadable(kind, &ReviewError::lost(&review))?
                    }
                }
            }
            Err(error) => self.unreadable(kind, &error)?,
        };
        self.write(kind, &told, begin)
    }

    fn lost(&self) {
        self.metrics.refused("lost");
        tracing::error!("a review was lost in a panic");
    }

    /// Answers a review that begins so and is longer than is read. It is never taken for one without
    /// images.
    pub(crate) fn too_large(&self, kind: Kind, beginning: &[u8]) -> Result<Vec<u8>, Refusal> {
        let begin = Instant::now();
        let told = self.unreadable(kind, &ReviewError::too_large(beginning))?;
        self.write(kind, &told, begin)
    }

    /// Answers a review that begins so, for which there is no place.
    pub(crate) fn crowded(&self, kind: Kind, beginning: &[u8]) -> Result<Vec<u8>, Refusal> {
        let begin = Instant::now();
        let error = ReviewError { fault: Fault::Crowded, ..ReviewError::too_large(beginning) };
        let told = self.unreadable(kind, &error)?;
        self.write(kind, &told, begin)
    }

    async fn answer(&self, kind: Kind, review: &Review, deadline: Instant) -> Told {
        if self.exempt.contains(&review.object.namespace) {
            return Told {
                response: review::skipped(review, "exempt_namespace"),
                source: "exempt",
            };
        }
        let question = match &review.asked {
            Asked::Images(question) => question,
            Asked::Nothing(why) => {
                return Told { response: review::skipped(review, why.word()), source: "nothing" };
            }
        };
        // What is mutated is asked about again when it is validated.
        let is_last = kind == Kind::Validate && !review.dry_run;
        let purpose = if is_last { Purpose::Admission } else { Purpose::Advice };
        let images = i64::try_from(question.images.len()).unwrap_or(i64::MAX);
        spans::record("portcullis.review.images", images);
        let found = self.asker.ask(question, purpose, deadline).await;
        let outcome = found.outcome();
        let response = match kind {
            Kind::Validate => review::validated(review, &outcome, &self.settings),
            Kind::Mutate => review::mutated(review, &outcome),
        };
        if let Some(cause) = found.cause {
            let instead = match (kind, found.source, response.allowed) {
                (_, "last_known", _) => "last_known",
                // It denies nothing, and what it leaves as it is is validated.
                (Kind::Mutate, _, _) => "no_pin",
                (Kind::Validate, _, true) => "allow",
                (Kind::Validate, _, false) => "deny",
            };
            self.metrics.unanswered(cause, instead);
            spans::record("portcullis.review.cause", cause);
        }
        Told { response, source: found.source }
    }

    fn unreadable(&self, kind: Kind, error: &ReviewError) -> Result<Told, Refusal> {
        // Where nothing is asked about, nothing needs to be understood.
        let is_exempt =
            error.seen.namespace.as_ref().is_some_and(|name| self.exempt.contains(name));
        if is_exempt && let Some(response) = review::skipped_unread(error, "exempt_namespace") {
            return Ok(Told { response, source: "exempt" });
        }
        let webhook = kind.word();
        let said = crate::chain(error);
        tracing::warn!(
            webhook,
            fault = error.fault.word(),
            error = said,
            "a review cannot be read"
        );
        match review::unreadable(error, &self.settings) {
            Some(response) => {
                if kind == Kind::Validate && !error.seen.dry_run {
                    self.asker.tell_unread(error, response.allowed);
                }
                Ok(Told { response, source: error.fault.word() })
            }
            // Without its uid there is no answer that the API server takes.
            None => {
                self.metrics.refused("unreadable");
                let is_long = matches!(error.fault, Fault::TooLarge { .. });
                let status =
                    if is_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
                Err(Refusal { status, said: "this is no AdmissionReview that can be answered\n" })
            }
        }
    }

    fn write(&self, kind: Kind, told: &Told, begin: Instant) -> Result<Vec<u8>, Refusal> {
        let Told { response, source } = told;
        let outcome = match (response.allowed, response.warnings.is_empty()) {
            (false, _) => "deny",
            (true, true) => "allow",
            (true, false) => "warn",
        };
        let webhook = kind.word();
        self.metrics.review(webhook, outcome, source, begin.elapsed());
        spans::record("portcullis.review.source", *source);
        spans::record("portcullis.review.allowed", response.allowed);
        tracing::debug!(webhook, outcome, source, uid = response.uid, "a review is answered");
        response.to_json().map_err(|error| {
            tracing::error!(%error, "an answer cannot be written");
            let said = "the answer cannot be written\n";
            Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, said }
        })
    }
}
