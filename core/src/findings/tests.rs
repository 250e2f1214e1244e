//! Reports of every format and fault: what they say, or why they say nothing.

#![expect(clippy::needless_pass_by_value, reason = "documents are passed as they are written")]

use super::content::JSON;
use super::*;
use crate::evidence::Reason;
use crate::referrers::IN_TOTO;
use proptest::prelude::*;
use serde_json::{Value, json};

mod statements;
mod vulns_predicate;
mod cosign;
mod trivy_report;
mod normal_form;
mod times;
mod statement_of_a_report;
mod grype_report;
mod sarif_documents;
mod cyclonedx_documents;
mod vex_documents;
mod facts;

const HEX: &str = "fe4fe40ac7250263c5dbe1cf3138912f3f416140aa248637a60d65fe22c47da4";
const TIME: &str = "2026-03-01T10:00:00.123456789Z";
const TRIVY: &str = "application/vnd.aquasecurity.trivy.report+json";

/// The only call of the reader: `report` as a layer of `media_type`, attached to the image `HEX`.
fn read_as(
    media_type: &str,
    announced: Option<&str>,
    report: &str,
) -> Result<Findings, FindingsError> {
    let annotations = announced
        .map(|a| (crate::referrers::PREDICATE_TYPE.to_owned(), a.to_owned()))
        .into_iter()
        .collect();
    findings(&Input {
        bytes: report.as_bytes(),
        media_type,
        subject: format!("sha256:{HEX}").parse().unwrap(),
        annotations: &annotations,
    })
}

fn read_statement(statement: &Value) -> Result<Findings, FindingsError> {
    read_as(IN_TOTO, None, &statement.to_string())
}

fn read_trivy(report: &Value) -> Result<Findings, FindingsError> {
    read_as(TRIVY, None, &report.to_string())
}

fn statement(predicate_type: &str, predicate: Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "image", "digest": { "sha256": HEX } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

fn vulns(results: Value) -> Value {
    let scanner = json!({ "uri": "https://scanner.example", "version": "1.2", "result": results });
    statement(VULNS_V0_2, json!({ "scanner": scanner, "metadata": { "scanFinishedOn": TIME } }))
}

fn trivy(vulnerabilities: Value) -> Value {
    json!({
        "SchemaVersion": 2,
        "Trivy": { "Version": "0.60.0" },
        "CreatedAt": TIME,
        "Metadata": { "OS": { "Family": "debian", "Name": "12.1" } },
        "Results": [{ "Class": "os-pkgs", "Vulnerabilities": vulnerabilities }],
    })
}

fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    *document.pointer_mut(pointer).unwrap() = value;
    document
}

fn without(mut document: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    document
}

/// The one finding of a report, as JSON.
#[track_caller]
fn check(read: Result<Findings, FindingsError>, expected: Value) {
    let findings = read.unwrap();
    assert_eq!(
        serde_json::to_value(findings.iter().map(FindingRef::to_finding).collect::<Vec<_>>())
            .unwrap(),
        json!([expected])
    );
}

#[track_caller]
fn refused<T: fmt::Debug>(read: Result<T, FindingsError>, message: &str) -> Reason {
    let error = read.unwrap_err();
    let mut chain = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    assert!(chain.contains(message), "{chain:?} does not say {message:?}");
    error.reason()
}

const BARE: fn(&str, &str) -> Value =
    |id, severity| json!({ "id": id, "severity": severity, "fix_state": "not_stated" });

#[test]
fn t032_words_of_vendors_have_a_documented_meaning() {
    for (word, severity) in [
        ("Critical", Severity::Critical),
        ("CRITICAL ", Severity::Critical),
        ("crit", Severity::Unknown),
        ("Important", Severity::High),
        ("HIGH", Severity::High),
        ("moderate", Severity::Medium),
        ("\tMedium\n", Severity::Medium),
        ("low", Severity::Low),
        ("minor", Severity::Low),
        ("unimportant", Severity::Low),
        ("Negligible", Severity::Negligible),
        ("NONE", Severity::Negligible),
        ("unknown", Severity::Unknown),
        ("catastrophic", Severity::Unknown),
        ("", Severity::Unknown),
    ] {
        assert_eq!(Severity::from_word(word), severity, "{word:?}");
    }
}

fn statement_of(report: &Value, subject: Digest) -> super::statement::Statement {
    super::statement::from_report(report.to_string().as_bytes(), "image", subject).unwrap()
}
