//! What cases say, and how a fault in them is told.

use time::macros::datetime;

use super::*;
use crate::decide::{Condition, NoticeKind};
use crate::evidence::{Cause, CauseKind, Evidence, Reason, Rejection};
use crate::findings::{FixState, Severity};
use crate::policy::{self, MAX_FILE, MAX_PROBLEMS, Population};

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

fn read(text: String, open: &mut Open<'_>) -> Result<Vec<Case>, Vec<Problem>> {
    parse(&Source { file: "c.yaml".to_owned(), text }, NOW, open)
}

fn nothing(path: &str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    Err(format!("{path} is not there").into())
}

fn document(cases: &str) -> String {
    format!("apiVersion: portcullis.dev/v1\nkind: Cases\nspec:\n  cases:\n{cases}")
}

/// The case that is made of the one-line fields `fields`.
#[track_caller]
fn case(fields: &str) -> Case {
    let cases = read(document(&format!("  - {{name: c, {fields}}}\n")), &mut nothing);
    cases.unwrap_or_else(|problems| panic!("{problems:#?}")).remove(0)
}

/// The first problem of a case of these fields, with its place.
#[track_caller]
fn problem(fields: &str) -> String {
    let read = read(document(&format!("  - {{name: c, {fields}}}\n")), &mut nothing);
    read.unwrap_err()[0].to_string()
}

const EXPECT: &str = "expect: {action: allow}";

#[track_caller]
fn evidence(evidence: &str) -> Evidence {
    let case = case(&format!("image: reg.io/app, evidence: {evidence}, {EXPECT}"));
    (*case.subjects[0].evidence).clone()
}

#[track_caller]
fn finding(finding: &str) -> crate::findings::Finding {
    let Evidence::Verified(reports) =
        evidence(&format!("{{reports: [{{findings: [{finding}]}}]}}"))
    else {
        panic!("no report");
    };
    reports[0].findings.get(0).unwrap().to_finding()
}

#[test]
fn a_case_says_where_and_when() {
    let case = case(&format!(
        "image: nginx, evidence: missing, {EXPECT}, time: 2026-01-01, context: {{cluster: c1, \
         namespace: shop, namespaceLabels: {{a: b}}, workload: Deployment/web, pod: p, podLabels: \
         {{empty: ''}}, serviceAccount: sa, container: main, breakGlass: why, cloud: {{provider: aws, \
         account: acc, region: r}}}}"
    ));
    assert_eq!(case.image.to_string(), "docker.io/library/nginx:latest");
    assert_eq!(case.time, datetime!(2026-01-01 0:00 UTC));
    let labels = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let expected = Context {
        provider: "aws".to_owned(),
        account: "acc".to_owned(),
        region: "r".to_owned(),
        cluster: "c1".to_owned(),
        namespace: "shop".to_owned(),
        namespace_labels: labels("a", "b"),
        workload_kind: "Deployment".to_owned(),
        workload: "web".to_owned(),
        pod: "p".to_owned(),
        pod_labels: labels("empty", ""),
        service_account: "sa".to_owned(),
        container: "main".to_owned(),
        break_glass: "why".to_owned(),
    };
    assert_eq!(case.context, expected);
}

#[test]
fn what_is_known_is_a_word_or_reports() {
    for status in super::evidence::STATUS {
        assert_eq!(evidence(status).status(), status);
        assert_eq!(evidence(&format!("{{status: {status}}}")).status(), status);
    }
    let Evidence::Rejected(Rejection { reason, .. }) =
        evidence("{status: rejected, reason: wrong_subject}")
    else {
        panic!("not rejected");
    };
    assert_eq!(reason, Reason::WrongSubject);
    let Evidence::Unavailable(Cause { kind, .. }) =
        evidence("{status: unavailable, reason: deadline}")
    else {
        panic!("not unavailable");
    };
    assert_eq!(kind, CauseKind::Deadline);
    assert!(matches!(evidence("{status: stale, age: 90m}"), Evidence::Stale { age }
        if age.as_secs() == 90 * 60));
}

