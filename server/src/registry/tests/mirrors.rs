//! Mirrors: what they are asked for, what they are told, and what is not theirs to say.

use portcullis_core::evidence::CauseKind;
use portcullis_core::image::Digest;

use super::harness::*;
use crate::registry::*;

const PASSWORD: &str = "correct-horse";

fn digest() -> Digest {
    Digest::of(MANIFEST.as_bytes())
}

/// A client of `origin` with a password, and with these mirrors that it has none for.
fn client_of(origin: &Server, mirrors: &[&Server]) -> Registry {
    let mut config = config(&[origin]);
    let mirror = |server: &&Server| MirrorConfig {
        endpoint: server.authority.clone(),
        scheme: Scheme::Http,
        credentials: Credentials::Anonymous,
        trusted_realm_hosts: Vec::new(),
        ca: Vec::new(),
    };
    let host = config.hosts.get_mut(&origin.authority).unwrap();
    host.mirrors = mirrors.iter().map(mirror).collect();
    let password = Secret::new(PASSWORD.to_owned());
    host.credentials = Credentials::Basic { username: "robot".to_owned(), password };
    Registry::new(config).unwrap()
}

/// A registry that has `MANIFEST`, the blob `blob` and a list with one entry.
async fn full(list: &'static str) -> Server {
    serve(move |seen| match seen.line.as_str() {
        line if line.contains("/blobs/") => answer(200, "application/octet-stream", "blob"),
        line if line.contains("/referrers/") => match list {
            "" => index(&[]),
            list => index(&[entry(list)]),
        },
        _ => manifest(),
    })
    .await
}

async fn all(registry: &Registry, origin: &Server) {
    let image = origin.image("team/app:v1");
    registry.resolve(&image, soon()).await.unwrap();
    registry.resolve(&image.at(digest()), soon()).await.unwrap();
    registry.blob(&image, &descriptor(b"blob", 4), 9, soon()).await.unwrap();
}

#[tokio::test]
async fn what_a_mirror_has_is_not_asked_of_the_registry() {
    let (origin, mirror) = (full("x").await, full("y").await);
    all(&client_of(&origin, &[&mirror]), &origin).await;
    assert_eq!(origin.count().await, 0);
    let lines = mirror.lines().await;
    let registry = origin.authority.replace(':', "%3A");
    assert_eq!(lines[0], format!("GET /v2/team/app/manifests/v1?ns={registry}"));
    assert_eq!(lines.len(), 3);
}

#[tokio::test]
async fn what_a_mirror_does_not_have_is_asked_of_the_next_and_then_of_the_registry() {
    let origin = full("x").await;
    let absent = serve(|_| unknown()).await;
    let lying = serve(|_| answer(200, OCI_MANIFEST, r#"{"schemaVersion":2}"#)).await;
    let registry = client_of(&origin, &[&absent, &lying]);
    let fetched = registry.manifest(&origin.image("a"), digest(), soon()).await.unwrap();
    assert_eq!(fetched.bytes, MANIFEST);
    let counts = (absent.count().await, lying.count().await, origin.count().await);
    assert_eq!(counts, (1, 1, 1));

    // One that fails rests, and its failure is nobody's answer.
    let failing = serve(|_| error(500, "UNKNOWN")).await;
    let registry = client_of(&origin, &[&failing]);
    for _ in 0..3 {
        registry.resolve(&origin.image("a:v1"), soon()).await.unwrap();
    }
    assert_eq!(failing.count().await, crate::registry::exchange::MAX_TRIES);
}

#[tokio::test]
async fn a_mirror_is_not_told_who_asks_the_registry() {
    let origin = serve(|seen| match seen.authorization() {
        Some(_) => manifest(),
        None => challenge(401, r#"Basic realm="registry""#),
    })
    .await;
    let mirror = serve(|_| challenge(401, r#"Basic realm="mirror""#)).await;
    let registry = client_of(&origin, &[&mirror]);
    for tag in ["a:v1", "a:v2"] {
        registry.resolve(&origin.image(tag), soon()).await.unwrap();
    }
    assert!(origin.log().await.iter().any(|seen| seen.authorization().is_some()));
    let log = mirror.log().await;
    assert_eq!(log.len(), 2);
    assert!(log.iter().all(|seen| seen.authorization().is_none()));
}

async fn listed(registry: &Registry, origin: &Server) -> Result<Vec<Digest>, RegistryError> {
    let attached = registry.referrers(&origin.image("a"), digest(), soon()).await?;
    Ok(attached.into_iter().map(|descriptor| descriptor.digest).collect())
}

#[tokio::test]
async fn what_is_attached_is_the_registrys_to_say_while_it_can() {
    let newest = Digest::of(b"newest");
    let origin = full("newest").await;
    for mirror in [full("").await, full("old").await] {
        assert_eq!(listed(&client_of(&origin, &[&mirror]), &origin).await.unwrap(), [newest]);
        assert_eq!(mirror.count().await, 0);
    }
    // Nothing is nothing, whatever a mirror says; and a denial is a denial.
    let mirror = full("old").await;
    let bare = full("").await;
    assert_eq!(listed(&client_of(&bare, &[&mirror]), &bare).await.unwrap(), []);
    let denying = serve(|_| error(403, "DENIED")).await;
    let denied = listed(&client_of(&denying, &[&mirror]), &denying).await.unwrap_err();
    assert_eq!(denied.cause().kind, CauseKind::Denied);
    assert_eq!(mirror.count().await, 0);
}

#[tokio::test]
async fn no_mirror_says_what_is_attached_when_the_registry_does_not() {
    let mirror = full("old").await;
    for (status, kind) in [(500, CauseKind::Unreachable), (429, CauseKind::Throttled)] {
        let origin = serve(move |_| error(status, "UNKNOWN")).await;
        let error = listed(&client_of(&origin, &[&mirror]), &origin).await.unwrap_err();
        assert_eq!(error.cause().kind, kind);
    }
    // Nor does its tag, whether it is an index of referrers or cosign's of attestations.
    let origin = serve(|_| unknown()).await;
    let registry = client_of(&origin, &[&mirror]);
    assert_eq!(listed(&registry, &origin).await.unwrap(), []);
    let tag = format!("{}.att", digest().fallback_tag());
    let error = registry.attached_tag(&origin.image("a"), &tag, soon()).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(mirror.count().await, 0);
}

#[tokio::test]
async fn a_mirror_that_fails_for_one_repository_is_asked_for_another() {
    let origin = full("x").await;
    let mirror = serve(|seen| match seen.line.contains("/evil/") {
        true => error(502, "UNKNOWN"),
        false => manifest(),
    })
    .await;
    let registry = client_of(&origin, &[&mirror]);
    for image in ["evil/app:v1", "good/app:v1"] {
        registry.resolve(&origin.image(image), soon()).await.unwrap();
    }
    assert_eq!(origin.count().await, 1);
    assert!(mirror.lines().await.iter().any(|line| line.contains("/good/")));
}

#[tokio::test]
async fn what_a_mirror_is_too_slow_for_is_asked_of_the_registry_and_of_it_no_more() {
    let origin = full("x").await;
    let silent = serve_raw(b"", b"").await;
    let registry = client_of(&origin, &[&silent]);
    for image in ["slow:v1", "slow:v1"] {
        let deadline = Instant::now() + std::time::Duration::from_secs(2);
        registry.resolve(&origin.image(image), deadline).await.unwrap();
    }
    assert_eq!((silent.count().await, origin.count().await), (1, 2));
}
