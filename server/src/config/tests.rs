//! Configuration files as users write them, and as they mistype them.

mod clouds;
mod hooks;
mod limits;
mod tls;

use std::fs;

use portcullis_core::image::{MAX_NODES, Nodes};

use super::*;
use crate::clusters::MAX_CLUSTERS;
use crate::registry::{Credentials, HostPattern, Scheme, SecretSource};

fn load(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.yaml");
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("password"), "secret\n").unwrap();
    Config::from_file(&path)
}

/// The whole chain of the error holds each of `words`.
#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let error = load(text).err().expect("it was taken");
    let chain = crate::chain::chain(&error);
    for word in words {
        assert!(chain.contains(word), "{chain}");
    }
}

#[test]
fn no_error_of_an_address_says_the_password_in_it() {
    let secret = "robot:s3cr@t@host.example";
    for text in [
        format!("registries: [{{host: '{secret}'}}]"),
        format!("registries: [{{host: '*.{secret}'}}]"),
        format!("proxy: {{url: 'http://{secret}'}}"),
        format!("proxy: {{url: 'http://{secret}', username: robot}}"),
        format!("proxy: 'http://{secret}'"),
    ] {
        let error = load(&text).err().expect("it was taken");
        let chain = crate::chain::chain(&error);
        assert!(!chain.contains("s3cr"), "{chain}");
    }
}

#[test]
fn clusters_have_platforms_within_their_bounds() {
    let config = load(
        "platforms: [linux/amd64]\nclusters:\n- {name: edge, platforms: [linux/arm64, linux/arm/v7]}\n",
    )
    .unwrap();
    let nodes = |names: &[&str]| Nodes::new(names.iter().map(|name| name.parse().unwrap()));
    assert_eq!(config.clusters.default, nodes(&["linux/amd64"]));
    assert_eq!(config.clusters.named["edge"], nodes(&["linux/arm64", "linux/arm/v7"]));
    let many = |n: usize| {
        let all: Vec<_> = (0..n).map(|n| format!("linux/a{n}")).collect();
        format!("platforms: [{}]\n", all.join(", "))
    };
    assert!(load(&many(MAX_NODES)).is_ok());
    refused(&many(MAX_NODES + 1), &["`platforms` is out of range", "at most 16"]);
    refused("clusters: [{name: a, platforms: []}]\n", &["clusters.platforms", "at least one"]);
    let twice = "clusters: [{name: a, platforms: [l/a]}, {name: a, platforms: [l/b]}]\n";
    refused(twice, &["`clusters` names `a` twice"]);
    refused("platforms: [linux]\n", &["line 1"]);
    let clusters = |n: usize| {
        let entry = |n| format!("- {{name: c{n}, platforms: [linux/amd64]}}\n");
        format!("clusters:\n{}", (0..n).map(entry).collect::<String>())
    };
    assert!(load(&clusters(MAX_CLUSTERS)).is_ok());
    refused(&clusters(MAX_CLUSTERS + 1), &["`clusters` is out of range"]);
}

#[test]
fn everything_can_be_left_out() {
    let config = load("{}").unwrap();
    assert_eq!(config.listen, Config::default().listen);
    assert!(config.rules.rules.is_empty());
}

