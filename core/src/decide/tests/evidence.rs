//! What evidence means that has no findings, or too many sources.

use super::*;
use crate::decide::merge::MAX_NAMESAKES;

#[test]
fn absence_passes_with_a_notice_unless_it_is_blocked() {
    let open = "{name: r, action: deny, maxAllowed: {high: 0}}";
    let closed = "{name: r, action: deny, blockUnscannedImages: true}";
    for (evidence, kind) in
        [(Evidence::Missing, "unscanned"), (Evidence::Unsupported, "unsupported")]
    {
        let decision = check(open, evidence.clone(), Allow, "");
        assert_eq!(decision.notices[0].kind.as_str(), kind);
        let decision = check(closed, evidence, Deny, "r");
        assert_eq!(decision.violations[0].condition.as_str(), kind);
    }
}

#[test]
fn evidence_that_cannot_be_used_is_never_silent() {
    let open = "{name: r, action: deny, maxAllowed: {high: 0}, maxFindingsAge: 1d}";
    let closed = "{name: r, action: deny, blockUnscannedImages: true, maxFindingsAge: 1d}";
    let rejection =
        Rejection { reason: Reason::BadSignature, report: None, detail: "no".to_owned() };
    let old = report("trivy", NOW - time::Duration::days(2), Vec::new());
    for (evidence, kind) in [
        (Evidence::Rejected(rejection), "rejected"),
        (Evidence::Withheld, "withheld"),
        (Evidence::Stale { age: Duration::from_secs(7200) }, "unconfirmed"),
        (Evidence::verified(vec![old]), "stale"),
        (Evidence::verified(Vec::new()), "rejected"),
    ] {
        let decision = check(open, evidence.clone(), Audit, "r");
        assert_eq!(decision.violations[0].condition.as_str(), kind);
        check(closed, evidence, Deny, "r");
    }
}

#[test]
fn each_rule_says_what_unavailable_evidence_means() {
    let cause = Cause { kind: CauseKind::Unreachable, detail: "refused".to_owned() };
    let evidence = || Evidence::Unavailable(cause.clone());
    check("{name: r, action: deny, maxAllowed: {high: 0}}", evidence(), Audit, "r");
    check("{name: r, action: audit, onUnavailable: deny}", evidence(), Deny, "r");
    let decision = check("{name: r, action: deny, onUnavailable: allow}", evidence(), Allow, "");
    assert_eq!(decision.notices[0].kind, NoticeKind::Unavailable(cause.clone()));
    let unresolved = Subject { digest: None, ..subject("", evidence()) };
    let decision = check_all(&policy("{name: r, onUnavailable: deny}"), &[unresolved], Deny, "r");
    assert_eq!(decision.violations[0].subject, None);
}

#[test]
fn no_manifest_at_all_is_not_nothing_found() {
    check_all(&policy("{name: r, onUnavailable: deny}"), &[], Deny, "r");
    check_all(&Policy::default_policy(), &[], Audit, "default");
}

#[test]
fn an_audit_for_the_evidence_does_not_hide_a_denial() {
    let old = report("trivy", NOW - time::Duration::days(2), findings("c"));
    let rules = "{name: z, action: audit, maxAllowed: {low: 0}, maxFindingsAge: 1d},
                 {name: a, action: deny, maxAllowed: {low: 0}}";
    check(rules, Evidence::verified(vec![old.clone()]), Deny, "a");
    let milder = rules.replace("action: deny", "action: audit");
    check(&milder, Evidence::verified(vec![old]), Audit, "z");
}

#[test]
fn t018_findings_are_too_old_just_after_their_greatest_age() {
    let policy = policy("{name: r, action: deny, blockUnscannedImages: true, maxFindingsAge: 1h}");
    let subjects = [subject("", found(""))];
    let age = NOW + time::Duration::HOUR;
    let past = age + time::Duration::NANOSECOND;
    let at = |now| {
        let decision = decided_at(&policy, &subjects, now);
        (decision.action, decision.changes_at)
    };
    assert_eq!(at(age), (Allow, Some(past)));
    assert_eq!(at(past), (Deny, None));
}

