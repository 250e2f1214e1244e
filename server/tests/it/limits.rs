//! Bounds of the service as its callers meet them: places, threads, old connections.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_server::registry::{HostConfig, Scheme};
use portcullis_testkit::image::image;
use portcullis_testkit::registry::{Fault, Registry, Route};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::gate::Gate;
use crate::world::*;

/// A client with a connection of its own, which is a caller of its own.
pub(crate) async fn stranger(world: &World) -> DecisionServiceClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.app.address())).unwrap();
    DecisionServiceClient::new(endpoint.connect().await.unwrap())
}

/// Asks and does not wait for the answer, which never comes.
fn ask_in_vain(
    client: &DecisionServiceClient<tonic::transport::Channel>,
    image: &str,
) -> tokio::task::JoinHandle<()> {
    let (mut client, request) = (client.clone(), question(image));
    tokio::spawn(async move { drop(client.check(request).await) })
}

#[tokio::test]
async fn t136_what_is_known_health_and_admin_are_served_at_the_limit() {
    let mut site = Site::new().await;
    site.config.max_in_flight = 2;
    let world = site.start().await;
    let (known, other) = (world.scanned("known", &clean()), world.scanned("other", &clean()));
    world.ask(&known.name).await;
    world.registry.fault(Route::Any, Fault::Hang);
    let waiting =
        [ask_in_vain(&world.client, &other.name), ask_in_vain(&world.client, &other.name)];
    world.until_in_flight(2).await;

    let refused = world.try_ask(question(&other.name)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    for _ in 0..20 {
        assert_eq!(world.decide(&known.name).await.action(), Action::Allow);
        let mut health = HealthClient::new(world.channel.clone());
        health.check(HealthCheckRequest::default()).await.unwrap();
        for page in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(world.page(page).await.0, 200, "{page}");
        }
    }
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn t112_a_registry_that_never_answers_leaves_another_its_places() {
    let hole = Registry::start().await.unwrap();
    let mut site = Site::new().await;
    let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
    site.config.registry.hosts.insert(hole.host().to_owned(), host);
    site.config.max_in_flight = 10;
    site.config.limits.in_flight_per_registry = 3;
    site.config.limits.searches = 6;
    site.config.limits.searches_per_registry = 2;
    let world = site.start().await;
    let lost = image(&hole, "it/lost", "v1", "lost").unwrap();
    let lost = |n: usize| format!("{}/it/lost{n}@{lost}", hole.host());
    hole.fault(Route::Any, Fault::Hang);
    let waiting: Vec<_> = (0..3).map(|n| ask_in_vain(&world.client, &lost(n))).collect();
    world.until_in_flight(3).await;
    let refused = world.try_ask(question(&lost(3))).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains(hole.host()), "{refused}");

    // Many images that were never asked for, of the registry beside it.
    for n in 0..20 {
        let good = world.scanned(&format!("good{n}"), &clean());
        assert_eq!(world.decide(&good.name).await.action(), Action::Allow);
    }
    let turned_away = "portcullis_no_answers_total{what=\"check\",outcome=\"overloaded_registry\"}";
    assert!((world.metric(turned_away).await - 1.0).abs() < f64::EPSILON);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn t082_a_caller_that_asks_for_everything_leaves_others_their_places() {
    let mut site = Site::new().await;
    site.config.max_in_flight = 10;
    site.config.limits.in_flight_per_caller = 4;
    let gate = Gate::before(&mut site).await;
    let world = site.start().await;
    let images: Vec<_> = (0..5).map(|n| world.scanned(&format!("cold{n}"), &clean())).collect();
    let own = world.scanned("own", &clean());
    gate.hold("/it/cold");
    let noisy = stranger(&world).await;
    let waiting: Vec<_> = images.iter().take(4).map(|i| ask_in_vain(&noisy, &i.name)).collect();
    world.until_in_flight(4).await;
    let refused = noisy.clone().check(question(&images[4].name)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("one caller"), "{refused}");
    // Another one's question, which nobody has asked before.
    assert_eq!(world.decide(&own.name).await.action(), Action::Allow);
    gate.open();
    for asked in waiting {
        asked.await.unwrap();
    }
    assert!(noisy.clone().check(question(&images[4].name)).await.is_ok());
}

/// A caller that goes away gives back its place, and what it asked for is found out all the same.
#[tokio::test]
async fn t137_what_a_caller_asked_for_is_there_after_it_has_gone() {
    let mut site = Site::new().await;
    let gate = Gate::before(&mut site).await;
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    gate.hold("/referrers/");
    let client = stranger(&world).await;
    let asked = ask_in_vain(&client, &image.name);
    gate.until_one_waits().await;
    world.until_in_flight(1).await;
    asked.abort();
    drop(client);
    world.until_in_flight(0).await;
    gate.open();
    assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
    // Nothing was asked for twice.
    assert_eq!(world.requests("/referrers/"), 2);
}

#[tokio::test]
async fn t133_without_a_timeout_the_budget_of_the_service_holds() {
    let mut site = Site::new().await;
    site.config.budget = Duration::from_millis(200);
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    world.registry.fault(Route::Any, Fault::Hang);
    let decision = world.decide(&image.pinned()).await;
    assert_evidence(&decision, Unavailable, "deadline: ");
}

/// Asks again where the client's library took the question and had no connection to send it on any more
/// (tonic does not do so itself): the service never saw it.
async fn ask_as_often_as_unsent(
    world: &World,
    image: &str,
) -> Result<portcullis_proto::v1::CheckResponse, tonic::Status> {
    loop {
        match world.try_ask(question(image)).await {
            Err(status) if is_unsent(&status) => {}
            answer => return answer,
        }
    }
}

fn is_unsent(status: &tonic::Status) -> bool {
    let causes = std::iter::successors(std::error::Error::source(status), |cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_canceled)
}

#[tokio::test]
async fn t139_connections_that_end_of_age_lose_no_request() {
    let mut site = Site::new().await;
    site.config.serving.connection_age = Duration::from_millis(30);
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    world.ask(&image.name).await;
    let ended = "portcullis_connections_ended_total{listener=\"grpc\",reason=\"closed\"}";
    let mut asked = 0;
    while world.metric(ended).await < 2.0 {
        for answer in join_all((0..50).map(|_| ask_as_often_as_unsent(&world, &image.name))).await {
            assert_eq!(answer.unwrap().action(), Action::Allow, "after {asked}");
            asked += 1;
        }
    }
    // Whatever was decided was answered, the first question too.
    let decided = world.metric("portcullis_decisions_total{action=\"allow\"}").await;
    assert_eq!(decided, f64::from(asked + 1));
}

#[tokio::test]
async fn one_thread_and_many_give_the_same_answers() {
    for workers in [1, 2, 5] {
        let mut site = Site::new().await;
        site.config.serving.workers = std::num::NonZeroUsize::new(workers).unwrap();
        let world = site.start().await;
        let (good, bad) = (world.scanned("good", &clean()), world.scanned("bad", &critical()));
        let clients = join_all((0..6).map(|_| stranger(&world))).await;
        let asked = clients.iter().flat_map(|client| {
            [(&good, Action::Allow), (&bad, Action::Deny)].map(|(image, action)| {
                let (mut client, request) = (client.clone(), question(&image.name));
                async move { (client.check(request).await.unwrap().into_inner(), action) }
            })
        });
        for (answer, action) in join_all(asked).await {
            assert_eq!(answer.action(), action, "{workers}");
        }
        assert!(
            (world.metric("portcullis_connections{listener=\"grpc\"}").await - 7.0).abs() < 0.5
        );
        // One set of requests, whichever thread asked first.
        assert_eq!(world.requests("/it/good/referrers/"), 2);
        drop(clients);
        world.stop().await;
    }
}

#[tokio::test]
async fn t133_a_timeout_past_the_bound_is_cut() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let mut request = tonic::Request::new(question(&image.name));
    request.metadata_mut().insert("grpc-timeout", "99999999H".parse().unwrap());
    assert!(world.client.clone().check(request).await.is_ok());
}
