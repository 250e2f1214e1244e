//! Files of credentials, patterns of hosts, and several credentials for one image.

use std::fs;
use std::path::PathBuf;

use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis_core::evidence::CauseKind;
use serde_json::{Value, json};

use super::harness::*;
use crate::registry::*;

/// A registry, a file for its credentials, and a client that uses it.
struct Desk {
    server: Server,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(server: Server, content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), content).unwrap();
        Self { server, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    fn write(&self, content: &str) {
        fs::write(self.file(), content).unwrap();
    }

    fn client(&self, credentials: Credentials) -> Registry {
        let mut config = config(&[&self.server]);
        config.hosts.get_mut(&self.server.authority).unwrap().credentials = credentials;
        Registry::new(config).unwrap()
    }

    fn password(&self) -> Credentials {
        Credentials::PasswordFile { username: "robot".to_owned(), path: self.file() }
    }

    fn docker(&self, entries: &[(&str, &str)]) -> String {
        let entries = entries.iter().map(|(path, user)| {
            let auth = BASE64_STANDARD.encode(format!("{user}:p"));
            (format!("{}{path}", self.server.authority), json!({"auth": auth}))
        });
        json!({"auths": entries.collect::<serde_json::Map<String, Value>>()}).to_string()
    }
}

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

/// Lets in who sends the name and the password that end the path's tag: `:u-p`.
fn lets_in(seen: &Seen) -> Response {
    let expected = seen.line.rsplit('/').next().unwrap().replace('-', ":");
    match seen.authorization() {
        Some(given) if given == basic(&expected) => manifest(),
        _ => challenge(401, r#"Basic realm="registry""#),
    }
}

#[tokio::test]
async fn a_password_that_changes_in_its_file_is_used_without_a_restart() {
    let desk = Desk::new(serve(lets_in).await, "first\n");
    let registry = desk.client(desk.password());
    registry.resolve(&desk.server.image("a:robot-first"), soon()).await.unwrap();
    desk.write("second\n");
    // The first is sent once more, refused, and given up.
    registry.resolve(&desk.server.image("a:robot-second"), soon()).await.unwrap();
    registry.resolve(&desk.server.image("a:robot-second"), soon()).await.unwrap();
    assert_eq!(desk.server.count().await, 2 + 2 + 1);
    // What cannot be used leaves the last one in use.
    desk.write("");
    registry.resolve(&desk.server.image("b:robot-second"), soon()).await.unwrap();
    let error = registry.resolve(&desk.server.image("b:robot-third"), soon()).await.unwrap_err();
    assert_eq!(error.cause().kind, CauseKind::Denied);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_and_nothing_is_sent_as_nobody() {
    let desk = Desk::new(serve(lets_in).await, "first");
    let registry = desk.client(desk.password());
    fs::remove_file(desk.file()).unwrap();
    let error = registry.resolve(&desk.server.image("a:robot-first"), soon()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Credential { .. }));
    assert!(error.cause().detail.contains(&desk.file().display().to_string()));
    assert_eq!(desk.server.count().await, 1);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_the_form_of_oauth2() {
    let server = serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match (seen.line.as_str(), seen.authorization()) {
            ("POST /token", None) => match &*seen.body {
                b"grant_type=refresh_token&service=reg+1&client_id=portcullis&\
                  scope=repository%3Aa%3Apull&refresh_token=id%2Btoken" => {
                    let answer = json!({"access_token": "good", "expires_in": 300});
                    answer_json(200, &answer)
                }
                _ => answer_json(400, &json!({"error": "invalid_grant"})),
            },
            (_, Some("Bearer good")) => manifest(),
            _ => challenge(401, &format!(r#"Bearer realm="http://{host}/token",service="reg 1""#)),
        }
    })
    .await;
    let desk = Desk::new(server, "id+token");
    let registry = desk.client(Credentials::IdentityToken(SecretSource::File(desk.file())));
    registry.resolve(&desk.server.image("a:v1"), soon()).await.unwrap();
    let log = desk.server.log().await;
    assert_eq!(log[1].headers["content-type"], "application/x-www-form-urlencoded");

    let bad = desk
        .client(Credentials::IdentityToken(SecretSource::Given(Secret::new("canary".to_owned()))));
    let error = bad.resolve(&desk.server.image("a:v1"), soon()).await.unwrap_err();
    assert_eq!(error.cause().kind, CauseKind::Denied);
    assert!(!format!("{error:?}").contains("canary"));
}

fn answer_json(status: u16, body: &Value) -> Response {
    answer(status, "application/json", body.to_string())
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let server = serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match seen.authorization() {
            Some("Bearer own") => manifest(),
            _ => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
        }
    })
    .await;
    let desk = Desk::new(server, "own");
    let registry = desk.client(Credentials::RegistryToken(SecretSource::File(desk.file())));
    registry.resolve(&desk.server.image("a:v1"), soon()).await.unwrap();
    assert_eq!(desk.server.count().await, 2);
}

#[tokio::test]
async fn several_credentials_for_one_image_are_tried_in_order() {
    let desk = Desk::new(serve(lets_in).await, "");
    desk.write(&desk.docker(&[("", "all"), ("/team", "team"), ("/team/app", "app")]));
    let registry = desk.client(Credentials::DockerConfig(desk.file()));
    let image = desk.server.image("team/app:all-p");
    registry.resolve(&image, soon()).await.unwrap();
    let tried: Vec<_> = desk
        .server
        .log()
        .await
        .iter()
        .filter_map(|s| s.authorization().map(str::to_owned))
        .collect();
    assert_eq!(tried, [basic("app:p"), basic("team:p"), basic("all:p")]);
    // The one that was let in is asked as first from then on.
    let before = desk.server.count().await;
    registry.resolve(&image, soon()).await.unwrap();
    assert_eq!(desk.server.count().await, before + 1);
    // Where none is let in, each has been tried.
    let error = registry.resolve(&desk.server.image("other/app:x-y"), soon()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }));
}

