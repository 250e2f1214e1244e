//! The contract: codes, details, deadlines, bounds, and what an answer may be kept for.

use std::collections::HashMap;
use std::time::Duration;

use portcullis_proto::v1;
use portcullis_server::check::MAX_CONTAINERS;
use portcullis_server::grpc::MAX_REQUEST;
use portcullis_server::grpc::convert::MAX_CONTEXT;
use portcullis_testkit::registry::{Fault, Route};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1 as reflection;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt as _;

use crate::world::*;

const SERVICE: &str = "portcullis.v1.DecisionService";

#[track_caller]
fn assert_invalid(answer: Result<v1::CheckResponse, Status>, field: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].field, field);
    assert_eq!(violations[0].description, status.message());
}

#[tokio::test]
async fn a_malformed_image_is_named_by_its_place() {
    let world = World::new().await;
    let good = world.scanned("app", &clean());
    for bad in ["", "UPPER/case", "a b", "app@sha256:short", &"a".repeat(2_000), "-/x", "app:"] {
        let containers = vec![container("a", &good.name), container("b", bad)];
        let request = v1::CheckRequest { context: None, containers, explain: false, purpose: 0 };
        assert_invalid(world.try_ask(request).await, "containers[1].image");
    }
    // Nothing is looked for where a question cannot be answered whole.
    assert_eq!(world.requests("/it/"), 0);
}

#[tokio::test]
async fn there_must_be_containers_and_not_too_many() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let ask = |count: usize| {
        let containers =
            (0..count).map(|n| container(&format!("c{n}"), &image.name)).collect::<Vec<_>>();
        world.try_ask(v1::CheckRequest { context: None, containers, explain: false, purpose: 0 })
    };
    assert_invalid(ask(0).await, "containers");
    assert_invalid(ask(MAX_CONTAINERS + 1).await, "containers");
    let answer = ask(MAX_CONTAINERS).await.unwrap();
    assert_eq!(answer.decisions.len(), MAX_CONTAINERS);
    // In the order of the question.
    assert!(answer.decisions.iter().enumerate().all(|(n, d)| d.container == format!("c{n}")));
    assert_eq!(world.requests("/referrers/"), 2);
}

#[tokio::test]
async fn the_strictest_container_decides_the_answer() {
    let world = World::new().await;
    let (good, bad) = (world.scanned("good", &clean()), world.scanned("bad", &critical()));
    let containers =
        vec![container("a", &good.name), container("b", &bad.name), container("c", &good.name)];
    let answer = world
        .try_ask(v1::CheckRequest { context: None, containers, explain: false, purpose: 0 })
        .await
        .unwrap();
    assert_eq!(answer.action(), Action::Deny);
    let actions: Vec<_> = answer.decisions.iter().map(v1::Decision::action).collect();
    assert_eq!(actions, [Action::Allow, Action::Deny, Action::Allow]);
}

#[tokio::test]
async fn t133_a_malformed_timeout_is_an_invalid_argument() {
    let world = World::new().await;
    for header in ["", "1", "S", "1s", "-1S", "1.5S", "123456789S", " "] {
        let status = raw(&world, header).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{header:?}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "grpc-timeout", "{header:?}");
    }
}

#[tokio::test]
async fn t133_no_time_at_all_is_a_deadline_exceeded() {
    let world = World::new().await;
    for header in ["0S", "0n", "00000000H"] {
        assert_eq!(raw(&world, header).await.code(), Code::DeadlineExceeded, "{header}");
    }
}

/// Sends an empty question with this `grpc-timeout`, as a client of another make could; tonic's own
/// would end the call by itself.
async fn raw(world: &World, timeout: &str) -> Status {
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/{SERVICE}/Check", world.app.address());
    let request = client
        .post(url)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(vec![0; 5]);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    Status::from_header_map(answer.headers()).unwrap()
}

#[tokio::test]
async fn what_cannot_be_found_out_in_time_is_an_answer_all_the_same() {
    let world = World::new().await;
    for (name, route) in [("attached", Route::Referrers), ("image", Route::Manifest)] {
        let image = world.scanned(name, &clean());
        world.registry.fault(route, Fault::Hang);
        let decision = world.decide_within(&image.pinned(), Duration::from_millis(100)).await;
        assert_evidence(&decision, Unavailable, "deadline: ");
        assert_eq!(decision.rule, "good-only");
        assert_eq!(decision.digest, image.digest.to_string());
    }
}

#[tokio::test]
async fn a_service_at_its_limit_says_when_to_come_back() {
    let mut site = Site::new().await;
    site.config.max_in_flight = 1;
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    world.registry.fault(Route::Any, Fault::Hang);
    let (client, name) = (world.client.clone(), image.name.clone());
    let first = tokio::spawn(async move { client.clone().check(question(&name)).await });
    world.until_in_flight(1).await;
    let status = world.try_ask(question(&image.name)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!wait.is_zero());
    let turned_away = "portcullis_no_answers_total{what=\"check\",outcome=\"overloaded\"}";
    assert!((world.metric(turned_away).await - 1.0).abs() < f64::EPSILON);

    // A caller that goes away makes room.
    first.abort();
    world.until_in_flight(0).await;
    world.registry.clear_faults();
    let other = world.scanned("other", &clean());
    assert_eq!(world.decide(&other.name).await.action(), Action::Allow);
}

