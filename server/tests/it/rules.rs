//! Rules and trust that change while the service runs.

use std::time::Duration;

use portcullis_core::findings::Severity;
use portcullis_server::app::{App, AppError};
use portcullis_server::rules::trust::TrustConfig;
use portcullis_testkit::keys::Authority;

use crate::world::*;

const FAILED: &str = "portcullis_reloads_total{what=\"rules\",outcome=\"failed\"}";

#[tokio::test]
async fn a_changed_rule_takes_effect_on_what_is_remembered() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let before = world.ask(&image.name).await;
    assert_eq!(before.action(), Action::Deny);
    world.write_rules(&DENY.replace("deny", "audit"));
    let after = eventually("another policy", async || {
        let answer = world.ask(&image.name).await;
        (answer.policy_revision != before.policy_revision).then_some(answer)
    })
    .await;
    assert_eq!(after.action(), Action::Audit);
    assert_eq!(after.decisions[0].evidence[0].source(), EvidenceSource::Memory);
    let ok = world.metric("portcullis_reloads_total{what=\"rules\",outcome=\"ok\"}").await;
    assert!((ok - 1.0).abs() < f64::EPSILON, "{ok}");
}

#[tokio::test]
async fn rules_that_cannot_be_used_leave_those_from_before_in_force() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let before = world.ask(&image.name).await;
    for (count, bad) in [(1.0, "rules: ["), (2.0, &*DENY.replace("action", "actoin")), (3.0, "")] {
        world.write_rules(bad);
        eventually("a failed reload", async || (world.metric(FAILED).await == count).then_some(()))
            .await;
        let after = world.ask(&image.name).await;
        assert_eq!(after.policy_revision, before.policy_revision);
        assert_eq!(after.action(), Action::Deny);
        assert_eq!(world.page("/readyz").await.0, 200);
    }
    std::fs::remove_file(world.path("rules.yaml")).unwrap();
    eventually("a failed reload", async || (world.metric(FAILED).await == 4.0).then_some(())).await;
    assert_eq!(world.ask(&image.name).await.policy_revision, before.policy_revision);

    // What was in force before is no change when it comes back; what is new is taken over.
    world.write_rules(&DENY.replace("good-only", "other"));
    eventually("other rules", async || {
        (world.decide(&image.name).await.rule == "other").then_some(())
    })
    .await;
}

#[tokio::test]
async fn evidence_is_not_remembered_beyond_the_trust_it_was_found_under() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
    world.write_trust(&Authority::new("another", NOW).unwrap());
    let rejected = eventually("a rejection", async || {
        let decision = world.decide(&image.name).await;
        (decision.action() == Action::Deny).then_some(decision)
    })
    .await;
    assert_evidence(&rejected, Rejected, "untrusted_signer: ");

    world.write_trust(&world.authority);
    eventually("trust again", async || {
        (world.decide(&image.name).await.action() == Action::Allow).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_trust_store_that_cannot_be_used_leaves_the_trust_from_before_in_force() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    std::fs::write(world.path("trustpolicy.json"), "{}").unwrap();
    let failed = "portcullis_reloads_total{what=\"trust\",outcome=\"failed\"}";
    eventually("a failed reload", async || (world.metric(failed).await == 1.0).then_some(())).await;
    assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
}

#[tokio::test]
async fn without_any_file_high_findings_are_audited_and_nobody_is_trusted() {
    let mut site = Site::new().await;
    site.config.rules.rules.clear();
    let world = site.start().await;
    let high = clean().finding("CVE-2022-1271", Severity::High, "gzip", "1.10", "1.11");
    let answer = world.ask(&world.scanned("high", &high).name).await;
    assert_eq!(answer.policy_revision, "default");
    assert_eq!(answer.action(), Action::Audit);
    assert_eq!(answer.decisions[0].rule, "default");
    assert_eq!(world.decide(&world.scanned("app", &clean()).name).await.action(), Action::Allow);
    let unscanned = world.decide(&world.image("unscanned").name).await;
    assert_eq!(unscanned.action(), Action::Allow);
    assert_eq!(unscanned.notices.len(), 1, "{:?}", unscanned.notices);

    let mut site = Site::new().await;
    site.config.rules.rules.clear();
    site.config.rules.trust = TrustConfig::Nobody;
    let world = site.start().await;
    let decision = world.decide(&world.scanned("app", &clean()).name).await;
    assert_evidence(&decision, Rejected, "untrusted_signer: ");
    assert_eq!(decision.action(), Action::Audit);
}

#[tokio::test]
async fn the_service_does_not_start_with_rules_that_cannot_be_used() {
    let site = Site::new().await;
    site.write_rules("rules: [");
    let started = App::start(site.config.clone(), site.clock.clone()).await;
    assert!(matches!(started.err(), Some(AppError::Rules(_))));
    std::fs::remove_file(site.path("rules.yaml")).unwrap();
    let started = App::start(site.config.clone(), site.clock.clone()).await;
    assert!(matches!(started.err(), Some(AppError::Rules(_))));
}

#[tokio::test]
async fn an_accepted_vulnerability_counts_again_at_its_end() {
    let site = Site::new().await;
    let until =
        "\n      allowedVulnerabilities: [{id: CVE-2022-37434, until: 2026-08-01T12:00:30Z}]";
    site.write_rules(
        &DENY.replace("\n      onUnavailable", &format!("{until}\n      onUnavailable")),
    );
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.ask(&image.pinned()).await;
    assert_eq!(answer.action(), Action::Allow);
    // Who keeps the answer must not keep it beyond that.
    assert_eq!(answer.max_age.unwrap().seconds, 30);
    world.clock.advance(Duration::from_secs(29));
    let answer = world.ask(&image.pinned()).await;
    assert_eq!(answer.max_age.unwrap().seconds, 1);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Deny);
}
