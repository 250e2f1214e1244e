//! Recorded decisions in, rows for people or lines of JSON for programs out.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Stderr, Write};
use std::path::Path;
use std::time::Duration;

use portcullis_core::decide::Action;
use portcullis_core::event::stored::{Stored, StoredLine};
use portcullis_server::events::spool::Verdict;
use serde_json::json;
use time::macros::format_description;

use crate::args::Output;

/// Widths of the columns that may be shorter.
const WIDTHS: [usize; 4] = [8, 24, 6, 32];

/// A decision.
pub(crate) struct Row<'a> {
    pub(crate) seq: u64,
    pub(crate) stored: &'a Stored<'a>,
}

/// What is not a decision and should not pass in silence.
pub(crate) enum Note<'a> {
    TakenBack { seq: u64 },
    Lost { first: u64, count: u64, why: &'static str },
    Damaged { path: &'a Path },
    Torn { path: &'a Path },
    Future { path: &'a Path, version: u16 },
    Waiting { count: usize, within: Duration },
    Empty,
}

impl Note<'_> {
    /// Whether it is as it should be.
    const fn word(&self) -> &'static str {
        match self {
            Self::Waiting { .. } | Self::Empty => "note",
            _ => "warning",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::TakenBack { seq } => {
                format!("decision {seq}, shown above, was not given after all")
            }
            Self::Lost { first, count, why } => {
                let last = first.saturating_add(*count).saturating_sub(1);
                format!("{count} decisions, {first} to {last}, are not in the record: {why}")
            }
            Self::Damaged { path } => format!("`{}` is damaged in one place", path.display()),
            Self::Torn { path } => format!("the end of `{}` is not whole", path.display()),
            Self::Future { path, version } => {
                format!("`{}` is of version {version}, which is not known", path.display())
            }
            Self::Waiting { count: 1, within } => {
                format!("1 decision waits for its reports, for {within:?} at the most")
            }
            Self::Waiting { count, within } => {
                format!("{count} decisions wait for their reports, for {within:?} at the most")
            }
            Self::Empty => {
                "there is no decision in the record; one is there a moment after it was made (`spool.sync` of the service)"
                    .to_owned()
            }
        }
    }
}

/// Writes decisions as they come.
pub(crate) struct Rows {
    output: Output,
    colour: bool,
    headed: bool,
    out: BufWriter<Box<dyn Write + Send>>,
    beside: Stderr,
}

impl Rows {
    pub(crate) fn new(output: Output, colour: bool) -> Self {
        Self::onto(Box::new(io::stdout()), output, colour)
    }

    /// The same onto something else.
    pub(crate) fn onto(out: Box<dyn Write + Send>, output: Output, colour: bool) -> Self {
        let out = BufWriter::new(out);
        Self { output, colour, headed: false, out, beside: io::stderr() }
    }

    pub(crate) fn decision(&mut self, row: &Row<'_>, line: &StoredLine<'_>) -> io::Result<()> {
        if self.output == Output::Json {
            serde_json::to_writer(&mut self.out, line)?;
            return self.out.write_all(b"\n");
        }
        if !std::mem::replace(&mut self.headed, true) {
            let cells = ["NUMBER", "TIME", "ACTION", "WHERE", "IMAGE", "WHY"].map(str::to_owned);
            self.out.write_all(columns(&cells, None).as_bytes())?;
        }
        let colour = self.colour.then_some(row.stored.action);
        self.out.write_all(columns(&cells(row), colour).as_bytes())
    }

    /// Writes a line that is JSON already.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.out.write_all(line)?;
        self.out.write_all(b"\n")
    }

    /// Says something beside the decisions.
    pub(crate) fn note(&mut self, note: &Note<'_>) -> io::Result<()> {
        self.out.flush()?;
        writeln!(self.beside, "{}: {}", note.word(), note.text())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn cells(Row { seq, stored }: &Row<'_>) -> [String; 6] {
    let format =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    let time = stored.time.format(format).unwrap_or_else(|_| stored.time.to_string());
    let [cluster, kind, workload, pod] = stored.place();
    let named = if workload.is_empty() { pod.to_owned() } else { format!("{kind}/{workload}") };
    let place = [cluster, &stored.namespace, &named];
    let place: Vec<_> = place.into_iter().filter(|part| !part.is_empty()).collect();
    let decided = match (stored.rule(), stored.reason(), stored.break_glass()) {
        (_, reason, Some(glass)) => {
            format!("lifted by {glass}: {}", reason.unwrap_or_default())
        }
        (Some(rule), Some(reason), None) => format!("{rule}: {reason}"),
        (rule, reason, None) => rule.or(reason).unwrap_or_default().to_owned(),
    };
    let why = match stored.answered() {
        None => decided,
        Some(answered) => {
            let words = [answered.by.as_str(), &answered.cause, &decided];
            let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
            format!("without the service: {}", words.join(": "))
        }
    };
    let (image, action) = (stored.image().to_owned(), stored.action.as_str().to_owned());
    [seq.to_string(), time, action, place.join(" "), image, why]
}

/// One line of the table; `colour` for the action.
fn columns(cells: &[String; 6], colour: Option<Action>) -> String {
    let [seq, time, action, place, image, why] = cells;
    let [seq_width, time_width, action_width, place_width] = WIDTHS;
    let padding = " ".repeat(action_width.saturating_sub(action.len()));
    let action = match colour {
        Some(Action::Allow) => format!("\u{1b}[32m{action}\u{1b}[0m"),
        Some(Action::Audit) => format!("\u{1b}[33m{action}\u{1b}[0m"),
        Some(Action::Deny) => format!("\u{1b}[31m{action}\u{1b}[0m"),
        None => action.clone(),
    };
    let mut line = format!("{seq:>seq_width$}  {time:<time_width$}  {action}{padding}  ");
    // Writing to a `String` does not fail.
    let _ = write!(line, "{place:<place_width$}  {image}");
    if !why.is_empty() {
        let _ = write!(line, "  {why}");
    }
    line.push('\n');
    line
}

/// Writes what is missing from a record.
pub(crate) fn verdict(verdict: &Verdict, output: Output) -> io::Result<()> {
    if output == Output::Json {
        return super::json_document(&json!({ "whole": verdict.is_whole(), "record": verdict }));
    }
    let mut text = match (verdict.first, verdict.last) {
        (Some(first), Some(last)) => {
            let (decisions, runs) = (verdict.decisions, verdict.runs);
            let plural = |count: u64| if count == 1 { "" } else { "s" };
            let (some, all) = (plural(decisions), plural(runs));
            format!(
                "{decisions} decision{some}, {first} to {last}, of {runs} run{all} of the service\n"
            )
        }
        _ => "no decisions\n".to_owned(),
    };
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            let _ = writeln!(text, "{count} {what}");
        }
    };
    add(verdict.missing, "decisions are missing, and nothing says why");
    add(verdict.told, "decisions were not recorded, and the record says so");
    add(verdict.damaged, "places are damaged");
    add(verdict.restarted, "times the numbers began again");
    add(verdict.open_ended, "runs did not say that they ended: killed, or still running");
    for gap in &verdict.gaps {
        let why = gap.why.map_or("nothing says why".to_owned(), |why| format!("lost: {why}"));
        let _ = writeln!(text, "  {} to {}: {why}", gap.first, gap.last);
    }
    for file in &verdict.files {
        let _ = writeln!(text, "  look at `{}`", file.display());
    }
    super::write(&text)
}
