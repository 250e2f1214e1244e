//! Exemptions, break-glass entries and everything else that makes exceptions.

use super::*;
use time::macros::datetime;

/// A spec with `exemptions` at line 5, and one rule `r`.
fn exempting(exemptions: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  exemptions:\n{exemptions}\n  \
         rules: [{{name: r, maxAllowed: {{high: 0}}}}]\n"
    )
}

/// One exemption with what it must have, and `more`.
fn exemption(more: &str) -> String {
    exempting(&format!("  - {{name: e, owner: o, reason: w, {more}}}"))
}

const CVE: &str = "match: [{field: vulnerability, operator: equals, values: [cve-1]}]";

#[test]
fn an_exemption_is_read_as_it_is_written() {
    let policy = good(&exemption(&format!(
        "{CVE}, from: 2026-01-01, until: 2026-12-31, untilFixed: true, ticket: SEC-1, rules: [r]"
    )));
    let [exemption] = policy.exemptions() else { panic!("not one exemption") };
    assert_eq!(&**exemption.name(), "e");
    assert_eq!((exemption.owner(), exemption.reason()), ("o", "w"));
    assert_eq!(exemption.ticket(), Some("SEC-1"));
    assert_eq!(exemption.from(), Some(datetime!(2026-01-01 0:00 UTC)));
    assert_eq!(exemption.until(), Some(datetime!(2027-01-01 0:00 UTC)));
    assert!(exemption.is_until_fixed() && exemption.is_for("r") && !exemption.is_for("q"));
}
