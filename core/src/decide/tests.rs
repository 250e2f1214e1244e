//! Decisions by name.

mod denials;
mod evidence;
mod many;
mod messages;

use super::*;
use crate::evidence::{Cause, CauseKind, Evidence, Reason, Rejection, Report, Source};
use crate::findings::Severity;
use crate::findings::{Analysis, Finding, Findings, FixState, Scanner};
use crate::policy::{self, Population};
use crate::signature::Signer;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn finding(id: &str, severity: Severity) -> Finding {
    Finding {
        id: id.into(),
        aliases: Vec::new(),
        severity,
        score: None,
        package: Some("openssl".into()),
        purl: None,
        installed: Some("3.0.1".into()),
        fixed: vec!["3.0.2".into()],
        fix_state: FixState::Fixed,
        known_exploited: None,
        epss: None,
        published: None,
        first_seen: None,
        analysis: Analysis::Affected,
    }
}

/// Findings of the severities that `levels` has letters for, named after their place.
fn findings(levels: &str) -> Vec<Finding> {
    let severity = |letter| match letter {
        'c' => Severity::Critical,
        'h' => Severity::High,
        'm' => Severity::Medium,
        'l' => Severity::Low,
        'n' => Severity::Negligible,
        _ => Severity::Unknown,
    };
    levels.chars().enumerate().map(|(n, l)| finding(&format!("CVE-{n}"), severity(l))).collect()
}

fn report(scanner: &str, scanned_at: OffsetDateTime, list: Vec<Finding>) -> Arc<Report> {
    Arc::new(Report {
        digest: Digest::of(scanner.as_bytes()),
        signer: Arc::new(Signer {
            subject: "CN=scanner".to_owned(),
            fingerprint: String::new(),
            policy: "all".to_owned(),
            signed_at: Some(scanned_at),
        }),
        findings: Findings::new(
            Scanner { name: scanner.to_owned(), version: None },
            scanned_at,
            list,
        ),
        notices: Vec::new(),
    })
}

fn found(levels: &str) -> Evidence {
    Evidence::verified(vec![report("trivy", NOW, findings(levels))])
}

fn subject(platform: &str, evidence: Evidence) -> Subject {
    Subject {
        digest: Some(Digest::of(platform.as_bytes())),
        platform: (!platform.is_empty()).then(|| platform.parse().unwrap()),
        evidence: Arc::new(evidence),
        fetched_at: NOW,
        source: Source::Registry,
    }
}

fn policy(rules: &str) -> Policy {
    with_evaluation("firstMatch", rules)
}

fn with_evaluation(evaluation: &str, rules: &str) -> Policy {
    let text = format!(
        "apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {{evaluation: {evaluation}, rules: [{rules}]}}"
    );
    policy::parse(&[policy::Source { file: "r".to_owned(), text }]).unwrap()
}

fn image() -> Reference {
    "reg.io/app:v1".parse().unwrap()
}

fn decided_at(policy: &Policy, subjects: &[Subject], now: OffsetDateTime) -> Decision {
    decide(policy, &image(), subjects, &Context::default(), now)
}

/// The action and the rule for one manifest.
#[track_caller]
fn check(rules: &str, evidence: Evidence, action: Action, rule: &str) -> Decision {
    check_all(&policy(rules), &[subject("", evidence)], action, rule)
}

#[track_caller]
fn check_all(policy: &Policy, subjects: &[Subject], action: Action, rule: &str) -> Decision {
    let decision = decided_at(policy, subjects, NOW);
    let decider = decision.rule.as_deref().unwrap_or_default();
    assert_eq!((decision.action, decider), (action, rule), "{decision:?}");
    decision
}

use Action::{Allow, Audit, Deny};

#[test]
fn more_than_allowed_at_a_level_or_higher_is_a_violation() {
    let high = "{name: r, action: deny, maxAllowed: {high: 1}}";
    check(high, found("h"), Allow, "");
    check(high, found("hm"), Allow, "");
    check(high, found("hh"), Deny, "r");
    check(high, found("ch"), Deny, "r");
    check(high, found(""), Allow, "");
    check("{name: r, action: deny, maxAllowed: {critical: 0}}", found("hhhh"), Allow, "");
}

#[test]
fn more_narrowings_than_are_kept_count_all_the_same() {
    let rule = |days: usize| {
        format!(
            "{{name: r{days}, action: deny, maxAllowed: {{high: 0}}, count: {{minPublishedAge: {days}d}}}}"
        )
    };
    let policy = policy(&(1..=20).map(rule).collect::<Vec<_>>().join(", "));
    let published = Some(NOW - time::Duration::hours(10 * 24 + 1));
    let list = vec![Finding { published, ..finding("CVE-1", Severity::High) }];
    let subjects = [subject("", Evidence::verified(vec![report("trivy", NOW, list)]))];
    // Those that were kept first, and those that took their place, a day later too.
    for (day, violated) in [(0, 10), (0, 10), (1, 11), (1, 11), (0, 10)] {
        let decision = decided_at(&policy, &subjects, NOW + time::Duration::days(day));
        assert_eq!(decision.violations.len(), violated, "{decision:?}");
    }
}

