//! Lists of what is attached: whole, or an error.

use portcullis_core::evidence::{CauseKind, Reason};
use portcullis_core::image::Digest;
use portcullis_core::referrers::{MAX_DESCRIPTORS, MAX_MANIFEST};
use serde_json::json;

use super::harness::*;
use crate::registry::referrers::MAX_PAGES;
use crate::registry::*;

fn subject() -> Digest {
    Digest::of(MANIFEST.as_bytes())
}

async fn list(server: &Server) -> Result<Vec<Descriptor>, RegistryError> {
    client(&[server]).referrers(&server.image("team/app:v1"), subject(), soon()).await
}

/// A list of `pages` pages with one entry each. The page of a request is in its query.
async fn paged(pages: usize, absolute: bool) -> Server {
    serve(move |seen| {
        let page = seen.line.split_once("?page=").map_or(1, |(_, page)| page.parse().unwrap());
        let response = index(&[entry(&format!("page {page}"))]);
        if page == pages {
            return response;
        }
        let path = seen.line.split(['?', ' ']).nth(1).unwrap();
        let host = seen.headers["host"].to_str().unwrap();
        let base = if absolute { format!("http://{host}") } else { String::new() };
        with_header(response, "link", &format!("<{base}{path}?page={}>; rel=\"next\"", page + 1))
    })
    .await
}

#[tokio::test]
async fn t023b_the_report_on_page_three_of_four_is_found() {
    for absolute in [false, true] {
        let server = paged(4, absolute).await;
        let attached = list(&server).await.unwrap();
        assert_eq!(attached.len(), 4);
        assert!(attached.iter().any(|d| d.digest == Digest::of(b"page 3")));
        // All of it, whatever its type.
        let asked = format!("GET /v2/team/app/referrers/{}", subject());
        assert_eq!(server.lines().await[0], asked);
    }
}

#[tokio::test]
async fn t023_pages_are_refused_one_past_their_bound() {
    let server = paged(MAX_PAGES, false).await;
    assert_eq!(list(&server).await.unwrap().len(), MAX_PAGES);
    let server = paged(MAX_PAGES + 1, false).await;
    let error = list(&server).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooMany { what: "pages", .. }));
    assert_eq!(error.reason(), Some(Reason::TooMany));
    assert_eq!(server.count().await, MAX_PAGES);
}

#[tokio::test]
async fn t021_descriptors_are_refused_one_past_their_bound_over_all_pages() {
    for past in [0, 1] {
        let server = serve(move |seen| {
            if seen.nth == 1 {
                return index(&vec![entry("x"); MAX_DESCRIPTORS - 600 + past]);
            }
            with_header(index(&vec![entry("x"); 600]), "link", "<?page=2>; rel=next")
        })
        .await;
        let result = list(&server).await;
        match past {
            0 => assert_eq!(result.unwrap().len(), MAX_DESCRIPTORS),
            _ => assert_eq!(result.unwrap_err().reason(), Some(Reason::TooMany)),
        }
    }
}

#[tokio::test]
async fn bytes_are_refused_one_past_their_bound_over_all_pages() {
    for past in [0, 1] {
        let server = serve(move |seen| {
            let half = MAX_MANIFEST / 2;
            let mut body = br#"{"manifests":[]}"#.to_vec();
            body.resize(if seen.nth == 1 { half + past } else { half }, b' ');
            let response = answer(200, OCI_INDEX, body);
            match seen.nth {
                0 => with_header(response, "link", "<?page=2>; rel=next"),
                _ => response,
            }
        })
        .await;
        assert_eq!(list(&server).await.is_err(), past == 1);
    }
}

#[tokio::test]
async fn t023_a_next_link_stays_at_its_origin_and_does_not_come_back() {
    let foreign = serve(|_| index(&[])).await;
    let port = foreign.authority.rsplit_once(':').unwrap().1.to_owned();
    for (link, why) in [
        ("<>; rel=next".to_owned(), "back"),
        ("<?a>; rel=next, <?b>; rel=next".to_owned(), "two"),
        (format!("<http://{}/v2/>; rel=next", foreign.authority), "another origin"),
        (format!("<//127.0.0.1:{port}/v2/>; rel=next"), "another origin"),
        ("<https://169.254.169.254/>; rel=next".to_owned(), "another origin"),
        ("<http://[>; rel=next".to_owned(), "URL"),
        ("</v2/x; rel=next".to_owned(), "cannot be read"),
    ] {
        let server = serve(move |_| with_header(index(&[entry("x")]), "link", &link)).await;
        let registry = client(&[&server, &foreign]);
        let image = server.image("team/app:v1");
        let fault = fault(registry.referrers(&image, subject(), soon()).await);
        assert!(matches!(fault, Fault::Link(text) if text.contains(why)), "{fault:?}");
    }
    assert_eq!(foreign.count().await, 0);

    let server = serve(|seen| {
        let next = if seen.line.ends_with("?a") { "<?b>; rel=next" } else { "<?a>; rel=next" };
        with_header(index(&[]), "link", next)
    })
    .await;
    assert!(matches!(fault(list(&server).await), Fault::Link(_)));
    assert_eq!(server.count().await, 3);
}

#[tokio::test]
async fn a_next_page_that_is_gone_is_not_the_end() {
    let server = serve(|seen| match seen.nth {
        0 => with_header(index(&[entry("x")]), "link", "<?page=2>; rel=next"),
        _ => unknown(),
    })
    .await;
    assert!(matches!(fault(list(&server).await), Fault::Status(404)));
}

