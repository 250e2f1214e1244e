//! What would change an answer.

use super::*;

#[track_caller]
fn remedied(rules: &str, list: Vec<Finding>, expected: &[&str]) -> Remedy {
    let remedy = explained(&policy(rules), found(list)).remedy.unwrap();
    let steps: Vec<_> = remedy.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, expected);
    remedy
}

#[test]
fn the_fewest_packages_that_change_the_answer_are_named() {
    let high = "{name: r, action: deny, maxAllowed: {high: 0}}";
    let list = vec![
        critical("CVE-1", "openssl", "3.0.2"),
        critical("CVE-2", "openssl", "3.0.2"),
        finding("CVE-3", Severity::High, "zlib", "1.3"),
        finding("CVE-4", Severity::Low, "bash", "5"),
    ];
    let all =
        ["upgrade openssl 1 → 3.0.2 (cures 2 findings)", "upgrade zlib 1 → 1.3 (cures 1 finding)"];
    let remedy = remedied(high, list.clone(), &all);
    assert_eq!((remedy.action, remedy.exemptions), (Some(Action::Allow), 0));
    // One above the limit: one package is enough.
    let two = high.replace("high: 0", "high: 2");
    remedied(&two, list.clone(), &["upgrade openssl 1 → 3.0.2 (cures 2 findings)"]);
    // A package that helps two rules goes before two that help one each.
    let rules = "{name: a, action: deny, maxAllowed: {critical: 1}},
                 {name: b, action: deny, forbiddenVulnerabilities: [CVE-2]}";
    remedied(rules, list.clone(), &["upgrade openssl 1 → 3.0.2 (cures 2 findings)"]);
    // What only audits stays.
    let rules = "{name: a, action: deny, forbiddenVulnerabilities: [CVE-3]},
                 {name: b, maxAllowed: {critical: 0}}";
    let overriding = policy_of(&format!("evaluation: denyOverrides, rules: [{rules}]"));
    let remedy = explained(&overriding, found(list)).remedy.unwrap();
    assert_eq!(remedy.steps[0].to_string(), "upgrade zlib 1 → 1.3 (cures 1 finding)");
    assert_eq!((remedy.steps.len(), remedy.action), (1, Some(Action::Audit)));
}

#[test]
fn what_the_others_make_needless_is_dropped() {
    // The greedy choice takes `b` first, and then needs `a` and `c` anyhow.
    let rules = "{name: x, action: deny, forbiddenVulnerabilities: [CVE-a1]},
                 {name: y, action: deny, forbiddenVulnerabilities: [CVE-c1]},
                 {name: z, action: deny, maxAllowed: {critical: 4}}";
    let of = |package: &'static str, count: usize| {
        (1..=count).map(move |n| critical(&format!("CVE-{package}{n}"), package, "2"))
    };
    let list = of("a", 2).chain(of("b", 4)).chain(of("c", 2)).collect();
    let expected = ["upgrade a 1 → 2 (cures 2 findings)", "upgrade c 1 → 2 (cures 2 findings)"];
    remedied(rules, list, &expected);
}

#[test]
fn what_has_no_fix_needs_exemptions() {
    let list = vec![
        critical("CVE-1", "a", ""),
        critical("CVE-1", "b", ""),
        critical("CVE-2", "b", "2"),
        critical("CVE-3", "c", ""),
    ];
    let expected = [
        "upgrade b 1 → 2 (cures 1 finding)",
        "exempt CVE-1 in a, b, which has no fix (covers 2 findings)",
    ];
    let rule = "{name: r, action: deny, maxAllowed: {critical: 1}}";
    let remedy = remedied(rule, list, &expected);
    assert_eq!((remedy.action, remedy.exemptions, remedy.complete), (Some(Action::Allow), 1, true));
}

#[test]
fn evidence_is_told_how_to_be_better() {
    let rules = "{name: r, action: deny, blockUnscannedImages: true, onUnavailable: deny}";
    let remedy = explained(&policy(rules), Evidence::Missing).remedy.unwrap();
    let text = remedy.steps[0].to_string();
    assert!(text.starts_with("scan the image and attach the signed report"), "{text}");
    assert_eq!((remedy.steps.len(), remedy.action, remedy.complete), (1, None, true));
    let cause = Cause { kind: CauseKind::Denied, detail: String::new() };
    let remedy = explained(&policy(rules), Evidence::Unavailable(cause)).remedy.unwrap();
    assert!(remedy.steps[0].to_string().starts_with("give the service credentials"));
    let late = policy(
        "{name: r, action: deny, blockUnscannedImages: true, maxFindingsAge: 1m, maxAllowed: {high: 0}}",
    );
    let remedy = explained(&late, found(vec![critical("CVE-1", "a", "2")])).remedy.unwrap();
    let texts: Vec<_> = remedy.steps.iter().map(ToString::to_string).collect();
    let rescan = "scan the image again and attach the new report, signed (rule r)";
    assert_eq!(texts, [rescan, "upgrade a 1 → 2 (cures 1 finding)"]);
    assert_eq!((remedy.action, remedy.complete), (None, true));
}
