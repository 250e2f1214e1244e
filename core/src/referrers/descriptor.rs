//! One entry of a registry document in, what it says of another document out: with one reading only.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::ReferrersError;
use crate::image::{Digest, Platform};

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

/// Members that are not read.
pub(super) type Others = BTreeMap<String, IgnoredAny>;

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
pub(super) fn one_reading(others: &Others) -> Result<(), ReferrersError> {
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

pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
