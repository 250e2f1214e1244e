//! CycloneDX: which documents are reports, and what they say.

use super::grype_report::read_json;
use super::*;

fn cyclonedx(tool: &str, vulnerabilities: Value) -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {
            "timestamp": TIME,
            "tools": { "components": [{ "type": "application", "name": tool, "version": "1.2" }] },
            "component": { "bom-ref": "root", "name": "image" },
        },
        "components": [
            { "bom-ref": "a", "name": "libssl", "version": "1.1", "purl": "pkg:apk/libssl@1.1",
              "components": [
                  { "bom-ref": "b", "group": "@babel", "name": "x", "purl": "pkg:npm/%40babel/x@2" },
              ] },
            { "bom-ref": "c", "group": "org.x", "name": "y", "purl": "pkg:maven/org.x/y@3" },
        ],
        "vulnerabilities": vulnerabilities,
    })
}

fn one() -> Value {
    json!({ "id": "CVE-2024-1111", "ratings": [{ "severity": "high" }], "affects": [{ "ref": "a" }] })
}

fn finding(vulnerability: Value) -> Finding {
    let findings = read_json(&cyclonedx("trivy", json!([vulnerability]))).unwrap();
    assert_eq!(findings.len(), 1);
    findings.get(0).unwrap().to_finding()
}

#[test]
fn every_affected_component_is_a_finding() {
    let mut vulnerability = one();
    vulnerability["affects"] = json!(["a", "b", "c", "root", "gone"].map(|r| json!({ "ref": r })));
    vulnerability["recommendation"] =
        json!("Upgrade libssl to version 1.1.1d, 3.0; Upgrade @babel/x to version 2.1");
    let findings = read_json(&cyclonedx("Trivy", json!([vulnerability]))).unwrap();
    assert_eq!((findings.scanner.name.as_str(), findings.len()), ("trivy", 5));
    let packages: Vec<_> = findings
        .iter()
        .map(|f| {
            (f.package().unwrap_or_default().to_owned(), f.fixed().collect::<Vec<_>>().join(" "))
        })
        .collect();
    let expected =
        [("", ""), ("@babel/x", "2.1"), ("image", ""), ("libssl", "1.1.1d 3.0"), ("org.x:y", "")];
    assert_eq!(packages, expected.map(|(p, f)| (p.to_owned(), f.to_owned())));
    let libssl = findings.get(3).unwrap();
    assert_eq!((libssl.installed(), libssl.purl()), (Some("1.1"), Some("pkg:apk/libssl@1.1")));
}

#[test]
fn a_component_of_another_document_is_known_by_its_reference() {
    let affects = json!([{
        "ref": "urn:cdx:uuid/1#pkg:deb/curl@7.1",
        "versions": [{ "version": "8", "status": "unaffected" }, { "version": "7.1" }],
    }]);
    let finding = finding(with(one(), "/affects", affects));
    assert_eq!(finding.purl.as_deref(), Some("pkg:deb/curl@7.1"));
    assert_eq!(finding.installed.as_deref(), Some("7.1"));
    check(
        read_json(&cyclonedx("trivy", json!([without(one(), "/affects")]))),
        BARE("CVE-2024-1111", "high"),
    );
}

