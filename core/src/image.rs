//! Image names in, one canonical reference and raw digests out.

mod nodes;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

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
    #[error("`{0}` is not a registry host: expected a name or address and an optional port")]
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

/// A SHA-256 content digest of a manifest, index or blob: the only key under which anything is
/// cached.
///
/// Written `sha256:` and 64 lower-case hexadecimal digits (OCI image-spec, descriptor.md).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut raw = [0; 32];
        raw.copy_from_slice(hash.as_ref());
        Self(raw)
    }

    /// A digest from its 32 raw bytes.
    #[must_use]
    pub const fn from_bytes(raw: [u8; 32]) -> Self {
        Self(raw)
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(64);
        self.push_hex(&mut hex);
        hex
    }

    /// Adds the 64 hexadecimal digits to `text`.
    fn push_hex(&self, text: &mut String) {
        text.push_str(std::str::from_utf8(&self.hex_digits()).unwrap_or_default());
    }

    /// The 64 hexadecimal digits, in ASCII.
    #[must_use]
    pub fn hex_digits(&self) -> [u8; 64] {
        const fn digit(nibble: u8) -> u8 {
            if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
        }
        let mut digits = [0; 64];
        let (pairs, _) = digits.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        digits
    }

    /// The tag under which registries without the referrers API keep the list of what is attached
    /// to this digest (distribution-spec 1.1, "Referrers Tag Schema").
    #[must_use]
    pub fn fallback_tag(&self) -> String {
        format!("sha256-{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.len() > MAX_REFERENCE {
            return Err(ImageError::TooLong {
                part: "digest",
                length: text.len(),
                limit: MAX_REFERENCE,
            });
        }
        let malformed = || ImageError::Digest(text.to_owned());
        let (algorithm, hex) = text.split_once(':').ok_or_else(malformed)?;
        if matches!(algorithm, "sha384" | "sha512" | "blake3") {
            return Err(ImageError::Algorithm(algorithm.to_owned()));
        }
        if algorithm != "sha256" || hex.len() != 64 {
            return Err(malformed());
        }
        let mut raw = [0_u8; 32];
        let mut wrong = 0;
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        for (byte, [high, low]) in raw.iter_mut().zip(pairs) {
            let (high, low) = (nibble(*high), nibble(*low));
            // A digit that is none has bits that no other has.
            wrong |= high | low;
            *byte = high << 4 | low;
        }
        if wrong > 15 {
            return Err(malformed());
        }
        Ok(Self(raw))
    }
}

/// The value of a hexadecimal digit in lower case; of anything else, more than 15.
const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => u8::MAX,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
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
        let name = registry.len() + 1 + repository.len();
        let tagged = name + tag.map_or(0, |tag| 1 + tag.len());
        // As long as it becomes, so that it is not moved.
        let whole = |tag: Option<&str>, digest: Option<Digest>| {
            let length = name
                + tag.map_or(0, |tag| 1 + tag.len())
                + digest.map_or(0, |_| "@sha256:".len() + 64);
            let mut text = String::with_capacity(length);
            text.push_str(registry);
            text.push('/');
            text.push_str(repository);
            if let Some(tag) = tag {
                text.push(':');
                text.push_str(tag);
            }
            if let Some(digest) = digest {
                text.push_str("@sha256:");
                digest.push_hex(&mut text);
            }
            Arc::from(text)
        };
        let text = whole(tag, digest);
        let pinned = (tag.is_some() && digest.is_some()).then(|| whole(None, digest));
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
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to the host.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, repository) = split_registry(name);
        let registry = canonical_registry(registry)?;
        if registry == "docker.io" && is_image_id(text) {
            return Err(ImageError::ImageId(text.to_owned()));
        }
        let repository = if registry == "docker.io" && !repository.contains('/') {
            Cow::Owned(format!("library/{repository}"))
        } else {
            Cow::Borrowed(repository)
        };
        bounded("repository", &repository, MAX_REPOSITORY)?;
        if !repository.split('/').all(is_path_part) {
            return Err(ImageError::Repository(repository.into_owned()));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(checked_tag(tag)?),
            (None, Some(_)) => None,
            (None, None) => Some("latest"),
        };
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

const fn bounded(part: &'static str, text: &str, limit: usize) -> Result<(), ImageError> {
    if text.len() > limit {
        return Err(ImageError::TooLong { part, length: text.len(), limit });
    }
    Ok(())
}

/// The first part is a host if it could not be a path part: it has a dot, a port or upper case, or
/// is `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((host, rest))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (host, rest)
        }
        _ => ("docker.io", name),
    }
}

/// One spelling for each registry: lower case, no `:443`, an IPv6 address as RFC 5952 writes it, and
/// `docker.io` for all names of Docker Hub.
fn canonical_registry(host: &str) -> Result<Cow<'_, str>, ImageError> {
    bounded("registry host", host, MAX_REGISTRY)?;
    if is_canonical(host) {
        return Ok(Cow::Borrowed(host));
    }
    let malformed = || ImageError::Registry(host.to_owned());
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(malformed)?;
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| malformed())?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or_else(malformed)?),
            };
            (format!("[{address}]"), port)
        }
        None => {
            let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
            if !name.split('.').all(is_label) {
                return Err(malformed());
            }
            (name.to_ascii_lowercase(), port)
        }
    };
    if !port.is_none_or(is_port) {
        return Err(malformed());
    }
    let is_host = |text: &str| split_registry(&format!("{text}/a")).0 == text;
    let canonical = match port {
        // The port of https, unless it alone shows that this is a host.
        Some("443") if is_host(&name) => name,
        Some(port) => format!("{name}:{port}"),
        None => name,
    };
    // `B/app` names a host only by its upper case: in lower case it would be a path on Docker Hub, and
    // one name must not be two images.
    if !is_host(&canonical) {
        return Err(malformed());
    }
    Ok(match canonical.as_str() {
        "index.docker.io" | "registry-1.docker.io" => Cow::Borrowed("docker.io"),
        _ => Cow::Owned(canonical),
    })
}

/// Whether a host is spelled as it should be, as most are, without a look at what is rare.
fn is_canonical(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
    port.map_or_else(|| name.contains('.'), |port| port != "443" && is_port(port))
        && !name.ends_with("docker.io")
        && !name.bytes().any(|b| b.is_ascii_uppercase())
        && name.split('.').all(is_label)
}

/// `+80` and `080` would be other spellings of a port.
fn is_port(port: &str) -> bool {
    !port.starts_with('0')
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

/// Letters, digits and `-` between them (RFC 1123).
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `sha256:` and 64 hexadecimal digits, or the digits alone: the name of an image on a node, which a
/// node would run without asking any registry.
fn is_image_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_path_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    bytes.split(|b| alphanumeric(*b)).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|b| *b == b'-')
    })
}

fn checked_tag(tag: &str) -> Result<&str, ImageError> {
    bounded("tag", tag, MAX_TAG)?;
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = tag.bytes().next().is_some_and(word);
    if first && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        Ok(tag)
    } else {
        Err(ImageError::Tag(tag.to_owned()))
    }
}

#[cfg(test)]
mod tests;
