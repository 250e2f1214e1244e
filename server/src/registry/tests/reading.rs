//! Manifests and blobs: what is taken, and what is refused.

use std::time::Duration;

use portcullis_core::evidence::{CauseKind, Reason};
use portcullis_core::image::Digest;
use portcullis_core::referrers::MAX_MANIFEST;
use tokio::time::Instant;

use super::harness::*;
use crate::registry::*;

#[tokio::test]
async fn t006_a_manifest_is_what_its_bytes_are_and_not_what_a_header_says() {
    let lie = Digest::of(b"lie").to_string();
    let server = serve(move |_| with_header(manifest(), "docker-content-digest", &lie)).await;
    let registry = client(&[&server]);
    let fetched = registry.resolve(&server.image("team/app:v1"), soon()).await.unwrap();
    assert_eq!(fetched.digest, Digest::of(MANIFEST.as_bytes()));
    assert_eq!(fetched.media_type, OCI_MANIFEST);

    // By the digest that the header claims, the same bytes are refused.
    let other = server.image("team/app").at(Digest::of(b"lie"));
    assert!(matches!(
        fault(registry.resolve(&other, soon()).await),
        Fault::Digest { received, .. } if received == fetched.digest
    ));
    let by_digest = client(&[&server]).manifest(&other, fetched.digest, soon()).await.unwrap();
    assert_eq!(by_digest, fetched);
    assert_eq!(
        server.lines().await,
        [
            "GET /v2/team/app/manifests/v1".to_owned(),
            format!("GET /v2/team/app/manifests/{}", Digest::of(b"lie")),
            format!("GET /v2/team/app/manifests/{}", fetched.digest),
        ]
    );
}

#[tokio::test]
async fn four_media_types_without_parameters_are_accepted() {
    let server = serve(|_| manifest()).await;
    client(&[&server]).resolve(&server.image("a:v1"), soon()).await.unwrap();
    let log = server.log().await;
    let accept = log[0].headers["accept"].to_str().unwrap();
    let types: Vec<_> = accept.split(", ").collect();
    assert_eq!(types, [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST]);
    assert!(log[0].headers.get("accept-encoding").is_none());
    assert!(log[0].headers.get("authorization").is_none());
}

#[tokio::test]
async fn t027_what_is_not_a_manifest_is_refused() {
    for (content_type, body) in [
        ("text/html", "<html>log in</html>"),
        ("application/json", "{}"),
        ("application/octet-stream", MANIFEST),
        ("", MANIFEST),
    ] {
        let server = serve(move |_| answer(200, content_type, body)).await;
        let result = client(&[&server]).resolve(&server.image("a:v1"), soon()).await;
        assert_eq!(result.as_ref().unwrap_err().cause().kind, CauseKind::Protocol);
        assert!(matches!(fault(result), Fault::ContentType(_)), "{content_type}");
    }
    let server = serve(|_| with_header(manifest(), "content-encoding", "gzip")).await;
    let result = client(&[&server]).resolve(&server.image("a:v1"), soon()).await;
    assert!(matches!(fault(result), Fault::ContentEncoding(encoding) if encoding == "gzip"));
    for status in [201, 204, 206, 304, 400, 405, 418] {
        let server = serve(move |_| answer(status, OCI_MANIFEST, "")).await;
        let result = client(&[&server]).resolve(&server.image("a:v1"), soon()).await;
        assert!(matches!(fault(result), Fault::Status(s) if s == status));
    }
}

#[tokio::test]
async fn t114_only_a_registry_can_say_that_an_image_is_not_there() {
    let server = serve(|_| unknown()).await;
    let error = client(&[&server]).resolve(&server.image("a:v1"), soon()).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.cause().kind, CauseKind::NotFound);

    for body in [
        "default backend - 404",
        "<html></html>",
        "",
        r#"{"errors":[]}"#,
        r#"{"errors":[{"code":"DENIED"}]}"#,
        r#"{"errors":[{"code":"MANIFEST_UNKNOWN"},{"code":"TOOMANYREQUESTS"}]}"#,
    ] {
        let server = serve(move |_| answer(404, "application/json", body)).await;
        let result = client(&[&server]).resolve(&server.image("a:v1"), soon()).await;
        assert!(matches!(fault(result), Fault::NotFoundByWhom), "{body}");
    }
}

#[tokio::test]
async fn a_manifest_is_refused_one_byte_past_its_bound() {
    let server = serve(|seen| {
        let past = usize::from(seen.line.ends_with("past"));
        answer(200, OCI_MANIFEST, vec![b' '; MAX_MANIFEST + past])
    })
    .await;
    let registry = client(&[&server]);
    let fetched = registry.resolve(&server.image("a:good"), soon()).await.unwrap();
    assert_eq!(fetched.bytes.len(), MAX_MANIFEST);
    let error = registry.resolve(&server.image("a:past"), soon()).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: MAX_MANIFEST, .. }));
    assert_eq!(error.reason(), Some(Reason::TooLarge));
}

