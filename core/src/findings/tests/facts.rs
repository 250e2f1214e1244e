//! Facts beside a finding, in every format that states them, and documents within statements.

use super::grype_report::{grype, read_json};
use super::*;

fn annotated(annotations: Value) -> Finding {
    let results = json!([{ "id": "CVE-1", "severity": "high", "annotations": annotations }]);
    read_statement(&vulns(results)).unwrap().get(0).unwrap().to_finding()
}

#[test]
fn annotations_of_a_statement_state_dates_and_likelihoods() {
    let (first, second) = ("2026-01-02T03:04:05Z", "2026-01-03T00:00:00Z");
    let at = |text| Some(OffsetDateTime::parse(text, &Rfc3339).unwrap());
    for key in ["first_seen", "firstSeen", "firstObservedAt"] {
        assert_eq!(annotated(json!({ key: first })).first_seen, at(first), "{key}");
    }
    assert_eq!(annotated(json!({ "published": "2026-01-02T03:04:05.9Z" })).published, at(first));
    for epss in [json!(0.25), json!("0.25")] {
        assert_eq!(annotated(json!({ "epss": epss })).epss, Epss::from_f64(0.25));
    }
    for (key, known) in [("known_exploited", json!(true)), ("knownExploited", json!("true"))] {
        assert_eq!(annotated(json!({ key: known })).known_exploited, Some(true));
    }
    // Of several the one with which it counts more.
    let both = annotated(json!([
        { "published": second, "first_seen": second, "epss": 0.5, "known_exploited": true,
          "analysis": "not_affected" },
        { "published": first, "first_seen": first, "epss": 0.25, "known_exploited": false,
          "analysis": "affected" },
    ]));
    assert_eq!((both.published, both.first_seen), (at(first), at(first)));
    assert_eq!((both.epss, both.known_exploited), (Epss::from_f64(0.5), Some(true)));
    assert_eq!(both.analysis, Analysis::Affected);
}

#[test]
fn a_free_key_that_holds_something_else_is_not_stated() {
    for odd in [json!(null), json!("soon"), json!({}), json!([1]), json!(-1), json!(1e300)] {
        let keys = ["published", "first_seen", "epss", "known_exploited", "analysis"];
        let annotations: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), odd.clone())).collect();
        let bare = annotated(json!({}));
        assert_eq!(annotated(Value::Object(annotations)), bare, "{odd}");
    }
}

#[test]
fn a_date_of_publication_that_is_none_is_not_stated() {
    let published = |date: Value| {
        let found = json!([{ "VulnerabilityID": "CVE-1", "PublishedDate": date }]);
        read_trivy(&trivy(found)).unwrap().get(0).unwrap().published()
    };
    let at = time::macros::datetime!(2019-09-10 17:15 UTC);
    assert_eq!(published(json!("2019-09-10T17:15:00Z")), Some(at));
    for none in [json!(null), json!(""), json!("0001-01-01T00:00:00Z"), json!("2019")] {
        assert_eq!(published(none.clone()), None, "{none}");
    }
}

#[test]
fn a_statement_carries_a_scanner_s_own_document() {
    let found = json!([{ "vulnerability": { "id": "CVE-1", "severity": "High" } }]);
    let own = grype(found);
    let attested = "2026-03-05T00:00:00Z";
    let around = |predicate_type: &str, result: Value| {
        read_statement(&statement(
            predicate_type,
            json!({
                "scanner": { "uri": "https://scanner.example", "version": "1", "result": result },
                "metadata": { "scanFinishedOn": attested },
            }),
        ))
    };
    for predicate_type in [COSIGN_VULN_V1, VULNS_V0_2, VULNS_V0_1] {
        let findings = around(predicate_type, own.clone()).unwrap();
        assert_eq!(findings.scanner.name, "grype");
        assert_eq!(findings.scanned_at, OffsetDateTime::parse(attested, &Rfc3339).unwrap());
        check(Ok(findings), BARE("CVE-1", "high"));
        // Not a document within a document.
        for nested in [vulns(json!([])), json!({ "scanner": {}, "metadata": {} }), json!({})] {
            refused(around(predicate_type, nested), "not a findings format that is read");
        }
    }
}

