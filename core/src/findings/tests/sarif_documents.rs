//! SARIF: of which tools, and what its texts say.

use super::grype_report::read_json;
use super::*;

/// Attached with a manifest that says when it was made.
fn read_sarif(document: &Value) -> Result<Findings, FindingsError> {
    read_dated(document, &[(crate::referrers::CREATED, TIME)])
}

fn read_dated(document: &Value, annotations: &[(&str, &str)]) -> Result<Findings, FindingsError> {
    let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    findings(&Input {
        bytes: document.to_string().as_bytes(),
        media_type: "application/sarif+json",
        subject: Digest::of(b""),
        annotations: &annotations,
    })
}

fn sarif(tool: &str, rules: Value, results: Value) -> Value {
    json!({
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": tool, "version": "1.2.3", "rules": rules } },
            "results": results,
            "properties": { "imageName": "reg.io/app" },
        }],
    })
}

fn trivy_rule(word: &str, score: &str) -> Value {
    json!({
        "id": "CVE-2024-1111",
        "help": { "text": "Vulnerability CVE-2024-1111\nSeverity: LOW\nPackage: other" },
        "properties": { "tags": ["vulnerability", "security", word], "security-severity": score },
    })
}

fn trivy_result(severity: &str, fixed: &str) -> Value {
    let text = format!(
        "Package: libssl\nInstalled Version: 1.1.1c\nVulnerability CVE-2024-1111\n\
         Severity: {severity}\nFixed Version: {fixed}\nLink: [CVE-2024-1111](https://x)"
    );
    json!({ "ruleId": "CVE-2024-1111", "ruleIndex": 0, "message": { "text": text } })
}

fn grype_document(word: &str, score: &str) -> Value {
    let help = format!(
        "Vulnerability ALAS-2024-1\nSeverity: {word}\nPackage: lib-ssl\nVersion: 1.1\n\
         Fix Version: 1.2,2.0\nType: rpm\nLocation: lib\nSeverity: critical\nLink: x"
    );
    let rule = json!({
        "id": "ALAS-2024-1-lib-ssl", "help": { "text": help },
        "properties": { "purls": ["pkg:rpm/lib-ssl@1.1"], "security-severity": score },
    });
    let result = |version: &str| {
        let text = format!(
            "A {word} vulnerability in rpm package: lib-ssl, version {version} was found in image x"
        );
        json!({ "ruleId": "ALAS-2024-1-lib-ssl", "message": { "text": text } })
    };
    sarif("grype", json!([rule]), json!([result("1.1")]))
}

#[test]
fn trivy_s_message_tells_package_versions_and_severity() {
    let rules = json!([trivy_rule("MEDIUM", "7.5")]);
    let document = sarif("Trivy", rules, json!([trivy_result("HIGH", "1.1.1d, 3.0")]));
    let findings = read_sarif(&document).unwrap();
    assert_eq!(findings.scanner.name, "trivy");
    assert_eq!(findings.scanner.version.as_deref(), Some("1.2.3"));
    let expected = json!({
        "id": "CVE-2024-1111", "severity": "high", "score": 7.5, "package": "libssl",
        "installed": "1.1.1c", "fixed": ["1.1.1d", "3.0"], "fix_state": "fixed",
    });
    check(Ok(findings), expected);
}

