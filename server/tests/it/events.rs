//! The record of every decision.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis_proto::v1;
use portcullis_server::app::{App, AppError};
use serde_json::Value;

use crate::world::*;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_container_has_one_event_when_the_service_has_stopped() {
    let mut site = Site::new().await;
    let path = site.path("events.jsonl");
    site.config.events = Some(path.clone());
    let world = site.start().await;
    let (good, bad) = (world.scanned("good", &clean()), world.scanned("bad", &critical()));
    let context = v1::Context {
        cluster: "prod-1".to_owned(),
        namespace: "shop".to_owned(),
        ..v1::Context::default()
    };
    let containers = vec![container("a", &good.name), container("b", &bad.name)];
    let request = v1::CheckRequest { context: Some(context), containers, explain: false };
    let answer = world.try_ask(request).await.unwrap();
    // A question without an answer has no event.
    world.try_ask(question("UPPER")).await.unwrap_err();
    let _site = world.stop().await;

    let events = lines(&path);
    assert_eq!(events.len(), 2);
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    for (event, decision) in events.iter().zip(&answer.decisions) {
        assert_eq!(event["container"], decision.container);
        assert_eq!(event["image"], decision.image);
        assert_eq!(event["digest"], decision.digest);
        assert_eq!(event["cluster"], "prod-1");
        assert_eq!(event["namespace"], "shop");
        assert_eq!(event["policy_revision"], answer.policy_revision);
        assert_eq!(event["time"], "2026-08-01T12:00:00Z");
        assert_eq!(event["evidence"][0]["status"], "verified");
        assert_eq!(event["evidence"][0]["reports"][0]["trust_policy"], "it");
    }
    assert_eq!(events[0]["action"], "allow");
    assert_eq!(events[0]["rule"], Value::Null);
    assert_eq!(events[1]["action"], "deny");
    assert_eq!(events[1]["rule"], "good-only");
    assert_eq!(events[1]["reason"], answer.decisions[1].message);
    assert_eq!(events[1]["violations"][0]["ids"][0], "CVE-2022-37434");
}

#[tokio::test]
async fn all_events_are_written_before_the_service_is_gone() {
    let mut site = Site::new().await;
    let path = site.path("events.jsonl");
    site.config.events = Some(path.clone());
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    let containers = vec![container("main", &image.name); 256];
    for _ in 0..8 {
        let request =
            v1::CheckRequest { context: None, containers: containers.clone(), explain: false };
        world.try_ask(request).await.unwrap();
    }
    let site = world.stop().await;
    assert_eq!(lines(&path).len(), 8 * 256);

    // The next run appends.
    let world = site.start().await;
    world.decide(&image.name).await;
    let _site = world.stop().await;
    assert_eq!(lines(&path).len(), 8 * 256 + 1);
}

#[tokio::test]
async fn decisions_go_on_where_events_cannot_be_written() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        println!("skipped: this system has no /dev/full");
        return;
    }
    let mut site = Site::new().await;
    site.config.events = Some(full.to_owned());
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    for count in 1..=3_u32 {
        assert_eq!(world.decide(&image.name).await.action(), Action::Deny);
        eventually("a dropped event", async || {
            let dropped = world.metric("portcullis_events_dropped_total").await;
            (dropped == f64::from(count)).then_some(())
        })
        .await;
    }
    assert_eq!(world.page("/readyz").await.0, 200);
    world.stop().await;
}

#[tokio::test]
async fn the_service_does_not_start_where_its_events_cannot_go() {
    let mut site = Site::new().await;
    site.config.events = Some(site.path("no/such/folder/events.jsonl"));
    let started = App::start(site.config.clone(), site.clock.clone()).await;
    assert!(matches!(started.err(), Some(AppError::Events { .. })));
}
