//! Profiles as they are written, what they choose, and what they admit.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::findings::{Findings, Scanner, Vex};
use crate::image::Digest;

fn profiles(written: &Value) -> Result<Profiles, String> {
    serde_json::from_value(written.clone()).map_err(|error| error.to_string())
}

fn one(profile: &Value) -> Profiles {
    profiles(&json!([profile])).unwrap()
}

#[track_caller]
fn refused(written: &Value, why: &str) {
    let error = profiles(written).unwrap_err();
    assert!(error.contains(why), "{error}");
}

fn listed(artifact_type: &str, annotations: &[(&str, &str)]) -> Descriptor {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Descriptor {
        media_type: super::super::OCI_MANIFEST.to_owned(),
        digest: Digest::of(artifact_type.as_bytes()),
        size: 1,
        artifact_type: Some(artifact_type.to_owned()),
        annotations: annotations.iter().map(own).collect(),
        platform: None,
    }
}

fn signer(subject: &str, policy: &str) -> Signer {
    let signer = crate::simulate::report(
        Digest::of(b"report"),
        Findings::new(scanner(), OffsetDateTime::UNIX_EPOCH, Vec::new()),
    )
    .signer;
    Signer { subject: subject.to_owned(), policy: policy.to_owned(), ..(*signer).clone() }
}

fn scanner() -> Scanner {
    Scanner { name: "trivy".to_owned(), version: None }
}

fn reading(format: Format, predicate_type: Option<&str>) -> Reading {
    let content = match format {
        Format::OpenVex => Content::Vex(Vex::default()),
        _ => Content::Findings(Findings::new(scanner(), OffsetDateTime::UNIX_EPOCH, Vec::new())),
    };
    Reading { content, format, predicate_type: predicate_type.map(ToOwned::to_owned) }
}

const VULNS: &str = findings::VULNS_V0_2;

/// What is said of a signed document.
#[track_caller]
fn check(
    profiles: &Profiles,
    (format, predicate_type): (Format, Option<&str>),
    annotations: &[(&str, &str)],
    signer: &Signer,
    expected: Option<Reason>,
) {
    let annotations = listed("", annotations).annotations;
    let admitted = profiles.admit_signed(&annotations, signer, &reading(format, predicate_type));
    assert_eq!(admitted.err().map(|error| error.reason()), expected);
}

#[test]
fn the_defaults_take_every_document_that_is_read_of_any_signer() {
    let any = signer("CN=any", "any");
    let defaults = Profiles::default();
    defaults.admit_signer(&any).unwrap();
    for format in [
        Format::Trivy,
        Format::Grype,
        Format::Sarif,
        Format::CycloneDx,
        Format::CosignVuln,
        Format::OpenVex,
    ] {
        check(&defaults, (format, None), &[], &any, None);
    }
    for predicate in findings::REPORT_PREDICATES {
        check(&defaults, (Format::Vulns, Some(predicate)), &[], &any, None);
    }
    let openvex = "https://openvex.dev/ns/v0.2.0";
    check(&defaults, (Format::OpenVex, Some(openvex)), &[], &any, None);
    assert_eq!(defaults.warnings(), Vec::<String>::new());
}

#[test]
fn t001_a_statement_of_another_predicate_type_is_no_report() {
    let spdx = "https://spdx.dev/Document";
    let defaults = Profiles::default();
    let attached = [listed(IN_TOTO, &[(PREDICATE_TYPE, spdx)])];
    assert!(defaults.reports(&attached).is_empty());
    assert!(defaults.vex(&attached).is_empty());
    // What was announced is a hint; what was signed decides.
    let only = one(&json!({
        "name": "defender", "artifactTypes": [IN_TOTO], "predicateTypes": [VULNS],
    }));
    let any = signer("CN=any", "any");
    check(&only, (Format::Vulns, Some(VULNS)), &[], &any, None);
    let no = Some(Reason::NoProfile);
    check(&only, (Format::CosignVuln, Some(findings::COSIGN_VULN_V1)), &[], &any, no);
    check(&only, (Format::OpenVex, Some(findings::OPENVEX)), &[], &any, no);
    check(&only, (Format::Trivy, None), &[], &any, no);
}

#[test]
fn t008_a_trusted_signer_of_something_else_is_no_scanner() {
    let restricted = profiles(&json!([
        {"name": "by policy", "artifactTypes": ["a"], "formats": ["trivy"],
         "signers": [{"policy": "scanners"}]},
        {"name": "by subject", "artifactTypes": ["a"], "formats": ["sarif"],
         "signers": [{"subject": "x509.subject: C=US, ST=WA, O=acme, CN=scanner"}, {"subject": "key:ci"}]},
        {"name": "by both", "artifactTypes": ["a"], "formats": ["grype"],
         "signers": [{"policy": "scanners", "subject": "key:ci"}]},
    ]))
    .unwrap();
    let no = Some(Reason::UntrustedSigner);
    let (trivy, sarif, grype) =
        ((Format::Trivy, None), (Format::Sarif, None), (Format::Grype, None));
    let author = signer("CN=author,O=acme,ST=WA,C=US", "images");
    assert_eq!(restricted.admit_signer(&author).unwrap_err().reason(), Reason::UntrustedSigner);
    let scanner = signer("CN=scanner,OU=x,O=acme,ST=WA,C=US", "images");
    for (signer, expected) in [
        (&author, [no, no, no]),
        (&scanner, [no, None, no]),
        (&signer("CN=other,O=acme,ST=WA,C=US", "scanners"), [None, no, no]),
        (&signer("key:ci", "images"), [no, None, no]),
        (&signer("key:ci", "scanners"), [None, None, None]),
        // A subject that no identity can name is not one of them.
        (&signer("CN=scanner+OU=x,O=acme,ST=WA,C=US", "images"), [no, no, no]),
    ] {
        for (document, expected) in [trivy, sarif, grype].into_iter().zip(expected) {
            check(&restricted, document, &[], signer, expected);
        }
        let may = expected.contains(&None);
        assert_eq!(restricted.admit_signer(signer).is_ok(), may, "{}", signer.subject);
    }
}

