//! Pushes, and what keeps the list of attached artifacts.

use axum::response::Response;
use http::StatusCode;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{MAX_DESCRIPTORS, parse_list};
use serde_json::{Value, json};

use super::harness::*;
use crate::registry::*;

fn subject() -> Digest {
    Digest::of(MANIFEST.as_bytes())
}

fn artifact() -> Bytes {
    let artifact = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.in-toto+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject(), "size": MANIFEST.len()},
        "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    });
    artifact.to_string().into()
}

fn created() -> Response {
    answer(201, "text/plain", "")
}

async fn attach(server: &Server) -> Result<(Digest, Listing), RegistryError> {
    client(&[server]).attach(&server.image("team/app:v1"), artifact(), soon()).await
}

/// A registry without the referrers API that answers `tagged` for the fallback tag.
async fn without_api(tagged: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Server {
    serve(move |seen| if seen.line.starts_with("GET") { tagged() } else { created() }).await
}

#[tokio::test]
async fn a_blob_is_pushed_where_the_registry_says() {
    let server = serve(|seen| match seen.line.split_once(' ').unwrap().0 {
        "POST" => {
            with_header(answer(202, "text/plain", ""), "location", "/v2/a/blobs/uploads/7?state=x")
        }
        _ => created(),
    })
    .await;
    let image = server.image("a:v1");
    let pushed = client(&[&server]).push_blob(&image, "{}".into(), soon()).await.unwrap();
    assert_eq!(pushed, Digest::of(b"{}"));
    let log = server.log().await;
    assert_eq!(log[0].line, "POST /v2/a/blobs/uploads/");
    let digest = pushed.hex();
    assert_eq!(log[1].line, format!("PUT /v2/a/blobs/uploads/7?state=x&digest=sha256%3A{digest}"));
    assert_eq!(log[1].body, "{}");
}

#[tokio::test]
async fn a_blob_is_not_pushed_elsewhere() {
    let elsewhere = serve(|_| created()).await;
    for location in [format!("http://{}/x", elsewhere.authority), "http://[".to_owned()] {
        let server =
            serve(move |_| with_header(answer(202, "text/plain", ""), "location", &location)).await;
        let registry = client(&[&server, &elsewhere]);
        let result = registry.push_blob(&server.image("a:v1"), "{}".into(), soon()).await;
        assert!(matches!(fault(result), Fault::Location));
    }
    let authority = elsewhere.authority.clone();
    let server = serve(move |_| redirect(307, &format!("http://{authority}/"))).await;
    let registry = client(&[&server, &elsewhere]);
    let result = registry.push_blob(&server.image("a:v1"), "{}".into(), soon()).await;
    assert!(matches!(fault(result), Fault::Redirect(_)));
    assert_eq!(elsewhere.count().await, 0);
}

#[tokio::test]
async fn a_push_asks_for_a_token_of_its_own() {
    let server = serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match (seen.line.as_str(), seen.authorization()) {
            (line, _) if line.contains("pull%2Cpush") => {
                answer(200, "application/json", r#"{"token":"push"}"#)
            }
            (line, _) if line.contains("/token") => {
                answer(200, "application/json", r#"{"token":"pull"}"#)
            }
            (line, Some("Bearer push")) if line.starts_with("PUT") => created(),
            (line, Some("Bearer pull")) if line.starts_with("GET") => manifest(),
            _ => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
        }
    })
    .await;
    let registry = client(&[&server]);
    let image = server.image("a:v1");
    registry.resolve(&image, soon()).await.unwrap();
    let pushed = registry
        .push_manifest(&image, MANIFEST.into(), OCI_MANIFEST, Target::Tag("v1"), soon())
        .await
        .unwrap();
    assert_eq!(pushed, Pushed { digest: subject(), subject: None });
    registry.resolve(&image, soon()).await.unwrap();
}

#[tokio::test]
async fn a_push_that_is_refused_is_an_error() {
    for status in [200, 202, 400, 404, 413] {
        let server = serve(move |_| error(status, "MANIFEST_INVALID")).await;
        let result = client(&[&server])
            .push_manifest(
                &server.image("a:v1"),
                MANIFEST.into(),
                OCI_MANIFEST,
                Target::Digest,
                soon(),
            )
            .await;
        assert!(matches!(fault(result), Fault::Status(s) if s == status));
    }
}

#[tokio::test]
async fn a_registry_with_the_api_lists_what_is_attached() {
    let server = serve(|_| with_header(created(), "oci-subject", &subject().to_string())).await;
    let (digest, listing) = attach(&server).await.unwrap();
    assert_eq!((digest, listing), (Digest::of(&artifact()), Listing::Registry));
    assert_eq!(server.lines().await, [format!("PUT /v2/team/app/manifests/{digest}")]);
}

#[tokio::test]
async fn without_the_api_the_fallback_tag_is_begun() {
    for header in [None, Some(Digest::of(b"another subject").to_string())] {
        let server = serve(move |seen| match (seen.line.starts_with("GET"), &header) {
            (true, _) => unknown(),
            (false, Some(other)) => with_header(created(), "oci-subject", other),
            (false, None) => created(),
        })
        .await;
        let (digest, listing) = attach(&server).await.unwrap();
        assert_eq!(listing, Listing::FallbackTag);
        let log = server.log().await;
        let tag = format!("/v2/team/app/manifests/sha256-{}", subject().hex());
        assert_eq!(log[1].line, format!("GET {tag}"));
        assert_eq!(log[2].line, format!("PUT {tag}"));
        assert_eq!(log[2].headers["content-type"], OCI_INDEX);
        let listed = parse_list(&log[2].body).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].digest, digest);
        assert_eq!(listed[0].size, artifact().len() as u64);
        assert_eq!(listed[0].artifact_type.as_deref(), Some("application/vnd.in-toto+json"));
        assert_eq!(
            listed[0].annotations["org.opencontainers.image.created"],
            "2026-01-01T00:00:00Z"
        );
    }
}

