//! Statements: which of them are about the image, and of a type that is read.

use super::*;

#[test]
fn a_statement_about_something_else_is_refused() {
    let subjects = [
        json!([]),
        json!([{ "digest": { "sha256": HEX.replace('f', "0") } }]),
        json!([{ "digest": { "sha256": HEX.to_uppercase() } }]),
        json!([{ "digest": { "sha256": format!("sha256:{HEX}") } }]),
        json!([{ "digest": { "sha256": format!(" {HEX}") } }]),
        json!([{ "digest": { "sha1": HEX } }]),
        json!([{ "digest": { "sha512": HEX } }]),
        json!([{ "digest": {} }]),
        json!([{ "name": HEX }]),
        json!(null),
    ];
    for subject in subjects {
        let statement = with(vulns(json!([])), "/subject", subject);
        let reason = refused(read_statement(&statement), "no subject with sha256 digest");
        assert_eq!(reason, Reason::WrongSubject, "{statement}");
    }
    let reason = refused(read_statement(&without(vulns(json!([])), "/subject")), "no subject");
    assert_eq!(reason, Reason::WrongSubject);
}

#[test]
fn one_of_several_subjects_is_enough() {
    let other = json!({ "digest": { "sha256": "00", "sha512": "11" } });
    let own = json!({ "digest": { "gitCommit": "22", "sha256": HEX } });
    let statement = with(vulns(json!([])), "/subject", json!([other, own]));
    assert!(read_statement(&statement).unwrap().is_empty());
}

#[test]
fn subjects_and_digests_are_refused_one_past_their_bounds() {
    let own = json!({ "digest": { "sha256": HEX } });
    let subjects = |n| with(vulns(json!([])), "/subject", json!(vec![own.clone(); n]));
    read_statement(&subjects(MAX_SUBJECTS)).unwrap();
    let reason = refused(read_statement(&subjects(MAX_SUBJECTS + 1)), "more subjects");
    assert_eq!(reason, Reason::TooLarge);

    let digests = |n| {
        let mut digest = json!({ "sha256": HEX });
        (1..n).for_each(|i| digest[format!("x{i}")] = json!("00"));
        with(vulns(json!([])), "/subject/0/digest", digest)
    };
    read_statement(&digests(MAX_DIGESTS)).unwrap();
    let reason = refused(read_statement(&digests(MAX_DIGESTS + 1)), "more digests");
    assert_eq!(reason, Reason::TooLarge);
}

/// CASES T001.
#[test]
fn only_known_statement_and_predicate_types_are_read() {
    let old = with(vulns(json!([])), "/_type", json!("https://in-toto.io/Statement/v0.1"));
    read_statement(&old).unwrap();
    let old = with(vulns(json!([])), "/predicateType", json!(VULNS_V0_1));
    read_statement(&old).unwrap();
    for (pointer, value) in [
        ("/_type", "https://in-toto.io/Statement/v2"),
        ("/_type", " https://in-toto.io/Statement/v1"),
        ("/predicateType", "https://spdx.dev/Document"),
        ("/predicateType", "https://in-toto.io/attestation/vulns/v0.3"),
        ("/predicateType", "HTTPS://in-toto.io/attestation/vulns/v0.2"),
    ] {
        let statement = with(vulns(json!([])), pointer, json!(value));
        refused(read_statement(&statement), &format!("`{value}` is not a findings format"));
    }
    refused(read_statement(&without(vulns(json!([])), "/_type")), "does not state `_type`");
    let untyped = without(vulns(json!([])), "/predicateType");
    refused(read_statement(&untyped), "does not state `predicateType`");
    let empty = without(vulns(json!([])), "/predicate");
    refused(read_statement(&empty), "does not state `predicate`");
    let long = with(vulns(json!([])), "/predicateType", json!("x".repeat(MAX_TEXT + 1)));
    refused(read_statement(&long), "more predicateType");
}

#[test]
fn the_manifest_announces_the_statement_s_own_predicate_type() {
    let statement = vulns(json!([])).to_string();
    read_as(IN_TOTO, Some(VULNS_V0_2), &statement).unwrap();
    for announced in [VULNS_V0_1, COSIGN_VULN_V1, ""] {
        refused(read_as(IN_TOTO, Some(announced), &statement), "its manifest announces");
    }
}

/// CASES T003.
#[test]
fn what_is_not_a_statement_is_refused() {
    for text in ["", "null", "[]", "{", "<html></html>", "\"x\"", "{\"_type\":1}", "\u{feff}{}"] {
        assert_eq!(refused(read_as(IN_TOTO, None, text), ""), Reason::Malformed, "{text}");
    }
    let twice = vulns(json!([])).to_string().replacen('{', "{\"predicateType\":\"x\",", 1);
    refused(read_as(IN_TOTO, None, &twice), "appears twice");
    let envelope = r#"{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[]}"#;
    refused(read_as(IN_TOTO, None, envelope), "DSSE envelope");
    refused(read_as("application/vnd.dsse.envelope.v1+json", None, envelope), "DSSE envelope");
}
