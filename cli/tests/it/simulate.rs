//! `portcullis rules test` and `portcullis rules diff`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::command::{Ran, run};
use super::world::{World, write};

const DENY: &str = "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - {name: no-critical, action: deny, maxAllowed: {critical: 0}}
";

const CASES: &str = "apiVersion: portcullis.dev/v1
kind: Cases
spec:
  cases:
    - name: good
      image: reg.io/app:v1
      evidence: {reports: [{findings: []}]}
      expect: {action: allow}
";

const BAD_CASE: &str = "    - name: bad
      image: reg.io/app:v2
      evidence: {reports: [{findings: [{id: CVE-2024-1, severity: critical}]}]}
      expect: {action: audit, rule: other}
";

/// A folder with these files, and their paths.
fn files<const N: usize>(files: [(&str, &str); N]) -> (TempDir, [PathBuf; N]) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.map(|(name, text)| write(folder.path(), name, text));
    (folder, paths)
}

#[track_caller]
fn test(rules: &Path, cases: &Path, more: &[&str]) -> Ran {
    let (rules, cases) = (rules.to_str().unwrap(), cases.to_str().unwrap());
    run(&[&["rules", "test", "--rules", rules, "--cases", cases], more].concat())
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stdout.contains(word), "`{word}` is not in {ran:#?}");
    }
    assert_eq!(ran.stderr, "", "{ran:#?}");
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:#?}");
}

#[test]
fn cases_that_are_as_expected_end_with_0() {
    let (_folder, [rules, cases]) = files([("rules.yaml", DENY), ("cases.yaml", CASES)]);
    let ran = test(&rules, &cases, &[]).ends_with(0);
    says(&ran, &["ok", "good", "allow", "1 cases as expected, 0 not"]);
    let json = test(&rules, &cases, &["--output", "json"]).ends_with(0).json();
    assert_eq!((&json["passed"], &json["failed"]), (&json!(1), &json!(0)));
    assert_eq!(json["cases"][0]["found"]["action"], "allow");
}

#[test]
fn a_case_that_is_not_ends_with_1_and_says_what_came() {
    let bad = format!("{CASES}{BAD_CASE}");
    let (_folder, [rules, cases]) = files([("rules.yaml", DENY), ("cases.yaml", &bad)]);
    let ran = test(&rules, &cases, &[]).ends_with(1);
    let place = format!("{}:9", cases.display());
    says(&ran, &["FAIL", "expected audit,", "found", "deny", "1 cases as expected, 1 not"]);
    let json = test(&rules, &cases, &["--output", "json"]).ends_with(1).json();
    let case = &json["cases"][1];
    assert_eq!(case["passed"], false);
    assert_eq!(format!("{}:{}", case["file"].as_str().unwrap(), case["line"]), place);
    let action = json!({"field": "action", "expected": "audit", "found": "deny"});
    let rule = json!({"field": "rule", "expected": "other", "found": "no-critical"});
    assert_eq!(case["differences"], json!([action, rule]));
    assert!(case["found"]["message"].as_str().unwrap().contains("CVE-2024-1"), "{case}");
}

#[test]
fn faults_in_cases_are_shown_with_their_place_and_no_case_is_decided() {
    let bad = CASES.replace("action: allow", "action: alow");
    let (_folder, [rules, cases]) = files([("rules.yaml", DENY), ("cases.yaml", &bad)]);
    let ran = test(&rules, &cases, &[]).ends_with(1);
    says(&ran, &[&format!("{}:8:24: error: ", cases.display()), "did you mean `allow`?"]);
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:#?}");
    let json = test(&rules, &cases, &["--output", "json"]).ends_with(1).json();
    assert_eq!(json["errors"][0]["line"], 8);
    assert_eq!(json["cases"], json!([]));
}

#[test]
fn what_cannot_be_read_is_named() {
    let broken = DENY.replace("deny", "dney");
    let (folder, [rules, cases, bad]) =
        files([("rules.yaml", DENY), ("cases.yaml", CASES), ("bad.yaml", &broken)]);
    let none = folder.path().join("none.yaml");
    test(&none, &cases, &[]).complains_of(&["none.yaml`"]);
    test(&rules, &none, &[]).complains_of(&["failed to read", "none.yaml`"]);
    let empty = write(folder.path(), "empty.yaml", "");
    let ran = test(&rules, &empty, &[]).ends_with(1);
    assert!(ran.stdout.contains("empty.yaml: error: the file holds no case"), "{ran:#?}");
    test(&bad, &cases, &[]).complains_of(&["the rules cannot be used", "did you mean `deny`?"]);
    test(&rules, &cases, &["--time", "yesterday"]).complains_of(&["--time", "`2026-08-01T12:00"]);
}

