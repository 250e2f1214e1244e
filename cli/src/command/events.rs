//! `portcullis events`: the record of decisions of a data directory in, decisions out.

mod verify;

use std::collections::{HashSet, VecDeque};
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use portcullis_core::decide::Action;
use portcullis_core::event::stored::{KnownRecord, Stored};
use portcullis_core::image::Digest;
use portcullis_server::config::Config;
use portcullis_server::events::spool::{Attachments, Entry, Reader, SpoolError, folder_of};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::args::Output;
use crate::command::environment::Cloud;
use crate::render::events::{Note, Row, Rows};
use crate::render::tree::Ink;

/// How often to look for what is new.
const POLL: Duration = Duration::from_millis(200);
/// How long a decision is held back for a report that it names: the service writes reports after decisions,
/// and not at all where too many wait. What was decided longer ago has all that there will be.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a decision takes at the most to be in the record of a service that is well, where `spool.sync` is not
/// configured.
const WRITTEN_WITHIN: Duration = Duration::from_millis(200);
/// The most decisions that are held back.
const MAX_HELD: usize = 10_000;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// Go on with what is decided from now on, until interrupted.
    #[arg(long)]
    follow: bool,
    /// How decisions are written: a table, which is the default on a terminal, or lines of JSON as in an
    /// event file, with the reports that they name: what `portcullis rules diff` reads.
    #[arg(long, value_enum)]
    output: Option<Output>,
}

#[derive(Subcommand)]
enum Command {
    /// Look for decisions that are missing, and for damage. Exit status: 0 if everything is there or told
    /// of, 2 if not, 1 if it cannot be read.
    Verify(verify::Args),
}

/// Where the record is.
#[derive(clap::Args)]
struct Place {
    /// The data directory of the service (`dataDir`).
    #[arg(long, env = "PORTCULLIS_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The configuration of the service, which names its data directory.
    #[arg(long, env = "PORTCULLIS_CONFIG", value_name = "FILE", conflicts_with = "data_dir")]
    config: Option<PathBuf>,
    #[command(flatten)]
    cloud: Cloud,
}

impl Place {
    fn folder(self) -> anyhow::Result<PathBuf> {
        let Self { data_dir, config, cloud } = self;
        let folder = match (data_dir, config) {
            (Some(data_dir), _) => folder_of(&data_dir),
            (None, Some(config)) => {
                Config::read(&config, &cloud.into())?.spool.folder.with_context(|| {
                    format!("`{}` has no `dataDir`: there is no record", config.display())
                })?
            }
            (None, None) => anyhow::bail!("say where the record is: `--data-dir` or `--config`"),
        };
        anyhow::ensure!(folder.is_dir(), "`{}` is no folder with a record", folder.display());
        Ok(folder)
    }
}

/// Which decisions are shown.
#[derive(clap::Args)]
struct Filter {
    /// Only decisions from this number on: the part of an event's id behind the dash.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// Only decisions from this time on: an instant such as `2026-08-01T12:00:00Z`, or how long ago, such
    /// as `15m`, `2h` or `7d`.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<OffsetDateTime>,
    /// Only decisions with this action.
    #[arg(long, value_name = "ACTION", value_parser = action)]
    action: Option<Action>,
    /// Only decisions about this namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Filter {
    fn takes(&self, stored: &Stored<'_>) -> bool {
        self.since.is_none_or(|since| stored.time >= since)
            && self.action.is_none_or(|action| stored.action == action)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == stored.namespace)
    }
}

fn action(text: &str) -> Result<Action, String> {
    let known = [Action::Allow, Action::Audit, Action::Deny];
    let found = known.into_iter().find(|action| action.as_str() == text);
    found.ok_or_else(|| "expected `allow`, `audit` or `deny`".to_owned())
}

fn since(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(instant) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(instant);
    }
    let ago = || {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        OffsetDateTime::now_utc().checked_sub(time::Duration::seconds(number.checked_mul(seconds)?))
    };
    ago().ok_or_else(|| "expected an instant (RFC 3339), or a number with s, m, h or d".to_owned())
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { command, place, filter, follow, output } = args;
    if let Some(Command::Verify(args)) = command {
        return verify::run(args);
    }
    let folder = place.folder()?;
    let terminal = io::stdout().is_terminal();
    let output = output.unwrap_or(if terminal { Output::Table } else { Output::Json });
    let mut show = Show {
        filter,
        attachments: (output == Output::Json).then(|| Attachments::new(folder.clone())),
        told: HashSet::new(),
        held: VecDeque::new(),
        rows: Rows::new(output, Ink::of_output() == Ink::Colour),
        read: 0,
    };
    let mut reader = Reader::new(folder, show.filter.from);
    let asked_to_end = tokio::signal::ctrl_c();
    tokio::pin!(asked_to_end);
    if !follow {
        // What was decided before this was called is on its way.
        tokio::time::sleep(WRITTEN_WITHIN).await;
    }
    let mut looked_at = show.advance(&mut reader)?;
    if !follow {
        show.note_what_lacks()?;
    }
    while looked_at && (follow || !show.held.is_empty()) {
        tokio::select! {
            _ = &mut asked_to_end => {
                show.settle(Duration::ZERO)?;
                break;
            }
            () = tokio::time::sleep(POLL) => {}
        }
        // Who does not follow waits for reports, and not for what is decided meanwhile.
        looked_at = if follow { show.advance(&mut reader)? } else { show.settle(PATIENCE)? };
    }
    Ok(ExitCode::SUCCESS)
}