#[test]
fn ratings_have_a_word_a_score_and_a_likelihood() {
    let rated = |ratings: Value| finding(with(one(), "/ratings", ratings));
    let cvss = |method: &str| rated(json!([{ "method": method, "score": 9.8 }]));
    for method in ["CVSSv3", "CVSSv31", "CVSSv4"] {
        assert_eq!(cvss(method).severity, Severity::Critical, "{method}");
        assert_eq!(cvss(method).score, Score::from_f64(9.8), "{method}");
    }
    for method in ["CVSSv2", "OWASP", "other"] {
        assert_eq!((cvss(method).severity, cvss(method).score), (Severity::Unknown, None));
    }
    let vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    let by_vector = rated(json!([{ "method": "CVSSv31", "vector": vector }]));
    assert_eq!(by_vector.score, Score::from_f64(9.8));
    let told = rated(json!([
        { "severity": "low", "method": "CVSSv31", "score": 8.2 },
        { "source": { "name": "FIRST" }, "score": 0.03, "method": "other" },
        { "source": { "name": "CISA KEV Catalog" }, "score": 1, "method": "other" },
    ]));
    assert_eq!((told.severity, told.score), (Severity::Low, Score::from_f64(8.2)));
    assert_eq!((told.epss, told.known_exploited), (Epss::from_f64(0.03), Some(true)));
    assert_eq!(rated(json!([{ "severity": "info" }])).severity, Severity::Negligible);
    assert_eq!(rated(json!([])).severity, Severity::Unknown);
}

#[test]
fn the_word_of_the_vulnerability_s_own_source_counts_and_else_the_worst() {
    let ratings = json!([
        { "source": { "name": "nvd" }, "severity": "critical" },
        { "source": { "name": "debian" }, "severity": "low" },
    ]);
    let rated = |source: Value| {
        let mut vulnerability = with(one(), "/ratings", ratings.clone());
        vulnerability["source"] = source;
        finding(vulnerability).severity
    };
    assert_eq!(rated(json!({ "name": "debian" })), Severity::Low);
    assert_eq!(rated(json!({ "name": "redhat" })), Severity::Critical);
    assert_eq!(rated(json!({})), Severity::Critical);
    assert_eq!(rated(json!({ "name": "" })), Severity::Critical);
    let mut vague = with(one(), "/ratings", ratings.clone());
    vague["ratings"][1]["severity"] = json!("unknown");
    vague["source"] = json!({ "name": "debian" });
    assert_eq!(finding(vague).severity, Severity::Critical);
}

#[test]
fn states_of_an_analysis_have_their_meaning() {
    for (state, analysis) in [
        ("resolved", Analysis::Fixed),
        ("resolved_with_pedigree", Analysis::Fixed),
        ("not_affected", Analysis::NotAffected),
        ("false_positive", Analysis::NotAffected),
        ("exploitable", Analysis::Affected),
        ("in_triage", Analysis::Affected),
        ("fixed?", Analysis::Affected),
    ] {
        let mut vulnerability = one();
        vulnerability["analysis"] = json!({ "state": state });
        assert_eq!(finding(vulnerability).analysis, analysis, "{state}");
    }
}

#[test]
fn a_bill_of_materials_or_a_vex_document_is_no_findings_report() {
    let not_a_report = |document: &Value| {
        let error = read_json(document).unwrap_err();
        assert!(matches!(error, FindingsError::NotAReport(_)), "{document}: {error}");
    };
    not_a_report(&without(cyclonedx("grype", json!([])), "/vulnerabilities"));
    not_a_report(&cyclonedx("grype", json!(null)));
    // Trivy writes it also where it was not told to look.
    not_a_report(&cyclonedx("trivy", json!([])));
    not_a_report(&cyclonedx("cdxgen", json!([])));
    assert!(read_json(&cyclonedx("grype", json!([]))).unwrap().is_empty());
    let mut judged = one();
    judged["analysis"] = json!({ "state": "not_affected" });
    let judged = cyclonedx("Dependency-Track", json!([judged]));
    read_json(&judged).unwrap();
    not_a_report(&without(judged.clone(), "/components"));
    not_a_report(&with(judged, "/components", json!([])));
    read_json(&without(cyclonedx("trivy", json!([one()])), "/components")).unwrap();
    let other = with(cyclonedx("trivy", json!([one()])), "/bomFormat", json!("SPDX"));
    refused(read_json(&other), "not a findings format that is read");
}

