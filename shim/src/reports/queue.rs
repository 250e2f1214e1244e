//! Reports in, the same in their order out, within a bound in bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use portcullis_proto::v1;
use prost::Message as _;

/// The most reports of one call, the most containers in them and the most bytes: what the service takes, less what
/// stands around them.
const MAX_REPORTS: usize = 256;
const MAX_CONTAINERS: usize = 4_096;
const MAX_CALL: usize = 960 * 1024;
/// What a report takes besides its bytes.
const OVERHEAD: usize = 96;

/// What waits to be sent. Places count from the first report that ever waited here.
pub(super) struct Queue {
    run: [u8; 16],
    max_bytes: usize,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Of these, the bytes of answers of the near cache.
    near_bytes: usize,
    /// How many answers there were in this run.
    made: u64,
    /// How many of them, or of those of runs before, had no room.
    dropped: u64,
    /// How many of this run, as the service is told.
    own_dropped: u64,
    /// The place of the first that waits.
    first: u64,
}

/// A report that waits.
pub(super) struct Waiting {
    bytes: Bytes,
    containers: usize,
    is_near: bool,
}

/// Reports of one call.
pub(super) struct Batch {
    pub(super) request: v1::ReportAnsweredRequest,
    /// The place behind the last.
    pub(super) until: u64,
    /// Whether it is as much as goes into one call.
    pub(super) is_full: bool,
}

/// What the disk is to hold.
pub(super) struct Standing {
    /// The place of the first that waits.
    pub(super) first: u64,
    /// Those that wait, from the place that was asked for on.
    pub(super) new: Vec<Bytes>,
}

