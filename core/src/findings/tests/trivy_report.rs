//! Trivy JSON: what it says, and when it says nothing.

use super::*;

#[test]
fn every_field_is_read() {
    let report = trivy(json!([{
        "VulnerabilityID": "CVE-2024-1234",
        "VendorIDs": ["DSA-1", "GHSA-aaaa-bbbb-cccc", "dsa-1"],
        "PkgName": "openssl",
        "PkgIdentifier": { "PURL": "pkg:deb/debian/openssl@3.0", "UID": "1" },
        "InstalledVersion": "3.0",
        "FixedVersion": "25.0.2, 24.0.9",
        "Status": "affected",
        "Severity": "LOW",
        "CVSS": {
            "nvd": { "V2Score": 10.0, "V3Score": 7.8, "V40Score": 8.1 },
            "ghsa": { "V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N" },
        },
    }]));
    let findings = read_trivy(&report).unwrap();
    assert_eq!(findings.scanner.name, "trivy");
    assert_eq!(findings.scanner.version.as_deref(), Some("0.60.0"));
    assert_eq!(findings.scanned_at.nanosecond(), 123_456_789);
    check(
        Ok(findings),
        json!({
            "id": "CVE-2024-1234", "aliases": ["DSA-1", "GHSA-aaaa-bbbb-cccc"],
            "severity": "low", "score": 8.1, "package": "openssl",
            "purl": "pkg:deb/debian/openssl@3.0", "installed": "3.0",
            "fixed": ["25.0.2", "24.0.9"], "fix_state": "fixed",
        }),
    );
}

#[test]
fn an_unknown_severity_comes_from_the_highest_score_or_vector() {
    for (severity, cvss, expected) in [
        (json!("UNKNOWN"), json!({ "a": { "V3Score": 4.0 }, "b": { "V3Score": 7.1 } }), "high"),
        (json!("crit"), json!({ "a": { "V40Score": 9.3 } }), "critical"),
        (
            json!(null),
            json!({ "a": { "V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N" } }),
            "medium",
        ),
        (json!("UNKNOWN"), json!({ "a": { "V2Score": 10.0 } }), "unknown"),
        (json!("UNKNOWN"), json!({ "a": { "V40Vector": "CVSS:4.0/AV:N" } }), "unknown"),
        (json!("crit"), json!(null), "unknown"),
        (json!(null), json!({}), "unknown"),
    ] {
        let found = json!([{ "VulnerabilityID": "CVE-1", "Severity": severity, "CVSS": cvss }]);
        let findings = read_trivy(&trivy(found.clone())).unwrap();
        assert_eq!(findings.get(0).unwrap().severity().as_str(), expected, "{found}");
    }
    for score in [json!(10.1), json!(-1), json!("9")] {
        let cvss = json!({ "nvd": { "V3Score": score } });
        let report = trivy(json!([{ "VulnerabilityID": "CVE-1", "CVSS": cvss }]));
        assert_eq!(refused(read_trivy(&report), ""), Reason::Malformed);
    }
}

#[test]
fn the_status_says_whether_there_is_a_fix() {
    for (status, fixed, expected) in [
        ("fixed", "", FixState::Fixed),
        ("affected", "", FixState::NotFixed),
        ("fix_deferred", "", FixState::NotFixed),
        ("will_not_fix", "", FixState::WontFix),
        ("end_of_life", "", FixState::WontFix),
        ("under_investigation", "", FixState::NotStated),
        ("", "", FixState::NotStated),
        ("", "1.2", FixState::Fixed),
        ("will_not_fix", "1.2", FixState::Fixed),
    ] {
        let found = json!({ "VulnerabilityID": "X", "Status": status, "FixedVersion": fixed });
        let findings = read_trivy(&trivy(json!([found]))).unwrap();
        assert_eq!(findings.get(0).unwrap().fix_state(), expected, "{status} {fixed}");
    }
}