#[test]
fn a_time_holds_for_cases_that_name_none() {
    let rules = DENY.replace(
        "{critical: 0}",
        "{critical: 0}, allowedVulnerabilities: [{id: CVE-2024-1, until: 2026-08-01}]",
    );
    let cases = CASES.replace("findings: []", "findings: [{id: CVE-2024-1, severity: critical}]");
    let (_folder, [rules, cases]) = files([("rules.yaml", &rules), ("cases.yaml", &cases)]);
    test(&rules, &cases, &["--time", "2026-08-01T23:59:59Z"]).ends_with(0);
    test(&rules, &cases, &["--time", "2026-08-02T00:00:00Z"]).ends_with(1);
}

#[test]
fn a_report_is_read_beside_the_cases() {
    let case = CASES.replace("{findings: []}", "{report: reports/scan.json, scannedAt: 1h}");
    let (folder, [rules, cases]) = files([("rules.yaml", DENY), ("cases.yaml", &case)]);
    let report = |vulnerabilities: Value| {
        let result = json!({"Target": "a", "Class": "os-pkgs", "Type": "alpine",
            "Vulnerabilities": vulnerabilities});
        let report = json!({"SchemaVersion": 2, "CreatedAt": "2026-08-01T11:00:00Z",
            "ArtifactName": "a", "ArtifactType": "container_image",
            "Metadata": {"OS": {"Family": "alpine", "Name": "3.20.3"}}, "Results": [result]});
        write(folder.path(), "reports/scan.json", report.to_string());
    };
    let ran = test(&rules, &cases, &[]).ends_with(1);
    says(&ran, &["the report `reports/scan.json` cannot be used: ", "No such file"]);
    report(json!([]));
    test(&rules, &cases, &[]).ends_with(0);
    report(json!([{"VulnerabilityID": "CVE-2024-1", "PkgName": "a", "Severity": "CRITICAL"}]));
    let ran = test(&rules, &cases, &[]).ends_with(1);
    says(&ran, &["FAIL", "CVE-2024-1"]);
}

#[test]
fn the_documented_cases_are_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cases = root.join("examples/cases/grace-period.yaml");
    let documented = fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    assert!(documented.contains(&fs::read_to_string(&cases).unwrap()));
    let ran = test(&root.join("examples/rules/grace-period.yaml"), &cases, &[]).ends_with(0);
    says(&ran, &["5 cases as expected, 0 not"]);
}

#[track_caller]
fn diff(old: &Path, new: &Path, events: &[&Path], more: &[&str]) -> Ran {
    let named = [old, new].map(|path| path.to_str().unwrap());
    let events: Vec<_> = events.iter().map(|path| path.to_str().unwrap()).collect();
    run(&[&["rules", "diff"], named.as_slice(), &["--events"], &events, more].concat())
}

/// What a service wrote that decided the samples, and the folder that it is in.
fn recorded() -> (World, PathBuf) {
    let world = World::new();
    world.configure("events: events.jsonl\n");
    let events = world.write("events.jsonl", "");
    let service = world.serve();
    for sample in &world.samples {
        service.check(&sample.reference, &["--namespace", "shop", "--workload", "Deployment/web"]);
        service.check(&sample.reference, &["--namespace", "shop", "--workload", "Deployment/web"]);
    }
    service.end("TERM").ends_with(0);
    (world, events)
}

const AUDIT: &str = "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - {name: only-audit, action: audit, maxAllowed: {critical: 0}, onUnavailable: allow}
";

#[test]
fn what_would_change_is_listed_by_place_and_counted() {
    let (world, events) = recorded();
    let (old, new) = (
        world.write("rules.yaml", portcullis_testkit::samples::rules()),
        world.write("new.yaml", AUDIT),
    );
    let same = diff(&old, &old, &[&events], &["--output", "json"]).ends_with(0).json();
    let decisions = world.samples.len() * 2;
    assert_eq!(same["decisions"], decisions);
    assert_eq!(same["same"], decisions, "{same:#}");
    for none in ["changed", "cannot_tell", "malformed", "unlike_record"] {
        assert_eq!(same[none], 0, "{same:#}");
    }

    let json = diff(&old, &new, &[&events], &["--output", "json"]).ends_with(0).json();
    let critical = world.image("critical");
    let change = json["changes"].as_array().unwrap().iter().find(|c| c["image"] == critical);
    let change = change.unwrap_or_else(|| panic!("{json:#}"));
    assert_eq!(change["count"], 2);
    assert_eq!(change["namespace"], "shop");
    assert_eq!(change["workload"], "Deployment/web");
    assert_eq!(change["before"], json!({"action": "deny", "rule": "no-known-high-risk"}));
    assert_eq!(change["after"], json!({"action": "audit", "rule": "only-audit"}));
    // Also what was decided without a report.
    let unscanned = world.image("unscanned");
    let change = json["changes"].as_array().unwrap().iter().find(|c| c["image"] == unscanned);
    assert_eq!(change.unwrap()["after"], json!({"action": "allow", "rule": null}));

    let ran = diff(&old, &new, &[&events], &[]).ends_with(0);
    says(&ran, &[critical, "deny by", "audit by only-audit", "0 cannot tell"]);
}

