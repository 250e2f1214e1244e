//! A report or an envelope in, the OCI manifest that attaches it to its subject out.
//!
//! The shapes are those of OCI image-spec 1.1 ("Guidelines for Artifact Usage"): of the findings that
//! Defender publishes, and of a Notary Project signature.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::image::Digest;
use crate::referrers::{
    CREATED, IN_TOTO, NOTARY_SIGNATURE, OCI_EMPTY, OCI_MANIFEST, PREDICATE_TYPE,
};

/// The empty config blob, which must be pushed before a manifest that names it.
pub const EMPTY_CONFIG: &[u8] = b"{}";

/// What an artifact is attached to, or one of its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Length of the content in bytes.
    pub size: usize,
}

impl Target {
    /// Describes `bytes` as being of `media_type`.
    #[must_use]
    pub fn of(bytes: &[u8], media_type: &str) -> Self {
        Self { media_type: media_type.to_owned(), digest: Digest::of(bytes), size: bytes.len() }
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size})
    }
}

/// The manifest that attaches an in-toto statement to `subject`.
///
/// `scanner` and `created` become annotations, hints for whoever lists the artifacts; `title` names
/// the file for tools that download it.
///
/// # Errors
/// When `created` has no RFC 3339 form.
pub fn report_manifest(
    statement: &[u8],
    predicate_type: &str,
    subject: &Target,
    scanner: &str,
    created: OffsetDateTime,
) -> Result<Vec<u8>, time::error::Format> {
    let mut layer = Target::of(statement, IN_TOTO).descriptor();
    if let Value::Object(layer) = &mut layer {
        let annotations = json!({
            PREDICATE_TYPE: predicate_type,
            "org.opencontainers.image.title": "findings.intoto.json",
        });
        layer.insert("annotations".to_owned(), annotations);
    }
    Ok(manifest(
        IN_TOTO,
        &layer,
        subject,
        &json!({
            PREDICATE_TYPE: predicate_type,
            CREATED: created.format(&Rfc3339)?,
            "report-type": "SoftwareInventoryAssessment",
            "scanner": scanner,
        }),
    ))
}

/// The manifest that attaches a Notary Project signature to the report manifest `report`
/// (notaryproject/specifications, signature-specification.md, "OCI Signatures").
///
/// `thumbprints` are the SHA-256 of the certificates of the chain, in hexadecimal, leaf first.
///
/// # Errors
/// When `created` has no RFC 3339 form.
pub fn signature_manifest(
    envelope: &Target,
    report: &Target,
    thumbprints: &[String],
    created: OffsetDateTime,
) -> Result<Vec<u8>, time::error::Format> {
    Ok(manifest(
        NOTARY_SIGNATURE,
        &envelope.descriptor(),
        report,
        &json!({
            CREATED: created.format(&Rfc3339)?,
            "io.cncf.notary.x509chain.thumbprint#S256": json!(thumbprints).to_string(),
        }),
    ))
}

fn manifest(artifact_type: &str, layer: &Value, subject: &Target, annotations: &Value) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": Target::of(EMPTY_CONFIG, OCI_EMPTY).descriptor(),
        "layers": [layer],
        "subject": subject.descriptor(),
        "annotations": annotations,
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::referrers::{Document, parse};

    #[test]
    fn what_is_built_is_read_as_a_report_and_its_signature() {
        let image = Target::of(b"image", OCI_MANIFEST);
        let now = OffsetDateTime::UNIX_EPOCH;
        let report =
            report_manifest(b"{}", crate::findings::VULNS_V0_2, &image, "trivy", now).unwrap();
        let Document::Manifest(read) = parse(&report, OCI_MANIFEST).unwrap() else {
            panic!("not a manifest");
        };
        assert_eq!(read.artifact_type, IN_TOTO);
        assert_eq!(read.subject.unwrap().digest, image.digest);
        assert_eq!(read.layers[0].digest, Digest::of(b"{}"));
        assert_eq!(read.annotations[CREATED], "1970-01-01T00:00:00Z");

        let envelope = Target::of(b"envelope", "application/cose");
        let report = Target::of(&report, OCI_MANIFEST);
        let signature = signature_manifest(&envelope, &report, &["ab".to_owned()], now).unwrap();
        let Document::Manifest(read) = parse(&signature, OCI_MANIFEST).unwrap() else {
            panic!("not a manifest");
        };
        assert_eq!(read.artifact_type, NOTARY_SIGNATURE);
        assert_eq!(read.subject.unwrap().size, report.size as u64);
        assert_eq!(read.annotations["io.cncf.notary.x509chain.thumbprint#S256"], r#"["ab"]"#);
    }
}
