//! Image names in, one canonical reference and raw digests out.

mod digest;
mod grammar;
mod meant;
mod nodes;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use smallvec::SmallVec;

pub use self::digest::Digest;
use self::grammar::{
    Split, bounded, canonical_registry, checked_tag, is_image_id, is_path_part, split,
    split_registry,
};
pub use self::meant::Meant;
pub use self::nodes::{MAX_NODES, Nodes};

/// The longest image reference that is read, in bytes. The longest that containerd can produce
/// (255 of name, 128 of tag, 71 of digest, a host of 255) is well below.
pub const MAX_REFERENCE: usize = 1024;
/// The longest `registry host/repository` name, in bytes, as the distribution reference grammar has
/// it for the repository part.
pub const MAX_REPOSITORY: usize = 255;
/// The longest tag, in bytes (distribution reference grammar).
pub const MAX_TAG: usize = 128;
/// The longest registry host with its port, in bytes (RFC 1035 name plus `:65535`).
pub const MAX_REGISTRY: usize = 259;

/// As long as most references are, in bytes.
const USUAL: usize = 256;

/// Why a text is not an image reference, a digest or a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The text is empty.
    #[error("the image reference is empty")]
    Empty,
    /// The text is longer than the bound.
    #[error("the {part} is {length} bytes long, more than the {limit} allowed")]
    TooLong {
        /// Which part of the reference.
        part: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The bound in bytes.
        limit: usize,
    },
    /// The text names an image on a node, not one in a registry.
    #[error("`{0}` is the id of an image on a node: name the image in its registry")]
    ImageId(String),
    /// The registry host is malformed.
    #[error(
        "`{0}` is not a registry host: expected a name or address and an optional port, without \
         `https://`, or the lower-case path of an image on Docker Hub"
    )]
    Registry(String),
    /// The repository is malformed.
    #[error(
        "`{0}` is not a repository: expected lower-case path parts of letters, digits and single \
         `.`, `_`, `__` or `-` between them"
    )]
    Repository(String),
    /// The tag is malformed.
    #[error(
        "`{0}` is not a tag: expected a letter, digit or `_`, then up to 127 of those, `.` or `-`"
    )]
    Tag(String),
    /// The digest is malformed.
    #[error("`{0}` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
    Digest(String),
    /// The digest has an algorithm that is not supported.
    #[error("digest algorithm `{0}` is not supported: only `sha256` is")]
    Algorithm(String),
    /// The platform is malformed.
    #[error("`{0}` is not a platform: expected `os/architecture` or `os/architecture/variant`")]
    Platform(String),
}

/// An image as a pod names it, normalised as containerd does (`github.com/distribution/reference`,
/// `ParseDockerRef`): `nginx` is `docker.io/library/nginx:latest`.
///
/// The aliases of Docker Hub (`index.docker.io`, `registry-1.docker.io`) become `docker.io`, so that
/// a rule for one of them cannot be passed by writing another. A copy shares the text.
#[derive(Clone)]
pub struct Reference {
    /// `registry/repository`, then `:tag` and `@digest` as far as they are named: one text for each
    /// image, of which all others are parts.
    text: Arc<str>,
    /// Where the registry ends in it.
    registry: usize,
    /// Where the repository ends in it.
    name: usize,
    /// Where the tag ends in it; where the repository does if there is none.
    tagged: usize,
    digest: Option<Digest>,
    /// `registry/repository@digest`, which is no part of the text if a tag is between.
    pinned: Option<Arc<str>>,
}

impl Reference {
    fn new(registry: &str, repository: &str, tag: Option<&str>, digest: Option<Digest>) -> Self {
        let text = whole(registry, repository, tag, digest);
        Self::of(text, registry, repository, tag, digest)
    }

    /// From its parts and the whole `text` of them.
    fn of(
        text: Arc<str>,
        registry: &str,
        repository: &str,
        tag: Option<&str>,
        digest: Option<Digest>,
    ) -> Self {
        let name = registry.len() + 1 + repository.len();
        let tagged = name + tag.map_or(0, |tag| 1 + tag.len());
        let pinned =
            (tag.is_some() && digest.is_some()).then(|| whole(registry, repository, None, digest));
        Self { text, registry: registry.len(), name, tagged, digest, pinned }
    }

