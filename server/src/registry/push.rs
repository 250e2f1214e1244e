//! Bytes in, blobs, manifests and attached artifacts in a registry out: what `attach` and tests use.

use bytes::Bytes;
use http::{HeaderMap, Method};
use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::{
    self, Descriptor, Document, MAX_DESCRIPTORS, MAX_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST,
};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::error::{Fault, RegistryError};
use super::exchange::Request;
use super::host::Host;
use super::{Registry, body, url, within};

/// Under which name a manifest is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Under its digest only.
    Digest,
    /// Under a tag, which is moved if it is there. The tag is valid if it comes from a [`Reference`]
    /// or is a fallback tag.
    Tag(&'a str),
}

/// A manifest that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Its digest.
    pub digest: Digest,
    /// The subject to whose referrers the registry says that it has added the manifest
    /// (`OCI-Subject`). Without it, the pusher must keep the fallback tag.
    pub subject: Option<Digest>,
}

/// Who lists an attached artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The registry's referrers API.
    Registry,
    /// The index under the fallback tag, which was written.
    FallbackTag,
}

impl Registry {
    /// Pushes a blob and gives its digest (distribution-spec, "Pushing a blob monolithically").
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push_blob(
        &self,
        image: &Reference,
        bytes: Bytes,
        deadline: Instant,
    ) -> Result<Digest, RegistryError> {
        let work = async {
            let host = self.exchange.hosts.find(image.registry())?;
            let start =
                Request::push(Method::POST, url(&host, image, "blobs/uploads/")?, None, deadline);
            let response = self.exchange.ask(&host, image.repository(), &start).await?;
            let from = response.url().clone();
            let headers = accepted(&host, &response, 202)?;
            let mut location = upload_location(&host, &from, headers)?;
            let digest = Digest::of(&bytes);
            location.query_pairs_mut().append_pair("digest", &digest.to_string());
            let body = Some((bytes, "application/octet-stream".to_owned()));
            let finish = Request::push(Method::PUT, location, body, deadline);
            let response = self.exchange.ask(&host, image.repository(), &finish).await?;
            accepted(&host, &response, 201)?;
            Ok(digest)
        };
        within(deadline, work).await
    }

    /// Pushes a manifest or an index.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push_manifest(
        &self,
        image: &Reference,
        bytes: Bytes,
        media_type: &str,
        target: Target<'_>,
        deadline: Instant,
    ) -> Result<Pushed, RegistryError> {
        let work = async {
            let host = self.exchange.hosts.find(image.registry())?;
            put_manifest(self, &host, image, (bytes, media_type), target, deadline).await
        };
        within(deadline, work).await
    }

    /// Pushes an artifact manifest and sees to it that it is listed at its `subject`: by the
    /// registry, or else in the index under the fallback tag (distribution-spec 1.1, "Pushing
    /// Manifests with Subject"). Its blobs must be there already. Two who attach to one subject at
    /// once can lose one entry of the fallback index; the artifact itself is not lost.
    ///
    /// # Errors
    /// When the bytes are not an OCI manifest with a subject, the registry does not take it, or
    /// something else is under the fallback tag.
    pub async fn attach(
        &self,
        image: &Reference,
        manifest: Bytes,
        deadline: Instant,
    ) -> Result<(Digest, Listing), RegistryError> {
        within(deadline, attach(self, image, manifest, deadline)).await
    }
}

async fn attach(
    registry: &Registry,
    image: &Reference,
    bytes: Bytes,
    deadline: Instant,
) -> Result<(Digest, Listing), RegistryError> {
    let host = registry.exchange.hosts.find(image.registry())?;
    let refuse = |why| RegistryError::protocol(&host.name, Fault::Attach(why));
    let document =
        referrers::parse(&bytes, OCI_MANIFEST).map_err(|e| body::unreadable(&host, e))?;
    let Document::Manifest(manifest) = document else {
        return Err(refuse("it is no manifest"));
    };
    let Some(subject) = &manifest.subject else {
        return Err(refuse("it has no subject"));
    };
    let size = bytes.len();
    let pushed =
        put_manifest(registry, &host, image, (bytes, OCI_MANIFEST), Target::Digest, deadline)
            .await?;
    if pushed.subject == Some(subject.digest) {
        return Ok((pushed.digest, Listing::Registry));
    }
    let listed = listed_under_tag(registry, &host, image, subject, deadline).await?;
    if let Some(index) = with_entry(listed, &manifest, pushed.digest, size).map_err(refuse)? {
        let tag = subject.digest.fallback_tag();
        put_manifest(registry, &host, image, (index, OCI_INDEX), Target::Tag(&tag), deadline)
            .await?;
    }
    Ok((pushed.digest, Listing::FallbackTag))
}

