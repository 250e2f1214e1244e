//! Bytes in, the repositories of a registry out: blobs, manifests, tags and who refers to whom.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_core::image::Digest;
use portcullis_core::referrers::OCI_INDEX;
use serde::{Deserialize, Serialize};

/// A manifest and its media type, as pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// All repositories by name.
#[derive(Debug, Default)]
pub(super) struct Repositories(BTreeMap<String, Repository>);

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, Content>,
    tags: BTreeMap<String, Digest>,
    /// Subject to the manifests that are attached to it, in the order of their pushes.
    referrers: BTreeMap<Digest, Vec<Digest>>,
}

/// What a registry reads of a manifest. What it does not understand it keeps without reading.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Links {
    artifact_type: Option<String>,
    config: Option<Link>,
    layers: Vec<Link>,
    manifests: Vec<Link>,
    subject: Option<Link>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    media_type: String,
    digest: Digest,
}

/// One entry of a list of referrers (distribution-spec 1.1, "Listing Referrers").
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// A list of referrers as an image index.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    schema_version: u32,
    media_type: String,
    pub(super) manifests: Vec<Descriptor>,
}

impl List {
    pub(super) fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: OCI_INDEX.to_owned(), manifests }
    }

    pub(super) fn to_json(&self) -> Bytes {
        // Strings and numbers alone: writing them to memory cannot fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl Links {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn subject(&self) -> Option<Digest> {
        self.subject.as_ref().map(|link| link.digest)
    }
}

impl Repositories {
    pub(super) fn put_blob(&mut self, repository: &str, bytes: Bytes) -> Digest {
        let digest = Digest::of(&bytes);
        self.of(repository).blobs.insert(digest, bytes);
        digest
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        bytes: Bytes,
        media_type: &str,
    ) -> Digest {
        let digest = Digest::of(&bytes);
        let subject = Links::read(&bytes).and_then(|links| links.subject());
        let repository = self.of(repository);
        repository.manifests.insert(digest, Content { media_type: media_type.to_owned(), bytes });
        if let Some(subject) = subject {
            let attached = repository.referrers.entry(subject).or_default();
            if !attached.contains(&digest) {
                attached.push(digest);
            }
        }
        digest
    }

    pub(super) fn tag(&mut self, repository: &str, tag: &str, digest: Digest) {
        self.of(repository).tags.insert(tag.to_owned(), digest);
    }

    /// Adds a manifest to the list under its subject's fallback tag (distribution-spec 1.1,
    /// "Referrers Tag Schema"). A manifest without a subject has none.
    pub(super) fn keep_fallback_tag(&mut self, repository: &str, digest: Digest) {
        let Some(subject) = self
            .manifest(repository, digest)
            .and_then(|content| Links::read(&content.bytes))
            .and_then(|links| links.subject())
        else {
            return;
        };
        let tag = subject.fallback_tag();
        let mut list = self
            .tagged(repository, &tag)
            .and_then(|list| self.manifest(repository, list))
            .and_then(|content| serde_json::from_slice::<List>(&content.bytes).ok())
            .map_or_else(Vec::new, |list| list.manifests);
        list.retain(|entry| entry.digest != digest);
        list.extend(self.descriptor(repository, digest));
        let list = self.put_manifest(repository, List::new(list).to_json(), OCI_INDEX);
        self.tag(repository, &tag, list);
    }

    pub(super) fn delete(&mut self, repository: &str, digest: Digest) {
        let Some(repository) = self.0.get_mut(repository) else {
            return;
        };
        repository.blobs.remove(&digest);
        repository.manifests.remove(&digest);
        repository.tags.retain(|_, tagged| *tagged != digest);
        for attached in repository.referrers.values_mut() {
            attached.retain(|referrer| *referrer != digest);
        }
    }

    pub(super) fn has(&self, repository: &str) -> bool {
        self.0.contains_key(repository)
    }

    pub(super) fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        self.0.get(repository)?.blobs.get(&digest).cloned()
    }

    pub(super) fn manifest(&self, repository: &str, digest: Digest) -> Option<Content> {
        self.0.get(repository)?.manifests.get(&digest).cloned()
    }

    pub(super) fn tagged(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.0.get(repository)?.tags.get(tag).copied()
    }

    pub(super) fn tags(&self, repository: &str) -> Vec<String> {
        self.0.get(repository).map_or_else(Vec::new, |r| r.tags.keys().cloned().collect())
    }

    pub(super) fn referrers(&self, repository: &str, subject: Digest) -> Vec<Digest> {
        self.0.get(repository).and_then(|r| r.referrers.get(&subject)).cloned().unwrap_or_default()
    }

    /// What a list of referrers says of a manifest.
    pub(super) fn descriptor(&self, repository: &str, digest: Digest) -> Option<Descriptor> {
        let content = self.manifest(repository, digest)?;
        let links = Links::read(&content.bytes)?;
        Some(Descriptor {
            media_type: content.media_type,
            digest,
            size: u64::try_from(content.bytes.len()).unwrap_or(u64::MAX),
            artifact_type: links.artifact_type.or(links.config.map(|c| c.media_type)),
            annotations: links.annotations,
        })
    }

    /// The first blob or manifest that `links` names and the repository does not hold. A subject
    /// may be absent: an artifact may be pushed before its image.
    pub(super) fn first_absent(&self, repository: &str, links: &Links) -> Option<Digest> {
        let blobs = links.config.iter().chain(&links.layers);
        let blob = blobs.map(|l| l.digest).find(|d| self.blob(repository, *d).is_none());
        let mut manifests = links.manifests.iter().map(|l| l.digest);
        blob.or_else(|| manifests.find(|d| self.manifest(repository, *d).is_none()))
    }

    fn of(&mut self, repository: &str) -> &mut Repository {
        self.0.entry(repository.to_owned()).or_default()
    }
}
