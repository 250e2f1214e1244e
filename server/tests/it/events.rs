//! The record of every decision.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use portcullis_core::simulate::recorded::{self, Kind, kind};
use portcullis_proto::v1;
use portcullis_server::app::{App, AppError};
use serde_json::Value;

use crate::world::*;

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
    let request =
        v1::CheckRequest { context: Some(context), containers, explain: false, purpose: 0 };
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
    assert_eq!(events[1]["reason"], answer.decisions[1].violations[0].message);
    assert_eq!(events[1]["violations"][0]["ids"][0], "CVE-2022-37434");
}

#[tokio::test]
async fn a_report_is_written_once_before_the_decisions_that_name_it() {
    let mut site = Site::new().await;
    let path = site.path("events.jsonl");
    site.config.events = Some(path.clone());
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
    for _ in 0..2 {
        let context = v1::Context {
            namespace_labels: labels.clone().into_iter().collect(),
            pod_labels: labels.clone().into_iter().collect(),
            ..v1::Context::default()
        };
        let containers = vec![container("main", &image.name); 2];
        world
            .try_ask(v1::CheckRequest {
                context: Some(context),
                containers,
                explain: false,
                purpose: 0,
            })
            .await
            .unwrap();
    }
    let site = world.stop().await;

    let text = std::fs::read_to_string(&path).unwrap();
    let kinds: Vec<_> = text.lines().map(|line| kind(line.as_bytes()).unwrap()).collect();
    assert!(matches!(kinds[0], Kind::Report(_)), "{kinds:?}");
    assert_eq!(kinds[1..], [Kind::Decision; 4]);
    let report = recorded::report(text.lines().next().unwrap().as_bytes()).unwrap();
    let found: Vec<_> = report.findings.iter().map(|finding| finding.id()).collect();
    assert_eq!(found, ["CVE-2022-37434"]);
    for event in lines(&path) {
        assert_eq!(event["evidence"][0]["reports"][0]["digest"], report.digest.to_string());
        assert_eq!(event["namespace_labels"]["env"], "prod");
        assert_eq!(event["pod_labels"]["env"], "prod");
    }

    // The next run does not know what the last one wrote.
    let world = site.start().await;
    world.decide(&image.name).await;
    // Neither does one whose file was cut.
    eventually("a line", async || (lines(&path).len() == 5).then_some(())).await;
    std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    world.decide(&image.name).await;
    eventually("a line", async || (lines(&path).len() == 1).then_some(())).await;
    world.decide(&image.name).await;
    let _site = world.stop().await;
    assert_eq!(lines_of(&path, "report").len(), 1);
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
        let request = v1::CheckRequest {
            context: None,
            containers: containers.clone(),
            explain: false,
            purpose: 0,
        };
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
