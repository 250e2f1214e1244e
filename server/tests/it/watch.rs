//! Who keeps answers is told what changes.

use portcullis_proto::v1;
use portcullis_server::grpc::watch::MAX_WATCHERS_PER_CALLER;
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::world::*;

/// Another rule than [`DENY`].
const AUDIT: &str = "\
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - name: look
      maxAllowed: {critical: 0}
";

#[cfg(test)]
async fn watch(world: &World, from: &[u8]) -> Streaming<v1::WatchResponse> {
    let request = v1::WatchRequest { from: from.to_vec() };
    world.client.clone().watch(request).await.unwrap().into_inner()
}

#[cfg(test)]
async fn next(stream: &mut Streaming<v1::WatchResponse>) -> v1::WatchResponse {
    stream.message().await.unwrap().unwrap()
}

/// The next message that says more than that nothing changed.
#[cfg(test)]
async fn news(stream: &mut Streaming<v1::WatchResponse>) -> v1::WatchResponse {
    loop {
        let message = next(stream).await;
        if message.resync || !message.digests.is_empty() {
            return message;
        }
    }
}

#[tokio::test]
async fn other_rules_and_other_trust_are_told() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let before = world.ask(&image.name).await.policy_revision;
    let mut stream = watch(&world, &[]).await;
    let first = next(&mut stream).await;
    assert!(first.resync && !first.more);
    assert_eq!(first.policy_revision, before);

    world.write_rules(AUDIT);
    let rules = news(&mut stream).await;
    assert!(rules.resync);
    assert_ne!(rules.policy_revision, before);
    // What is told is in force.
    assert_eq!(world.ask(&image.name).await.policy_revision, rules.policy_revision);

    let other = portcullis_testkit::keys::Authority::new("other", NOW).unwrap();
    world.write_trust(&other);
    let trust = news(&mut stream).await;
    assert!(trust.resync);
    assert_eq!(trust.policy_revision, rules.policy_revision);

    // Whoever comes back hears what came after it, and no more.
    let mut again = watch(&world, &rules.position).await;
    assert!(next(&mut again).await.resync);
    let mut again = watch(&world, &trust.position).await;
    let nothing = next(&mut again).await;
    assert!(!nothing.resync && nothing.digests.is_empty());
    assert_eq!(nothing.position, trust.position);
}

#[tokio::test]
async fn a_position_of_another_process_starts_afresh_and_one_that_is_none_is_refused() {
    let world = World::new().await;
    let position = next(&mut watch(&world, &[]).await).await.position;
    let world = world.stop().await.start().await;
    assert!(next(&mut watch(&world, &position).await).await.resync);
    let request = v1::WatchRequest { from: b"yesterday".to_vec() };
    let refused = world.client.clone().watch(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn t082_who_watches_too_often_is_turned_away_and_others_watch() {
    let world = World::new().await;
    let mut own = Vec::new();
    for _ in 0..MAX_WATCHERS_PER_CALLER {
        own.push(watch(&world, &[]).await);
    }
    let refused = world.client.clone().watch(v1::WatchRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("this caller"), "{refused}");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!((world.metric("portcullis_watchers").await - 100.0).abs() < 0.5);
    let stranger = crate::limits::stranger(&world).await;
    let mut other = stranger.clone().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    assert!(next(&mut other).await.resync);
    // One that goes away makes room.
    own.pop();
    eventually("a place", async || {
        world.client.clone().watch(v1::WatchRequest::default()).await.ok().map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_stopping_service_ends_its_watchers() {
    let world = World::new().await;
    let mut stream = watch(&world, &[]).await;
    next(&mut stream).await;
    let stopped = tokio::spawn(world.stop());
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    stopped.await.unwrap();
}
