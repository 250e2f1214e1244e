//! A digest in, the complete list of what is attached to it out, or an error.
//!
//! The referrers API first, unfiltered and page by page; where a registry has none, the index under
//! the fallback tag (distribution-spec 1.1, "Listing Referrers").

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join;
use moka::future::Cache;
use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::{
    self, Descriptor, Document, MAX_DESCRIPTORS, MAX_MANIFEST, OCI_INDEX, ReferrersError,
};
use tokio::time::Instant;
use url::Url;

use super::error::{Fault, RegistryError};
use super::exchange::Request;
use super::host::Host;
use super::link::next_link;
use super::observe::Route;
use super::{Registry, body, url};

/// The most pages of one list that are asked for. Together they hold at most [`MAX_DESCRIPTORS`]
/// descriptors in at most [`MAX_MANIFEST`] bytes.
pub(super) const MAX_PAGES: usize = 16;

/// For how long a repository is taken to have no referrers API, after its registry has said so.
pub(super) const NO_API_TTL: Duration = Duration::from_mins(5);
/// The most repositories of which that is remembered.
const MAX_REPOSITORIES: u64 = 10_000;

/// The registries' names and repositories that have no referrers API: there the fallback tag is asked
/// at the same time. Of other repositories of the registry one says nothing, since its 404 may be the
/// page of a proxy, at a path that whoever names the image has chosen.
#[derive(Clone)]
pub(super) struct WithoutApi(Cache<(String, String), ()>);

impl WithoutApi {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_REPOSITORIES).time_to_live(NO_API_TTL).build())
    }
}

pub(super) async fn list(
    registry: &Registry,
    host: &Host,
    image: &Reference,
    digest: Digest,
    deadline: Instant,
) -> Result<Vec<Descriptor>, RegistryError> {
    let WithoutApi(without_api) = &registry.without_api;
    let place = (host.name.clone(), image.repository().to_owned());
    if without_api.contains_key(&place) {
        // From memory it is only known what to ask at once: the API may have come since, or was hidden.
        let api = by_api(registry, host, image, digest, deadline);
        let (told, tagged) = join(api, by_tag(registry, host, image, digest, deadline)).await;
        return match told? {
            Listed::Attached(attached) => {
                without_api.invalidate(&place).await;
                union(attached, tagged?)
            }
            Listed::NoApi | Listed::Unknown => tagged,
        };
    }
    match by_api(registry, host, image, digest, deadline).await? {
        Listed::Attached(attached) => return Ok(attached),
        Listed::NoApi => without_api.insert(place, ()).await,
        Listed::Unknown => {}
    }
    by_tag(registry, host, image, digest, deadline).await
}

/// What is on either list. What is on both is what the API says that it is.
fn union(
    mut attached: Vec<Descriptor>,
    tagged: Vec<Descriptor>,
) -> Result<Vec<Descriptor>, RegistryError> {
    let listed: HashSet<Digest> = attached.iter().map(|descriptor| descriptor.digest).collect();
    attached.extend(tagged.into_iter().filter(|tagged| !listed.contains(&tagged.digest)));
    if attached.len() > MAX_DESCRIPTORS {
        return Err(RegistryError::TooMany { what: "descriptors", limit: MAX_DESCRIPTORS });
    }
    Ok(attached)
}

/// What the referrers API says.
enum Listed {
    Attached(Vec<Descriptor>),
    /// 404 with anything but a registry's error document: there is no such API. Any body will do,
    /// since the fallback tag is asked next and needs a registry's word.
    NoApi,
    /// 404 in a registry's words: it knows no such subject, as Quay says. Of other subjects that says
    /// nothing.
    Unknown,
}

