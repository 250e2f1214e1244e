//! What may be listed, and whom a listed registry may send us to.

use std::collections::BTreeMap;

use crate::registry::*;

#[test]
fn t037_t038_a_token_server_is_the_registrys_own_a_listed_one_or_docker_hubs() {
    let endpoint = Some("registry-1.docker.io:444".to_owned());
    let mirror = HostConfig { endpoint, ..HostConfig::default() };
    let mut hosts = BTreeMap::from([("mirror.example".to_owned(), mirror)]);
    let listed = HostConfig {
        trusted_realm_hosts: vec!["auth.example".into(), "auth.example:8443".into()],
        ..HostConfig::default()
    };
    hosts.insert("reg.example".to_owned(), listed);
    let registry = Registry::new(RegistryConfig { hosts, ..RegistryConfig::default() }).unwrap();
    let check = |name: &str, realm: &str, trusted: bool| {
        let host = registry.exchange.hosts.find(name).unwrap();
        assert_eq!(host.realm(realm).is_ok(), trusted, "{realm} for {name}");
    };
    check("reg.example", "https://reg.example/token", true);
    check("reg.example", "https://REG.example:443/token", true);
    check("reg.example", "https://auth.example/token", true);
    check("reg.example", "https://auth.example:8443/token", true);
    check("reg.example", "http://reg.example/token", false);
    check("reg.example", "http://auth.example/token", false);
    check("reg.example", "https://reg.example:444/token", false);
    check("reg.example", "https://reg.example./token", false);
    check("reg.example", "https://auth.example:8444/token", false);
    check("reg.example", "https://auth.example.evil/token", false);
    check("reg.example", "https://evil-auth.example/token", false);
    check("reg.example", "https://x.auth.example/token", false);
    check("reg.example", "https://auth.docker.io/token", false);
    check("docker.io", "https://auth.docker.io/token", true);
    check("docker.io", "https://registry-1.docker.io/token", true);
    check("docker.io", "http://auth.docker.io/token", false);
    check("docker.io", "https://auth.docker.io:444/token", false);
    check("docker.io", "https://auth.docker.io.evil.example/token", false);
    check("mirror.example", "https://registry-1.docker.io:444/token", true);
    check("mirror.example", "https://auth.docker.io/token", false);
    check("unlisted.example", "https://unlisted.example/token", true);
    check("unlisted.example", "https://auth.example/token", false);
    check("unlisted.example", "https://auth.docker.io/token", false);
    check("unlisted.example:444", "https://unlisted.example/token", false);
}

#[test]
fn a_registry_is_listed_by_its_name_alone() {
    let refused = |host: &str, settings: HostConfig| {
        let hosts = BTreeMap::from([(host.to_owned(), settings)]);
        Registry::new(RegistryConfig { hosts, ..RegistryConfig::default() }).is_err()
    };
    for host in ["docker.io", "localhost:5000", "[::1]:5000", "Reg.Example"] {
        assert!(!refused(host, HostConfig::default()), "{host}");
    }
    for host in ["", "registry", "reg.example/team", "https://reg.example", "a@b.c", "reg.example:"]
    {
        assert!(refused(host, HostConfig::default()), "{host}");
    }
    for authority in ["", "a.io/x", "user@a.io", "https://a.io", "a.io?x", "a.io:99999"] {
        let trusted_realm_hosts = vec![authority.to_owned()];
        assert!(refused("a.io", HostConfig { trusted_realm_hosts, ..HostConfig::default() }));
        let endpoint = Some(authority.to_owned());
        assert!(refused("a.io", HostConfig { endpoint, ..HostConfig::default() }));
    }
    let ca = vec![b"no certificate".to_vec()];
    assert!(refused("a.io", HostConfig { ca, ..HostConfig::default() }));
}
