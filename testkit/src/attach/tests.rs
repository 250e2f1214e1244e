//! What is attached has the shape that is published, and can be read back.

use portcullis_core::referrers::{self, Document, Manifest, OCI_MANIFEST};
use time::macros::datetime;

use super::*;
use crate::image::image;
use crate::keys::{Authority, KeyKind};

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

async fn world() -> (Registry, Digest, TrivyReport) {
    let registry = Registry::start().await.unwrap();
    let digest = image(&registry, "demo/app", "v1", "app").unwrap();
    (registry, digest, TrivyReport::new(NOW))
}

fn manifest(registry: &Registry, digest: Digest) -> Manifest {
    let content = registry.manifest("demo/app", digest).unwrap();
    match referrers::parse(&content.bytes, &content.media_type).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => panic!("an index"),
    }
}

#[tokio::test]
async fn a_report_is_attached_in_the_shape_of_defenders() {
    let (registry, image, report) = world().await;
    let digest = attach_report(&registry, "demo/app", image, &report).unwrap();
    assert_eq!(registry.referrers("demo/app", image), [digest]);
    let manifest = manifest(&registry, digest);
    assert_eq!(manifest.artifact_type, IN_TOTO);
    assert_eq!(manifest.subject.as_ref().unwrap().digest, image);
    let annotation = |name: &str| manifest.annotations.get(name).map(String::as_str);
    assert_eq!(annotation(CREATED), Some("2026-08-01T12:00:00Z"));
    assert_eq!(annotation(PREDICATE_TYPE), Some(VULNS_V0_2));
    assert_eq!(annotation("scanner"), Some("trivy"));
    let [layer] = manifest.layers.as_slice() else { panic!("not one layer") };
    assert_eq!(layer.media_type, IN_TOTO);
    assert_eq!(layer.annotations.get(PREDICATE_TYPE).map(String::as_str), Some(VULNS_V0_2));
    assert_eq!(layer.annotations.get(CREATED), None);
    let name = format!("{}/demo/app", registry.host());
    let statement = report.to_statement(&name, image).unwrap();
    assert_eq!(registry.blob("demo/app", layer.digest).unwrap(), statement);
    assert_eq!(layer.size, u64::try_from(statement.len()).unwrap());
    assert_eq!(registry.blob("demo/app", Digest::of(b"{}")).unwrap(), "{}");
}

#[tokio::test]
async fn a_trivy_report_is_attached_as_it_is() {
    let (registry, image, report) = world().await;
    let artifact = Artifact::trivy(&report, "reg.io/demo/app:v1").unwrap();
    let digest = attach(&registry, "demo/app", image, &artifact).unwrap();
    let manifest = manifest(&registry, digest);
    assert_eq!(manifest.artifact_type, TRIVY);
    assert_eq!(manifest.annotations.get(PREDICATE_TYPE), None);
    let attached = referrers::Descriptor {
        media_type: OCI_MANIFEST.to_owned(),
        digest,
        size: 1,
        artifact_type: Some(manifest.artifact_type),
        annotations: manifest.annotations,
        platform: None,
    };
    assert_eq!(referrers::Profiles::default().reports(&[attached]).len(), 1);
}

#[tokio::test]
async fn a_signature_is_attached_to_the_report() {
    let (registry, image, report) = world().await;
    let report = attach_report(&registry, "demo/app", image, &report).unwrap();
    let authority = Authority::new("Acme", NOW).unwrap();
    for (kind, format) in [
        (KeyKind::P256, Format::Jws),
        (KeyKind::P384, Format::Cose),
        (KeyKind::P521, Format::Jws),
        (KeyKind::Rsa2048, Format::Cose),
    ] {
        let mut leaf = authority.leaf("scanner").unwrap();
        leaf.kind = kind;
        let key = authority.issue_leaf(&leaf).unwrap().signing_key().unwrap();
        let digest = sign(&registry, "demo/app", report, &key, format, NOW).unwrap();
        let signature = manifest(&registry, digest);
        assert_eq!(signature.artifact_type, NOTARY_SIGNATURE);
        assert_eq!(signature.layers.len(), 1);
        assert_eq!(signature.layers[0].media_type, format.media_type());
        let subject = signature.subject.unwrap();
        let signed = registry.manifest("demo/app", report).unwrap();
        assert_eq!((subject.digest, subject.media_type.as_str()), (report, OCI_MANIFEST));
        assert_eq!(subject.size, u64::try_from(signed.bytes.len()).unwrap());
        let prints = signature.annotations.get(THUMBPRINTS).unwrap();
        assert_eq!(serde_json::from_str::<Vec<String>>(prints).unwrap(), key.thumbprints());
    }
    assert_eq!(registry.referrers("demo/app", report).len(), 4);
}

#[tokio::test]
async fn nothing_is_attached_to_what_is_not_there() {
    let (registry, _, report) = world().await;
    let absent = Digest::of(b"absent");
    let error = attach_report(&registry, "demo/app", absent, &report).unwrap_err();
    assert!(matches!(error, TestkitError::Absent { digest, .. } if digest == absent));
}

#[tokio::test]
async fn an_expired_certificate_does_not_sign() {
    let (registry, image, _) = world().await;
    let key = Authority::new("Acme", NOW).unwrap().issue("scanner").unwrap();
    let key = key.signing_key().unwrap();
    let late = NOW + time::Duration::days(366);
    let error = sign(&registry, "demo/app", image, &key, Format::Jws, late).unwrap_err();
    assert!(matches!(error, TestkitError::Sign(_)));
}
