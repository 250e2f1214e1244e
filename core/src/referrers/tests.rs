//! Registry documents as registries send them, and as attackers do.

use super::*;
use crate::image::Digest;
use serde_json::json;

fn descriptor(artifact_type: &str, annotations: &serde_json::Value) -> serde_json::Value {
    json!({
        "mediaType": OCI_MANIFEST,
        "digest": Digest::of(format!("{artifact_type}{annotations}").as_bytes()),
        "size": 7,
        "artifactType": artifact_type,
        "annotations": annotations,
    })
}

fn listed(entries: &[serde_json::Value]) -> Vec<Descriptor> {
    parse_list(json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes()).unwrap()
}

#[track_caller]
fn refused(document: &serde_json::Value, declared: &str, why: &str) {
    let error = parse(document.to_string().as_bytes(), declared).unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn t007_one_digest_has_one_reading() {
    let config = json!({"mediaType": OCI_EMPTY, "digest": Digest::of(b"{}"), "size": 2});
    refused(
        &json!({"mediaType": OCI_INDEX, "manifests": [], "layers": []}),
        OCI_INDEX,
        "read in two ways",
    );
    refused(
        &json!({"mediaType": OCI_MANIFEST, "manifests": [], "config": config}),
        OCI_MANIFEST,
        "read in two ways",
    );
    refused(&json!({"mediaType": OCI_MANIFEST, "layers": []}), OCI_INDEX, "read in two ways");
    refused(&json!({"manifests": []}), OCI_MANIFEST, "read in two ways");
    refused(&json!({"layers": []}), OCI_INDEX, "read in two ways");
    refused(&json!({"schemaVersion": 1}), "application/json", "neither");
}

#[test]
fn an_artifact_type_falls_back_to_the_config() {
    let config = json!({"mediaType": "application/vnd.x", "digest": Digest::of(b"{}"), "size": 2});
    let document = json!({"schemaVersion": 2, "config": config, "layers": []});
    let Document::Manifest(manifest) =
        parse(document.to_string().as_bytes(), OCI_MANIFEST).unwrap()
    else {
        panic!("not a manifest");
    };
    assert_eq!(manifest.artifact_type, "application/vnd.x");
}

#[test]
fn harbors_empty_object_is_an_empty_list() {
    assert!(parse_list(b"{}").unwrap().is_empty());
    assert!(parse_list(br#"{"manifests":null}"#).unwrap().is_empty());
    assert!(parse_list(br#"{"schemaVersion":2}"#).unwrap().is_empty());
}

/// Go's JSON reader, and so containerd's, takes the last key that is equal without case (CASES T007).
#[test]
fn t007_a_key_in_another_case_is_refused_at_every_depth() {
    let entry = |key: &str, value: serde_json::Value| {
        let mut entry = descriptor("", &json!({}));
        entry[key] = value;
        json!({"mediaType": OCI_INDEX, "manifests": [entry]})
    };
    let case = "case of one of its keys";
    for key in ["Manifests", "MANIFESTS", "manife\u{17f}t\u{17f}", "mediatype", "Subject"] {
        refused(&json!({"mediaType": OCI_INDEX, "manifests": [], key: []}), OCI_INDEX, case);
        assert!(parse_list(json!({"manifests": [], key: []}).to_string().as_bytes()).is_err());
    }
    let nested = |document: &serde_json::Value| parse(document.to_string().as_bytes(), OCI_INDEX);
    assert!(nested(&entry("other", json!(1))).is_ok());
    assert!(nested(&entry("Digest", json!(Digest::of(b"other")))).is_err());
    assert!(nested(&entry("platform", json!({"os": "linux", "OS": "windows"}))).is_err());
    let annotated = entry("annotations", json!({"Digest": "x", "digest": "y"}));
    assert!(nested(&annotated).is_ok(), "annotations are a map of their own");
}

#[test]
fn an_array_is_no_document() {
    assert!(parse(b"[]", OCI_MANIFEST).is_err());
    let digest = Digest::of(b"");
    let positional = format!(r#"{{"manifests":[["{OCI_MANIFEST}","{digest}",2]]}}"#);
    assert!(parse_list(positional.as_bytes()).is_err());
}

#[test]
fn a_platform_is_refused_one_byte_past_its_bound() {
    let with = |os: &str| {
        let mut entry = descriptor("", &json!({}));
        entry["platform"] = json!({"os": os, "architecture": "amd64"});
        parse(json!({"manifests": [entry]}).to_string().as_bytes(), OCI_INDEX)
    };
    assert!(with(&"l".repeat(MAX_PLATFORM_PART)).is_ok());
    assert!(with(&"l".repeat(MAX_PLATFORM_PART + 1)).is_err());
    assert!(with("linux\n").is_err());
}

#[test]
fn a_login_page_or_an_error_is_not_an_empty_list() {
    assert!(parse_list(br#"{"message":"rate limited"}"#).is_err());
    assert!(parse_list(br#"{"errors":[{"code":"UNAVAILABLE"}]}"#).is_err());
    assert!(parse_list(br#"{"errors":[],"manifests":null}"#).is_err());
    assert!(parse_list(b"<html></html>").is_err());
    assert!(parse_list(b"").is_err());
    assert!(parse_list(br#"{"mediaType":"text/html"}"#).is_err());
    assert!(parse_list(br#"{"layers":[]}"#).is_err());
}

#[test]
fn a_list_is_refused_one_descriptor_past_its_bound() {
    let list = |n: usize| {
        json!({"manifests": vec![descriptor("a/b", &json!({})); n]}).to_string().into_bytes()
    };
    assert_eq!(parse_list(&list(MAX_DESCRIPTORS)).unwrap().len(), MAX_DESCRIPTORS);
    assert!(matches!(
        parse_list(&list(MAX_DESCRIPTORS + 1)),
        Err(ReferrersError::TooMany { count: 1001 })
    ));
}

#[test]
fn a_manifest_is_refused_one_byte_past_its_bound() {
    let mut bytes = br#"{"layers":[]}"#.to_vec();
    bytes.resize(MAX_MANIFEST, b' ');
    assert!(parse(&bytes, OCI_MANIFEST).is_ok());
    bytes.push(b' ');
    assert!(matches!(parse(&bytes, OCI_MANIFEST), Err(ReferrersError::TooLarge { .. })));
    assert!(matches!(parse_list(&bytes), Err(ReferrersError::TooLarge { .. })));
}

#[test]
fn a_size_may_lie_but_not_be_negative() {
    let with = |size: serde_json::Value| {
        json!({"manifests": [{"mediaType": OCI_MANIFEST, "digest": Digest::of(b""), "size": size}]})
            .to_string()
    };
    assert!(parse_list(with(json!(1_u64 << 62)).as_bytes()).is_ok());
    assert!(parse_list(with(json!(-1)).as_bytes()).is_err());
}

#[test]
fn reports_are_chosen_by_predicate_and_newest_first() {
    let vulns = |created: &str| {
        descriptor(IN_TOTO, &json!({PREDICATE_TYPE: crate::findings::VULNS_V0_2, CREATED: created}))
    };
    let attached = listed(&[
        vulns("2026-01-01T00:00:00Z"),
        descriptor(IN_TOTO, &json!({PREDICATE_TYPE: "https://slsa.dev/provenance/v1"})),
        vulns("2026-03-01T00:00:00Z"),
        descriptor("application/spdx+json", &json!({})),
        descriptor("application/vnd.trivy.report+json", &json!(null)),
        vulns("2026-03-01T00:00:00Z"),
    ]);
    let chosen: Vec<_> = Profiles::default()
        .reports(&attached)
        .iter()
        .map(|d| d.annotations.get(CREATED).map(String::as_str))
        .collect();
    assert_eq!(chosen, [Some("2026-03-01T00:00:00Z"), Some("2026-01-01T00:00:00Z"), None]);
}

#[test]
fn reports_of_scanners_and_vex_documents_are_told_apart_by_type() {
    let announced = |predicate: &str| descriptor(IN_TOTO, &json!({ PREDICATE_TYPE: predicate }));
    let chosen = |entry: serde_json::Value| {
        let attached = listed(&[entry]);
        let profile = Profiles::default();
        (profile.reports(&attached).len(), profile.vex(&attached).len())
    };
    for report in crate::findings::REPORT_MEDIA_TYPES {
        assert_eq!(chosen(descriptor(report, &json!({}))), (1, 0), "{report}");
    }
    for vex in crate::findings::VEX_MEDIA_TYPES {
        assert_eq!(chosen(descriptor(vex, &json!({}))), (0, 1), "{vex}");
    }
    assert_eq!(chosen(announced("https://openvex.dev/ns")), (0, 1));
    assert_eq!(chosen(announced("https://openvex.dev/ns/v0.2.0")), (0, 1));
    assert_eq!(chosen(announced("https://openvex.dev/nsx")), (0, 0));
    // What it is, it says itself.
    assert_eq!(chosen(descriptor(IN_TOTO, &json!({}))), (1, 0));
}

#[test]
fn every_entry_that_a_node_could_run_has_a_platform() {
    let entry = |platform: serde_json::Value, annotations: serde_json::Value| {
        let mut entry = descriptor("", &annotations);
        entry["platform"] = platform;
        listed(&[entry])[0].runnable_platform().map(|p| p.to_string())
    };
    let arm = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
    assert_eq!(entry(arm.clone(), json!({})).as_deref(), Some("linux/arm/v7"));
    assert_eq!(entry(json!({"os": "unknown", "architecture": "unknown"}), json!({})), None);
    // containerd runs these, so nobody may hide an image behind them.
    let attestation = json!({"vnd.docker.reference.type": "attestation-manifest"});
    assert_eq!(entry(arm, attestation).as_deref(), Some("linux/arm/v7"));
    let shouted = json!({"os": "LINUX", "architecture": "amd64"});
    assert_eq!(entry(shouted, json!({})).as_deref(), Some("linux/amd64"));
    assert_eq!(entry(json!(null), json!({})).as_deref(), Some("any/any"));
    assert_eq!(entry(json!({"os": ""}), json!({})).as_deref(), Some("any/any"));
}

#[test]
fn an_entry_that_cannot_be_read_is_its_pushers_fault() {
    let list = |digest: &str| {
        let entry = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 1});
        parse_list(json!({"manifests": [entry]}).to_string().as_bytes())
    };
    assert!(list(&Digest::of(b"").to_string()).is_ok());
    assert!(matches!(list(&format!("sha512:{}", "0".repeat(128))), Err(ReferrersError::Entry(_))));
    assert!(matches!(parse_list(br#"{"manifests":1}"#), Err(ReferrersError::Malformed(_))));
}
