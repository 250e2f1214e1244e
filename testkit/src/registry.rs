//! Content in memory in, the OCI distribution API on loopback out, with faults on request.
//!
//! The API is that of distribution-spec 1.1: pulls, pushes and referrers. What is faulty is only
//! what the test asks for: a [`Referrers`] mode, an [`Auth`] scheme, and [`Fault`]s by [`Route`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use portcullis_core::image::Digest;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::TestkitError;

mod content;
mod flavor;
mod auth;
mod fault;
mod answer;
mod route;
mod pull;
mod push;
mod serve;

pub use auth::{Auth, Credentials, Refusal};
pub use content::Content;
pub use fault::{Fault, Route};
pub use flavor::{FLAVORS, Flavor};

/// The most requests that are kept for [`Registry::requests`]; older ones are forgotten.
pub const MAX_RECORDED: usize = 65_536;
/// The largest blob that can be pushed over HTTP, in bytes.
pub const MAX_UPLOAD: usize = 64 * 1024 * 1024;
/// The most uploads that may be under way at once.
pub const MAX_UPLOADS: usize = 256;

/// How the registry lists what is attached to a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Referrers {
    /// The referrers API of the specification, with its filter.
    #[default]
    Api,
    /// The API without the filter, which the specification permits.
    Unfiltered,
    /// As Harbor: nothing attached is `{}`, and `OCI-Filters-Applied` has the value of the filter.
    Harbor,
    /// No API, as distribution: 404 in plain text, and the list is under the fallback tag.
    Absent,
    /// The API without the filter, as Quay: a subject that is not there is 404 `MANIFEST_UNKNOWN`.
    Quay,
    /// No API, as GitHub: 303 to a page that is not there.
    Ghcr,
    /// No API, as GitLab: the fallback tag is read as a digest and answers the subject itself.
    GitLab,
}

impl Referrers {
    const fn has_api(self) -> bool {
        matches!(self, Self::Api | Self::Unfiltered | Self::Harbor | Self::Quay)
    }
}

/// A request that the registry received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its method: `GET`.
    pub method: String,
    /// Its path and query, as sent.
    pub path: String,
    /// Its headers as sent: also what it was authorised with, which tests look for.
    pub headers: HeaderMap,
}

impl Recorded {
    /// Whether it had an `Authorization` header, good or bad.
    #[must_use]
    pub fn authorized(&self) -> bool {
        self.headers.contains_key(http::header::AUTHORIZATION)
    }
}

/// An OCI registry in this process, listening on a free port of 127.0.0.1. It ends, with all its
/// connections, when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// What the handle and the connections share. The lock is never held over an `.await`.
#[derive(Debug)]
struct Shared {
    host: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    content: content::Repositories,
    uploads: push::Uploads,
    referrers: Referrers,
    page_size: Option<usize>,
    flavor: Flavor,
    access: auth::Access,
    faults: fault::Faults,
    pace: serve::Pace,
    recorded: VecDeque<Recorded>,
}

impl Registry {
    /// Starts an empty registry without authentication, with the referrers API and without faults.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start() -> Result<Self, TestkitError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(TestkitError::Listen)?;
        let address = listener.local_addr().map_err(TestkitError::Listen)?;
        let shared =
            Arc::new(Shared { host: address.to_string(), state: Mutex::new(State::default()) });
        let server = tokio::spawn(serve::accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// Its host as image references name it: `127.0.0.1:port`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections and waits until the port is closed.
    pub async fn stop(mut self) {
        self.server.abort();
        // The only error is that the task was aborted, which is what was asked for.
        let _ = (&mut self.server).await;
    }

    /// Stores a blob and gives its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        self.shared.state.lock().content.put_blob(repository, bytes.into())
    }

