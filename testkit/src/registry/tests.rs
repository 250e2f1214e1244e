//! The registry over raw HTTP: pulls, pushes, lists, who may ask, and each fault.

use portcullis_core::referrers::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::{Value, json};

use super::*;

mod access;
mod faults;
mod flavors;
mod push;

struct World {
    registry: Registry,
    client: Client,
}

async fn world() -> World {
    let registry = Registry::start().await.unwrap();
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    World { registry, client }
}

impl World {
    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.registry.host()))
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.ask(Method::GET, path).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.bytes().await.unwrap()).unwrap()
    }

    /// An image without content in `demo/app:v1`.
    fn image(&self) -> Digest {
        let config = self.registry.put_blob("demo/app", "{}");
        let manifest = json!({
            "schemaVersion": 2,
            "config": { "mediaType": OCI_EMPTY, "digest": config, "size": 2 },
            "layers": [],
        });
        self.registry.put_manifest("demo/app", "v1", manifest.to_string(), OCI_MANIFEST)
    }

    /// An artifact attached to `subject`.
    fn artifact(&self, subject: Digest, artifact_type: &str, number: u32) -> Digest {
        let manifest = json!({
            "schemaVersion": 2,
            "artifactType": artifact_type,
            "config": { "mediaType": OCI_EMPTY, "digest": Digest::of(b"{}"), "size": 2 },
            "layers": [],
            "subject": { "mediaType": OCI_MANIFEST, "digest": subject, "size": 1 },
            "annotations": { "number": number.to_string() },
        });
        self.registry.put_manifest("demo/app", "", manifest.to_string(), OCI_MANIFEST)
    }
}

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

