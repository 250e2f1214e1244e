//! Many images in one call.

use portcullis_core::image::Digest;
use portcullis_proto::v1;
use portcullis_server::check::bulk::{MAX_BULK, MAX_BULK_SEARCHES};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::world::*;

fn images(world: &World, repository: &str, digests: &[Digest]) -> v1::BulkImages {
    v1::BulkImages {
        repository: format!("{}/{repository}", world.registry.host()),
        digests: digests.iter().flat_map(|digest| *digest.as_bytes()).collect(),
    }
}

async fn ask(
    world: &World,
    request: v1::BulkCheckRequest,
) -> Result<v1::BulkCheckResponse, Status> {
    world.client.clone().bulk_check(request).await.map(tonic::Response::into_inner)
}

fn about(images: Vec<v1::BulkImages>) -> v1::BulkCheckRequest {
    v1::BulkCheckRequest { images, ..v1::BulkCheckRequest::default() }
}

#[tokio::test]
async fn many_images_are_decided_as_each_alone() {
    let world = World::new().await;
    let (good, bad) = (world.scanned("good", &clean()), world.scanned("bad", &critical()));
    let unscanned = world.image("unscanned");
    let all = [&good, &bad, &unscanned, &good];
    let mut alone = Vec::new();
    for image in all {
        world.decide(&image.pinned()).await;
        alone.push(world.ask(&image.pinned()).await);
    }
    let request =
        about(all.iter().map(|image| images(&world, &image.repository, &[image.digest])).collect());
    let answer = ask(&world, request).await.unwrap();
    let actions: Vec<_> = alone.iter().map(|answer| answer.action).collect();
    assert_eq!(answer.actions, actions);
    assert_eq!(answer.rules, [0, 1, 1, 0]);
    assert_eq!(answer.rule_names, ["good-only"]);
    let ages = alone.iter().map(|a| u32::try_from(a.max_age.unwrap().seconds).unwrap());
    assert_eq!(answer.max_age_seconds, ages.collect::<Vec<_>>());
    let statuses = alone.iter().map(|answer| answer.decisions[0].evidence[0].status);
    assert_eq!(answer.statuses, statuses.collect::<Vec<_>>());
    assert_eq!(answer.policy_revision, alone[0].policy_revision);
    assert_eq!(answer.evaluated_at, alone[0].evaluated_at);
    assert_eq!((answer.vary, answer.pending), (alone[0].vary.clone(), 0));
    let counted = "portcullis_bulk_decisions_total{action=\"deny\"}";
    assert!((world.metric(counted).await - 2.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn what_is_not_known_is_said_to_be_and_found_a_moment_later() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let request = about(vec![images(&world, "it/app", &[image.digest])]);
    let answer = ask(&world, request.clone()).await.unwrap();
    assert_eq!(answer.statuses, [i32::from(Unavailable)]);
    assert_eq!(answer.actions, [i32::from(Action::Deny)]);
    assert_eq!((answer.max_age_seconds, answer.pending), (vec![0], 1));
    eventually("the search of the one", async || {
        let answer = ask(&world, request.clone()).await.unwrap();
        (answer.pending == 0 && answer.actions().eq([Action::Allow])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn so_many_searches_begin_with_one_call_and_no_more() {
    let world = World::new().await;
    let digests: Vec<_> = (0..=MAX_BULK_SEARCHES).map(|n| Digest::of(&n.to_le_bytes())).collect();
    let answer = ask(&world, about(vec![images(&world, "it/app", &digests)])).await.unwrap();
    assert_eq!(answer.pending as usize, MAX_BULK_SEARCHES + 1);
    let last = |n: usize| format!("/it/app/manifests/{}", digests[n]);
    eventually("the last search that begins", async || {
        (world.requests(&last(MAX_BULK_SEARCHES - 1)) > 0).then_some(())
    })
    .await;
    assert_eq!(world.requests(&last(MAX_BULK_SEARCHES)), 0);
}

#[tokio::test]
async fn a_question_about_many_images_has_bounds() {
    let world = World::new().await;
    let digest = Digest::of(b"image");
    let with = |repository: &str| v1::BulkImages {
        repository: repository.to_owned(),
        digests: digest.as_bytes().to_vec(),
    };
    let half = v1::BulkImages { digests: vec![0; 33], ..with("reg.io/app") };
    let many = |count: usize| images(&world, "it/app", &vec![digest; count]);
    let lifted = v1::Context { break_glass: "why".to_owned(), ..v1::Context::default() };
    let glass = v1::BulkCheckRequest { context: Some(lifted), ..about(vec![with("reg.io/app")]) };
    let cases = [
        (about(Vec::new()), "images"),
        (about(vec![many(MAX_BULK + 1)]), "images"),
        (about(vec![many(MAX_BULK), many(1)]), "images"),
        (about(vec![half]), "images[0].digests"),
        (about(vec![with("reg.io/app"), with("reg.io/app:v1")]), "images[1].repository"),
        (about(vec![with("")]), "images[0].repository"),
        (about(vec![with("reg.io/app@sha256:0")]), "images[0].repository"),
        (glass, "context.break_glass"),
    ];
    for (request, field) in cases {
        let status = ask(&world, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field, "{status}");
    }
    assert_eq!(ask(&world, about(vec![many(MAX_BULK)])).await.unwrap().actions.len(), MAX_BULK);
}