#[test]
fn age_takes_away_the_right_to_say_clean_not_to_say_bad() {
    let day = time::Duration::DAY;
    let rule = "{name: r, action: deny, maxAllowed: {critical: 0}, maxFindingsAge: 1d,
                 allowedVulnerabilities: [{id: CVE-1, until: 2026-03-01}]}";
    let old = |levels: &str| {
        Evidence::verified(vec![
            report("trivy", NOW - day * 2, findings(levels)),
            report("grype", NOW - day * 3, Vec::new()),
        ])
    };
    let kinds = |decision: &Decision| -> Vec<_> {
        decision.violations.iter().map(|v| (v.condition.as_str(), v.action)).collect()
    };
    let denied = check(rule, old("c"), Deny, "r");
    assert_eq!(kinds(&denied), [("stale", Audit), ("max_allowed", Deny)]);
    assert_eq!(denied.deciding().unwrap().condition.as_str(), "max_allowed");
    assert_eq!(denied.notices, []);
    let clean = check(rule, old("hh"), Audit, "r");
    assert_eq!(kinds(&clean), [("stale", Audit)]);
    // What the rule allows for now holds for old reports too, and so does its end.
    let policy = policy(rule);
    let subjects = [subject("", old("hc"))];
    let end = datetime!(2026-03-02 0:00 UTC);
    let at = |now| {
        let decision = decided_at(&policy, &subjects, now);
        (decision.action, decision.changes_at)
    };
    assert_eq!(at(NOW), (Audit, Some(end)));
    assert_eq!(at(end), (Deny, None));
}

#[test]
fn a_denial_outlives_the_greatest_age_of_its_report() {
    let policy = policy("{name: r, action: deny, maxAllowed: {critical: 0}, maxFindingsAge: 1h}");
    let subjects = [subject("", found("c"))];
    let past = NOW + time::Duration::HOUR + time::Duration::NANOSECOND;
    let at = |now| {
        let decision = decided_at(&policy, &subjects, now);
        (decision.action, decision.violations.len(), decision.changes_at)
    };
    assert_eq!(at(NOW), (Deny, 1, Some(past)));
    assert_eq!(at(past), (Deny, 2, None));
}

#[test]
fn a_scan_of_the_future_is_not_believed_one_step_past_the_skew() {
    let policy = policy("{name: r, action: deny, blockUnscannedImages: true}");
    let skew = time::Duration::try_from(MAX_SKEW).unwrap();
    let at = |scanned_at| {
        let evidence = Evidence::verified(vec![report("trivy", scanned_at, Vec::new())]);
        let decision = decided_at(&policy, &[subject("", evidence)], NOW);
        (decision.action, decision.changes_at)
    };
    assert_eq!(at(NOW + skew), (Allow, None));
    let past = NOW + time::Duration::NANOSECOND;
    assert_eq!(at(past + skew), (Deny, Some(past)));
}

#[test]
fn times_at_the_end_of_all_time_are_decided() {
    let policy = policy("{name: r, action: deny, blockUnscannedImages: true, maxFindingsAge: 1d}");
    for now in [datetime!(9999-12-31 23:59:59 UTC), datetime!(-9999-01-01 0:00 UTC), NOW] {
        for scanned_at in [datetime!(9999-12-31 23:59:59 UTC), datetime!(-9999-01-01 0:00 UTC)] {
            let evidence = Evidence::verified(vec![report("trivy", scanned_at, Vec::new())]);
            let decision = decided_at(&policy, &[subject("", evidence)], now);
            let expected = if now == scanned_at { Allow } else { Deny };
            assert_eq!(decision.action, expected, "{scanned_at} at {now}");
        }
    }
}

