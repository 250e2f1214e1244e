//! What counts as a report is configuration, and a trusted signer of something else is no scanner.

use portcullis_core::image::Digest;
use portcullis_core::referrers::{CREATED, IN_TOTO, Profiles};
use portcullis_core::signature::sign::SigningKey;
use portcullis_testkit::attach::{Artifact, SARIF, attach, attach_report};
use serde_json::{Value, json};

use crate::world::*;

/// The signer of reports, as a certificate that the authority of these tests issues names it.
const SCANNER: &str = "x509.subject: C=US, ST=WA, O=it, CN=scanner";

fn profiles(written: &Value) -> Profiles {
    serde_json::from_value(written.clone()).unwrap()
}

/// A world in which these profiles count.
async fn world(written: &Value) -> World {
    let mut site = Site::new().await;
    site.config.profiles = profiles(written);
    site.start().await
}

fn statements(signers: &Value) -> Value {
    json!([{
        "name": "statements",
        "artifactTypes": [IN_TOTO],
        "predicateTypes": ["https://in-toto.io/attestation/vulns/v0.2"],
        "signers": signers,
    }])
}

/// A key that the same authority vouches for, of somebody else.
fn author(world: &World) -> SigningKey {
    world.authority.issue("author").unwrap().signing_key().unwrap()
}

fn attached(world: &World, image: &Image, artifact: &Artifact, key: &SigningKey) -> Digest {
    let digest = attach(&world.registry, &image.repository, image.digest, artifact).unwrap();
    world.sign(&image.repository, digest, key);
    digest
}

#[tokio::test]
async fn t001_attestations_of_other_types_are_never_an_allow() {
    let world = world(&statements(&json!([{ "subject": SCANNER }]))).await;
    let image = world.image("app");
    let mut other = Artifact::statement(&clean(), "app", image.digest).unwrap();
    let spdx = "https://spdx.dev/Document";
    other.annotations.insert("in-toto.io/predicate-type".to_owned(), spdx.to_owned());
    attached(&world, &image, &other, &world.key);
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Missing, "");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn t002_of_several_attestations_only_the_wanted_one_counts() {
    let world = world(&statements(&json!([{ "subject": SCANNER }]))).await;
    let image = world.scanned("app", &critical());
    // Clean, good, newer, and not what is wanted: by type, and by what the statement says.
    let sarif = Artifact::sarif(&clean(), "app").unwrap();
    attached(&world, &image, &sarif, &world.key);
    let trivy = Artifact::trivy(&clean(), "app").unwrap();
    attached(&world, &image, &trivy, &world.key);
    let decision = world.decide(&image.name).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(decision.violations[0].condition, "max_allowed");
    assert_eq!(decision.evidence[0].reports.len(), 1);
}

#[tokio::test]
async fn t008_the_image_authors_clean_report_is_not_believed() {
    let restricted = world(&statements(&json!([{ "subject": SCANNER }]))).await;
    let open = World::new().await;
    for (world, status, detail) in
        [(&open, Verified, ""), (&restricted, Rejected, "untrusted_signer: ")]
    {
        let image = world.image("app");
        let report = attach_report(&world.registry, "it/app", image.digest, &clean()).unwrap();
        world.sign("it/app", report, &author(world));
        assert_evidence(&world.decide(&image.name).await, status, detail);
        // Signed by the scanner too, it is the scanner's.
        world.sign("it/app", report, &world.key);
        world.clock.advance(std::time::Duration::from_secs(600));
        assert_evidence(&world.decide(&image.name).await, Verified, "");
    }
}

#[tokio::test]
async fn a_document_of_who_may_not_sign_reports_is_not_even_read() {
    let world = world(&statements(&json!([{ "policy": "it", "subject": SCANNER }]))).await;
    let image = world.scanned("app", &clean());
    let mut broken = Artifact::statement(&clean(), "app", image.digest).unwrap();
    broken.layer = "{}".into();
    // Newer than the report, which it would take the place of.
    broken.annotations.insert(CREATED.to_owned(), "2026-08-01T11:30:00Z".to_owned());
    attached(&world, &image, &broken, &author(&world));
    assert_evidence(&world.decide(&image.name).await, Verified, "");
}

#[tokio::test]
async fn what_is_signed_decides_which_profile_takes_it() {
    let world = world(&json!([
        {"name": "sarif", "artifactTypes": [SARIF], "formats": ["sarif"],
         "annotations": {"scanner": "tri*"}},
    ]))
    .await;
    let image = world.image("app");
    let mut sarif = Artifact::sarif(&clean(), "app").unwrap();
    sarif.annotations.insert("scanner".to_owned(), "trivy".to_owned());
    attached(&world, &image, &sarif, &world.key);
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    // Called SARIF where it is listed, and Trivy's own report within.
    let other = world.image("other");
    let mut disguised = Artifact::trivy(&clean(), "other").unwrap();
    disguised.artifact_type = SARIF.to_owned();
    disguised.annotations.insert("scanner".to_owned(), "trivy".to_owned());
    attached(&world, &other, &disguised, &world.key);
    let decision = world.decide(&other.name).await;
    assert_evidence(&decision, Rejected, "no_profile: ");
    assert_eq!(decision.action(), Action::Deny);
}
