//! Challenges, tokens and passwords: who is told what.

use futures_util::future::join_all;
use portcullis_core::evidence::CauseKind;
use portcullis_core::image::Digest;
use serde_json::json;
use tokio::net::TcpListener;

use super::faults::assert_untouched;
use super::harness::*;
use crate::registry::auth::MAX_TOKEN_ANSWER;
use crate::registry::*;

const PASSWORD: &str = "correct-horse";
/// `robot:correct-horse`
const BASIC: &str = "Basic cm9ib3Q6Y29ycmVjdC1ob3JzZQ==";

fn credentials() -> Credentials {
    let password = Secret::new(PASSWORD.to_owned());
    Credentials::Basic { username: "robot".to_owned(), password }
}

/// A client with a password for `server`, and `realms` trusted for it.
fn client_with_password(server: &Server, realms: &[&str]) -> Registry {
    let mut config = config(&[server]);
    let host = config.hosts.get_mut(&server.authority).unwrap();
    host.credentials = credentials();
    host.trusted_realm_hosts = realms.iter().map(|realm| (*realm).to_owned()).collect();
    Registry::new(config).unwrap()
}

fn token(value: &str) -> axum::response::Response {
    answer(200, "application/json", json!({"token": value, "expires_in": 300}).to_string())
}

