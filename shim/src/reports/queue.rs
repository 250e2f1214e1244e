//! Reports in, the same in their order out, within a bound in bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use portcullis_client::EncodedReports;
use portcullis_proto::v1;
use prost::Message as _;

use super::Run;

/// The most reports of one call, the most containers in them and the most bytes: what the service takes, less what
/// stands around them.
const MAX_REPORTS: usize = 256;
const MAX_CONTAINERS: usize = 4_096;
const MAX_CALL: usize = 960 * 1024;
/// What a report takes besides its bytes.
const OVERHEAD: usize = 96;
/// Of how many runs, this one included, is known how many reports were dropped. Those of the oldest are counted with
/// the next, where there are more.
pub(super) const MAX_RUNS: usize = 64;

/// What waits to be sent. Places count from the first report that ever waited here.
pub(super) struct Queue {
    run: Run,
    max_bytes: usize,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Of these, the bytes of answers of the near cache.
    near_bytes: usize,
    /// How many answers there were in this run.
    made: u64,
    /// How many of them, or of those of runs before, are dropped.
    dropped: u64,
    /// How many of this run, and how many of them the service knows of.
    own_dropped: u64,
    own_told: u64,
    /// Those of runs before of which it does not know.
    before: VecDeque<Lost>,
    /// The place of the first that waits.
    first: u64,
}

/// How many reports of a run are dropped and will never be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) run: Run,
    pub(super) count: u64,
}

/// A report that waits.
pub(super) struct Waiting {
    bytes: Bytes,
    containers: usize,
    is_near: bool,
}

/// Reports of one call.
pub(super) struct Batch {
    pub(super) request: EncodedReports,
    /// The place behind the last.
    pub(super) until: u64,
    /// What it tells of those that are dropped.
    pub(super) lost: Lost,
    /// Whether there is more to say than goes into one call.
    pub(super) is_full: bool,
}

/// What the disk is to hold.
pub(super) struct Standing {
    /// The place of the first that waits.
    pub(super) first: u64,
    /// Those that wait, from the place that was asked for on.
    pub(super) new: Vec<Bytes>,
    /// What is to be told of those that are dropped.
    pub(super) lost: Vec<Lost>,
}

impl Waiting {
    fn weight(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Queue {
    pub(super) const fn new(run: Run, max_bytes: usize) -> Self {
        Self {
            run,
            max_bytes,
            waiting: VecDeque::new(),
            bytes: 0,
            near_bytes: 0,
            made: 0,
            dropped: 0,
            own_dropped: 0,
            own_told: 0,
            before: VecDeque::new(),
            first: 0,
        }
    }

    /// Takes a report of this run, if there is room for it.
    pub(super) fn push(&mut self, mut report: v1::Answered) -> bool {
        self.made += 1;
        report.run = self.run.to_vec();
        report.number = self.made;
        self.add(&report, report.encode_to_vec().into())
    }

    /// Takes a report of a run before, as it was written. What is none is dropped.
    pub(super) fn restore(&mut self, bytes: Bytes) {
        match v1::Answered::decode(bytes.clone()) {
            Ok(report) => drop(self.add(&report, bytes)),
            Err(_) => self.dropped += 1,
        }
    }

    /// Takes what is to be told of runs before.
    pub(super) fn restore_lost(&mut self, lost: impl IntoIterator<Item = Lost>) {
        lost.into_iter().for_each(|lost| self.lose(lost));
    }

    /// Keeps in mind that reports of a run are dropped.
    fn lose(&mut self, Lost { run, count }: Lost) {
        if run == self.run {
            self.own_dropped += count;
        } else if let Some(known) = self.before.iter_mut().find(|known| known.run == run) {
            known.count = known.count.saturating_add(count);
        } else {
            self.before.push_back(Lost { run, count });
        }
        if self.before.len() >= MAX_RUNS
            && let Some(oldest) = self.before.pop_front()
            && let Some(next) = self.before.front_mut()
        {
            next.count = next.count.saturating_add(oldest.count);
        }
    }

    /// Drops a report.
    fn drop_one(&mut self, report: &v1::Answered) {
        self.dropped += 1;
        // The service takes none that has no run.
        if let Ok(run) = Run::try_from(report.run.as_slice()) {
            self.lose(Lost { run, count: 1 });
        }
    }

    fn add(&mut self, report: &v1::Answered, bytes: Bytes) -> bool {
        let is_near = report.answered_by() == v1::AnsweredBy::NearCache;
        let waiting = Waiting { bytes, containers: report.containers.len(), is_near };
        let weight = waiting.weight();
        let room = |taken: usize, limit: usize| taken.saturating_add(weight) <= limit;
        let has_room = room(self.bytes, self.max_bytes)
            && (!is_near || room(self.near_bytes, self.max_bytes / 2));
        if !has_room {
            self.drop_one(report);
            return false;
        }
        self.bytes += weight;
        self.near_bytes += if is_near { weight } else { 0 };
        self.waiting.push_back(waiting);
        true
    }

    /// What goes into the next call, if there is something to say: reports, or that some are dropped of which the
    /// service does not know. At most `most` reports.
    pub(super) fn batch(&self, most: usize) -> Option<Batch> {
        let (mut bytes, mut containers, mut answered) = (0, 0, Vec::new());
        let mut until = self.first;
        let mut is_full = false;
        for waiting in &self.waiting {
            bytes += waiting.bytes.len() + 8;
            containers += waiting.containers;
            is_full = answered.len() >= MAX_REPORTS.min(most)
                || (until > self.first && (bytes > MAX_CALL || containers > MAX_CONTAINERS));
            if is_full {
                break;
            }
            until += 1;
            // It was encoded here, or read when it was restored.
            answered.push(waiting.bytes.clone());
        }
        let own = Lost { run: self.run, count: self.own_dropped };
        let before = self.before.front().copied();
        let lost = if until > self.first || own.count > self.own_told { own } else { before? };
        let run = Bytes::copy_from_slice(&lost.run);
        let request = EncodedReports { run, dropped: lost.count, answered };
        Some(Batch { request, until, lost, is_full: is_full || before.is_some() })
    }

    /// The service has what was in this call; gives how many reports that are.
    pub(super) fn sent(&mut self, batch: &Batch) -> u64 {
        let Lost { run, count } = batch.lost;
        if run == self.run {
            self.own_told = self.own_told.max(count);
        }
        self.before.retain(|known| (known.run, known.count) != (run, count));
        self.pop(batch.until)
    }

    /// Those before the place `until` wait no longer; gives how many they are.
    pub(super) fn pop(&mut self, until: u64) -> u64 {
        let mut popped = 0;
        while self.first < until
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.bytes -= waiting.weight();
            self.near_bytes -= if waiting.is_near { waiting.weight() } else { 0 };
            self.first += 1;
            popped += 1;
        }
        popped
    }

    /// The same, because nobody takes them.
    pub(super) fn give_up(&mut self, batch: &Batch) {
        self.pop(batch.until);
        for report in &batch.request.answered {
            match v1::Answered::decode(report.clone()) {
                Ok(report) => self.drop_one(&report),
                Err(_) => self.dropped += 1,
            }
        }
    }

    /// What waits from the place `from` on.
    pub(super) fn standing(&self, from: u64) -> Standing {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let new = self.waiting.iter().skip(skip).map(|waiting| waiting.bytes.clone());
        let own = Lost { run: self.run, count: self.own_dropped };
        let own = (self.own_dropped > self.own_told).then_some(own);
        let lost = self.before.iter().copied().chain(own).collect();
        Standing { first: self.first, new: new.collect(), lost }
    }

    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
