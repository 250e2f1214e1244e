//! cosign's vuln predicate: a scanner's own report within a statement.

use super::*;

fn cosign(result: Value) -> Value {
    let scanner = json!({ "uri": "pkg:github/aquasecurity/trivy@dev", "result": result });
    let metadata = json!({ "scanStartedOn": TIME, "scanFinishedOn": "2026-03-02T00:00:00Z" });
    statement(COSIGN_VULN_V1, json!({ "scanner": scanner, "metadata": metadata }))
}

#[test]
fn the_scanner_s_own_report_is_read_and_the_attested_time_counts() {
    let report = trivy(json!([{ "VulnerabilityID": "CVE-1", "Severity": "HIGH" }]));
    let findings = read_statement(&cosign(report)).unwrap();
    assert_eq!(findings.scanned_at, time::macros::datetime!(2026-03-02 00:00 UTC));
    assert_eq!(findings.scanner.name, "trivy");
    assert_eq!(findings.scanner.version.as_deref(), Some("0.60.0"));
    check(Ok(findings), BARE("CVE-1", "high"));
}

#[test]
fn what_is_not_a_report_of_a_known_scanner_is_refused() {
    for result in [json!({}), json!({ "matches": [] }), json!({ "SchemaVersion": null })] {
        refused(read_statement(&cosign(result)), "not a findings format that is read");
    }
    refused(read_statement(&cosign(json!([]))), "cannot be read");
    refused(read_statement(&cosign(json!(null))), "`predicate.scanner.result`");
    let uncovered = with(trivy(json!([])), "/Metadata/OS/Family", json!("none"));
    let uncovered = with(uncovered, "/Results", json!(null));
    refused(read_statement(&cosign(uncovered)), "not covered");
    let timeless = without(cosign(trivy(json!([]))), "/predicate/metadata");
    refused(read_statement(&timeless), "`metadata.scanFinishedOn`");
}
