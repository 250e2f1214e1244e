//! `portcullis rules diff`: old rules, new rules and recorded decisions in, what would change out.

mod events;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use portcullis_core::decide::{Action, Decision};
use portcullis_core::policy::Policy;
use portcullis_core::simulate::recorded::{CannotTell, LineError, Recorded};

use self::events::{Events, Place};
use crate::args::Output;
use crate::render;

/// The most changes that are told apart, and the most lines that are listed.
const MAX_LISTED: usize = 10_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The rules as they are: a file, or a folder with `.yaml` and `.yml` files.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The rules as they would be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Event files that `portcullis serve` wrote; of a rotated file all parts.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    events: Vec<PathBuf>,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What would be otherwise.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Diff {
    /// How many decisions are recorded.
    pub(crate) decisions: usize,
    /// How many of them would be decided as before.
    pub(crate) same: usize,
    /// How many of them would be decided otherwise.
    pub(crate) changed: usize,
    /// How many of them cannot be decided again.
    pub(crate) cannot_tell: usize,
    /// How many the old rules decide otherwise than it was recorded: they were not in force then.
    pub(crate) unlike_record: usize,
    /// How many lines cannot be read.
    pub(crate) malformed: usize,
    /// What would be decided otherwise, at most [`MAX_LISTED`], most frequent first.
    pub(crate) changes: Vec<Change>,
    /// Why decisions cannot be decided again, at most [`MAX_LISTED`].
    pub(crate) untold: Vec<Untold>,
    /// The lines that cannot be read, at most [`MAX_LISTED`].
    pub(crate) unreadable: Vec<Unreadable>,
}

/// Decisions that would change alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    /// `Kind/name`; empty where it was not given.
    pub(crate) workload: String,
    pub(crate) image: String,
    pub(crate) before: Verdict,
    pub(crate) after: Verdict,
}

/// What is decided, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Verdict {
    pub(crate) action: Action,
    pub(crate) rule: Option<String>,
}

/// A change and how often it would happen.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Change {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) count: usize,
}

/// A decision that cannot be decided again.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Untold {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) id: Option<String>,
    pub(crate) image: Option<String>,
    /// The word for it.
    pub(crate) why: &'static str,
    pub(crate) reason: String,
}

/// A line that cannot be read.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Unreadable {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) reason: String,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { old, new, events, output } = args;
    let rules = |path: PathBuf, which| {
        super::policy(&[path]).with_context(|| format!("failed to read the {which} rules"))
    };
    let (old, new) = (rules(old, "old")?, rules(new, "new")?);
    let mut comparison = Comparison { old, new, diff: Diff::default(), groups: BTreeMap::new() };
    Events::open(&events)?.read(&mut comparison)?;
    render::rules::diff(&comparison.finish(), output)?;
    Ok(ExitCode::SUCCESS)
}

/// Compares one decision after the other.
struct Comparison {
    old: Policy,
    new: Policy,
    diff: Diff,
    groups: BTreeMap<Key, usize>,
}

impl Comparison {
    fn decision(
        &mut self,
        place: Place<'_>,
        recorded: &Recorded,
        events: &mut events::Reports<'_>,
    ) {
        self.diff.decisions += 1;
        let question = match recorded.question(|attached| events.evidence(attached)) {
            Ok(question) => question,
            Err(why) => return self.cannot_tell(place, Some(recorded), &why),
        };
        let (before, after) = (question.decide(&self.old), question.decide(&self.new));
        let (before, after) = (Verdict::of(&before), Verdict::of(&after));
        if (before.action, &before.rule) != (recorded.action, &recorded.rule) {
            self.diff.unlike_record += 1;
        }
        if before == after {
            self.diff.same += 1;
            return;
        }
        self.diff.changed += 1;
        let Recorded { namespace, workload_kind, workload, image, .. } = recorded;
        let workload = match (workload_kind.as_str(), workload.as_str()) {
            ("", "") => String::new(),
            (kind, name) => format!("{kind}/{name}"),
        };
        let (namespace, image) = (namespace.clone(), image.clone());
        let key = Key { namespace, workload, image, before, after };
        let room = self.groups.len() < MAX_LISTED;
        if let Some(count) = self.groups.get_mut(&key) {
            *count += 1;
        } else if room {
            self.groups.insert(key, 1);
        }
    }

    /// A decision that cannot be decided again, and what is known of it.
    fn cannot_tell(&mut self, place: Place<'_>, recorded: Option<&Recorded>, why: &CannotTell) {
        self.diff.cannot_tell += 1;
        if self.diff.untold.len() < MAX_LISTED {
            self.diff.untold.push(Untold {
                file: place.file.to_owned(),
                line: place.line,
                id: recorded.map(|recorded| recorded.id.clone()),
                image: recorded.map(|recorded| recorded.image.clone()),
                why: why.as_str(),
                reason: why.to_string(),
            });
        }
    }

    /// A decision of a version that did not record enough.
    fn old_decision(&mut self, place: Place<'_>) {
        self.diff.decisions += 1;
        self.cannot_tell(place, None, &CannotTell::OldVersion);
    }

    fn malformed(&mut self, place: Place<'_>, error: &LineError) {
        self.diff.malformed += 1;
        if self.diff.unreadable.len() < MAX_LISTED {
            let mut reason = error.to_string();
            if let Some(source) = std::error::Error::source(error) {
                reason.push_str(&format!(": {source}"));
            }
            let (file, line) = (place.file.to_owned(), place.line);
            self.diff.unreadable.push(Unreadable { file, line, reason });
        }
    }

    fn finish(self) -> Diff {
        let mut diff = self.diff;
        diff.changes = self.groups.into_iter().map(|(key, count)| Change { key, count }).collect();
        diff.changes.sort_by_key(|change| std::cmp::Reverse(change.count));
        diff
    }
}

impl Verdict {
    fn of(decision: &Decision) -> Self {
        Self { action: decision.action, rule: decision.rule.as_deref().map(str::to_owned) }
    }
}
