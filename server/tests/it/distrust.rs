//! What is attached and cannot be believed.

use std::time::Duration;

use portcullis_core::findings::MAX_REPORT;
use portcullis_core::referrers::{IN_TOTO, OCI_EMPTY, OCI_MANIFEST};
use portcullis_server::evidence::collect::{MAX_CANDIDATES, MAX_REPORTS, MAX_SIGNATURES};
use portcullis_testkit::attach::attach_report;
use portcullis_testkit::keys::{Authority, Leaf};
use portcullis_testkit::report::TrivyReport;
use portcullis_testkit::tamper;
use serde_json::json;

use crate::world::*;

#[tokio::test]
async fn a_report_one_byte_past_its_bound_is_rejected_before_it_is_fetched() {
    for (size, detail) in [(MAX_REPORT + 1, "too_large: "), (MAX_REPORT, "malformed: ")] {
        let world = World::new().await;
        let image = world.image("app");
        let subject = world.registry.manifest("it/app", image.digest).unwrap();
        let empty = world.registry.put_blob("it/app", "{}");
        let layer = portcullis_core::image::Digest::of(b"it is not there");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": IN_TOTO,
            "config": { "mediaType": OCI_EMPTY, "digest": empty, "size": 2 },
            "layers": [{ "mediaType": IN_TOTO, "digest": layer, "size": size }],
            "subject": {
                "mediaType": subject.media_type,
                "digest": image.digest,
                "size": subject.bytes.len(),
            },
        });
        let report = world.registry.put_manifest("it/app", "", manifest.to_string(), OCI_MANIFEST);
        world.sign("it/app", report, &world.key);
        let decision = world.decide(&image.name).await;
        assert_evidence(&decision, Rejected, detail);
        assert_eq!(decision.action(), Action::Deny);
        assert_eq!(world.requests("/blobs/") > 0, size == MAX_REPORT);
    }
}

#[tokio::test]
async fn reports_are_looked_at_up_to_their_bound_newest_first() {
    for (unsigned, status, detail) in [
        // Unsigned artifacts take no place among the signed,
        (MAX_REPORTS, Verified, ""),
        (MAX_CANDIDATES - 1, Verified, ""),
        // and who crowds out the good one wins nothing.
        (MAX_CANDIDATES, Rejected, "too_many: "),
    ] {
        let world = World::new().await;
        let image = world.scanned("app", &clean());
        for n in 0..unsigned {
            let later = SCANNED + Duration::from_secs(1 + n as u64);
            let report = TrivyReport::new(later);
            attach_report(&world.registry, "it/app", image.digest, &report).unwrap();
        }
        assert_evidence(&world.decide(&image.name).await, status, detail);
    }
}

#[tokio::test]
async fn t022_signatures_are_checked_up_to_their_bound() {
    let stranger = Authority::new("stranger", NOW).unwrap();
    for (bad, detail) in
        [(MAX_SIGNATURES, "untrusted_signer: "), (MAX_SIGNATURES + 1, "too_many: ")]
    {
        let world = World::new().await;
        let image = world.image("app");
        let report = attach_report(&world.registry, "it/app", image.digest, &clean()).unwrap();
        for _ in 0..bad {
            let key = stranger.issue("scanner").unwrap().signing_key().unwrap();
            world.sign("it/app", report, &key);
        }
        let decision = world.decide(&image.name).await;
        assert_evidence(&decision, Rejected, detail);
        assert_eq!(decision.action(), Action::Deny);
        // The content of the report once, of each signature that is checked, and of the one at which it
        // is seen that there are too many.
        assert_eq!(world.requests("/blobs/"), 1 + bad.min(MAX_SIGNATURES + 1));
    }
}

#[tokio::test]
async fn a_good_signature_among_bad_ones_is_found() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let report = world.registry.referrers("it/app", image.digest)[0];
    let stranger = Authority::new("stranger", NOW).unwrap();
    for _ in 0..4 {
        let key = stranger.issue("scanner").unwrap().signing_key().unwrap();
        world.sign("it/app", report, &key);
    }
    assert_evidence(&world.decide(&image.name).await, Verified, "");
}

#[tokio::test]
async fn an_authority_of_the_same_name_is_not_the_trusted_one() {
    let world = World::new().await;
    let image = world.image("app");
    let report = attach_report(&world.registry, "it/app", image.digest, &clean()).unwrap();
    let double = Authority::new("it", NOW).unwrap();
    world.sign("it/app", report, &double.issue("scanner").unwrap().signing_key().unwrap());
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Rejected, "untrusted_signer: ");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn a_report_is_rejected_once_the_certificate_has_expired() {
    let world = World::new().await;
    let not_after = NOW + Duration::from_secs(3600);
    let leaf = Leaf { not_after, ..world.authority.leaf("scanner").unwrap() };
    let key = world.authority.issue_leaf(&leaf).unwrap().signing_key().unwrap();
    let image = world.image("app");
    let report = attach_report(&world.registry, "it/app", image.digest, &clean()).unwrap();
    world.sign("it/app", report, &key);
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    world.clock.set(not_after + Duration::from_secs(1));
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Rejected, "bad_signature: ");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn a_report_about_another_image_is_rejected() {
    let world = World::new().await;
    let good = world.scanned("app", &clean());
    let report = world.registry.referrers("it/app", good.digest)[0];
    let bad = portcullis_testkit::image::image(&world.registry, "it/app", "bad", "bad").unwrap();
    tamper::copy_to(&world.registry, "it/app", report, bad).unwrap();
    let decision = world.decide(&format!("{}/it/app:bad", world.registry.host())).await;
    assert_evidence(&decision, Rejected, "wrong_subject: ");
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(world.decide(&good.name).await.action(), Action::Allow);
}

#[tokio::test]
async fn a_report_whose_content_was_replaced_is_rejected() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let report = world.registry.referrers("it/app", image.digest)[0];
    let whitewash = clean().to_statement("app", image.digest).unwrap();
    tamper::replace_content(&world.registry, "it/app", report, whitewash).unwrap();
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Rejected, "wrong_subject: ");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_not_read() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let report = world.registry.referrers("it/app", image.digest)[0];
    let whitewash = clean().to_statement("app", image.digest).unwrap();
    tamper::serve_other_bytes(&world.registry, "it/app", report, whitewash).unwrap();
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Unavailable, "protocol: ");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn a_report_that_somebody_else_attached_does_not_hide_the_good_one() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let whitewash = TrivyReport::new(NOW);
    let report = attach_report(&world.registry, "it/app", image.digest, &whitewash).unwrap();
    let stranger = Authority::new("stranger", NOW).unwrap();
    world.sign("it/app", report, &stranger.issue("scanner").unwrap().signing_key().unwrap());
    let decision = world.decide(&image.name).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(decision.violations[0].condition, "max_allowed");
}