/// The index under the fallback tag of `subject`, or a new one. It is kept as it is, with what we do
/// not know of, since it is written back.
async fn listed_under_tag(
    registry: &Registry,
    host: &Host,
    image: &Reference,
    subject: &Descriptor,
    deadline: Instant,
) -> Result<Value, RegistryError> {
    let fetched = match registry.by_tag(host, image, &subject.digest.fallback_tag(), deadline).await
    {
        Ok(fetched) => fetched,
        Err(RegistryError::NotFound { .. }) => {
            return Ok(json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
        }
        Err(error) => return Err(error),
    };
    let refuse = |why| RegistryError::protocol(&host.name, Fault::Attach(why));
    let document = referrers::parse(&fetched.bytes, &fetched.media_type)
        .map_err(|e| body::unreadable(host, e))?;
    // "If that pull returns a manifest other than the expected image index, the client SHOULD
    // report a failure and skip the remaining steps."
    if fetched.media_type != OCI_INDEX || !matches!(document, Document::Index(_)) {
        return Err(refuse("something else than an index is under the fallback tag"));
    }
    serde_json::from_slice(&fetched.bytes)
        .map_err(|_| refuse("the index under the fallback tag cannot be read"))
}

/// The bytes of `index` with an entry for `manifest` added, or `None` if it has one.
fn with_entry(
    mut index: Value,
    manifest: &Manifest,
    digest: Digest,
    size: usize,
) -> Result<Option<Bytes>, &'static str> {
    let mut entry = json!({
        "mediaType": OCI_MANIFEST,
        "digest": digest,
        "size": size,
        "artifactType": manifest.artifact_type,
    });
    if !manifest.annotations.is_empty()
        && let Some(entry) = entry.as_object_mut()
    {
        entry.insert("annotations".to_owned(), json!(manifest.annotations));
    }
    let entries = index.as_object_mut().ok_or("the index under the fallback tag is no object")?;
    let entries = entries.entry("manifests").or_insert(Value::Null);
    if entries.is_null() {
        *entries = Value::Array(Vec::new());
    }
    let entries = entries.as_array_mut().ok_or("the index under the fallback tag has no list")?;
    let own = Value::String(digest.to_string());
    if entries.iter().any(|entry| entry.get("digest") == Some(&own)) {
        return Ok(None);
    }
    entries.push(entry);
    let full = entries.len() > MAX_DESCRIPTORS;
    let bytes = Bytes::from(index.to_string());
    if full || bytes.len() > MAX_MANIFEST {
        return Err("the index under the fallback tag is full");
    }
    Ok(Some(bytes))
}

async fn put_manifest(
    registry: &Registry,
    host: &Host,
    image: &Reference,
    (bytes, media_type): (Bytes, &str),
    target: Target<'_>,
    deadline: Instant,
) -> Result<Pushed, RegistryError> {
    let digest = Digest::of(&bytes);
    let url = match target {
        Target::Digest => url(host, image, &format!("manifests/{digest}"))?,
        Target::Tag(tag) => url(host, image, &format!("manifests/{tag}"))?,
    };
    let request = Request::push(Method::PUT, url, Some((bytes, media_type.to_owned())), deadline);
    let response = registry.exchange.ask(host, image.repository(), &request).await?;
    let headers = accepted(host, &response, 201)?;
    let subject = headers.get("oci-subject").and_then(|v| v.to_str().ok()?.parse().ok());
    Ok(Pushed { digest, subject })
}

/// The headers of a response with the status that says that the registry has taken it.
fn accepted<'a>(
    host: &Host,
    response: &'a Response,
    status: u16,
) -> Result<&'a HeaderMap, RegistryError> {
    if response.status().as_u16() != status {
        let fault = Fault::Status(response.status().as_u16());
        return Err(RegistryError::protocol(&host.name, fault));
    }
    Ok(response.headers())
}

/// Where an upload goes on. It is sent the token and the bytes, so it is the registry's own origin
/// or none (CVE-2026-50151).
fn upload_location(host: &Host, from: &Url, headers: &HeaderMap) -> Result<Url, RegistryError> {
    let location = headers.get(http::header::LOCATION).and_then(|l| l.to_str().ok());
    location
        .and_then(|location| from.join(location).ok())
        .filter(|url| host.is_origin_of(url) && url.username().is_empty())
        .ok_or_else(|| RegistryError::protocol(&host.name, Fault::Location))
}
