//! What core says of the reports that a registry holds, for this crate's own tests.

use portcullis_core::image::Digest;
use portcullis_core::referrers::{self, Document};
use portcullis_core::signature::{
    Artifact, Request, SignatureError, StoreFile, StoreKind, Trust, Verified, verify,
};
use time::OffsetDateTime;

use crate::keys::Authority;
use crate::registry::Registry;

/// Verifies the first signature of a report as being about `subject`, trusting `authority` alone.
pub(crate) fn verified(
    registry: &Registry,
    authority: &Authority,
    repository: &str,
    subject: Digest,
    report: Digest,
    now: OffsetDateTime,
) -> Result<Verified, SignatureError> {
    let scope = format!("{}/{repository}", registry.host());
    let policy = authority.trust_policy_json(&scope, "demo").unwrap();
    let root = StoreFile {
        kind: StoreKind::Ca,
        store: "demo".to_owned(),
        file: "root.pem".to_owned(),
        bytes: authority.root_pem().into_bytes(),
    };
    let trust = Trust::parse(policy.as_bytes(), &[root]).unwrap();
    let fetch = |digest| {
        let content = registry.manifest(repository, digest).unwrap();
        let document = referrers::parse(&content.bytes, &content.media_type).unwrap();
        let Document::Manifest(manifest) = document else { panic!("an index") };
        (content, registry.blob(repository, manifest.layers[0].digest).unwrap())
    };
    let signature = *registry.referrers(repository, report).first().expect("no signature");
    let (report, report_blob) = fetch(report);
    let (signature, signature_blob) = fetch(signature);
    let request = Request {
        scope: &scope,
        subject,
        report: Artifact {
            manifest: &report.bytes,
            media_type: &report.media_type,
            blob: &report_blob,
        },
        signature: Artifact {
            manifest: &signature.bytes,
            media_type: &signature.media_type,
            blob: &signature_blob,
        },
    };
    verify(&request, &trust, now)
}
