//! What was seen is not unseen: reports only ever get newer, and what is gone is missed.

use std::time::Duration;

use portcullis_testkit::keys::Authority;
use portcullis_testkit::report::TrivyReport;

use crate::world::*;

/// A site whose marks outlive the service.
async fn lasting() -> Site {
    let mut site = Site::new().await;
    site.config.marks.folder = Some(site.folder.path().to_owned());
    site
}

/// Puts the report of an hour before in the place of the one that is there.
fn roll_back(site: &Site, image: &Image) {
    let newer = site.registry.referrers(&image.repository, image.digest);
    for report in newer {
        site.registry.delete(&image.repository, report);
    }
    let older = TrivyReport::new(SCANNED - Duration::from_secs(3600));
    site.report(&image.repository, image.digest, &older);
}

#[tokio::test]
async fn t016_an_older_report_is_refused_after_a_newer() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    assert_eq!(world.decide(&image.name).await.action(), Action::Deny);
    roll_back(&world, &image);
    world.clock.advance(Duration::from_secs(301));
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Rejected, "rollback: ");
    assert_eq!(decision.action(), Action::Deny);
    // The newer one again, and a newer still, are as good as ever.
    world.report(&image.repository, image.digest, &clean());
    world.clock.advance(Duration::from_secs(301));
    assert_evidence(&world.decide(&image.name).await, Verified, "");
}

#[tokio::test]
async fn t017_an_older_report_is_refused_by_the_service_that_comes_after() {
    for (site, status, detail) in
        [(lasting().await, Rejected, "rollback: "), (Site::new().await, Verified, "")]
    {
        let world = site.start().await;
        let image = world.scanned("app", &critical());
        assert_evidence(&world.decide(&image.name).await, Verified, "");
        let site = world.stop().await;
        roll_back(&site, &image);
        let world = site.start().await;
        assert_evidence(&world.decide(&image.name).await, status, detail);
    }
}

#[tokio::test]
async fn t020_what_was_seen_and_is_gone_is_withheld_after_a_restart_too() {
    let world = lasting().await.start().await;
    let image = world.scanned("app", &clean());
    assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
    let report = world.registry.referrers(&image.repository, image.digest)[0];
    world.registry.delete(&image.repository, report);
    let site = world.stop().await;
    let mut site = {
        let world = site.start().await;
        let decision = world.decide(&image.name).await;
        assert_evidence(&decision, Withheld, "");
        assert_eq!(decision.action(), Action::Deny);
        world.stop().await
    };
    // Its owner says that it was meant to go.
    site.config.marks.forget = vec![image.pinned().parse().unwrap()];
    let world = site.start().await;
    assert_evidence(&world.decide(&image.name).await, Missing, "");
    // It is there again, and may go again.
    world.report(&image.repository, image.digest, &clean());
    world.clock.advance(Duration::from_secs(301));
    assert_evidence(&world.decide(&image.name).await, Verified, "");
}

#[tokio::test]
async fn t015_trust_that_ends_is_felt_at_the_next_question() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    world.write_trust(&Authority::new("stranger", NOW).unwrap());
    eventually("another trust", async || {
        let metric = "portcullis_reloads_total{what=\"trust\",outcome=\"ok\"}";
        (world.metric(metric).await > 0.0).then_some(())
    })
    .await;
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Rejected, "untrusted_signer: ");
    assert_eq!(decision.action(), Action::Deny);
}
