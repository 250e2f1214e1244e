//! Grype's JSON: what is read of it, and when it says nothing.

use super::*;

pub(super) fn grype(matches: Value) -> Value {
    json!({
        "matches": matches,
        "source": { "type": "image" },
        "distro": { "name": "debian", "version": "12" },
        "descriptor": { "name": "grype", "version": "0.90.0", "timestamp": TIME },
    })
}

pub(super) fn read_json(report: &Value) -> Result<Findings, FindingsError> {
    read_as(JSON, None, &report.to_string())
}

fn full() -> Value {
    json!({
        "vulnerability": {
            "id": "GHSA-aaaa-bbbb-cccc",
            "severity": "High",
            "cvss": [
                { "version": "2.0", "vector": "AV:N/AC:L/Au:N/C:C/I:C/A:C",
                  "metrics": { "baseScore": 10.0 } },
                { "version": "3.1", "vector": "CVSS:3.1/x", "metrics": { "baseScore": 7.5 } },
            ],
            "epss": [{ "cve": "CVE-2024-1111", "epss": 0.25, "percentile": 0.9 }],
            "fix": { "versions": ["1.2.1", "2.1.3"], "state": "fixed" },
            "risk": 1.5,
        },
        "relatedVulnerabilities": [{ "id": "CVE-2024-1111", "severity": "Critical" }],
        "artifact": { "name": "curl", "version": "1.0", "purl": "pkg:deb/debian/curl@1.0" },
    })
}

#[test]
fn every_fact_of_a_match_is_read() {
    let findings = read_json(&grype(json!([full()]))).unwrap();
    assert_eq!(findings.scanner.name, "grype");
    assert_eq!(findings.scanner.version.as_deref(), Some("0.90.0"));
    assert_eq!(findings.scanned_at, OffsetDateTime::parse(TIME, &Rfc3339).unwrap());
    let expected = json!({
        "id": "GHSA-aaaa-bbbb-cccc", "aliases": ["CVE-2024-1111"], "severity": "high", "score": 7.5,
        "package": "curl", "purl": "pkg:deb/debian/curl@1.0", "installed": "1.0",
        "fixed": ["1.2.1", "2.1.3"], "fix_state": "fixed", "known_exploited": false, "epss": 0.25,
    });
    check(Ok(findings), expected);
}

#[test]
fn what_is_exploited_is_stated_only_by_versions_that_know_it() {
    let known = |change: &dyn Fn(&mut Value)| {
        let mut found = full();
        change(&mut found);
        let findings = read_json(&grype(json!([found]))).unwrap();
        findings.get(0).unwrap().known_exploited()
    };
    assert_eq!(known(&|_| ()), Some(false));
    assert_eq!(known(&|f| *f = without(f.clone(), "/vulnerability/risk")), None);
    // Without metadata the risk is that of nothing.
    assert_eq!(known(&|f| *f = without(f.clone(), "/vulnerability/severity")), None);
    let listed = json!([{ "cve": "CVE-2024-1111" }]);
    assert_eq!(known(&|f| f["vulnerability"]["knownExploited"] = listed.clone()), Some(true));
    assert_eq!(
        known(&|f| f["relatedVulnerabilities"][0]["knownExploited"] = listed.clone()),
        Some(true)
    );
}

#[test]
fn states_of_a_fix_and_severities_have_their_words() {
    let read = |pointer: &str, value: Value| {
        let found = with(full(), "/vulnerability/fix/versions", json!([]));
        let found = with(found, "/vulnerability/cvss", json!([]));
        read_json(&grype(json!([with(found, pointer, value)])))
            .unwrap()
            .get(0)
            .unwrap()
            .to_finding()
    };
    for (word, state) in [
        ("fixed", FixState::Fixed),
        ("not-fixed", FixState::NotFixed),
        ("wont-fix", FixState::WontFix),
        ("unknown", FixState::NotStated),
        ("", FixState::NotStated),
    ] {
        assert_eq!(read("/vulnerability/fix/state", json!(word)).fix_state, state, "{word}");
    }
    for (word, severity) in [
        ("Critical", Severity::Critical),
        ("Negligible", Severity::Negligible),
        ("Unknown", Severity::Unknown),
        ("", Severity::Unknown),
    ] {
        assert_eq!(read("/vulnerability/severity", json!(word)).severity, severity, "{word}");
    }
    let unknown = with(full(), "/vulnerability/severity", json!("Unknown"));
    let findings = read_json(&grype(json!([unknown]))).unwrap();
    assert_eq!(findings.get(0).unwrap().severity(), Severity::High, "by its score");
}

