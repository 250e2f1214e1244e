//! A report on an image, and what core says of a signature over it.

use std::sync::OnceLock;

use bytes::Bytes;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{NOTARY_SIGNATURE, OCI_EMPTY, OCI_MANIFEST};
use portcullis_core::signature::sign::Format;
use portcullis_core::signature::{
    Artifact, Examination, NotAsked, Request, Revocations, SignatureError, StoreFile, StoreKind,
    Trust, Verified, examine,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
pub(crate) const SIGNED: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);
pub(crate) const FORMATS: [Format; 2] = [Format::Jws, Format::Cose];

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// The manifest of the report, which is what is signed.
pub(crate) fn report() -> &'static [u8] {
    static MANIFEST: OnceLock<Vec<u8>> = OnceLock::new();
    MANIFEST.get_or_init(|| {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.report",
            "config": descriptor(OCI_EMPTY, b"{}"),
            "layers": [descriptor("application/json", b"{}")],
            "subject": descriptor(OCI_MANIFEST, b"image"),
        });
        manifest.to_string().into_bytes()
    })
}

/// What core says of `envelope` as a signature over [`report`].
pub(crate) fn examined(
    format: Format,
    envelope: &[u8],
    trust: &Trust,
    revocations: &dyn Revocations,
    now: OffsetDateTime,
) -> Examination {
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": NOTARY_SIGNATURE,
        "config": descriptor(OCI_EMPTY, b"{}"),
        "layers": [descriptor(format.media_type(), envelope)],
        "subject": descriptor(OCI_MANIFEST, report()),
    });
    let signature = signature.to_string();
    let (content, envelope) = (Bytes::from_static(b"{}"), Bytes::copy_from_slice(envelope));
    let artifact = |manifest, blob| Artifact { manifest, media_type: OCI_MANIFEST, blob };
    let request = Request {
        scope: "reg.io/team/app",
        subject: Digest::of(b"image"),
        report: artifact(report(), &content),
        signature: artifact(signature.as_bytes(), &envelope),
    };
    examine(&request, trust, revocations, now)
}

/// The same, where nobody is asked about revocation.
pub(crate) fn verified(
    format: Format,
    envelope: &[u8],
    trust: &Trust,
    now: OffsetDateTime,
) -> Result<Verified, SignatureError> {
    examined(format, envelope, trust, &NotAsked, now).outcome
}

/// A policy with one statement that trusts each of `roots` for its kind.
pub(crate) fn trust(verification: &Value, roots: &[(StoreKind, &[u8])]) -> Trust {
    let stores: Vec<_> = roots.iter().map(|(kind, _)| format!("{kind}:it")).collect();
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "it",
            "registryScopes": ["*"],
            "signatureVerification": verification,
            "trustStores": stores,
            "trustedIdentities": ["x509.subject: C=US, ST=WA, O=it"],
        }],
    });
    let file = |(kind, der): &(StoreKind, &[u8])| StoreFile {
        kind: *kind,
        store: "it".to_owned(),
        file: "root.der".to_owned(),
        bytes: der.to_vec(),
    };
    let files: Vec<_> = roots.iter().map(file).collect();
    Trust::parse(policy.to_string().as_bytes(), &files).unwrap()
}

pub(crate) fn strict() -> Value {
    json!({"level": "strict"})
}