#[test]
fn t032_an_unknown_severity_counts_as_the_highest_level_that_the_rule_names() {
    let critical = "{name: r, action: deny, maxAllowed: {critical: 0, low: 9}}";
    let decision = check(critical, found("?"), Deny, "r");
    let level = Severity::Critical;
    let condition =
        Condition::MaxAllowed { population: Population::All, level, limit: 0, count: 1 };
    assert_eq!(decision.violations[0].condition, condition);
    check("{name: r, action: deny, maxAllowed: {low: 1}}", found("l?"), Deny, "r");
    let own = "{name: r, action: deny, maxAllowed: {critical: 0, unknown: 1}}";
    check(own, found("?"), Allow, "");
    check(own, found("??"), Deny, "r");
    check("{name: r, action: deny, maxAllowed: {unknown: 0}}", found("chl"), Allow, "");
}

#[test]
fn a_negligible_finding_counts_at_no_level() {
    check("{name: r, action: deny, maxAllowed: {low: 0, unknown: 0}}", found("nnn"), Allow, "");
}

#[test]
fn the_first_vulnerability_that_fulfils_any_condition_decides() {
    let rules = "{name: a, action: audit, maxAllowed: {critical: 0}},
                 {name: d, action: deny, maxAllowed: {high: 2}}";
    check(rules, found("chh"), Audit, "a");
    check(rules, found("hhh"), Deny, "d");
    check(rules, found("hh"), Allow, "");
    let decision = check(rules, found("chh"), Audit, "a");
    let marks: Vec<_> = decision.violations.iter().map(|v| (&*v.rule, v.deciding)).collect();
    assert_eq!(marks, [("a", true), ("d", false)]);
    let overriding = with_evaluation("denyOverrides", rules);
    check_all(&overriding, &[subject("", found("chh"))], Deny, "d");
}

#[test]
fn at_one_vulnerability_deny_wins_and_then_the_name() {
    let rules = "{name: a, action: audit, maxAllowed: {critical: 0}},
                 {name: z, action: deny, maxAllowed: {high: 0}},
                 {name: y, action: deny, maxAllowed: {low: 0}}";
    check(rules, found("c"), Deny, "y");
    check(rules, found("h"), Deny, "y");
}

#[test]
fn a_forbidden_vulnerability_is_one_by_any_of_its_names() {
    let mut finding = finding("GHSA-1", Severity::Negligible);
    finding.aliases = vec!["CVE-1".into()];
    let evidence = || Evidence::verified(vec![report("trivy", NOW, vec![finding.clone()])]);
    let forbids = "{name: r, action: deny, forbiddenVulnerabilities: [cve-1]";
    check(&format!("{forbids}}}"), evidence(), Deny, "r");
    check(&format!("{forbids}, allowedVulnerabilities: [GHSA-1]}}"), evidence(), Allow, "");
    check("{name: r, forbiddenVulnerabilities: [CVE-10, VE-1]}", evidence(), Allow, "");
}

#[test]
fn forbidden_comes_before_the_levels_at_the_same_vulnerability() {
    let rule = "{name: r, maxAllowed: {high: 0, critical: 0}, forbiddenVulnerabilities: [CVE-0]}";
    let decision = check(rule, found("c"), Audit, "r");
    let kinds: Vec<_> = decision.violations.iter().map(|v| v.condition.as_str()).collect();
    assert_eq!(kinds, ["forbidden", "max_allowed", "max_allowed"]);
    assert!(matches!(
        decision.violations[1].condition,
        Condition::MaxAllowed { level: Severity::Critical, .. }
    ));
}

#[test]
fn forbidden_names_of_one_vulnerability_are_in_their_order_whatever_other_rules_name() {
    let mut finding = finding("CVE-1", Severity::High);
    finding.aliases = vec!["GHSA-1".into()];
    let evidence = Evidence::verified(vec![report("trivy", NOW, vec![finding])]);
    let rules = "{name: z, forbiddenVulnerabilities: [GHSA-1]},
                 {name: a, forbiddenVulnerabilities: [GHSA-1, CVE-1]}";
    let decision = check(rules, evidence, Audit, "a");
    let forbidden = decision.violations.iter().map(|v| match &v.condition {
        Condition::Forbidden { id } => (&*v.rule, &**id),
        other => panic!("{other:?}"),
    });
    assert_eq!(forbidden.collect::<Vec<_>>(), [("a", "CVE-1"), ("a", "GHSA-1"), ("z", "GHSA-1")]);
}

