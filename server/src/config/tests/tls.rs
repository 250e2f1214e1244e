//! The sections on TLS, and on who asks.

use super::*;
use crate::identity::{MAX_NAMES, MAX_OPERATORS};
use crate::tls::Oldest;

const PAIR: &str = "certificateFile: tls.crt, keyFile: tls.key";
const KNOWN: &str = "clusters: [{name: prod, identities: ['spiffe://a/prod']}]\n";

#[test]
fn tls_is_read() {
    let config = load(&format!(
        "listen: 0.0.0.0:7443\n\
         tls: {{{PAIR}, clientCaFile: ca.crt, clientCrlFiles: [a.crl], minVersion: '1.2'}}\n\
         clusters:\n- name: prod\n  identities: [prod.example]\n  cloud: {{provider: azure, account: s, region: r}}\n\
         - {{name: edge, platforms: [linux/arm64]}}\n\
         operators: [{{identities: ['spiffe://a/ops'], role: writer}}]\n"
    ))
    .unwrap();
    let tls = config.tls.unwrap();
    let folder = tls.pair.key.parent().unwrap().to_owned();
    assert_eq!(tls.pair.certificate, folder.join("tls.crt"));
    let clients = tls.clients.unwrap();
    assert_eq!(
        (clients.authorities, clients.revoked),
        (folder.join("ca.crt"), vec![folder.join("a.crl")])
    );
    assert_eq!(tls.oldest, Oldest::Tls12);
    assert!(!tls.identities.is_empty());
    // A cluster of whose nodes nothing is said has those of all.
    assert_eq!(config.clusters.named.keys().collect::<Vec<_>>(), ["edge"]);
    let local = load(&format!("tls: {{{PAIR}}}\n")).unwrap().tls.unwrap();
    assert_eq!((local.clients, local.oldest), (None, Oldest::Tls13));
}

#[test]
fn others_are_not_listened_to_without_certificates() {
    refused("listen: 0.0.0.0:1\n", &["`listen` is 0.0.0.0:1", "loopback only", "configure `tls`"]);
    let anybody = format!("listen: 0.0.0.0:1\ntls: {{{PAIR}}}\n");
    refused(&anybody, &["`listen` is 0.0.0.0:1", "set `tls.clientCaFile`"]);
    let nobody = format!("tls: {{{PAIR}, clientCaFile: ca.crt}}\n");
    refused(&nobody, &["nobody is known", "add `identities` to `clusters`"]);
    assert!(load(&(nobody + KNOWN)).is_ok());
}

#[test]
fn what_would_have_no_effect_is_refused() {
    refused(KNOWN, &["`clusters` has `identities`", "`tls.clientCaFile`"]);
    let operators = "operators: [{identities: [a.example], role: reader}]\n";
    refused(operators, &["`operators` has `identities`", "`tls.clientCaFile`"]);
    refused(
        &format!("tls: {{{PAIR}, clientCrlFiles: [a]}}\n"),
        &["`tls.clientCrlFiles`", "`tls.clientCaFile`"],
    );
    let cloud = "clusters: [{name: a, platforms: [l/a], cloud: {account: b}}]\n";
    refused(cloud, &["`clusters.cloud`", "`identities` beside it"]);
    refused("clusters: [{name: a}]\n", &["`clusters.platforms`", "or `identities`"]);
    refused("clusters: [{name: '', platforms: [l/a]}]\n", &["`clusters.name`"]);
    refused("tls: {keyFile: a}\n", &["certificateFile"]);
    refused(&format!("tls: {{{PAIR}, minVersion: '1.1'}}\n"), &["1.1", "1.2"]);
}

#[test]
fn names_are_checked_and_bounded() {
    let tls = format!("tls: {{{PAIR}, clientCaFile: ca.crt}}\n");
    let cluster = |names: &str| format!("{tls}clusters: [{{name: a, identities: [{names}]}}]\n");
    refused(&cluster("'*.example'"), &["`clusters.identities`", "`*.example` is not a name"]);
    let twice = cluster("a.example") + "operators: [{identities: [A.example], role: reader}]\n";
    refused(&twice, &["`a.example` is given twice"]);
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("n{n}")).collect();
        cluster(&names.join(", "))
    };
    assert!(load(&many(MAX_NAMES)).is_ok());
    refused(&many(MAX_NAMES + 1), &["`clusters.identities` has more than the 16 allowed"]);
    let operators = |count: usize| {
        let one = |n| format!("- {{identities: [n{n}], role: reader}}\n");
        format!("{tls}operators:\n{}", (0..count).map(one).collect::<String>())
    };
    assert!(load(&operators(MAX_OPERATORS)).is_ok());
    refused(&operators(MAX_OPERATORS + 1), &["`operators` has more than the 1000 allowed"]);
    refused(
        &format!("{tls}operators: [{{identities: [], role: reader}}]\n"),
        &["without `identities`"],
    );
    refused(&format!("{tls}operators: [{{identities: [a], role: king}}]\n"), &["king", "reader"]);
}
