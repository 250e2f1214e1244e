//! Pushes: as the specification says, and what is refused.

use portcullis_core::referrers::MAX_MANIFEST;

use super::*;

#[tokio::test]
async fn an_image_is_pushed_as_the_specification_says() {
    let world = world().await;
    let uploads = "/v2/demo/new/blobs/uploads/";
    let (config, layer) = (Digest::of(b"{}"), Digest::of(b"a layer"));

    let whole = world.ask(Method::POST, &format!("{uploads}?digest={config}")).body("{}");
    let answer = whole.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(header(&answer, "location"), Some(&*format!("/v2/demo/new/blobs/{config}")));

    let begun = world.ask(Method::POST, uploads).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let location = header(&begun, "location").unwrap().to_owned();
    let more = world.ask(Method::PATCH, &location).body("a la").send().await.unwrap();
    assert_eq!((more.status(), header(&more, "range")), (StatusCode::ACCEPTED, Some("0-3")));
    let path = format!("{location}?digest={}", layer.to_string().replace(':', "%3A"));
    let last = world.ask(Method::PUT, &path).body("yer").send().await.unwrap();
    assert_eq!(last.status(), StatusCode::CREATED);
    assert_eq!(world.registry.blob("demo/new", layer).unwrap(), "a layer");

    let subject = Digest::of(b"pushed later");
    let manifest = json!({
        "config": { "mediaType": OCI_EMPTY, "digest": config, "size": 2 },
        "layers": [{ "mediaType": "text/plain", "digest": layer, "size": 7 }],
        "subject": { "mediaType": OCI_MANIFEST, "digest": subject, "size": 1 },
    })
    .to_string();
    let push = |reference: &str| {
        world
            .ask(Method::PUT, &format!("/v2/demo/new/manifests/{reference}"))
            .header("content-type", OCI_MANIFEST)
            .body(manifest.clone())
    };
    let answer = push("v1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(header(&answer, "oci-subject"), Some(&*subject.to_string()));
    let digest = Digest::of(manifest.as_bytes());
    assert_eq!(world.registry.tagged("demo/new", "v1"), Some(digest));
    assert_eq!(world.registry.referrers("demo/new", subject), [digest]);

    world.registry.set_referrers(Referrers::Absent);
    let answer = push(&digest.to_string()).send().await.unwrap();
    assert_eq!((answer.status(), header(&answer, "oci-subject")), (StatusCode::CREATED, None));
    assert_eq!(push(&subject.to_string()).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_push_that_is_not_right_is_refused() {
    let world = world().await;
    let digest = Digest::of(b"right");
    let path = format!("/v2/demo/new/blobs/uploads/?digest={digest}");
    let wrong = world.ask(Method::POST, &path).body("wrong").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let unknown = format!("/v2/demo/new/blobs/uploads/77?digest={digest}");
    let unknown = world.ask(Method::PUT, &unknown).body("right").send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    for (body, status) in [
        ("not JSON".to_owned(), StatusCode::BAD_REQUEST),
        (
            json!({ "layers": [{ "mediaType": "a/b", "digest": digest, "size": 1 }] }).to_string(),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let push = world.ask(Method::PUT, "/v2/demo/new/manifests/v1").body(body);
        let answer = push.header("content-type", OCI_MANIFEST).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert!(world.registry.tagged("demo/new", "v1").is_none());
}

#[tokio::test]
async fn uploads_are_refused_one_past_their_bounds() {
    let world = world().await;
    let uploads = "/v2/demo/new/blobs/uploads/";
    let largest = vec![0_u8; MAX_UPLOAD];
    let path = format!("{uploads}?digest={}", Digest::of(&largest));
    let answer = world.ask(Method::POST, &path).body(largest).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let begun = world.ask(Method::POST, uploads).send().await.unwrap();
    let location = header(&begun, "location").unwrap().to_owned();
    for (length, status) in [(MAX_UPLOAD, 202), (1, 413), (1, 404)] {
        let body = vec![0_u8; length];
        let answer = world.ask(Method::PATCH, &location).body(body).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    for _ in 0..MAX_UPLOADS {
        let answer = world.ask(Method::POST, uploads).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    let answer = world.ask(Method::POST, uploads).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_manifest_is_refused_one_byte_past_its_bound() {
    let world = world().await;
    for (length, status) in [(MAX_MANIFEST, 201), (MAX_MANIFEST + 1, 413)] {
        let manifest = format!("{{}}{}", " ".repeat(length - 2));
        let push = world.ask(Method::PUT, "/v2/demo/new/manifests/v1").body(manifest);
        let answer = push.header("content-type", OCI_MANIFEST).send().await.unwrap();
        assert_eq!(answer.status(), status, "{length}");
    }
}
