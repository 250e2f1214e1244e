//! Audit rules that keep others from denying.

use super::*;
use crate::decide::{Decision, decide};
use crate::evidence::{Evidence, Report, Source as From, Subject};
use crate::findings::{Finding, Findings, Scanner};
use crate::policy::shadow::EXAMPLE_NOW as NOW;
use crate::signature::Signer;
use time::macros::datetime;

/// The decision about an image with these findings.
fn decided(policy: &Policy, list: Vec<Finding>) -> Decision {
    let signer = Signer {
        subject: "CN=scanner".to_owned(),
        fingerprint: String::new(),
        policy: "all".to_owned(),
        signed_at: Some(NOW),
    };
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    let report = Report {
        digest: Digest::of(b"report"),
        signer: Arc::new(signer),
        findings: Findings::new(scanner, NOW, list),
        notices: Vec::new(),
    };
    let subject = Subject {
        digest: Some(Digest::of(b"image")),
        platform: None,
        evidence: Arc::new(Evidence::verified(vec![Arc::new(report)])),
        fetched_at: NOW,
        source: From::Registry,
    };
    decide(policy, &"reg.io/app:v1".parse().unwrap(), &[subject], &Context::default(), NOW)
}

/// The pairs that a policy of these rules warns of. Each example is tried: it is audited, and denied
/// without the audit rule. The rules that are compared must be about everything.
#[track_caller]
fn shadowed(rules: &[&str], expected: &[(&str, &str)]) {
    let text = |without: &str| {
        let kept = rules.iter().filter(|rule| !rule.starts_with(&format!("name: {without},")));
        document(&kept.map(|rule| format!("    - {{{rule}}}\n")).collect::<String>())
    };
    let policy = good(&text("nothing"));
    let (shadows, _) = shadow::find(&policy.rules, &policy.narrowings, &policy.ids);
    let found: Vec<_> = shadows.iter().map(|s| (&**s.audit.name(), &**s.deny.name())).collect();
    let warnings = policy.warnings_at(NOW);
    assert_eq!(found, expected, "{warnings:#?}");
    let told = warnings.iter().filter(|w| w.message.contains("can let pass")).count();
    assert_eq!(told, expected.len(), "{warnings:#?}");
    for shadow in &shadows {
        let findings = shadow.example.findings();
        let decision = decided(&policy, findings.clone());
        let decider = decision.rule.as_deref().unwrap_or_default();
        assert_eq!((decision.action, decider), (Action::Audit, &**shadow.audit.name()));
        let decision = decided(&good(&text(shadow.audit.name())), findings);
        assert_eq!(decision.action, Action::Deny, "{decision:#?}");
    }
}

/// Whether an audit rule with these conditions can keep a deny rule with those from denying.
#[track_caller]
fn pair(audit: &str, deny: &str, expected: bool) {
    let rules = [format!("name: a, {audit}"), format!("name: d, action: deny, {deny}")];
    let expected: &[_] = if expected { &[("a", "d")] } else { &[] };
    shadowed(&rules.each_ref().map(String::as_str), expected);
}

const CRITICAL: &str = "maxAllowed: {critical: 0}";

#[test]
fn a_limit_can_be_fulfilled_before_another() {
    pair(CRITICAL, "maxAllowed: {high: 5}", true);
    pair(CRITICAL, "maxAllowed: {high: 0}", false);
    pair(CRITICAL, CRITICAL, false);
    pair(CRITICAL, "maxAllowed: {critical: 1}", true);
    pair("maxAllowed: {critical: 1}", CRITICAL, false);
    pair("maxAllowed: {high: 2, low: 9}", "maxAllowed: {high: 2, low: 9}", false);
    pair("maxAllowed: {high: 2}", "maxAllowed: {low: 2}", false);
    pair("maxAllowed: {high: 2}", "maxAllowed: {low: 3}", true);
    // One report does not hold as many findings.
    pair("maxAllowed: {low: 100000}", "maxAllowed: {low: 100001}", false);
}

#[test]
fn unknown_severities_come_last() {
    // A finding of unknown severity counts as critical.
    pair("maxAllowed: {high: 0}", CRITICAL, true);
    pair("maxAllowed: {high: 2, low: 9}", "maxAllowed: {high: 2}", true);
    pair("maxAllowed: {unknown: 0}", CRITICAL, false);
    pair("maxAllowed: {high: 0, unknown: 0}", "maxAllowed: {critical: 0, unknown: 0}", true);
    pair("maxAllowed: {high: 0, unknown: 9}", "maxAllowed: {high: 0, unknown: 9}", false);
    pair(CRITICAL, "maxAllowed: {unknown: 0}", true);
}