#[tokio::test]
async fn an_empty_list_is_the_registrys_word() {
    for body in [r#"{"schemaVersion":2,"manifests":[]}"#, r#"{"manifests":null}"#, "{}"] {
        let server = serve(move |_| answer(200, OCI_INDEX, body)).await;
        assert!(list(&server).await.unwrap().is_empty(), "{body}");
        assert_eq!(server.count().await, 1);
    }
}

#[tokio::test]
async fn t021_a_list_of_a_hundred_thousand_is_cut() {
    let server = serve(|_| index(&vec![entry("x"); 100_000])).await;
    let error = list(&server).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: MAX_MANIFEST, .. }));
    // In pages that are small enough: after the second, which is one past the bound.
    let server = serve(|seen| {
        let page = index(&vec![entry("x"); MAX_DESCRIPTORS]);
        with_header(page, "link", &format!("<?page={}>; rel=next", seen.nth + 2))
    })
    .await;
    let error = list(&server).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooMany { what: "descriptors", .. }));
    assert_eq!(server.count().await, 2);
}

#[tokio::test]
async fn t114_what_is_not_a_list_is_not_an_empty_one() {
    for (content_type, body) in [
        ("text/html", "<html>log in</html>"),
        ("text/html", ""),
        ("text/plain", "{}"),
        (OCI_INDEX, ""),
        (OCI_INDEX, "<html></html>"),
        (OCI_INDEX, "[]"),
        (OCI_INDEX, r#"{"manifests":[]"#),
        (OCI_INDEX, r#"{"layers":[]}"#),
        ("application/json", r#"{"mediaType":"application/problem+json"}"#),
    ] {
        let server = serve(move |_| answer(200, content_type, body)).await;
        let error = list(&server).await.unwrap_err();
        assert_eq!(error.cause().kind, CauseKind::Protocol, "{content_type} {body}");
    }
    for status in [204, 206, 400, 405, 410] {
        let server = serve(move |_| answer(status, OCI_INDEX, "{}")).await;
        assert!(matches!(fault(list(&server).await), Fault::Status(s) if s == status));
    }
}

#[tokio::test]
async fn t114_without_an_api_the_list_is_under_the_fallback_tag() {
    let server = serve(|seen| match seen.nth {
        0 => no_route(),
        _ => index(&[entry("report")]),
    })
    .await;
    let attached = list(&server).await.unwrap();
    assert_eq!(attached[0].digest, Digest::of(b"report"));
    let tag = format!("GET /v2/team/app/manifests/sha256-{}", subject().hex());
    assert_eq!(server.lines().await[1], tag);
}

#[tokio::test]
async fn an_api_that_redirects_to_404_is_none() {
    let server = serve(|seen| match seen.line.as_str() {
        line if line.contains("/referrers/") => redirect(303, "/gone"),
        "GET /gone" => answer(404, "text/html", "<html></html>"),
        _ => index(&[entry("report")]),
    })
    .await;
    assert_eq!(list(&server).await.unwrap().len(), 1);
    assert_eq!(server.count().await, 3);
}

#[tokio::test]
async fn t114_without_a_fallback_tag_nothing_is_attached() {
    let server = serve(|seen| if seen.nth == 0 { no_route() } else { unknown() }).await;
    assert!(list(&server).await.unwrap().is_empty());
    // GitLab reads the tag as the digest.
    let server = serve(|seen| if seen.nth == 0 { no_route() } else { manifest() }).await;
    assert!(list(&server).await.unwrap().is_empty());
    // The subject may be an index, which lists its platforms and not its referrers.
    let body = json!({"schemaVersion": 2, "manifests": [entry("amd64")]}).to_string();
    let subject = Digest::of(body.as_bytes());
    let server = serve(move |seen| match seen.nth {
        0 => no_route(),
        _ => answer(200, OCI_INDEX, body.clone()),
    })
    .await;
    let registry = client(&[&server]);
    let attached = registry.referrers(&server.image("a:v1"), subject, soon()).await.unwrap();
    assert!(attached.is_empty());
    // Another image was tagged so.
    let other = r#"{"schemaVersion":2,"layers":[],"annotations":{}}"#;
    let server = serve(move |seen| match seen.nth {
        0 => no_route(),
        _ => answer(200, OCI_MANIFEST, other),
    })
    .await;
    assert!(list(&server).await.unwrap().is_empty());
}

#[tokio::test]
async fn t114_a_fallback_tag_that_cannot_be_read_is_not_an_empty_list() {
    for (status, kind) in [
        (401, CauseKind::Denied),
        (403, CauseKind::Denied),
        (429, CauseKind::Throttled),
        (500, CauseKind::Unreachable),
        (503, CauseKind::Unreachable),
        (400, CauseKind::Protocol),
    ] {
        let server = serve(move |seen| match seen.nth {
            0 => no_route(),
            _ => error(status, "TOOMANYREQUESTS"),
        })
        .await;
        assert_eq!(list(&server).await.unwrap_err().cause().kind, kind, "{status}");
    }
    // Not the registry's 404.
    let server = serve(|_| no_route()).await;
    assert!(matches!(fault(list(&server).await), Fault::NotFoundByWhom));
    for (content_type, body) in [("text/html", "<html></html>"), (OCI_INDEX, ""), (OCI_INDEX, "x")]
    {
        let server = serve(move |seen| match seen.nth {
            0 => no_route(),
            _ => answer(200, content_type, body),
        })
        .await;
        assert_eq!(list(&server).await.unwrap_err().cause().kind, CauseKind::Protocol);
    }
}