#[test]
fn a_report_that_did_not_look_is_not_clean() {
    let report = |os: Value, classes: &[&str]| {
        let results: Vec<_> = classes.iter().map(|c| json!({ "Class": c })).collect();
        let report = with(trivy(json!([])), "/Metadata/OS", os);
        with(report, "/Results", json!(results))
    };
    let debian = json!({ "Family": "debian" });
    for covered in [
        report(debian.clone(), &["os-pkgs"]),
        report(debian.clone(), &["lang-pkgs", "os-pkgs", "secret"]),
        report(json!(null), &["lang-pkgs"]),
        report(json!({ "Family": "none" }), &["lang-pkgs"]),
        report(json!({ "Family": "debian", "EOSL": false }), &["os-pkgs"]),
        without(report(json!(null), &["lang-pkgs"]), "/Metadata"),
    ] {
        assert!(read_trivy(&covered).unwrap().is_empty(), "{covered}");
    }
    for uncovered in [
        report(json!(null), &[]),
        report(json!(null), &["secret", "config", "license"]),
        report(json!({ "Family": "none" }), &[]),
        report(json!({ "Family": "" }), &["secret"]),
        report(debian.clone(), &[]),
        report(debian.clone(), &["lang-pkgs"]),
        report(debian, &["secret"]),
        report(json!({ "Family": "alpine", "EOSL": true }), &["os-pkgs"]),
        with(trivy(json!([])), "/Results", json!(null)),
        without(trivy(json!([])), "/Results"),
        without(without(trivy(json!([])), "/Results"), "/Metadata"),
    ] {
        let error = read_trivy(&uncovered).unwrap_err();
        assert!(matches!(error, FindingsError::NotCovered(_)), "{uncovered}: {error}");
        assert_eq!(error.reason(), Reason::Malformed);
    }
}

#[test]
fn secrets_misconfigurations_and_licences_are_not_findings() {
    let mut report = trivy(json!([{ "VulnerabilityID": "CVE-1", "Severity": "LOW" }]));
    report["Results"].as_array_mut().unwrap().extend([
        json!({ "Class": "secret", "Secrets": [{ "Severity": "CRITICAL", "RuleID": "x" }] }),
        json!({ "Class": "config", "Misconfigurations": [{ "Severity": "HIGH" }] }),
        json!({ "Class": "license", "Licenses": [{ "Severity": "HIGH" }] }),
    ]);
    check(read_trivy(&report), BARE("CVE-1", "low"));
}

#[test]
fn only_trivy_s_schema_version_2_is_read() {
    read_as(JSON, None, &trivy(json!([])).to_string()).unwrap();
    for version in [json!(1), json!(3)] {
        let report = with(trivy(json!([])), "/SchemaVersion", version).to_string();
        refused(read_as(JSON, None, &report), "not a findings format that is read");
    }
}

#[test]
fn the_fields_of_a_report_tell_its_format() {
    for media_type in REPORT_MEDIA_TYPES {
        read_as(media_type, None, &trivy(json!([])).to_string()).unwrap();
        let bare = without(trivy(json!([])), "/SchemaVersion").to_string();
        let error = read_as(media_type, None, &bare).unwrap_err();
        // Plain JSON may be anything; what is called a report must be one.
        let is_other = matches!(error, FindingsError::NotAReport(_));
        assert_eq!(is_other, media_type == JSON, "{media_type}: {error}");
    }
    for (key, value) in [("runs", json!([])), ("bomFormat", json!("CycloneDX"))] {
        let mut both = trivy(json!([]));
        both[key] = value;
        refused(read_as(TRIVY, None, &both.to_string()), "the fields of two formats");
    }
    for media_type in ["application/spdx+json", "", "text/html"] {
        let expected = format!("`{media_type}` is not a findings format that is read");
        refused(read_as(media_type, None, &trivy(json!([])).to_string()), &expected);
    }
    let envelope = r#"{"payloadType":"x","payload":"","signatures":[]}"#;
    refused(read_as(JSON, None, envelope), "DSSE envelope");
    read_as(JSON, None, &vulns(json!([])).to_string()).unwrap();
}

#[test]
fn the_digests_that_a_plain_report_names_are_not_compared() {
    let mut report = trivy(json!([]));
    report["Metadata"]["RepoDigests"] = json!(["reg.example/app@sha256:00"]);
    read_trivy(&report).unwrap();
}