#[test]
fn a_finding_is_read_as_reports_are() {
    let read = finding(
        "{id: CVE-2022-48174-busybox, aliases: [ghsa-1, GHSA-1], severity: high, score: 9.8, \
         fixed: ['1.2', '1.3'], package: busybox, purl: 'pkg:apk/alpine/busybox@1.0', installed: '1', \
         knownExploited: true, epss: 1, published: 14d, firstSeen: 2026-07-01, analysis: fixed}",
    );
    assert_eq!(&*read.id, "CVE-2022-48174");
    let aliases: Vec<_> = read.aliases.iter().map(|alias| &**alias).collect();
    assert_eq!(aliases, ["CVE-2022-48174-busybox", "GHSA-1"]);
    assert_eq!((read.severity, read.fix_state), (Severity::High, FixState::Fixed));
    assert_eq!(read.score.unwrap().to_string(), "9.8");
    assert_eq!(read.published, Some(datetime!(2026-07-18 12:00 UTC)));
    assert_eq!(read.first_seen, Some(datetime!(2026-07-01 0:00 UTC)));
    assert_eq!(read.known_exploited, Some(true));

    let bare = finding("{id: X-1}");
    assert_eq!((bare.severity, bare.fix_state), (Severity::Unknown, FixState::NotStated));
    assert_eq!((bare.known_exploited, bare.epss, bare.published), (None, None, None));
    // As in a report a score tells where no word does.
    assert_eq!(finding("{id: X-1, score: 7}").severity, Severity::High);
}

#[test]
fn the_report_of_a_file_is_read_and_not_verified() {
    let report = r#"{"SchemaVersion": 2, "CreatedAt": "2026-07-31T12:00:00Z",
        "ArtifactName": "x", "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "alpine", "Name": "3.20.3"}},
        "Results": [{"Target": "x", "Class": "os-pkgs", "Type": "alpine", "Vulnerabilities": [
            {"VulnerabilityID": "CVE-2024-1", "PkgName": "a", "InstalledVersion": "1",
             "Severity": "CRITICAL"}]}]}"#;
    let mut asked = Vec::new();
    let mut open = |path: &str| {
        asked.push(path.to_owned());
        Ok(report.as_bytes().to_vec())
    };
    let text = |more: &str| {
        document(&format!(
            "  - {{name: c, image: reg.io/app, evidence: {{reports: [{{report: a/b.json{more}}}]}}, \
             {EXPECT}}}\n"
        ))
    };
    for (more, at) in [
        ("", datetime!(2026-07-31 12:00 UTC)),
        (", scannedAt: 1h", datetime!(2026-08-01 11:00 UTC)),
    ] {
        let case = read(text(more), &mut open).unwrap().remove(0);
        let Evidence::Verified(reports) = &*case.subjects[0].evidence else { panic!("no report") };
        assert_eq!(reports[0].findings.get(0).unwrap().id(), "CVE-2024-1");
        assert_eq!(reports[0].findings.scanned_at, at);
        assert_eq!(reports[0].signer.subject, "nobody: simulated");
    }
    assert_eq!(asked, ["a/b.json", "a/b.json"]);

    let problem = |open: &mut Open<'_>| read(text(""), open).unwrap_err()[0].to_string();
    let missing = problem(&mut nothing);
    assert!(missing.starts_with("c.yaml:5:"), "{missing}");
    assert!(missing.contains("the report `a/b.json` cannot be used: a/b.json is not there"));
    let garbage = problem(&mut |_| Ok(b"[]".to_vec()));
    assert!(garbage.contains("`a/b.json` cannot be used: "), "{garbage}");
}