#[tokio::test]
async fn the_fallback_index_keeps_what_is_in_it() {
    let mut old = entry("old");
    old["data"] = json!("e30=");
    let body = json!({"schemaVersion": 2, "manifests": [old], "annotations": {"kept": "yes"}});
    let text = body.to_string();
    let server = without_api(move || answer(200, OCI_INDEX, text.clone())).await;
    let (digest, _) = attach(&server).await.unwrap();
    let written: Value = serde_json::from_slice(&server.log().await[2].body).unwrap();
    assert_eq!(written["manifests"][0], body["manifests"][0]);
    assert_eq!(written["manifests"][1]["digest"], json!(digest));
    assert_eq!(written["annotations"], body["annotations"]);

    // What is listed already is not listed again, and nothing is written.
    let server = without_api(move || answer(200, OCI_INDEX, written.to_string())).await;
    attach(&server).await.unwrap();
    assert_eq!(server.count().await, 2);
}

#[tokio::test]
async fn what_is_not_a_fallback_index_is_not_overwritten() {
    let full = json!({"manifests": vec![entry("x"); MAX_DESCRIPTORS]}).to_string();
    let foreign: [Box<dyn Fn() -> Response + Send + Sync>; 7] = [
        Box::new(manifest),
        Box::new(no_route),
        Box::new(|| answer(200, "text/html", "<html></html>")),
        Box::new(|| answer(200, OCI_INDEX, "")),
        Box::new(|| answer(200, DOCKER_LIST, r#"{"manifests":[]}"#)),
        Box::new(|| error(403, "DENIED")),
        Box::new(move || answer(200, OCI_INDEX, full.clone())),
    ];
    for answer in foreign {
        let answer = std::sync::Arc::new(answer);
        let server = without_api(move || answer()).await;
        attach(&server).await.unwrap_err();
        assert_eq!(server.count().await, 2, "the tag was written");
    }
}

#[tokio::test]
async fn only_a_manifest_with_a_subject_is_attached() {
    let server = serve(|_| created()).await;
    assert_eq!(created().status(), StatusCode::CREATED);
    for bytes in ["", MANIFEST, r#"{"manifests":[]}"#] {
        let image = server.image("a:v1");
        client(&[&server]).attach(&image, bytes.into(), soon()).await.unwrap_err();
    }
    assert_eq!(server.count().await, 0);
}
