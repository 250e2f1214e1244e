//! The record of decisions under the data directory, as a whole service keeps it.

use std::fs;
use std::path::Path;

use portcullis_proto::v1;
use portcullis_server::events::spool::{Entry, Reader, folder_of, verify};
use serde_json::Value;

use crate::world::*;

/// A site that records.
#[cfg(test)]
async fn recording() -> Site {
    let mut site = Site::new().await;
    let data = site.path("data");
    fs::create_dir_all(&data).unwrap();
    site.config.spool.folder = Some(folder_of(&data));
    site
}

/// The decisions in the record of a site.
#[cfg(test)]
pub(crate) fn recorded(data: &Path) -> Vec<Value> {
    let mut lines = Vec::new();
    let read = |entry: Entry<'_>| {
        if let Entry::Decision { seq, run, stored, known } = entry {
            let id = format!("{run:x}-{seq}");
            let line = stored.line(&id, seq, |name| known.get(&name));
            lines.push(serde_json::to_value(line).unwrap());
        }
    };
    Reader::new(folder_of(data), 0).advance(read).unwrap();
    lines
}

#[cfg(test)]
fn asked(images: &[&str], why: &str) -> v1::CheckRequest {
    let context = v1::Context {
        cluster: "prod-1".to_owned(),
        namespace: "shop".to_owned(),
        break_glass: why.to_owned(),
        ..v1::Context::default()
    };
    let containers = images.iter().map(|image| container("main", image)).collect();
    v1::CheckRequest { context: Some(context), containers, explain: false, purpose: 0 }
}

#[tokio::test]
async fn the_record_and_the_event_file_say_the_same() {
    let mut site = recording().await;
    let (data, file) = (site.path("data"), site.path("events.jsonl"));
    site.config.events = Some(file.clone());
    let world = site.start().await;
    let (good, bad) = (world.scanned("good", &clean()), world.scanned("bad", &critical()));
    for _ in 0..3 {
        world.try_ask(asked(&[&good.name, &bad.name], "")).await.unwrap();
    }
    // A question without an answer has no event.
    world.try_ask(question("UPPER")).await.unwrap_err();
    let _site = world.stop().await;
    let mut recorded = recorded(&data);
    assert_eq!(recorded.len(), 6);
    for (number, event) in (1..).zip(&mut recorded) {
        assert_eq!(event.as_object_mut().unwrap().remove("seq"), Some(Value::from(number)));
    }
    assert_eq!(recorded, lines(&file));
    let verdict = verify(folder_of(&data)).unwrap();
    assert!(verdict.is_whole() && verdict.gaps.is_empty() && verdict.open_ended == 0);
}

#[tokio::test]
async fn t163_a_service_whose_data_directory_cannot_be_used_decides_as_ever() {
    let mut site = Site::new().await;
    let data = site.path("data");
    // Root may write where nobody may, but nobody makes a folder of a file.
    fs::write(&data, "a file").unwrap();
    site.config.spool.folder = Some(folder_of(&data));
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    assert_eq!(world.decide(&image.name).await.action(), Action::Deny);
    eventually("a dropped event", async || {
        (world.metric("portcullis_events_dropped_total").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(world.page("/readyz").await.0, 200);
    // What was wrong is set right, and the service goes on.
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    eventually("a record", async || {
        world.decide(&image.name).await;
        (world.metric("portcullis_events_written_total").await > 0.0).then_some(())
    })
    .await;
    let _site = world.stop().await;
    assert!(!recorded(&data).is_empty());
}

#[tokio::test]
async fn a_lifted_denial_is_in_the_record_when_its_answer_comes_and_needs_no_event_file() {
    let mut site = recording().await;
    let data = site.path("data");
    let entry = "spec:\n  breakGlass:\n    - name: on-call\n      \
                 scope: {match: [{field: namespace, operator: equals, values: [shop]}]}\n";
    site.write_rules(&DENY.replace("spec:\n", entry));
    // Nothing is written for a long time, unless somebody waits for it.
    site.config.spool.sync = std::time::Duration::from_secs(10);
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.try_ask(asked(&[&image.name, &image.name], "outage")).await.unwrap();
    assert_eq!(answer.action(), Action::Audit);
    let events = recorded(&data);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["break_glass"], "on-call");
    assert_eq!(events[0]["justification"], "outage");
    world.stop().await;
}

#[tokio::test]
async fn t161_break_glass_is_refused_where_the_record_cannot_be_kept() {
    let mut site = Site::new().await;
    let data = site.path("data");
    fs::write(&data, "a file").unwrap();
    site.config.spool.folder = Some(folder_of(&data));
    let entry = "spec:\n  breakGlass:\n    - name: on-call\n      scope: {match: []}\n";
    site.write_rules(&DENY.replace("spec:\n", entry));
    // The event file does not stand in for the record: it may be cut by anybody.
    site.config.events = Some(site.path("events.jsonl"));
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.try_ask(asked(&[&image.name], "outage")).await.unwrap();
    assert_eq!(answer.action(), Action::Deny);
    assert_eq!(answer.decisions[0].notice_details[0].kind, "break_glass_refused");
    world.stop().await;
}