#[test]
fn all_fields_are_read() {
    let config = load(
        "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\nrules: [rules]\n\
         trust: {policy: t.json, store: s, cosign: [{name: n, scopes: ['*'], key: k.pub},\n\
         {name: i, scopes: ['*'], identity: a@b.c, issuer: i, trustRoot: r.json, requireLog: false}],\
         \x20revocation: {hosts: [pki:81], ocspTimeout: 6s, crlTimeout: 7s}}\n\
         registries:\n- {host: index.docker.io, username: me, passwordFile: password}\n\
         - {host: 'localhost:5000', scheme: http, requestsPerSecond: 11, burst: 12,\
         \x20maxConcurrentRequests: 13, mirrors: [{endpoint: a.example}, {endpoint: 'b.example:5000',\
         \x20scheme: http, username: me, passwordFile: password}]}\n\
         proxy: {url: 'http://proxy.example:3128', username: me, passwordFile: password,\
         \x20noProxy: [.example]}\n\
         unlistedRegistries: refused\n\
         cache: {maxBytes: 1, contentBytes: 2, ttl: 2m, negativeTtl: 3s, tagTtl: 4ms, searchTimeout: 5s}\n\
         budget: 6s\nmaxInFlight: 7\nevents: e.jsonl\nlog: {format: json, filter: debug, maxPerSecond: 8}\n\
         traces: {otlpEndpoint: 'http://localhost:4317', sampleRatio: 0.5, propagateToRegistries: true}\n",
    )
    .unwrap();
    assert_eq!(config.listen.port(), 1);
    assert!(matches!(
        config.registry.hosts.get("docker.io").unwrap().credentials,
        Credentials::PasswordFile { .. }
    ));
    let local = config.registry.hosts.get("localhost:5000").unwrap();
    assert_eq!(local.scheme, Scheme::Http);
    let crate::registry::Budget { requests_per_second, burst, concurrent } = local.budget;
    assert_eq!([requests_per_second, burst, concurrent].map(|n| n.get()), [11, 12, 13]);
    assert_eq!(config.registry.content_bytes, 2);
    let mirrors: Vec<_> = local.mirrors.iter().map(|m| (&*m.endpoint, m.scheme)).collect();
    assert_eq!(mirrors, [("a.example", Scheme::Https), ("b.example:5000", Scheme::Http)]);
    assert!(matches!(local.mirrors[1].credentials, Credentials::PasswordFile { .. }));
    assert!(config.registry.proxy.is_some());
    assert_eq!(config.registry.unlisted, Unlisted::Refused);
    assert_eq!(config.memory.ttl, Duration::from_secs(120));
    assert_eq!(config.resolve.tag_ttl, Duration::from_millis(4));
    assert_eq!(config.budget, Duration::from_secs(6));
    assert!(config.rules.rules.first().unwrap().is_absolute());
    let cosign = config.rules.cosign.first().unwrap();
    assert_eq!((cosign.name.as_str(), cosign.scopes.as_slice()), ("n", &["*".to_owned()][..]));
    assert!(cosign.key.as_ref().unwrap().is_absolute());
    let certified = config.rules.cosign.get(1).unwrap();
    assert!(certified.trust_root.as_ref().unwrap().is_absolute());
    assert_eq!((certified.require_log, certified.require_sct), (Some(false), None));
    let revocation = crate::revocation::RevocationConfig {
        hosts: ["pki:81".to_owned()].into(),
        ocsp_timeout: Duration::from_secs(6),
        crl_timeout: Duration::from_secs(7),
    };
    assert_eq!(config.revocation, revocation);
    assert_eq!(config.telemetry.max_per_second, 8);
    assert!(config.telemetry.propagate_to_registries);
}

#[test]
fn faults_name_the_thing_the_place_and_the_cure() {
    refused("listen: 0.0.0.0:7443", &["0.0.0.0:7443", "127.0.0.1"]);
    refused("rules: []\nbudgets: 1s", &["budgets", "line 2"]);
    refused("registries: [{host: a.io, burst: 0}]", &["line 1"]);
    refused("proxy: {url: 'http://a:b@proxy.example'}", &["`proxy`", "fields of their own"]);
    refused("proxy: {url: 'http://proxy.example', username: me}", &["passwordFile"]);
    refused("registryCaFile: password", &["registryCaFile", "no certificate"]);
    refused("budget: 1 parsec", &["1 parsec", "expected", "line 1"]);
    refused("budget: 0s", &["0s"]);
    refused("budget: 99999999999d", &["99999999999d"]);
    refused("maxInFlight: 0", &["maxInFlight", "at least 1"]);
    refused("registries: [{host: team}]", &["team", "registry host"]);
    refused("registries: [{host: 'reg.io/x'}]", &["reg.io/x"]);
    refused("registries: [{host: a.io}, {host: a.io}]", &["a.io", "twice"]);
    refused("registries: [{host: a.io, username: me}]", &["a.io", "passwordFile", "both"]);
    refused(
        "registries: [{host: a.io, username: me, passwordFile: password, \
         credentials: {kind: anonymous}}]",
        &["a.io", "credentials", "keep one"],
    );
    refused(
        "registries: [{host: a.io, caFile: none.pem}]",
        &["none.pem", "failed to read", "`caFile` of registry `a.io`"],
    );
    refused(
        "registries: [{host: a.io, username: me, passwordFile: none}]",
        &["none", "failed to read", "`passwordFile` of registry `a.io`"],
    );
    refused("registryCaFile: none.pem", &["none.pem", "`registryCaFile`"]);
    refused("rules: x.yaml", &["`rules` is a list", "`rules: [x.yaml]`", "line 1"]);
    refused("listen: localhost:7443", &["`listen`", "localhost:7443", "127.0.0.1:7443"]);
    refused("traces: {sampleRatio: 2}", &["sampleRatio", "0.0 to 1.0"]);
    refused("log: {format: xml}", &["xml"]);
    refused("trust: {revocation: {host: a}}", &["host", "line 1"]);
    refused("trust: {cosign: [{name: n, scopes: ['*'], keys: a}]}", &["keys", "line 1"]);
    refused("marks: {maxEntries: 0}", &["marks.maxEntries", "at least 1"]);
    refused("marks: {forget: ['reg.io/a:v1']}", &["reg.io/a:v1", "no digest", "line 1"]);
    refused("profiles: []", &["profiles", "empty", "line 1"]);
    refused("profiles:\n- {name: a, artifactTypes: [b], singers: []}", &["singers", "line 2"]);
    refused("profiles:\n- {name: a, artifactTypes: [b], formats: [svg]}", &["svg", "line 2"]);
    refused("profiles:\n- {name: a, artifactTypes: [b], signers: [{}]}", &["anybody", "line 2"]);
    refused("[", &["not a configuration"]);
}