#[test]
fn each_fault_is_told_with_its_place_and_its_cure() {
    let image = "image: reg.io/app, evidence: missing";
    for (fields, expected) in [
        (image.to_owned(), "c.yaml:5:5: the case has no `expect`: add it"),
        (format!("{image}, {EXPECT}, imgae: x"), "did you mean `image`?"),
        (format!("evidence: missing, {EXPECT}"), "has no `image`"),
        (format!("image: UPPER, evidence: missing, {EXPECT}"), "is not an image reference"),
        (format!("image: a, {EXPECT}"), "has no `evidence`"),
        (format!("image: a, evidence: mising, {EXPECT}"), "did you mean `missing`?"),
        (format!("{image}, expect: {{action: block}}"), "expected one of `allow`"),
        (format!("{image}, {EXPECT}, time: 3h"), "expected a time like"),
        (format!("{image}, {EXPECT}, context: {{workload: web}}"), "one like `Deployment/web`"),
        (
            format!(
                "{image}, expect: {{action: deny, violations: [{{rule: r, condition: stael}}]}}"
            ),
            "did you mean `stale`?",
        ),
        (format!("image: a, evidence: {{vex: []}}, {EXPECT}"), "`vex` says nothing without"),
        (format!("image: a, evidence: {{reports: []}}, {EXPECT}"), "write `missing`"),
        (format!("image: a, evidence: {{reports: [{{}}]}}, {EXPECT}"), "no `findings`"),
        (
            format!("image: a, evidence: {{reports: [{{report: x, findings: []}}]}}, {EXPECT}"),
            "remove these",
        ),
        (
            format!("image: a, evidence: {{status: missing, reports: []}}, {EXPECT}"),
            "remove it or the reports",
        ),
        (
            format!("image: a, evidence: {{platforms: {{linux: missing}}}}, {EXPECT}"),
            "`linux` is not a platform",
        ),
    ] {
        let problem = problem(&fields);
        assert!(problem.starts_with("c.yaml:5:"), "{problem}");
        assert!(problem.contains(expected), "`{expected}` is not in {problem}");
    }
    let of_finding = |finding: &str| {
        problem(&format!("image: a, evidence: {{reports: [{{findings: [{finding}]}}]}}, {EXPECT}"))
    };
    for (finding, expected) in [
        ("{}", "a finding has no `id`"),
        ("{id: X, installed: 1.1}", "write it in quotes"),
        ("{id: X, score: 10.1}", "`score` of a finding is not a number from 0.0 to 10.0"),
        ("{id: X, epss: -0.1}", "`epss` of a finding is not a number from 0 to 1"),
        ("{id: X, epss: high}", "is a text, expected a number"),
        ("{id: X, published: 14}", "write it in quotes"),
        ("{id: X, published: fortnight}", "or an age like `3h`"),
        ("{id: X, severity: hihg}", "did you mean `high`?"),
    ] {
        let problem = of_finding(finding);
        assert!(problem.contains(expected), "`{expected}` is not in {problem}");
    }
}

#[test]
fn what_is_no_file_of_cases_is_told() {
    let problem = |text: &str| read(text.to_owned(), &mut nothing).unwrap_err()[0].to_string();
    assert!(problem("").contains("the file holds no case"));
    assert!(problem("cases: [").contains("not readable YAML"));
    let policy = problem("apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {cases: []}\n");
    assert!(policy.contains("`kind` is `Policy`, expected one of `Cases`"), "{policy}");
    let twice = format!("  - {{name: c, image: a, evidence: missing, {EXPECT}}}\n").repeat(2);
    let twice = read(document(&twice), &mut nothing).unwrap_err();
    assert_eq!(twice.len(), 1);
    let message = &twice[0].message;
    assert!(message.contains("there is a case `c` already, at 5:12"), "{message}");
}

#[test]
fn every_size_has_a_bound() {
    let file = |length: usize| read("#".repeat(length), &mut nothing).unwrap_err()[0].to_string();
    assert!(file(MAX_FILE).contains("no case"));
    assert!(file(MAX_FILE + 1).contains("more than the 4194304 allowed"));

    let cases = |count: usize| {
        let case = |n| format!("  - {{name: c{n}, image: a, evidence: missing, {EXPECT}}}\n");
        read(document(&(0..count).map(case).collect::<String>()), &mut nothing)
    };
    assert_eq!(cases(MAX_CASES).unwrap().len(), MAX_CASES);
    assert!(cases(MAX_CASES + 1).unwrap_err()[0].message.contains("more than the 10000"));

    let named = |length: usize| {
        let name = "n".repeat(length);
        let case = format!("  - {{name: {name}, image: a, evidence: missing, {EXPECT}}}\n");
        read(document(&case), &mut nothing)
    };
    assert!(named(MAX_CASE_NAME).is_ok());
    assert!(named(MAX_CASE_NAME + 1).is_err());

    let findings = |count: usize| {
        let list = "{id: X},".repeat(count);
        let case = format!(
            "  - {{name: c, image: a, evidence: {{reports: [{{findings: [{list}]}}]}}, {EXPECT}}}\n"
        );
        read(document(&case), &mut nothing)
    };
    assert!(findings(MAX_CASE_FINDINGS).is_ok());
    assert!(findings(MAX_CASE_FINDINGS + 1).is_err());

    let platforms = |count: usize| {
        let list: String = (0..count).map(|n| format!("linux/p{n}: missing,")).collect();
        let case =
            format!("  - {{name: c, image: a, evidence: {{platforms: {{{list}}}}}, {EXPECT}}}\n");
        read(document(&case), &mut nothing)
    };
    assert_eq!(platforms(MAX_PLATFORMS).unwrap()[0].subjects.len(), MAX_PLATFORMS + 1);
    assert!(platforms(MAX_PLATFORMS + 1).is_err());

    let problems = "  - {name: 1}\n".repeat(MAX_PROBLEMS);
    assert_eq!(read(document(&problems), &mut nothing).unwrap_err().len(), MAX_PROBLEMS);
}

