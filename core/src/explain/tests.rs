//! Explanations of policies by hand.

mod remedies;

use std::fmt::Write as _;

use time::macros::datetime;

use super::*;
use crate::evidence::{Cause, CauseKind, Report, Source};
use crate::findings::{Analysis, Findings, FixState, Scanner, Severity};
use crate::policy::{self, MAX_SHOWN_VALUES};
use crate::signature::Signer;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn finding(id: &str, severity: Severity, package: &str, fixed: &str) -> Finding {
    Finding {
        id: id.into(),
        aliases: Vec::new(),
        severity,
        score: None,
        package: Some(package.into()),
        purl: Some(format!("pkg:deb/debian/{package}").into()),
        installed: Some("1".into()),
        fixed: if fixed.is_empty() { Vec::new() } else { vec![fixed.into()] },
        fix_state: if fixed.is_empty() { FixState::NotFixed } else { FixState::Fixed },
        known_exploited: None,
        epss: None,
        published: None,
        first_seen: None,
        analysis: Analysis::Affected,
    }
}

fn critical(id: &str, package: &str, fixed: &str) -> Finding {
    finding(id, Severity::Critical, package, fixed)
}

fn found(list: Vec<Finding>) -> Evidence {
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    Evidence::verified(vec![Arc::new(Report {
        digest: Digest::of(b"report"),
        signer: Arc::new(Signer {
            subject: "CN=scanner".to_owned(),
            fingerprint: String::new(),
            policy: "all".to_owned(),
            signed_at: Some(NOW),
        }),
        findings: Findings::new(scanner, NOW - time::Duration::HOUR, list),
        notices: Vec::new(),
    })])
}

fn policy(rules: &str) -> Policy {
    policy_of(&format!("rules: [{rules}]"))
}

fn policy_of(spec: &str) -> Policy {
    let text = format!("apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {{{spec}}}");
    policy::parse(&[policy::Source { file: "r".to_owned(), text }]).unwrap()
}

/// A policy with one exemption.
fn exempting(rules: &str, more: &str, matches: &[(&str, &str)]) -> Policy {
    policy_of(&format!("rules: [{rules}], exemptions: [{}]", exemption("w", more, matches)))
}

/// An exemption that has `more`, and matches where each field equals its value.
fn exemption(name: &str, more: &str, matches: &[(&str, &str)]) -> String {
    let matcher = |(field, value): &(&str, &str)| {
        format!("{{field: {field}, operator: equals, values: ['{value}']}}")
    };
    let matches = matches.iter().map(matcher).collect::<Vec<_>>().join(", ");
    format!("{{name: {name}, owner: team, reason: not reachable, {more} match: [{matches}]}}")
}

fn explained(policy: &Policy, evidence: Evidence) -> Explanation {
    let subject = Subject {
        digest: Some(Digest::of(b"image")),
        platform: None,
        evidence: Arc::new(evidence),
        fetched_at: NOW,
        source: Source::Registry,
    };
    let ctx = Context {
        namespace: "shop".to_owned(),
        pod_labels: [("app".to_owned(), "web".to_owned())].into(),
        ..Context::default()
    };
    explain(policy, &"reg.io/team/app:v1".parse().unwrap(), &[subject], &ctx, NOW)
}

#[track_caller]
fn stands(policy: &Policy, word: &str, text: &str) {
    let explanation = explained(policy, found(vec![critical("CVE-1", "a", "2")]));
    let standing = &explanation.rules[0].standing;
    assert_eq!((standing.as_str(), standing.to_string().as_str()), (word, text));
    assert_eq!(explanation.conditions.is_empty(), word != "in_scope");
    assert_eq!(explanation.action == Action::Allow, word != "in_scope");
}

