//! GET and HEAD in, manifests, blobs and lists of referrers out.

use http::header::{HeaderName, LINK, LOCATION};
use http::{Method, StatusCode};
use portcullis_core::image::Digest;
use portcullis_core::referrers::OCI_INDEX;

use super::answer::Answer;
use super::content::{Content, List};
use super::route::Call;
use super::{Referrers, State};

/// Header with the digest of a manifest or blob.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl State {
    /// Answers what needs no body. The server leaves the body of an answer to HEAD out.
    pub(super) fn pull(&self, method: &Method, call: Call<'_>, query: &str) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Answer::error(status, "UNSUPPORTED", "this operation is not supported");
        }
        match call {
            Call::Base => Answer::ok("application/json", "{}"),
            Call::Manifest { repository, reference } => self.manifest(repository, reference),
            Call::Blob { repository, digest } => self.blob(repository, digest),
            Call::Referrers { repository, digest } => self.attached(repository, digest, query),
            Call::Tags { repository } => self.tag_list(repository),
            Call::Upload { .. } | Call::Token | Call::Unknown => no_such_page(),
        }
    }

    fn manifest(&self, repository: &str, reference: &str) -> Answer {
        let digest = if reference.contains(':') {
            match reference.parse() {
                Ok(digest) => Some(digest),
                Err(_) => return malformed_digest(),
            }
        } else {
            self.subject_itself(reference).or_else(|| self.content.tagged(repository, reference))
        };
        let found = digest.and_then(|d| Some((d, self.content.manifest(repository, d)?)));
        let Some((digest, Content { media_type, bytes })) = found else {
            let has = self.content.has(repository);
            let code = if has { self.flavor.manifest_unknown() } else { "NAME_UNKNOWN" };
            return Answer::error(StatusCode::NOT_FOUND, code, "manifest unknown");
        };
        Answer::ok(&media_type, bytes).header(CONTENT_DIGEST, &digest.to_string())
    }

    /// What GitLab takes a fallback tag for: the digest in its name.
    fn subject_itself(&self, tag: &str) -> Option<Digest> {
        let hex = tag.strip_prefix("sha256-").filter(|_| self.referrers == Referrers::GitLab)?;
        format!("sha256:{hex}").parse().ok()
    }

    fn blob(&self, repository: &str, digest: &str) -> Answer {
        let Ok(digest) = digest.parse::<Digest>() else {
            return malformed_digest();
        };
        match self.content.blob(repository, digest) {
            Some(bytes) => Answer::ok("application/octet-stream", bytes)
                .header(CONTENT_DIGEST, &digest.to_string()),
            None => Answer::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown"),
        }
    }

    fn attached(&self, repository: &str, digest: &str, query: &str) -> Answer {
        if self.referrers == Referrers::Ghcr {
            return Answer::new(StatusCode::SEE_OTHER).header(LOCATION, "/not-there");
        }
        if !self.referrers.has_api() {
            return no_such_page();
        }
        let Ok(subject) = digest.parse::<Digest>() else {
            return malformed_digest();
        };
        if self.referrers == Referrers::Quay && self.content.manifest(repository, subject).is_none()
        {
            return Answer::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown");
        }
        let mut wanted = None;
        let mut skip = 0;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "artifactType" => wanted = Some(value.into_owned()),
                "skip" => skip = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        let is_filtered = !matches!(self.referrers, Referrers::Unfiltered | Referrers::Quay);
        let wanted = wanted.filter(|_| is_filtered);
        let mut list: Vec<_> = self
            .content
            .referrers(repository, subject)
            .into_iter()
            .filter_map(|referrer| self.content.descriptor(repository, referrer))
            .filter(|d| wanted.is_none() || d.artifact_type == wanted)
            .collect();
        if list.is_empty() && self.referrers == Referrers::Harbor {
            return Answer::ok(OCI_INDEX, "{}");
        }
        let total = list.len();
        let size = self.page_size.filter(|_| self.flavor.has_pages()).unwrap_or(usize::MAX);
        list.drain(..skip.min(total));
        list.truncate(size);
        let next = skip.saturating_add(list.len());
        let mut answer = Answer::ok(OCI_INDEX, List::new(list).to_json());
        if next < total {
            let mut link = url::form_urlencoded::Serializer::new(String::new());
            link.append_pair("skip", &next.to_string());
            if let Some(wanted) = &wanted {
                link.append_pair("artifactType", wanted);
            }
            let path = format!("/v2/{repository}/referrers/{subject}");
            answer = answer.header(LINK, &format!("<{path}?{}>; rel=\"next\"", link.finish()));
        }
        if self.referrers == Referrers::Harbor {
            answer = answer.header(TOTAL, &total.to_string());
        }
        match &wanted {
            Some(wanted) if self.referrers == Referrers::Harbor => {
                answer.header(FILTERS_APPLIED, wanted)
            }
            Some(_) => answer.header(FILTERS_APPLIED, "artifactType"),
            None => answer,
        }
    }

    fn tag_list(&self, repository: &str) -> Answer {
        if !self.content.has(repository) {
            return Answer::error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository unknown");
        }
        let list = serde_json::json!({ "name": repository, "tags": self.content.tags(repository) });
        Answer::ok("application/json", list.to_string())
    }
}

pub(super) fn malformed_digest() -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the digest is malformed")
}

/// What distribution answers where it has no endpoint.
fn no_such_page() -> Answer {
    let mut answer = Answer::ok("text/plain; charset=utf-8", "404 page not found\n");
    answer.status = StatusCode::NOT_FOUND;
    answer
}