impl Waiting {
    fn weight(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Queue {
    pub(super) const fn new(run: [u8; 16], max_bytes: usize) -> Self {
        Self {
            run,
            max_bytes,
            waiting: VecDeque::new(),
            bytes: 0,
            near_bytes: 0,
            made: 0,
            dropped: 0,
            own_dropped: 0,
            first: 0,
        }
    }

    /// Takes a report of this run, if there is room for it.
    pub(super) fn push(&mut self, mut report: v1::Answered) -> bool {
        self.made += 1;
        report.run = self.run.to_vec();
        report.number = self.made;
        let is_taken = self.add(&report, report.encode_to_vec().into());
        self.own_dropped += u64::from(!is_taken);
        is_taken
    }

    /// Takes a report of a run before, as it was written. What is none is dropped.
    pub(super) fn restore(&mut self, bytes: Bytes) {
        match v1::Answered::decode(bytes.clone()) {
            Ok(report) => drop(self.add(&report, bytes)),
            Err(_) => self.dropped += 1,
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
            self.dropped += 1;
            return false;
        }
        self.bytes += weight;
        self.near_bytes += if is_near { weight } else { 0 };
        self.waiting.push_back(waiting);
        true
    }

    /// What goes into the next call, if there is something to say: reports, or that more were dropped than
    /// `dropped`. At most `most` reports.
    pub(super) fn batch(&self, dropped: u64, most: usize) -> Option<Batch> {
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
            answered.extend(v1::Answered::decode(waiting.bytes.clone()));
        }
        if until == self.first && self.own_dropped <= dropped {
            return None;
        }
        let (run, dropped) = (self.run.to_vec(), self.own_dropped);
        let request = v1::ReportAnsweredRequest { run, dropped, answered };
        Some(Batch { request, until, is_full })
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
    pub(super) fn give_up(&mut self, until: u64) -> u64 {
        let given_up = self.pop(until);
        self.dropped += given_up;
        given_up
    }

    /// What waits from the place `from` on.
    pub(super) fn standing(&self, from: u64) -> Standing {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let new = self.waiting.iter().skip(skip).map(|waiting| waiting.bytes.clone());
        Standing { first: self.first, new: new.collect() }
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
mod tests {
    use super::*;

    fn report(by: v1::AnsweredBy, containers: usize) -> v1::Answered {
        let container = v1::AnsweredContainer { image: "app".to_owned(), ..Default::default() };
        v1::Answered {
            answered_by: by.into(),
            containers: vec![container; containers],
            ..v1::Answered::default()
        }
    }

    fn queue(max_bytes: usize) -> Queue {
        Queue::new([7; 16], max_bytes)
    }

    /// Numbers and how many were dropped, of the next call.
    fn next(queue: &Queue) -> (Vec<u64>, u64) {
        let batch = queue.batch(0, MAX_REPORTS).unwrap();
        let numbers = batch.request.answered.iter().map(|report| report.number);
        (numbers.collect(), batch.request.dropped)
    }

    #[test]
    fn what_has_no_room_is_dropped_and_the_gap_shows() {
        let mut one = queue(usize::MAX);
        one.push(report(v1::AnsweredBy::FailPolicy, 1));
        let mut queue = queue(2 * one.bytes());
        let pushed = [1, 2, 3].map(|_| queue.push(report(v1::AnsweredBy::FailPolicy, 1)));
        assert_eq!(pushed, [true, true, false]);
        assert_eq!(next(&queue), (vec![1, 2], 1));
        assert_eq!(queue.pop(1), 1);
        assert!(queue.push(report(v1::AnsweredBy::FailPolicy, 1)));
        assert_eq!(next(&queue), (vec![2, 4], 1));
        assert_eq!((queue.made(), queue.dropped(), queue.len()), (4, 1, 2));
        queue.pop(9);
        assert_eq!((queue.bytes(), queue.near_bytes, queue.len()), (0, 0, 0));
        assert!(queue.batch(1, MAX_REPORTS).is_none() && queue.batch(0, MAX_REPORTS).is_some());
    }

    #[test]
    fn the_near_cache_leaves_half_of_the_room_to_others() {
        let mut one = queue(usize::MAX);
        one.push(report(v1::AnsweredBy::NearCache, 1));
        let mut queue = queue(4 * one.bytes());
        let pushed = [1, 2, 3].map(|_| queue.push(report(v1::AnsweredBy::NearCache, 1)));
        assert_eq!(pushed, [true, true, false]);
        let pushed = [1, 2, 3].map(|_| queue.push(report(v1::AnsweredBy::LastKnown, 1)));
        assert_eq!(pushed, [true, true, false]);
    }

    #[test]
    fn a_call_has_no_more_than_the_service_takes_and_at_least_one() {
        let mut many = queue(usize::MAX);
        for _ in 0..=MAX_REPORTS {
            many.push(report(v1::AnsweredBy::FailPolicy, 1));
        }
        let batch = many.batch(0, MAX_REPORTS).unwrap();
        assert_eq!((batch.request.answered.len(), batch.is_full), (MAX_REPORTS, true));
        many.pop(1);
        assert!(!many.batch(0, MAX_REPORTS).unwrap().is_full);
        assert_eq!(many.batch(0, 1).unwrap().request.answered.len(), 1);
        let mut wide = queue(usize::MAX);
        for _ in 0..17 {
            wide.push(report(v1::AnsweredBy::FailPolicy, 256));
        }
        assert_eq!(next(&wide).0.len(), MAX_CONTAINERS / 256);
        let mut long = queue(usize::MAX);
        for _ in 0..2 {
            let cause = "x".repeat(MAX_CALL);
            long.push(v1::Answered { cause, ..report(v1::AnsweredBy::FailPolicy, 1) });
        }
        assert_eq!(next(&long).0, [1]);
    }

    #[test]
    fn what_was_written_before_comes_first_under_its_own_run() {
        let mut queue = queue(usize::MAX);
        let before = v1::Answered { run: vec![1; 16], number: 9, ..v1::Answered::default() };
        queue.restore(before.encode_to_vec().into());
        queue.restore(Bytes::from_static(b"\xff"));
        queue.push(report(v1::AnsweredBy::FailPolicy, 1));
        let batch = queue.batch(0, MAX_REPORTS).unwrap();
        let of = |at: usize| (batch.request.answered[at].run[0], batch.request.answered[at].number);
        assert_eq!((of(0), of(1)), ((1, 9), (7, 1)));
        // What no report was is not of this run.
        assert_eq!((queue.dropped(), batch.request.dropped), (1, 0));
    }
}
