//! Applied exemptions, break-glass and notices in, text for people or JSON for programs out.

use portcullis_core::decide::printable;
use portcullis_proto::v1;
use serde_json::{Value, json};

use super::time_text;

/// The longest text of a policy in a table, in bytes.
const MAX_TEXT: usize = 128;

/// What kept rules from a violation, and what lifted a denial or failed to: a line for each, the first
/// few of many exemptions.
pub(super) fn lines(decision: &v1::Decision) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut lines: Vec<_> = decision.exemptions.iter().take(SHOWN).map(exempted).collect();
    let more = (decision.exemptions_total as usize).saturating_sub(lines.len());
    if more > 0 {
        lines.push(format!("and {more} more exemptions"));
    }
    if let Some(v1::BreakGlass { name, justification }) = &decision.break_glass {
        let (name, why) = (printable(name, MAX_TEXT), printable(justification, MAX_TEXT));
        lines.push(format!("not denied by break-glass `{name}`: {why}"));
    }
    // Other notices are for an allow; this one says why a denial stands.
    let refused = decision.notice_details.iter().filter(|n| n.kind == "break_glass_refused");
    if decision.violations_total > 0 {
        lines.extend(refused.map(|notice| notice.message.clone()));
    }
    lines
}

/// `exempt by `waiver` of team@example.com until 2027-01-01T00:00:00Z: 2 findings (CVE-2024-1, …)`.
fn exempted(exemption: &v1::AppliedExemption) -> String {
    let part = |text: &str| printable(text, MAX_TEXT);
    let mut line = format!("exempt by `{}` of {}", part(&exemption.name), part(&exemption.owner));
    if let Some(until) = time_text(exemption.until.as_ref()) {
        line += &format!(" until {until}");
    }
    if !exemption.condition.is_empty() {
        return line + &format!(": {}", part(&exemption.condition));
    }
    let what = match exemption.findings_total {
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    line + &format!(": {what} ({})", part(&exemption.finding_ids.join(", ")))
}

pub(super) fn json_notice(notice: &v1::Notice) -> Value {
    json!({
        "kind": notice.kind,
        "rule": notice.rule,
        "digest": notice.digest,
        "platform": notice.platform,
        "message": notice.message,
    })
}

pub(super) fn json_exemption(exemption: &v1::AppliedExemption) -> Value {
    json!({
        "name": exemption.name,
        "owner": exemption.owner,
        "reason": exemption.reason,
        "ticket": exemption.ticket,
        "until": time_text(exemption.until.as_ref()),
        "rule": exemption.rule,
        "digest": exemption.digest,
        "platform": exemption.platform,
        "condition": exemption.condition,
        "finding_ids": exemption.finding_ids,
        "findings_total": exemption.findings_total,
    })
}

pub(super) fn json_break_glass(lifted: &v1::BreakGlass) -> Value {
    json!({ "name": lifted.name, "justification": lifted.justification })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemption() -> v1::AppliedExemption {
        v1::AppliedExemption {
            name: "waiver".to_owned(),
            owner: "team@example.com".to_owned(),
            finding_ids: vec!["CVE-2024-1".to_owned(), "CVE-2024-2".to_owned()],
            findings_total: 2,
            ..v1::AppliedExemption::default()
        }
    }

    #[test]
    fn exemptions_say_whose_they_are_until_when_and_what_they_cover() {
        let check = |exemption: &v1::AppliedExemption, expected: &str| {
            assert_eq!(exempted(exemption), format!("exempt by `waiver` of {expected}"));
        };
        check(&exemption(), "team@example.com: 2 findings (CVE-2024-1, CVE-2024-2)");
        let until = Some(prost_types::Timestamp { seconds: 1_798_761_600, nanos: 0 });
        let one = v1::AppliedExemption { until, findings_total: 1, ..exemption() };
        let one = v1::AppliedExemption { finding_ids: vec!["CVE-2024-1".to_owned()], ..one };
        let text = "team@example.com until 2027-01-01T00:00:00Z: 1 finding (CVE-2024-1)";
        check(&one, text);
        let condition = "unscanned".to_owned();
        let evidence = v1::AppliedExemption { condition, finding_ids: Vec::new(), ..exemption() };
        check(&evidence, "team@example.com: unscanned");
        let hostile = v1::AppliedExemption { owner: "a\u{1b}[31m\nb".to_owned(), ..evidence };
        check(&hostile, "a\\u{1b}[31m\\u{a}b: unscanned");
    }

    #[test]
    fn many_exemptions_are_counted_and_break_glass_is_said_last() {
        let break_glass = v1::BreakGlass { name: "on-call".into(), justification: "why".into() };
        let decision = v1::Decision {
            exemptions: vec![exemption(); 4],
            exemptions_total: 70,
            break_glass: Some(break_glass),
            ..v1::Decision::default()
        };
        let lines = lines(&decision);
        assert_eq!(lines.len(), 5);
        assert_eq!(
            lines[3..],
            ["and 67 more exemptions", "not denied by break-glass `on-call`: why"]
        );
    }
}
