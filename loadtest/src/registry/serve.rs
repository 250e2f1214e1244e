//! Requests in, manifests and lists and blobs out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{OCI_INDEX, OCI_MANIFEST};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::content::Part;
use super::faults::Fault;
use super::{RegistryError, State};
use crate::image::{self, Images};

/// How long to wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// The longest path that is looked at, in bytes.
const MAX_PATH: usize = 1_024;

/// Serves until `stopped` is dropped.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    state: Arc<Mutex<State>>,
    images: Arc<Images>,
    mut stopped: oneshot::Receiver<()>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let (state, images) = (Arc::clone(&state), Arc::clone(&images));
                    connections.spawn(async move {
                        let service = service_fn(move |request| {
                            let (state, images) = (Arc::clone(&state), Arc::clone(&images));
                            async move { answer(&state, &images, &request).await }
                        });
                        // A client may go away at any time; that is nothing to report.
                        let _ = http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// Whether this is a registry.
    Root,
    /// A manifest by tag.
    Tag(u32),
    /// A manifest by digest.
    Manifest(Digest),
    /// What is attached to a digest.
    Referrers(Digest),
    /// A blob.
    Blob(Digest),
    /// Something that is not here.
    Nothing,
}

impl Call {
    pub(super) fn read(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/v2/").filter(|_| path.len() <= MAX_PATH) else {
            return Self::Nothing;
        };
        if rest.is_empty() {
            return Self::Root;
        }
        let parts = rest.rsplit_once('/').and_then(|(place, name)| {
            let (repository, kind) = place.rsplit_once('/')?;
            Some((repository, kind, name))
        });
        let Some((repository, kind, name)) = parts else { return Self::Nothing };
        let digest = name.parse::<Digest>().ok();
        let call = match (kind, digest) {
            ("manifests", Some(digest)) => Some(Self::Manifest(digest)),
            ("manifests", None) => image::of_tag(repository, name).map(Self::Tag),
            ("referrers", Some(digest)) => Some(Self::Referrers(digest)),
            ("blobs", Some(digest)) => Some(Self::Blob(digest)),
            _ => None,
        };
        call.unwrap_or(Self::Nothing)
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Tag(_) | Self::Manifest(_) => "manifest",
            Self::Referrers(_) => "referrers",
            Self::Blob(_) => "blob",
            Self::Root | Self::Nothing => "other",
        }
    }
}

async fn answer(
    state: &Mutex<State>,
    images: &Images,
    request: &Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let call = Call::read(request.uri().path());
    let (manner, fault) = {
        let mut state = state.lock();
        state.requests += 1;
        count(&mut state, images, &call);
        (state.manner, state.manner.strikes(state.requests))
    };
    if !manner.round_trip.is_zero() {
        tokio::time::sleep(manner.round_trip).await;
    }
    match fault {
        Fault::None => {}
        Fault::BlackHole => std::future::pending::<()>().await,
        Fault::Throttle => {
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS");
            response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("1"));
            return Ok(response);
        }
        Fault::Error => return Ok(error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")),
    }
    let found = find(&mut state.lock().content, images, &call);
    let (kind, body) = match found {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")),
        Err(_) => return Ok(error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN")),
    };
    let under_way = manner.under_way(body.len());
    if !under_way.is_zero() {
        tokio::time::sleep(under_way).await;
    }
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    Ok(response)
}

fn count(state: &mut State, images: &Images, call: &Call) {
    let (image, is_search) = match call {
        Call::Tag(index) => (Some(*index), false),
        Call::Manifest(digest) | Call::Blob(digest) => {
            let part = || state.content.find(*digest).map(|(index, _)| index);
            (images.find(*digest).or_else(part), false)
        }
        Call::Referrers(digest) => match images.find(*digest) {
            Some(index) => (Some(index), true),
            None => (state.content.find(*digest).map(|(index, _)| index), false),
        },
        Call::Root | Call::Nothing => (None, false),
    };
    *state.counted.kinds.entry(call.kind()).or_default() += 1;
    if let Some(image) = image {
        let requests = state.counted.images.entry(image).or_default();
        requests.all += 1;
        requests.searches += u32::from(is_search);
    }
}

type Found = Option<(&'static str, Bytes)>;

fn find(
    content: &mut super::Content,
    images: &Images,
    call: &Call,
) -> Result<Found, RegistryError> {
    match call {
        Call::Root => Ok(Some(("application/json", Bytes::from_static(b"{}")))),
        Call::Tag(index) if *index < images.count() => {
            Ok(Some((OCI_MANIFEST, images.manifest(*index).into())))
        }
        Call::Manifest(digest) => match images.find(*digest) {
            Some(index) => Ok(Some((OCI_MANIFEST, images.manifest(index).into()))),
            None => {
                let is_manifest = |part| matches!(part, Part::Report | Part::Signature);
                Ok(part_of(content, *digest, is_manifest)?.map(|bytes| (OCI_MANIFEST, bytes)))
            }
        },
        Call::Blob(digest) => {
            let is_blob = |part| matches!(part, Part::Findings | Part::Envelope);
            Ok(part_of(content, *digest, is_blob)?.map(|bytes| ("application/octet-stream", bytes)))
        }
        Call::Referrers(digest) => {
            let of = match images.find(*digest) {
                Some(index) => Some((index, None)),
                None => content.find(*digest).map(|(index, part)| (index, Some(part))),
            };
            // The list of what nobody knows is empty, as the specification has it.
            let list = match of {
                Some((index, part)) => content.referrers(index, part)?,
                None => {
                    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#)
                }
            };
            Ok(Some((OCI_INDEX, list.into())))
        }
        Call::Tag(_) | Call::Nothing => Ok(None),
    }
}

/// The document with this digest, if it is of a kind that is wanted.
fn part_of(
    content: &mut super::Content,
    digest: Digest,
    wanted: impl FnOnce(Part) -> bool,
) -> Result<Option<Bytes>, RegistryError> {
    let Some((index, part)) = content.find(digest).filter(|(_, part)| wanted(*part)) else {
        return Ok(None);
    };
    let bytes = content.attached(index)?.part(part);
    // After another scan the old documents are gone.
    Ok(Some(bytes).filter(|bytes| Digest::of(bytes) == digest))
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let body =
        format!(r#"{{"errors":[{{"code":"{code}","message":"the load harness says so"}}]}}"#);
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let digest = Digest::of(b"x");
        let read = |path: &str| Call::read(path);
        assert_eq!(read("/v2/"), Call::Root);
        assert_eq!(read("/v2/load/app-1/manifests/v17"), Call::Tag(17));
        assert_eq!(read("/v2/load/app-0/manifests/v17"), Call::Nothing);
        assert_eq!(read(&format!("/v2/load/app-1/manifests/{digest}")), Call::Manifest(digest));
        assert_eq!(read(&format!("/v2/load/app-1/referrers/{digest}")), Call::Referrers(digest));
        assert_eq!(read(&format!("/v2/load/app-1/blobs/{digest}")), Call::Blob(digest));
        for path in ["/", "/v2", "/v2/x", "/v2/a/b", "/v2/a/blobs/v1", "/v2/a/tags/list"] {
            assert_eq!(read(path), Call::Nothing, "{path}");
        }
        let long = |length: usize| format!("/v2/{}/blobs/{digest}", "a".repeat(length - 82));
        assert_eq!(long(MAX_PATH).len(), MAX_PATH);
        assert_eq!(read(&long(MAX_PATH)), Call::Blob(digest));
        assert_eq!(read(&long(MAX_PATH + 1)), Call::Nothing);
    }
}