#[test]
fn what_cannot_be_told_and_what_cannot_be_read_is_listed() {
    let (world, events) = recorded();
    let old = world.write("rules.yaml", portcullis_testkit::samples::rules());
    let text = fs::read_to_string(&events).unwrap();
    let (reports, decisions): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.contains(r#""kind":"report""#));
    let critical = |line: &&&str| line.contains(world.image("critical"));
    let decided = *decisions.iter().find(critical).unwrap();
    let before = decided.replacen(r#""kind":"decision","#, "", 1);
    let lines = [decided, "", &before, "{\"kind\":", r#"{"kind":"other"}"#, decided];
    let alone = world.write("alone.jsonl", lines.join("\n"));
    let json = diff(&old, &old, &[&alone], &["--output", "json"]).ends_with(0).json();
    assert_eq!((&json["decisions"], &json["cannot_tell"]), (&json!(3), &json!(3)));
    let why = |n: usize| json!([json["untold"][n]["line"], json["untold"][n]["why"]]);
    assert_eq!(
        [0, 1, 2].map(why),
        [json!([1, "report_missing"]), json!([3, "old_version"]), json!([6, "report_missing"]),]
    );
    assert_eq!(json["untold"][0]["image"], world.image("critical"));
    assert_eq!(json["malformed"], 2);
    let unreadable = |n: usize| json["unreadable"][n]["line"].clone();
    assert_eq!([0, 1].map(unreadable), [4, 5]);
    let ran = diff(&old, &old, &[&alone], &[]).ends_with(0);
    says(&ran, &["3 cannot tell", "alone.jsonl:1: cannot tell about", "is not in the files"]);
    says(&ran, &["2 lines cannot be read", "alone.jsonl:4: the line cannot be read: EOF"]);

    // The reports may be in another part of a rotated file, or come later.
    let earlier = world.write("earlier.jsonl", reports.join("\n"));
    for parts in [[&earlier, &alone], [&alone, &earlier]] {
        let json = diff(&old, &old, &parts.map(|p| p.as_path()), &["--output", "json"])
            .ends_with(0)
            .json();
        assert_eq!((&json["same"], &json["cannot_tell"]), (&json!(2), &json!(1)), "{json:#}");
    }
}

#[test]
fn rules_that_were_not_in_force_are_noticed() {
    let (world, events) = recorded();
    let new = world.write("new.yaml", AUDIT);
    let json = diff(&new, &new, &[&events], &["--output", "json"]).ends_with(0).json();
    assert_eq!(json["changed"], 0);
    assert!(json["unlike_record"].as_u64().unwrap() > 0, "{json:#}");
    let ran = diff(&new, &new, &[&events], &[]).ends_with(0);
    says(&ran, &["other rules were in force then"]);
}

#[test]
fn what_is_not_a_file_of_events_is_named() {
    let (folder, [rules, bad]) = files([("rules.yaml", DENY), ("bad.yaml", "rules: [")]);
    let none = folder.path().join("none.jsonl");
    diff(&rules, &rules, &[&none], &[]).complains_of(&["failed to read", "none.jsonl`"]);
    diff(&rules, &rules, &[folder.path()], &[]).complains_of(&["not a file"]);
    let pipe = folder.path().join("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    diff(&rules, &rules, &[&pipe], &[]).complains_of(&["pipe.jsonl` is not a file"]);
    let empty = write(folder.path(), "empty.jsonl", "");
    diff(&rules, &bad, &[&empty], &[]).complains_of(&["failed to read the new rules"]);
    let ran = diff(&rules, &rules, &[&empty], &[]).ends_with(0);
    says(&ran, &["0 decisions: 0 would change, 0 stay, 0 cannot tell"]);
}

#[test]
fn a_line_past_its_bound_is_named_and_the_next_is_read() {
    /// The longest line, in bytes.
    const MAX_LINE: usize = 64 * 1024 * 1024;
    let (folder, [rules]) = files([("rules.yaml", DENY)]);
    let malformed = |length: usize| {
        let text = format!("{}\n{}\n{{}}\n", " ".repeat(length), "x");
        let path = write(folder.path(), "events.jsonl", text);
        let json = diff(&rules, &rules, &[&path], &["--output", "json"]).ends_with(0).json();
        let lines = json["unreadable"].as_array().unwrap().iter();
        lines.map(|l| (l["line"].as_u64().unwrap(), l["reason"].to_string())).collect::<Vec<_>>()
    };
    let within = malformed(MAX_LINE);
    assert_eq!(within.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
    let past = malformed(MAX_LINE + 1);
    assert_eq!(past.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(past[0].1.contains("longer than the 67108864 bytes allowed"), "{past:?}");
}