#[test]
fn a_file_is_refused_one_byte_past_its_bound() {
    let padded = |n: usize| format!("{{}}{}", " ".repeat(n - 2));
    assert!(load(&padded(MAX_CONFIG)).is_ok());
    refused(&padded(MAX_CONFIG + 1), &["more than"]);
}

#[test]
fn a_password_file_is_refused_one_byte_past_its_bound() {
    let with = |length: usize| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        fs::write(folder.path().join("password"), vec![b'x'; length]).unwrap();
        let text = "registries: [{host: a.io, username: me, passwordFile: password}]";
        fs::write(&path, text).unwrap();
        Config::from_file(&path)
    };
    assert!(with(MAX_CONFIG).is_ok());
    let Err(ConfigError::File { field, source }) = with(MAX_CONFIG + 1) else {
        panic!("it is taken, or another error");
    };
    assert_eq!(field, "`passwordFile` of registry `a.io`");
    assert!(matches!(*source, ConfigError::TooLarge { .. }));
}

#[test]
fn every_kind_of_credentials_is_read() {
    let registry = |host: &str, credentials: &str| {
        let text = format!("registries:\n- host: '{host}'\n  credentials: {credentials}\n");
        load(&text).map(|config| config.registry)
    };
    let listed = |credentials: &str| {
        registry("a.io", credentials).unwrap().hosts.get("a.io").unwrap().credentials.clone()
    };
    assert!(matches!(listed("{kind: anonymous}"), Credentials::Anonymous));
    let basic = "{kind: basic, username: me, passwordFile: password}";
    assert!(matches!(listed(basic), Credentials::PasswordFile { .. }));
    let token = "{kind: identityToken, tokenFile: password}";
    assert!(matches!(listed(token), Credentials::IdentityToken(SecretSource::File(_))));
    let token = "{kind: registryToken, tokenFile: password}";
    assert!(matches!(listed(token), Credentials::RegistryToken(SecretSource::File(_))));
    let docker = "{kind: dockerConfig, path: password}";
    assert!(matches!(listed(docker), Credentials::DockerConfig(_)));
    for (credentials, words) in [
        ("{kind: root}", "root"),
        ("{}", "kind"),
        ("{kind: basic, username: me}", "passwordFile"),
        ("{kind: anonymous, username: me}", "username"),
        ("{kind: dockerConfig, path: none.json}", "none.json"),
    ] {
        let text = format!("registries:\n- host: a.io\n  credentials: {credentials}\n");
        refused(&text, &[words]);
    }
}

#[test]
fn a_pattern_has_credentials_and_nothing_else() {
    let pattern = |more: &str| format!("registries: [{{host: '*.reg.io', {more}}}]");
    let basic = "credentials: {kind: basic, username: me, passwordFile: password}";
    let config = load(&pattern(basic)).unwrap();
    assert!(config.registry.hosts.is_empty());
    assert!(config.registry.patterns.contains_key(&HostPattern::parse("*.reg.io").unwrap()));
    for more in [
        "scheme: http".to_owned(),
        "username: me, passwordFile: password".to_owned(),
        format!("{basic}, scheme: https"),
        format!("{basic}, endpoint: a.io"),
        format!("{basic}, caFile: password"),
        format!("{basic}, trustedRealmHosts: [a.io]"),
    ] {
        refused(&pattern(&more), &["*.reg.io", "nothing else"]);
    }
    for host in ["*.reg.io:443", "*.reg.io:5000", "*.reg.io/team", "*..io", "a*b.[x].io"] {
        refused(&format!("registries: [{{host: '{host}', {basic}}}]"), &[host]);
    }
    refused(
        &format!("registries: [{{host: '*.a.io', {basic}}}, {{host: '*.A.io', {basic}}}]"),
        &["*.A.io", "twice"],
    );
}