#[test]
fn annotations_choose_by_what_is_listed_and_admit_by_what_is_signed() {
    let mdvm = one(&json!({
        "name": "defender", "artifactTypes": [IN_TOTO],
        "annotations": {"scanner": "MDVM", "report-type": "Software*"},
    }));
    let any = signer("CN=any", "any");
    let good = [("scanner", "MDVM"), ("report-type", "SoftwareInventoryAssessment")];
    for (annotations, is_it) in [
        (&good[..], true),
        (&good[..1], false),
        (&[("scanner", "mdvm"), good[1]], false),
        (&[good[0], ("report-type", "MySoftware")], false),
        (&[], false),
    ] {
        let chosen = mdvm.reports(&[listed(IN_TOTO, annotations)]).len();
        assert_eq!(chosen == 1, is_it, "{annotations:?}");
        let expected = (!is_it).then_some(Reason::NoProfile);
        check(&mdvm, (Format::Vulns, Some(VULNS)), annotations, &any, expected);
    }
}

#[test]
fn a_profile_of_vex_takes_no_findings_and_the_reverse() {
    let vex = one(&json!({"name": "v", "kind": "vex", "artifactTypes": ["a"]}));
    let any = signer("CN=any", "any");
    check(&vex, (Format::OpenVex, None), &[], &any, None);
    check(&vex, (Format::Trivy, None), &[], &any, Some(Reason::NoProfile));
    assert!(vex.reports(&[listed("a", &[])]).is_empty());
    assert_eq!(vex.vex(&[listed("a", &[])]).len(), 1);
    assert!(vex.warnings().iter().any(|warning| warning.contains("no image has a report")));
}

#[test]
fn what_can_match_nothing_is_warned_of() {
    let warned = |profile: &Value, word: &str| {
        let warnings = one(profile).warnings();
        assert!(warnings.iter().any(|warning| warning.contains(word)), "{warnings:?}");
    };
    warned(
        &json!({"name": "a", "artifactTypes": ["b"], "formats": ["openvex"]}),
        "can match nothing",
    );
    let sbom = json!(["https://cyclonedx.org/bom"]);
    warned(
        &json!({"name": "a", "artifactTypes": [IN_TOTO], "predicateTypes": sbom}),
        "cyclonedx.org/bom",
    );
    warned(
        &json!({"name": "a", "artifactTypes": [IN_TOTO], "predicateTypes": sbom}),
        "can match nothing",
    );
}

#[test]
fn what_is_not_a_profile_is_refused() {
    let with = |more: Value| {
        let mut profile = json!({"name": "a", "artifactTypes": ["b"]});
        for (key, value) in more.as_object().unwrap() {
            profile[key] = value.clone();
        }
        json!([profile])
    };
    refused(&json!([]), "nothing would count");
    refused(&json!([{"name": "a"}]), "artifactTypes");
    refused(&with(json!({"name": ""})), "empty `name`");
    refused(&with(json!({"artifactTypes": []})), "empty `artifactTypes`");
    refused(&with(json!({"signers": []})), "empty `signers`");
    refused(&with(json!({"signers": [{}]})), "anybody would be it");
    refused(&with(json!({"signers": [{"subject": ""}]})), "empty `subject`");
    refused(&with(json!({"signers": [{"subject": "x509.subject: CN=a"}]})), "has no `C`");
    refused(&with(json!({"signers": [{"subject": "x".repeat(4097)}]})), "longer than");
    refused(&with(json!({"annotations": {"a": "x*".repeat(17)}})), "`*`");
    refused(&with(json!({"kind": "sbom"})), "sbom");
    refused(&with(json!({"subjectRegExp": ".*"})), "subjectRegExp");
    let twice =
        json!([{"name": "a", "artifactTypes": ["b"]}, {"name": "a", "artifactTypes": ["c"]}]);
    refused(&twice, "two profiles are called `a`");
}

#[test]
fn profiles_are_refused_one_past_their_bounds() {
    let many = |count: usize| -> Value {
        (0..count).map(|n| json!({"name": n.to_string(), "artifactTypes": ["b"]})).collect()
    };
    assert!(profiles(&many(MAX_PROFILES)).is_ok());
    refused(&many(MAX_PROFILES + 1), "more than the 64 allowed");
    let types = |count: usize| json!([{"name": "a", "artifactTypes": vec!["b"; count]}]);
    assert!(profiles(&types(MAX_PROFILE_LIST)).is_ok());
    refused(&types(MAX_PROFILE_LIST + 1), "more than 64 entries in `artifactTypes`");
    let text = |length: usize| json!([{"name": "a", "artifactTypes": ["b".repeat(length)]}]);
    assert!(profiles(&text(MAX_PROFILE_TEXT)).is_ok());
    refused(&text(MAX_PROFILE_TEXT + 1), "longer than 1024 bytes in `artifactTypes`");
}