#[tokio::test]
async fn t051_what_a_docker_file_lets_see_is_known_by_the_entries_that_match() {
    let desk = Desk::new(serve(lets_in).await, "");
    desk.write(&desk.docker(&[("/team", "team"), ("/other", "other")]));
    let registry = desk.client(Credentials::DockerConfig(desk.file()));
    let scope = |image: &str| registry.identity(&desk.server.image(image)).to_string();
    let (team, other, nobody) = (scope("team/a"), scope("other/a"), scope("none/a"));
    assert!(team.contains("basic:team") && other.contains("basic:other"), "{team} {other}");
    assert_eq!(team, scope("team/b"));
    assert_eq!(nobody, "anonymous");
    // Another user in the file is another scope, from the next question to the registry on.
    desk.write(&desk.docker(&[("/team", "stranger")]));
    let result = registry.resolve(&desk.server.image("team/a:stranger-p"), soon()).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(scope("team/a").contains("basic:stranger"));
}

#[tokio::test]
async fn t051_a_token_is_kept_for_one_repository_and_one_credential() {
    let server = serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match (seen.line.split_once("/token?"), seen.authorization()) {
            (Some((_, query)), Some(given)) => {
                let mut token = format!("{query}.{given}");
                token.retain(|c| c.is_ascii_alphanumeric());
                answer_json(200, &json!({"token": token}))
            }
            (None, Some(given)) if given.starts_with("Bearer ") => manifest(),
            _ => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
        }
    })
    .await;
    let desk = Desk::new(server, "");
    desk.write(&desk.docker(&[("/a", "one")]));
    let registry = desk.client(Credentials::DockerConfig(desk.file()));
    for (repository, content) in
        [("a/x", None), ("a/y", None), ("a/x", Some(desk.docker(&[("/a", "two")])))]
    {
        if let Some(content) = content {
            desk.write(&content);
        }
        registry.resolve(&desk.server.image(repository), soon()).await.unwrap();
    }
    let log = desk.server.log().await;
    let tokens: std::collections::BTreeSet<_> = log
        .iter()
        .filter_map(|seen| seen.authorization().filter(|a| a.starts_with("Bearer ")))
        .collect();
    assert_eq!(tokens.len(), 3, "{tokens:?}");
}

#[test]
fn a_docker_file_that_cannot_be_used_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |content: &str| {
        let path = folder.path().join("file");
        fs::write(&path, content).unwrap();
        let credentials = Credentials::DockerConfig(path);
        let hosts = [("a.io".to_owned(), HostConfig { credentials, ..HostConfig::default() })];
        Registry::new(RegistryConfig { hosts: hosts.into(), ..RegistryConfig::default() })
            .err()
            .map(|error| crate::chain::chain(&error))
    };
    assert!(refused(r#"{"auths":{}}"#).is_none());
    let error = refused(r#"{"auths":{},"credsStore":"desktop"}"#).unwrap();
    assert!(error.contains("a.io") && error.contains("command line"), "{error}");
    assert!(refused("canary").is_some_and(|error| !error.contains("canary")));
}

/// CASES T040 and T041: whoever may name an image cannot have a password sent where he likes.
#[test]
fn t041_a_host_like_a_pattern_is_told_nothing() {
    let password = Secret::new("canary".to_owned());
    let who = Credentials::Basic { username: "robot".to_owned(), password };
    let patterns = [(HostPattern::parse("*.azurecr.io").unwrap(), who)];
    for unlisted in [Unlisted::Public, Unlisted::Refused] {
        let patterns = patterns.clone().into();
        let config = RegistryConfig { patterns, unlisted, ..RegistryConfig::default() };
        let registry = Registry::new(config).unwrap();
        let scope = |host: &str| {
            let image = format!("{host}/a:v1").parse().ok()?;
            Some(registry.identity(&image).to_string())
        };
        for host in ["x.azurecr.io", "X.AzureCR.io", "x.azurecr.io:443"] {
            assert_eq!(scope(host).as_deref(), Some("basic:robot"), "{host}");
        }
        for host in [
            "evil.example",
            "x.azurecr.io.attacker.com",
            "azurecr.io.evil",
            "evil-azurecr.io",
            "x.evil-azurecr.io",
            "a.b.azurecr.io",
            "azurecr.io",
            "x.azurecr.io:444",
            "x.azurecr.io:80",
            "x.xn--azurecr-9ib.io",
            "x.azurecr.us",
        ] {
            assert_eq!(scope(host).as_deref(), Some("anonymous"), "{host}");
        }
        // No reference has a host that ends in a dot.
        assert_eq!(scope("x.azurecr.io."), None);
        let found = registry.exchange.hosts.find("x.azurecr.io").unwrap();
        assert_eq!(found.base.as_str(), "https://x.azurecr.io/");
        assert_eq!(
            registry.exchange.hosts.find("x.azurecr.us").is_ok(),
            unlisted == Unlisted::Public
        );
        // Listed for credentials it may be, but not for an address inside.
        let inside = "https://10.0.0.5/v2/".parse().unwrap();
        assert!(registry.exchange.hosts.client_for(&found, &found.base, &inside).is_err());
    }
}
