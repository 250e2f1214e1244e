//! Decisions in, a table for people out: as wide as what it is written to.

use std::io::{self, IsTerminal as _};

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, presets};
use portcullis_proto::v1;

use super::tree::Ink;
use super::{Checked, action, age, common_name, exceptions, shortened, unique};

/// Width in a pipe of what stands beside the images, in columns.
const BESIDE_IMAGE: u16 = 130;
/// What is narrower, in columns, has no room for seven of them.
const NARROW: u16 = 120;

/// What is written to.
pub(super) struct Face {
    /// As wide as a terminal is; none of a pipe, which has no width.
    width: Option<u16>,
    ink: Ink,
}

impl Face {
    pub(super) fn of_output() -> Self {
        let width = io::stdout().is_terminal().then(|| Table::new().width()).flatten();
        Self { width, ink: Ink::of_output() }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(match self.width {
                Some(_) => presets::UTF8_FULL_CONDENSED,
                None => presets::ASCII_FULL_CONDENSED,
            })
            .set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(width) = self.width {
            table.set_width(width);
        }
        table
    }
}

const HEADER: [&str; 7] = ["IMAGE", "ACTION", "RULE", "WHY", "SCANNED", "SIGNED BY", "ANSWERED"];

/// A line for each image; on a narrow terminal, where there would be words in none of its columns, a table for each.
pub(super) fn table(rows: &[(&Checked, Option<&Checked>)], face: &Face) -> String {
    if face.width.is_some_and(|width| width < NARROW) {
        return rows.iter().map(|(checked, again)| upright(checked, *again, face)).collect();
    }
    let mut table = face.table();
    table.set_header(HEADER);
    let mut longest = 0;
    for (checked, again) in rows {
        longest = longest.max(checked.asked.len());
        table.add_row(row(checked, *again, face.ink));
    }
    if face.width.is_none() {
        // A pipe has no width: a fixed one keeps logs alike everywhere. Images stay whole, because
        // they are searched for.
        table.set_width(u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(BESIDE_IMAGE));
        if let Some(images) = table.column_mut(0) {
            images.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    format!("{table}\n")
}

/// One image, its columns one below the other.
fn upright(checked: &Checked, again: Option<&Checked>, face: &Face) -> String {
    let mut table = face.table();
    for (name, cell) in HEADER.into_iter().zip(row(checked, again, face.ink)) {
        table.add_row([Cell::new(name), cell]);
    }
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    format!("{table}\n")
}

fn row(checked: &Checked, again: Option<&Checked>, ink: Ink) -> Vec<Cell> {
    let (word, shade) = action(checked.action());
    let action = Cell::new(word);
    let action = match ink {
        Ink::Colour => action.fg(shade).add_attribute(Attribute::Bold),
        Ink::Plain => action,
    };
    let mut answered = answered(checked);
    if let Some(again) = again {
        answered.push('\n');
        answered.push_str(&self::answered(again));
    }
    let signers = unique(checked.reports().map(|r| common_name(&r.signer)));
    let ages = unique(checked.reports().filter_map(|r| r.scanned_at.as_ref()).map(age));
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![
        Cell::new(&checked.asked),
        action,
        Cell::new(or_dash(checked.decision.rule.clone())),
        Cell::new(why(&checked.decision)),
        Cell::new(or_dash(ages.join("\n"))),
        Cell::new(or_dash(signers.join("\n"))),
        Cell::new(answered),
    ]
}

fn answered(checked: &Checked) -> String {
    format!("{} {} µs", checked.source(), checked.took.as_micros())
}

/// The deciding violation with its worst findings, or the remarks of an allow.
fn why(decision: &v1::Decision) -> String {
    const SHOWN: usize = 3;
    let Some(violation) = decision.violations.iter().find(|v| v.deciding) else {
        let mut lines = decision.notices.clone();
        if lines.is_empty() {
            lines.push("no rule is violated".to_owned());
        }
        lines.extend(exceptions::lines(decision));
        return lines.join("\n");
    };
    let mut lines = vec![shortened(&violation.reason)];
    if !violation.platform.is_empty() {
        lines.push(format!("on {}", violation.platform));
    }
    for finding in violation.findings.iter().take(SHOWN) {
        lines.push(format!("{} {}", finding.id, change(finding)));
    }
    let more = (violation.findings_total as usize).saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.extend(exceptions::lines(decision));
    lines.join("\n")
}

/// `package installed → fixed`, as far as the report states them.
pub(super) fn change(finding: &v1::Finding) -> String {
    let installed = [finding.package.as_str(), finding.installed.as_str()];
    let installed =
        installed.iter().filter(|t| !t.is_empty()).copied().collect::<Vec<_>>().join(" ");
    match finding.fixed.as_slice() {
        [] => format!("{installed} (no fix stated)"),
        fixed => format!("{installed} → {}", fixed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn denied() -> Checked {
        let finding = v1::Finding {
            id: "CVE-2021-44228".to_owned(),
            package: "log4j-core".to_owned(),
            installed: "2.14.0".to_owned(),
            fixed: vec!["2.17.1".to_owned()],
            ..v1::Finding::default()
        };
        let violation = v1::Violation {
            reason: "2 findings at high or above, 0 allowed".to_owned(),
            deciding: true,
            findings: vec![finding],
            ..v1::Violation::default()
        };
        let decision = v1::Decision {
            action: v1::Action::Deny.into(),
            rule: "no-critical".to_owned(),
            violations: vec![violation],
            ..v1::Decision::default()
        };
        let asked = "registry.example/team/app:v1".to_owned();
        Checked { asked, decision, took: Duration::from_micros(120) }
    }

    #[test]
    fn a_terminal_of_80_columns_has_what_was_found_in_one_line() {
        let checked = denied();
        for width in [80, 119, 120, 200] {
            let face = Face { width: Some(width), ink: Ink::Plain };
            let text = table(&[(&checked, None)], &face);
            let lines: Vec<_> = text.lines().collect();
            assert!(lines.iter().all(|line| line.chars().count() <= width.into()), "{text}");
            let is_there = |words: &str| lines.iter().any(|line| line.contains(words));
            assert!(is_there("CVE-2021-44228 log4j-core") || width >= 120, "{text}");
            assert!(is_there("registry.example/team/app") && is_there("no-critical"), "{text}");
        }
    }

    #[test]
    fn who_wants_no_colours_gets_no_bold_either() {
        let escaped = |ink| {
            let mut table = Table::new();
            table.enforce_styling().add_row(row(&denied(), None, ink));
            table.to_string().contains('\u{1b}')
        };
        assert!(escaped(Ink::Colour));
        assert!(!escaped(Ink::Plain));
    }
}