#[test]
fn lines_that_are_not_there_are_not_stated() {
    let bare = json!({ "ruleId": "CVE-2024-1111" });
    let document = sarif("Trivy", json!([trivy_rule("MEDIUM", "5.5")]), json!([bare]));
    check(read_sarif(&document), BARE("CVE-2024-1111", "medium"));
    let ruleless = sarif("Trivy", json!([]), json!([bare]));
    check(read_sarif(&ruleless), BARE("CVE-2024-1111", "unknown"));
    let indexed = json!({ "ruleIndex": 0 });
    let document = sarif("Trivy", json!([trivy_rule("LOW", "2.0")]), json!([indexed]));
    check(read_sarif(&document), BARE("CVE-2024-1111", "low"));
    for nameless in [json!({}), json!({ "ruleIndex": 1 }), json!({ "ruleIndex": -1 })] {
        let document = sarif("Trivy", json!([trivy_rule("LOW", "2.0")]), json!([nameless]));
        refused(read_sarif(&document), "does not state `ruleId`");
    }
    let unfixed = sarif("Trivy", json!([]), json!([trivy_result("LOW", "")]));
    let finding = read_sarif(&unfixed).unwrap().get(0).unwrap().to_finding();
    assert_eq!(finding.fix_state, FixState::NotFixed);
    let odd = json!({ "id": "CVE-1", "properties": { "tags": {}, "security-severity": [] } });
    let document = sarif("Trivy", json!([odd]), json!([{ "ruleId": "CVE-1" }]));
    check(read_sarif(&document), BARE("CVE-1", "unknown"));
}

#[test]
fn a_package_s_name_cannot_lower_a_severity() {
    let mut result = trivy_result("CRITICAL", "");
    let text = result["message"]["text"].as_str().unwrap();
    result["message"]["text"] = json!(text.replace("libssl", "x\nSeverity: LOW"));
    let document = sarif("Trivy", json!([]), json!([result]));
    assert_eq!(read_sarif(&document).unwrap().get(0).unwrap().severity(), Severity::Critical);
}

#[test]
fn the_score_that_stands_in_for_a_severity_is_none() {
    let score = |word: &str, score: &str| {
        let rules = json!([trivy_rule(word, score)]);
        let document = sarif("Trivy", rules, json!([trivy_result(word, "")]));
        let finding = read_sarif(&document).unwrap().get(0).unwrap().to_finding();
        (finding.severity, finding.score.map(|s| s.to_string()))
    };
    for (word, stand_in, severity) in [
        ("CRITICAL", "9.5", Severity::Critical),
        ("HIGH", "8.0", Severity::High),
        ("MEDIUM", "5.5", Severity::Medium),
        ("LOW", "2.0", Severity::Low),
        ("UNKNOWN", "0.0", Severity::Unknown),
    ] {
        assert_eq!(score(word, stand_in), (severity, None));
    }
    assert_eq!(score("LOW", "8.0"), (Severity::Low, Some("8.0".to_owned())));
    assert_eq!(score("UNKNOWN", "8.0"), (Severity::High, Some("8.0".to_owned())));
    let mut rule = trivy_rule("HIGH", "8.0");
    rule["properties"]["cvssv40_baseScore"] = json!(8.0);
    let document = sarif("Trivy", json!([rule]), json!([trivy_result("HIGH", "")]));
    let stated = read_sarif(&document).unwrap().get(0).unwrap().score();
    assert_eq!(stated, Score::from_f64(8.0));
}

#[test]
fn other_kinds_of_trivy_s_results_are_not_findings() {
    let rule = |id: &str, kind: &str| json!({ "id": id, "properties": { "tags": [kind, "security", "CRITICAL"] } });
    let others = [rule("DS1", "misconfiguration"), rule("key", "secret"), rule("x:GPL", "license")];
    let results: Vec<_> = others.iter().map(|r| json!({ "ruleId": r["id"] })).collect();
    let mut rules = others.to_vec();
    rules.push(trivy_rule("LOW", "2.0"));
    let mut all = results.clone();
    all.push(json!({ "ruleId": "CVE-2024-1111" }));
    let document = sarif("Trivy", json!(rules), json!(all));
    check(read_sarif(&document), BARE("CVE-2024-1111", "low"));
    // Whether vulnerabilities were looked for at all is not known.
    let only_others = sarif("Trivy", json!(others), json!(results));
    not_a_report(&only_others);
    let clean = sarif("Trivy", json!([]), json!([]));
    assert!(read_sarif(&clean).unwrap().is_empty());
    not_a_report(&without(clean, "/runs/0/properties"));
}

