//! A report and a key in, artifacts attached to an image out.
//!
//! The chain is that of the nearest product: image ← report ← signature, each step an OCI manifest
//! with a `subject`. The signature's manifest is as the Notary Project signature specification 1.1
//! has it, "OCI Signatures".

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_core::findings::VULNS_V0_2;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{
    CREATED, IN_TOTO, NOTARY_SIGNATURE, OCI_EMPTY, OCI_MANIFEST, PREDICATE_TYPE,
};
use portcullis_core::signature::sign::{Format, SigningKey, Target};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::TestkitError;
use crate::image::{descriptor, held};
use crate::keys::Issued;
use crate::registry::{Content, Registry};
use crate::report::{SCANNER, TrivyReport};

/// Artifact type under which [`Artifact::trivy`] is attached.
pub const TRIVY: &str = "application/vnd.aquasecurity.trivy.report+json";
/// Artifact type under which [`Artifact::sarif`] is attached.
pub const SARIF: &str = "application/sarif+json";
/// Artifact type under which [`Artifact::grype`] is attached, for want of one of its own.
pub const GRYPE: &str = "application/json";
/// Annotation with the fingerprints of the certificates that signed.
const THUMBPRINTS: &str = "io.cncf.notary.x509chain.thumbprint#S256";
/// The empty config of an artifact (OCI image-spec, manifest.md).
const EMPTY: &[u8] = b"{}";

/// Something to attach: one layer and what its manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Artifact type of the manifest.
    pub artifact_type: String,
    /// Media type of the layer.
    pub media_type: String,
    /// The layer.
    pub layer: Bytes,
    /// Annotations of the manifest. The layer has the same, but for the time of creation.
    pub annotations: BTreeMap<String, String>,
}

impl Artifact {
    /// The report as an in-toto statement about `subject`, in the shape that Defender publishes.
    /// `name` is the image's name.
    ///
    /// # Errors
    /// When the time of the scan has no RFC 3339 form.
    pub fn statement(
        report: &TrivyReport,
        name: &str,
        subject: Digest,
    ) -> Result<Self, TestkitError> {
        let mut annotations = annotations(report)?;
        annotations.insert(PREDICATE_TYPE.to_owned(), VULNS_V0_2.to_owned());
        Ok(Self {
            artifact_type: IN_TOTO.to_owned(),
            media_type: IN_TOTO.to_owned(),
            layer: report.to_statement(name, subject)?.into(),
            annotations,
        })
    }

    /// The report as Trivy's own JSON. `name` is the image's name.
    ///
    /// # Errors
    /// As [`Artifact::statement`].
    pub fn trivy(report: &TrivyReport, name: &str) -> Result<Self, TestkitError> {
        Ok(Self {
            artifact_type: TRIVY.to_owned(),
            media_type: TRIVY.to_owned(),
            layer: report.to_json(name)?.into(),
            annotations: annotations(report)?,
        })
    }

    /// The report as SARIF of Trivy. `name` is the image's name.
    ///
    /// # Errors
    /// As [`Artifact::statement`].
    pub fn sarif(report: &TrivyReport, name: &str) -> Result<Self, TestkitError> {
        Ok(Self {
            artifact_type: SARIF.to_owned(),
            media_type: SARIF.to_owned(),
            layer: report.to_sarif(name)?.into(),
            annotations: annotations(report)?,
        })
    }

    /// The report as Grype's JSON.
    ///
    /// # Errors
    /// As [`Artifact::statement`].
    pub fn grype(report: &TrivyReport) -> Result<Self, TestkitError> {
        Ok(Self {
            artifact_type: GRYPE.to_owned(),
            media_type: GRYPE.to_owned(),
            layer: report.to_grype()?.into(),
            annotations: BTreeMap::from([(
                CREATED.to_owned(),
                report.scanned_at().format(&Rfc3339)?,
            )]),
        })
    }
}

