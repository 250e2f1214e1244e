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
mod credentials;
mod gate;
mod retry_after;
mod budget;
mod body;
mod blob;
mod content;
mod mirrors;
mod referrers;
mod link;
mod push;
mod download;

use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST,
};
use reqwest::Response;
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
pub use self::error::{Fault, RegistryConfigError, RegistryError};
pub use self::observe::{Observe, Outcome, Route, Unobserved};
pub use self::proxy::{Authorities, Proxy};
pub use self::push::{Listing, Pushed, Target};

use self::auth::Tokens;
use self::budget::Budgets;
use self::content::{Content, Contents, Kind};
use self::exchange::{Exchange, Request};
use self::gate::Gate;
use self::host::{Host, Hosts};
use self::mirrors::{Asking, Resting};
use self::referrers::WithoutApi;

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
    /// The raw bytes, at most [`MAX_MANIFEST`].
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
            tokens: Tokens::new(),
            patience: config.patience,
            observer: config.observer,
        };
        Ok(Self {
            exchange: Arc::new(exchange),
            contents,
            without_api: WithoutApi::new(),
            resting: Resting::new(),
        })
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
        let work = async {
            let host = self.exchange.hosts.find(image.registry())?;
            let fetched = self.by_tag(&host, image, tag, deadline).await?;
            self.contents.keep(key(image, Kind::Manifest, fetched.digest), &fetched).await;
            Ok(fetched)
        };
        within(deadline, work).await
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
        let ask = |host: Arc<Host>| -> Asking<'_, Bytes> {
            Box::pin(
                async move { self.fetch_blob(&host, image, descriptor, limit, deadline).await },
            )
        };
        let fetch = || async {
            self.resting.first(self.places(image)?, image.repository(), deadline, ask).await
        };
        if size > MAX_KEPT {
            return within(deadline, fetch()).await;
        }
        let fetch = || async { Ok(Content { bytes: fetch().await?, media_type: String::new() }) };
        let work = self.contents.get(key(image, Kind::Blob, descriptor.digest), deadline, fetch);
        let bytes = within(deadline, work).await?.bytes;
        // It has the digest. That it was fetched by another descriptor makes this one no truer.
        if bytes.len() != size {
            let fault = Fault::Size { declared: descriptor.size };
            return Err(RegistryError::malformed(image.registry(), fault));
        }
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
        let work = async {
            let host = self.exchange.hosts.find(image.registry())?;
            referrers::list(self, &host, image, digest, deadline).await
        };
        within(deadline, work).await
    }

    /// The registry of `image`, and its mirrors.
    fn places(&self, image: &Reference) -> Result<(Arc<Host>, &[Arc<Host>]), RegistryError> {
        let host = self.exchange.hosts.find(image.registry())?;
        let mirrors = self.exchange.hosts.mirrors(&host);
        Ok((host, mirrors))
    }

    /// The manifest with this digest. What has the digest and is not declared to be a manifest was
    /// pushed so; the type is looked at last, since only the digest tells that from an error page.
    async fn by_digest(
        &self,
        host: &Host,
        image: &Reference,
        asked: Digest,
        deadline: Instant,
    ) -> Result<Fetched, RegistryError> {
        let wrong = |fault| RegistryError::protocol(&host.name, fault);
        let response = self.answer(host, image, &asked.to_string(), deadline).await?;
        let is_page = body::is_page(response.headers());
        let is_declared = body::is_declared(response.headers());
        let media_type = body::content_type(response.headers(), &MANIFEST_TYPES);
        let bytes = match (body::read(host, response, "manifest", MAX_MANIFEST).await, &media_type)
        {
            (Err(RegistryError::TooLarge { .. }), Err(fault)) if is_page => {
                return Err(wrong(fault.clone()));
            }
            (bytes, _) => bytes?,
        };
        let digest = Digest::of(&bytes);
        match media_type {
            Ok(media_type) if digest == asked => Ok(Fetched { bytes, media_type, digest }),
            Ok(_) => Err(wrong(Fault::Digest { asked, received: digest })),
            Err(fault) if digest == asked && is_declared => {
                Err(RegistryError::malformed(&host.name, fault))
            }
            Err(fault) => Err(wrong(fault)),
        }
    }

    /// The manifest with this tag. The registry's `Docker-Content-Digest` is not looked at. A type
    /// that is neither a manifest's nor a page's is one that somebody pushed.
    async fn by_tag(
        &self,
        host: &Host,
        image: &Reference,
        tag: &str,
        deadline: Instant,
    ) -> Result<Fetched, RegistryError> {
        let response = self.answer(host, image, tag, deadline).await?;
        let is_page = body::is_page(response.headers());
        let refuse = if is_page { RegistryError::protocol } else { RegistryError::malformed };
        let media_type = body::content_type(response.headers(), &MANIFEST_TYPES)
            .map_err(|fault| refuse(&host.name, fault))?;
        let bytes = body::read(host, response, "manifest", MAX_MANIFEST).await?;
        let digest = Digest::of(&bytes);
        Ok(Fetched { bytes, media_type, digest })
    }

    /// What the registry answers for the manifest with this tag or digest, if it has one.
    async fn answer(
        &self,
        host: &Host,
        image: &Reference,
        name: &str,
        deadline: Instant,
    ) -> Result<Response, RegistryError> {
        let url = url(host, image, &format!("manifests/{name}"))?;
        let request = Request::get(Route::Manifest, url, MANIFESTS, deadline);
        let response = self.exchange.ask(host, image.repository(), &request).await?;
        match response.status().as_u16() {
            200 => Ok(response),
            404 => {
                let what = format!("manifest `{name}` in `{}`", image.repository());
                Err(body::not_found(host, response, what).await)
            }
            status => Err(RegistryError::protocol(&host.name, Fault::Status(status))),
        }
    }
}

fn key(image: &Reference, kind: Kind, digest: Digest) -> content::Key {
    let (registry, repository) = (image.registry().to_owned(), image.repository().to_owned());
    content::Key { registry, repository, kind, digest }
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
