//! A caller in, a place to report out, in which is known what it has reported already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::on_disk;
use crate::answered::{HearError, Run};
use crate::caller::Caller;
use crate::shares::Shares;

/// How many calls are recorded at a time.
const MAX_CALLS: usize = 64;
/// How many of them are of one caller.
const MAX_CALLS_PER_CALLER: usize = 8;
/// How many runs are remembered of one caller that has a certificate, and of all that have none. When there are
/// more, the one that was heard least lately is forgotten.
pub(super) const MAX_RUNS: usize = 256;

/// Who reports, and what they have reported. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Runs(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: usize,
    by_caller: Shares<Caller>,
    /// Runs of which a call is being recorded: one at a time, or what is sent again would not be known yet.
    busy: HashSet<(Caller, Run)>,
    seen: HashMap<Caller, Seen>,
    clock: u64,
}

type Seen = HashMap<Run, OfRun>;

#[derive(Debug, Clone, Copy, Default)]
struct OfRun {
    /// The highest number that is in the record: whoever reports does it in order.
    last: u64,
    /// How many it said that it dropped.
    dropped: u64,
    /// When it was heard last, in calls.
    heard: u64,
}

impl Runs {
    /// A place for one call of `caller` in its `run`.
    pub(super) fn take(&self, caller: Caller, run: Run) -> Option<Place> {
        let mut state = self.0.lock();
        if state.calls >= MAX_CALLS || state.by_caller.of(&caller) >= MAX_CALLS_PER_CALLER {
            return None;
        }
        if !state.busy.insert((caller.identified(), run)) {
            return None;
        }
        state.calls += 1;
        state.by_caller.take(&caller);
        Some(Place { runs: self.clone(), caller, run, waiting: Vec::new() })
    }
}

impl State {
    /// What is remembered of a run. Nobody can change what is remembered of another that has a certificate.
    fn of(&mut self, caller: Caller, run: Run) -> &mut OfRun {
        self.clock += 1;
        let heard = self.clock;
        let seen = self.seen.entry(caller.identified()).or_default();
        if seen.len() >= MAX_RUNS && !seen.contains_key(&run) {
            let oldest = seen.iter().min_by_key(|(_, of)| of.heard).map(|(run, _)| *run);
            oldest.map(|run| seen.remove(&run));
        }
        let of = seen.entry(run).or_default();
        of.heard = heard;
        of
    }
}

/// The place of one call, until it is dropped.
pub(super) struct Place {
    runs: Runs,
    caller: Caller,
    run: Run,
    waiting: Vec<(Run, u64, Vec<oneshot::Receiver<()>>)>,
}

impl Place {
    /// How many more a run dropped than is known.
    pub(super) fn dropped(&self, run: Run, dropped: u64) -> u64 {
        let mut state = self.runs.0.lock();
        let of = state.of(self.caller, run);
        let more = dropped.saturating_sub(of.dropped);
        of.dropped = of.dropped.max(dropped);
        more
    }

    /// Whether a report is in the record already.
    pub(super) fn has(&self, run: Run, number: u64) -> bool {
        number <= self.runs.0.lock().of(self.caller, run).last
    }

    /// A report is on its way to the record.
    pub(super) fn wait(
        &mut self,
        run: Run,
        number: u64,
        awaited: Vec<Option<oneshot::Receiver<()>>>,
    ) {
        self.waiting.push((run, number, awaited.into_iter().flatten().collect()));
    }

    /// Waits until all are in the record, and remembers those that are.
    pub(super) async fn written(mut self) -> Result<(), HearError> {
        for (run, number, awaited) in std::mem::take(&mut self.waiting) {
            on_disk(awaited).await?;
            let mut state = self.runs.0.lock();
            let of = state.of(self.caller, run);
            of.last = of.last.max(number);
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.runs.0.lock();
        state.calls = state.calls.saturating_sub(1);
        state.by_caller.give_back(&self.caller);
        state.busy.remove(&(self.caller.identified(), self.run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Run = [9; 16];

    fn caller(number: u32) -> Caller {
        Caller::identity(number)
    }

    #[tokio::test]
    async fn t159_what_is_in_the_record_is_remembered_for_whoever_reported_it() {
        let runs = Runs::default();
        let mut place = runs.take(caller(1), OWN).unwrap();
        assert!(!place.has([1; 16], 3));
        place.wait([1; 16], 3, Vec::new());
        place.written().await.unwrap();
        let place = runs.take(caller(1), OWN).unwrap();
        assert!(place.has([1; 16], 3) && place.has([1; 16], 2));
        assert!(!place.has([1; 16], 4) && !place.has([2; 16], 3));
        // Another caller cannot say for it what is reported.
        assert!(!runs.take(caller(2), OWN).unwrap().has([1; 16], 3));
    }

    #[tokio::test]
    async fn what_is_not_in_the_record_is_not_remembered() {
        let runs = Runs::default();
        let mut place = runs.take(caller(1), OWN).unwrap();
        let (sender, receiver) = oneshot::channel();
        drop(sender);
        place.wait([1; 16], 1, vec![None]);
        place.wait([1; 16], 2, vec![Some(receiver)]);
        assert_eq!(place.written().await, Err(HearError::Unrecorded));
        let place = runs.take(caller(1), OWN).unwrap();
        assert!(place.has([1; 16], 1) && !place.has([1; 16], 2));
    }

    #[test]
    fn what_was_dropped_counts_once() {
        let runs = Runs::default();
        let place = runs.take(caller(1), OWN).unwrap();
        let told = [3, 3, 5, 4].map(|dropped| place.dropped([1; 16], dropped));
        assert_eq!(told, [3, 0, 2, 0]);
    }

    #[test]
    fn calls_and_runs_have_bounds_and_a_caller_leaves_others_places() {
        let runs = Runs::default();
        let run = |number: usize| u128::try_from(number).unwrap().to_be_bytes();
        let take = |number, of| runs.take(caller(number), run(of));
        let own: Vec<_> = (0..MAX_CALLS_PER_CALLER).map(|of| take(0, of).unwrap()).collect();
        assert!(take(0, MAX_CALLS_PER_CALLER).is_none());
        let others = (1..).take(MAX_CALLS - MAX_CALLS_PER_CALLER);
        let others: Vec<_> = others.map(|number| take(number, 0).unwrap()).collect();
        assert!(take(1_000, 0).is_none());
        drop((own, others));
        let place = take(0, 0).unwrap();
        assert!(take(0, 0).is_none(), "a run reports once at a time");
        for number in 0..=MAX_RUNS {
            place.dropped(run(number), 1);
        }
        // The first was forgotten, and only it.
        assert_eq!((place.dropped(run(1), 1), place.dropped(run(0), 1)), (0, 1));
        assert_eq!(runs.0.lock().seen[&caller(0)].len(), MAX_RUNS);
    }
}
