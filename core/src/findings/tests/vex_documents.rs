//! OpenVEX: which statements are kept, and what they are about.

use super::*;
use crate::findings::vex::Status;

fn document(statements: Value) -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example/vex",
        "author": "security@example.com",
        "timestamp": "2026-01-01T00:00:00Z",
        "version": 1,
        "statements": statements,
    })
}

fn said(products: Value) -> Value {
    json!({
        "vulnerability": { "name": "CVE-2024-1111", "aliases": ["GHSA-aaaa-bbbb-cccc"] },
        "products": products,
        "status": "not_affected",
        "justification": "component_not_present",
    })
}

fn image() -> Value {
    json!({ "@id": format!("pkg:oci/app@sha256:{HEX}") })
}

fn read_content(media_type: &str, document: &Value) -> Result<Content, FindingsError> {
    content::read(&Input {
        bytes: document.to_string().as_bytes(),
        media_type,
        subject: format!("sha256:{HEX}").parse().unwrap(),
        annotations: &BTreeMap::new(),
    })
    .map(|reading| reading.content)
}

fn read_vex(document: &Value) -> Result<Vex, FindingsError> {
    match read_content(VEX_MEDIA_TYPES[0], document)? {
        Content::Vex(vex) => Ok(vex),
        Content::Findings(findings) => panic!("{findings:?}"),
    }
}

/// The packages that a statement with these products is about; `None` if it is left out.
#[track_caller]
fn check_products(products: Value, packages: Option<&[&str]>) {
    let vex = read_vex(&document(json!([said(products.clone())]))).unwrap();
    let read = vex.statements.first().map(|s| s.packages.iter().map(|p| &**p).collect::<Vec<_>>());
    assert_eq!(read.as_deref(), packages, "{products}");
}

#[test]
fn a_statement_about_the_image_is_read() {
    let vex = read_vex(&document(json!([said(json!([image()]))]))).unwrap();
    assert_eq!(vex.author, "security@example.com");
    let [statement] = vex.statements.as_slice() else { panic!("{vex:?}") };
    let ids: Vec<&str> = statement.ids.iter().map(|id| &**id).collect();
    assert_eq!(ids, ["CVE-2024-1111", "GHSA-aaaa-bbbb-cccc"]);
    assert_eq!(statement.status, Status::NotAffected);
    assert!(statement.packages.is_empty());
    assert_eq!(statement.issued_at, time::macros::datetime!(2026-01-01 00:00 UTC));
}

#[test]
fn products_that_are_the_image_name_its_digest() {
    let other = HEX.replace('f', "0");
    for own in [
        format!("pkg:oci/app@sha256:{HEX}"),
        format!("pkg:oci/app@sha256%3A{HEX}?repository_url=reg.io/app&tag=1"),
        format!("pkg:oci/app@sha256%3a{HEX}#sub"),
        format!("pkg:docker/library/app@sha256:{HEX}"),
    ] {
        check_products(json!([{ "@id": own }]), Some(&[]));
        check_products(json!([{ "identifiers": { "purl": own } }]), Some(&[]));
        check_products(json!([own]), Some(&[]));
    }
    check_products(json!([{ "@id": "app", "hashes": { "sha-256": HEX } }]), Some(&[]));
    for unknown in [
        format!("pkg:oci/app@sha256:{other}"),
        format!("pkg:oci/app@sha256:{}", HEX.to_uppercase()),
        format!("pkg:oci/app?sha256:{HEX}"),
        format!("pkg:OCI/app@{HEX}"),
        "pkg:oci/app".to_owned(),
        "pkg:docker/app@1.0".to_owned(),
        format!("https://reg.io/app@sha256:{HEX}"),
        String::new(),
    ] {
        check_products(json!([{ "@id": unknown }]), None);
    }
    check_products(json!([{ "hashes": { "sha-256": other } }]), None);
    check_products(json!([{ "hashes": { "sha-512": HEX } }]), None);
    check_products(json!([{}]), None);
    check_products(json!([]), None);
    check_products(json!(null), None);
}