fn expected(more: &str) -> Expected {
    let fields = format!("image: a, evidence: missing, expect: {{action: deny{more}}}");
    case(&fields).expected
}

fn found() -> Found {
    let violation = |rule: &str, count| FoundViolation {
        rule: rule.to_owned(),
        condition: "max_allowed".to_owned(),
        count,
    };
    Found {
        action: Action::Deny,
        rule: Some("r".to_owned()),
        violations: vec![violation("r", 3), violation("r", 1), violation("s", 1)],
        exemptions: vec!["e".to_owned()],
        notices: vec!["cleared".to_owned()],
        break_glass: None,
        message: "reg.io/app: too many".to_owned(),
    }
}

#[test]
fn every_field_of_expect_is_compared() {
    let fields = |more: &str| {
        let differences = expected(more).differences(&found());
        differences.into_iter().map(|difference| difference.field).collect::<Vec<_>>()
    };
    let three = "{rule: s, condition: max_allowed}, {rule: r, condition: max_allowed}";
    assert_eq!(fields(""), [""; 0]);
    assert_eq!(fields(", rule: r, exemptions: e, notices: [cleared]"), [""; 0]);
    assert_eq!(fields(", rule: s"), ["rule"]);
    assert_eq!(fields(", exemptions: []"), ["exemptions"]);
    assert_eq!(fields(", notices: []"), ["notices"]);
    assert_eq!(fields(", breakGlass: on-call"), ["breakGlass"]);
    assert_eq!(fields(", messageContains: [reg.io, few, less]"), ["messageContains"; 2]);
    let violations = |list: &str| fields(&format!(", violations: [{list}]"));
    // In any order, and the number is compared where it is given.
    let counted = "{rule: r, condition: max_allowed, count: 3}";
    assert_eq!(violations(&format!("{three}, {counted}")), [""; 0]);
    assert_eq!(violations(three), ["violations"]);
    assert_eq!(violations(&format!("{three}, {counted}, {counted}")), ["violations"]);
    assert_eq!(violations(&format!("{three}, {{rule: r, condition: stale}}")), ["violations"]);

    let other = Found { action: Action::Allow, ..found() };
    let difference = expected("").differences(&other).remove(0);
    assert_eq!((&*difference.expected, &*difference.found), ("deny", "allow"));
}

#[test]
fn every_condition_has_its_word() {
    let cause = || Cause { kind: CauseKind::Denied, detail: String::new() };
    let rejection = || Rejection { reason: Reason::Unsigned, report: None, detail: String::new() };
    let max = |population| Condition::MaxAllowed {
        population,
        level: Severity::High,
        limit: 0,
        count: 1,
    };
    let mut words: Vec<_> = Population::ALL.map(|population| max(population).as_str()).into();
    words.extend(
        [
            Condition::Forbidden { id: String::new() },
            Condition::UntrustedImage,
            Condition::Unscanned,
            Condition::Rejected(rejection()),
            Condition::Stale { scanned_at: NOW, max_age: std::time::Duration::ZERO },
            Condition::Unconfirmed { age: std::time::Duration::ZERO },
            Condition::Withheld,
            Condition::Unavailable(cause()),
            Condition::Unsupported,
        ]
        .map(|condition| condition.as_str()),
    );
    assert_eq!(words, super::document::CONDITIONS);
}

#[test]
fn a_decision_is_told_in_words() {
    let rules = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {rules: [{name: r, \
                 maxAllowed: {high: 0}}]}";
    let source = Source { file: "r".to_owned(), text: rules.to_owned() };
    let policy = policy::parse(&[source]).unwrap();
    let found = case(&format!("image: reg.io/app, evidence: missing, {EXPECT}")).decide(&policy);
    assert_eq!((found.action, found.rule), (Action::Allow, None));
    assert_eq!(found.notices, [NoticeKind::Unscanned.as_str()]);
    assert_eq!(found.message, "");
}

#[test]
fn all_documents_of_a_file_have_one_bound() {
    let case = |n| format!("  - {{name: c{n}, image: a, evidence: missing, {EXPECT}}}\n");
    let half = |from: usize, to| document(&(from..to).map(case).collect::<String>());
    let both = |count| format!("{}---\n{}", half(0, 10), half(10, count));
    assert_eq!(read(both(MAX_CASES), &mut nothing).unwrap().len(), MAX_CASES);
    let problems = read(both(MAX_CASES + 1), &mut nothing).unwrap_err();
    assert!(problems[0].message.contains("more than the 10000 cases"), "{problems:?}");
}
