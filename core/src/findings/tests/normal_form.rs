//! Names, bounds, order and weight of findings, whatever the format.

use super::*;

fn ids(id: &str, aliases: &[&str]) -> Result<Findings, FindingsError> {
    read_trivy(&trivy(json!([{ "VulnerabilityID": id, "VendorIDs": aliases }])))
}

#[track_caller]
fn named(id: &str, aliases: &[&str], expected_id: &str, expected: &[&str]) {
    let finding = ids(id, aliases).unwrap().get(0).unwrap().to_finding();
    assert_eq!(&*finding.id, expected_id);
    assert_eq!(finding.aliases.iter().map(|a| &**a).collect::<Vec<_>>(), expected);
}

#[test]
fn identifiers_lose_space_and_grype_s_suffix_and_keep_every_alias_once() {
    named(" CVE-2024-1 ", &[], "CVE-2024-1", &[]);
    named("CVE-2022-48174-busybox", &[], "CVE-2022-48174", &["CVE-2022-48174-busybox"]);
    named("cve-2022-48174-a-b", &["x"], "cve-2022-48174", &["cve-2022-48174-a-b", "x"]);
    named(
        "GHSA-69cg-p879-7622-golang.org/x/net",
        &[],
        "GHSA-69cg-p879-7622",
        &["GHSA-69cg-p879-7622-golang.org/x/net"],
    );
    // What looks alike and is another identifier stays whole.
    named("CVE-2022-48174", &[], "CVE-2022-48174", &[]);
    named("TEMP-0290435-0B57B5", &[], "TEMP-0290435-0B57B5", &[]);
    named("ALAS2-2021-1600-x", &[], "ALAS2-2021-1600-x", &[]);
    named("CVE-2022-x1234-y", &[], "CVE-2022-x1234-y", &[]);
    named("CVE-1", &["b", "A", " a ", "", "cve-1", "B"], "CVE-1", &["A", "B"]);
}

#[test]
fn an_identifier_is_matched_by_any_of_its_names_in_any_case() {
    let findings = ids("CVE-2022-48174-busybox", &["GHSA-1"]).unwrap();
    let finding = findings.get(0).unwrap();
    for name in ["CVE-2022-48174", "cve-2022-48174", "ghsa-1", "CVE-2022-48174-BUSYBOX"] {
        assert!(finding.is(name), "{name}");
    }
    assert!(!finding.is("CVE-2022-4817"));
}

#[test]
fn identifiers_and_texts_are_refused_one_past_their_bounds() {
    ids(&"x".repeat(MAX_ID), &[&"y".repeat(MAX_ID)]).unwrap();
    let long = "x".repeat(MAX_ID + 1);
    assert_eq!(refused(ids(&long, &[]), "vulnerability identifier"), Reason::TooLarge);
    assert_eq!(refused(ids("x", &[&long]), "vulnerability identifier"), Reason::TooLarge);
    refused(ids(" ", &[]), "does not state `vulnerability identifier`");
    refused(read_trivy(&trivy(json!([{}]))), "does not state `vulnerability identifier`");
    refused(ids("CVE-1\nCVE-2", &[]), r"`CVE-1\nCVE-2` is not a vulnerability identifier");
    refused(ids("CVE-1", &["\u{7}"]), "is not a vulnerability identifier");

    for pointer in ["/PkgName", "/InstalledVersion", "/FixedVersion", "/PkgIdentifier/PURL"] {
        let fields = json!({
            "VulnerabilityID": "x", "PkgName": "", "InstalledVersion": "", "FixedVersion": "",
            "PkgIdentifier": { "PURL": "" },
        });
        let read = |length| {
            let found = with(fields.clone(), pointer, json!("x".repeat(length)));
            read_trivy(&trivy(json!([found])))
        };
        read(MAX_TEXT).unwrap();
        assert_eq!(refused(read(MAX_TEXT + 1), "more bytes of"), Reason::TooLarge);
    }
    for pointer in ["/predicate/scanner/uri", "/predicate/scanner/version"] {
        let read =
            |n: usize| read_statement(&with(vulns(json!([])), pointer, json!("x".repeat(n))));
        read(MAX_TEXT).unwrap();
        assert_eq!(refused(read(MAX_TEXT + 1), "more scanner"), Reason::TooLarge);
    }
}

