//! A statement and a key in, the attestations that cosign pushes out.
//!
//! The shapes are those of cosign 3 (a bundle as a referrer) and of cosign 2 (envelopes as the layers
//! under a tag that is made of the digest), and the one between: an envelope as a referrer.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{IN_TOTO, OCI_MANIFEST};
use portcullis_core::signature::cosign::{BUNDLE, DSSE};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::json;

use crate::TestkitError;
use crate::attach::{Artifact, push};
use crate::image::{descriptor, held};
use crate::registry::Registry;

/// Media type of an image's config, which cosign 2 gives to attestations too.
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A key as `cosign generate-key-pair` makes one.
#[derive(Debug)]
pub struct CosignKey(KeyPair);

impl CosignKey {
    /// A new key on P-256.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, TestkitError> {
        Ok(Self(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?))
    }

    /// The public key in PEM: what `cosign.pub` holds.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.0.public_key_pem()
    }

    /// A DSSE envelope around `statement`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn envelope(&self, statement: &[u8]) -> Result<Vec<u8>, TestkitError> {
        let head = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), statement.len());
        let signature = self.0.sign(&[head.as_bytes(), statement].concat())?;
        Ok(serde_json::to_vec(&json!({
            "payloadType": IN_TOTO,
            "payload": STANDARD.encode(statement),
            "signatures": [{"keyid": "", "sig": STANDARD.encode(signature)}],
        }))?)
    }

    /// A sigstore bundle with such an envelope.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn bundle(&self, statement: &[u8]) -> Result<Vec<u8>, TestkitError> {
        let envelope: serde_json::Value = serde_json::from_slice(&self.envelope(statement)?)?;
        let hint = Digest::of(&self.0.subject_public_key_info());
        Ok(serde_json::to_vec(&json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": STANDARD.encode(hint.as_bytes())}},
            "dsseEnvelope": envelope,
        }))?)
    }
}

/// Attaches a bundle as cosign 3 does, and gives the digest of its manifest.
///
/// # Errors
/// When the subject is not there.
pub fn attach_bundle(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    bundle: Vec<u8>,
    predicate_type: &str,
) -> Result<Digest, TestkitError> {
    let annotations = BTreeMap::from([
        ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType".to_owned(), predicate_type.to_owned()),
    ]);
    attach(registry, repository, subject, (BUNDLE, BUNDLE), bundle, annotations)
}

/// Attaches an envelope as an in-toto artifact, and gives the digest of its manifest.
///
/// # Errors
/// When the subject is not there.
pub fn attach_envelope(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    envelope: Vec<u8>,
    predicate_type: &str,
) -> Result<Digest, TestkitError> {
    let annotations = BTreeMap::from([("predicateType".to_owned(), predicate_type.to_owned())]);
    attach(registry, repository, subject, (IN_TOTO, DSSE), envelope, annotations)
}

/// Attaches envelopes as cosign 2 does, under the tag of the image, and gives the digest of their
/// manifest. What was there is replaced.
///
/// # Errors
/// When the manifest cannot be written as JSON.
pub fn attach_legacy(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    envelopes: &[Vec<u8>],
) -> Result<Digest, TestkitError> {
    let config = b"{}".as_slice();
    registry.put_blob(repository, config);
    let mut layers = Vec::new();
    for envelope in envelopes {
        registry.put_blob(repository, envelope.clone());
        layers.push(descriptor(DSSE, envelope));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(IMAGE_CONFIG, config),
        "layers": layers,
    });
    let tag = format!("{}.att", subject.fallback_tag());
    Ok(registry.put_manifest(repository, &tag, serde_json::to_vec(&manifest)?, OCI_MANIFEST))
}

fn attach(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    (artifact_type, media_type): (&str, &str),
    layer: Vec<u8>,
    annotations: BTreeMap<String, String>,
) -> Result<Digest, TestkitError> {
    let artifact = Artifact {
        artifact_type: artifact_type.to_owned(),
        media_type: media_type.to_owned(),
        layer: layer.into(),
        annotations,
    };
    push(registry, repository, &held(registry, repository, subject)?, &artifact, &BTreeMap::new())
}