#[test]
fn packages_and_subcomponents_narrow() {
    let (a, b) = ("pkg:deb/debian/a@1", "pkg:npm/b");
    check_products(json!([{ "@id": a }, { "identifiers": { "purl": b } }]), Some(&[a, b]));
    let with_parts = |parts: Value| {
        let mut image = image();
        image["subcomponents"] = parts;
        json!([image])
    };
    check_products(with_parts(json!([{ "@id": a }, b])), Some(&[a, b]));
    check_products(with_parts(json!([{ "@id": a }, { "@id": "x" }])), Some(&[a]));
    // What they are is not known, so it is not all of the image.
    check_products(with_parts(json!([{ "@id": "x" }, {}])), None);
    check_products(json!([{ "@id": a }, image()]), Some(&[]));
    check_products(json!([{ "@id": a }, { "@id": "pkg:oci/other@1" }]), Some(&[a]));
    // A package with parts is about these.
    check_products(json!([{ "@id": a, "subcomponents": [{ "@id": b }] }]), Some(&[b]));
    check_products(json!([{ "@id": "x", "subcomponents": [{ "@id": b }] }]), None);
}

#[test]
fn a_statement_that_is_not_wholly_understood_clears_nothing() {
    let kept = |statement: Value| {
        read_vex(&document(json!([statement]))).unwrap().statements.first().map(|s| s.status)
    };
    let own = said(json!([image()]));
    for (word, status) in [
        ("affected", Some(Status::Affected)),
        ("fixed", Some(Status::Fixed)),
        ("under_investigation", Some(Status::UnderInvestigation)),
        ("not_affected", Some(Status::NotAffected)),
        ("Not_Affected", Some(Status::UnderInvestigation)),
        ("", Some(Status::UnderInvestigation)),
    ] {
        assert_eq!(kept(with(own.clone(), "/status", json!(word))), status, "{word}");
    }
    // It was said, so that an older statement no longer stands, and it clears nothing.
    let unclear = Some(Status::UnderInvestigation);
    assert_eq!(kept(without(own.clone(), "/status")), unclear);
    let unjustified = without(own.clone(), "/justification");
    assert_eq!(kept(unjustified.clone()), unclear);
    assert_eq!(kept(with(own.clone(), "/justification", json!(" "))), unclear);
    let mut told = unjustified;
    told["impact_statement"] = json!("not in the execution path");
    assert_eq!(kept(told), Some(Status::NotAffected));
    assert_eq!(kept(without(own.clone(), "/vulnerability")), None);
    assert_eq!(kept(with(own.clone(), "/vulnerability", json!({ "name": "" }))), None);
    assert!(kept(with(own, "/vulnerability", json!("CVE-2024-1111"))).is_some());
}

#[test]
fn a_statement_has_its_own_time_or_that_of_the_document() {
    let mut own = said(json!([image()]));
    own["timestamp"] = json!("2026-02-01T00:00:00Z");
    let issued = |document: &Value| {
        read_vex(document).map(|vex| vex.statements.first().map(|s| s.issued_at))
    };
    let dated = Some(time::macros::datetime!(2026-02-01 00:00 UTC));
    assert_eq!(issued(&document(json!([own]))).unwrap(), dated);
    assert_eq!(issued(&without(document(json!([own])), "/timestamp")).unwrap(), dated);
    let undated = without(document(json!([said(json!([image()]))])), "/timestamp");
    assert_eq!(issued(&undated).unwrap(), None);
    refused_vex(&with(document(json!([])), "/timestamp", json!("today")), "is `today`");
    own["timestamp"] = json!("today");
    refused_vex(&document(json!([own])), "is `today`");
}

#[track_caller]
fn refused_vex(document: &Value, message: &str) -> Reason {
    let read = read_vex(document);
    assert!(matches!(read, Err(FindingsError::Vex(_))), "{read:?}");
    refused(read, message)
}

#[test]
fn what_is_not_openvex_is_refused_as_vex() {
    for context in ["https://openvex.dev/nsx", "https://csaf.example", ""] {
        let other = with(document(json!([])), "/@context", json!(context));
        refused_vex(&other, "not a findings format that is read");
    }
    for key in ["author", "statements"] {
        refused_vex(&without(document(json!([])), &format!("/{key}")), key);
    }
    refused_vex(&json!([]), "cannot be read");
    let own = document(json!([]));
    refused(read_as(VEX_MEDIA_TYPES[1], None, &own.to_string()), "it is a VEX document");
    let plain = read_content(JSON, &own).unwrap();
    assert!(matches!(plain, Content::Vex(_)), "{plain:?}");
}

