//! A registry that fails is never one that has nothing: every fault on every route.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis_core::image::Digest;
use portcullis_testkit::attach::{Artifact, TRIVY, attach};
use portcullis_testkit::registry::{Auth, Fault, Referrers, Registry, Route};

use crate::world::*;

/// What asks for something, and where the fault is.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// The image's manifest.
    Image,
    /// The lists of what is attached.
    Attached,
    /// The manifest of the report.
    Report,
    /// The content of the report.
    Content,
}

const ALL: [Asked; 4] = [Asked::Image, Asked::Attached, Asked::Report, Asked::Content];

/// Faults and the word for each in the evidence.
fn faults(elsewhere: &Registry) -> Vec<(&'static str, Fault)> {
    let status = |status, body: &'static [u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        Fault::Status(status, headers, Bytes::from_static(body))
    };
    let page = b"<html><body>not here</body></html>";
    let location = format!("http://{}/v2/", elsewhere.host());
    vec![
        ("denied", status(StatusCode::UNAUTHORIZED, page)),
        ("denied", status(StatusCode::FORBIDDEN, page)),
        ("throttled", Fault::RetryAfter(HeaderValue::from_static("30"))),
        ("unreachable", status(StatusCode::INTERNAL_SERVER_ERROR, page)),
        ("unreachable", status(StatusCode::BAD_GATEWAY, b"")),
        ("protocol", status(StatusCode::IM_A_TEAPOT, page)),
        ("protocol", Fault::Html),
        ("protocol", Fault::EmptyBody),
        ("protocol", Fault::EndlessBody),
        ("protocol", Fault::HugeList(1_001)),
        ("protocol", Fault::WrongBytes(Bytes::from_static(b"[]"))),
        ("protocol", Fault::WrongBytes(Bytes::from_static(b"not what was asked for"))),
        ("protocol", Fault::LyingLength(10)),
        ("unreachable", Fault::LyingLength(1_000_000)),
        ("unreachable", Fault::CloseEarly),
        ("unreachable", Fault::Close),
        ("unreachable", Fault::Hang),
        ("protocol", Fault::Redirect(HeaderValue::from_str(&location).unwrap())),
    ]
}

#[tokio::test]
async fn no_fault_of_a_registry_is_taken_for_absence_or_for_evidence() {
    let elsewhere = Registry::start().await.unwrap();
    let faults = faults(&elsewhere);
    let cases = faults.iter().flat_map(|(word, fault)| ALL.map(|asked| (word, fault, asked)));
    join_all(cases.map(|(word, fault, asked)| check(word, fault, asked))).await;
    assert!(elsewhere.requests().iter().all(|request| !request.path.starts_with("/v2/")));
}

async fn check(word: &str, fault: &Fault, asked: Asked) {
    let mut site = Site::new().await;
    if *fault == Fault::Hang {
        site.config.registry.patience.request = Duration::from_millis(200);
    }
    let image = site.image("app");
    let report = site.report(&image.repository, image.digest, &clean());
    site.registry.fault(route(&site, asked, image.digest, report), fault.clone());
    let world = site.start().await;
    let decision = world.decide(&image.pinned()).await;
    let what = format!("{fault:?} on {asked:?}");
    assert_eq!(decision.action(), Action::Deny, "{what}");
    assert_eq!(decision.rule, "good-only", "{what}");
    let [evidence] = decision.evidence.as_slice() else { panic!("{what}") };
    // What a pusher can cause too is held against the artifact.
    let is_blamed = evidence.status() == Rejected;
    let words = if is_blamed { &["too_large", "too_many", "malformed"][..] } else { &[word] };
    let is_size = matches!(
        fault,
        Fault::EndlessBody | Fault::HugeList(_) | Fault::LyingLength(_) | Fault::WrongBytes(_)
    );
    assert!(evidence.status() == Unavailable || is_blamed && is_size, "{what}: {evidence:?}");
    assert_eq!(
        decision.violations[0].condition,
        if is_blamed { "rejected" } else { "unavailable" }
    );
    let says = |word: &&str| evidence.detail.starts_with(&format!("{word}: "));
    assert!(words.iter().any(says), "{what}: {}", evidence.detail);

    // The same registry, once it is well, is believed. (Not by who has no patience at all.)
    if word != "throttled" && *fault != Fault::Hang {
        world.registry.clear_faults();
        world.clock.advance(world.config.memory.negative_ttl);
        assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow, "{what}");
    }
}

fn route(site: &Site, asked: Asked, image: Digest, report: Digest) -> Route {
    match asked {
        Asked::Image => Route::Of(image),
        Asked::Attached => Route::Referrers,
        Asked::Report => Route::Of(report),
        Asked::Content => Route::Of(layer(site, "it/app", report)),
    }
}

