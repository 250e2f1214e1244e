//! What is not asked: what is past a budget, what was fetched before, and an API that is not there.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use portcullis_core::evidence::CauseKind;
use portcullis_core::image::Digest;
use serde_json::json;

use super::harness::*;
use crate::registry::*;

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// A client that may ask `server` `burst` times at once, and then once a second.
fn with_budget(server: &Server, burst: u32, concurrent: u32) -> Registry {
    let mut config = config(&[server]);
    let budget = Budget {
        requests_per_second: number(1),
        burst: number(burst),
        concurrent: number(concurrent),
    };
    config.hosts.get_mut(&server.authority).unwrap().budget = budget;
    Registry::new(config).unwrap()
}

fn is_over_budget<T>(result: Result<T, RegistryError>) -> bool {
    result.is_err_and(|error| {
        let kind = error.cause().kind;
        matches!(error, RegistryError::OverBudget { .. }) && kind == CauseKind::Throttled
    })
}

#[tokio::test]
async fn what_is_past_the_budget_is_not_sent() {
    let server = serve(|_| manifest()).await;
    let registry = with_budget(&server, 2, 9);
    let now = || Instant::now() + Duration::from_millis(500);
    for tag in ["a:v1", "b:v1"] {
        registry.resolve(&server.image(tag), now()).await.unwrap();
    }
    assert!(is_over_budget(registry.resolve(&server.image("a:v1"), now()).await));
    assert!(is_over_budget(registry.referrers(&server.image("c"), Digest::of(b"x"), now()).await));
    assert_eq!(server.count().await, 2);
    // Whoever has the time gets a turn.
    registry.resolve(&server.image("c:v1"), soon()).await.unwrap();
}

#[tokio::test]
async fn no_more_are_asked_at_once_than_may_be() {
    let server = serve_raw(b"", b"").await;
    let registry = with_budget(&server, 9, 1);
    let (first, second) = (server.image("a:v1"), server.image("b:v1"));
    let hanging = registry.resolve(&first, soon());
    tokio::pin!(hanging);
    tokio::select! {
        biased;
        _ = &mut hanging => panic!("it was answered"),
        refused = registry.resolve(&second, Instant::now() + Duration::from_millis(200)) => {
            assert!(is_over_budget(refused));
        }
    }
    assert!(server.count().await <= 1);
}

/// A turn is given back before the token is fetched, or one who has the only turn waits for himself.
#[tokio::test]
async fn one_turn_is_enough_for_a_question_and_its_token() {
    let server = serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match (seen.line.contains("/token"), seen.authorization()) {
            (true, _) => answer(200, "application/json", r#"{"token":"t"}"#),
            (false, Some(_)) => manifest(),
            (false, None) => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
        }
    })
    .await;
    let registry = with_budget(&server, 99, 1);
    let soon = Instant::now() + Duration::from_secs(5);
    join_all(["a:v1", "b:v1", "c:v1"].map(|image| {
        let image = server.image(image);
        let registry = registry.clone();
        async move { registry.resolve(&image, soon).await.unwrap() }
    }))
    .await;
}

/// A client that finds both `one.example` and `two.example` at `server`.
fn with_two_names(server: &Server) -> Registry {
    let mut config = config(&[]);
    for name in ["one.example", "two.example"] {
        let endpoint = Some(server.authority.clone());
        let host = HostConfig { scheme: Scheme::Http, endpoint, ..HostConfig::default() };
        config.hosts.insert(name.to_owned(), host);
    }
    Registry::new(config).unwrap()
}

#[tokio::test]
async fn t111_a_credential_that_is_throttled_does_not_stop_another() {
    let server = serve(|seen| match seen.line.contains("/much/") {
        true => error(429, "TOOMANYREQUESTS"),
        false => manifest(),
    })
    .await;
    let registry = with_two_names(&server);
    let ask = async |image: &str| registry.resolve(&image.parse().unwrap(), soon()).await;
    for image in ["one.example/much/app:v1", "one.example/little/app:v1"] {
        assert_eq!(ask(image).await.unwrap_err().cause().kind, CauseKind::Throttled, "{image}");
    }
    ask("two.example/little/app:v1").await.unwrap();
    assert_eq!(server.count().await, 2);
}

#[tokio::test]
async fn what_never_changes_is_fetched_once_and_what_changes_each_time() {
    let server = serve(|seen| match seen.line.as_str() {
        line if line.contains("/blobs/") => answer(200, "application/octet-stream", "blob"),
        line if line.contains("/referrers/") => index(&[]),
        _ => manifest(),
    })
    .await;
    let registry = client(&[&server]);
    let digest = Digest::of(MANIFEST.as_bytes());
    let blob = descriptor(b"blob", 4);
    let image = server.image("a:v1");
    for _ in 0..3 {
        registry.resolve(&image, soon()).await.unwrap();
        registry.resolve(&image.at(digest), soon()).await.unwrap();
        assert!(registry.referrers(&image, digest, soon()).await.unwrap().is_empty());
        let fetched = registry.manifest(&image, digest, soon()).await.unwrap();
        assert_eq!((fetched.digest, &*fetched.media_type), (digest, OCI_MANIFEST));
        assert_eq!(fetched.bytes, MANIFEST);
        assert_eq!(registry.blob(&image, &blob, 9, soon()).await.unwrap(), "blob");
    }
    let asked =
        async |part: &str| server.lines().await.iter().filter(|line| line.contains(part)).count();
    assert_eq!(asked("/a/manifests/v1").await, 3);
    assert_eq!(asked("/a/referrers/").await, 3);
    // To resolve a digest is to show that it may be read; the first tag brought the manifest.
    assert_eq!(asked(&format!("/a/manifests/{digest}")).await, 3);
    assert_eq!(asked("/a/blobs/").await, 1);

    // What one repository gave is no answer for another.
    registry.manifest(&server.image("b"), digest, soon()).await.unwrap();
    registry.blob(&server.image("b"), &blob, 9, soon()).await.unwrap();
    assert_eq!((asked("/b/manifests/").await, asked("/b/blobs/").await), (1, 1));
    // The bound of who asks holds for what is kept as well.
    let error = registry.blob(&image, &blob, 3, soon()).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 3, .. }));
    let lie = registry.blob(&image, &descriptor(b"blob", 5), 9, soon()).await;
    assert!(matches!(fault(lie), Fault::Size { declared: 5 }));
}

