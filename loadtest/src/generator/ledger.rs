//! Which questions are under way, and what became of those that ended.

use std::collections::BTreeMap;

use portcullis_proto::v1;
use prost::Message as _;

use crate::clock;
use crate::connection::{Calls, End};
use crate::measure::{Outcome, Recorder};
use crate::questions::{Call, read_bulk_answer, read_stream_answer};

/// The tag of a call that has many questions; those of others are places in the ledger.
pub(super) const STREAM: u64 = u64::MAX;

/// How closely answers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// There is one, and its call ended well.
    Count,
    /// It is decoded, and has a decision for each image.
    Read,
}

/// What was said in answers that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Seen {
    /// Decisions by their action.
    pub(crate) actions: BTreeMap<String, u64>,
    /// What was known of images, by its kind.
    pub(crate) evidence: BTreeMap<String, u64>,
    /// From where it was known.
    pub(crate) sources: BTreeMap<String, u64>,
}

impl Seen {
    fn count_bulk(&mut self, actions: &[i32], statuses: &[i32]) {
        for action in actions.iter().filter_map(|action| v1::Action::try_from(*action).ok()) {
            one(&mut self.actions, action.as_str_name(), "ACTION_");
        }
        let statuses = statuses.iter().filter_map(|s| v1::EvidenceStatus::try_from(*s).ok());
        statuses.for_each(|s| one(&mut self.evidence, s.as_str_name(), "EVIDENCE_STATUS_"));
    }

    fn count(&mut self, answer: &v1::CheckResponse) {
        for decision in &answer.decisions {
            one(&mut self.actions, decision.action().as_str_name(), "ACTION_");
            for evidence in &decision.evidence {
                let status = evidence.status().as_str_name();
                one(&mut self.evidence, status, "EVIDENCE_STATUS_");
                one(&mut self.sources, evidence.source().as_str_name(), "EVIDENCE_SOURCE_");
            }
        }
    }
}

/// Counts one of a protobuf enum's names, by its words.
fn one(counts: &mut BTreeMap<String, u64>, name: &str, prefix: &str) {
    let name = name.strip_prefix(prefix).unwrap_or(name).to_lowercase();
    *counts.entry(name).or_default() += 1;
}

#[derive(Clone, Copy)]
struct Slot {
    due: u64,
    asked: u64,
    lane: Option<usize>,
    wrong: bool,
}

/// The questions under way.
pub(super) struct Ledger {
    call: Call,
    checks: u32,
    strictness: Strictness,
    slots: Vec<Slot>,
    free: Vec<usize>,
    recorder: Option<Recorder>,
    /// What was read.
    pub(super) seen: Seen,
    /// Questions of the stream that were answered, since it was set to 0.
    pub(super) stream_answers: usize,
    /// Whether the stream ended, since it was set to false.
    pub(super) stream_ended: bool,
}

impl Ledger {
    pub(super) fn new(call: Call, checks: u32, strictness: Strictness) -> Self {
        Self {
            call,
            checks,
            strictness,
            slots: Vec::new(),
            free: Vec::new(),
            recorder: None,
            seen: Seen::default(),
            stream_answers: 0,
            stream_ended: false,
        }
    }