#[test]
fn the_worst_manifest_of_an_index_decides() {
    let policy =
        policy("{name: r, action: deny, maxAllowed: {critical: 0}, blockUnscannedImages: true}");
    let amd64 = |levels: &str| subject("linux/amd64", found(levels));
    let arm64 = |evidence| subject("linux/arm64", evidence);
    let index = |evidence| subject("", evidence);
    let decision =
        check_all(&policy, &[index(Evidence::Missing), amd64(""), arm64(found("c"))], Deny, "r");
    assert_eq!(decision.violations[0].platform.as_ref().unwrap().to_string(), "linux/arm64");
    // An index without evidence leaves the word to its platforms, of which one has none.
    check_all(&policy, &[index(Evidence::Missing), amd64(""), arm64(Evidence::Missing)], Deny, "r");
    check_all(&policy, &[index(Evidence::Missing), amd64("")], Allow, "");
    check_all(&policy, &[index(Evidence::Missing)], Deny, "r");
    // Verified evidence on the index covers a platform without its own, and only that.
    check_all(&policy, &[index(found("")), amd64(""), arm64(Evidence::Missing)], Allow, "");
    check_all(&policy, &[index(found("")), arm64(Evidence::Withheld)], Deny, "r");
    check_all(&policy, &[index(Evidence::Withheld), amd64("")], Deny, "r");
    check_all(&policy, &[index(Evidence::Withheld), arm64(Evidence::Missing)], Deny, "r");
    check_all(&policy, &[index(found("c")), amd64("")], Deny, "r");
}

#[test]
fn of_equally_bad_manifests_the_first_platform_decides() {
    let policy = policy("{name: r, action: deny, maxAllowed: {critical: 0}}");
    let subjects = [subject("linux/arm64", found("c")), subject("linux/amd64", found("c"))];
    let decision = check_all(&policy, &subjects, Deny, "r");
    let deciding: Vec<_> = decision.violations.iter().map(|v| v.deciding).collect();
    assert_eq!(deciding, [true, false]);
    assert_eq!(decision.violations[0].platform.as_ref().unwrap().architecture, "amd64");
}

#[test]
fn two_scanners_that_see_one_vulnerability_see_one() {
    let mut other = finding("GHSA-0", Severity::High);
    other.aliases = vec!["CVE-0".into()];
    let both = |low: Severity, second: Finding| {
        Evidence::verified(vec![
            report("trivy", NOW, vec![finding("CVE-0", low)]),
            report("grype", NOW, vec![second]),
        ])
    };
    let one = "{name: r, action: deny, maxAllowed: {high: 0, low: 1}}";
    let decision = check(one, both(Severity::Low, other.clone()), Deny, "r");
    // The stricter wins, and it is one: the limit of `low` holds.
    assert_eq!(decision.violations.len(), 1);
    assert_eq!(
        decision.violations[0].findings().next().unwrap().aliases().collect::<Vec<_>>(),
        ["CVE-0"]
    );
    // What one scanner does not state, the other does.
    let low = "{name: r, action: deny, maxAllowed: {critical: 0, unknown: 0}}";
    check(low, both(Severity::Unknown, other.clone()), Allow, "");
    other.package = Some("zlib".into());
    check("{name: r, action: deny, maxAllowed: {low: 1}}", both(Severity::Low, other), Deny, "r");
}

/// A finding of `severity` with `id` and the alias.
fn alias(id: &str, alias: &str, severity: Severity) -> Finding {
    Finding { aliases: vec![alias.into()], ..finding(id, severity) }
}