#[test]
fn cosign_s_predicate_alone_is_read() {
    let predicate = json!({
        "scanner": { "uri": "pkg:github/aquasecurity/trivy@dev", "result": trivy(json!([])) },
        "metadata": { "scanFinishedOn": TIME },
    });
    assert!(read_json(&predicate).unwrap().is_empty());
}

/// Each place of a good document of each format holds something else.
#[test]
fn no_change_of_a_document_panics_or_loses_its_findings() {
    let documents = [
        grype(
            json!([{ "vulnerability": { "id": "CVE-1", "cvss": [{}], "epss": [{ "epss": 0.1 }] } }]),
        ),
        json!({ "version": "2.1.0", "runs": [{
            "tool": { "driver": { "name": "Trivy", "rules": [{ "id": "CVE-1", "properties": {
                "tags": ["vulnerability", "security", "HIGH"], "security-severity": "8.1" } }] } },
            "invocations": [{ "endTimeUtc": TIME }],
            "results": [{ "ruleId": "CVE-1", "ruleIndex": 0, "message": { "text": "x" } }],
        }] }),
        json!({ "bomFormat": "CycloneDX", "components": [{ "bom-ref": "a", "name": "b" }],
            "metadata": { "timestamp": TIME, "tools": [{ "name": "trivy" }] },
            "vulnerabilities": [{ "id": "CVE-1", "ratings": [{ "severity": "high", "score": 1 }],
                "affects": [{ "ref": "a", "versions": [{ "version": "1" }] }] }] }),
    ];
    for document in documents {
        assert_eq!(read_json(&document).unwrap().len(), 1, "{document}");
        let mut places = Vec::new();
        super::statement_of_a_report::list_places(&document, "", &mut places);
        for place in places {
            for odd in [json!(null), json!([]), json!({}), json!(-1), json!(1e300), json!("\n")] {
                let changed = with(document.clone(), &place, odd.clone());
                if let Ok(findings) = read_json(&changed) {
                    // Only an empty list of findings is one without any.
                    assert!(odd == json!([]) || !findings.is_empty(), "{changed}");
                }
            }
        }
    }
}

#[test]
fn a_statement_made_of_any_format_loses_nothing() {
    let component = json!({ "bom-ref": "a", "name": "b", "version": "1", "purl": "pkg:npm/b@1" });
    let judged = ["resolved", "not_affected", "exploitable"].map(|state| {
        json!({
            "id": "CVE-1", "published": TIME, "analysis": { "state": state },
            "ratings": [{ "severity": "info", "method": "CVSSv3", "score": 9.1 }],
            "affects": [{ "ref": "a" }],
        })
    });
    let documents = [
        grype(json!([{
            "vulnerability": { "id": "CVE-1", "severity": "High", "risk": 1.0,
                "epss": [{ "epss": 0.97565 }], "knownExploited": [{}],
                "fix": { "versions": ["2"], "state": "fixed" } },
            "artifact": { "name": "b", "version": "1", "purl": "pkg:npm/b@1" },
        }, { "vulnerability": { "id": "CVE-2", "severity": "Low", "risk": 0 } }])),
        json!({ "bomFormat": "CycloneDX", "components": [component],
            "metadata": { "timestamp": TIME, "tools": [{ "name": "pkg:x@1", "version": "2" }] },
            "vulnerabilities": judged }),
        with(
            vulns(json!([{ "id": "CVE-1", "annotations": { "first_seen": TIME } }])),
            "/predicate/scanner/uri",
            json!("MDVM"),
        ),
    ];
    for document in documents {
        let subject = format!("sha256:{HEX}").parse().unwrap();
        let made = super::statement_of(&document, subject);
        let text = std::str::from_utf8(&made.bytes).unwrap();
        let read = read_as(IN_TOTO, Some(made.predicate_type), text).unwrap();
        let direct = read_json(&document).unwrap();
        assert!(!direct.is_empty());
        assert_eq!(read, direct);
    }
}