#[test]
fn named_vulnerabilities_are_met_anywhere() {
    pair(CRITICAL, "forbiddenVulnerabilities: [CVE-1]", true);
    pair("forbiddenVulnerabilities: [CVE-1]", CRITICAL, true);
    pair("forbiddenVulnerabilities: [CVE-1]", "forbiddenVulnerabilities: [CVE-1]", false);
    pair("forbiddenVulnerabilities: [CVE-1]", "forbiddenVulnerabilities: [CVE-2, CVE-1]", false);
    pair("forbiddenVulnerabilities: [CVE-1]", "forbiddenVulnerabilities: [CVE-2]", true);
    let critical = |more: &str| format!("{CRITICAL}, allowedVulnerabilities: [{more}]");
    pair(CRITICAL, &critical("CVE-9"), true);
    pair(&critical("CVE-9"), CRITICAL, false);
    pair(&critical("CVE-9"), &critical("CVE-9"), false);
    pair(&critical("CVE-9"), &critical("CVE-9, CVE-8"), true);
    pair("forbiddenVulnerabilities: [CVE-1], allowedVulnerabilities: [CVE-1]", CRITICAL, false);
}

#[test]
fn what_a_rule_allows_for_a_time_shadows_for_that_time() {
    let until =
        |date: &str| format!("{CRITICAL}, allowedVulnerabilities: [{{id: CVE-9, until: {date}}}]");
    pair(CRITICAL, &until("2026-12-31"), true);
    let rules = format!(
        "    - {{name: a, {CRITICAL}}}\n    - {{name: d, action: deny, {}}}",
        until("2026-12-31")
    );
    let policy = good(&document(&rules));
    let end = datetime!(2027-01-01 0:00 UTC);
    let warned = |now| {
        let warnings = policy.warnings_at(now);
        warnings.iter().any(|warning| warning.message.contains("can let pass"))
    };
    assert!(warned(end - time::Duration::SECOND) && !warned(end));
}

#[test]
fn populations_are_told_apart() {
    let fixable = "maxAllowedFixable: {critical: 0}";
    let unfixable = "maxAllowedUnfixable: {critical: 0}";
    pair(fixable, unfixable, true);
    pair(unfixable, fixable, true);
    pair(fixable, fixable, false);
    pair(fixable, CRITICAL, false);
    pair(CRITICAL, fixable, true);
    pair("maxAllowedFixable: {high: 0}", "maxAllowed: {high: 0}", false);
}

#[test]
fn narrowed_limits_are_told_apart() {
    let with = |count: &str| format!("{CRITICAL}, count: {{{count}}}");
    pair(CRITICAL, &with("minCvss: 7.0"), true);
    pair(&with("minCvss: 7.0"), CRITICAL, false);
    pair(&with("minCvss: 7.0"), &with("minCvss: 7.0"), false);
    pair(&with("minCvss: 7.0"), &with("minCvss: 6.9"), false);
    pair(CRITICAL, &with("minPublishedAge: 14d"), true);
    pair(&with("minPublishedAge: 14d"), &with("minPublishedAge: 7d"), false);
    pair(&with("minPublishedAge: 7d"), &with("minPublishedAge: 36h, minFirstSeenAge: 1d"), true);
    pair(&with("minPublishedAge: 7d"), &with("minPublishedAge: 14d"), true);
    pair(&with("minFirstSeenAge: 14d"), CRITICAL, false);
    pair(CRITICAL, &with("knownExploited: true, notStated: ignore"), true);
    pair(&with("knownExploited: true, notStated: ignore"), CRITICAL, false);
    pair(CRITICAL, &with("minEpss: 0.1, notStated: ignore"), true);
    pair(CRITICAL, &with("packages: ['pkg:npm/**'], notStated: ignore"), true);
    pair(&with("packages: ['pkg:npm/**']"), &with("notPackages: ['pkg:npm/**']"), true);
    pair(&with("packages: ['pkg:deb/**']"), &with("fixAvailable: true"), true);
    pair(&with("fixAvailable: true"), &with("fixAvailable: false"), true);
}