#[test]
fn aliases_and_fixed_versions_are_refused_one_past_their_bound() {
    let names = |n: usize| (0..n).map(|i| format!("x{i}")).collect::<Vec<_>>();
    let trivy_aliases = |n| json!([{ "VulnerabilityID": "CVE-1", "VendorIDs": names(n) }]);
    read_trivy(&trivy(trivy_aliases(MAX_LIST))).unwrap();
    let reason = refused(read_trivy(&trivy(trivy_aliases(MAX_LIST + 1))), "more aliases");
    assert_eq!(reason, Reason::TooLarge);
    refused(read_trivy(&trivy(trivy_aliases(MAX_LIST + 100))), "more aliases");

    for (key, what) in [("aliases", "more aliases"), ("fixed_version", "more fixed versions")] {
        let one = |n| vulns(json!([{ "id": "X", "annotations": { key: names(n) } }]));
        read_statement(&one(MAX_LIST)).unwrap();
        assert_eq!(refused(read_statement(&one(MAX_LIST + 1)), what), Reason::TooLarge);
        let each: Vec<_> = names(MAX_LIST + 1).into_iter().map(|n| json!({ key: n })).collect();
        refused(read_statement(&vulns(json!([{ "id": "X", "annotations": each }]))), what);
    }
}

#[test]
fn t031_findings_are_refused_one_past_their_bound_over_all_results() {
    // The same finding each time: what is merged is still counted as it is written.
    let list = |n: usize| {
        format!("[{}{{\"VulnerabilityID\":\"X\"}}]", "{\"VulnerabilityID\":\"X\"},".repeat(n - 1))
    };
    let target = |n| format!("{{\"Class\":\"os-pkgs\",\"Vulnerabilities\":{}}}", list(n));
    let report = |targets: &[usize]| {
        let targets: Vec<_> = targets.iter().map(|n| target(*n)).collect();
        let head = format!("{{\"SchemaVersion\":2,\"CreatedAt\":\"{TIME}\"");
        read_as(TRIVY, None, &format!("{head},\"Results\":[{}]}}", targets.join(",")))
    };
    assert_eq!(report(&[MAX_FINDINGS]).unwrap().len(), 1);
    assert_eq!(report(&[MAX_FINDINGS - 1, 1]).unwrap().len(), 1);
    assert_eq!(refused(report(&[MAX_FINDINGS + 1]), "more findings"), Reason::TooLarge);
    assert_eq!(refused(report(&[MAX_FINDINGS, 1]), "more findings"), Reason::TooLarge);

    let results = |n: usize| {
        let found = format!("[{}{{\"id\":\"X\"}}]", "{\"id\":\"X\"},".repeat(n - 1));
        let whole = vulns(json!("HERE")).to_string().replace("\"HERE\"", &found);
        read_as(IN_TOTO, None, &whole)
    };
    assert_eq!(results(MAX_FINDINGS).unwrap().len(), 1);
    assert_eq!(refused(results(MAX_FINDINGS + 1), "more findings"), Reason::TooLarge);
}

