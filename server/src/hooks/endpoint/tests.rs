use portcullis_core::image::Digest;
use serde_json::{Value, json};

use super::super::queue::MAX_WAITING;
use super::super::secret_file::SecretFile;
use super::*;

/// An endpoint with one source of each dialect, under its name, and what it needs.
struct World {
    endpoint: Endpoint,
    queue: Queue,
    metrics: Arc<Metrics>,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "s3cret").unwrap();
    let source = |dialect| {
        let (parameter, secret) = ("code".to_owned(), SecretFile::open(&path).unwrap());
        Source { dialect, guard: Guard::Query { parameter, secret }, scope: Scope::default() }
    };
    let sources = Dialect::ALL.map(|dialect| (format!("{dialect:?}"), source(dialect)));
    let listed = Listed { hosts: ["reg.io".to_owned()].into(), patterns: Vec::new() };
    let (queue, metrics) = (Queue::default(), Arc::new(Metrics::new()));
    let endpoint = Endpoint::new(sources.into(), listed, queue.clone(), Arc::clone(&metrics));
    World { endpoint, queue, metrics, _folder: folder }
}

impl World {
    async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> (u16, Answer) {
        let request = request.body(Full::new(body.into())).unwrap();
        let answer = self.endpoint.answer(request).await.unwrap();
        (answer.status().as_u16(), answer)
    }

    async fn post(&self, dialect: Dialect, body: &Value) -> u16 {
        let url = format!("/v1/events/{dialect:?}?code=s3cret");
        self.send(Request::post(url), body.to_string()).await.0
    }