/// The digest of the one layer of an artifact.
fn layer(site: &Site, repository: &str, artifact: Digest) -> Digest {
    let manifest = site.registry.manifest(repository, artifact).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_and_then_the_image_is_unknown() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        for route in [Route::Manifest, Route::Referrers, Route::Blob] {
            let world = World::new().await;
            world.registry.set_auth(Auth::AnonymousBearer);
            let image = world.scanned("app", &clean());
            world.registry.fault(route, Fault::Status(status, HeaderMap::new(), Bytes::new()));
            let decision = world.decide(&image.pinned()).await;
            assert_evidence(&decision, Unavailable, "denied: ");
            assert_eq!(decision.action(), Action::Deny);
        }
    }
}

/// 404 with a page says nothing of a manifest or a blob. For the list of what is attached it says
/// that there is no such API (distribution-spec 1.1), and the fallback tag has the last word.
#[tokio::test]
async fn a_404_needs_the_word_of_a_registry() {
    let page = || {
        let page = Bytes::from_static(b"<html><body>not here</body></html>");
        Fault::Status(StatusCode::NOT_FOUND, HeaderMap::new(), page)
    };
    for asked in [Asked::Image, Asked::Report, Asked::Content] {
        let site = Site::new().await;
        let image = site.image("app");
        let report = site.report(&image.repository, image.digest, &clean());
        let route = match asked {
            // Also the list of what is attached to the report, which is asked for first.
            Asked::Report => Route::Of(report),
            other => self::route(&site, other, image.digest, report),
        };
        site.registry.fault(route, page());
        let world = site.start().await;
        let decision = world.decide(&image.pinned()).await;
        assert_eq!(decision.action(), Action::Deny, "{asked:?}");
        match asked {
            // Its signatures are gone by the registry's word, and then it is unsigned.
            Asked::Report => assert_evidence(&decision, Rejected, "unsigned: "),
            _ => assert_evidence(&decision, Unavailable, "protocol: "),
        }
    }
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    world.registry.fault(Route::Referrers, page());
    world.registry.fault(Route::Manifest, page());
    // The manifest of the image is asked for first.
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Unavailable, "protocol: ");
}

#[tokio::test]
async fn a_fallback_tag_that_cannot_be_read_is_not_an_empty_list() {
    let status = |status: StatusCode| Fault::Status(status, HeaderMap::new(), Bytes::new());
    for (word, fault) in [
        ("denied: ", status(StatusCode::FORBIDDEN)),
        ("protocol: ", status(StatusCode::NOT_FOUND)),
        ("unreachable: ", status(StatusCode::INTERNAL_SERVER_ERROR)),
        ("throttled: ", Fault::RetryAfter(HeaderValue::from_static("30"))),
        ("protocol: ", Fault::Html),
    ] {
        let world = World::new().await;
        world.registry.set_referrers(Referrers::Absent);
        let image = world.scanned("app", &clean());
        // The first question is for the image, the second for the list.
        world.registry.fault_times(Route::Manifest, 1, Fault::ExtraHeaders(HeaderMap::new()));
        world.registry.fault(Route::Manifest, fault);
        assert_evidence(&world.decide(&image.pinned()).await, Unavailable, word);
    }
}

#[tokio::test]
async fn what_is_listed_and_not_there_is_rejected() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let report = world.registry.referrers("it/app", image.digest)[0];
    world.registry.delete("it/app", layer(&world, "it/app", report));
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Rejected, "malformed: ");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_unavailable() {
    let world = World::new().await;
    let host = world.registry.host();
    for name in [format!("{host}/it/absent:v1"), format!("{host}/it/absent@{}", Digest::of(b"x"))] {
        let decision = world.decide(&name).await;
        assert_evidence(&decision, Unavailable, "not_found: ");
        assert_eq!(decision.action(), Action::Deny);
    }
}

#[tokio::test]
async fn a_registry_that_may_not_be_asked_is_unsupported_and_gets_no_request() {
    let mut site = Site::new().await;
    site.config.registry.unlisted = portcullis_server::registry::Unlisted::Refused;
    let other = Registry::start().await.unwrap();
    let world = site.start().await;
    let decision = world.decide(&format!("{}/it/app:v1", other.host())).await;
    assert_evidence(&decision, EvidenceStatus::Unsupported, "");
    assert_eq!(decision.action(), Action::Deny);
    assert!(other.requests().iter().all(|request| !request.path.contains("/it/app")));
}

/// A report in a format that nobody reads is not a report that finds nothing.
#[tokio::test]
async fn a_signed_report_that_cannot_be_read_is_rejected() {
    let world = World::new().await;
    let image = world.image("app");
    for content in ["", "{}", "[]", "<html></html>", r#"{"SchemaVersion":2}"#] {
        let artifact = Artifact {
            artifact_type: TRIVY.to_owned(),
            media_type: TRIVY.to_owned(),
            layer: Bytes::from(content),
            annotations: Default::default(),
        };
        let report = attach(&world.registry, "it/app", image.digest, &artifact).unwrap();
        world.sign("it/app", report, &world.key);
        let decision = world.decide(&image.pinned()).await;
        assert_evidence(&decision, Rejected, "malformed: ");
        world.registry.delete("it/app", report);
        world.clock.advance(world.config.memory.negative_ttl);
    }
}
