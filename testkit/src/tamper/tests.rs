//! Each attack leaves what it says, and core refuses it.

use portcullis_core::evidence::Reason;
use portcullis_core::signature::sign::Format;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::attach::{attach_report, sign};
use crate::image::image;
use crate::keys::Authority;
use crate::report::TrivyReport;
use crate::verification::verified;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

struct World {
    registry: Registry,
    authority: Authority,
    image: Digest,
    report: Digest,
}

async fn world() -> World {
    let registry = Registry::start().await.unwrap();
    let authority = Authority::new("Acme", NOW).unwrap();
    let image = image(&registry, "demo/app", "v1", "app").unwrap();
    let report = attach_report(&registry, "demo/app", image, &TrivyReport::new(NOW)).unwrap();
    let key = authority.issue("scanner").unwrap().signing_key().unwrap();
    sign(&registry, "demo/app", report, &key, Format::Jws, NOW).unwrap();
    let world = World { registry, authority, image, report };
    world.check(image, report, None);
    world
}

impl World {
    #[track_caller]
    fn check(&self, subject: Digest, report: Digest, refused: Option<Reason>) {
        let Self { registry, authority, .. } = self;
        let answer = verified(registry, authority, "demo/app", subject, report, NOW);
        assert_eq!(answer.as_ref().err().map(|e| e.reason()), refused, "{answer:?}");
    }
}

#[tokio::test]
async fn other_bytes_are_served_under_the_digest_of_the_report() {
    let world = world().await;
    serve_other_bytes(&world.registry, "demo/app", world.report, "{}").unwrap();
    let (_, layer) = read(&world.registry, "demo/app", world.report).unwrap();
    let url = format!("http://{}/v2/demo/app/blobs/{layer}", world.registry.host());
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.headers()["docker-content-digest"], layer.to_string());
    assert_eq!(answer.text().await.unwrap(), "{}");
}

#[tokio::test]
async fn a_replaced_report_has_the_signature_of_the_old_one() {
    let world = world().await;
    let forged = replace_content(&world.registry, "demo/app", world.report, "{}").unwrap();
    assert_eq!(world.registry.referrers("demo/app", world.image), [forged.report]);
    assert_eq!(world.registry.referrers("demo/app", forged.report), [forged.signature]);
    assert!(world.registry.manifest("demo/app", world.report).is_none());
    let replaced = artifact(&world.registry, "demo/app", forged.report).unwrap();
    assert_eq!(replaced.layer, "{}");
    world.check(world.image, forged.report, Some(Reason::WrongSubject));
}

#[tokio::test]
async fn a_copied_report_is_about_another_image() {
    let world = world().await;
    let other = image(&world.registry, "demo/app", "v2", "other").unwrap();
    let forged = copy_to(&world.registry, "demo/app", world.report, other).unwrap();
    assert_eq!(world.registry.referrers("demo/app", other), [forged.report]);
    let [copied, original] = [forged.report, world.report]
        .map(|report| artifact(&world.registry, "demo/app", report).unwrap());
    assert_eq!(copied, original);
    world.check(other, forged.report, Some(Reason::WrongSubject));
    world.check(world.image, world.report, None);
}

#[tokio::test]
async fn a_report_without_a_signature_cannot_be_forged() {
    let world = world().await;
    let report = TrivyReport::new(NOW - time::Duration::hours(1));
    let report = attach_report(&world.registry, "demo/app", world.image, &report).unwrap();
    let error = copy_to(&world.registry, "demo/app", report, world.image).unwrap_err();
    assert!(matches!(error, TestkitError::Shape { part: "signature", .. }));
}
