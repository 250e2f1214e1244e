//! Many questions about one image: one search, whose result or failure all share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use portcullis_core::image::Digest;
use portcullis_testkit::registry::{Fault, Route};

use crate::gate::Gate;
use crate::world::*;

const FAILURE_TTL: Duration = Duration::from_secs(60);

async fn gated() -> (World, Gate) {
    let mut site = Site::new().await;
    // Only the clock of the test ends it.
    site.config.memory.failure_ttl = FAILURE_TTL;
    site.config.resolve.failure_ttl = FAILURE_TTL;
    let gate = Gate::before(&mut site).await;
    (site.start().await, gate)
}

#[tokio::test]
async fn what_does_not_wait_for_something_is_asked_at_once() {
    for case in 0..5 {
        let world = World::new().await;
        let image = world.scanned("app", &clean());
        let report = world.registry.referrers("it/app", image.digest)[0];
        let signature = world.registry.referrers("it/app", report)[0];
        let layer = |of: Digest| {
            let manifest = world.registry.manifest("it/app", of).unwrap();
            let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
            manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
        };
        let of_report = Route::Of(layer(report).parse().unwrap());
        // What does not come, the image by which it is asked for, and what is asked meanwhile.
        let (missing, asked, meanwhile) = match case {
            0 => (Route::Of(image.digest), image.pinned(), format!("/referrers/{}", image.digest)),
            1 => (Route::Of(report), image.name.clone(), format!("/referrers/{report}")),
            2 => (Route::Of(report), image.name.clone(), format!("/manifests/{report}")),
            3 => (of_report, image.name.clone(), format!("/manifests/{signature}")),
            _ => (of_report, image.name.clone(), format!("/blobs/{}", layer(signature))),
        };
        world.registry.fault(missing, Fault::Hang);
        let mut client = world.client.clone();
        let asking = tokio::spawn(async move { client.check(question(&asked)).await });
        eventually(&meanwhile, async || (world.requests(&meanwhile) > 0).then_some(())).await;
        asking.abort();
    }
}

#[tokio::test]
async fn a_hundred_questions_about_a_cold_image_are_one_search() {
    let (world, gate) = gated().await;
    let image = world.scanned("app", &clean());
    gate.hold("/referrers/");
    let asked = join_all((0..100).map(|_| world.decide(&image.name)));
    let open = async {
        world.until_in_flight(100).await;
        gate.open();
    };
    let (decisions, ()) = tokio::join!(asked, open);
    for decision in decisions {
        assert_eq!(decision.action(), Action::Allow);
        assert_evidence(&decision, Verified, "");
        assert_eq!(decision.evidence[0].source(), EvidenceSource::Registry);
    }
    // The tag, the report and its signature; what is attached to the image and to the report.
    assert_eq!(world.requests("/manifests/"), 3);
    assert_eq!(world.requests("/referrers/"), 2);
    assert_eq!(world.requests("/blobs/"), 2);
}

#[tokio::test]
async fn t115_a_search_that_outlasts_its_caller_is_there_for_the_next() {
    let (world, gate) = gated().await;
    let image = world.scanned("app", &clean());
    for held in ["/manifests/", "/referrers/", "/blobs/"] {
        gate.hold(held);
        let late = world.decide_within(&image.name, Duration::from_millis(500)).await;
        assert_evidence(&late, Unavailable, "deadline: ");
        assert_eq!(late.action(), Action::Deny);
        gate.until_one_waits().await;
        gate.open();
    }
    let decision = eventually("a remembered answer", async || {
        let decision = world.decide(&image.name).await;
        (decision.evidence[0].source() == EvidenceSource::Memory).then_some(decision)
    })
    .await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(world.requests("/manifests/v1"), 1);
    assert_eq!(world.requests("/referrers/"), 2);
    assert_eq!(world.requests("/blobs/"), 2);
}

