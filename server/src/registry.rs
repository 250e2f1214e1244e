//! An image reference in, what its registry holds out: checked against digests and bounds.
//!
//! ```text
//! Registry ── referrers, push ─ exchange ─ gate     429 and Retry-After, per origin
//!     └ content                    ├────── budget   how often and how many at once
//!       what never changes         ├────── auth     challenges, token servers, tokens ── credentials
//!                                  ├────── host     which hosts, redirections ── address
//!                                  └────── body     bounds, content types, 404
//! Downloads ── what certificates name, for `revocation`
//! ```
//!
//! The protocol is OCI distribution-spec 1.1. Whatever goes wrong is a [`RegistryError`]; only a
//! registry's own word makes an empty list. Nothing that a registry sends is believed: not the
//! digest in a header, not a length, not where to send a password.

mod config;
mod secret;
mod proxy;
mod error;
mod fault;
mod observe;
mod exchange;
mod host;
mod address;
mod auth;
mod challenge;
mod token;
mod trace;
mod credentials;
mod gate;
mod retry_after;
mod breaker;
mod budget;
mod body;
mod blob;
mod content;
mod mirrors;
mod referrers;
mod link;
mod push;
mod download;
mod session;
mod manifest;

use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST,
};
use reqwest::dns::Resolve;
use tokio::time::{Instant, timeout_at};
use url::Url;

pub use self::budget::Budget;
pub use self::config::{
    Credentials, HostConfig, MirrorConfig, Patience, RegistryConfig, Scheme, Secret, SecretSource,
    Unlisted,
};
pub use self::content::MAX_KEPT;
pub use self::credentials::{
    AcrConfig, AwsIdentity, CredentialError, DockerConfig, EcrConfig, GarConfig, HostPattern,
    MAX_ENTRIES, MAX_TRIED,
};
pub use self::download::{DownloadError, Downloads};
pub(crate) use self::error::without_user;
pub use self::error::{Fault, RegistryConfigError, RegistryError};
pub use self::observe::{Observe, Outcome, Route, Unobserved};
pub use self::proxy::{Authorities, Proxy};
pub use self::push::{Listing, Pushed, Target};
pub use self::session::{Answers, AnswersError, MAX_ANSWERS, Recording};

use self::auth::Tokens;
use self::breaker::Breakers;
use self::budget::Budgets;
use self::content::{Content, Contents, Kind};
use self::exchange::Exchange;
use self::gate::Gate;
pub(crate) use self::gate::jitter;
use self::host::{Host, Hosts};
use self::mirrors::{Asking, Resting};
use self::referrers::WithoutApi;
use self::session::Session;

/// The four kinds of manifest, for `Accept`. Without parameters: ECR refuses a `;`.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What a manifest may be declared to be.
const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// A manifest or an index as its registry gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The raw bytes, at most [`MAX_MANIFEST`](portcullis_core::referrers::MAX_MANIFEST).
    pub bytes: Bytes,
    /// What the registry declares them to be, without parameters: one of the four media types of
    /// manifests and indexes. It is for `portcullis_core::referrers::parse` to check.
    pub media_type: String,
    /// The digest of `bytes`.
    pub digest: Digest,
}

/// A client for registries. Clones share connections, tokens, and what is known of each host.
///
/// Every question ends at its deadline with [`RegistryError::Deadline`]; what was under way is
/// dropped.
#[derive(Clone)]
pub struct Registry {
    exchange: Arc<Exchange>,
    contents: Contents,
    without_api: WithoutApi,
    resting: Resting,
    session: Session,
}

impl Registry {
    /// A client for the registries of `config`.
    ///
    /// # Errors
    /// When a listed host, an endpoint, a token server or a certificate authority cannot be read.
    pub fn new(config: RegistryConfig) -> Result<Self, RegistryConfigError> {
        Self::with_resolver(config, &(Arc::new(address::System::new()) as Arc<dyn Resolve>))
    }