    /// The registry host in lower case, with its port if one was named: `docker.io`,
    /// `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.text.get(..self.registry).unwrap_or_default()
    }

    /// The repository within the registry: `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.text.get(self.registry + 1..self.name).unwrap_or_default()
    }

    /// The tag, if one was named; `latest` where neither tag nor digest was.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.text.get(self.name + 1..self.tagged)
    }

    /// The digest, if one was named. Where there is one, it decides and the tag is only a label.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// `registry/repository`: what trust policies and rules are scoped by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(..self.name).unwrap_or_default()
    }

    /// All of it, as it is displayed: `registry/repository`, then `:tag` and `@digest` as far as
    /// they are named.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `registry/repository`, and `:tag` if a tag was named.
    pub(crate) fn undigested(&self) -> &str {
        self.text.get(..self.tagged).unwrap_or_default()
    }

    /// `registry/repository:tag`, if a tag was named.
    pub(crate) fn with_tag(&self) -> Option<&str> {
        self.tag().and_then(|_| self.text.get(..self.tagged))
    }

    /// `registry/repository@digest`, if a digest was named.
    pub(crate) fn with_digest(&self) -> Option<&str> {
        self.digest.map(|_| self.pinned.as_deref().unwrap_or(&self.text))
    }

    /// The same image at `digest`, without a tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self::new(self.registry(), self.repository(), None, Some(digest))
    }

    fn parts(&self) -> (&str, &str, Option<&str>, Option<Digest>) {
        (self.registry(), self.repository(), self.tag(), self.digest)
    }
}

/// The text of a reference that has these parts.
fn whole(registry: &str, repository: &str, tag: Option<&str>, digest: Option<Digest>) -> Arc<str> {
    // The parts side by side first, so that the allocator is asked once.
    let mut text: SmallVec<[u8; USUAL]> = SmallVec::new();
    text.extend_from_slice(registry.as_bytes());
    text.push(b'/');
    text.extend_from_slice(repository.as_bytes());
    if let Some(tag) = tag {
        text.push(b':');
        text.extend_from_slice(tag.as_bytes());
    }
    if let Some(digest) = digest {
        text.extend_from_slice(b"@sha256:");
        text.extend_from_slice(&digest.hex_digits());
    }
    // All of them are texts.
    Arc::from(std::str::from_utf8(&text).unwrap_or_default())
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Reference {}

impl Hash for Reference {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Reference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By registry, repository, tag and digest, so that the images of a repository stand together.
impl Ord for Reference {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reference")
            .field("registry", &self.registry())
            .field("repository", &self.repository())
            .field("tag", &self.tag())
            .field("digest", &self.digest)
            .finish()
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.is_empty() {
            return Err(ImageError::Empty);
        }
        bounded("image reference", text, MAX_REFERENCE)?;
        let Split { name, tag, digest } = split(text);
        let digest = digest.map(str::parse::<Digest>).transpose()?;
        let (registry, repository) = split_registry(name);
        let registry = canonical_registry(registry)?;
        if registry == "docker.io" && is_image_id(text) {
            return Err(ImageError::ImageId(text.to_owned()));
        }
        let written = repository;
        let repository = if registry == "docker.io" && !repository.contains('/') {
            Cow::Owned(format!("library/{repository}"))
        } else {
            Cow::Borrowed(repository)
        };
        bounded("repository", &repository, MAX_REPOSITORY)?;
        if !repository.as_bytes().split(|b| *b == b'/').all(is_path_part) {
            // `library/` is ours, and not what is wrong with it.
            return Err(ImageError::Repository(written.to_owned()));
        }
        let stated = tag.map(checked_tag).transpose()?;
        let tag = stated.or(if digest.is_none() { Some("latest") } else { None });
        let path = name.strip_prefix(&*registry).and_then(|rest| rest.strip_prefix('/'));
        if stated == tag && path == Some(&*repository) {
            // It is spelled as it should be, as most are.
            return Ok(Self::of(Arc::from(text), &registry, &repository, tag, digest));
        }
        Ok(Self::new(&registry, &repository, tag, digest))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The operating system and processor that a platform manifest is for (OCI image-spec,
/// image-index.md).
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Deserialize, serde::Serialize,
)]
pub struct Platform {
    /// `linux`, `windows`, or `unknown` for attestation manifests.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl FromStr for Platform {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let malformed = || ImageError::Platform(text.to_owned());
        let good = |part: &&str| {
            (1..=32).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let mut parts = text.split('/');
        let os = parts.next().filter(good).ok_or_else(malformed)?;
        let architecture = parts.next().filter(good).ok_or_else(malformed)?;
        let variant = match parts.next() {
            Some(variant) => Some(Some(variant).filter(good).ok_or_else(malformed)?.to_owned()),
            None => None,
        };
        if parts.next().is_some() {
            return Err(malformed());
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
