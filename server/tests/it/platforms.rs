//! An index: the platforms that a cluster's nodes would take, the worst of which decides.

use portcullis_core::image::{Digest, MAX_NODES, Nodes, Platform};
use portcullis_proto::v1;
use portcullis_server::check::MAX_AT_ONCE;
use portcullis_testkit::image::{index, platform_image};
use portcullis_testkit::registry::{Fault, Route};
use tonic::Code;

use crate::world::*;

/// An index of which amd64 is clean, arm64 has a critical finding, and windows has no report.
fn multi(site: &Site) -> String {
    let pushed = |name: &str| {
        let platform: Platform = name.parse().unwrap();
        let digest: Digest =
            platform_image(&site.registry, "it/multi", "", &platform, name).unwrap();
        (platform, digest)
    };
    let all = [pushed("linux/amd64"), pushed("linux/arm64"), pushed("windows/amd64")];
    index(&site.registry, "it/multi", "v1", &all).unwrap();
    site.report("it/multi", all[0].1, &clean());
    site.report("it/multi", all[1].1, &critical());
    format!("{}/it/multi:v1", site.registry.host())
}

/// What is known is answered at once where it is not too much; more waits, and has a place for that.
#[tokio::test]
async fn a_question_about_very_many_manifests_does_not_keep_others_from_their_turn() {
    let mut site = Site::new().await;
    site.config.max_in_flight = 1;
    let world = site.start().await;
    let pushed = |n: usize| {
        let platform: Platform = format!("linux/arch{n}").parse().unwrap();
        let name = format!("many{n}");
        let digest = platform_image(&world.registry, "it/many", "", &platform, &name).unwrap();
        (platform, digest)
    };
    // With the index itself 64 of each container.
    let all: Vec<_> = (0..63).map(pushed).collect();
    index(&world.registry, "it/many", "v1", &all).unwrap();
    let image = format!("{}/it/many:v1", world.registry.host());
    let of = |count: usize| v1::CheckRequest {
        containers: vec![container("main", &image); count],
        ..v1::CheckRequest::default()
    };
    let at_once = MAX_AT_ONCE / 64;
    let all = world.try_ask(of(at_once + 1)).await.unwrap();
    assert_eq!(all.decisions.len(), at_once + 1);
    // Somebody has the only place of those who wait.
    world.registry.fault(Route::Any, Fault::Hang);
    let mut client = world.client.clone();
    let cold = question(&format!("{}/it/cold:v1", world.registry.host()));
    let waiting = tokio::spawn(async move { drop(client.check(cold).await) });
    world.until_in_flight(1).await;
    assert_eq!(world.try_ask(of(at_once)).await.unwrap().decisions.len(), at_once);
    let refused = world.try_ask(of(at_once + 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    waiting.abort();
}

fn asked(image: &str, cluster: &str, platforms: &[&str]) -> v1::CheckRequest {
    let context = v1::Context {
        cluster: cluster.to_owned(),
        platforms: platforms.iter().map(|p| (*p).to_owned()).collect(),
        ..v1::Context::default()
    };
    v1::CheckRequest { context: Some(context), ..question(image) }
}

/// What is decided, and about which platforms.
async fn decide(world: &World, request: v1::CheckRequest) -> (Action, Vec<String>, Vec<String>) {
    let answer = world.try_ask(request).await.unwrap();
    let evidence = &answer.decisions[0].evidence;
    let platforms = evidence.iter().map(|e| e.platform.clone()).filter(|p| !p.is_empty());
    (answer.action(), platforms.collect(), answer.vary.clone())
}

#[tokio::test]
async fn t033_the_worst_of_the_platforms_that_can_run_decides() {
    let world = World::new().await;
    let image = multi(&world);
    let (action, platforms, vary) = decide(&world, asked(&image, "", &[])).await;
    assert_eq!((action, platforms), (Action::Deny, words(&["linux/amd64", "linux/arm64"])));
    assert_eq!(vary, ["platforms"]);
    let denied = world.decide(&image).await;
    let deciding = denied.violations.iter().find(|v| v.deciding).unwrap();
    assert_eq!(deciding.platform, "linux/arm64");

    let (action, platforms, _) = decide(&world, asked(&image, "", &["linux/amd64"])).await;
    assert_eq!((action, platforms), (Action::Allow, words(&["linux/amd64"])));
    let (action, platforms, _) = decide(&world, asked(&image, "", &["linux/arm64/v8"])).await;
    assert_eq!((action, platforms), (Action::Deny, words(&["linux/arm64"])));
    // What no node can run is not skipped over but looked at whole.
    let (action, platforms, _) = decide(&world, asked(&image, "", &["linux/s390x"])).await;
    assert_eq!((action, platforms.len()), (Action::Deny, 3));
    let (action, platforms, _) = decide(&world, asked(&image, "", &["windows/amd64"])).await;
    assert_eq!((action, platforms), (Action::Deny, words(&["windows/amd64"])));
}

#[tokio::test]
async fn a_cluster_has_the_platforms_that_are_configured_for_it() {
    let mut site = Site::new().await;
    let of = |name: &str| Nodes::new([name.parse().unwrap()]);
    site.config.clusters.default = of("linux/amd64");
    site.config.clusters.named.insert("edge".to_owned(), of("linux/arm64"));
    let world = site.start().await;
    let image = multi(&world);
    let (action, _, vary) = decide(&world, asked(&image, "prod", &[])).await;
    assert_eq!((action, vary), (Action::Allow, words(&["platforms", "cluster"])));
    let (action, ..) = decide(&world, asked(&image, "edge", &[])).await;
    assert_eq!(action, Action::Deny);
    // Who asks does not choose nodes that the cluster has not.
    let (action, ..) = decide(&world, asked(&image, "edge", &["linux/amd64"])).await;
    assert_eq!(action, Action::Deny);
}

#[tokio::test]
async fn platforms_are_refused_one_past_their_bound_and_where_they_are_none() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let many: Vec<_> = (0..=MAX_NODES).map(|n| format!("linux/a{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let bound = asked(&image.name, "", many.get(..MAX_NODES).unwrap());
    assert!(world.try_ask(bound).await.is_ok());
    for platforms in [many.as_slice(), &["linux"], &["linux/amd64/v1/x"], &["li nux/amd64"]] {
        let status = world.try_ask(asked(&image.name, "", platforms)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{platforms:?}");
        assert!(status.message().contains("platform"), "{status}");
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
