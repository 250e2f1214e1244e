//! Each fault as a client sees it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

const MANIFEST: &str = "/v2/demo/app/manifests/v1";

/// A world whose manifests have `fault`.
async fn faulty(fault: Fault) -> World {
    let world = world().await;
    world.image();
    world.registry.fault(Route::Manifest, fault);
    world
}

#[tokio::test]
async fn a_status_stands_in_for_the_answer() {
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("x-why"),
        HeaderValue::from_static("because"),
    )]);
    let fault = Fault::Status(StatusCode::SERVICE_UNAVAILABLE, headers, "down".into());
    let world = faulty(fault).await;
    let answer = world.get(MANIFEST).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&answer, "x-why"), Some("because"));
    assert_eq!(answer.text().await.unwrap(), "down");
}

#[tokio::test]
async fn a_page_stands_in_for_the_answer() {
    let world = faulty(Fault::Html).await;
    let answer = world.get(MANIFEST).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text().await.unwrap().starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn a_client_is_told_to_wait_or_to_go_elsewhere() {
    let world = faulty(Fault::RetryAfter(HeaderValue::from_static("30"))).await;
    let wait = world.get(MANIFEST).await;
    assert_eq!(wait.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&wait, "retry-after"), Some("30"));
    let away = HeaderValue::from_static("http://127.0.0.1:1/x");
    let world = faulty(Fault::Redirect(away)).await;
    let away = world.get(MANIFEST).await;
    assert_eq!(away.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(header(&away, "location"), Some("http://127.0.0.1:1/x"));
}

#[tokio::test]
async fn a_huge_list_has_as_many_entries_as_it_was_told() {
    let world = faulty(Fault::HugeList(1_234)).await;
    let list = world.json(MANIFEST).await;
    let mut digests = digests(&list);
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 1_234);
}

#[tokio::test]
async fn an_endless_body_goes_on() {
    let world = faulty(Fault::EndlessBody).await;
    let mut answer = world.get(MANIFEST).await;
    assert_eq!(answer.content_length(), None);
    let mut length = 0;
    while length < 32 * 1024 * 1024 {
        length += answer.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_closed_connection_gives_no_answer() {
    let world = faulty(Fault::Close).await;
    let error = world.ask(Method::GET, MANIFEST).send().await.unwrap_err();
    assert!(error.is_request() && !error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_hanging_answer_does_not_hold_up_others() {
    let world = faulty(Fault::Hang).await;
    let hanging = tokio::spawn(world.ask(Method::GET, MANIFEST).send());
    while world.registry.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get("/v2/").await.status(), StatusCode::OK);
    assert!(!hanging.is_finished());
    drop(world);
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn an_empty_body_has_the_true_headers() {
    let world = faulty(Fault::EmptyBody).await;
    let answer = world.get(MANIFEST).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-type"), Some(OCI_MANIFEST));
    assert_eq!(header(&answer, "content-length"), Some("0"));
}

#[tokio::test]
async fn a_dripping_body_comes_byte_by_byte() {
    let world = faulty(Fault::Drip(Duration::from_millis(1))).await;
    let mut answer = world.get(MANIFEST).await;
    let length = answer.content_length().unwrap();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.unwrap() {
        body.extend_from_slice(&piece);
    }
    assert_eq!(u64::try_from(body.len()).unwrap(), length);
    assert_eq!(Some(Digest::of(&body)), world.registry.tagged("demo/app", "v1"));
}

#[tokio::test]
async fn a_body_is_cut_in_half() {
    let world = faulty(Fault::CloseEarly).await;
    let mut answer = world.get(MANIFEST).await;
    let length = answer.content_length().unwrap();
    let mut seen = 0;
    let error = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => seen += u64::try_from(piece.len()).unwrap(),
            Ok(None) => panic!("the body came whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, length / 2, "{error:?}");
}

#[tokio::test]
async fn a_length_is_declared_that_is_not_true() {
    let world = faulty(Fault::LyingLength(10)).await;
    let answer = world.get(MANIFEST).await;
    assert_eq!(answer.content_length(), Some(10));
    assert_eq!(answer.bytes().await.unwrap().len(), 10);
    let world = faulty(Fault::LyingLength(1 << 62)).await;
    let answer = world.get(MANIFEST).await;
    assert_eq!(answer.content_length(), Some(1 << 62));
    assert!(answer.bytes().await.is_err());
}

#[tokio::test]
async fn wrong_bytes_come_under_the_true_digest() {
    let world = faulty(Fault::WrongBytes("{}".into())).await;
    let answer = world.get(MANIFEST).await;
    let digest = world.registry.tagged("demo/app", "v1").unwrap().to_string();
    assert_eq!(header(&answer, "docker-content-digest"), Some(&*digest));
    assert_eq!(answer.text().await.unwrap(), "{}");
}

#[tokio::test]
async fn more_headers_come_than_there_should_be() {
    let mut headers = HeaderMap::new();
    for number in 0..50 {
        headers.append("x-many", HeaderValue::from(number));
    }
    let world = faulty(Fault::ExtraHeaders(headers)).await;
    let answer = world.get(MANIFEST).await;
    assert_eq!(answer.headers().get_all("x-many").iter().count(), 50);
    assert_eq!(header(&answer, "content-type"), Some(OCI_MANIFEST));
}

#[tokio::test]
async fn a_fault_strikes_its_route_and_its_number_of_times() {
    let world = world().await;
    let image = world.image();
    let other = world.artifact(image, "a/b", 1);
    let blob = Digest::of(b"{}");
    let paths = [
        MANIFEST.to_owned(),
        format!("/v2/demo/app/blobs/{blob}"),
        format!("/v2/demo/app/referrers/{image}"),
        "/token".to_owned(),
        format!("/v2/demo/app/manifests/{other}"),
    ];
    for (route, struck) in [
        (Route::Any, [true, true, true, true, true]),
        (Route::Manifest, [true, false, false, false, true]),
        (Route::Blob, [false, true, false, false, false]),
        (Route::Referrers, [false, false, true, false, false]),
        (Route::Token, [false, false, false, true, false]),
        (Route::Tag("v1"), [true, false, false, false, false]),
        (Route::Of(image), [false, false, true, false, false]),
        (Route::Of(other), [false, false, false, false, true]),
    ] {
        world.registry.clear_faults();
        world.registry.fault(route, Fault::Html);
        for (path, struck) in paths.iter().zip(struck) {
            let page = header(&world.get(path).await, "content-type")
                .is_some_and(|value| value.starts_with("text/html"));
            assert_eq!(page, struck, "{route:?} {path}");
        }
    }
    world.registry.clear_faults();
    let status = |code| Fault::Status(code, HeaderMap::new(), Bytes::new());
    world.registry.fault_times(Route::Any, 2, status(StatusCode::BAD_GATEWAY));
    world.registry.fault_times(Route::Any, 1, status(StatusCode::GATEWAY_TIMEOUT));
    for expected in [502, 502, 504, 200] {
        assert_eq!(world.get(MANIFEST).await.status(), expected);
    }
}