#[test]
fn a_shared_advisory_does_not_let_one_vulnerability_free_another() {
    let a = || {
        let low = alias("CVE-1", "RHSA-1", Severity::Low);
        report("trivy", NOW, vec![alias("CVE-9", "RHSA-1", Severity::Critical), low])
    };
    let b = || report("grype", NOW, vec![alias("cve-1", "RHSA-1", Severity::Low)]);
    let rule =
        "{name: r, action: deny, maxAllowed: {critical: 0}, allowedVulnerabilities: [CVE-1]}";
    for reports in [vec![a()], vec![a(), b()], vec![b(), a()]] {
        check(rule, Evidence::verified(reports), Deny, "r");
    }
    // Not by way of a finding that names the advisory alone, nor under the advisory's own name.
    let advisory = report("clair", NOW, vec![finding("RHSA-1", Severity::Low)]);
    check(rule, Evidence::verified(vec![a(), advisory, b()]), Deny, "r");
    // In whatever order they were scanned, which is the one in which they are merged.
    for minutes in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let [x, y, z] = minutes.map(|ago| NOW - time::Duration::minutes(ago));
        let reports = vec![
            report("clair", x, vec![finding("RHSA-1", Severity::Low)]),
            report("trivy", y, vec![alias("CVE-9", "RHSA-1", Severity::Critical)]),
            report("grype", z, vec![alias("CVE-1", "RHSA-1", Severity::Low)]),
        ];
        check(rule, Evidence::verified(reports), Deny, "r");
    }
    let named = |cve: &str, severity| report(cve, NOW, vec![alias("RHSA-1", cve, severity)]);
    let two = vec![named("CVE-9", Severity::Critical), named("CVE-1", Severity::Low)];
    check(rule, Evidence::verified(two), Deny, "r");
}

#[test]
fn a_finding_is_that_of_the_same_id_before_one_with_a_shared_alias() {
    let evidence = Evidence::verified(vec![
        report(
            "trivy",
            NOW,
            vec![finding("RHSA-1", Severity::Critical), finding("CVE-1", Severity::Low)],
        ),
        report("grype", NOW, vec![alias("CVE-1", "RHSA-1", Severity::Low)]),
    ]);
    let rule =
        "{name: r, action: deny, maxAllowed: {critical: 0}, allowedVulnerabilities: [CVE-1]}";
    check(rule, evidence, Deny, "r");
}

#[test]
fn one_advisory_for_the_same_vulnerabilities_is_one() {
    let both = || {
        let aliases = vec!["CVE-1".into(), "CVE-2".into()];
        vec![Finding { aliases, ..finding("GHSA-1", Severity::High) }]
    };
    let evidence =
        Evidence::verified(vec![report("trivy", NOW, both()), report("grype", NOW, both())]);
    check("{name: r, action: deny, maxAllowed: {high: 1}}", evidence, Allow, "");
}

#[test]
fn findings_of_one_name_are_merged_up_to_a_bound() {
    let of = |count: usize| {
        let list = |scanner: &str| {
            let of_scanner = |n| alias(&format!("{scanner}-{n}"), "RHSA-1", Severity::Low);
            report(scanner, NOW, (0..count).map(of_scanner).collect())
        };
        let evidence = Evidence::verified(vec![list("trivy"), list("grype")]);
        check("{name: r, maxAllowed: {low: 0}}", evidence, Audit, "r").violations[0].total()
    };
    assert_eq!(of(MAX_NAMESAKES), MAX_NAMESAKES);
    assert_eq!(of(MAX_NAMESAKES + 1), MAX_NAMESAKES + 2);
}

#[test]
fn another_scanner_never_makes_fewer() {
    let elsewhere = Finding { installed: Some("3.0.0".into()), ..finding("CVE-0", Severity::High) };
    let twice = vec![finding("CVE-0", Severity::High), elsewhere];
    let evidence = Evidence::verified(vec![
        report("trivy", NOW, vec![finding("CVE-0", Severity::Low)]),
        report("grype", NOW, twice),
    ]);
    check("{name: r, action: deny, maxAllowed: {high: 1}}", evidence, Deny, "r");
}

#[test]
fn an_old_report_of_several_is_left_out_and_said() {
    let evidence = Evidence::verified(vec![
        report("trivy", NOW - time::Duration::days(2), findings("c")),
        report("grype", NOW, findings("h")),
    ]);
    let rules = "{name: new, action: deny, maxAllowed: {critical: 0}, maxFindingsAge: 1d},
                 {name: any, action: audit, maxAllowed: {critical: 0}}";
    let decision = check(rules, evidence, Audit, "any");
    assert_eq!(decision.notices.len(), 1);
    assert_eq!(decision.notices[0].kind.as_str(), "old_report");
}

