//! What is attached to images, as core reads it.

use portcullis_core::findings::{Severity, parse};
use portcullis_core::signature::{Artifact, Request, StoreFile, StoreKind, Trust, verify};
use portcullis_testkit::keys::Authority;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

fn content(findings: u32) -> Content {
    let images = Arc::new(Images::new("127.0.0.1:5000", 2_000, 1));
    let authority = Authority::new("loadtest", NOW).unwrap();
    let key = authority.issue("scanner").unwrap().signing_key().unwrap();
    Content::new(images, findings, key, NOW).unwrap()
}

#[test]
fn what_is_made_again_is_the_same() {
    let mut content = content(10);
    let parts = [Part::Report, Part::Findings, Part::Signature, Part::Envelope];
    let of = |attached: &Attached| parts.map(|part| attached.part(part));
    let first = of(&content.attached(3).unwrap());
    // More images than are kept made.
    let most = u32::try_from(RECENT).unwrap();
    (4..=most + 4).for_each(|index| drop(content.attached(index).unwrap()));
    assert!(!content.recent.contains_key(&3), "it is not kept");
    assert_eq!(content.recent.len(), RECENT);
    assert_eq!(of(&content.attached(3).unwrap()), first);
    for (part, bytes) in parts.iter().zip(&first) {
        assert_eq!(content.find(Digest::of(bytes)), Some((3, *part)));
    }
}

#[test]
fn another_scan_is_another_report() {
    let mut content = content(10);
    let before = content.attached(0).unwrap().part(Part::Report);
    content.scan(0);
    let after = content.attached(0).unwrap().part(Part::Report);
    assert_ne!(before, after);
    let list = content.referrers(0, None).unwrap();
    assert!(list.contains(&Digest::of(&after).to_string()), "{list}");
    assert!(!list.contains(&Digest::of(&before).to_string()), "{list}");
}

#[test]
fn findings_past_the_bound_are_refused() {
    let made = content(MAX_FINDINGS);
    let images = Arc::clone(&made.images);
    let refused = Content::new(images, MAX_FINDINGS + 1, made.key, NOW);
    assert!(matches!(refused, Err(RegistryError::Findings(10_001))));
}

/// Each report verifies under the policy that the service is given, and has the findings asked for.
#[test]
fn reports_verify_and_have_their_findings() {
    let images = Arc::new(Images::new("127.0.0.1:5000", 100, 1));
    let authority = Authority::new("loadtest", NOW).unwrap();
    let key = authority.issue("scanner").unwrap().signing_key().unwrap();
    let mut content = Content::new(Arc::clone(&images), 100, key, NOW).unwrap();
    let root = StoreFile {
        kind: StoreKind::Ca,
        store: "loadtest".to_owned(),
        file: "root.pem".to_owned(),
        bytes: authority.root_pem().into_bytes(),
    };
    let policy = authority.trust_policy_json("*", "loadtest").unwrap();
    let trust = Trust::parse(policy.as_bytes(), &[root]).unwrap();
    for (index, critical) in [(0, 0), (CRITICAL_EACH - 1, 1)] {
        let attached = content.attached(index).unwrap();
        let artifact = |manifest, blob| Artifact { manifest, media_type: OCI_MANIFEST, blob };
        let request = Request {
            scope: &format!("127.0.0.1:5000/{}", image::repository(index)),
            subject: images.digest(index).unwrap(),
            report: artifact(&attached.report, &attached.findings),
            signature: artifact(&attached.signature, &attached.envelope),
        };
        let verified = verify(&request, &trust, NOW).unwrap();
        let found = parse(&verified).unwrap();
        let of = |severity| found.iter().filter(|finding| finding.severity() == severity).count();
        let at = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low].map(of);
        assert_eq!(at, [critical, 2, 38, 60 - critical]);
    }
}
