//! A registry in, the turn of a search of it out.
//!
//! Of those that wait, the newest is next: its callers have the most time left, and whoever has waited
//! longest is the least likely to be waited for. One whose time is up is not worked on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The most searches that wait for a turn. What waits is small, and this many of them still are.
pub(super) const MAX_WAITING: usize = 4 * 1024;

/// Why a search has no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// Its time was up first.
    Expired,
    /// It had waited longest when there was no room for another.
    Crowded,
}

impl NoTurn {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired_in_queue",
            Self::Crowded => "crowded_out",
        }
    }
}

/// The turns of all searches.
pub(super) struct Turns(Arc<Mutex<State>>);

struct State {
    limit: usize,
    per_registry: usize,
    running: usize,
    waiting: usize,
    /// Counts up, so that a larger number is newer.
    last: u64,
    lanes: HashMap<String, Lane>,
}

/// The searches of one registry.
#[derive(Default)]
struct Lane {
    running: usize,
    waiting: BTreeMap<u64, Waiter>,
}

struct Waiter {
    deadline: Instant,
    go: oneshot::Sender<Result<(), NoTurn>>,
}

impl Turns {
    /// At most `limit` at a time, and `per_registry` of one registry.
    pub(super) fn new(limit: usize, per_registry: usize) -> Self {
        let state =
            State { limit, per_registry, running: 0, waiting: 0, last: 0, lanes: HashMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A turn for a search of `registry`, as soon as there is one.
    ///
    /// # Errors
    /// When `deadline` passes first, or too many newer ones wait.
    pub(super) async fn take(&self, registry: &str, deadline: Instant) -> Result<Turn, NoTurn> {
        let turn = || Turn { state: Arc::clone(&self.0), registry: registry.to_owned() };
        let (number, told) = {
            let mut state = self.0.lock();
            if deadline <= Instant::now() {
                return Err(NoTurn::Expired);
            }
            if state.begin(registry) {
                return Ok(turn());
            }
            let (go, told) = oneshot::channel();
            (state.wait(registry, Waiter { deadline, go }), told)
        };
        // Whoever stops waiting leaves the queue, and gives back a turn that it did not live to see.
        let mut waiting = Waiting { turns: self, registry, number, told };
        match timeout_at(deadline, &mut waiting.told).await {
            Ok(Ok(Ok(()))) => Ok(turn()),
            Ok(Ok(Err(no_turn))) => Err(no_turn),
            Ok(Err(_)) | Err(_) => Err(NoTurn::Expired),
        }
    }

    #[cfg(test)]
    fn sizes(&self) -> (usize, usize, usize) {
        let state = self.0.lock();
        (state.running, state.waiting, state.lanes.len())
    }
}

impl State {
    /// Begins a search where there is room for it.
    fn begin(&mut self, registry: &str) -> bool {
        let running = self.lanes.get(registry).map_or(0, |lane| lane.running);
        let room = self.running < self.limit && running < self.per_registry;
        if room {
            self.running += 1;
            self.lanes.entry(registry.to_owned()).or_default().running += 1;
        }
        room
    }

    /// Queues one, and sends away the one that has waited longest if there is no room.
    fn wait(&mut self, registry: &str, waiter: Waiter) -> u64 {
        self.last += 1;
        let number = self.last;
        self.lanes.entry(registry.to_owned()).or_default().waiting.insert(number, waiter);
        self.waiting += 1;
        if self.waiting > MAX_WAITING {
            let oldest = self
                .lanes
                .iter()
                .filter_map(|(name, lane)| Some((*lane.waiting.keys().next()?, name)))
                .min()
                .map(|(number, name)| (number, name.clone()));
            if let Some((number, name)) = oldest
                && let Some(waiter) = self.leave(&name, number)
            {
                // It may have stopped waiting just now.
                let _gone = waiter.go.send(Err(NoTurn::Crowded));
            }
        }
        number
    }

    /// Takes one out of the queue.
    fn leave(&mut self, registry: &str, number: u64) -> Option<Waiter> {
        let lane = self.lanes.get_mut(registry)?;
        let waiter = lane.waiting.remove(&number)?;
        self.waiting -= 1;
        self.tidy(registry);
        Some(waiter)
    }

    /// Forgets a registry of which nothing runs and nothing waits.
    fn tidy(&mut self, registry: &str) {
        let idle = |lane: &Lane| lane.running == 0 && lane.waiting.is_empty();
        if self.lanes.get(registry).is_some_and(idle) {
            self.lanes.remove(registry);
        }
    }

    /// The newest that waits, of the registries that have room the one with the fewest searches.
    fn next(&mut self) -> Option<(String, Waiter)> {
        let (_, _, number, name) = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.running < self.per_registry)
            .filter_map(|(name, lane)| {
                let newest = *lane.waiting.keys().next_back()?;
                Some((lane.running, std::cmp::Reverse(newest), newest, name))
            })
            .min()?;
        let name = name.clone();
        let waiter = self.leave(&name, number)?;
        Some((name, waiter))
    }

    /// Gives free turns to those who wait.
    fn give(&mut self) {
        let now = Instant::now();
        while self.running < self.limit {
            let Some((registry, waiter)) = self.next() else { return };
            if waiter.deadline <= now {
                // It hears so from its own clock too.
                let _gone = waiter.go.send(Err(NoTurn::Expired));
            } else if waiter.go.send(Ok(())).is_ok() {
                self.running += 1;
                self.lanes.entry(registry).or_default().running += 1;
            }
        }
    }

    /// Takes one turn back.
    fn end(&mut self, registry: &str) {
        self.running = self.running.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(registry) {
            lane.running = lane.running.saturating_sub(1);
        }
        self.give();
        self.tidy(registry);
    }
}

/// One that waits.
struct Waiting<'a> {
    turns: &'a Turns,
    registry: &'a str,
    number: u64,
    told: oneshot::Receiver<Result<(), NoTurn>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.0.lock();
        let left = state.leave(self.registry, self.number).is_some();
        // What was told and not heard. What was heard is not told twice.
        if !left && matches!(self.told.try_recv(), Ok(Ok(()))) {
            state.end(self.registry);
        }
    }
}

/// One turn, until it is dropped.
pub(super) struct Turn {
    state: Arc<Mutex<State>>,
    registry: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.state.lock().end(&self.registry);
    }
}

#[cfg(test)]
mod tests;