#[test]
fn an_allowed_vulnerability_counts_again_from_its_instant_on() {
    let rule = "{name: r, action: deny, maxAllowed: {high: 0},
                 allowedVulnerabilities: [{id: CVE-0, until: 2026-03-01}]}";
    let policy = policy(rule);
    let subjects = [subject("", found("h"))];
    let end = datetime!(2026-03-02 0:00 UTC);
    let second = time::Duration::SECOND;
    let at = |now| {
        let decision = decided_at(&policy, &subjects, now);
        (decision.action, decision.changes_at)
    };
    assert_eq!(at(end - second), (Allow, Some(end)));
    assert_eq!(at(end), (Deny, None));
    assert_eq!(at(end + second), (Deny, None));
}

#[test]
fn what_a_rule_allows_holds_for_that_rule_only() {
    let rules = "{name: a, action: deny, maxAllowed: {high: 0}, allowedVulnerabilities: [CVE-0]},
                 {name: b, action: audit, maxAllowed: {high: 0}}";
    check(rules, found("h"), Audit, "b");
}

#[test]
fn a_rule_leaves_its_unsupported_registries_alone() {
    let rule = |registry: &str| {
        format!(
            "{{name: r, action: deny, maxAllowed: {{low: 0}}, unsupportedRegistries: [{registry}]}}"
        )
    };
    let decision = check(&rule("reg.io"), found("c"), Allow, "");
    assert_eq!(decision.notices[0].kind, NoticeKind::UnsupportedRegistry);
    check(&rule("reg.io/app"), found("c"), Allow, "");
    for other in ["g.io", "reg.io:8443", "reg.io/ap", "reg.io/app/x", "reg.io.evil.com"] {
        check(&rule(other), found("c"), Deny, "r");
    }
}

#[test]
fn without_a_rule_in_scope_everything_runs() {
    let scope = "scope: {match: [{field: namespace, operator: equals, values: [prod]}]}";
    let rule = format!("{{name: r, action: deny, maxAllowed: {{low: 0}}, {scope}}}");
    check(&rule, found("c"), Allow, "");
    check("{name: r, action: deny, maxAllowed: {low: 0}, enabled: false}", found("c"), Allow, "");
}

#[test]
fn findings_that_are_not_in_order_are_put_in_order() {
    check("{name: r, action: deny, maxAllowed: {critical: 0}}", found("?lhc"), Deny, "r");
}

#[test]
fn a_violation_names_the_worst_findings_up_to_its_bound() {
    let rule = "{name: r, maxAllowed: {low: 0}}";
    let of = |count: usize| {
        let decision = check(rule, found(&format!("{}c", "l".repeat(count - 1))), Audit, "r");
        let violation = decision.violations[0].clone();
        assert_eq!(violation.findings().next().unwrap().severity(), Severity::Critical);
        (violation.findings().count(), violation.total())
    };
    assert_eq!(of(TOP_FINDINGS), (TOP_FINDINGS, TOP_FINDINGS));
    assert_eq!(of(TOP_FINDINGS + 1), (TOP_FINDINGS, TOP_FINDINGS + 1));
}

#[test]
fn a_limit_past_what_is_named_is_fulfilled_by_the_finding_just_past_it() {
    let list = (0..40).map(|n| finding(&format!("CVE-{n:02}"), Severity::Low)).collect();
    let evidence = Evidence::verified(vec![report("trivy", NOW, list)]);
    let limit = TOP_FINDINGS + 5;
    let rules = |forbidden: usize| {
        format!(
            "{{name: a, maxAllowed: {{low: {limit}}}}}, {{name: d, action: deny, \
             forbiddenVulnerabilities: [CVE-{forbidden}]}}"
        )
    };
    check(&rules(limit + 1), evidence.clone(), Audit, "a");
    check(&rules(limit), evidence, Deny, "d");
}

#[test]
fn reports_that_share_their_words_have_room_for_what_is_merged_of_them() {
    let list = || (0..200).map(|n| finding(&format!("CVE-2026-{n:04}"), Severity::High)).collect();
    let own = crate::evidence::Reports::from(vec![
        report("trivy", NOW, list()),
        report("grype", NOW, list()),
    ]);
    let all = own.iter().map(|report| &report.findings);
    let shared = own.sharing(&crate::findings::Dictionary::of(all, usize::MAX));
    let alone: usize = shared.iter().map(|report| report.weight()).sum();
    let merged = merge::merge(&shared.iter().collect::<Vec<_>>()).weight();
    let counted = Evidence::Verified(shared).weight();
    assert!(merged > alone, "{merged} of {alone}");
    assert!(counted >= alone + merged, "{counted} of {alone} and {merged}");
}