#[tokio::test]
async fn a_message_past_its_bound_is_refused() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let named = |length: usize| {
        let containers = vec![container(&"x".repeat(length), &image.name)];
        v1::CheckRequest { containers, ..v1::CheckRequest::default() }
    };
    let status = world.try_ask(named(MAX_REQUEST)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(world.try_ask(named(MAX_REQUEST - 1_024)).await.is_ok());

    // A context goes into each event, and has a bound of its own.
    let with_label = |length: usize| {
        let pod_labels = HashMap::from([("label".to_owned(), "x".repeat(length))]);
        let context = Some(v1::Context { pod_labels, ..v1::Context::default() });
        v1::CheckRequest { context, ..question(&image.name) }
    };
    assert!(world.try_ask(with_label(MAX_CONTEXT - 1_024)).await.is_ok());
    let status = world.try_ask(with_label(MAX_CONTEXT)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let [violation] = &status.get_details_bad_request().unwrap().field_violations[..] else {
        panic!("{status}");
    };
    assert_eq!(violation.field, "context");
}

#[tokio::test]
async fn an_answer_may_be_kept_as_long_as_what_it_stands_on() {
    let mut site = Site::new().await;
    site.config.memory.negative_ttl = Duration::from_secs(30);
    site.config.resolve.tag_ttl = Duration::from_secs(10);
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    // A tag may be moved; a digest is as good as its report, and a minute is the most.
    assert_eq!(max_age(&world.ask(&image.name).await), 10);
    assert_eq!(max_age(&world.ask(&image.pinned()).await), 60);
    assert_eq!(max_age(&world.ask(&world.image("unscanned").pinned()).await), 30);
    world.clock.advance(Duration::from_secs(4));
    assert_eq!(max_age(&world.ask(&image.name).await), 6);

    // The shortest of all containers.
    let containers = vec![container("a", &image.pinned()), container("b", &image.name)];
    let answer = world
        .try_ask(v1::CheckRequest { context: None, containers, explain: false, purpose: 0 })
        .await
        .unwrap();
    assert_eq!(max_age(&answer), 6);
}

#[tokio::test]
async fn an_answer_without_evidence_may_not_be_kept() {
    for route in [Route::Manifest, Route::Referrers] {
        let world = World::new().await;
        let (good, bad) = (world.scanned("good", &clean()), world.scanned("bad", &clean()));
        world.ask(&good.name).await;
        world.registry.fault(route, Fault::Html);
        let containers = vec![container("a", &good.name), container("b", &bad.name)];
        let answer = world
            .try_ask(v1::CheckRequest { context: None, containers, explain: false, purpose: 0 })
            .await
            .unwrap();
        assert_eq!(answer.decisions[0].action(), Action::Allow);
        assert_eq!(answer.decisions[1].action(), Action::Deny);
        assert_eq!(max_age(&answer), 0);
    }
}

#[track_caller]
fn max_age(answer: &v1::CheckResponse) -> i64 {
    let max_age = answer.max_age.unwrap();
    assert_eq!(max_age.nanos, 0);
    max_age.seconds
}

#[tokio::test]
async fn an_answer_names_the_fields_that_rules_read() {
    let site = Site::new().await;
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.ask(&image.name).await;
    assert_eq!(answer.vary, Vec::<String>::new());
    assert_eq!(answer.evaluated_at.unwrap().seconds, NOW.unix_timestamp());

    let site = Site::new().await;
    let scope = "\n      scope: {match: [{field: namespace, operator: equals, values: [prod]}]}";
    site.write_rules(
        &DENY.replace("\n      onUnavailable", &format!("{scope}\n      onUnavailable")),
    );
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let ask = |namespace: &str| {
        let context = v1::Context { namespace: namespace.to_owned(), ..v1::Context::default() };
        world.try_ask(v1::CheckRequest { context: Some(context), ..question(&image.name) })
    };
    let (prod, test) = (ask("prod").await.unwrap(), ask("test").await.unwrap());
    assert_eq!((prod.action(), test.action()), (Action::Deny, Action::Allow));
    assert_eq!(prod.vary, ["namespace"]);
    assert_eq!(test.vary, ["namespace"]);
}

#[tokio::test]
async fn health_is_told_until_the_service_stops() {
    let world = World::new().await;
    let mut health = HealthClient::new(world.channel.clone());
    let asked = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", SERVICE] {
        let answer = health.check(asked(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(asked("portcullis.v9.Other")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut watch = health.watch(asked(SERVICE)).await.unwrap().into_inner();
    let serving = |message: Option<HealthCheckResponse>| message.unwrap().status();
    assert_eq!(serving(watch.message().await.unwrap()), ServingStatus::Serving);
    let stopped = tokio::spawn(world.stop());
    assert_eq!(serving(watch.message().await.unwrap()), ServingStatus::NotServing);
    drop((watch, health));
    stopped.await.unwrap();
}

/// A watcher never ends its call. Time is let go when there is nothing to do but wait.
#[tokio::test]
async fn a_watcher_does_not_keep_the_service_from_stopping() {
    let mut site = Site::new().await;
    let events = site.path("events.jsonl");
    site.config.events = Some(events.clone());
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    let mut health = HealthClient::new(world.channel.clone());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    world.decide(&image.name).await;
    tokio::time::pause();
    let _site = world.stop().await;
    assert_eq!(lines(&events).len(), 1);
    // It hears that it should go elsewhere, and that this is the end.
    while let Some(health) = watch.message().await.unwrap() {
        assert_eq!(health.status(), ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn the_contract_can_be_asked_for() {
    let world = World::new().await;
    let mut client = ServerReflectionClient::new(world.channel.clone());
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(reflection::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(reflection::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    assert!(names.contains(&SERVICE), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let world = World::new().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for path in
        ["/", "/portcullis.v1.DecisionService/Other", "//portcullis.v1.DecisionService/Check"]
    {
        let url = format!("http://{}{path}", world.app.address());
        let request = client.post(url).header("content-type", "application/grpc");
        let answer = request.body(vec![0; 5]).send().await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}
