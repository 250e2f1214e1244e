//! An explanation in, tables for a terminal, lines for a pipe or JSON for programs out.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use comfy_table::{ContentArrangement, Table, presets};
use portcullis_proto::v1;
use serde_json::{Value, json};

use super::table::change;
use super::{Checked, action, age, json_check, json_document, shortened, time_text, write};
use crate::args::Output;

/// Writes a decision and its explanation.
pub(crate) fn explanation(
    checked: &Checked,
    explanation: &v1::Explanation,
    output: Output,
) -> io::Result<()> {
    match output {
        Output::Json => json_document(&json!({
            "check": json_check(checked),
            "explanation": json_explanation(explanation),
        })),
        Output::Table if io::stdout().is_terminal() => {
            write(&text(checked, explanation, &in_table))
        }
        Output::Table => write(&text(checked, explanation, &in_lines)),
    }
}

/// What is said of one subject, in columns.
struct Section {
    title: &'static str,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// How many rows there are elsewhere.
    more: u32,
}

impl Section {
    fn new<const N: usize>(title: &'static str, header: [&'static str; N]) -> Self {
        Self { title, header: header.to_vec(), rows: Vec::new(), more: 0 }
    }

    fn filled<T, const N: usize>(
        mut self,
        items: &[T],
        total: u32,
        row: impl Fn(&T) -> [String; N],
    ) -> Self {
        self.rows.extend(items.iter().map(|item| row(item).to_vec()));
        self.more = total.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        self
    }
}

fn text(
    checked: &Checked,
    explanation: &v1::Explanation,
    written: &dyn Fn(&Section) -> String,
) -> String {
    let mut text = format!("{}: {}", checked.asked, action(checked.action()).0);
    if !checked.decision.rule.is_empty() {
        text += &format!(" by rule {} ({})", checked.decision.rule, explanation.evaluation);
    }
    text.push('\n');
    for line in checked.decision.message.lines() {
        text += &format!("  {line}\n");
    }
    for section in sections(explanation) {
        if !section.rows.is_empty() {
            text += &format!("\n{}\n{}", section.title, written(&section));
        }
        if section.more > 0 {
            text += &format!("and {} more\n", section.more);
        }
    }
    text += &format!("\nBreak-glass: {}\n", explanation.break_glass_text);
    text + &remedy(explanation.remedy.as_ref())
}

fn sections(explanation: &v1::Explanation) -> [Section; 5] {
    let total = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
    let v1::Explanation { rules, conditions, applied, nearly, manifests, .. } = explanation;
    [
        Section::new("Rules", ["RULE", "ACTION", "STANDING", "WHY"]).filled(
            rules,
            explanation.rules_total,
            |rule| {
                let does = action(rule.action()).0.to_owned();
                [rule.name.clone(), does, words(&rule.standing), rule.reason.clone()]
            },
        ),
        Section::new("Conditions", ["RULE", "CONDITION", "LIMIT", "COUNTED", "LEFT OUT", "MET"])
            .filled(conditions, explanation.conditions_total, |condition| {
                let limit = condition.limit.map_or("-".to_owned(), |limit| limit.to_string());
                let counted =
                    condition.limit.map_or("-".to_owned(), |_| condition.count.to_string());
                let rule = condition.rule.clone();
                [rule, name(condition), limit, counted, left_out(condition), met(condition)]
            }),
        Section::new("Exemptions applied", ["EXEMPTION"]).filled(
            applied,
            total(applied.len()),
            |text| [text.clone()],
        ),
        Section::new("Exemptions nearly applied", ["EXEMPTION", "OWNER", "RULE", "WHY NOT"])
            .filled(nearly, total(nearly.len()), |near| {
                [near.name.clone(), near.owner.clone(), near.rule.clone(), near.reason.clone()]
            }),
        Section::new("Evidence", ["MANIFEST", "PLATFORM", "STATUS", "REPORTS"]).filled(
            manifests,
            total(manifests.len()),
            |manifest| {
                let spoken_for = if manifest.decided { "" } else { " (others speak for it)" };
                let reports: Vec<_> = manifest.reports.iter().map(report).collect();
                [
                    shortened(&manifest.digest),
                    or_dash(&manifest.platform),
                    format!("{}{spoken_for}", manifest.status),
                    or_dash(&reports.join("; ")),
                ]
            },
        ),
    ]
}

/// `max_allowed high on linux/arm64`.
fn name(condition: &v1::ExplainedCondition) -> String {
    let mut name = words(&condition.condition);
    if !condition.subject.is_empty() {
        name += &format!(" {}", condition.subject);
    }
    if !condition.platform.is_empty() {
        name += &format!(" on {}", condition.platform);
    }
    name
}

/// Which findings do not count, and why not.
fn left_out(condition: &v1::ExplainedCondition) -> String {
    let v1::ExplainedCondition { allowed, exempt, cleared, outside, not_stated, .. } = condition;
    let parts = [
        (allowed, "allowed"),
        (exempt, "exempt"),
        (cleared, "cleared"),
        (outside, "not looked at"),
        (not_stated, "not stated"),
    ];
    let parts = parts.iter().filter(|(count, _)| **count > 0);
    let parts: Vec<_> = parts.map(|(count, why)| format!("{count} {why}")).collect();
    or_dash(&parts.join(", "))
}

