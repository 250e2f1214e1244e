//! Audit rules that keep others from denying.

use super::*;

/// The pairs that the policy warns of.
#[track_caller]
fn shadowed(rules: &str, expected: &[(&str, &str)]) {
    let policy = good(&document(rules));
    let name = |text: &str, n: usize| text.split('`').nth(n).unwrap_or_default().to_owned();
    let found: Vec<_> =
        policy.warnings().iter().map(|w| (name(&w.message, 1), name(&w.message, 3))).collect();
    let found: Vec<_> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(found, expected, "{:?}", policy.warnings());
}

#[test]
fn an_audit_rule_that_can_shadow_a_denial_is_named() {
    let pair = |audit: &str, deny: &str| {
        format!(
            "    - {{name: a, action: audit, {audit}}}\n    - {{name: d, action: deny, {deny}}}"
        )
    };
    let critical = "maxAllowed: {critical: 0}";
    shadowed(&pair(critical, "maxAllowed: {high: 5}"), &[("a", "d")]);
    shadowed(&pair(critical, "maxAllowed: {high: 0}"), &[]);
    shadowed(&pair(critical, critical), &[]);
    shadowed(&pair(critical, "forbiddenVulnerabilities: [CVE-1]"), &[("a", "d")]);
    shadowed(&pair("forbiddenVulnerabilities: [CVE-1]", critical), &[("a", "d")]);
    shadowed(&pair(critical, &format!("{critical}, allowedVulnerabilities: [C]")), &[("a", "d")]);
    // A finding of unknown severity comes last and counts as critical.
    shadowed(&pair("maxAllowed: {high: 0}", critical), &[("a", "d")]);
    shadowed(&pair("blockUnscannedImages: true", critical), &[]);
    // What is wrong with the evidence hides no denial.
    shadowed(&pair("maxFindingsAge: 1d, blockUnscannedImages: true", critical), &[]);
    let namespace = |name: &str| {
        format!("scope: {{match: [{{field: namespace, operator: equals, values: [{name}]}}]}}")
    };
    let high = "maxAllowed: {high: 5}";
    let apart =
        pair(&format!("{critical}, {}", namespace("x")), &format!("{high}, {}", namespace("y")));
    shadowed(&apart, &[]);
    // A workload is also what it belongs to.
    let workload = |operator: &str, value: &str| {
        format!("scope: {{match: [{{field: workload, operator: {operator}, values: [{value}]}}]}}")
    };
    let web = format!("{critical}, {}", workload("equals", "Deployment/web"));
    let its_own = format!("{high}, {}", workload("equals", "ReplicaSet/web-7"));
    shadowed(&pair(&web, &its_own), &[("a", "d")]);
    let others = format!("{high}, {}", workload("notEquals", "Deployment/web"));
    shadowed(&pair(&web, &others), &[]);
    let together = pair(&format!("{critical}, {}", namespace("x")), high);
    shadowed(&together, &[("a", "d")]);
    shadowed(&pair(&format!("{critical}, enabled: false"), high), &[]);
    let policy =
        document(&pair(critical, high)).replace("spec:", "spec:\n  evaluation: denyOverrides");
    assert_eq!(good(&policy).warnings(), []);
}
