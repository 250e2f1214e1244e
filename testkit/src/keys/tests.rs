//! Certificates: what is issued meets Notary's rules, whatever the names.

use time::macros::datetime;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

fn authority() -> Authority {
    Authority::new("Acme", NOW).unwrap()
}

fn chain(issued: &Issued) -> Vec<Vec<u8>> {
    Pem::iter_from_buffer(issued.chain_pem.as_bytes()).map(|pem| pem.unwrap().contents).collect()
}

#[test]
fn a_chain_meets_the_rules_of_notary() {
    let issued = authority().issue("scanner").unwrap();
    let chain = chain(&issued);
    assert_eq!(chain.len(), 2);
    let leaf = parse_x509_certificate(&chain[0]).unwrap().1;
    let root = parse_x509_certificate(&chain[1]).unwrap().1;

    assert_eq!(leaf.subject().to_string(), "C=US, ST=WA, O=Acme, CN=scanner");
    assert_eq!(leaf.issuer(), root.subject());
    assert_eq!(root.issuer(), root.subject());
    let usage = leaf.tbs_certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.to_string(), "Digital Signature");
    let extended = leaf.tbs_certificate.extended_key_usage().unwrap().unwrap();
    assert!(extended.value.code_signing);
    assert!(!extended.value.server_auth && !extended.value.any);
    assert!(!leaf.is_ca());

    let constraints = root.tbs_certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    let usage = root.tbs_certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign());
}

#[test]
fn certificates_are_valid_from_yesterday_for_a_year() {
    let issued = authority().issue("scanner").unwrap();
    for certificate in chain(&issued) {
        let certificate = parse_x509_certificate(&certificate).unwrap().1;
        let validity = certificate.validity();
        assert_eq!(validity.not_before.to_datetime(), NOW - Duration::days(1));
        assert_eq!(validity.not_after.to_datetime(), NOW + Duration::days(365));
    }
}

#[test]
fn each_kind_of_key_is_issued() {
    let authority = authority();
    for (kind, bits) in
        [(KeyKind::P256, 256), (KeyKind::P384, 384), (KeyKind::P521, 521), (KeyKind::Rsa2048, 2048)]
    {
        let mut leaf = authority.leaf("scanner").unwrap();
        leaf.kind = kind;
        let chain = chain(&authority.issue_leaf(&leaf).unwrap());
        let certificate = parse_x509_certificate(&chain[0]).unwrap().1;
        let key = certificate.public_key().parsed().unwrap();
        // Points are rounded up to bytes: P-521 has 66 of them.
        assert_eq!(key.key_size().div_ceil(8), usize::div_ceil(bits, 8), "{kind:?}");
    }
}

#[test]
fn the_trust_policy_names_scope_store_and_organisation() {
    let text = authority().trust_policy_json("reg.io/demo", "demo").unwrap();
    let policy: serde_json::Value = serde_json::from_str(&text).unwrap();
    let statement = &policy["trustPolicies"][0];
    assert_eq!(policy["version"], "1.0");
    assert_eq!(statement["registryScopes"][0], "reg.io/demo");
    assert_eq!(statement["signatureVerification"]["level"], "strict");
    assert_eq!(statement["trustStores"][0], "ca:demo");
    assert_eq!(statement["trustedIdentities"][0], "x509.subject: C=US, ST=WA, O=Acme");
}

#[test]
fn a_name_cannot_add_an_attribute() {
    assert_eq!(escape_attribute("Acme, Inc.+CN=x"), "Acme\\, Inc.\\+CN\\=x");
    assert_eq!(escape_attribute(" #a# "), "\\ #a#\\ ");
    assert_eq!(escape_attribute("#a\nb"), "\\#a\\0ab");
}

#[test]
fn a_time_without_a_year_around_it_is_an_error() {
    let end = datetime!(9999-12-31 00:00 UTC);
    assert!(matches!(Authority::new("Acme", end), Err(TestkitError::Validity)));
}

#[test]
fn a_private_key_is_not_printed() {
    let issued = authority().issue("scanner").unwrap();
    assert!(issued.key_pem.contains("PRIVATE KEY"));
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}
