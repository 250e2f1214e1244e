//! Manifests and blobs in, a layer that is what its manifest says and an envelope on it out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Artifact;
use super::envelope::{Envelope, EnvelopeError, MAX_ENVELOPE};
use super::error::{Role, SignatureError};
use super::examination::{CheckName, Record};
use crate::findings::MAX_REPORT;
use crate::image::Digest;
use crate::json::{self, JsonError};
use crate::referrers::{self, Descriptor, Document, Manifest, NOTARY_SIGNATURE};

/// A descriptor without what is not compared: its annotations are the signer's notes.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetArtifact {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl TargetArtifact {
    /// Reads it from a payload (signature-specification.md, "Payload"). By way of maps, because a
    /// struct could also be read from a list.
    fn read(payload: &[u8]) -> Result<Self, JsonError> {
        let payload: Map<String, Value> = json::from_slice(payload)?;
        let target = payload.get("targetArtifact").cloned().unwrap_or_default();
        let target: Map<String, Value> = serde_json::from_value(target)?;
        Ok(serde_json::from_value(target.into())?)
    }

    /// The payload that names it.
    pub(super) fn payload(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&BTreeMap::from([("targetArtifact", self)]))
    }
}

/// Reads a manifest with its one layer, and checks that the blob is that layer.
pub(super) fn read(
    role: Role,
    artifact: &Artifact<'_>,
) -> Result<(Manifest, Descriptor), SignatureError> {
    let document = referrers::parse(artifact.manifest, artifact.media_type)
        .map_err(|source| SignatureError::Manifest { role, source })?;
    let Document::Manifest(mut manifest) = document else {
        return Err(SignatureError::Index { role });
    };
    let count = manifest.layers.len();
    let (Some(layer), 1) = (manifest.layers.pop(), count) else {
        return Err(SignatureError::Layers { role, count });
    };
    // Before hashing, so that what is too large costs nothing.
    match role {
        Role::Report if artifact.blob.len() > MAX_REPORT => {
            return Err(SignatureError::ReportTooLarge { length: artifact.blob.len() });
        }
        Role::Signature if artifact.blob.len() > MAX_ENVELOPE => {
            return Err(EnvelopeError::TooLarge { length: artifact.blob.len() }.into());
        }
        Role::Report | Role::Signature => {}
    }
    if layer.size != length(artifact.blob) || layer.digest != Digest::of(artifact.blob) {
        return Err(SignatureError::Blob { role, expected: layer.digest });
    }
    Ok((manifest, layer))
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Opens the envelope and checks that both it and its manifest are about `report`.
pub(super) fn open(
    artifact: &Artifact<'_>,
    report: &TargetArtifact,
    record: &mut Record,
) -> Result<Envelope, SignatureError> {
    let layer = record.step(CheckName::SignatureManifest, layer(artifact, report))?;
    let envelope = Envelope::examine(artifact.blob, &layer.media_type, record)?;
    record.step(CheckName::SignedTarget, check_target(&envelope, report))?;
    Ok(envelope)
}

/// The layer of a signature that is attached to `report`.
fn layer(artifact: &Artifact<'_>, report: &TargetArtifact) -> Result<Descriptor, SignatureError> {
    let (manifest, layer) = read(Role::Signature, artifact)?;
    if manifest.artifact_type != NOTARY_SIGNATURE {
        return Err(SignatureError::ArtifactType(manifest.artifact_type));
    }
    match &manifest.subject {
        Some(about) if about.digest == report.digest => {
            if about.media_type != report.media_type || about.size != report.size {
                return Err(SignatureError::SignatureDescriptor { report: report.digest });
            }
        }
        other => {
            let about = other.as_ref().map(|subject| subject.digest);
            return Err(SignatureError::SignatureSubject { about, report: report.digest });
        }
    }
    Ok(layer)
}

fn check_target(envelope: &Envelope, report: &TargetArtifact) -> Result<(), SignatureError> {
    let target = TargetArtifact::read(envelope.payload()).map_err(SignatureError::Payload)?;
    if target.digest != report.digest {
        return Err(SignatureError::Target { signed: target.digest, report: report.digest });
    }
    if target != *report {
        return Err(SignatureError::TargetDescriptor { report: report.digest });
    }
    Ok(())
}
