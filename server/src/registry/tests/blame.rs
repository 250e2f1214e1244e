//! Who is at fault: what a pusher can cause rejects one artifact, and the rest is not known.

use portcullis_core::evidence::Reason;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{MAX_DESCRIPTORS, MAX_MANIFEST};

use super::harness::*;
use crate::registry::*;

const PAGE: &str = "<html>log in</html>";
const OCTETS: &str = "application/octet-stream";
const MALFORMED: Option<Reason> = Some(Reason::Malformed);
const LIMIT: usize = 10;

/// What is said of `result`, which is an error.
#[track_caller]
fn blamed<T>(result: Result<T, RegistryError>) -> Option<Reason> {
    match result {
        Err(error) => error.reason(),
        Ok(_) => panic!("it was taken for an answer"),
    }
}

#[tokio::test]
async fn a_manifest_is_its_pushers_if_it_has_the_digest() {
    let own = |body: &str| Digest::of(body.as_bytes());
    let long = " ".repeat(MAX_MANIFEST + 1);
    for (status, content_type, body, asked, expected) in [
        (200, OCTETS, MANIFEST, own(MANIFEST), MALFORMED),
        (200, "application/json", MANIFEST, own(MANIFEST), MALFORMED),
        (200, OCTETS, &long, own(&long), Some(Reason::TooLarge)),
        (200, OCI_MANIFEST, &long, own(&long), Some(Reason::TooLarge)),
        (200, "text/html", &long, own(&long), None),
        (200, "", MANIFEST, own(MANIFEST), None),
        (200, OCI_MANIFEST, "", own("x"), None),
        (200, OCI_MANIFEST, MANIFEST, own("x"), None),
        (200, OCTETS, MANIFEST, own("x"), None),
        (200, "text/html", PAGE, own("x"), None),
        (200, "text/plain", "no", own("x"), None),
        (200, "application/json", r#"{"errors":[]}"#, own("x"), None),
        (404, "application/json", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#, own("x"), None),
        (404, "text/html", PAGE, own("x"), None),
        (403, "application/json", "{}", own("x"), None),
        (429, "application/json", "{}", own("x"), None),
        (500, "application/json", "{}", own("x"), None),
    ] {
        let sent = body.to_owned();
        let server = serve(move |_| answer(status, content_type, sent.clone())).await;
        let result = client(&[&server]).manifest(&server.image("a:v1"), asked, soon()).await;
        assert_eq!(blamed(result), expected, "{status} {content_type} {:.40}", body);
    }
}

#[tokio::test]
async fn the_size_of_a_blob_is_its_pushers_word() {
    for (content_type, body, asked, size, expected) in [
        (OCTETS, "12345", "12345", 4, MALFORMED),
        (OCTETS, "12345", "12345", 6, MALFORMED),
        (OCTETS, "12345", "12345", 0, MALFORMED),
        (OCTETS, "1234567890", "1234567890", 9, MALFORMED),
        (OCTETS, "12345678901", "12345678901", 9, Some(Reason::TooLarge)),
        (OCTETS, "12345678901", "12345678901", 11, Some(Reason::TooLarge)),
        (OCTETS, "1234", "12345", 5, None),
        (OCTETS, "", "12345", 5, None),
        ("text/html", "<html>", "12345", 5, None),
        ("text/html", PAGE, "12345", 5, None),
        (OCTETS, "54321", "12345", 5, None),
    ] {
        let server = serve(move |_| answer(200, content_type, body)).await;
        let descriptor = descriptor(asked.as_bytes(), size);
        let image = server.image("a:v1");
        let result = client(&[&server]).blob(&image, &descriptor, LIMIT, soon()).await;
        assert_eq!(blamed(result), expected, "{content_type} {body} as {size} bytes of {asked}");
    }
}

#[tokio::test]
async fn a_list_is_the_registrys_word_its_entries_and_a_fallback_tag_are_their_pushers() {
    let entries = vec![entry("x"); MAX_DESCRIPTORS + 1];
    let many = serde_json::json!({ "manifests": entries }).to_string();
    let long = " ".repeat(MAX_MANIFEST + 1);
    for (content_type, body, of_api, of_tag) in [
        (OCI_INDEX, many.as_str(), Some(Reason::TooMany), Some(Reason::TooMany)),
        (OCI_INDEX, &long, Some(Reason::TooLarge), Some(Reason::TooLarge)),
        (OCI_INDEX, "unreadable", None, MALFORMED),
        (OCI_INDEX, "[]", None, MALFORMED),
        (OCI_INDEX, r#"{"manifests":[{}]}"#, MALFORMED, MALFORMED),
        (OCI_INDEX, r#"{"layers":[],"manifests":[]}"#, None, MALFORMED),
        (OCTETS, "{}", None, MALFORMED),
        (OCI_INDEX, "", None, None),
        ("text/html", PAGE, None, None),
        ("text/plain", "no", None, None),
        ("application/json", r#"{"manifests":0}"#, None, None),
        ("", "{}", None, None),
    ] {
        let list = async |api: bool| {
            let sent = body.to_owned();
            let server = serve(move |seen| match seen.line.contains("/referrers/") && !api {
                true => no_route(),
                false => answer(200, content_type, sent.clone()),
            })
            .await;
            let image = server.image("a:v1");
            blamed(client(&[&server]).referrers(&image, Digest::of(b"x"), soon()).await)
        };
        assert_eq!(list(true).await, of_api, "{content_type} {body:.40} of the API");
        assert_eq!(list(false).await, of_tag, "{content_type} {body:.40} of the tag");
    }
    let server = serve(|_| with_header(index(&[]), "link", "</x; rel=next")).await;
    let image = server.image("a:v1");
    assert_eq!(blamed(client(&[&server]).referrers(&image, Digest::of(b"x"), soon()).await), None);
}