    fn counted(&self, dialect: Dialect, outcome: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let name = "portcullis_registry_events_total";
        let labels = format!("{name}{{source=\"{dialect:?}\",outcome=\"{outcome}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&labels));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

fn pushed(host: &str, repository: &str, tag: &str) -> Value {
    json!({
        "action": "push", "request": {"host": host},
        "target": {"repository": repository, "tag": tag, "digest": Digest::of(b"x").to_string()},
    })
}

fn envelope(count: usize) -> Value {
    let events: Vec<_> =
        (0..count).map(|n| pushed("reg.io", "team/app", &format!("v{n}"))).collect();
    json!({ "events": events })
}

#[tokio::test]
async fn an_event_waits_once_and_others_are_counted() {
    let world = world();
    let acr = Dialect::Acr;
    for _ in 0..2 {
        assert_eq!(world.post(acr, &pushed("reg.io", "team/app", "v1")).await, 202);
    }
    // Whoever is told 202 does not come again, and these would not be better then.
    assert_eq!(world.post(acr, &pushed("evil.io", "team/app", "v1")).await, 202);
    assert_eq!(world.post(acr, &pushed("reg.io", "team/../app", "v1")).await, 202);
    assert_eq!(world.post(acr, &json!({"action": "ping"})).await, 202);
    assert_eq!(world.post(acr, &json!({"no": "event"})).await, 400);
    assert_eq!(world.queue.len(), 1);
    let turn = world.queue.next().await;
    let expected = format!("reg.io/team/app:v1@{}", Digest::of(b"x"));
    assert_eq!(turn.event.image.as_str(), expected);
    for outcome in ["accepted", "repeated", "unlisted", "malformed", "ignored", "unreadable"] {
        assert_eq!(world.counted(acr, outcome), 1, "{outcome}");
    }
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_told_nothing_and_nothing_is_read() {
    let world = world();
    for query in ["", "?code=", "?code=wrong", "?secret=s3cret"] {
        let url = format!("/v1/events/Acr{query}");
        let body = pushed("reg.io", "team/app", "v1").to_string();
        assert_eq!(world.send(Request::post(url), body).await.0, 401, "{query}");
        // Not even that it is too long.
        let url = format!("/v1/events/Acr{query}");
        assert_eq!(world.send(Request::post(url), vec![b' '; MAX_BODY + 1]).await.0, 401);
        let url = format!("/v1/events/EventGrid{query}");
        let options = Request::builder().method("OPTIONS").uri(url);
        assert_eq!(world.send(options, "").await.0, 401);
    }
    assert!(world.queue.is_empty());
    assert_eq!(world.counted(Dialect::Acr, "denied"), 8);
}

#[tokio::test]
async fn other_paths_and_methods_are_none() {
    let world = world();
    for path in ["/", "/v1/events/", "/v1/events/other", "/v1/events/Acr/", "/V1/events/Acr"] {
        let url = format!("{path}?code=s3cret");
        assert_eq!(world.send(Request::post(url), "{}").await.0, 404, "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::builder().method(method).uri("/v1/events/Acr?code=s3cret");
        let (status, answer) = world.send(request, "").await;
        assert_eq!((status, answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    }
}

#[tokio::test]
async fn a_body_is_refused_one_byte_past_its_bound() {
    let world = world();
    let url = "/v1/events/Acr?code=s3cret";
    let mut body = pushed("reg.io", "team/app", "v1").to_string();
    body.push_str(&" ".repeat(MAX_BODY - body.len()));
    assert_eq!(world.send(Request::post(url), body.clone()).await.0, 202);
    body.push(' ');
    assert_eq!(world.send(Request::post(url), body).await.0, 413);
    assert_eq!(world.counted(Dialect::Acr, "unreadable"), 1);
}

#[tokio::test]
async fn where_there_is_no_room_senders_are_told_when_to_come_again() {
    let world = world();
    let distribution = Dialect::Distribution;
    let url = "/v1/events/Distribution?code=s3cret";
    let each = 1_000;
    for part in 0..MAX_WAITING / each {
        let mut body = envelope(each);
        for event in body["events"].as_array_mut().unwrap() {
            event["target"]["repository"] = json!(format!("team/app{part}"));
        }
        assert_eq!(world.post(distribution, &body).await, 202);
    }
    assert_eq!(world.queue.len(), MAX_WAITING);
    let (status, answer) = world.send(Request::post(url), envelope(2).to_string()).await;
    assert_eq!((status, answer.headers()["retry-after"].to_str().unwrap()), (503, RETRY_AFTER));
    assert_eq!(world.counted(distribution, "dropped"), 2);
    assert_eq!(world.queue.len(), MAX_WAITING);
}

#[tokio::test]
async fn event_grid_may_ask_whether_it_may_send() {
    let world = world();
    let url = "/v1/events/EventGrid?code=s3cret";
    let options = || Request::builder().method("OPTIONS").uri(url);
    let (status, answer) =
        world.send(options().header("WebHook-Request-Origin", "eventgrid.azure.net"), "").await;
    assert_eq!(status, 200);
    assert_eq!(answer.headers()["webhook-allowed-origin"], "eventgrid.azure.net");
    assert_eq!(answer.headers()["webhook-allowed-rate"], ALLOWED_RATE);
    assert_eq!(world.send(options(), "").await.0, 400);
    for (length, expected) in [(MAX_ORIGIN, 200), (MAX_ORIGIN + 1, 400)] {
        let origin = "x".repeat(length);
        let asked = options().header("WebHook-Request-Origin", origin);
        assert_eq!(world.send(asked, "").await.0, expected);
    }
    let validation = json!([{
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"},
    }]);
    let (status, answer) = world.send(Request::post(url), validation.to_string()).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let expected = json!({"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"});
    assert_eq!((status, body), (200, expected));
    assert_eq!(world.counted(Dialect::EventGrid, "handshake"), 5);
}

#[tokio::test]
async fn the_header_of_cloud_events_says_what_the_body_is() {
    let world = world();
    let data = json!({
        "resources": [{"digest": Digest::of(b"x").to_string(), "resource_url": "reg.io/team/app:v1"}],
        "repository": {"repo_full_name": "team/app"},
    });
    let request = Request::post("/v1/events/Harbor?code=s3cret")
        .header("ce-specversion", "1.0")
        .header("ce-type", "harbor.scan.completed");
    assert_eq!(world.send(request, data.to_string()).await.0, 202);
    assert_eq!(world.queue.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_source_does_wrong_is_said_once_a_minute() {
    let world = world();
    assert!(world.endpoint.may_say("a") && world.endpoint.may_say("b"));
    assert!(!world.endpoint.may_say("a"));
    tokio::time::advance(SAID_EVERY).await;
    assert!(world.endpoint.may_say("a"));
}