#[test]
fn every_rule_says_why_it_is_not_about_the_image() {
    let rule = |more: &str| policy(&format!("{{name: r, maxAllowed: {{high: 0}}{more}}}"));
    let scoped = |scope: &str| rule(&format!(", scope: {{{scope}}}"));
    stands(&rule(""), "in_scope", "it is about the image");
    stands(&rule(", enabled: false"), "disabled", "it is not enabled");
    stands(
        &scoped(
            "match: [{field: namespace, operator: equals, values: [shop]}, \
             {field: image, operator: startsWith, values: [reg.io/other, reg.io/b]}]",
        ),
        "out_of_scope",
        "`image` is `reg.io/team/app:v1`, asked is startsWith `reg.io/b`, `reg.io/other`",
    );
    stands(
        &scoped("match: [{field: cluster, operator: contains, values: [prod, dev]}]"),
        "out_of_scope",
        "`cluster` is empty, asked is contains `dev`, `prod`",
    );
    stands(
        &scoped("podLabels: {matchExpressions: [{key: tier, operator: Exists}]}"),
        "out_of_scope",
        "`pod_labels[tier]` is absent, asked is Exists",
    );
    stands(
        &scoped("podLabels: {matchLabels: {app: api}}"),
        "out_of_scope",
        "`pod_labels[app]` is `web`, asked is In `api`",
    );
    stands(
        &rule(", unsupportedRegistries: [reg.io]"),
        "unsupported_registry",
        "it leaves the image's registry alone (`unsupportedRegistries`)",
    );
    stands(
        &rule(", allowedImages: [reg.io/team/*]"),
        "allowed_image",
        "the image fits `reg.io/team/*` of `allowedImages`",
    );
}

#[test]
fn a_condition_says_where_every_finding_went() {
    let cleared = Finding { analysis: Analysis::NotAffected, ..critical("CVE-0", "a", "2") };
    let silent = Finding { purl: None, ..critical("CVE-5", "e", "2") };
    let list = vec![
        cleared,
        critical("CVE-1", "a", "2"),
        critical("CVE-2", "b", "2"),
        critical("CVE-3", "kernel", "2"),
        critical("CVE-4", "d", "2"),
        silent,
        finding("CVE-6", Severity::Low, "a", "2"),
        finding("CVE-7", Severity::Unknown, "a", "2"),
    ];
    let rule = "{name: r, action: deny, maxAllowed: {high: 1}, allowedVulnerabilities: [CVE-1],
                 count: {notPackages: ['pkg:deb/*/kernel'], notStated: ignore}}";
    let policy = exempting(rule, "", &[("vulnerability", "CVE-2")]);
    let explanation = explained(&policy, found(list));
    let condition = &explanation.conditions[0];
    let ExplainedCondition { cleared, allowed, exempt, outside, not_stated, count, .. } = condition;
    assert_eq!((*cleared, *allowed, *exempt, *count), (1, 1, 1, 2));
    // The kernel, and what has no package URL; which does not state it, as CVE-7 has no severity.
    assert_eq!((*outside, *not_stated), (2, 2));
    assert!(condition.met && condition.deciding);
    assert_eq!(condition.finding.as_ref().map(|finding| &*finding.id), Some("CVE-7"));
    assert_eq!(explanation.applied.iter().map(|a| &*a.name).collect::<Vec<_>>(), ["w"]);
}

#[test]
fn conditions_that_are_not_met_say_how_far_they_are() {
    let rule = "{name: r, action: deny, maxAllowed: {high: 1, low: 5}, maxFindingsAge: 2h,
                 blockUnscannedImages: true, forbiddenVulnerabilities: [CVE-9]}";
    let explanation = explained(&policy(rule), found(vec![critical("CVE-1", "a", "2")]));
    assert_eq!(explanation.action, Action::Allow);
    let told: Vec<_> = explanation
        .conditions
        .iter()
        .map(|c| (c.condition.as_str(), c.met, c.count, c.finding.is_some()))
        .collect();
    let expected = [
        ("unscanned", false, 0, false),
        ("stale", false, 0, false),
        ("forbidden", false, 0, false),
        ("max_allowed", false, 1, false),
        ("max_allowed", false, 1, false),
    ];
    assert_eq!(told, expected);
    let manifest = &explanation.manifests[0];
    assert_eq!((manifest.status, manifest.decided), ("verified", true));
    let report = &manifest.reports[0];
    assert_eq!((&*report.scanner, &*report.signer, report.findings), ("trivy", "CN=scanner", 1));
    assert_eq!((explanation.remedy, explanation.break_glass), (None, Glass::NotNeeded));
}

