//! Registry documents in, the artifacts attached to a digest out: parsed, chosen, ordered.
//!
//! The documents are those of OCI image-spec 1.1 (manifest.md, image-index.md) and their Docker
//! twins. One digest must have one reading: a document that is both an index and a manifest is
//! refused (GHSA-qq97-vm5h-rrhg, CASES T007).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::image::{Digest, Platform};
use crate::json::{self, JsonError};

mod profile;

pub use profile::{IN_TOTO, Profile, signatures};

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

/// What one document says of another: type, digest and size in bytes (OCI image-spec,
/// descriptor.md). The size is a claim and is never allocated by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawDescriptor")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Length of the content in bytes, as claimed.
    pub size: u64,
    /// Type of the artifact, where the content is one.
    pub artifact_type: Option<String>,
    /// Annotations, which are hints until the content has been verified.
    pub annotations: BTreeMap<String, String>,
    /// Platform, in an image index.
    pub platform: Option<DescriptorPlatform>,
}

/// The platform of an index entry: each part at most [`MAX_PLATFORM_PART`] letters, digits, `.`, `_` or
/// `-`. Fields beside those that choose an image are not read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPlatform")]
pub struct DescriptorPlatform {
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub architecture: String,
    /// Variant of the architecture.
    pub variant: Option<String>,
}

/// The longest part of a platform, in bytes.
pub const MAX_PLATFORM_PART: usize = 64;

impl Descriptor {
    /// The platform that this entry of an index is for, or `None` for one that no node runs: BuildKit
    /// marks its attestation manifests `unknown/unknown`.
    ///
    /// It is read as containerd reads it, so that nothing can run that was not looked at: whatever
    /// the case of the operating system, whatever the annotations say, and an entry without a platform
    /// is one that any node may run, [`ANY_PLATFORM`].
    #[must_use]
    pub fn runnable_platform(&self) -> Option<Platform> {
        let any = || Platform {
            os: ANY_PLATFORM.to_owned(),
            architecture: ANY_PLATFORM.to_owned(),
            variant: None,
        };
        let Some(platform) = &self.platform else {
            return Some(any());
        };
        match platform.os.to_ascii_lowercase() {
            os if os == "unknown" => None,
            os if os.is_empty() => Some(any()),
            os => Some(Platform {
                os,
                architecture: platform.architecture.clone(),
                variant: platform.variant.clone().filter(|v| !v.is_empty()),
            }),
        }
    }
}

/// Stands for the parts of a platform that an index does not state.
pub const ANY_PLATFORM: &str = "any";

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

/// Members that are not read.
type Others = BTreeMap<String, IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<DescriptorPlatform>,
    #[serde(flatten)]
    others: Others,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(flatten)]
    others: Others,
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

/// Members that have a meaning in one of these documents.
const KNOWN: [&str; 13] = [
    "annotations",
    "architecture",
    "artifactType",
    "config",
    "digest",
    "layers",
    "manifests",
    "mediaType",
    "os",
    "platform",
    "size",
    "subject",
    "variant",
];

/// Refuses `Manifests` beside or instead of `manifests`: containerd's JSON reader does not tell case
/// apart, so it would read what we do not.
fn one_reading(others: &Others) -> Result<(), ReferrersError> {
    let fold = |text: &str| -> String {
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    };
    let twice = |key: &&String| KNOWN.iter().any(|known| fold(known) == fold(key));
    match others.keys().find(twice) {
        Some(_) => {
            Err(ReferrersError::Ambiguous("the case of one of its keys is not the known one"))
        }
        None => Ok(()),
    }
}

impl TryFrom<RawDescriptor> for Descriptor {
    type Error = ReferrersError;

    fn try_from(raw: RawDescriptor) -> Result<Self, ReferrersError> {
        one_reading(&raw.others)?;
        let RawDescriptor {
            media_type, digest, size, artifact_type, annotations, platform, ..
        } = raw;
        Ok(Self { media_type, digest, size, artifact_type, annotations, platform })
    }
}

impl TryFrom<RawPlatform> for DescriptorPlatform {
    type Error = ReferrersError;

    fn try_from(raw: RawPlatform) -> Result<Self, ReferrersError> {
        one_reading(&raw.others)?;
        let RawPlatform { os, architecture, variant, .. } = raw;
        let good = |part: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            part.len() <= MAX_PLATFORM_PART && part.bytes().all(known)
        };
        if good(&os) && good(&architecture) && variant.as_deref().is_none_or(good) {
            Ok(Self { os, architecture, variant })
        } else {
            Err(ReferrersError::Platform)
        }
    }
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
    let raw: Raw = json::from_slice(bytes).map_err(ReferrersError::Malformed)?;
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

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