#[tokio::test]
async fn t025_an_endless_body_is_cut() {
    const HEADS: [&[u8]; 2] = [
        // Until the connection ends, which it does not.
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\r\n",
        // A length that is a lie beside chunks that do not end.
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
          Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).into_bytes().leak();
    for head in HEADS {
        let server = serve_raw(head, chunk).await;
        let registry = client(&[&server]);
        let image = server.image("a:v1");
        let cut = |error| {
            matches!(
                error,
                RegistryError::TooLarge { .. }
                    | RegistryError::Unreachable { .. }
                    | RegistryError::Protocol { .. }
            )
        };
        assert!(cut(registry.resolve(&image, soon()).await.unwrap_err()));
        assert!(cut(registry.blob(&image, &descriptor(b"x", 1), 1, soon()).await.unwrap_err()));
        let digest = Digest::of(b"x");
        assert!(cut(registry.referrers(&image, digest, soon()).await.unwrap_err()));
    }
}

#[tokio::test]
async fn t049_headers_without_end_are_an_error() {
    let server = serve_raw(b"HTTP/1.1 200 OK\r\n", b"X-Header: more\r\n").await;
    let error = client(&[&server]).resolve(&server.image("a:v1"), soon()).await.unwrap_err();
    assert_eq!(error.cause().kind, CauseKind::Unreachable);
}

#[tokio::test]
async fn t024_a_blob_is_exactly_what_its_descriptor_says() {
    let server = serve(|_| answer(200, "application/octet-stream", "0123456789")).await;
    let registry = client(&[&server]);
    let image = server.image("a:v1");
    let ask = async |content: &[u8], size, limit| {
        registry.blob(&image, &descriptor(content, size), limit, soon()).await
    };
    assert_eq!(ask(b"0123456789", 10, 10).await.unwrap(), "0123456789");
    for size in [0, 9, 11] {
        let result = ask(b"0123456789", size, 100).await;
        assert!(matches!(fault(result), Fault::Size { declared } if declared == size));
    }
    assert!(matches!(fault(ask(b"other", 10, 10).await), Fault::Digest { .. }));

    // What is too large by its own account is not asked for.
    let before = server.count().await;
    for size in [10, 1 << 62, u64::MAX] {
        let result = ask(b"0123456789", size, 9).await;
        assert!(matches!(result, Err(RegistryError::TooLarge { limit: 9, .. })));
    }
    assert_eq!(server.count().await, before);
}

#[tokio::test]
async fn t024_a_report_of_thirty_mebibytes_passes() {
    let server = serve(|_| answer(200, "application/octet-stream", vec![7; 30 << 20])).await;
    let descriptor = descriptor(&vec![7; 30 << 20], 30 << 20);
    let blob = client(&[&server])
        .blob(&server.image("a:v1"), &descriptor, 32 << 20, soon())
        .await
        .unwrap();
    assert_eq!(blob.len(), 30 << 20);
}

#[tokio::test]
async fn t048_a_host_that_never_answers_ends_with_the_deadline() {
    let server = serve_raw(b"", b"").await;
    let registry = client(&[&server]);
    let image = server.image("a:v1");
    let deadline = Instant::now() + Duration::from_millis(50);
    let digest = Digest::of(b"x");
    for error in [
        registry.resolve(&image, deadline).await.unwrap_err(),
        registry.manifest(&image, digest, deadline).await.unwrap_err(),
        registry.referrers(&image, digest, deadline).await.unwrap_err(),
        registry.blob(&image, &descriptor(b"x", 1), 1, deadline).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::Deadline));
        assert_eq!(error.cause().kind, CauseKind::Deadline);
    }
}

#[tokio::test]
async fn t048_a_host_that_stops_in_the_middle_is_given_up_before_the_deadline() {
    const HALF: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
          Content-Length: 10\r\n\r\nhalf";
    for head in [b"".as_slice(), b"HTTP/1.1 200 OK\r\nX-", HALF] {
        let server = serve_raw(head, b"").await;
        let mut config = config(&[&server]);
        config.patience.request = Duration::from_millis(50);
        let registry = Registry::new(config).unwrap();
        let error = registry.resolve(&server.image("a:v1"), soon()).await.unwrap_err();
        assert_eq!(error.cause().kind, CauseKind::Unreachable);
        // A slow host is not asked again: its time was up.
        assert_eq!(server.count().await, 1);
    }
}
