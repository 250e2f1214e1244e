//! in-toto vulns v0.1 and v0.2 in every shape that is seen.

use super::*;

fn result(result: Value) -> Result<Findings, FindingsError> {
    read_statement(&vulns(json!([result])))
}

#[test]
fn the_example_of_the_specification_is_read() {
    let mut predicate = json!({
        "invocation": { "parameters": [], "uri": "https://ci.example/1", "event_id": "1" },
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@244fd47e07d1004f0aed9",
            "version": "0.19.2",
            "db": { "uri": "x", "version": "v1", "lastUpdate": "2021-08-06T17:45:50.52Z" },
            "result": [{
                "id": "CVE-123",
                "severity": [
                    { "method": "nvd", "score": "medium" },
                    { "method": "cvss_score", "score": "5.2" },
                ],
            }],
        },
        "metadata": {
            "scanStartedOn": "2021-08-06T17:45:50.52Z",
            "scanFinishedOn": "2021-08-06T19:50:50.52+02:00",
        },
    });
    let expected =
        json!({ "id": "CVE-123", "severity": "medium", "score": 5.2, "fix_state": "not_stated" });
    for predicate_type in [VULNS_V0_1, VULNS_V0_2] {
        let findings = read_statement(&statement(predicate_type, predicate.clone())).unwrap();
        let scanner = Scanner { name: "trivy".to_owned(), version: Some("0.19.2".to_owned()) };
        assert_eq!(*findings.scanner, scanner);
        let finished = time::macros::datetime!(2021-08-06 17:50:50.52 UTC);
        assert_eq!((findings.scanned_at, findings.scanned_at.offset()), (finished, UtcOffset::UTC));
        check(Ok(findings), expected.clone());
    }
    // The prose of v0.1 has the body in `vulnerability`.
    let body = predicate["scanner"]["result"][0].take();
    predicate["scanner"]["result"][0] = json!({ "vulnerability": body });
    check(read_statement(&statement(VULNS_V0_1, predicate)), expected);
}

#[test]
fn every_shape_that_is_seen_is_read() {
    check(result(json!({ "id": "CVE-1" })), BARE("CVE-1", "unknown"));
    check(result(json!({ "id": "CVE-1", "severity": null })), BARE("CVE-1", "unknown"));
    check(result(json!({ "id": "CVE-1", "severity": "High" })), BARE("CVE-1", "high"));
    check(
        result(json!({ "id": "CVE-1", "severity": { "method": "nvd", "score": "low" } })),
        BARE("CVE-1", "low"),
    );
    // Grype's matches as a result.
    check(
        result(json!({ "vulnerability": { "id": "CVE-1", "severity": "High", "fix": {} } })),
        BARE("CVE-1", "high"),
    );
    // govulncheck by security-profiles-operator.
    check(
        result(json!({
            "id": "GO-2022-0969", "severity": [],
            "annotations": [{ "aliases": ["GHSA-69cg-p879-7622", "CVE-2022-27664"] }],
        })),
        json!({
            "id": "GO-2022-0969", "severity": "unknown", "fix_state": "not_stated",
            "aliases": ["CVE-2022-27664", "GHSA-69cg-p879-7622"],
        }),
    );
    check(
        result(json!({
            "id": "CVE-1", "severity": [{ "method": "nvd", "score": "low" }],
            "vulnerability": { "id": "GHSA-1", "severity": [{ "score": "critical" }] },
        })),
        json!({
            "id": "CVE-1", "aliases": ["GHSA-1"], "severity": "critical",
            "fix_state": "not_stated",
        }),
    );
}

#[test]
fn annotations_are_read_as_object_or_list_in_snake_or_camel_case() {
    let expected = json!({
        "id": "CVE-1", "aliases": ["GHSA-1"], "severity": "high", "package": "openssl",
        "purl": "pkg:deb/debian/openssl@3.0", "installed": "3.0", "fixed": ["3.1", "3.2"],
        "fix_state": "fixed",
    });
    let snake = json!({
        "package": "openssl", "installed_version": " 3.0", "ecosystem": { "any": ["thing"] },
        "purl": "pkg:deb/debian/openssl@3.0", "fixed_version": "3.1, 3.2, 3.1",
        "aliases": ["GHSA-1"], "summary": "x", "source": "osv", "severity": "HIGH",
    });
    let camel = json!({
        "package": "openssl", "installedVersion": "3.0", "aliases": "GHSA-1",
        "purl": "pkg:deb/debian/openssl@3.0", "fixedVersion": ["3.1", "3.2"],
        "fixState": "wont_fix", "severity": [{ "method": "x", "score": "high" }],
    });
    let parts = json!([
        { "package": "openssl", "fixed_version": ["3.1"], "severity": "low", "aliases": null },
        { "package": "other", "installed_version": "3.0", "purl": "pkg:deb/debian/openssl@3.0" },
        { "fixed_version": ["3.2"], "severity": "high", "aliases": ["ghsa-1", "GHSA-1", "cve-1"] },
    ]);
    for annotations in [snake.clone(), json!([snake]), camel.clone(), json!([camel]), parts] {
        let read = result(json!({ "id": "CVE-1", "annotations": annotations }));
        check(read, expected.clone());
    }
    refused(result(json!({ "id": "CVE-1", "annotations": "x" })), "annotations");
    refused(result(json!({ "id": "CVE-1", "annotations": [{ "package": {} }] })), "invalid type");
    let twice = json!([{ "fixed_version": "1", "fixedVersion": "" }]);
    refused(result(json!({ "id": "CVE-1", "annotations": twice })), "duplicate field");
}

#[test]
fn no_result_is_not_an_empty_result() {
    assert!(read_statement(&vulns(json!([]))).unwrap().is_empty());
    for broken in [
        with(vulns(json!([])), "/predicate/scanner/result", json!(null)),
        without(vulns(json!([])), "/predicate/scanner/result"),
    ] {
        refused(read_statement(&broken), "does not state `predicate.scanner.result`");
    }
    for (pointer, value) in [
        ("/predicate/scanner/result", json!({})),
        ("/predicate/scanner/result", json!("none")),
        ("/predicate/scanner/result", json!([null])),
        ("/predicate/scanner", json!([])),
        ("/predicate", json!(null)),
        ("/predicate", json!({})),
    ] {
        let broken = with(vulns(json!([])), pointer, value);
        assert_eq!(refused(read_statement(&broken), ""), Reason::Malformed);
    }
    let nameless = with(vulns(json!([])), "/predicate/scanner/uri", json!(" "));
    refused(read_statement(&nameless), "does not state `predicate.scanner.uri`");
}

#[test]
fn versions_of_a_scanner_are_one_scanner() {
    for (uri, name) in [
        ("pkg:github/aquasecurity/trivy@244fd47", "trivy"),
        ("pkg:github/aquasecurity/trivy", "trivy"),
        ("pkg:github/anchore/grype@v0.80.0", "grype"),
        ("https://scanner.example/@v1", "https://scanner.example/@v1"),
        ("MDVM", "MDVM"),
    ] {
        let statement = with(vulns(json!([])), "/predicate/scanner/uri", json!(uri));
        assert_eq!(read_statement(&statement).unwrap().scanner.name, name);
    }
}
