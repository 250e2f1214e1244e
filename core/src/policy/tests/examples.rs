//! The rules that people copy.

use super::*;

/// Each example: its name, its text, its rules.
const EXAMPLES: [(&str, &str, &[&str]); 10] = [
    ("audit-high", include_str!("../../../../examples/rules/audit-high.yaml"), &["audit-high"]),
    (
        "audit-then-deny",
        include_str!("../../../../examples/rules/audit-then-deny.yaml"),
        &["critical-audited", "critical-denied"],
    ),
    (
        "block-unscanned-in-production",
        include_str!("../../../../examples/rules/block-unscanned-in-production.yaml"),
        &["scanned-lately"],
    ),
    (
        "break-glass",
        include_str!("../../../../examples/rules/break-glass.yaml"),
        &["no-critical", "no-back-doors"],
    ),
    (
        "deny-critical",
        include_str!("../../../../examples/rules/deny-critical.yaml"),
        &["deny-critical"],
    ),
    (
        "exempt-until-fixed",
        include_str!("../../../../examples/rules/exempt-until-fixed.yaml"),
        &["no-high"],
    ),
    (
        "fixable-only",
        include_str!("../../../../examples/rules/fixable-only.yaml"),
        &["fix-what-can-be-fixed"],
    ),
    (
        "grace-period",
        include_str!("../../../../examples/rules/grace-period.yaml"),
        &["two-weeks-to-fix", "exploited-now"],
    ),
    (
        "per-namespace",
        include_str!("../../../../examples/rules/per-namespace.yaml"),
        &["production", "development"],
    ),
    (
        "trusted-registries",
        include_str!("../../../../examples/rules/trusted-registries.yaml"),
        &["trusted-registries"],
    ),
];

#[test]
fn each_is_read_without_warning_and_says_what_it_does() {
    for (name, text, rules) in EXAMPLES {
        let policy = good(text);
        assert_eq!(policy.warnings(), [], "{name}");
        let found: Vec<_> = policy.rules().iter().map(|rule| &**rule.name()).collect();
        assert_eq!(found, rules, "{name}");
        let mut lines = text.lines();
        let schema = lines.next();
        assert_eq!(
            schema,
            Some("# yaml-language-server: $schema=../../docs/rules.schema.json"),
            "{name}"
        );
        assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{name}");
        assert!(text.contains(&format!("  name: {name}\n")), "{name}");
    }
}

#[test]
fn all_can_be_used_together() {
    let sources =
        EXAMPLES.map(|(name, text, _)| Source { file: name.to_owned(), text: text.to_owned() });
    let policy = parse(&sources).unwrap();
    assert_eq!(policy.rules().len(), 14);
    assert_eq!((policy.exemptions().len(), policy.break_glass().len()), (1, 1));
}