#[track_caller]
fn nearly(more: &str, matches: &[(&str, &str)], expected: Option<&str>) {
    let rules =
        "{name: r, action: deny, maxAllowed: {high: 0}}, {name: other, maxAllowed: {low: 9}}";
    let policy = exempting(rules, more, matches);
    let evidence = found(vec![critical("CVE-1", "a", "2"), critical("CVE-2", "b", "")]);
    let explanation = explained(&policy, evidence);
    let told: Vec<_> = explanation.nearly.iter().map(|n| n.obstacle.to_string()).collect();
    assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{more} {matches:?}");
}

#[test]
fn an_exemption_that_is_nearly_applied_says_what_keeps_it() {
    let about = &[("vulnerability", "CVE-1")];
    let ended = "until: '2026-03-01T12:00:00Z',";
    nearly("", about, None);
    nearly("until: '2026-03-01T12:00:01Z',", about, None);
    nearly(ended, about, Some("it ended at 2026-03-01T12:00:00Z"));
    let begins = "it begins at 2026-03-01T12:00:01Z";
    nearly("from: '2026-03-01T12:00:01Z',", about, Some(begins));
    nearly("rules: [other],", about, Some("it is for other rules: `other`"));
    nearly("untilFixed: true,", about, Some("it ends with a fix, and `CVE-1` has one"));
    nearly("untilFixed: true,", &[("vulnerability", "CVE-2")], None);
    let elsewhere = &[("namespace", "dev"), ("vulnerability", "CVE-1")];
    nearly("", elsewhere, Some("`namespace` is `shop`, asked is equals `dev`"));
    // Two things, or nothing in common, is not nearly.
    nearly(ended, elsewhere, None);
    nearly("", &[("namespace", "dev")], None);
    nearly("", &[("namespace", "shop"), ("vulnerability", "CVE-10")], None);
    let (image, other) = (Digest::of(b"image"), Digest::of(b"other").to_string());
    let told = format!("`image_digest` is `{image}`, asked is equals `{other}`");
    nearly("", &[("image", &other), ("vulnerability", "CVE-1")], Some(&told));
}

#[test]
fn an_exemption_of_findings_is_not_nearly_about_evidence() {
    let here = &[("namespace", "shop")];
    let of = |name, more| exemption(name, more, here);
    let policy = policy_of(&format!(
        "rules: [{{name: r, action: deny, blockUnscannedImages: true}}], exemptions: [{}, {}, {}]",
        of("ended", "until: '2026-03-01T12:00:00Z',"),
        of("fixed", "untilFixed: true,"),
        exemption("finding", "", &[("namespace", "shop"), ("vulnerability", "CVE-1")]),
    ));
    let explanation = explained(&policy, Evidence::Missing);
    let told: Vec<_> = explanation.nearly.iter().map(|n| (&*n.name, n.obstacle.as_str())).collect();
    assert_eq!(told, [("ended", "ended"), ("fixed", "findings_only")]);
    let first = "exemption `ended` is not applied to rule `r`: it ended at 2026-03-01T12:00:00Z";
    assert_eq!(explanation.nearly[0].to_string(), first);
}

#[test]
fn break_glass_is_told_where_it_would_lift_the_denial() {
    let glass = |namespace: &str| {
        let scope = "{match: [{field: namespace, operator: equals, values: [";
        let policy = policy_of(&format!(
            "rules: [{{name: r, action: deny, maxAllowed: {{high: 0}}}}], breakGlass: \
             [{{name: here, scope: {scope}{namespace}]}}]}}}}]"
        ));
        explained(&policy, found(vec![critical("CVE-1", "a", "2")])).break_glass
    };
    assert_eq!(glass("dev"), Glass::NotPermitted);
    assert_eq!(glass("shop"), Glass::Possible("here".into()));
}

