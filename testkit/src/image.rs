//! A name and a seed in, a small image that can be pulled out.

use bytes::Bytes;
use portcullis_core::image::{Digest, Platform};
use portcullis_core::referrers::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::TestkitError;
use crate::registry::{Content, Registry};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The block of a tar archive, in bytes (POSIX.1-1988, ustar).
const BLOCK: usize = 512;

/// Pushes an image for `linux/amd64` with one file, `etc/motd`, that holds `seed`: images with
/// unlike seeds have unlike digests. An empty `tag` is none.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn image(
    registry: &Registry,
    repository: &str,
    tag: &str,
    seed: &str,
) -> Result<Digest, TestkitError> {
    platform_image(registry, repository, tag, &"linux/amd64".parse()?, seed)
}

/// Pushes an image as [`image`] does, for another platform.
///
/// # Errors
/// As [`image`].
pub fn platform_image(
    registry: &Registry,
    repository: &str,
    tag: &str,
    platform: &Platform,
    seed: &str,
) -> Result<Digest, TestkitError> {
    let layer = Bytes::from(tar("etc/motd", seed.as_bytes()));
    let mut config = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
        "history": [{ "created_by": "portcullis testkit" }],
    });
    if let (Some(variant), Some(config)) = (&platform.variant, config.as_object_mut()) {
        config.insert("variant".to_owned(), json!(variant));
    }
    let config = Bytes::from(serde_json::to_vec(&config)?);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, &config),
        "layers": [descriptor(LAYER, &layer)],
    });
    registry.put_blob(repository, config);
    registry.put_blob(repository, layer);
    let manifest = serde_json::to_vec(&manifest)?;
    Ok(registry.put_manifest(repository, tag, manifest, OCI_MANIFEST))
}

/// Pushes an index of images that the repository holds. An empty `tag` is none.
///
/// # Errors
/// When an image is not there.
pub fn index(
    registry: &Registry,
    repository: &str,
    tag: &str,
    images: &[(Platform, Digest)],
) -> Result<Digest, TestkitError> {
    let mut manifests = Vec::with_capacity(images.len());
    for (platform, digest) in images {
        let content = held(registry, repository, *digest)?;
        let mut entry = descriptor(&content.media_type, &content.bytes);
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("platform".to_owned(), serde_json::to_value(platform)?);
        }
        manifests.push(entry);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    Ok(registry.put_manifest(repository, tag, serde_json::to_vec(&index)?, OCI_INDEX))
}

/// A descriptor of `bytes` (OCI image-spec, descriptor.md).
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// A manifest that has to be there.
pub(crate) fn held(
    registry: &Registry,
    repository: &str,
    digest: Digest,
) -> Result<Content, TestkitError> {
    let absent = || TestkitError::Absent { repository: repository.to_owned(), digest };
    registry.manifest(repository, digest).ok_or_else(absent)
}

/// An archive of one file, owned by root, of the time 0. `name` has at most 100 bytes.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut before = Vec::with_capacity(BLOCK);
    let mut field = |text: &str, width: usize| {
        let end = before.len() + width;
        before.extend(text.bytes().take(width));
        before.resize(end, 0);
    };
    field(name, 100);
    field("0000644", 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{:011o}", content.len()), 12);
    field("00000000000", 12);
    // The checksum is over the header with spaces in the checksum's own place.
    let after = {
        let mut after = b"0".to_vec();
        after.resize(101, 0);
        after.extend(b"ustar\x0000");
        after.resize(BLOCK - before.len() - 8, 0);
        after
    };
    let sum = before.iter().chain(&after).map(|b| u32::from(*b)).sum::<u32>() + 8 * u32::from(b' ');
    let mut archive = before;
    archive.extend(format!("{sum:06o}\0 ").bytes());
    archive.extend(after);
    archive.extend(content);
    // The content is filled up to a block, and two empty blocks end the archive.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests;