fn digests(list: &Value) -> Vec<&str> {
    list["manifests"].as_array().unwrap().iter().map(|d| d["digest"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_manifest_is_pulled_by_tag_and_by_digest() {
    let world = world().await;
    let digest = world.image();
    for reference in ["v1", &digest.to_string()] {
        let path = format!("/v2/demo/app/manifests/{reference}");
        let answer = world.get(&path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "content-type"), Some(OCI_MANIFEST));
        assert_eq!(header(&answer, "docker-content-digest"), Some(&*digest.to_string()));
        let body = answer.bytes().await.unwrap();
        assert_eq!(Digest::of(&body), digest);

        let head = world.ask(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(header(&head, "content-length"), Some(&*body.len().to_string()));
        assert!(head.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_is_not_there_has_an_error_code() {
    let world = world().await;
    world.image();
    let absent = Digest::of(b"absent");
    for (path, status, code) in [
        ("/v2/demo/app/manifests/v2".to_owned(), 404, "MANIFEST_UNKNOWN"),
        ("/v2/demo/none/manifests/v1".to_owned(), 404, "NAME_UNKNOWN"),
        (format!("/v2/demo/app/blobs/{absent}"), 404, "BLOB_UNKNOWN"),
        ("/v2/demo/app/blobs/sha256:00".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/demo/app/manifests/sha256:00".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/demo/app/referrers/sha256:00".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/demo/none/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.status(), status, "{path}");
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["errors"][0]["code"], code, "{path}");
    }
    assert_eq!(world.get("/elsewhere").await.status(), StatusCode::NOT_FOUND);
    let delete = world.ask(Method::DELETE, "/v2/demo/app/manifests/v1").send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn content_can_be_deleted_and_retagged() {
    let world = world().await;
    let first = world.image();
    let second = world.artifact(first, "a/b", 1);
    world.registry.retag("demo/app", "v1", second);
    assert_eq!(world.registry.tagged("demo/app", "v1"), Some(second));
    world.registry.delete("demo/app", second);
    assert_eq!(world.registry.tagged("demo/app", "v1"), None);
    assert_eq!(world.registry.referrers("demo/app", first), []);
    assert!(world.registry.manifest("demo/app", second).is_none());
    assert!(world.registry.manifest("demo/app", first).is_some());
    let tags = world.json("/v2/demo/app/tags/list").await;
    assert_eq!(tags, json!({ "name": "demo/app", "tags": [] }));
}

#[tokio::test]
async fn what_is_attached_is_listed_and_filtered() {
    let world = world().await;
    let image = world.image();
    let path = format!("/v2/demo/app/referrers/{image}");
    let none = world.json(&path).await;
    assert_eq!(none, json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }));

    let first = world.artifact(image, "a/b", 1);
    let second = world.artifact(image, "c/d", 2);
    let list = world.json(&path).await;
    assert_eq!(digests(&list), [first.to_string(), second.to_string()]);
    assert_eq!(list["manifests"][0]["artifactType"], "a/b");
    assert_eq!(list["manifests"][0]["annotations"]["number"], "1");

    let filtered = format!("{path}?artifactType=c%2Fd");
    for (mode, expected, applied) in [
        (Referrers::Api, 1, Some("artifactType")),
        (Referrers::Unfiltered, 2, None),
        (Referrers::Harbor, 1, Some("c/d")),
    ] {
        world.registry.set_referrers(mode);
        let answer = world.get(&filtered).await;
        assert_eq!(header(&answer, "oci-filters-applied"), applied, "{mode:?}");
        let list: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(digests(&list).len(), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let world = world().await;
    let image = world.image();
    let all: Vec<_> =
        (0..5).map(|number| world.artifact(image, "a/b", number).to_string()).collect();
    world.artifact(image, "c/d", 9);
    world.registry.set_page_size(2);
    let mut path = format!("/v2/demo/app/referrers/{image}?artifactType=a/b");
    let mut listed: Vec<String> = Vec::new();
    loop {
        let answer = world.get(&path).await;
        let link = header(&answer, "link").map(str::to_owned);
        let list: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(digests(&list).len() <= 2);
        listed.extend(digests(&list).into_iter().map(str::to_owned));
        let Some(link) = link else { break };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(listed, all);
}

#[tokio::test]
async fn each_registry_without_the_api_has_its_own_way() {
    let world = world().await;
    world.registry.set_referrers(Referrers::Absent);
    let image = world.image();
    let attached = world.artifact(image, "a/b", 1);
    let again = world.artifact(image, "a/b", 1);
    assert_eq!(attached, again);
    let api = format!("/v2/demo/app/referrers/{image}");
    let fallback = format!("/v2/demo/app/manifests/{}", image.fallback_tag());

    let absent = world.get(&api).await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&absent, "content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(absent.text().await.unwrap(), "404 page not found\n");
    assert_eq!(digests(&world.json(&fallback).await), [attached.to_string()]);

    world.registry.set_referrers(Referrers::GitLab);
    assert_eq!(world.get(&api).await.status(), StatusCode::NOT_FOUND);
    let itself = world.get(&fallback).await;
    assert_eq!(header(&itself, "docker-content-digest"), Some(&*image.to_string()));

    world.registry.set_referrers(Referrers::Harbor);
    let nothing = format!("/v2/demo/app/referrers/{attached}");
    assert_eq!(world.json(&nothing).await, json!({}));
}

#[tokio::test]
async fn requests_are_recorded_with_their_headers_up_to_a_bound() {
    let world = world().await;
    world.get("/v2/?a=b").await;
    world.ask(Method::HEAD, "/v2/").header("authorization", "x").send().await.unwrap();
    let seen = world.registry.requests();
    let lines = seen.iter().map(|r| format!("{} {} {}", r.method, r.path, r.authorized()));
    assert_eq!(lines.collect::<Vec<_>>(), ["GET /v2/?a=b false", "HEAD /v2/ true"]);
    assert_eq!(seen[0].headers["host"], *world.registry.host());
    assert_eq!(seen[1].headers["authorization"], "x");

    let mut state = State::default();
    for number in 0..=MAX_RECORDED {
        let (method, path) = ("GET".to_owned(), number.to_string());
        state.record(Recorded { method, path, headers: HeaderMap::new() });
    }
    assert_eq!(state.recorded.len(), MAX_RECORDED);
    assert_eq!(state.recorded[0].path, "1");
}

#[tokio::test(start_paused = true)]
async fn answers_come_from_as_far_away_and_as_narrowly_as_is_set() {
    let world = world().await;
    let blob = world.registry.put_blob("demo/app", vec![b' '; 10_000]);
    let path = format!("/v2/demo/app/blobs/{blob}");
    let far = Duration::from_secs(3);
    world.registry.set_latency(far);
    let start = tokio::time::Instant::now();
    world.get("/v2/").await;
    assert!(start.elapsed() >= far);
    world.registry.set_latency(Duration::ZERO);
    world.registry.set_bandwidth(5_000);
    let start = tokio::time::Instant::now();
    let answer = world.get(&path).await;
    assert_eq!(answer.content_length(), Some(10_000));
    assert_eq!(answer.bytes().await.unwrap().len(), 10_000);
    assert!(start.elapsed() >= Duration::from_secs(2));
    world.registry.set_bandwidth(0);
    assert_eq!(world.get(&path).await.bytes().await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_stopped_registry_is_gone() {
    let World { registry, client } = world().await;
    let url = format!("http://{}/v2/", registry.host());
    registry.fault(Route::Any, Fault::Hang);
    let hanging = tokio::spawn(client.get(&url).send());
    while registry.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    registry.stop().await;
    assert!(hanging.await.unwrap().is_err());
    assert!(client.get(&url).send().await.unwrap_err().is_connect());
}