#[test]
fn an_explanation_has_bounds() {
    let rules = |count: usize| {
        let mut text = String::new();
        for n in 0..count {
            let scope = "scope: {match: [{field: namespace, operator: equals, values: [x]}]}, ";
            let scope = if n == 0 { scope } else { "" };
            write!(text, "{{name: r{n}, {scope}maxAllowed: {{high: 0}}}}, ").unwrap();
        }
        explained(&policy(&text), found(vec![critical("CVE-1", "a", "2")]))
    };
    let some = rules(MAX_RULES + 1);
    assert_eq!((some.rules.len(), some.rules_total), (MAX_RULES, MAX_RULES + 1));
    assert!(some.rules.iter().all(|rule| rule.standing == Standing::InScope));
    let many = rules(MAX_CONDITIONS + 2);
    assert_eq!(
        (many.conditions.len(), many.conditions_total),
        (MAX_CONDITIONS, MAX_CONDITIONS + 1)
    );
    let steps = |count: usize| {
        let list = (0..count).map(|n| critical(&format!("CVE-{n}"), &format!("p{n}"), "2"));
        let rule = policy("{name: r, action: deny, maxAllowed: {high: 0}}");
        let remedy = explained(&rule, found(list.collect())).remedy.unwrap();
        (remedy.steps.len(), remedy.complete, remedy.action)
    };
    assert_eq!(steps(MAX_STEPS), (MAX_STEPS, true, Some(Action::Allow)));
    assert_eq!(steps(MAX_STEPS + 1), (MAX_STEPS, false, None));
    let nearly = |count: usize| {
        let ended = "until: '2026-03-01T12:00:00Z',";
        let of = |n| exemption(&format!("w{n}"), ended, &[("vulnerability", "CVE-1")]);
        let exemptions = (0..count).map(of).collect::<Vec<_>>().join(", ");
        let rule = "{name: r, maxAllowed: {high: 0}}";
        let policy = policy_of(&format!("rules: [{rule}], exemptions: [{exemptions}]"));
        explained(&policy, found(vec![critical("CVE-1", "a", "2")])).nearly.len()
    };
    assert_eq!((nearly(MAX_NEARLY), nearly(MAX_NEARLY + 1)), (MAX_NEARLY, MAX_NEARLY));
}

#[test]
fn foreign_texts_are_cut_and_shown_without_control_characters() {
    let hostile = format!("\u{1b}[2J\n{}", "x".repeat(100_000));
    let mut bad = critical("CVE-1", "a", "2");
    bad.id = hostile.as_str().into();
    bad.package = Some(hostile.as_str().into());
    bad.fixed = vec![hostile.as_str().into(); 100];
    bad.aliases = vec![hostile.as_str().into(); 100];
    let values: Vec<_> = (0..=MAX_SHOWN_VALUES).map(|n| format!("v{n}")).collect();
    let rules = format!(
        "{{name: r, maxAllowed: {{high: 0}}}}, {{name: s, maxAllowed: {{high: 0}}, scope: {{match: \
         [{{field: namespace, operator: equals, values: {values:?}}}]}}}}"
    );
    let explanation = explained(&policy(&rules), found(vec![bad]));
    let finding = explanation.conditions[0].finding.as_ref().unwrap();
    let step = explanation.remedy.as_ref().unwrap().steps[0].to_string();
    for text in [&*finding.id, finding.package.as_deref().unwrap(), &finding.fixed[0], &step] {
        assert!(text.len() < 4 * MAX_SHOWN && !text.contains(char::is_control), "{text}");
    }
    assert!(finding.fixed.len() == 8 && finding.aliases.len() == 8);
    let Standing::OutOfScope(mismatch) = &explanation.rules[1].standing else { panic!() };
    assert_eq!((mismatch.values.len(), mismatch.values_total), (MAX_SHOWN_VALUES, 9));
    assert!(mismatch.to_string().ends_with("`v7` and 1 more"), "{mismatch}");
}
