//! Files as Docker, the kubelet and people write them.

use base64::prelude::BASE64_STANDARD;

use super::*;

fn auth(pair: &str) -> String {
    BASE64_STANDARD.encode(pair)
}

fn config(entries: &[(&str, &str)]) -> DockerConfig {
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, user)| format!("{key:?}:{{\"auth\":{:?}}}", auth(&format!("{user}:p"))))
        .collect();
    DockerConfig::parse(format!("{{\"auths\":{{{}}}}}", entries.join(",")).as_bytes()).unwrap()
}

/// The users that are tried for `image`, in order.
#[track_caller]
fn check(config: &DockerConfig, image: &str, users: &[&str]) {
    let image: portcullis_core::image::Reference = image.parse().unwrap();
    let found: Vec<_> = config
        .matches(image.registry(), image.repository())
        .map(|found| match &*found.credential {
            Credential::Basic { username, .. } => username.clone(),
            _ => "token".to_owned(),
        })
        .collect();
    assert_eq!(found, users, "{image}");
}

#[test]
fn entries_match_as_the_kubelet_matches_them() {
    let config = config(&[
        ("reg.io", "host"),
        ("reg.io/team", "team"),
        ("reg.io/team/app", "app"),
        ("*.reg.io", "sub"),
        ("reg.io:5000", "port"),
        ("https://index.docker.io/v1/", "hub"),
        ("http://old.io/v2/", "old"),
        ("R?G.IO/Upper", "never"),
    ]);
    check(&config, "reg.io/other", &["host"]);
    check(&config, "reg.io/team/app:v1", &["app", "team", "host"]);
    check(&config, "reg.io/team/application", &["team", "host"]);
    check(&config, "reg.io/team-evil/app", &["host"]);
    check(&config, "eu.reg.io/a", &["sub"]);
    check(&config, "a.eu.reg.io/a", &[]);
    check(&config, "evil-reg.io/a", &[]);
    check(&config, "reg.io.evil.example/a", &[]);
    check(&config, "reg.io:5000/team/app", &["port"]);
    check(&config, "reg.io:5001/team/app", &[]);
    check(&config, "nginx", &["hub"]);
    check(&config, "index.docker.io/team/a", &["hub"]);
    check(&config, "old.io/a", &["old"]);
}

#[test]
fn no_more_credentials_are_tried_than_their_bound() {
    let keys: Vec<_> = (0..=MAX_TRIED).map(|n| format!("reg.io{}", "/a".repeat(n))).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), key.as_str())).collect();
    let config = config(&entries);
    let longest = ["a"; MAX_TRIED].join("/");
    assert_eq!(config.matches("reg.io", &longest).count(), MAX_TRIED);
}

#[test]
fn a_file_is_refused_one_entry_past_its_bound() {
    let file = |n: usize| {
        let entries: Vec<_> = (0..n).map(|n| format!("\"r{n}.io\":{{}}")).collect();
        DockerConfig::parse(format!("{{\"auths\":{{{}}}}}", entries.join(",")).as_bytes())
    };
    assert!(file(MAX_ENTRIES).is_ok());
    assert!(file(MAX_ENTRIES + 1).is_err());
}

#[test]
fn an_entry_says_who_asks_in_four_ways() {
    let kind = |entry: &str| {
        let config =
            DockerConfig::parse(format!("{{\"auths\":{{\"a.io\":{entry}}}}}").as_bytes()).unwrap();
        let found = config.matches("a.io", "x").next()?;
        Some(match &*found.credential {
            Credential::Basic { username, password } => {
                format!("{username}:{}", password.expose())
            }
            Credential::Identity { token, .. } => format!("identity {}", token.expose()),
            Credential::Bearer(token) => format!("bearer {}", token.expose()),
        })
    };
    let pair = format!("{{\"auth\":{:?}}}", auth("u:p:q"));
    assert_eq!(kind(&pair).as_deref(), Some("u:p:q"));
    let unpadded = format!("{{\"auth\":{:?}}}", auth("u:pw").trim_end_matches('='));
    assert_eq!(kind(&unpadded).as_deref(), Some("u:pw"));
    let both = format!("{{\"auth\":{:?},\"username\":\"x\",\"password\":\"y\"}}", auth("u:p\0"));
    assert_eq!(kind(&both).as_deref(), Some("u:p"));
    assert_eq!(kind(r#"{"username":"u","password":"p"}"#).as_deref(), Some("u:p"));
    let identity = format!("{{\"auth\":{:?},\"identitytoken\":\"t\"}}", auth("<token>:"));
    assert_eq!(kind(&identity).as_deref(), Some("identity t"));
    let registry = r#"{"identitytoken":"t","registrytoken":"r"}"#;
    assert_eq!(kind(registry).as_deref(), Some("bearer r"));
    assert_eq!(kind("{}"), None);
    assert_eq!(kind(r#"{"auth":"","email":"x@y.z"}"#), None);
}

#[test]
fn the_legacy_form_is_read() {
    let file = format!("{{\"https://a.io\":{{\"auth\":{:?},\"email\":\"x\"}}}}", auth("u:p"));
    check(&DockerConfig::parse(file.as_bytes()).unwrap(), "a.io/x", &["u"]);
}

#[test]
fn what_cannot_be_read_is_refused_and_not_repeated() {
    let entry = |auth: &str| format!("{{\"auths\":{{\"a.io\":{{\"auth\":{auth}}}}}}}");
    for file in [
        "",
        "canary",
        "\"canary\"",
        "[]",
        "{\"auths\":\"canary\"}",
        "{\"auths\":{\"a.io\":\"canary\"}}",
        "{\"auths\":{},\"auths\":{}}",
        "{\"auths\":{\"a.io\":{\"password\":5,\"username\":\"canary\"}}}",
        "{\"credsStore\":5}",
        "{\"credHelpers\":{\"a.io\":5}}",
        &entry("5"),
        &entry("\"%canary%\""),
        &entry(&format!("{:?}", auth("canary"))),
        &entry(&format!("{:?}", auth("u:canary\r\nX-Injected: y"))),
        &entry(&format!("{:?}", BASE64_STANDARD.encode([0xff, b':', 0xff]))),
        "{\"auths\":{\"a.io\":{\"identitytoken\":\"can ary\"}}}",
    ] {
        let why = DockerConfig::parse(file.as_bytes()).err();
        let why = why.unwrap_or_else(|| panic!("it was taken: {file}"));
        assert!(!why.contains("canary"), "{why}");
    }
}

#[test]
fn helpers_are_named_by_host_and_refused_in_a_service() {
    let file =
        br#"{"auths":{"a.io":{}},"credsStore":"desktop","credHelpers":{"b.io":"ecr-login"}}"#;
    let config = DockerConfig::parse(file).unwrap();
    assert!(config.has_helpers());
    assert_eq!(config.helper("b.io"), Some(("ecr-login", "b.io".to_owned())));
    assert_eq!(config.helper("a.io"), Some(("desktop", "a.io".to_owned())));
    let hub = Some(("desktop", "https://index.docker.io/v1/".to_owned()));
    assert_eq!(config.helper("docker.io"), hub);
    assert!(<DockerConfig as Content>::parse(file).is_err_and(|why| why.contains("helpers")));
    let none = DockerConfig::parse(br#"{"auths":{},"credsStore":""}"#).unwrap();
    assert!(!none.has_helpers() && none.helper("a.io").is_none());
}
