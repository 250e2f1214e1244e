//! POST, PATCH and PUT in, content out.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use http::{HeaderMap, Method, StatusCode};
use portcullis_core::image::Digest;

use super::answer::Answer;
use super::content::Links;
use super::pull::{CONTENT_DIGEST, malformed_digest};
use super::route::Call;
use super::{MAX_UPLOAD, MAX_UPLOADS, State};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// The blobs of which a part has come.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    begun: u64,
    parts: BTreeMap<String, BytesMut>,
}

impl State {
    /// Answers what has a body; `None` if the call is not a push.
    pub(super) fn push(
        &mut self,
        method: &Method,
        call: Call<'_>,
        query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Option<Answer> {
        let digest = url::form_urlencoded::parse(query.as_bytes())
            .find_map(|(name, value)| (name == "digest").then(|| value.into_owned()));
        Some(match (method, call) {
            (&Method::PUT, Call::Manifest { repository, reference }) => {
                self.push_manifest(repository, reference, headers, body)
            }
            (&Method::POST, Call::Upload { repository, id: "" }) => match digest {
                Some(digest) => self.finish(repository, &digest, body),
                None => self.begin(repository),
            },
            (&Method::PATCH, Call::Upload { repository, id }) => self.more(repository, id, &body),
            (&Method::PUT, Call::Upload { repository, id }) => {
                let Some(digest) = digest else {
                    return Some(malformed_digest());
                };
                let refused = self.more(repository, id, &body);
                if refused.status != StatusCode::ACCEPTED {
                    return Some(refused);
                }
                let whole = self.uploads.parts.remove(id).unwrap_or_default();
                self.finish(repository, &digest, whole.freeze())
            }
            _ => return None,
        })
    }

    fn begin(&mut self, repository: &str) -> Answer {
        if self.uploads.parts.len() >= MAX_UPLOADS {
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Answer::error(status, "TOOMANYREQUESTS", "too many uploads are under way");
        }
        self.uploads.begun += 1;
        let id = self.uploads.begun.to_string();
        self.uploads.parts.insert(id.clone(), BytesMut::new());
        accepted(repository, &id, 0)
    }

    fn more(&mut self, repository: &str, id: &str, body: &Bytes) -> Answer {
        let Some(part) = self.uploads.parts.get_mut(id) else {
            let status = StatusCode::NOT_FOUND;
            return Answer::error(status, "BLOB_UPLOAD_UNKNOWN", "no such upload is under way");
        };
        if part.len().saturating_add(body.len()) > MAX_UPLOAD {
            self.uploads.parts.remove(id);
            return too_large();
        }
        part.extend_from_slice(body);
        accepted(repository, id, part.len())
    }

    fn finish(&mut self, repository: &str, digest: &str, bytes: Bytes) -> Answer {
        match digest.parse::<Digest>() {
            Ok(digest) if digest == Digest::of(&bytes) => {
                self.content.put_blob(repository, bytes);
                created(&format!("/v2/{repository}/blobs/{digest}"), digest)
            }
            _ => malformed_digest(),
        }
    }

    fn push_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        let invalid = |message| Answer::error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
        let digest = Digest::of(&body);
        let tag = (!reference.contains(':')).then_some(reference);
        if tag.is_none() && reference.parse() != Ok(digest) {
            return malformed_digest();
        }
        let Some(media_type) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
        else {
            return invalid("the content type is absent");
        };
        let Some(links) = Links::read(&body) else {
            return invalid("the manifest cannot be read");
        };
        if let Some(absent) = self.content.first_absent(repository, &links) {
            let message = format!("the manifest names `{absent}`, which is not there");
            return Answer::error(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", &message);
        }
        self.content.put_manifest(repository, body, media_type);
        if let Some(tag) = tag {
            self.content.tag(repository, tag, digest);
        }
        let answer = created(&format!("/v2/{repository}/manifests/{digest}"), digest);
        match links.subject().filter(|_| self.referrers.has_api()) {
            Some(subject) => answer.header(SUBJECT, &subject.to_string()),
            None => answer,
        }
    }
}

/// The answer to a body past its bound.
pub(super) fn too_large() -> Answer {
    Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "the body is too large")
}

fn created(location: &str, digest: Digest) -> Answer {
    Answer::new(StatusCode::CREATED)
        .header(LOCATION, location)
        .header(CONTENT_DIGEST, &digest.to_string())
}

fn accepted(repository: &str, id: &str, length: usize) -> Answer {
    Answer::new(StatusCode::ACCEPTED)
        .header(LOCATION, &format!("/v2/{repository}/blobs/uploads/{id}"))
        .header(RANGE, &format!("0-{}", length.saturating_sub(1)))
}