/// A registry with its own token server, which gives a token for each scope.
async fn registry_with_tokens() -> Server {
    serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        if let Some((_, query)) = seen.line.split_once("/token?") {
            return token(&query.replace(['%', '&', '='], "_"));
        }
        match seen.authorization() {
            Some(authorization) if authorization.starts_with("Bearer ") => manifest(),
            _ => challenge(
                401,
                &format!(
                    r#"Bearer realm="http://{host}/token",service="reg",scope="repository:all:*""#
                ),
            ),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_is_for_one_repository_and_is_kept() {
    let server = registry_with_tokens().await;
    let registry = client_with_password(&server, &[]);
    for image in ["team/app:v1", "team/app:v2", "team/other:v1"] {
        registry.resolve(&server.image(image), soon()).await.unwrap();
    }
    let seen: Vec<_> = server
        .log()
        .await
        .iter()
        .map(|seen| (seen.line.clone(), seen.authorization().map(ToOwned::to_owned)))
        .collect();
    let bearer = |repository| {
        Some(format!("Bearer service_reg_scope_repository_3Ateam_2F{repository}_3Apull"))
    };
    let ask = |repository| {
        format!("GET /token?service=reg&scope=repository%3Ateam%2F{repository}%3Apull")
    };
    let basic = || Some(BASIC.to_owned());
    let get = |rest: &str| format!("GET /v2/team/{rest}");
    assert_eq!(
        seen,
        [
            (get("app/manifests/v1"), None),
            (ask("app"), basic()),
            (get("app/manifests/v1"), bearer("app")),
            (get("app/manifests/v2"), bearer("app")),
            (get("other/manifests/v1"), None),
            (ask("other"), basic()),
            (get("other/manifests/v1"), bearer("other")),
        ]
    );
}

#[tokio::test]
async fn all_who_wait_for_a_token_wait_for_one() {
    let server = registry_with_tokens().await;
    let registry = client(&[&server]);
    let image = server.image("team/app:v1");
    let answers = join_all((0..8).map(|_| registry.resolve(&image, soon()))).await;
    assert!(answers.iter().all(Result::is_ok));
    let lines = server.lines().await;
    assert_eq!(lines.iter().filter(|line| line.contains("/token")).count(), 1);
}

#[tokio::test]
async fn tenants_share_no_token() {
    let server = registry_with_tokens().await;
    let image = server.image("team/app:v1");
    client_with_password(&server, &[]).resolve(&image, soon()).await.unwrap();
    client(&[&server]).resolve(&image, soon()).await.unwrap();
    let log = server.log().await;
    let asked: Vec<_> = log.iter().filter(|seen| seen.line.contains("/token")).collect();
    assert_eq!(asked[0].authorization(), Some(BASIC));
    assert_eq!(asked[1].authorization(), None);
}

#[tokio::test]
async fn a_registry_that_is_never_content_denies() {
    for status in [401, 403] {
        let server = serve(move |seen| {
            let host = seen.headers["host"].to_str().unwrap();
            if seen.line.contains("/token") {
                return token("t");
            }
            challenge(status, &format!(r#"Bearer realm="http://{host}/token""#))
        })
        .await;
        let registry = client(&[&server]);
        for _ in 0..2 {
            let error = registry.resolve(&server.image("a:v1"), soon()).await.unwrap_err();
            assert_eq!(error.cause().kind, CauseKind::Denied);
        }
        // Each time: asked, given a token, asked once more; the second time the old token first.
        assert_eq!(server.count().await, 6);
        let error = registry.referrers(&server.image("a"), Digest::of(b"x"), soon()).await;
        assert_eq!(error.unwrap_err().cause().kind, CauseKind::Denied);
    }
    for response in [|| error(403, "DENIED"), || challenge(401, "Negotiate")] {
        let server = serve(move |_| response()).await;
        let error = client(&[&server]).resolve(&server.image("a:v1"), soon()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }));
        assert_eq!(server.count().await, 1);
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_renewed_also_after_403() {
    for with_challenge in [true, false] {
        let server = serve(move |seen| {
            let host = seen.headers["host"].to_str().unwrap();
            let please = format!(r#"Bearer realm="http://{host}/token""#);
            match (seen.line.as_str(), seen.authorization()) {
                (line, _) if line.contains("/token") => token(&format!("t{}", seen.nth)),
                (_, None) => challenge(401, &please),
                // The second question with the first token, which is no longer good.
                (line, Some("Bearer t1")) if line.ends_with("v2") => match with_challenge {
                    true => challenge(403, &please),
                    false => error(403, "DENIED"),
                },
                _ => manifest(),
            }
        })
        .await;
        let registry = client(&[&server]);
        registry.resolve(&server.image("a:v1"), soon()).await.unwrap();
        registry.resolve(&server.image("a:v2"), soon()).await.unwrap();
        let before = server.count().await;
        registry.resolve(&server.image("a:v2"), soon()).await.unwrap();
        // The new token was kept.
        assert_eq!(server.count().await, before + 1);
    }
}

#[tokio::test]
async fn a_basic_challenge_is_answered_with_the_password_if_there_is_one() {
    let server = serve(|seen| match seen.authorization() {
        Some(BASIC) => manifest(),
        _ => challenge(401, r#"Basic realm="registry""#),
    })
    .await;
    let registry = client_with_password(&server, &[]);
    registry.resolve(&server.image("a:v1"), soon()).await.unwrap();
    registry.resolve(&server.image("a:v2"), soon()).await.unwrap();
    assert_eq!(server.count().await, 3);
    let error = client(&[&server]).resolve(&server.image("a:v1"), soon()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }));
}

#[tokio::test]
async fn t036_nothing_is_sent_to_a_token_server_that_is_not_trusted() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    let port = address.port();
    for realm in [
        format!("http://{address}/token"),
        format!("http://localhost:{port}/token"),
        format!("http://0x7f.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://auth.docker.io/token".to_owned(),
        "https://evil.example/token".to_owned(),
        "/token".to_owned(),
        "file:///etc/passwd".to_owned(),
        "OWN@evil.example/token".to_owned(),
        "OWN.evil.example/token".to_owned(),
        "http://robot@SELF/token".to_owned(),
    ] {
        let text = realm.clone();
        let server = serve(move |seen| {
            let host = seen.headers["host"].to_str().unwrap();
            let realm = realm.replace("OWN", &format!("http://{host}")).replace("SELF", host);
            challenge(401, &format!(r#"Bearer realm="{realm}""#))
        })
        .await;
        let registry = client_with_password(&server, &["auth.example"]);
        let result = registry.resolve(&server.image("a:v1"), soon()).await;
        let told = format!("{result:?}");
        assert!(matches!(fault(result), Fault::Realm(_)), "{text}");
        assert!(!told.contains(PASSWORD));
        assert_eq!(server.count().await, 1);
    }
    assert_untouched(&elsewhere).await;
}

#[tokio::test]
async fn t037_a_trusted_token_server_is_told_the_password() {
    let realm = serve(|_| token("good")).await;
    let authority = realm.authority.clone();
    let server = serve(move |seen| match seen.authorization() {
        Some("Bearer good") => manifest(),
        _ => challenge(401, &format!(r#"Bearer realm="http://{authority}/token?account=x""#)),
    })
    .await;
    let registry = client_with_password(&server, &[&realm.authority]);
    registry.resolve(&server.image("a:v1"), soon()).await.unwrap();
    let log = realm.log().await;
    assert_eq!(log[0].line, "GET /token?account=x&scope=repository%3Aa%3Apull");
    assert_eq!(log[0].authorization(), Some(BASIC));
}

#[tokio::test]
async fn what_a_token_server_says_wrong_is_an_error_and_no_answer() {
    let check = async |given: fn() -> axum::response::Response, kind| {
        let server = serve(move |seen| {
            let host = seen.headers["host"].to_str().unwrap();
            if seen.line.contains("/token") {
                return given();
            }
            match seen.authorization() {
                Some(_) => manifest(),
                None => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
            }
        })
        .await;
        let registry = client_with_password(&server, &[]);
        let error = registry.resolve(&server.image("a:v1"), soon()).await.unwrap_err();
        assert_eq!(error.cause().kind, kind, "{error:?}");
        assert!(!format!("{error:?} {}", error.cause()).contains(PASSWORD));
    };
    check(|| answer(200, "text/html", "<html></html>"), CauseKind::Protocol).await;
    check(|| token("a\r\nX-Injected: b"), CauseKind::Protocol).await;
    check(|| token(""), CauseKind::Protocol).await;
    check(|| token(&"x".repeat(MAX_TOKEN_ANSWER)), CauseKind::Protocol).await;
    check(|| error(401, "UNAUTHORIZED"), CauseKind::Denied).await;
    check(|| error(403, "DENIED"), CauseKind::Denied).await;
    check(|| error(404, "NAME_UNKNOWN"), CauseKind::Protocol).await;
    check(|| error(429, "TOOMANYREQUESTS"), CauseKind::Throttled).await;
    check(|| error(500, "UNKNOWN"), CauseKind::Unreachable).await;
    check(|| redirect(302, "/v2/"), CauseKind::Protocol).await;
}