    /// Begins to record.
    pub(super) fn record_with(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    pub(super) const fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// Ends recording.
    pub(super) const fn take_recorder(&mut self) -> Option<Recorder> {
        self.recorder.take()
    }

    /// How many questions are under way.
    pub(super) fn pending(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Writes down a question that was due at `due` and is asked at `asked` on `lane`, and gives its tag.
    pub(super) fn enter(&mut self, due: u64, asked: u64, lane: usize) -> u64 {
        let slot = Slot { due, asked, lane: Some(lane), wrong: false };
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(old) = self.slots.get_mut(place) {
                    *old = slot;
                }
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        tag(place)
    }

    /// The tag that the next [`Self::enter`] will give.
    pub(super) fn next_tag(&self) -> u64 {
        tag(self.free.last().copied().unwrap_or(self.slots.len()))
    }

    /// What is under way on a lane is lost.
    pub(super) fn lose(&mut self, lane: usize, now: u64) {
        self.end_all(Some(lane), now, Outcome::Lost);
    }

    /// What is under way has no answer, and none is waited for.
    pub(super) fn give_up(&mut self, now: u64) {
        self.end_all(None, now, Outcome::Unanswered);
    }

    fn end_all(&mut self, of: Option<usize>, now: u64, outcome: Outcome) {
        for place in 0..self.slots.len() {
            let lane = self.slots.get(place).and_then(|slot| slot.lane);
            if lane.is_some() && (of.is_none() || lane == of) {
                self.leave(tag(place), now, outcome);
            }
        }
    }

    /// A question ended. What is not under way is not looked at: an answer that comes twice.
    fn leave(&mut self, tag: u64, now: u64, outcome: Outcome) {
        let Some(place) = place(tag) else { return };
        let Some(slot) = self.slots.get_mut(place).filter(|slot| slot.lane.is_some()) else {
            return;
        };
        slot.lane = None;
        let (times, wrong) = ((slot.due, slot.asked), slot.wrong);
        self.free.push(place);
        if let Some(recorder) = &mut self.recorder {
            let wrong = wrong && matches!(outcome, Outcome::Answered(_));
            recorder.record_asked(times, now, if wrong { Outcome::Wrong } else { outcome });
        }
    }

    /// Whether an answer is one; it is counted.
    fn read(&mut self, answer: Option<&v1::CheckResponse>) -> bool {
        let Some(answer) = answer else { return false };
        self.seen.count(answer);
        u32::try_from(answer.decisions.len()) == Ok(self.checks)
    }

    fn read_bulk(&mut self, message: &[u8]) -> bool {
        let Some((actions, statuses)) = read_bulk_answer(message) else { return false };
        let whole = |list: &[i32]| u32::try_from(list.len()) == Ok(self.checks);
        let is_whole = whole(&actions) && whole(&statuses);
        self.seen.count_bulk(&actions, &statuses);
        is_whole
    }

    fn stream_message(&mut self, message: &[u8]) {
        let now = clock::now();
        let Some((id, status)) = read_stream_answer(message) else {
            // Whose it was is not known: the stream is of no more use.
            self.stream_ended = true;
            return;
        };
        self.stream_answers += 1;
        let mut outcome = match status {
            0 => Outcome::Answered(self.checks),
            status => Outcome::Refused(status),
        };
        if self.strictness == Strictness::Read && status == 0 {
            let answer = v1::CheckStreamResponse::decode(message).ok();
            let answer = answer.and_then(|answer| answer.result);
            let good = match &answer {
                Some(v1::check_stream_response::Result::Check(answer)) => self.read(Some(answer)),
                _ => false,
            };
            outcome = if good { outcome } else { Outcome::Wrong };
        }
        self.leave(id, now, outcome);
    }
}

impl Calls for Ledger {
    fn message(&mut self, tag: u64, message: &[u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.received(u64::try_from(message.len()).unwrap_or_default());
        }
        if tag == STREAM {
            return self.stream_message(message);
        }
        if self.strictness == Strictness::Read {
            let good = match self.call {
                Call::Check => self.read(v1::CheckResponse::decode(message).ok().as_ref()),
                Call::BulkCheck => self.read_bulk(message),
                Call::CheckStream | Call::Refresh | Call::Review | Call::Echo => true,
            };
            let slot = place(tag).and_then(|place| self.slots.get_mut(place));
            if let Some(slot) = slot.filter(|_| !good) {
                slot.wrong = true;
            }
        }
    }

    fn end(&mut self, tag: u64, end: End) {
        if tag == STREAM {
            self.stream_ended = true;
            return;
        }
        let outcome = match end {
            End::Answered => Outcome::Answered(self.checks),
            End::Refused(code) => Outcome::Refused(code),
            End::Reset(_) => Outcome::Reset,
        };
        self.leave(tag, clock::now(), outcome);
    }
}

/// Tags begin at 1, as the ids of a stream do: 0 is not sent in protobuf.
fn tag(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(STREAM - 1) + 1
}

fn place(tag: u64) -> Option<usize> {
    usize::try_from(tag.checked_sub(1)?).ok()
}