#[tokio::test]
async fn what_one_registry_gave_is_no_answer_for_another_at_the_same_address() {
    let server = serve(|seen| match seen.line.contains("/blobs/") {
        true => answer(200, "application/octet-stream", "blob"),
        false => manifest(),
    })
    .await;
    let registry = with_two_names(&server);
    let (digest, blob) = (Digest::of(MANIFEST.as_bytes()), descriptor(b"blob", 4));
    for (name, asked) in [("one.example/a", 2), ("two.example/a", 4)] {
        let image = name.parse().unwrap();
        for _ in 0..2 {
            registry.manifest(&image, digest, soon()).await.unwrap();
            registry.blob(&image, &blob, 9, soon()).await.unwrap();
        }
        assert_eq!(server.count().await, asked, "{name}");
    }
}

#[tokio::test]
async fn all_who_want_one_content_wait_for_one_fetch() {
    let server = serve(|_| answer(200, "application/octet-stream", "blob")).await;
    let registry = client(&[&server]);
    let (image, blob) = (server.image("a"), descriptor(b"blob", 4));
    let all = join_all((0..8).map(|_| registry.blob(&image, &blob, 9, soon()))).await;
    assert!(all.iter().all(|blob| blob.as_ref().is_ok_and(|blob| blob == "blob")));
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn what_could_not_be_had_is_asked_for_again() {
    let server = serve(|seen| match seen.nth {
        0 => error(403, "DENIED"),
        1 => answer(200, "application/octet-stream", "lies"),
        _ => answer(200, "application/octet-stream", "blob"),
    })
    .await;
    let registry = client(&[&server]);
    let (image, blob) = (server.image("a"), descriptor(b"blob", 4));
    assert!(registry.blob(&image, &blob, 9, soon()).await.is_err());
    assert!(registry.blob(&image, &blob, 9, soon()).await.is_err());
    assert_eq!(registry.blob(&image, &blob, 9, soon()).await.unwrap(), "blob");
}

fn list_of(name: &str) -> axum::response::Response {
    answer(200, OCI_INDEX, json!({"manifests": [entry(name)]}).to_string())
}

/// What is attached to each of `subjects` in turn, by digest of the entry's name.
async fn listed(registry: &Registry, server: &Server, subject: &str) -> Vec<Digest> {
    let subject = Digest::of(subject.as_bytes());
    let attached = registry.referrers(&server.image("a"), subject, soon()).await.unwrap();
    attached.into_iter().map(|descriptor| descriptor.digest).collect()
}

#[tokio::test]
async fn an_api_that_is_not_there_is_asked_for_once_while_the_tag_answers() {
    let server = serve(|seen| match seen.line.contains("/referrers/") {
        true => no_route(),
        false => list_of("by tag"),
    })
    .await;
    let registry = client(&[&server]);
    for subject in ["x", "y", "x"] {
        assert_eq!(listed(&registry, &server, subject).await, [Digest::of(b"by tag")]);
    }
    assert_eq!(server.count().await, 4);
}

#[tokio::test]
async fn an_api_that_has_come_is_found_before_nothing_is_said_to_be_attached() {
    let server = serve(|seen| match (seen.line.contains("/referrers/"), seen.nth) {
        (true, 0..=3) => no_route(),
        (true, _) => list_of("by API"),
        (false, 0..=1) => list_of("by tag"),
        (false, _) => unknown(),
    })
    .await;
    let registry = client(&[&server]);
    assert_eq!(listed(&registry, &server, "x").await, [Digest::of(b"by tag")]);
    // Both say so: nothing.
    assert_eq!(listed(&registry, &server, "y").await, []);
    assert_eq!(server.count().await, 4);
    for _ in 0..2 {
        assert_eq!(listed(&registry, &server, "y").await, [Digest::of(b"by API")]);
    }
    // The tag, the API, and from then on the API alone.
    assert_eq!(server.count().await, 7);
}

#[tokio::test]
async fn a_subject_that_is_not_known_says_nothing_of_the_api() {
    let server = serve(|seen| match seen.line.contains("/referrers/") {
        true => error(StatusCode::NOT_FOUND.as_u16(), "MANIFEST_UNKNOWN"),
        false => list_of("by tag"),
    })
    .await;
    let registry = client(&[&server]);
    for _ in 0..2 {
        assert_eq!(listed(&registry, &server, "x").await, [Digest::of(b"by tag")]);
    }
    assert_eq!(server.count().await, 4);
}