struct Show {
    filter: Filter,
    /// Where the lines of reports are, if they are wanted.
    attachments: Option<Attachments>,
    /// What was written of them.
    told: HashSet<Digest>,
    /// Decisions whose reports are not there yet, and those after them.
    held: VecDeque<Held>,
    rows: Rows,
    /// How many decisions were read, shown or not.
    read: usize,
}

/// A decision that is shown when its reports are there.
struct Held {
    seq: u64,
    line: Vec<u8>,
    names: Vec<Digest>,
    since: Instant,
}

impl Show {
    /// Shows what there is and was not shown before. `false` where nobody looks any more.
    fn advance(&mut self, reader: &mut Reader) -> anyhow::Result<bool> {
        let mut shown = Ok(());
        reader.advance(|entry| {
            if shown.is_ok() {
                shown = self.entry(entry);
            }
        })?;
        Ok(is_looked_at(shown)? && self.settle(PATIENCE)?)
    }

    /// Shows what need not be held back any more. `false` where nobody looks any more.
    fn settle(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let shown = self.release(patience);
        is_looked_at(shown.and_then(|()| Ok(self.rows.flush()?)))
    }

    /// Says why less is there than somebody may expect who has just asked the service.
    fn note_what_lacks(&mut self) -> anyhow::Result<()> {
        let count = self.held.len();
        if self.read == 0 {
            self.rows.note(&Note::Empty)?;
        } else if count > 0 {
            self.rows.note(&Note::Waiting { count, within: PATIENCE })?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry<'_>) -> anyhow::Result<()> {
        self.read += usize::from(matches!(entry, Entry::Decision { .. }));
        match entry {
            Entry::Decision { seq, run, stored, known } if self.filter.takes(stored) => {
                let id = format!("{run:x}-{seq}");
                let named = stored.known.iter().filter_map(|name| known.get(name));
                let names = self.missing(named)?;
                let line = stored.line(&id, seq, |name| known.get(&name));
                let has_all =
                    names.is_empty() || OffsetDateTime::now_utc() - stored.time > PATIENCE;
                if has_all && self.held.is_empty() {
                    return Ok(self.rows.decision(&Row { seq, stored }, &line)?);
                }
                let (line, since) = (serde_json::to_vec(&line)?, Instant::now());
                self.hold(Held { seq, line, names, since })
            }
            Entry::TakenBack { seq } => {
                let count = self.held.len();
                self.held.retain(|held| held.seq != seq);
                // What was not shown yet is not shown at all.
                let was_held = self.held.len() < count;
                if was_held { Ok(()) } else { Ok(self.rows.note(&Note::TakenBack { seq })?) }
            }
            Entry::Lost { first, count, loss } => {
                let why = loss.map_or("unknown", |loss| loss.as_str());
                Ok(self.rows.note(&Note::Lost { first, count, why })?)
            }
            Entry::Damaged { path } => Ok(self.rows.note(&Note::Damaged { path })?),
            Entry::Torn { path } => Ok(self.rows.note(&Note::Torn { path })?),
            Entry::Future { path, version } => {
                Ok(self.rows.note(&Note::Future { path, version })?)
            }
            Entry::Decision { .. }
            | Entry::Segment { .. }
            | Entry::Void { .. }
            | Entry::End { .. } => Ok(()),
        }
    }

    /// Holds a decision back. Where there are too many, all are shown as they are.
    fn hold(&mut self, held: Held) -> anyhow::Result<()> {
        self.held.push_back(held);
        if self.held.len() > MAX_HELD { self.release(Duration::ZERO) } else { Ok(()) }
    }

    /// Writes the lines of what is `named`, each once. Gives what is not there yet.
    fn missing<'a>(
        &mut self,
        named: impl Iterator<Item = &'a KnownRecord>,
    ) -> anyhow::Result<Vec<Digest>> {
        let mut missing = Vec::new();
        for digest in named.flat_map(|known| known.attached().unwrap_or_default()) {
            if !self.attached(digest)? {
                missing.push(digest);
            }
        }
        Ok(missing)
    }

    /// Writes the line of a report or VEX document once. `false` where it is not there yet.
    fn attached(&mut self, digest: Digest) -> anyhow::Result<bool> {
        let Some(attachments) = &mut self.attachments else { return Ok(true) };
        if self.told.contains(&digest) {
            return Ok(true);
        }
        let Some(line) = attachments.line(digest)? else { return Ok(false) };
        self.rows.line(&line)?;
        self.told.insert(digest);
        Ok(true)
    }

    /// Shows what was held back as far as it need not be any more: its reports are there, or it was held
    /// for as long as `patience`.
    fn release(&mut self, patience: Duration) -> anyhow::Result<()> {
        while let Some(Held { seq, line, mut names, since }) = self.held.pop_front() {
            let mut is_there = true;
            for digest in std::mem::take(&mut names) {
                if !self.attached(digest)? {
                    is_there = false;
                    names.push(digest);
                }
            }
            if !is_there && since.elapsed() < patience {
                self.held.push_front(Held { seq, line, names, since });
                return Ok(());
            }
            self.rows.line(&line)?;
        }
        Ok(())
    }
}

/// Whether somebody looks at what was `shown`. Whoever reads from the pipe may have seen enough.
fn is_looked_at(shown: anyhow::Result<()>) -> anyhow::Result<bool> {
    match shown {
        Err(error) if is_gone(&error) => Ok(false),
        shown => shown.map(|()| true),
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    let own = error.downcast_ref::<io::Error>();
    own.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        && error.downcast_ref::<SpoolError>().is_none()
}

#[cfg(test)]
mod tests;
