//! Registry documents in, the artifacts attached to a digest out: parsed, chosen, ordered.
//!
//! The documents are those of OCI image-spec 1.1 (manifest.md, image-index.md) and their Docker
//! twins. One digest must have one reading: a document that is both an index and a manifest is
//! refused (GHSA-qq97-vm5h-rrhg, CASES T007).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::json::{self, JsonError};

mod descriptor;
mod profile;

pub use descriptor::{ANY_PLATFORM, Descriptor, DescriptorPlatform, MAX_PLATFORM_PART};
pub use profile::{
    IN_TOTO, Kind, MAX_PROFILE_LIST, MAX_PROFILE_TEXT, MAX_PROFILES, NotAdmitted, Profile,
    ProfileError, Profiles, signatures,
};

use descriptor::{Others, null_is_default, one_reading};

/// The largest manifest or index that is read, in bytes (distribution-spec: registries accept at
/// least 4 MiB).
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;
/// The most descriptors that one index may list.
pub const MAX_DESCRIPTORS: usize = 1_000;

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a Docker image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of the empty config blob `{}`.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Artifact type of a Notary Project signature.
pub const NOTARY_SIGNATURE: &str = "application/vnd.cncf.notary.signature";
/// Annotation with the time at which an artifact was made (RFC 3339).
pub const CREATED: &str = "org.opencontainers.image.created";
/// Annotation that stands for [`CREATED`] in what ORAS pushed before OCI 1.1.
pub const ARTIFACT_CREATED: &str = "org.opencontainers.artifact.created";
/// Annotation with the predicate type of an in-toto statement.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// Why a registry document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReferrersError {
    /// More bytes than [`MAX_MANIFEST`].
    #[error("the manifest is {length} bytes long, more than the {MAX_MANIFEST} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not JSON, or not of the shape of a manifest.
    #[error("the manifest cannot be read")]
    Malformed(#[source] JsonError),
    /// It has the fields of an index and of a manifest, or its media type is not the one declared.
    #[error("the document can be read in two ways: {0}")]
    Ambiguous(&'static str),
    /// Its media type is none that is known.
    #[error("media type `{0}` is neither an image manifest nor an index")]
    MediaType(String),
    /// A platform that is none.
    #[error(
        "a platform has a part that is longer than {MAX_PLATFORM_PART} bytes, or characters beside \
         letters, digits, `.`, `_` and `-`"
    )]
    Platform,
    /// A list of referrers of which an entry cannot be read: a pusher's doing, not the registry's.
    #[error("an entry of the list of referrers cannot be read")]
    Entry(#[source] JsonError),
    /// A list of referrers that has no list.
    #[error("the answer has no list of referrers")]
    NoList,
    /// More descriptors than [`MAX_DESCRIPTORS`].
    #[error("the index lists {count} descriptors, more than the {MAX_DESCRIPTORS} allowed")]
    TooMany {
        /// How many it lists.
        count: usize,
    },
}

/// An image or artifact manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its own media type.
    pub media_type: String,
    /// Its artifact type: `artifactType`, else the config's media type (distribution-spec 1.1).
    pub artifact_type: String,
    /// Its layers.
    pub layers: Vec<Descriptor>,
    /// What it is attached to.
    pub subject: Option<Descriptor>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests: the platforms of an image, or what is attached to a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its own media type.
    pub media_type: String,
    /// Its entries.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// Whether an entry is an index itself. containerd goes down into it, where nobody has looked.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        self.manifests.iter().any(|d| matches!(d.media_type.as_str(), OCI_INDEX | DOCKER_LIST))
    }
}

/// What an image digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives for one match, and there is one of it")]
pub enum Document {
    /// One platform's image.
    Manifest(Manifest),
    /// Several platforms' images.
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    others: Others,
}

/// A list, whatever is in it.
#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    manifests: Option<Vec<IgnoredAny>>,
    #[serde(flatten)]
    _others: Others,
}

/// Reads a manifest or an index. `declared` is the media type that the registry or a descriptor
/// gave for these bytes, without parameters.
///
/// # Errors
/// When the bytes are too many, are not such a document, or can be read as both kinds.
pub fn parse(bytes: &[u8], declared: &str) -> Result<Document, ReferrersError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(ReferrersError::TooLarge { length: bytes.len() });
    }
    let raw: Raw = json::from_slice(bytes).map_err(ReferrersError::Malformed)?;
    one_reading(&raw.others)?;
    let media_type = match raw.media_type {
        Some(own) if own != declared => {
            return Err(ReferrersError::Ambiguous("its media type is not the one declared for it"));
        }
        Some(own) => own,
        None => declared.to_owned(),
    };
    let lists = raw.manifests.is_some();
    let holds = raw.layers.is_some() || raw.config.is_some();
    if lists && holds {
        return Err(ReferrersError::Ambiguous("it has `manifests` and also `layers` or `config`"));
    }
    match media_type.as_str() {
        OCI_INDEX | DOCKER_LIST if !holds => {
            let manifests = raw.manifests.unwrap_or_default();
            if manifests.len() > MAX_DESCRIPTORS {
                return Err(ReferrersError::TooMany { count: manifests.len() });
            }
            Ok(Document::Index(Index { media_type, manifests }))
        }
        OCI_MANIFEST | DOCKER_MANIFEST if !lists => {
            let layers = raw.layers.unwrap_or_default();
            if layers.len() > MAX_DESCRIPTORS {
                return Err(ReferrersError::TooMany { count: layers.len() });
            }
            let artifact_type = raw
                .artifact_type
                .filter(|t| !t.is_empty())
                .or_else(|| raw.config.map(|c| c.media_type))
                .unwrap_or_default();
            Ok(Document::Manifest(Manifest {
                media_type,
                artifact_type,
                layers,
                subject: raw.subject,
                annotations: raw.annotations,
            }))
        }
        OCI_INDEX | DOCKER_LIST | OCI_MANIFEST | DOCKER_MANIFEST => {
            Err(ReferrersError::Ambiguous("its fields are not those of its media type"))
        }
        _ => Err(ReferrersError::MediaType(media_type)),
    }
}

/// Reads one page of the referrers API or the fallback tag's index. Harbor answers `{}` and others
/// `"manifests": null` where nothing is attached; both are an empty list.
///
/// # Errors
/// When the bytes are too many or are not a list of descriptors.
pub fn parse_list(bytes: &[u8]) -> Result<Vec<Descriptor>, ReferrersError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(ReferrersError::TooLarge { length: bytes.len() });
    }
    let shape: Shape = json::from_slice(bytes).map_err(ReferrersError::Malformed)?;
    let raw: Raw = json::from_slice(bytes).map_err(match shape.manifests {
        Some(_) => ReferrersError::Entry,
        None => ReferrersError::Malformed,
    })?;
    one_reading(&raw.others)?;
    // An error document is JSON too, and must not pass for an empty list.
    if raw.manifests.is_none() && raw.others.keys().any(|key| key != "schemaVersion") {
        return Err(ReferrersError::NoList);
    }
    if raw.layers.is_some() || raw.config.is_some() {
        return Err(ReferrersError::Ambiguous("a list of referrers has `layers` or `config`"));
    }
    if let Some(media_type) = raw.media_type.filter(|t| t != OCI_INDEX && t != DOCKER_LIST) {
        return Err(ReferrersError::MediaType(media_type));
    }
    let manifests = raw.manifests.unwrap_or_default();
    if manifests.len() > MAX_DESCRIPTORS {
        return Err(ReferrersError::TooMany { count: manifests.len() });
    }
    Ok(manifests)
}

#[cfg(test)]
mod tests;
