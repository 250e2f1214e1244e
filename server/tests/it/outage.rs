//! A registry that goes down, or takes back what it showed: what was verified counts until its limit.

use std::time::Duration;

use http::HeaderMap;
use http::StatusCode;
use portcullis_testkit::registry::{Fault, Route};

use crate::world::*;

fn down() -> Fault {
    Fault::Status(StatusCode::BAD_GATEWAY, HeaderMap::new(), bytes::Bytes::new())
}

#[tokio::test]
async fn what_was_verified_is_used_while_the_registry_is_down_and_no_longer() {
    for (report, action) in [(clean(), Action::Allow), (critical(), Action::Deny)] {
        let world = World::new().await;
        let image = world.scanned("app", &report);
        assert_eq!(world.decide(&image.name).await.action(), action);
        world.registry.fault(Route::Any, down());
        // By tag and by digest, long after both should have been asked for again.
        for name in [image.name.clone(), image.pinned(), image.name.clone()] {
            world.clock.advance(world.config.memory.ttl + world.config.resolve.access_ttl);
            let decision = world.decide(&name).await;
            assert_eq!(decision.action(), action, "{name}");
            assert_eq!(decision.evidence[0].status(), Verified, "{name}");
        }
        // Since when it is so is told.
        let decision = world.decide(&image.name).await;
        assert_eq!(decision.evidence[0].fetched_at.as_ref().unwrap().seconds, NOW.unix_timestamp());
        world.clock.advance(world.config.memory.stale_ttl);
        assert_evidence(&world.decide(&image.name).await, Unavailable, "unreachable: ");
    }
}

/// Nobody waits longer than he said, and after a few requests without an answer none is sent.
#[tokio::test]
async fn t109_a_registry_that_never_answers_is_left_alone_and_asked_again() {
    let mut site = Site::new().await;
    site.config.registry.patience.request = Duration::from_millis(50);
    let world = site.start().await;
    let images: Vec<_> = (0..16).map(|n| world.scanned(&format!("app{n}"), &clean())).collect();
    world.registry.fault(Route::Any, Fault::Hang);
    let ask = async |image: &Image| {
        let decision = world.decide_within(&image.pinned(), Duration::from_secs(2)).await;
        assert_eq!(decision.evidence[0].status(), Unavailable);
        assert_eq!(decision.action(), Action::Deny);
    };
    for image in &images[..8] {
        ask(image).await;
    }
    let asked = world.requests("/v2/");
    assert!(asked >= 5, "{asked}");
    for image in &images[8..] {
        ask(image).await;
    }
    // One that looks whether it answers again, if this took so long.
    assert!(world.requests("/v2/") <= asked + 2, "{} after {asked}", world.requests("/v2/"));
    world.registry.clear_faults();
    eventually("the registry", async || {
        world.clock.advance(Duration::from_secs(60));
        let decision = world.decide(&images[0].pinned()).await;
        (decision.action() == Action::Allow).then_some(())
    })
    .await;
}

/// What an image names and what is known of it have each their own limit.
#[tokio::test]
async fn neither_names_nor_evidence_outlive_their_limit() {
    let limit = Duration::from_secs(600);
    for names in [true, false] {
        let mut site = Site::new().await;
        if names {
            site.config.resolve.stale_ttl = limit;
        } else {
            site.config.memory.stale_ttl = limit;
        }
        let world = site.start().await;
        let image = world.scanned("app", &clean());
        world.decide(&image.pinned()).await;
        world.registry.fault(Route::Any, down());
        world.clock.advance(limit - Duration::from_secs(1));
        assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow, "{names}");
        world.clock.advance(world.config.memory.failure_ttl);
        assert_evidence(&world.decide(&image.pinned()).await, Unavailable, "unreachable: ");
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_asked_by_every_question() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    world.decide(&image.pinned()).await;
    world.registry.fault(Route::Any, down());
    world.clock.advance(world.config.memory.ttl);
    world.decide(&image.pinned()).await;
    let asked = world.requests("/");
    for _ in 0..10 {
        assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    }
    assert_eq!(world.requests("/"), asked);
}

#[tokio::test]
async fn t020_a_report_that_was_there_and_is_gone_is_withheld() {
    let world = World::new().await;
    let image = world.image("app");
    let report = world.report("it/app", image.digest, &critical());
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    world.registry.delete("it/app", report);
    world.clock.advance(world.config.memory.ttl);
    for _ in 0..2 {
        let decision = world.decide(&image.name).await;
        assert_eq!(decision.evidence[0].status(), Withheld);
        assert_eq!(decision.action(), Action::Deny);
        world.clock.advance(world.config.memory.negative_ttl);
    }
    // It is there again.
    world.report("it/app", image.digest, &clean());
    assert_evidence(&world.decide(&image.name).await, Verified, "");
}

#[tokio::test]
async fn who_cannot_wait_is_answered_from_before() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    world.decide(&image.pinned()).await;
    world.registry.fault(Route::Any, Fault::Hang);
    world.clock.advance(world.config.memory.ttl);
    let decision = world.decide_within(&image.pinned(), Duration::from_millis(300)).await;
    assert_eq!(decision.action(), Action::Allow);
    assert_eq!(decision.evidence[0].status(), Verified);
}
