//! What was found out about rules in, tables for people or JSON for programs out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use portcullis_core::decide::Action;
use serde_json::json;

use super::tree::Ink;
use super::{json_document, write};
use crate::args::Output;
use crate::command::rules::diff::{Change, Diff, Verdict};
use crate::command::rules::test::{Outcome, Tested};

/// Width of a table in a pipe, in columns: a fixed one keeps logs alike everywhere.
const PIPE: u16 = 160;
/// How many lines of one kind are shown to people.
const SHOWN: usize = 20;

/// Writes what became of cases.
pub(crate) fn tested(tested: &Tested, output: Output) -> io::Result<()> {
    if output == Output::Json {
        return json_document(&json!(tested));
    }
    let mut text = String::new();
    for problem in &tested.errors {
        text.push_str(&super::problem_line("error", problem));
    }
    if !tested.cases.is_empty() {
        let (terminal, is_coloured) = (io::stdout().is_terminal(), Ink::of_output() == Ink::Colour);
        let mut table = table(["", "CASE", "ACTION", "RULE", "WHY"], terminal);
        for outcome in &tested.cases {
            table.add_row(outcome_row(outcome, is_coloured));
        }
        text.push_str(&format!("{table}\n"));
    }
    if tested.errors.is_empty() {
        let (passed, failed) = (tested.passed, tested.failed);
        text.push_str(&format!("{passed} cases as expected, {failed} not\n"));
    }
    write(&text)
}

fn outcome_row(outcome: &Outcome, colour: bool) -> Vec<Cell> {
    let (mark, shade) = if outcome.passed { ("ok", Color::Green) } else { ("FAIL", Color::Red) };
    let mark = Cell::new(mark);
    let mut why = String::new();
    for difference in &outcome.differences {
        let (field, expected, found) = (difference.field, &difference.expected, &difference.found);
        why.push_str(&format!("{field}: expected {expected}, found {found}\n"));
    }
    if !outcome.passed {
        why.push_str(&format!("at {}:{}\n", outcome.file, outcome.line));
        why.push_str(&outcome.found.message);
    }
    vec![
        if colour { mark.fg(shade) } else { mark },
        Cell::new(&outcome.name),
        action(outcome.found.action, colour),
        Cell::new(outcome.found.rule.as_deref().unwrap_or("-")),
        Cell::new(why.trim_end()),
    ]
}

/// Writes what would be decided otherwise.
pub(crate) fn diff(diff: &Diff, output: Output) -> io::Result<()> {
    if output == Output::Json {
        return json_document(&json!(diff));
    }
    let (terminal, is_coloured) = (io::stdout().is_terminal(), Ink::of_output() == Ink::Colour);
    let mut text = String::new();
    if !diff.changes.is_empty() {
        let header = ["TIMES", "NAMESPACE", "WORKLOAD", "IMAGE", "BEFORE", "AFTER"];
        let mut table = table(header, terminal);
        for change in &diff.changes {
            table.add_row(change_row(change, is_coloured));
        }
        text.push_str(&format!("{table}\n"));
    }
    text.push_str(&format!(
        "{} decisions: {} would change, {} stay, {} cannot tell\n",
        diff.decisions, diff.changed, diff.same, diff.cannot_tell
    ));
    let listed: usize = diff.changes.iter().map(|change| change.count).sum();
    if listed < diff.changed {
        text.push_str(&format!("{} changes are not listed\n", diff.changed - listed));
    }
    if diff.unlike_record > 0 {
        text.push_str(&format!(
            "{} were recorded with another action or rule than the old rules give: other rules were \
             in force then\n",
            diff.unlike_record
        ));
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    diff.untold.iter().for_each(|untold| *reasons.entry(untold.why).or_default() += 1);
    for untold in diff.untold.iter().take(SHOWN) {
        let (file, line, reason) = (&untold.file, untold.line, &untold.reason);
        let image = untold.image.as_deref().unwrap_or("a decision");
        text.push_str(&format!("{file}:{line}: cannot tell about {image}: {reason}\n"));
    }
    more(&mut text, diff.cannot_tell, "decisions of which it cannot be told");
    if diff.malformed > 0 {
        text.push_str(&format!("{} lines cannot be read\n", diff.malformed));
    }
    for unreadable in diff.unreadable.iter().take(SHOWN) {
        let (file, line, reason) = (&unreadable.file, unreadable.line, &unreadable.reason);
        text.push_str(&format!("{file}:{line}: {reason}\n"));
    }
    more(&mut text, diff.malformed, "lines that cannot be read");
    write(&text)
}

/// Says how many are not shown.
fn more(text: &mut String, total: usize, what: &str) {
    let more = total.saturating_sub(SHOWN);
    if more > 0 && writeln!(text, "and {more} more {what}: see `--output json`").is_err() {}
}

fn change_row(change: &Change, colour: bool) -> Vec<Cell> {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let key = &change.key;
    vec![
        Cell::new(change.count),
        Cell::new(or_dash(&key.namespace)),
        Cell::new(or_dash(&key.workload)),
        Cell::new(&key.image),
        verdict(&key.before, colour),
        verdict(&key.after, colour),
    ]
}

fn verdict(verdict: &Verdict, colour: bool) -> Cell {
    let rule = verdict.rule.as_deref().map(|rule| format!(" by {rule}")).unwrap_or_default();
    let cell = Cell::new(format!("{}{rule}", verdict.action.as_str()));
    if colour { cell.fg(shade(verdict.action)) } else { cell }
}

fn action(action: Action, colour: bool) -> Cell {
    let cell = Cell::new(action.as_str());
    if colour { cell.fg(shade(action)) } else { cell }
}

const fn shade(action: Action) -> Color {
    match action {
        Action::Allow => Color::Green,
        Action::Audit => Color::Yellow,
        Action::Deny => Color::Red,
    }
}

fn table<const N: usize>(header: [&str; N], terminal: bool) -> Table {
    let mut table = Table::new();
    let style = if terminal { presets::UTF8_FULL_CONDENSED } else { presets::ASCII_FULL_CONDENSED };
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    if !terminal {
        table.set_width(PIPE);
    }
    table
}