#[track_caller]
fn not_a_report(document: &Value) {
    let error = read_sarif(document).unwrap_err();
    assert!(matches!(error, FindingsError::NotAReport(_)), "{document}: {error}");
}

#[test]
fn grype_s_texts_tell_package_versions_and_severity() {
    let expected = json!({
        "id": "ALAS-2024-1", "severity": "high", "score": 8.2, "package": "lib-ssl",
        "purl": "pkg:rpm/lib-ssl@1.1", "installed": "1.1", "fixed": ["1.2", "2.0"],
        "fix_state": "fixed",
    });
    check(read_sarif(&grype_document("high", "8.2")), expected);
    // The rule is about another version of the package.
    let mut other = grype_document("high", "8.2");
    let text = other["runs"][0]["results"][0]["message"]["text"].as_str().unwrap();
    let text = text.replace("version 1.1", "version 1.0");
    other["runs"][0]["results"][0]["message"]["text"] = json!(text);
    let finding = read_sarif(&other).unwrap().get(0).unwrap().to_finding();
    assert_eq!((finding.installed.as_deref(), finding.purl), (Some("1.0"), None));
    // Without the message the rule's help counts, up to what the image's maker can write.
    let mut silent = grype_document("high", "8.2");
    silent["runs"][0]["results"][0]["message"] = json!({});
    let finding = read_sarif(&silent).unwrap().get(0).unwrap().to_finding();
    assert_eq!(finding.severity, Severity::High);
    // The suffix of a CVE is known without any text.
    let bare = sarif("Grype", json!([]), json!([{ "ruleId": "CVE-2022-48174-busybox" }]));
    let finding = read_sarif(&bare).unwrap().get(0).unwrap().to_finding();
    assert_eq!((&*finding.id, finding.severity), ("CVE-2022-48174", Severity::Unknown));
}

#[test]
fn grype_s_low_says_no_more_than_its_score() {
    for (word, score, severity, stated) in [
        ("critical", "9.0", Severity::Critical, None),
        ("high", "7.0", Severity::High, None),
        ("medium", "4.0", Severity::Medium, None),
        ("medium", "9.8", Severity::Medium, Some("9.8")),
        ("low", "1.0", Severity::Low, None),
        ("low", "3.1", Severity::Low, Some("3.1")),
        ("low", "0.0", Severity::Unknown, None),
        ("low", "9.8", Severity::Critical, Some("9.8")),
        ("catastrophic", "0.0", Severity::Unknown, None),
    ] {
        let findings = read_sarif(&grype_document(word, score)).unwrap();
        let finding = findings.get(0).unwrap();
        let read = finding.score().map(|s| s.to_string());
        assert_eq!((finding.severity(), read.as_deref()), (severity, stated), "{word} {score}");
    }
}

#[test]
fn sarif_of_another_tool_is_no_findings_report() {
    for tool in ["ShellCheck", "SnykCode", "", "Trivy2"] {
        not_a_report(&sarif(tool, json!([]), json!([])));
    }
    not_a_report(&json!({ "version": "2.1.0", "runs": [] }));
    let mut two = sarif("Trivy", json!([]), json!([]));
    two["runs"].as_array_mut().unwrap().push(grype_document("low", "1.0")["runs"][0].clone());
    refused(read_sarif(&two), "SARIF of two scanners");
    two["runs"][1]["tool"]["driver"]["name"] = json!("ShellCheck");
    not_a_report(&two);
    refused(read_sarif(&json!({ "version": "2.0.0", "runs": [] })), "SARIF version 2.0.0");
}

#[test]
fn a_run_that_did_not_end_covers_nothing() {
    for document in [
        without(grype_document("low", "1.0"), "/runs/0/results"),
        with(grype_document("low", "1.0"), "/runs/0/results", json!(null)),
    ] {
        refused(read_sarif(&document), "not covered by the scan: the run has no results");
    }
    let mut failed = grype_document("low", "1.0");
    failed["runs"][0]["invocations"] = json!([{ "executionSuccessful": false }]);
    refused(read_sarif(&failed), "not covered by the scan: the scan was not successful");
}

