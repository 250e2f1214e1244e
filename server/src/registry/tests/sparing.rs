//! What is not asked: what is past a budget, what was fetched before, and an API that is not there.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use futures_util::future::{join_all, join3};
use futures_util::stream;
use http::StatusCode;
use portcullis_core::evidence::CauseKind;
use portcullis_core::image::Digest;
use portcullis_core::referrers::MAX_DESCRIPTORS;
use serde_json::json;
use tokio::sync::Barrier;

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

/// Whoever asks for the token has no turn within his time; who waits for it with him has more time.
#[tokio::test]
async fn a_token_is_asked_for_again_by_who_has_the_time() {
    let server = serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match (seen.line.contains("/token"), seen.authorization()) {
            (true, _) => answer(200, "application/json", r#"{"token":"t"}"#),
            (false, Some(_)) => manifest(),
            (false, None) if seen.line.contains("/hangs/") => {
                let never = stream::pending::<Result<Bytes, std::io::Error>>();
                answer(200, OCI_MANIFEST, Body::from_stream(never))
            }
            (false, None) => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
        }
    })
    .await;
    let registry = with_budget(&server, 99, 1);
    let (image, hangs) = (server.image("a:v1"), server.image("hangs:v1"));
    let within = |time| Instant::now() + Duration::from_millis(time);
    let (short, long, hanging) = join3(
        registry.resolve(&image, within(500)),
        registry.resolve(&image, within(30_000)),
        registry.resolve(&hangs, within(1000)),
    )
    .await;
    assert!(short.is_err() && hanging.is_err());
    long.unwrap();
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

/// What is attached to `subject`, by digest of the entry's name.
async fn listed(
    registry: &Registry,
    server: &Server,
    repository: &str,
    subject: &str,
) -> Vec<Digest> {
    let subject = Digest::of(subject.as_bytes());
    let attached = registry.referrers(&server.image(repository), subject, soon()).await.unwrap();
    attached.into_iter().map(|descriptor| descriptor.digest).collect()
}

#[tokio::test]
async fn where_no_api_was_it_is_asked_at_the_same_time_as_the_tag() {
    let together = Arc::new(Barrier::new(2));
    let server = serve_later({
        move |seen| {
            let is_first = seen.nth < 2;
            let response = match seen.line.contains("/referrers/") {
                true => no_route(),
                false => list_of("by tag"),
            };
            let together = Arc::clone(&together);
            async move {
                // One after the other would wait for ever.
                if !is_first {
                    together.wait().await;
                }
                response
            }
        }
    })
    .await;
    let registry = client(&[&server]);
    for subject in ["x", "y", "x"] {
        assert_eq!(listed(&registry, &server, "a", subject).await, [Digest::of(b"by tag")]);
    }
    assert_eq!(server.count().await, 6);
}

#[tokio::test]
async fn no_api_for_one_repository_says_nothing_of_another() {
    let server = serve(|seen| match seen.line.as_str() {
        line if line.contains("/v2/evil/referrers/") => no_route(),
        line if line.contains("/referrers/") => list_of("newest"),
        _ => list_of("old"),
    })
    .await;
    let registry = client(&[&server]);
    assert_eq!(listed(&registry, &server, "evil", "x").await, [Digest::of(b"old")]);
    assert_eq!(listed(&registry, &server, "good", "x").await, [Digest::of(b"newest")]);
    let lines = server.lines().await;
    assert!(!lines.iter().any(|line| line.contains("/v2/good/manifests/")), "{lines:?}");
}

#[tokio::test]
async fn a_tag_does_not_hide_what_an_api_lists_that_has_come() {
    let has_come = Arc::new(AtomicBool::new(false));
    let server = serve({
        let has_come = Arc::clone(&has_come);
        move |seen| match (seen.line.contains("/referrers/"), has_come.load(Ordering::SeqCst)) {
            (true, false) => no_route(),
            (true, true) => index(&[entry("newest"), entry("both")]),
            (false, _) => index(&[entry("both"), entry("old")]),
        }
    })
    .await;
    let registry = client(&[&server]);
    let [newest, both, old] = ["newest", "both", "old"].map(|name| Digest::of(name.as_bytes()));
    assert_eq!(listed(&registry, &server, "a", "x").await, [both, old]);
    has_come.store(true, Ordering::SeqCst);
    assert_eq!(listed(&registry, &server, "a", "x").await, [newest, both, old]);
    // From then on the API alone.
    assert_eq!(listed(&registry, &server, "a", "x").await, [newest, both]);
    assert_eq!(server.count().await, 5);
}

#[tokio::test]
async fn both_lists_together_are_refused_one_past_their_bound() {
    for past in [0, 1] {
        let server = serve(move |seen| match (seen.nth, seen.line.contains("/referrers/")) {
            (0, _) => no_route(),
            (1, _) => unknown(),
            (_, true) => index(&vec![entry("x"); MAX_DESCRIPTORS - 1]),
            (_, false) => index(&vec![entry("y"); 1 + past]),
        })
        .await;
        let registry = client(&[&server]);
        assert_eq!(listed(&registry, &server, "a", "x").await, []);
        let subject = Digest::of(b"x");
        let both = registry.referrers(&server.image("a"), subject, soon()).await;
        match past {
            0 => assert_eq!(both.unwrap().len(), MAX_DESCRIPTORS),
            _ => assert!(matches!(both.unwrap_err(), RegistryError::TooMany { .. })),
        }
    }
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
        assert_eq!(listed(&registry, &server, "a", "x").await, [Digest::of(b"by tag")]);
    }
    assert_eq!(server.count().await, 4);
}