/// A line so slow that a report takes longer than anybody waits.
#[tokio::test]
async fn t115_a_report_that_comes_slowly_is_there_for_the_next() {
    let mut site = Site::new().await;
    site.config.memory.search_timeout = Duration::from_secs(60);
    site.config.registry.patience.request = Duration::from_secs(60);
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    // A byte each millisecond.
    world.registry.fault_times(Route::Blob, 1, Fault::Drip(Duration::from_millis(1)));
    let late = world.decide_within(&image.pinned(), Duration::from_millis(200)).await;
    assert_evidence(&late, Unavailable, "deadline: ");
    let decision = eventually("the report", async || {
        let decision = world.decide_within(&image.pinned(), Duration::from_millis(200)).await;
        (decision.evidence[0].status() == Verified).then_some(decision)
    })
    .await;
    assert_eq!(decision.action(), Action::Allow);
    assert_eq!(world.requests("/blobs/"), 2);
}

#[tokio::test]
async fn followers_are_answered_when_the_first_caller_goes_away() {
    let (world, gate) = gated().await;
    let world = Arc::new(world);
    let image = world.scanned("app", &clean());
    gate.hold("/referrers/");
    let ask = || {
        let (world, name) = (Arc::clone(&world), image.name.clone());
        tokio::spawn(async move { world.decide(&name).await })
    };
    let first = ask();
    gate.until_one_waits().await;
    let follower = ask();
    world.until_in_flight(2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    world.until_in_flight(1).await;
    gate.open();
    assert_evidence(&follower.await.unwrap(), Verified, "");
    assert_eq!(world.requests("/referrers/"), 2);
}

#[tokio::test]
async fn a_failure_is_shared_and_not_repeated_for_a_moment() {
    let fault = Fault::Status(StatusCode::BAD_GATEWAY, HeaderMap::new(), Bytes::new());
    for (route, part) in [(Route::Manifest, "/manifests/"), (Route::Referrers, "/referrers/")] {
        let (world, gate) = gated().await;
        let image = world.scanned("app", &clean());
        world.registry.fault(route, fault.clone());
        gate.hold(part);
        let asked = join_all((0..50).map(|_| world.decide(&image.name)));
        let open = async {
            world.until_in_flight(50).await;
            gate.open();
        };
        let (decisions, ()) = tokio::join!(asked, open);
        for decision in decisions {
            assert_evidence(&decision, Unavailable, "unreachable: ");
        }
        // One search asks twice.
        assert_eq!(world.requests(part), 2, "{part}");
        assert_evidence(&world.decide(&image.name).await, Unavailable, "unreachable: ");
        assert_eq!(world.requests(part), 2, "{part}");

        world.registry.clear_faults();
        world.clock.advance(FAILURE_TTL);
        assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
    }
}

#[tokio::test]
async fn a_slow_image_does_not_hold_up_another() {
    let (world, gate) = gated().await;
    let (slow, fast) = (world.scanned("slow", &clean()), world.scanned("fast", &clean()));
    gate.hold("/it/slow/");
    let slow = world.decide(&slow.name);
    let fast = async {
        gate.until_one_waits().await;
        assert_eq!(world.decide(&fast.name).await.action(), Action::Allow);
        gate.open();
    };
    let (slow, ()) = tokio::join!(slow, fast);
    assert_eq!(slow.action(), Action::Allow);
}

#[tokio::test]
async fn t076_what_is_remembered_of_a_repository_is_not_told_of_another() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    // The same image elsewhere, with the same digest and without a report.
    let registry = &world.registry;
    let copy = portcullis_testkit::image::image(registry, "it/copy", "v1", "app").unwrap();
    assert_eq!(copy, image.digest);
    let decision = world.decide(&format!("{}/it/copy@{copy}", registry.host())).await;
    assert_evidence(&decision, Missing, "");
    // And where it is not at all, it cannot be had.
    let absent = world.decide(&format!("{}/it/absent@{copy}", registry.host())).await;
    assert_evidence(&absent, Unavailable, "not_found: ");
    assert_ne!(copy, Digest::of(b""));
}
