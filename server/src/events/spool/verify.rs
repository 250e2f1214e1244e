//! A record in, out what is missing from it (CASES T168).

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

use serde::Serialize;

use super::read::{Entry, Reader, SpoolError};

/// The most gaps, and files, that are listed.
const MAX_LISTED: usize = 1_000;
/// The most stretches of decisions without a gap, and the most decisions that were taken back, that are
/// remembered. Of one more of either, nothing is known that was taken back of the oldest.
const MAX_REMEMBERED: usize = 100_000;

/// Numbers that no record has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Why they are missing, if the record says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

/// What is to be said of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How many decisions it has.
    pub decisions: u64,
    /// Number of the first of them; what came before was too old or too much.
    pub first: Option<u64>,
    /// Number of the last.
    pub last: Option<u64>,
    /// How many runs of the service it has something of.
    pub runs: u64,
    /// How many decisions are missing that the record tells of: the disk was full or too slow.
    pub told: u64,
    /// How many are missing and nothing says why.
    pub missing: u64,
    /// What is missing, the first 1,000.
    pub gaps: Vec<Gap>,
    /// How many records or stretches of bytes cannot be read.
    pub damaged: u64,
    /// Files with such, with an end that is not whole, or from a newer version.
    pub files: Vec<PathBuf>,
    /// How many runs of the service ended without saying so: the process was killed or is still running,
    /// and its last decisions may not be there.
    pub open_ended: u64,
    /// How often the numbers began again below one that was there.
    pub restarted: u64,
}

impl Verdict {
    /// Whether everything that was decided since the first decision is there, or told of.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.missing == 0 && self.damaged == 0 && self.restarted == 0
    }
}

/// Reads a record as far as it is written.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(folder: PathBuf) -> Result<Verdict, SpoolError> {
    let mut state = State::default();
    Reader::new(folder, 0).advance(|entry| state.entry(entry))?;
    if state.run.is_some() && !state.ended {
        state.verdict.open_ended += 1;
    }
    Ok(state.verdict)
}

#[derive(Default)]
struct State {
    verdict: Verdict,
    run: Option<u64>,
    ended: bool,
    /// The number that comes next.
    next: Option<u64>,
    /// The decisions that are there and count: the first of each stretch, and the one after its last.
    there: VecDeque<(u64, u64)>,
    taken_back: BTreeSet<u64>,
}

impl State {
    fn entry(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Segment { run } => {
                if self.run != Some(run) {
                    self.verdict.open_ended += u64::from(self.run.is_some() && !self.ended);
                    self.verdict.runs += 1;
                    (self.run, self.ended) = (Some(run), false);
                }
            }
            Entry::Decision { seq, .. } => {
                self.reach(seq, 1);
                self.verdict.decisions += 1;
                self.is_there(seq);
                self.verdict.first.get_or_insert(seq);
                self.verdict.last = Some(seq);
            }
            Entry::Void { seq } => self.reach(seq, 1),
            // What is told of twice, or is in no segment that is left, is not taken from the others.
            Entry::TakenBack { seq } => {
                let was_there = self.there.iter().any(|(first, end)| (*first..*end).contains(&seq));
                if was_there && self.taken_back.insert(seq) {
                    self.verdict.decisions = self.verdict.decisions.saturating_sub(1);
                }
                if self.taken_back.len() > MAX_REMEMBERED {
                    self.taken_back.pop_first();
                }
            }
            Entry::Lost { first, count, loss } => {
                self.reach(first, count);
                if let Some(last) = first.checked_add(count).and_then(|end| end.checked_sub(1)) {
                    self.verdict.told = self.verdict.told.saturating_add(count);
                    let why = loss.map_or("unknown", super::Loss::as_str);
                    self.gap(Gap { first, last, why: Some(why) });
                }
            }
            Entry::End { next } => {
                self.reach(next, 0);
                self.ended = true;
            }
            Entry::Damaged { path } => {
                self.verdict.damaged += 1;
                self.file(path);
            }
            Entry::Torn { path } | Entry::Future { path, .. } => self.file(path),
        }
    }

    /// The record goes on with `count` numbers from `first` on.
    fn reach(&mut self, first: u64, count: u64) {
        let next = self.next.unwrap_or(first);
        if first > next {
            self.verdict.missing += first - next;
            self.gap(Gap { first: next, last: first - 1, why: None });
        }
        self.verdict.restarted += u64::from(first < next);
        self.next = Some(first.saturating_add(count));
    }

    fn is_there(&mut self, seq: u64) {
        match self.there.back_mut() {
            Some((_, end)) if *end == seq => *end = seq.saturating_add(1),
            _ => self.there.push_back((seq, seq.saturating_add(1))),
        }
        if self.there.len() > MAX_REMEMBERED {
            self.there.pop_front();
        }
    }

    fn gap(&mut self, gap: Gap) {
        if self.verdict.gaps.len() < MAX_LISTED {
            self.verdict.gaps.push(gap);
        }
    }

    fn file(&mut self, path: &std::path::Path) {
        let files = &mut self.verdict.files;
        if files.len() < MAX_LISTED && files.last().is_none_or(|last| last != path) {
            files.push(path.to_owned());
        }
    }
}