#[test]
fn a_statement_around_the_document_names_the_image() {
    let around = |predicate_type: &str, predicate: Value| {
        read_content(IN_TOTO, &statement(predicate_type, predicate))
    };
    let unnamed = document(json!([said(json!(null))]));
    for predicate_type in ["https://openvex.dev/ns", "https://openvex.dev/ns/v0.2.0"] {
        let Content::Vex(vex) = around(predicate_type, unnamed.clone()).unwrap() else { panic!() };
        assert_eq!((vex.statements.len(), vex.statements[0].packages.len()), (1, 0));
    }
    // What the statement says itself goes before.
    let other = document(json!([said(json!([{ "@id": "pkg:oci/other@sha256:00" }]))]));
    let Content::Vex(vex) = around("https://openvex.dev/ns", other).unwrap() else { panic!() };
    assert!(vex.statements.is_empty());
    let wrong = around("https://openvex.dev/nsx", unnamed.clone());
    refused(wrong, "not a findings format that is read");
    let elsewhere = with(statement(OPENVEX, unnamed), "/subject", json!([]));
    let reason = refused(read_content(IN_TOTO, &elsewhere), "no subject");
    assert_eq!(reason, Reason::WrongSubject);
    let broken = around(OPENVEX, json!({}));
    assert!(matches!(broken, Err(FindingsError::Vex(_))), "{broken:?}");
}

#[test]
fn an_advisory_that_two_cves_share_clears_neither_for_the_other() {
    let about = |vex: Value, finding: Value| {
        let mut own = said(json!([image()]));
        own["vulnerability"] = vex;
        let vex = read_vex(&document(json!([own]))).unwrap();
        let findings = read_trivy(&trivy(json!([finding]))).unwrap();
        vex.statements[0].is_about(findings.get(0).unwrap())
    };
    let dsa = |cve: &str| json!({ "name": cve, "aliases": ["DSA-1"] });
    let found = |id: &str, alias: &str| json!({ "VulnerabilityID": id, "VendorIDs": [alias] });
    assert!(about(dsa("CVE-2024-1111"), found("cve-2024-1111", "DSA-2")));
    assert!(!about(dsa("CVE-2024-1111"), found("CVE-2024-2222", "DSA-1")));
    assert!(about(dsa("DSA-1"), found("CVE-2024-2222", "DSA-1")));
    assert!(about(dsa("CVE-2024-1111"), found("GHSA-aaaa-bbbb-cccc", "DSA-1")));
}

#[test]
fn statements_products_and_names_are_refused_one_past_their_bounds() {
    let own = |pointer: &str, value: Value| {
        document(json!([with(said(json!([image()])), pointer, value)]))
    };
    let too_large = |document: Value, what: &str| {
        assert_eq!(refused_vex(&document, what), Reason::TooLarge);
    };
    let statements = |n: usize| document(json!(vec![json!({}); n]));
    read_vex(&statements(MAX_STATEMENTS)).unwrap();
    too_large(statements(MAX_STATEMENTS + 1), "more statements");
    let products = |n: usize| own("/products", json!(vec![json!({}); n]));
    read_vex(&products(MAX_PRODUCTS)).unwrap();
    too_large(products(MAX_PRODUCTS + 1), "more products");
    let parts = |n: usize| {
        let mut image = image();
        image["subcomponents"] = json!(vec![json!({}); n]);
        own("/products", json!([image]))
    };
    read_vex(&parts(MAX_PRODUCTS)).unwrap();
    too_large(parts(MAX_PRODUCTS + 1), "more subcomponents");
    let aliases = |n: usize| own("/vulnerability/aliases", json!(vec!["x"; n]));
    read_vex(&aliases(MAX_LIST)).unwrap();
    too_large(aliases(MAX_LIST + 1), "more aliases");
    let name = |n: usize| own("/vulnerability/name", json!("x".repeat(n)));
    read_vex(&name(MAX_ID)).unwrap();
    too_large(name(MAX_ID + 1), "more bytes of vulnerability identifier");
    let author = |n: usize| with(document(json!([])), "/author", json!("x".repeat(n)));
    read_vex(&author(MAX_TEXT)).unwrap();
    too_large(author(MAX_TEXT + 1), "more bytes of author");
    let purl = |n: usize| own("/products/0/@id", json!(format!("pkg:{}", "x".repeat(n - 4))));
    read_vex(&purl(MAX_TEXT)).unwrap();
    too_large(purl(MAX_TEXT + 1), "more bytes of package URL");
    let hashes = |n: usize| {
        let hashes: BTreeMap<_, _> = (0..n).map(|i| (i.to_string(), "00")).collect();
        own("/products/0", json!({ "hashes": hashes }))
    };
    read_vex(&hashes(MAX_DIGESTS)).unwrap();
    too_large(hashes(MAX_DIGESTS + 1), "more hashes");
}