    fn with_resolver(
        config: RegistryConfig,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Self, RegistryConfigError> {
        let contents = Contents::new(config.content_bytes, Arc::clone(&config.observer));
        let exchange = Exchange {
            hosts: Hosts::new(&config, resolver)?,
            gate: Gate::new(),
            budgets: Budgets::new(),
            breakers: Breakers::new(),
            tokens: Tokens::new(),
            patience: config.patience,
            observer: config.observer,
        };
        Ok(Self {
            exchange: Arc::new(exchange),
            contents,
            without_api: WithoutApi::new(),
            resting: Resting::new(),
            session: Session::Live,
        })
    }

    /// The same, which writes down what it is answered about what is attached.
    #[must_use]
    pub fn recording(&self) -> (Self, Recording) {
        let recording = Recording::default();
        let session = Session::Recording(recording.clone());
        (Self { session, ..self.clone() }, recording)
    }

    /// The same, which asks nobody about what is attached: it has these answers, and no others.
    #[must_use]
    pub fn replaying(&self, answers: Answers) -> Self {
        Self { session: Session::Replaying(Arc::new(answers)), ..self.clone() }
    }

    /// The names that the hosts of `config` have in errors and with an observer, mirrors among them.
    #[must_use]
    pub fn names(config: &RegistryConfig) -> Vec<String> {
        host::names(config)
    }

    /// The name of whom the registry is told that we are when it is asked about `image`. It is part of
    /// the key of all that is remembered, so that what one credential may see is never told to
    /// another. It holds no secret.
    #[must_use]
    pub fn identity(&self, image: &Reference) -> Arc<str> {
        self.exchange.hosts.identity(image.registry(), image.repository())
    }

    /// The manifest or index that `image` names: by its digest if it has one, else by its tag. The
    /// registry is always asked, so the answer shows that it lets us read the image.
    ///
    /// # Errors
    /// When it cannot be had, or is not what the digest says.
    pub async fn resolve(
        &self,
        image: &Reference,
        deadline: Instant,
    ) -> Result<Fetched, RegistryError> {
        let work = async {
            let ask = |host: Arc<Host>| -> Asking<'_, Fetched> {
                Box::pin(async move {
                    match (image.digest(), image.tag()) {
                        (Some(digest), _) => self.by_digest(&host, image, digest, deadline).await,
                        (None, tag) => {
                            self.by_tag(&host, image, tag.unwrap_or("latest"), deadline).await
                        }
                    }
                })
            };
            let places = self.places(image)?;
            let fetched = self.resting.first(places, image.repository(), deadline, ask).await?;
            self.contents.keep(key(image, Kind::Manifest, fetched.digest), &fetched).await;
            Ok(fetched)
        };
        within(deadline, work).await
    }