fn met(condition: &v1::ExplainedCondition) -> String {
    if !condition.met {
        return "no".to_owned();
    }
    let decides = if condition.deciding { ", decides" } else { "" };
    let by = match &condition.finding {
        Some(finding) => format!(" by {} {}", finding.id, change(finding)),
        None => String::new(),
    };
    format!("{}{decides}{by}", action(condition.action()).0)
}

fn report(report: &v1::ExplainedReport) -> String {
    let scanned = report.scanned_at.as_ref().map(age).unwrap_or_default();
    format!(
        "{} {} by {} {scanned}, signed by {}",
        report.findings,
        if report.findings == 1 { "finding" } else { "findings" },
        report.scanner,
        report.signer
    )
}

fn remedy(remedy: Option<&v1::Remedy>) -> String {
    let Some(remedy) = remedy else {
        return String::new();
    };
    let mut text = "\nWhat would change the answer\n".to_owned();
    for step in &remedy.steps {
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "  {}", step.text);
    }
    text += &match (remedy.complete, remedy.action()) {
        (false, _) => "  These are not enough: it takes more.\n".to_owned(),
        (true, v1::Action::Unspecified) => "  Then it depends on what is found.\n".to_owned(),
        (true, after) => format!("  Then the answer is {}.\n", action(after).0),
    };
    text
}

fn in_table(section: &Section) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(&section.header);
    for row in &section.rows {
        table.add_row(row);
    }
    format!("{table}\n")
}

/// One line a row, so that logs and `grep` keep what belongs together.
fn in_lines(section: &Section) -> String {
    let mut text = String::new();
    for row in &section.rows {
        let cells: Vec<_> = section
            .header
            .iter()
            .zip(row)
            .map(|(header, cell)| format!("{}: {cell}", header.to_ascii_lowercase()))
            .collect();
        let _ = writeln!(text, "  {}", cells.join(" | "));
    }
    text
}

fn words(word: &str) -> String {
    word.replace('_', " ")
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn json_explanation(explanation: &v1::Explanation) -> Value {
    json!({
        "evaluation": explanation.evaluation,
        "rules": explanation.rules.iter().map(json_rule).collect::<Vec<_>>(),
        "rules_total": explanation.rules_total,
        "conditions": explanation.conditions.iter().map(json_condition).collect::<Vec<_>>(),
        "conditions_total": explanation.conditions_total,
        "exemptions": {
            "applied": explanation.applied,
            "nearly": explanation.nearly.iter().map(|near| json!({
                "name": near.name,
                "owner": near.owner,
                "rule": near.rule,
                "obstacle": near.obstacle,
                "reason": near.reason,
            })).collect::<Vec<_>>(),
        },
        "evidence": explanation.manifests.iter().map(json_manifest).collect::<Vec<_>>(),
        "break_glass": explanation.break_glass,
        "remedy": explanation.remedy.as_ref().map(json_remedy),
    })
}

fn json_rule(rule: &v1::ExplainedRule) -> Value {
    json!({
        "name": rule.name,
        "action": action(rule.action()).0,
        "standing": rule.standing,
        "reason": rule.reason,
        "mismatch": rule.mismatch.as_ref().map(|mismatch| json!({
            "field": mismatch.field,
            "operator": mismatch.operator,
            "values": mismatch.values,
            "values_total": mismatch.values_total,
            "actual": mismatch.actual,
        })),
    })
}

fn json_condition(condition: &v1::ExplainedCondition) -> Value {
    json!({
        "rule": condition.rule,
        "digest": condition.digest,
        "platform": condition.platform,
        "condition": condition.condition,
        "subject": condition.subject,
        "limit": condition.limit,
        "count": condition.count,
        "allowed": condition.allowed,
        "exempt": condition.exempt,
        "cleared": condition.cleared,
        "outside": condition.outside,
        "not_stated": condition.not_stated,
        "action": action(condition.action()).0,
        "met": condition.met,
        "deciding": condition.deciding,
        "finding": condition.finding.as_ref().map(|finding| json!({
            "id": finding.id,
            "package": finding.package,
            "installed": finding.installed,
            "fixed": finding.fixed,
        })),
    })
}

fn json_manifest(manifest: &v1::ExplainedManifest) -> Value {
    json!({
        "digest": manifest.digest,
        "platform": manifest.platform,
        "status": manifest.status,
        "decided": manifest.decided,
        "reports": manifest.reports.iter().map(|report| json!({
            "digest": report.digest,
            "scanner": report.scanner,
            "signer": report.signer,
            "scanned_at": time_text(report.scanned_at.as_ref()),
            "findings": report.findings,
        })).collect::<Vec<_>>(),
    })
}

fn json_remedy(remedy: &v1::Remedy) -> Value {
    let after = match remedy.action() {
        v1::Action::Unspecified => None,
        after => Some(action(after).0),
    };
    json!({
        "action": after,
        "complete": remedy.complete,
        "exemptions": remedy.exemptions,
        "steps": remedy.steps.iter().map(|step| json!({
            "kind": step.kind,
            "text": step.text,
            "packages": step.packages,
            "installed": step.installed,
            "fixed": step.fixed,
            "ids": step.ids,
            "findings": step.findings,
            "rule": step.rule,
            "condition": step.condition,
            "platform": step.platform,
        })).collect::<Vec<_>>(),
    })
}