#[test]
fn failed_checks_that_the_trust_policy_logs_are_said_up_to_their_bound() {
    let of = |count: usize, early: bool| {
        let at = if early { NOW + time::Duration::DAY } else { NOW };
        let mut told = report("trivy", at, Vec::new());
        Arc::get_mut(&mut told).unwrap().notices = vec!["expired".to_owned(); count];
        let evidence = Evidence::verified(vec![told, report("grype", NOW, Vec::new())]);
        let decision = check("{name: r, action: deny, maxAllowed: {low: 0}}", evidence, Allow, "");
        let kind = "signature";
        let told: Vec<_> =
            decision.notices.into_iter().filter(|n| n.kind.as_str() == kind).collect();
        if let Some(first) = told.first() {
            let (report, detail) = (Digest::of(b"trivy"), "expired".to_owned());
            assert_eq!(first.kind, NoticeKind::Signature { report, detail });
            assert_eq!((&first.rule, first.subject), (&None, Some(Digest::of(b""))));
        }
        told.len()
    };
    assert_eq!(of(0, false), 0);
    assert_eq!(of(MAX_SIGNATURE_NOTICES, false), MAX_SIGNATURE_NOTICES);
    assert_eq!(of(MAX_SIGNATURE_NOTICES + 1, false), MAX_SIGNATURE_NOTICES);
    // What is not considered gives nothing to say about its signature.
    assert_eq!(of(1, true), 0);
}

#[test]
fn an_early_report_of_several_is_left_out_and_said() {
    let evidence = Evidence::verified(vec![
        report("trivy", NOW + time::Duration::DAY, Vec::new()),
        report("grype", NOW, findings("c")),
    ]);
    let decision = check("{name: r, action: deny, maxAllowed: {critical: 0}}", evidence, Deny, "r");
    assert_eq!(decision.notices[0].kind.as_str(), "early_report");
}

#[test]
fn what_was_cleared_is_said_of_the_most_reports_whichever_rule_comes_last() {
    let mut cleared = finding("CVE-1", Severity::High);
    cleared.analysis = Analysis::NotAffected;
    let old = report("grype", NOW - time::Duration::hours(2), vec![cleared]);
    let evidence = || Evidence::verified(vec![report("trivy", NOW, Vec::new()), old.clone()]);
    let (all, newest) =
        ("{name: a, maxAllowed: {low: 0}}", "{name: b, maxAllowed: {low: 0}, maxFindingsAge: 1h}");
    for rules in [format!("{all}, {newest}"), format!("{newest}, {all}")] {
        let decision = check(&rules, evidence(), Allow, "");
        let mut words: Vec<_> = decision.notices.iter().map(|n| n.kind.as_str()).collect();
        words.sort_unstable();
        assert_eq!(words, ["cleared", "old_report"], "{rules}");
    }
}

#[test]
fn an_exemption_for_an_index_without_evidence_covers_its_platforms() {
    let index = subject("", Evidence::Missing);
    let digest = index.digest.unwrap();
    let rules = format!(
        "{{name: r, action: deny, maxAllowed: {{critical: 0}}, exemptions: [{{name: e, owner: me, \
         reason: why, match: [{{field: image, operator: equals, values: ['{digest}']}}]}}]}}"
    );
    let decision =
        check_all(&policy(&rules), &[index, subject("linux/amd64", found("c"))], Allow, "");
    assert_eq!(decision.exemptions.len(), 1);
}

#[test]
fn of_reports_from_the_future_the_earliest_is_named() {
    let hours = |n| NOW + time::Duration::hours(n);
    let (late, soon) = (report("a", hours(3), vec![]), report("b", hours(2), vec![]));
    for list in [vec![late.clone(), soon.clone()], vec![soon.clone(), late]] {
        let decision =
            check("{name: r, maxAllowed: {low: 0}}", Evidence::verified(list), Audit, "r");
        let Condition::Rejected(why) = &decision.violations[0].condition else {
            panic!("{decision:?}")
        };
        assert_eq!(why.report, Some(soon.digest));
    }
}
