//! Who may tell that something changed, as users write it, and as they mistype it.

use super::*;
use crate::hooks::config::{GuardConfig, MAX_SOURCES};
use crate::hooks::dialect::Dialect;
use crate::tls::{Oldest, Served};

fn sources(entries: &str) -> String {
    format!("registryEvents: {{sources: [{entries}]}}")
}

#[test]
fn each_kind_of_source_and_of_proof_is_read() {
    let bearer = "auth: {kind: bearer, secretFile: password}";
    for (kind, dialect) in [
        ("acr", Dialect::Acr),
        ("eventGrid", Dialect::EventGrid),
        ("ecr", Dialect::Ecr),
        ("googlePubsub", Dialect::GooglePubsub),
        ("distribution", Dialect::Distribution),
        ("harbor", Dialect::Harbor),
        ("zot", Dialect::Zot),
        ("quay", Dialect::Quay),
    ] {
        let entry = format!("{{name: a, kind: {kind}, registry: index.docker.io, {bearer}}}");
        let config = load(&sources(&entry)).unwrap();
        let source = &config.hooks.sources["a"];
        assert_eq!(source.dialect, dialect);
        assert_eq!(source.scope.registry.as_deref(), Some("docker.io"));
    }
    let guard = |auth: &str| {
        let config = load(&sources(&format!("{{name: a, kind: acr, auth: {{{auth}}}}}"))).unwrap();
        config.hooks.sources["a"].guard.clone()
    };
    let file = "secretFile: password";
    assert!(matches!(
        guard(&format!("kind: header, header: X-Secret, {file}")),
        GuardConfig::Header { name, .. } if name == "x-secret"
    ));
    assert!(matches!(
        guard(&format!("kind: basic, username: me, {file}")),
        GuardConfig::Basic { username, .. } if username == "me"
    ));
    assert!(matches!(
        guard(&format!("kind: query, parameter: code, {file}")),
        GuardConfig::Query { parameter, .. } if parameter == "code"
    ));
    assert!(matches!(
        guard("kind: google, audience: a, email: e, keysUrl: 'http://127.0.0.1:1/keys'"),
        GuardConfig::Google { audience, email, keys_url: Some(_) } if audience == "a" && email == "e"
    ));
    let config = load("refresh: {askedWithin: 1h}").unwrap();
    assert_eq!(config.refresh.asked_within, Duration::from_hours(1));
}

#[test]
fn a_source_that_cannot_be_used_is_named() {
    let auth = "auth: {kind: bearer, secretFile: password}";
    let refused = |entries: &str, words: &[&str]| refused(&sources(entries), words);
    refused(&format!("{{name: a, kind: other, {auth}}}"), &["line 1", "other"]);
    refused("{name: a, kind: acr}", &["line 1", "auth"]);
    refused("{name: a, kind: acr, auth: {kind: none}}", &["line 1", "none"]);
    for name in ["", "A", "a/b", "a.b", &"x".repeat(64)] {
        refused(&format!("{{name: '{name}', kind: acr, {auth}}}"), &["is no name"]);
    }
    let entry = format!("{{name: a, kind: acr, {auth}}}");
    refused(&format!("{entry}, {entry}"), &["`a`", "there twice"]);
    refused(&format!("{{name: a, kind: zot, {auth}}}"), &["`a` needs a `registry`"]);
    refused(&format!("{{name: a, kind: acr, registry: 'a/b', {auth}}}"), &["a/b"]);
    for repository in ["a:b", "A", "a@b", "/a", "a/"] {
        let entry = format!("{{name: a, kind: acr, {auth}, repositories: ['{repository}']}}");
        refused(&entry, &["source `a`", repository, "no repository"]);
    }
    for auth in [
        "kind: header, header: 'a b', secretFile: password",
        "kind: basic, username: 'a:b', secretFile: password",
        "kind: query, parameter: '', secretFile: password",
        "kind: google, audience: '', email: e",
        "kind: google, audience: a, email: e, keysUrl: x",
    ] {
        refused(&format!("{{name: a, kind: acr, auth: {{{auth}}}}}"), &["source `a`", "`auth`"]);
    }
    let none = "{name: a, kind: acr, auth: {kind: bearer, secretFile: none}}";
    refused(none, &["secret of source `a`", "none"]);
}

#[test]
fn sources_have_a_bound_and_events_come_by_loopback() {
    let many = |count: usize| {
        let entry =
            |n| format!("{{name: a{n}, kind: acr, auth: {{kind: bearer, secretFile: password}}}}");
        sources(&(0..count).map(entry).collect::<Vec<_>>().join(", "))
    };
    assert!(load(&many(MAX_SOURCES)).is_ok());
    refused(&many(MAX_SOURCES + 1), &["more than the 64"]);
    let open = "registryEvents: {listen: '0.0.0.0:7081'}";
    refused(open, &["registryEvents.listen", "loopback", "set `registryEvents.tls`"]);
}

#[test]
fn tls_of_registry_events_is_read_and_wants_both_files() {
    let section = |tls: &str| format!("registryEvents: {{listen: '0.0.0.0:8443', tls: {{{tls}}}}}");
    let config = load(&section("certificateFile: e.crt, keyFile: e.key")).unwrap();
    let tls = config.hooks.tls.unwrap();
    let folder = tls.pair.key.parent().unwrap().to_owned();
    assert_eq!(tls.pair.certificate, folder.join("e.crt"));
    assert_eq!((tls.served, tls.oldest), (Served::Events, Oldest::Tls12));
    let newer = "certificateFile: e.crt, keyFile: e.key, minVersion: '1.3'";
    assert_eq!(load(&section(newer)).unwrap().hooks.tls.unwrap().oldest, Oldest::Tls13);
    refused(&section("certificateFile: e.crt"), &["line 1", "keyFile"]);
    refused(&section("keyFile: e.key"), &["line 1", "certificateFile"]);
    refused(&section("certificateFile: a, keyFile: b, clientCaFile: c"), &["clientCaFile"]);
    assert_eq!(load("registryEvents: {}").unwrap().hooks.tls.map(|tls| tls.served), None);
}
