//! A signed report in, the same after an attack out.
//!
//! What is named by its digest cannot be changed in place; these are the ways that are left to
//! somebody who has the registry, or may push to it, but not the key.

use bytes::Bytes;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{self, Document, Manifest, NOTARY_SIGNATURE};

use crate::TestkitError;
use crate::attach::{Artifact, attach, push};
use crate::image::held;
use crate::registry::{Fault, Registry, Route};

/// A report that nobody signed, with a signature that was made for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forged {
    /// Digest of the forged report's manifest.
    pub report: Digest,
    /// Digest of the manifest that attaches the old signature to it.
    pub signature: Digest,
}

/// Makes the registry answer `bytes` for the content of a report, under the old digest.
///
/// # Errors
/// When the report is not there, or has no layer.
pub fn serve_other_bytes(
    registry: &Registry,
    repository: &str,
    report: Digest,
    bytes: impl Into<Bytes>,
) -> Result<(), TestkitError> {
    let (_, layer) = read(registry, repository, report)?;
    registry.fault(Route::Of(layer), Fault::WrongBytes(bytes.into()));
    Ok(())
}

/// Replaces a report by one with the content `layer`, which carries the old one's signature. The
/// old report and its signature are gone.
///
/// # Errors
/// When the report is not there, or has no subject, layer or signature.
pub fn replace_content(
    registry: &Registry,
    repository: &str,
    report: Digest,
    layer: impl Into<Bytes>,
) -> Result<Forged, TestkitError> {
    let (manifest, _) = read(registry, repository, report)?;
    let no_subject = TestkitError::Shape { digest: report, part: "subject" };
    let subject = manifest.subject.as_ref().ok_or(no_subject)?.digest;
    let old_signature = signature_of(registry, repository, report)?;
    let forged = forge(registry, repository, report, subject, Some(layer.into()))?;
    registry.delete(repository, old_signature);
    registry.delete(repository, report);
    Ok(forged)
}

/// Attaches a copy of a report to another image of the repository, with a copy of its signature.
///
/// # Errors
/// When the report or the image is not there, or the report has no layer or signature.
pub fn copy_to(
    registry: &Registry,
    repository: &str,
    report: Digest,
    image: Digest,
) -> Result<Forged, TestkitError> {
    forge(registry, repository, report, image, None)
}

/// Pushes the report again, with another subject or layer, and its signature for that.
fn forge(
    registry: &Registry,
    repository: &str,
    report: Digest,
    subject: Digest,
    layer: Option<Bytes>,
) -> Result<Forged, TestkitError> {
    let signature = signature_of(registry, repository, report)?;
    let mut artifact = artifact(registry, repository, report)?;
    if let Some(layer) = layer {
        artifact.layer = layer;
    }
    let report = attach(registry, repository, subject, &artifact)?;
    let envelope = self::artifact(registry, repository, signature)?;
    let forged = held(registry, repository, report)?;
    let signature = push(registry, repository, &forged, &envelope, &Default::default())?;
    Ok(Forged { report, signature })
}

fn signature_of(
    registry: &Registry,
    repository: &str,
    report: Digest,
) -> Result<Digest, TestkitError> {
    for attached in registry.referrers(repository, report) {
        if read(registry, repository, attached)?.0.artifact_type == NOTARY_SIGNATURE {
            return Ok(attached);
        }
    }
    Err(TestkitError::Shape { digest: report, part: "signature" })
}

/// An attached artifact as it was before it was pushed.
fn artifact(
    registry: &Registry,
    repository: &str,
    digest: Digest,
) -> Result<Artifact, TestkitError> {
    let (manifest, layer) = read(registry, repository, digest)?;
    let absent = || TestkitError::Absent { repository: repository.to_owned(), digest: layer };
    let bytes = registry.blob(repository, layer).ok_or_else(absent)?;
    let media_type = manifest.layers.into_iter().next().map(|layer| layer.media_type);
    Ok(Artifact {
        artifact_type: manifest.artifact_type,
        media_type: media_type.unwrap_or_default(),
        layer: bytes,
        annotations: manifest.annotations,
    })
}

/// A manifest and the digest of its first layer.
fn read(
    registry: &Registry,
    repository: &str,
    digest: Digest,
) -> Result<(Manifest, Digest), TestkitError> {
    let content = held(registry, repository, digest)?;
    let shape = |part| TestkitError::Shape { digest, part };
    match referrers::parse(&content.bytes, &content.media_type)? {
        Document::Manifest(manifest) => {
            let layer = manifest.layers.first().ok_or(shape("layer"))?.digest;
            Ok((manifest, layer))
        }
        Document::Index(_) => Err(shape("layer")),
    }
}

#[cfg(test)]
mod tests;