#[test]
fn results_and_bytes_are_refused_one_past_their_bound() {
    let report = |n: usize| {
        let targets = vec![r#"{"Class":"os-pkgs"}"#; n].join(",");
        let report =
            format!("{{\"SchemaVersion\":2,\"CreatedAt\":\"{TIME}\",\"Results\":[{targets}]}}");
        read_as(TRIVY, None, &report)
    };
    report(MAX_RESULTS).unwrap();
    assert_eq!(refused(report(MAX_RESULTS + 1), "more results"), Reason::TooLarge);

    let padded = |n: usize| {
        let report = trivy(json!([])).to_string();
        format!("{report}{}", " ".repeat(n - report.len()))
    };
    let subject = Digest::of(b"");
    read_as(TRIVY, None, &padded(MAX_REPORT)).unwrap();
    let long = padded(MAX_REPORT + 1);
    assert_eq!(refused(read_as(TRIVY, None, &long), "more bytes"), Reason::TooLarge);
    let error = super::statement::from_report(long.as_bytes(), "x", subject).unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
}

#[test]
fn findings_are_walked_from_the_worst_in_one_order_and_each_once() {
    let report = trivy(json!([
        { "VulnerabilityID": "B", "Severity": "LOW", "PkgName": "z" },
        { "VulnerabilityID": "B", "Severity": "LOW", "PkgName": "a" },
        { "VulnerabilityID": "C", "Severity": "UNKNOWN" },
        { "VulnerabilityID": "A", "Severity": "HIGH", "CVSS": { "nvd": { "V3Score": 7.0 } } },
        { "VulnerabilityID": "D", "Severity": "HIGH", "CVSS": { "nvd": { "V3Score": 8.0 } } },
        { "VulnerabilityID": "E", "Severity": "NEGLIGIBLE" },
        { "VulnerabilityID": "F", "Severity": "CRITICAL", "VendorIDs": ["y", "x"] },
        { "VulnerabilityID": "F", "Severity": "CRITICAL", "VendorIDs": ["X", "y", "x"] },
        { "VulnerabilityID": "B", "Severity": "LOW", "PkgName": "a", "PkgPath": "elsewhere" },
    ]));
    let mut turned = report.clone();
    turned["Results"][0]["Vulnerabilities"].as_array_mut().unwrap().reverse();
    let findings = read_trivy(&report).unwrap();
    let ids: String = findings.iter().map(|f| f.id()).collect();
    // The two F differ in the case of an alias, which is kept as it is written.
    assert_eq!(ids, "FFDABBEC");
    assert_eq!(findings, read_trivy(&turned).unwrap());
}

#[test]
fn findings_that_differ_in_anything_have_one_order() {
    let one = json!({
        "VulnerabilityID": "CVE-1", "Severity": "LOW", "CVSS": { "nvd": { "V3Score": 2.0 } },
        "PkgName": "a", "InstalledVersion": "1", "PkgIdentifier": { "PURL": "pkg:a" },
        "VendorIDs": ["X"], "FixedVersion": "", "Status": "affected",
    });
    for (pointer, other) in [
        ("/VulnerabilityID", json!("CVE-2")),
        ("/Severity", json!("HIGH")),
        ("/CVSS/nvd/V3Score", json!(3.0)),
        ("/PkgName", json!("b")),
        ("/InstalledVersion", json!("2")),
        ("/PkgIdentifier/PURL", json!("pkg:b")),
        ("/VendorIDs", json!(["Y"])),
        ("/FixedVersion", json!("4")),
        ("/Status", json!("will_not_fix")),
    ] {
        // A fixed version decides the state, so it cannot be there where states are compared.
        let one = match pointer {
            "/FixedVersion" => with(one.clone(), pointer, json!("3")),
            _ => one.clone(),
        };
        let other = with(one.clone(), pointer, other);
        let findings = read_trivy(&trivy(json!([one, other]))).unwrap();
        assert_eq!(findings.len(), 2, "{pointer}");
        assert_eq!(findings, read_trivy(&trivy(json!([other, one]))).unwrap(), "{pointer}");
    }
}

#[test]
fn the_weight_counts_every_byte_that_is_kept() {
    let weight = |found: Value| read_trivy(&trivy(found)).unwrap().weight();
    let none = weight(json!([]));
    let texts = "trivy".len() + "0.60.0".len();
    assert!(none > size_of::<Findings>() + size_of::<Scanner>() + texts, "{none}");
    // A row, a vulnerability, a text, a package and one empty list.
    let one = weight(json!([{ "VulnerabilityID": "CVE-1" }]));
    assert_eq!(one, none + 20 + 12 + (5 + 4) + 12 + 4);
    let full = json!([{
        "VulnerabilityID": "CVE-1", "PkgName": "12", "InstalledVersion": "345",
        "PkgIdentifier": { "PURL": "6789" }, "FixedVersion": "1,23",
    }]);
    // Five texts more, and a list of two.
    assert_eq!(weight(full), one + (2 + 3 + 4 + 1 + 2) + 5 * 4 + 4 + 2 * 4);
}