#[test]
fn ignored_matches_are_not_findings() {
    let mut report = grype(json!([]));
    report["ignoredMatches"] = json!([full()]);
    assert!(read_json(&report).unwrap().is_empty());
}

#[test]
fn a_report_that_did_not_cover_the_image_is_refused() {
    let uncovered = |report: Value| {
        let error = read_json(&report).unwrap_err();
        assert!(matches!(error, FindingsError::NotCovered(_)), "{report}: {error}");
    };
    let unknown = with(grype(json!([])), "/distro/name", json!(""));
    uncovered(unknown.clone());
    uncovered(without(grype(json!([])), "/distro"));
    // Something was matched, so packages were looked at.
    read_json(&with(unknown, "/matches", json!([full()]))).unwrap();
    for kind in ["distro-eol", "distro-unknown", "distro-disabled"] {
        let mut report = grype(json!([full()]));
        report["alertsByPackage"] = json!([{ "alerts": [] }, { "alerts": [{ "type": kind }] }]);
        uncovered(report);
    }
    let mut other = grype(json!([]));
    other["alertsByPackage"] = json!([{ "alerts": [{ "type": "other" }] }, {}]);
    read_json(&other).unwrap();
}

#[test]
fn what_grype_did_not_write_or_did_not_date_is_refused() {
    let other = with(grype(json!([])), "/descriptor/name", json!("syft"));
    refused(read_json(&other), "not a findings format that is read");
    for timestamp in [json!(""), json!(null)] {
        let timeless = with(grype(json!([])), "/descriptor/timestamp", timestamp);
        refused(read_json(&timeless), "does not state `descriptor.timestamp`");
    }
    refused(read_json(&with(grype(json!([])), "/matches", json!({}))), "cannot be read");
    refused(read_json(&grype(json!([{ "vulnerability": {} }]))), "vulnerability identifier");
}

#[test]
fn matches_and_lists_are_refused_one_past_their_bounds() {
    let report = |n: usize| {
        let list = vec![r#"{"vulnerability":{"id":"X"}}"#; n].join(",");
        let report = grype(json!("HERE")).to_string().replace("\"HERE\"", &format!("[{list}]"));
        read_as(JSON, None, &report)
    };
    assert_eq!(report(MAX_FINDINGS).unwrap().len(), 1);
    assert_eq!(refused(report(MAX_FINDINGS + 1), "more findings"), Reason::TooLarge);
    for (pointer, entry, what) in [
        ("/vulnerability/cvss", json!({}), "more ratings"),
        ("/vulnerability/epss", json!({}), "more EPSS"),
        ("/vulnerability/fix/versions", json!("1"), "more fixed versions"),
        ("/relatedVulnerabilities", json!({ "id": "A" }), "more aliases"),
    ] {
        let read = |n: usize| {
            read_json(&grype(json!([with(full(), pointer, json!(vec![entry.clone(); n]))])))
        };
        read(MAX_LIST).unwrap();
        assert_eq!(refused(read(MAX_LIST + 1), what), Reason::TooLarge);
    }
    let alerts = |n: usize| {
        let mut report = grype(json!([]));
        report["alertsByPackage"] = json!(vec![json!({}); n]);
        read_json(&report)
    };
    alerts(MAX_FINDINGS).unwrap();
    assert_eq!(refused(alerts(MAX_FINDINGS + 1), "more packages"), Reason::TooLarge);
}