#[test]
fn the_time_is_that_of_the_run_or_of_the_signed_manifest_and_never_made_up() {
    use crate::referrers::{ARTIFACT_CREATED, CREATED};
    let mut document = grype_document("low", "1.0");
    let seconds = |document: &Value, annotations: &[(&str, &str)]| {
        read_dated(document, annotations).map(|f| f.scanned_at.unix_timestamp())
    };
    let (day1, day2) = ("1970-01-02T00:00:00Z", "1970-01-03T00:00:00Z");
    assert_eq!(seconds(&document, &[(CREATED, day2), (ARTIFACT_CREATED, day1)]).unwrap(), 172_800);
    assert_eq!(seconds(&document, &[(ARTIFACT_CREATED, day1)]).unwrap(), 86_400);
    let missing = "does not state `invocations.endTimeUtc`";
    refused(read_dated(&document, &[]), missing);
    refused(read_json(&document), missing);
    refused(read_dated(&document, &[(CREATED, "today")]), "is `today`");
    document["runs"][0]["invocations"] = json!([{ "endTimeUtc": day2 }, { "endTimeUtc": day1 }]);
    let later = "1970-01-09T00:00:00Z";
    assert_eq!(seconds(&document, &[(CREATED, later)]).unwrap(), 86_400);
    document["runs"][0]["invocations"] = json!([{ "endTimeUtc": "noon" }]);
    refused(read_dated(&document, &[(CREATED, later)]), "is `noon`");
}

#[test]
fn runs_rules_and_results_are_refused_one_past_their_bounds() {
    let run = sarif("grype", json!([]), json!([]))["runs"][0].clone();
    let runs = |n| read_sarif(&json!({ "version": "2.1.0", "runs": vec![run.clone(); n] }));
    runs(MAX_RUNS).unwrap();
    assert_eq!(refused(runs(MAX_RUNS + 1), "more runs"), Reason::TooLarge);
    let read = |counts: &[usize], entry: &str, place: &str| {
        let runs: Vec<_> = counts
            .iter()
            .map(|n| {
                let list = format!("[{}]", vec![entry; *n].join(","));
                with(run.clone(), place, json!("HERE")).to_string().replace("\"HERE\"", &list)
            })
            .collect();
        let document = format!(r#"{{"version":"2.1.0","runs":[{}]}}"#, runs.join(","));
        let annotations = BTreeMap::from([(crate::referrers::CREATED.to_owned(), TIME.to_owned())]);
        findings(&Input {
            bytes: document.as_bytes(),
            media_type: JSON,
            subject: Digest::of(b""),
            annotations: &annotations,
        })
    };
    let found = r#"{"ruleId":"CVE-1"}"#;
    assert_eq!(read(&[MAX_FINDINGS - 1, 1], found, "/results").unwrap().len(), 1);
    for counts in [&[MAX_FINDINGS + 1][..], &[MAX_FINDINGS, 1]] {
        assert_eq!(refused(read(counts, found, "/results"), "more findings"), Reason::TooLarge);
    }
    let rules = "/tool/driver/rules";
    read(&[MAX_FINDINGS], "{}", rules).unwrap();
    assert_eq!(refused(read(&[MAX_FINDINGS + 1], "{}", rules), "more rules"), Reason::TooLarge);
}

#[test]
fn a_rule_is_not_read_again_for_more_results_than_fit_the_bound() {
    let help = "x".repeat(1 << 20);
    let rule = json!({ "id": "CVE-2024-1111", "help": { "text": help } });
    let results = vec![trivy_result("HIGH", ""); MAX_REPEATED >> 20];
    let reason = refused(read_sarif(&sarif("Trivy", json!([rule]), json!(results))), "share");
    assert_eq!(reason, Reason::TooLarge);
}