    /// The manifest or index under `tag` beside `image`, where the tag says what is attached to it:
    /// the registry itself is asked and no mirror, as for a list of referrers. The tag is valid if it
    /// comes from a [`Reference`], or is a fallback tag or begins with one.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn attached_tag(
        &self,
        image: &Reference,
        tag: &str,
        deadline: Instant,
    ) -> Result<Fetched, RegistryError> {
        if let Some(kept) = self.session.tag(tag) {
            return kept;
        }
        let work = async {
            let host = self.exchange.hosts.find(image.registry())?;
            let fetched = self.by_tag(&host, image, tag, deadline).await?;
            self.contents.keep(key(image, Kind::Manifest, fetched.digest), &fetched).await;
            Ok(fetched)
        };
        let answer = within(deadline, work).await;
        self.session.tagged(tag, &answer);
        answer
    }

    /// The manifest or index with `digest` in the repository of `image`, maybe from before: ask
    /// [`Self::resolve`] or [`Self::referrers`] first to know that the registry lets us read it.
    ///
    /// # Errors
    /// When it cannot be had, or has another digest, or is declared to be something else.
    pub async fn manifest(
        &self,
        image: &Reference,
        digest: Digest,
        deadline: Instant,
    ) -> Result<Fetched, RegistryError> {
        if let Some(kept) = self.session.content(Kind::Manifest, digest) {
            let Content { bytes, media_type } = kept?;
            return Ok(Fetched { bytes, media_type, digest });
        }
        let ask = |host: Arc<Host>| -> Asking<'_, Fetched> {
            Box::pin(async move { self.by_digest(&host, image, digest, deadline).await })
        };
        let fetch = || async {
            let places = self.places(image)?;
            let Fetched { bytes, media_type, .. } =
                self.resting.first(places, image.repository(), deadline, ask).await?;
            Ok(Content { bytes, media_type })
        };
        let work = self.contents.get(key(image, Kind::Manifest, digest), deadline, fetch);
        let Content { bytes, media_type } = within(deadline, work).await?;
        self.session.fetched(Kind::Manifest, digest, &bytes, &media_type);
        Ok(Fetched { bytes, media_type, digest })
    }

    /// The blob that `descriptor` describes, of at most `limit` bytes, from the repository of
    /// `image`, maybe from before, as [`Self::manifest`]. The descriptor's own `urls` are never asked.
    ///
    /// # Errors
    /// When it cannot be had, or is not as long as the descriptor says, or has another digest.
    /// Nothing is asked if the descriptor says that it is longer than `limit`.
    pub async fn blob(
        &self,
        image: &Reference,
        descriptor: &Descriptor,
        limit: usize,
        deadline: Instant,
    ) -> Result<Bytes, RegistryError> {
        let size = usize::try_from(descriptor.size).ok().filter(|size| *size <= limit);
        let Some(size) = size else {
            return Err(RegistryError::TooLarge { what: "blob", limit });
        };
        if let Some(kept) = self.session.content(Kind::Blob, descriptor.digest) {
            return measured(image, descriptor, kept?.bytes);
        }
        let ask = |host: Arc<Host>| -> Asking<'_, Bytes> {
            Box::pin(
                async move { self.fetch_blob(&host, image, descriptor, limit, deadline).await },
            )
        };
        let fetch = || async {
            self.resting.first(self.places(image)?, image.repository(), deadline, ask).await
        };
        let bytes = if size > MAX_KEPT {
            within(deadline, fetch()).await?
        } else {
            let fetch =
                || async { Ok(Content { bytes: fetch().await?, media_type: String::new() }) };
            let key = key(image, Kind::Blob, descriptor.digest);
            let content = within(deadline, self.contents.get(key, deadline, fetch)).await?;
            measured(image, descriptor, content.bytes)?
        };
        self.session.fetched(Kind::Blob, descriptor.digest, &bytes, "");
        Ok(bytes)
    }

    /// The descriptors of all that is attached to `digest`, of any type, in the registry's order. An
    /// empty list is the registry's own word that there is nothing. No mirror is asked.
    ///
    /// # Errors
    /// When the list cannot be had whole.
    pub async fn referrers(
        &self,
        image: &Reference,
        digest: Digest,
        deadline: Instant,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        if let Some(kept) = self.session.list(digest) {
            return kept;
        }
        let work = async {
            let host = self.exchange.hosts.find(image.registry())?;
            referrers::list(self, &host, image, digest, deadline).await
        };
        let list = within(deadline, work).await?;
        self.session.listed(digest, &list);
        Ok(list)
    }

    /// The registry of `image`, and its mirrors.
    fn places(&self, image: &Reference) -> Result<(Arc<Host>, &[Arc<Host>]), RegistryError> {
        let host = self.exchange.hosts.find(image.registry())?;
        let mirrors = self.exchange.hosts.mirrors(&host);
        Ok((host, mirrors))
    }
}

fn key(image: &Reference, kind: Kind, digest: Digest) -> content::Key {
    let (registry, repository) = (image.registry().to_owned(), image.repository().to_owned());
    content::Key { registry, repository, kind, digest }
}

/// Content that has its digest, if it is as long as its descriptor says. That it was fetched by another
/// descriptor makes this one no truer.
fn measured(
    image: &Reference,
    descriptor: &Descriptor,
    bytes: Bytes,
) -> Result<Bytes, RegistryError> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length == descriptor.size) {
        return Ok(bytes);
    }
    let fault = Fault::Size { declared: descriptor.size };
    Err(RegistryError::malformed(image.registry(), fault))
}

/// `/v2/<repository>/<rest>` at the registry. What a [`Reference`] lets through needs no escaping.
fn url(host: &Host, image: &Reference, rest: &str) -> Result<Url, RegistryError> {
    let path = format!("/v2/{}/{rest}", image.repository());
    let joined = host.base.join(&path);
    let mut url = joined.map_err(|_| RegistryError::NotConfigured(host.name.clone()))?;
    // How containerd tells a mirror of several registries which one is meant.
    if let Some(registry) = &host.mirror_of {
        url.query_pairs_mut().append_pair("ns", registry);
    }
    Ok(url)
}

async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    // Boxed, because what goes on in there is large and the caller may hold many.
    timeout_at(deadline, Box::pin(work)).await.unwrap_or(Err(RegistryError::Deadline))
}

#[cfg(test)]
mod tests;