fn annotations(report: &TrivyReport) -> Result<BTreeMap<String, String>, TestkitError> {
    Ok(BTreeMap::from([
        (CREATED.to_owned(), report.scanned_at().format(&Rfc3339)?),
        ("scanner".to_owned(), SCANNER.to_owned()),
        ("report-type".to_owned(), "VulnerabilityAssessment".to_owned()),
    ]))
}

impl Issued {
    /// The key in the form that signs.
    ///
    /// # Errors
    /// When the chain may not sign.
    pub fn signing_key(&self) -> Result<SigningKey, TestkitError> {
        Ok(SigningKey::from_pem(self.key_pem.as_bytes(), self.chain_pem.as_bytes())?)
    }
}

/// Attaches an artifact to a manifest that the repository holds, and gives its digest.
///
/// # Errors
/// When the subject is not there.
pub fn attach(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    artifact: &Artifact,
) -> Result<Digest, TestkitError> {
    let subject = held(registry, repository, subject)?;
    let on_layer: BTreeMap<_, _> =
        artifact.annotations.iter().filter(|(name, _)| *name != CREATED).collect();
    push(registry, repository, &subject, artifact, &on_layer)
}

/// Attaches `report` as a statement about the image `subject`, without a signature.
///
/// # Errors
/// When the image is not there, or the time of the scan has no RFC 3339 form.
pub fn attach_report(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    report: &TrivyReport,
) -> Result<Digest, TestkitError> {
    let name = format!("{}/{repository}", registry.host());
    let artifact = Artifact::statement(report, &name, subject)?;
    attach(registry, repository, subject, &artifact)
}

/// Signs a manifest that the repository holds (a report, mostly) at `signed_at`, attaches the
/// signature to it and gives the digest of the signature's manifest.
///
/// # Errors
/// When the manifest is not there, or a certificate of the key is not valid at that time.
pub fn sign(
    registry: &Registry,
    repository: &str,
    report: Digest,
    key: &SigningKey,
    format: Format,
    signed_at: OffsetDateTime,
) -> Result<Digest, TestkitError> {
    let signed = held(registry, repository, report)?;
    let target = Target {
        media_type: signed.media_type.clone(),
        digest: report,
        size: u64::try_from(signed.bytes.len()).unwrap_or(u64::MAX),
    };
    let envelope = key.sign(format, &target, signed_at, None)?;
    let signature = Artifact {
        artifact_type: NOTARY_SIGNATURE.to_owned(),
        media_type: format.media_type().to_owned(),
        layer: envelope.into(),
        annotations: BTreeMap::from([
            (CREATED.to_owned(), signed_at.format(&Rfc3339)?),
            (THUMBPRINTS.to_owned(), serde_json::to_string(&key.thumbprints())?),
        ]),
    };
    push(registry, repository, &signed, &signature, &BTreeMap::new())
}

/// Pushes an artifact with `on_layer` as the annotations of its layer.
pub(crate) fn push(
    registry: &Registry,
    repository: &str,
    subject: &Content,
    artifact: &Artifact,
    on_layer: &BTreeMap<&String, &String>,
) -> Result<Digest, TestkitError> {
    let mut layer = descriptor(&artifact.media_type, &artifact.layer);
    if let Some(members) = layer.as_object_mut()
        && !on_layer.is_empty()
    {
        members.insert("annotations".to_owned(), json!(on_layer));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.artifact_type,
        "config": descriptor(OCI_EMPTY, EMPTY),
        "layers": [layer],
        "subject": descriptor(&subject.media_type, &subject.bytes),
        "annotations": artifact.annotations,
    });
    registry.put_blob(repository, EMPTY);
    registry.put_blob(repository, artifact.layer.clone());
    Ok(registry.put_manifest(repository, "", serde_json::to_vec(&manifest)?, OCI_MANIFEST))
}

#[cfg(test)]
mod tests;
