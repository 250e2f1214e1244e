//! Answers that were given without the service are events of it.

use portcullis_core::simulate::recorded::{CannotTell, Recorded};
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::*;

#[cfg(test)]
pub(crate) fn answered(number: u64, by: v1::AnsweredBy, image: &str) -> v1::Answered {
    v1::Answered {
        run: vec![7; 16],
        number,
        answered_at: Some(prost_types::Timestamp { seconds: 1_785_585_540, nanos: 0 }),
        context: Some(v1::Context { namespace: "shop".to_owned(), ..v1::Context::default() }),
        containers: vec![v1::AnsweredContainer {
            name: "main".to_owned(),
            image: image.to_owned(),
            action: v1::Action::Allow.into(),
            ..v1::AnsweredContainer::default()
        }],
        answered_by: by.into(),
        cause: "unreachable".to_owned(),
        ..v1::Answered::default()
    }
}

#[cfg(test)]
fn reports(answered: Vec<v1::Answered>) -> v1::ReportAnsweredRequest {
    v1::ReportAnsweredRequest { run: vec![7; 16], dropped: 0, answered }
}

#[cfg(test)]
async fn report(world: &World, request: v1::ReportAnsweredRequest) -> Result<(), tonic::Status> {
    let url = format!("http://{}", world.app.address());
    let mut client = DecisionServiceClient::connect(url).await.unwrap();
    client.report_answered(request).await.map(drop)
}

#[tokio::test]
async fn t159_a_report_is_one_event_however_often_it_is_sent_and_no_decision_of_the_rules() {
    let mut site = Site::new().await;
    let file = site.path("events.jsonl");
    let data = site.path("data");
    site.config.events = Some(file.clone());
    std::fs::create_dir_all(&data).unwrap();
    site.config.spool.folder = Some(portcullis_server::events::spool::folder_of(&data));
    let world = site.start().await;
    let policy = answered(1, v1::AnsweredBy::FailPolicy, "not a reference\u{1b}");
    report(&world, reports(vec![policy.clone()])).await.unwrap();
    // Its sender did not hear that it arrived.
    let kept = answered(2, v1::AnsweredBy::NearCache, "reg.io/app:v1");
    report(&world, reports(vec![policy, kept])).await.unwrap();
    let _site = world.stop().await;
    let events = lines(&file);
    let images: Vec<_> = events.iter().map(|event| event["image"].clone()).collect();
    assert_eq!(images, ["not a reference\\u{1b}", "reg.io/app:v1"]);
    let event = &events[0];
    assert_eq!((&event["kind"], &event["namespace"]), (&"decision".into(), &"shop".into()));
    let told = &event["answered"];
    assert_eq!((&told["by"], &told["cause"]), (&"fail_policy".into(), &"unreachable".into()));
    assert_eq!((&told["number"], &told["run"]), (&1.into(), &"07".repeat(16).into()));
    assert_eq!(told["at"], "2026-08-01T11:59:00Z");
    assert_eq!(crate::spool::recorded(&data).len(), 2);
    // It is not decided again.
    for event in &events {
        let recorded = Recorded::read(event.to_string().as_bytes()).unwrap();
        let why = recorded.question(|_| Err(CannotTell::OldVersion)).unwrap_err();
        assert_eq!(why, CannotTell::NotDecided);
    }
}

#[tokio::test]
async fn what_is_no_report_is_refused_and_the_field_is_named() {
    let world = Site::new().await.start().await;
    let mut broken = answered(1, v1::AnsweredBy::NearCache, "reg.io/app:v1");
    broken.run.pop();
    let status = report(&world, reports(vec![broken])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_details_bad_request().unwrap();
    assert_eq!(details.field_violations[0].field, "answered[0].run");
}