#[test]
fn the_scanner_is_named_and_the_time_stated() {
    let name = |tools: Value| {
        let document = with(cyclonedx("x", json!([one()])), "/metadata/tools", tools);
        read_json(&document).map(|f| f.scanner.name.clone())
    };
    let old = json!([{ "vendor": "anchore", "name": "syft" }, { "name": "Grype" }]);
    assert_eq!(name(old).unwrap(), "grype");
    assert_eq!(name(json!([{ "name": "a" }, { "name": "b" }])).unwrap(), "a");
    for tools in [json!([]), json!({}), json!(null), json!([{ "name": " " }])] {
        refused(name(tools), "does not state `metadata.tools`");
    }
    let timeless = without(cyclonedx("trivy", json!([one()])), "/metadata/timestamp");
    refused(read_json(&timeless), "does not state `metadata.timestamp`");
}

#[test]
fn components_findings_and_lists_are_refused_one_past_their_bounds() {
    let read = |document: Value, list: String| {
        read_as(JSON, None, &document.to_string().replace("\"HERE\"", &format!("[{list}]")))
    };
    let many = |entry: &str, n: usize| vec![entry; n].join(",");
    let with_components = with(cyclonedx("trivy", json!([one()])), "/components", json!("HERE"));
    let components = |n| read(with_components.clone(), many("{}", n));
    // That of the metadata counts too.
    components(MAX_COMPONENTS - 1).unwrap();
    assert_eq!(refused(components(MAX_COMPONENTS), "more components"), Reason::TooLarge);
    assert_eq!(refused(components(MAX_COMPONENTS + 1), "more components"), Reason::TooLarge);
    let nested =
        |n| read(with_components.clone(), format!(r#"{{"components":[{}]}}"#, many("{}", n)));
    nested(MAX_COMPONENTS - 2).unwrap();
    assert_eq!(refused(nested(MAX_COMPONENTS - 1), "more components"), Reason::TooLarge);

    let found = |n| read(cyclonedx("trivy", json!("HERE")), many(r#"{"id":"X"}"#, n));
    assert_eq!(found(MAX_FINDINGS).unwrap().len(), 1);
    assert_eq!(refused(found(MAX_FINDINGS + 1), "more findings"), Reason::TooLarge);
    let affected = |n| {
        let more = json!([{ "id": "Y" }, with(one(), "/affects", json!("HERE"))]);
        read(cyclonedx("trivy", more), many("{}", n))
    };
    affected(MAX_FINDINGS - 1).unwrap();
    assert_eq!(refused(affected(MAX_FINDINGS), "more findings"), Reason::TooLarge);
    let ratings = |n: usize| {
        let ratings = json!(vec![json!({}); n]);
        read_json(&cyclonedx("trivy", json!([with(one(), "/ratings", ratings)])))
    };
    ratings(MAX_LIST).unwrap();
    assert_eq!(refused(ratings(MAX_LIST + 1), "more ratings"), Reason::TooLarge);
}

#[test]
fn a_vulnerability_is_not_copied_for_more_components_than_fit_the_bound() {
    let affects = |count: usize| vec![json!({ "ref": "a" }); count];
    let mut document = cyclonedx(
        "trivy",
        json!([{
            "id": "CVE-2024-1111",
            "recommendation": "x".repeat(1 << 20),
            "affects": affects(MAX_REPEATED >> 20),
        }]),
    );
    assert_eq!(refused(read_json(&document), "share"), Reason::TooLarge);
    let aliases: Vec<_> =
        (0..MAX_LIST).map(|n| json!({ "id": format!("{n:>0width$}", width = MAX_ID) })).collect();
    let count = MAX_REPEATED / (MAX_LIST * MAX_ID);
    document["vulnerabilities"] = json!([{
        "id": "CVE-2024-1111", "references": aliases, "affects": affects(count),
    }]);
    assert_eq!(refused(read_json(&document), "share"), Reason::TooLarge);
    document["vulnerabilities"] = json!([{ "id": "CVE-2024-1111", "affects": affects(512) }]);
    document["components"] = json!([{ "bom-ref": "a", "name": "x".repeat(1 << 20) }]);
    assert_eq!(refused(read_json(&document), "share"), Reason::TooLarge);
}