    /// Stores a manifest as it is, even if it cannot be read, under its digest and, unless `tag` is
    /// empty, under the tag. If it has a `subject`, the registry lists it there.
    ///
    /// Where the registry has no referrers API the list under the fallback tag is kept too, as a
    /// pusher must.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        bytes: impl Into<Bytes>,
        media_type: &str,
    ) -> Digest {
        let mut state = self.shared.state.lock();
        let has_api = state.referrers.has_api();
        let digest = state.content.put_manifest(repository, bytes.into(), media_type);
        if !tag.is_empty() {
            state.content.tag(repository, tag, digest);
        }
        if !has_api {
            state.content.keep_fallback_tag(repository, digest);
        }
        digest
    }

    /// Points a tag to another manifest.
    pub fn retag(&self, repository: &str, tag: &str, digest: Digest) {
        self.shared.state.lock().content.tag(repository, tag, digest);
    }

    /// Removes a manifest or blob, the tags that point to it, and its place among the referrers.
    /// What is not there is no error. A list under a fallback tag still names it, as in life.
    pub fn delete(&self, repository: &str, digest: Digest) {
        self.shared.state.lock().content.delete(repository, digest);
    }

    /// A manifest that the registry holds.
    #[must_use]
    pub fn manifest(&self, repository: &str, digest: Digest) -> Option<Content> {
        self.shared.state.lock().content.manifest(repository, digest)
    }

    /// A blob that the registry holds.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        self.shared.state.lock().content.blob(repository, digest)
    }

    /// The manifest that a tag points to.
    #[must_use]
    pub fn tagged(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.shared.state.lock().content.tagged(repository, tag)
    }

    /// The manifests whose subject is `subject`, in the order of their pushes.
    #[must_use]
    pub fn referrers(&self, repository: &str, subject: Digest) -> Vec<Digest> {
        self.shared.state.lock().content.referrers(repository, subject)
    }

    /// Sets how it lists what is attached. What was pushed before is not moved to or from a
    /// fallback tag.
    pub fn set_referrers(&self, mode: Referrers) {
        self.shared.state.lock().referrers = mode;
    }

    /// Answers as this registry does: how it lists what is attached, challenges, gives tokens and
    /// refuses what has expired. What was pushed before is not moved to or from a fallback tag.
    pub fn set_flavor(&self, flavor: Flavor) {
        let mut state = self.shared.state.lock();
        state.flavor = flavor;
        state.referrers = flavor.referrers();
        state.access.flavor = flavor;
        let is_ecr = flavor == Flavor::Ecr;
        state.access.refusal = if is_ecr { Refusal::Forbidden } else { Refusal::Unauthorized };
    }

    /// Lists at most `size` referrers a page, with a `Link` to the next; 0 is without pages.
    pub fn set_page_size(&self, size: usize) {
        self.shared.state.lock().page_size = (size > 0).then_some(size);
    }

    /// Sets who may ask, and forgets the tokens given before.
    pub fn set_auth(&self, auth: Auth) {
        self.shared.state.lock().access.set(auth);
    }

    /// Sets how a credential that is not (or no longer) good is answered.
    pub fn set_refusal(&self, refusal: Refusal) {
        self.shared.state.lock().access.refusal = refusal;
    }

    /// Ends the life of all tokens that were given.
    pub fn expire_tokens(&self) {
        self.shared.state.lock().access.expire();
    }

    /// Answers each request a round-trip time after it has come, as if the registry were that far
    /// away. Opening a connection is not slowed: whoever measures keeps connections.
    pub fn set_latency(&self, round_trip: Duration) {
        self.shared.state.lock().pace.round_trip = round_trip;
    }

    /// Sends the body of each true answer at this many bytes a second; 0 is without a limit.
    pub fn set_bandwidth(&self, bytes_per_second: u32) {
        self.shared.state.lock().pace.set_bandwidth(bytes_per_second);
    }

    /// Makes every answer on `route` faulty from now on. Where several faults fit a request, the
    /// first one set is taken. A request that lacks authentication gets its challenge, not the
    /// fault.
    pub fn fault(&self, route: Route, fault: Fault) {
        self.shared.state.lock().faults.add(route, None, fault);
    }

    /// Makes the next `times` answers on `route` faulty.
    pub fn fault_times(&self, route: Route, times: usize, fault: Fault) {
        self.shared.state.lock().faults.add(route, Some(times), fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.shared.state.lock().faults = fault::Faults::default();
    }

    /// The requests received so far, oldest first, of the last [`MAX_RECORDED`].
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state.lock().recorded.iter().cloned().collect()
    }

    /// Forgets the requests received so far.
    pub fn clear_requests(&self) {
        self.shared.state.lock().recorded.clear();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn record(&mut self, request: Recorded) {
        if self.recorded.len() >= MAX_RECORDED {
            self.recorded.pop_front();
        }
        self.recorded.push_back(request);
    }
}

#[cfg(test)]
mod tests;
