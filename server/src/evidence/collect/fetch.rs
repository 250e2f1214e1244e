//! A descriptor in, the artifact that it names out: its manifest, and its one layer within bounds.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::evidence::{Reason, Rejection};
use portcullis_core::image::Digest;
use portcullis_core::referrers::{self, Descriptor, Document, Manifest};
use portcullis_core::signature::Artifact;
use portcullis_core::signature::envelope::MAX_ENVELOPE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::budget::Budget;
use super::{Fault, MAX_BLOBS, Question};
use crate::chain::detail;
use crate::registry::{Fetched, Registry, RegistryError};

/// Fetches artifacts, and keeps to the room that there is for large ones. Clones share it.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub(super) registry: Registry,
    /// Room for blobs, in KiB.
    room: Arc<Semaphore>,
}

/// A manifest of an artifact, with the one layer that it names.
pub(super) struct Head {
    digest: Digest,
    manifest: Bytes,
    media_type: String,
    pub(super) layer: Descriptor,
    limit: usize,
}

/// An artifact as it was fetched.
#[derive(Clone)]
pub(super) struct Fetch {
    pub(super) digest: Digest,
    manifest: Bytes,
    media_type: String,
    blob: Bytes,
    /// Given back when the last copy is dropped.
    _room: Arc<Option<OwnedSemaphorePermit>>,
}

impl Head {
    /// A layer that is an artifact by itself.
    pub(super) fn of_layer(layer: &Descriptor, limit: usize) -> Result<Self, Fault> {
        let (digest, media_type) = (layer.digest, layer.media_type.clone());
        within(digest, layer, limit)?;
        Ok(Self { digest, manifest: Bytes::new(), media_type, layer: layer.clone(), limit })
    }
}

impl Fetch {
    pub(super) const fn blob(&self) -> &Bytes {
        &self.blob
    }

    pub(super) fn as_artifact(&self) -> Artifact<'_> {
        Artifact { manifest: &self.manifest, media_type: &self.media_type, blob: &self.blob }
    }
}

impl Fetcher {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, room: Arc::new(Semaphore::new(MAX_BLOBS >> 10)) }
    }

    /// The same with another client.
    pub(super) fn with(&self, registry: Registry) -> Self {
        Self { registry, room: Arc::clone(&self.room) }
    }

    /// The manifest of an artifact, which must have one layer of at most `limit` bytes.
    pub(super) async fn head(
        &self,
        q: &Question,
        digest: Digest,
        limit: usize,
        deadline: Instant,
    ) -> Result<Head, Fault> {
        let fetched = self.registry.manifest(&q.image, digest, deadline).await;
        let fetched = fetched.map_err(|error| blame(digest, error))?;
        let mut manifest = manifest(&fetched)
            .map_err(|error| rejected(digest, Reason::Malformed, &detail(error.as_ref())))?;
        let count = manifest.layers.len();
        let (Some(layer), 1) = (manifest.layers.pop(), count) else {
            let detail = format!("its manifest has {count} layers instead of one");
            return Err(rejected(digest, Reason::Malformed, &detail));
        };
        within(digest, &layer, limit)?;
        let Fetched { bytes: manifest, media_type, .. } = fetched;
        Ok(Head { digest, manifest, media_type, layer, limit })
    }

    /// The artifact with this manifest, paid for from `budget`.
    pub(super) async fn whole(
        &self,
        q: &Question,
        head: Head,
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Fetch, Fault> {
        let Head { digest, manifest, media_type, layer, limit } = head;
        if !budget.bytes(layer.size) {
            return Err(Fault::Exhausted);
        }
        let room = self.room_for(&layer, deadline).await?;
        let blob = self.registry.blob(&q.image, &layer, limit, deadline).await;
        let blob = blob.map_err(|error| blame(digest, error))?;
        Ok(Fetch { digest, manifest, media_type, blob, _room: Arc::new(room) })
    }

    /// Waits until a large blob has room. Envelopes and small reports take none, so that whoever has
    /// room for a report never waits for more.
    async fn room_for(
        &self,
        layer: &Descriptor,
        deadline: Instant,
    ) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        let kib = match u32::try_from(layer.size >> 10) {
            Ok(kib) if layer.size > MAX_ENVELOPE as u64 => kib,
            _ => return Ok(None),
        };
        let room = Arc::clone(&self.room).acquire_many_owned(kib);
        match tokio::time::timeout_at(deadline, room).await {
            Ok(Ok(room)) => Ok(Some(room)),
            Ok(Err(_closed)) => Err(Fault::Lost),
            Err(_elapsed) => Err(Fault::Unavailable(RegistryError::Deadline)),
        }
    }
}

fn within(artifact: Digest, layer: &Descriptor, limit: usize) -> Result<(), Fault> {
    if usize::try_from(layer.size).map_or(true, |size| size > limit) {
        let detail =
            format!("its layer is {} bytes long, more than the {limit} allowed", layer.size);
        return Err(rejected(artifact, Reason::TooLarge, &detail));
    }
    Ok(())
}

fn manifest(fetched: &Fetched) -> Result<Manifest, Box<dyn Error + Send + Sync>> {
    match referrers::parse(&fetched.bytes, &fetched.media_type)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err("it is an index, not an artifact".into()),
    }
}

/// Whether an artifact or the registry is to blame for `error`.
pub(super) fn blame(artifact: Digest, error: RegistryError) -> Fault {
    match error.reason() {
        // As the fallback list can be after a deletion.
        _ if error.is_not_found() => {
            rejected(artifact, Reason::Malformed, "it is listed, and the registry does not have it")
        }
        Some(reason) => rejected(artifact, reason, &detail(&error)),
        None => Fault::Unavailable(error),
    }
}

pub(super) fn rejected(report: Digest, reason: Reason, detail: &str) -> Fault {
    Fault::Rejected(Rejection { reason, report: Some(report), detail: detail.to_owned() })
}
