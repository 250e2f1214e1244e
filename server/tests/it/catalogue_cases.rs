//! Cases of the catalogue that no other test stands for: a claim that is not signed, a registry that
//! changes its mind, and what is remembered of what somebody else may see.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use portcullis_core::findings::Severity;
use portcullis_core::image::{Digest, Platform};
use portcullis_core::referrers::CREATED;
use portcullis_server::registry::Credentials;
use portcullis_testkit::attach::{Artifact, attach};
use portcullis_testkit::image::platform_image;
use portcullis_testkit::registry::{Auth, Credentials as Given, Fault, Route};
use portcullis_testkit::report::TrivyReport;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use crate::gate::Gate;
use crate::world::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An image in `it/app` that no tag names and nobody has scanned.
fn unscanned(world: &World) -> Digest {
    let platform: Platform = "linux/amd64".parse().unwrap();
    platform_image(&world.registry, "it/app", "", &platform, "unscanned").unwrap()
}

fn given(username: &str) -> Given {
    Given { username: username.to_owned(), password: "canary-secret".to_owned() }
}

#[tokio::test]
async fn t019_the_signed_time_of_the_scan_counts_and_not_an_annotation() {
    let old = NOW - 90 * DAY;
    for (announced, scanned, action) in [(NOW, old, Action::Deny), (old, SCANNED, Action::Allow)] {
        let site = Site::new().await;
        site.write_rules(
            &DENY.replace("onUnavailable", "maxFindingsAge: 30d\n      onUnavailable"),
        );
        let world = site.start().await;
        let image = world.image("app");
        let report = TrivyReport::new(scanned);
        let mut report = Artifact::statement(&report, "app", image.digest).unwrap();
        report.annotations.insert(CREATED.to_owned(), announced.format(&Rfc3339).unwrap());
        let report = attach(&world.registry, "it/app", image.digest, &report).unwrap();
        world.sign("it/app", report, &world.key);
        let decision = world.decide(&image.name).await;
        assert_eq!(decision.action(), action, "{announced}");
        let stale = decision.violations.iter().any(|v| v.condition == "stale");
        assert_eq!(stale, action == Action::Deny);
        let said = decision.evidence[0].reports[0].scanned_at.as_ref().unwrap().seconds;
        assert_eq!(said, scanned.unix_timestamp());
    }
}

#[tokio::test]
async fn t020b_a_newer_report_counts_once_what_is_remembered_is_no_longer_fresh() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    let rescanned = TrivyReport::new(SCANNED + Duration::from_secs(60));
    let rescanned = rescanned.finding("CVE-2022-37434", Severity::Critical, "zlib", "1.2.11", "");
    world.report("it/app", image.digest, &rescanned);
    world.clock.advance(world.config.memory.ttl - Duration::from_millis(1));
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    world.clock.advance(Duration::from_millis(1));
    let decision = world.decide(&image.pinned()).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(decision.violations[0].condition, "max_allowed");
}

/// The tag moves after it was asked for and before what is attached to it was.
#[tokio::test]
async fn t073_a_tag_that_moves_during_a_decision_is_asked_for_once() {
    let mut site = Site::new().await;
    let gate = Gate::before(&mut site).await;
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    let other = unscanned(&world);
    gate.hold("/referrers/");
    let moving = async {
        gate.until_one_waits().await;
        world.registry.retag("it/app", "v1", other);
        gate.open();
    };
    let (decision, ()) = tokio::join!(world.decide(&image.name), moving);
    assert_eq!(decision.action(), Action::Allow);
    assert_eq!(decision.digest, image.digest.to_string());
    assert_eq!(decision.evidence[0].digest, image.digest.to_string());
    assert_eq!(world.requests("/manifests/v1"), 1);
    world.clock.advance(world.config.resolve.tag_ttl);
    let decision = world.decide(&image.name).await;
    assert_eq!((decision.action(), decision.digest), (Action::Deny, other.to_string()));
}

#[tokio::test]
async fn t076_what_one_credential_sees_is_not_told_to_another() {
    let mut site = Site::new().await;
    let (file, host) = (site.path("docker.json"), site.registry.host().to_owned());
    let log_in = |name: &str| {
        let auth = BASE64_STANDARD.encode(format!("{name}:canary-secret"));
        fs::write(&file, json!({"auths": {host.clone(): {"auth": auth}}}).to_string()).unwrap();
    };
    log_in("owner");
    let listed = site.config.registry.hosts.get_mut(&host).unwrap();
    listed.credentials = Credentials::DockerConfig(file.clone());
    site.registry.set_auth(Auth::Basic(given("owner")));
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    let asked = world.requests("/it/app/");
    assert_eq!(world.decide(&image.pinned()).await.evidence[0].source(), EvidenceSource::Memory);
    assert_eq!(world.requests("/it/app/"), asked);

    log_in("stranger");
    // The file is read when the registry is asked.
    world.decide(&world.image("other").pinned()).await;
    let decision = world.decide(&image.pinned()).await;
    assert_evidence(&decision, Unavailable, "denied: ");
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(decision.evidence[0].source(), EvidenceSource::Registry);
    assert!(world.requests("/it/app/") > asked);
}

#[tokio::test]
async fn t077_access_that_is_taken_away_ends_within_its_time() {
    let forbidden = || Fault::Status(StatusCode::FORBIDDEN, HeaderMap::new(), Bytes::new());
    for (way, detail) in ["denied: ", "denied: ", "not_found: "].into_iter().enumerate() {
        let world = World::new().await;
        let image = world.scanned("app", &clean());
        assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
        match way {
            0 => world.registry.set_auth(Auth::Basic(given("owner"))),
            1 => world.registry.fault(Route::Any, forbidden()),
            _ => world.registry.delete("it/app", image.digest),
        }
        world.clock.advance(world.config.resolve.access_ttl - Duration::from_millis(1));
        assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
        world.clock.advance(Duration::from_millis(1));
        // It is no outage, and what was known is not used on.
        for _ in 0..2 {
            let decision = world.decide(&image.pinned()).await;
            assert_evidence(&decision, Unavailable, detail);
            assert_eq!(decision.action(), Action::Deny);
            world.clock.advance(world.config.resolve.failure_ttl);
        }
    }
}