#[test]
fn evidence_hides_no_denial() {
    pair("blockUnscannedImages: true", CRITICAL, false);
    pair("maxFindingsAge: 1d, blockUnscannedImages: true", CRITICAL, false);
    pair("trustedImages: ['reg.io/base/*']", CRITICAL, false);
    pair(CRITICAL, "blockUnscannedImages: true", false);
}

#[test]
fn an_image_that_another_rule_denies_does_not_slip_through() {
    let d = "name: d, action: deny, maxAllowed: {high: 5}";
    let a = "name: a, maxAllowed: {critical: 0}";
    let other = "name: e, action: deny, maxAllowed: {critical: 0}";
    shadowed(&[a, d], &[("a", "d")]);
    shadowed(&[a, d, other], &[]);
    let here = "scope: {match: [{field: namespace, operator: equals, values: [shop]}]}";
    let local = |rule: &str| format!("{rule}, {here}");
    let warnings = |rules: &[&str]| {
        let rules = rules.iter().map(|rule| format!("    - {{{rule}}}\n")).collect::<String>();
        good(&document(&rules)).warnings().len()
    };
    assert_eq!(warnings(&[&local(a), d, &local(other)]), 0);
    assert_eq!(warnings(&[a, d, &local(other)]), 1);
    assert_eq!(warnings(&[a, d, &format!("{other}, enabled: false")]), 1);
    assert_eq!(warnings(&[a, d, &format!("{other}, allowedImages: ['reg.io/**']")]), 1);
}

#[test]
fn rules_that_are_about_other_containers_are_not_compared() {
    let namespace = |name: &str| {
        format!("scope: {{match: [{{field: namespace, operator: equals, values: [{name}]}}]}}")
    };
    let found = |audit: &str, deny: &str| {
        let rules = format!(
            "    - {{name: a, {CRITICAL}, {audit}}}\n    - {{name: d, action: deny, maxAllowed: \
             {{high: 5}}, {deny}}}"
        );
        good(&document(&rules)).warnings().len()
    };
    assert_eq!(found(&namespace("x"), &namespace("y")), 0);
    assert_eq!(found(&namespace("x"), &namespace("'x', 'y'")), 1);
    assert_eq!(found(&namespace("x"), "enabled: true"), 1);
    assert_eq!(found("enabled: true", &namespace("x")), 1);
    assert_eq!(found("enabled: false", &namespace("x")), 0);
    let label = |value: &str| format!("scope: {{podLabels: {{matchLabels: {{tier: {value}}}}}}}");
    assert_eq!(found(&label("web"), &label("db")), 0);
    assert_eq!(found(&label("web"), &label("web")), 1);
    // A workload is also what it belongs to.
    let workload = |operator: &str, value: &str| {
        format!("scope: {{match: [{{field: workload, operator: {operator}, values: [{value}]}}]}}")
    };
    let web = workload("equals", "Deployment/web");
    assert_eq!(found(&web, &workload("equals", "ReplicaSet/web-7")), 1);
    assert_eq!(found(&web, &workload("notEquals", "Deployment/web")), 0);
}

#[test]
fn a_warning_tells_an_example_and_a_cure() {
    let rules = "    - {name: a, maxAllowed: {critical: 0}}
    - {name: d, action: deny, maxAllowedFixable: {high: 2}, count: {minCvss: 7.5}}";
    let policy = good(&document(rules));
    let [warning] = policy.warnings() else { panic!("{:#?}", policy.warnings()) };
    assert_eq!((warning.line, warning.column), (5, 7));
    assert_eq!(
        warning.message,
        "rule `a` can let pass what rule `d` denies: of 1 critical vulnerability with a fix, of \
         CVSS 7.5 and 2 high vulnerabilities with a fix, of CVSS 7.5 in an image, number 1 fulfils \
         `a`, which audits, and number 3, at which `d` denies, is never reached; set `evaluation: \
         denyOverrides` to let the denial win"
    );
}

#[test]
fn where_any_denial_wins_nothing_is_shadowed() {
    let rules = "    - {name: a, maxAllowed: {critical: 0}}
    - {name: d, action: deny, maxAllowed: {high: 5}}";
    let overriding = document(rules).replace("spec:", "spec:\n  evaluation: denyOverrides");
    assert_eq!(good(&overriding).warnings(), []);
    assert_eq!(good(&document(rules)).warnings().len(), 1);
}