/// The list as the referrers API has it.
async fn by_api(
    registry: &Registry,
    host: &Host,
    image: &Reference,
    digest: Digest,
    deadline: Instant,
) -> Result<Listed, RegistryError> {
    let refuse = |fault| Err(RegistryError::protocol(&host.name, fault));
    let mut next = url(host, image, &format!("referrers/{digest}"))?;
    let mut asked = HashSet::new();
    let mut attached = Vec::new();
    let mut bytes_left = MAX_MANIFEST;
    loop {
        if asked.len() == MAX_PAGES {
            return Err(RegistryError::TooMany { what: "pages", limit: MAX_PAGES });
        }
        if !asked.insert(next.clone()) {
            return refuse(Fault::Link("it leads back to a page that was read"));
        }
        let request = Request::get(Route::Referrers, next, OCI_INDEX, deadline);
        let response = registry.exchange.ask(host, image.repository(), &request).await?;
        match response.status().as_u16() {
            200 => {}
            // On a later page, something has gone.
            404 if asked.len() == 1 => {
                let why = body::not_found(host, response, String::new()).await;
                return Ok(if why.is_not_found() { Listed::Unknown } else { Listed::NoApi });
            }
            status => return refuse(Fault::Status(status)),
        }
        let content_type = body::content_type(response.headers(), &[OCI_INDEX, "application/json"]);
        content_type.map_err(|fault| RegistryError::protocol(&host.name, fault))?;
        let here = response.url().clone();
        let link = next_link(response.headers());
        let page = body::read(host, response, "list of referrers", bytes_left).await?;
        bytes_left -= page.len();
        let listed = object(&page).and_then(referrers::parse_list);
        attached.extend(listed.map_err(|e| body::unreadable(host, e))?);
        if attached.len() > MAX_DESCRIPTORS {
            let what = "descriptors";
            return Err(RegistryError::TooMany { what, limit: MAX_DESCRIPTORS });
        }
        next = match link.and_then(|link| follow(host, &here, link)) {
            Ok(Some(url)) => url,
            Ok(None) => return Ok(Listed::Attached(attached)),
            Err(fault) => return refuse(fault),
        };
    }
}

/// The list that pushers keep under the fallback tag. Nothing is attached if the registry says that
/// there is no such tag, or if something else is there: GitLab takes the tag for the digest and
/// answers with the subject itself. Anybody who may push can write what is there, so what cannot be
/// read is theirs; only nothing at all was never pushed.
async fn by_tag(
    registry: &Registry,
    host: &Host,
    image: &Reference,
    digest: Digest,
    deadline: Instant,
) -> Result<Vec<Descriptor>, RegistryError> {
    let fetched = match registry.by_tag(host, image, &digest.fallback_tag(), deadline).await {
        Ok(fetched) => fetched,
        Err(RegistryError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if fetched.digest == digest {
        return Ok(Vec::new());
    }
    match object(&fetched.bytes).and_then(|bytes| referrers::parse(bytes, &fetched.media_type)) {
        Ok(Document::Index(index)) => Ok(index.manifests),
        Ok(Document::Manifest(_)) => Ok(Vec::new()),
        Err(error) if fetched.bytes.is_empty() => Err(body::unreadable(host, error)),
        Err(error) => Err(body::unreadable_as_pushed(host, error)),
    }
}

/// `bytes`, unless they are an array: that would be read as an object by the order of its fields,
/// and `[]` as an empty list.
fn object(bytes: &[u8]) -> Result<&[u8], ReferrersError> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(ReferrersError::Ambiguous("it is an array"));
    }
    Ok(bytes)
}

/// The URL of the next page, which must be the registry's own: it is sent our token.
fn follow(host: &Host, here: &Url, link: Option<String>) -> Result<Option<Url>, Fault> {
    let Some(link) = link else {
        return Ok(None);
    };
    let mut next = here.join(&link).map_err(|_| Fault::Link("it is not a URL"))?;
    next.set_fragment(None);
    if !host.is_origin_of(&next) {
        return Err(Fault::Link("it leads to another origin"));
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err(Fault::Link("it has a user name"));
    }
    Ok(Some(next))
}
