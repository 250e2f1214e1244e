//! A true answer in, a wrong one out.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use portcullis_core::image::Digest;
use portcullis_core::referrers::{IN_TOTO, OCI_INDEX, OCI_MANIFEST};

use super::answer::{Answer, Body};
use super::content::{Descriptor, List};
use super::route::Call;

/// Size in bytes of one piece of an endless body.
const PIECE: usize = 64 * 1024;
/// What stands where JSON was expected.
const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>";

/// Which requests a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// All.
    Any,
    /// Those for manifests.
    Manifest,
    /// Those for blobs, uploads among them.
    Blob,
    /// Those for what is attached to a digest.
    Referrers,
    /// Those for tokens.
    Token,
    /// Those for the manifest, blob or referrers of this digest, by digest.
    Of(Digest),
    /// Those for manifests by a tag that ends so.
    Tag(&'static str),
}

/// What is wrong with an answer. The first half stand in for the answer, and nothing is pulled or
/// pushed; the second half spoil the true one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status, these headers and this body.
    Status(StatusCode, HeaderMap, Bytes),
    /// 200 and a login page.
    Html,
    /// 429 with this `Retry-After`. (For one without, use [`Fault::Status`].)
    RetryAfter(HeaderValue),
    /// 307 to this URL.
    Redirect(HeaderValue),
    /// 200 and an index of this many descriptors of things that are not there.
    HugeList(usize),
    /// 200 and a body that never ends, at full speed, without a length.
    EndlessBody,
    /// No answer, for as long as the client waits.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// The true headers, but for the length, and no body.
    EmptyBody,
    /// One byte of the body after each of these pauses.
    Drip(Duration),
    /// The true length, half the body, then the connection is closed.
    CloseEarly,
    /// This length in bytes before the true body.
    LyingLength(u64),
    /// These bytes in place of the true ones, under the true headers.
    WrongBytes(Bytes),
    /// More headers than the true ones.
    ExtraHeaders(HeaderMap),
}

/// The faults that are set, in the order of setting.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    route: Route,
    /// How often it still strikes; `None` is always.
    left: Option<usize>,
    fault: Fault,
}

impl Faults {
    pub(super) fn add(&mut self, route: Route, left: Option<usize>, fault: Fault) {
        self.0.push(Armed { route, left, fault });
    }

    /// The fault that strikes this call, if one does; it is used up by that.
    pub(super) fn strike(&mut self, call: Call<'_>) -> Option<Fault> {
        let armed = self.0.iter_mut().find(|a| a.left != Some(0) && a.route.fits(call))?;
        armed.left = armed.left.map(|left| left.saturating_sub(1));
        Some(armed.fault.clone())
    }
}

impl Route {
    fn fits(self, call: Call<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Manifest => matches!(call, Call::Manifest { .. }),
            Self::Blob => matches!(call, Call::Blob { .. } | Call::Upload { .. }),
            Self::Referrers => matches!(call, Call::Referrers { .. }),
            Self::Token => matches!(call, Call::Token),
            Self::Tag(end) => {
                matches!(call, Call::Manifest { reference, .. } if reference.ends_with(end))
            }
            Self::Of(wanted) => match call {
                Call::Manifest { reference: digest, .. }
                | Call::Blob { digest, .. }
                | Call::Referrers { digest, .. } => {
                    digest.parse::<Digest>().is_ok_and(|digest| digest == wanted)
                }
                _ => false,
            },
        }
    }
}

impl Fault {
    /// Answers with this fault. `truth` is called only if the fault needs the true answer.
    ///
    /// # Errors
    /// To close the connection without an answer.
    pub(super) async fn answer(
        self,
        truth: impl FnOnce() -> Answer,
    ) -> Result<Response<Body>, io::Error> {
        Ok(match self {
            Self::Status(status, headers, body) => Answer { status, headers, body }.whole(),
            Self::Html => Answer::ok("text/html; charset=utf-8", PAGE).whole(),
            Self::RetryAfter(value) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let mut answer = Answer::error(status, "TOOMANYREQUESTS", "too many requests");
                answer.headers.insert(RETRY_AFTER, value);
                answer.whole()
            }
            Self::Redirect(location) => {
                let mut answer = Answer::new(StatusCode::TEMPORARY_REDIRECT);
                answer.headers.insert(LOCATION, location);
                answer.whole()
            }
            Self::HugeList(count) => Answer::ok(OCI_INDEX, huge_list(count)).whole(),
            Self::EndlessBody => {
                let piece = Bytes::from(vec![b' '; PIECE]);
                let pieces = stream::repeat_with(move || Ok(piece.clone()));
                Answer::ok("application/json", Bytes::new()).streamed(pieces)
            }
            Self::Hang => std::future::pending().await,
            Self::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
            Self::EmptyBody => Answer { body: Bytes::new(), ..truth() }.whole(),
            Self::Drip(pause) => paced(truth(), 1, pause),
            Self::CloseEarly => {
                let truth = truth();
                let half = truth.body.slice(..truth.body.len() / 2);
                let length = length(&truth.body);
                cut(truth, length, half, Some(io::ErrorKind::ConnectionAborted))
            }
            Self::LyingLength(length) => {
                let truth = truth();
                let whole = truth.body.clone();
                cut(truth, length, whole, None)
            }
            Self::WrongBytes(body) => Answer { body, ..truth() }.whole(),
            Self::ExtraHeaders(headers) => {
                let mut answer = truth();
                for (name, value) in &headers {
                    // Past what a header map can hold, the rest is left out.
                    if answer.headers.try_append(name, value.clone()).is_err() {
                        break;
                    }
                }
                answer.whole()
            }
        })
    }
}

/// The answer with its true length, and a pause before each piece of `size` bytes of its body.
pub(super) fn paced(truth: Answer, size: usize, pause: Duration) -> Response<Body> {
    let length = length(&truth.body);
    let pieces = stream::unfold(truth.body.clone(), move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let size = size.min(rest.len());
        Some((Ok(rest.split_to(size)), rest))
    });
    declare(truth, length).streamed(pieces)
}

/// The response with this length and this body, and then with `end`: an error closes the connection,
/// as does an end before the length.
fn cut(truth: Answer, length: u64, body: Bytes, end: Option<io::ErrorKind>) -> Response<Body> {
    let pieces = stream::unfold(Some(body), move |body| async move {
        if let Some(body) = body {
            return Some((Ok(body), None));
        }
        // What was sent is flushed while this waits; the client is to see it.
        tokio::task::yield_now().await;
        end.map(|kind| (Err(kind.into()), None))
    });
    declare(truth, length).streamed(pieces)
}

fn declare(mut answer: Answer, length: u64) -> Answer {
    answer.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    answer.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    answer
}

fn length(body: &Bytes) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

fn huge_list(count: usize) -> Bytes {
    let entry = |number: usize| Descriptor {
        media_type: OCI_MANIFEST.to_owned(),
        digest: Digest::of(&number.to_be_bytes()),
        size: 1_024,
        artifact_type: Some(IN_TOTO.to_owned()),
        annotations: std::collections::BTreeMap::new(),
    };
    List::new((0..count).map(entry).collect()).to_json()
}
