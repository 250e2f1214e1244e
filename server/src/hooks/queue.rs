//! Events in, each to be acted upon once, in turns that no registry can keep for itself.
//!
//! An event that is like one that waits is the same work. One that is like work that was begun some
//! seconds ago may be a repetition or something new, so it is acted upon once more at the end of those
//! seconds: a storm of likes costs two refreshes, and nothing is lost.
//!
//! One that could not be acted upon, because its registry was away, is tried again after each of [`RESTS`].
//! What is like it then rests with it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_core::image::Reference;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::news::{Kind, MAX_EVENTS, Subject};

/// The most events that wait. What one request may bring fits several times.
pub const MAX_WAITING: usize = 4 * MAX_EVENTS;
/// The most events that are acted upon at a time.
pub const MAX_AT_ONCE: usize = 32;
/// The most of one registry, so that one that does not answer leaves room for the others.
pub const MAX_OF_ONE_REGISTRY: usize = 8;
/// For how long after an event was taken up the like of it waits.
pub const WINDOW: Duration = Duration::from_secs(5);
/// How long an event rests after each time that it could not be acted upon: for some five minutes, as long as
/// what is remembered is believed without a look where nothing else is configured.
pub const RESTS: [Duration; 8] = {
    let seconds = Duration::from_secs;
    [seconds(5), seconds(10), seconds(20), seconds(40), MAX_REST, MAX_REST, MAX_REST, MAX_REST]
};
/// The longest of them: news of what rests wait no longer.
const MAX_REST: Duration = Duration::from_secs(60);
/// The most events that rest.
pub const MAX_RESTING: usize = MAX_WAITING;
/// The most events that are remembered after they were taken up.
const MAX_BEGUN: usize = 4 * MAX_WAITING;

/// Something that a registry told, about a repository that it may tell of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// Registry and repository, with the digest and the tag that were named.
    pub image: Reference,
    /// What the manifest is attached to.
    pub subject: Subject,
}

/// There is no room for so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What became of events that were offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offered {
    /// How many wait now.
    pub accepted: usize,
    /// How many are like others.
    pub repeated: usize,
}

/// Events that wait, and those that were taken up lately. Clones share it.
#[derive(Clone, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// By registry.
    lanes: BTreeMap<String, Lane>,
    waiting: usize,
    running: usize,
    seen: HashMap<Event, Seen>,
    /// Those that were taken up, oldest first.
    begun: VecDeque<(Instant, Event)>,
    /// Those that rest and until when, by how often they were tried without success before the last time.
    resting: [VecDeque<(Instant, Event)>; RESTS.len()],
    /// Whose turn it was last.
    last: String,
}

#[derive(Default)]
struct Lane {
    /// With how often each was tried without success.
    waiting: VecDeque<(Event, usize)>,
    running: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Waiting,
    Begun { again: bool },
    Resting { again: bool },
}

/// An event that is being acted upon, until it is dropped.
pub struct Turn {
    /// Which.
    pub event: Event,
    /// How often it was tried without success.
    tried: usize,
    queue: Queue,
}

impl Turn {
    /// Ends it without success: it is to be tried again after a rest. `false` where it was tried often enough,
    /// or there is no room for more that rest.
    #[must_use]
    pub fn rest(self) -> bool {
        let mut state = self.queue.0.state.lock();
        state.rest(self.event.clone(), self.tried, Instant::now())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.0.state.lock().end(self.event.image.registry());
        self.queue.0.changed.notify_one();
    }
}

impl Queue {
    /// Takes all of `events` or, where there is no room, none.
    ///
    /// # Errors
    /// When more than [`MAX_WAITING`] would wait.
    pub fn offer(&self, events: &[Event]) -> Result<Offered, Full> {
        let offered = self.0.state.lock().offer(events)?;
        if offered.accepted > 0 {
            self.0.changed.notify_one();
        }
        Ok(offered)
    }

    /// How many events wait, or rest until they are tried again.
    #[must_use]
    pub fn len(&self) -> usize {
        let state = self.0.state.lock();
        state.waiting + state.resting()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next event whose turn it is. One task alone may wait.
    pub async fn next(&self) -> Turn {
        loop {
            let (next, then) = {
                let mut state = self.0.state.lock();
                let now = Instant::now();
                state.end_windows(now);
                state.end_rests(now);
                (state.take(now), state.wakes_at())
            };
            if let Some((event, tried)) = next {
                return Turn { event, tried, queue: self.clone() };
            }
            match then {
                Some(end) => tokio::select! {
                    () = self.0.changed.notified() => {}
                    () = sleep_until(end) => {}
                },
                None => self.0.changed.notified().await,
            }
        }
    }
}

impl State {
    fn offer(&mut self, events: &[Event]) -> Result<Offered, Full> {
        let total = events.len();
        let mut unlike = HashSet::with_capacity(total);
        let new: Vec<_> = events
            .iter()
            .filter(|event| !self.seen.contains_key(event) && unlike.insert(*event))
            .cloned()
            .collect();
        if self.waiting + new.len() > MAX_WAITING {
            return Err(Full);
        }
        for event in events {
            if let Some(Seen::Begun { again } | Seen::Resting { again }) = self.seen.get_mut(event)
            {
                *again = true;
            }
        }
        let accepted = new.len();
        new.into_iter().for_each(|event| self.wait(event, 0));
        Ok(Offered { accepted, repeated: total - accepted })
    }

    fn wait(&mut self, event: Event, tried: usize) {
        self.waiting += 1;
        self.seen.insert(event.clone(), Seen::Waiting);
        let lane = self.lanes.entry(event.image.registry().to_owned()).or_default();
        lane.waiting.push_back((event, tried));
    }

    /// The next event of the registry after that of the last one, if there is room.
    fn take(&mut self, now: Instant) -> Option<(Event, usize)> {
        if self.running >= MAX_AT_ONCE {
            return None;
        }
        let is_ready = |lane: &Lane| !lane.waiting.is_empty() && lane.running < MAX_OF_ONE_REGISTRY;
        let after = (Bound::Excluded(self.last.clone()), Bound::Unbounded);
        let next = self.lanes.range(after).chain(&self.lanes).find(|(_, lane)| is_ready(lane));
        let name = next.map(|(name, _)| name.clone())?;
        let lane = self.lanes.get_mut(&name)?;
        let (event, tried) = lane.waiting.pop_front()?;
        lane.running += 1;
        self.last = name;
        self.waiting -= 1;
        self.running += 1;
        if self.begun.len() < MAX_BEGUN {
            self.seen.insert(event.clone(), Seen::Begun { again: false });
            self.begun.push_back((now, event.clone()));
        } else {
            self.seen.remove(&event);
        }
        Some((event, tried))
    }

    fn resting(&self) -> usize {
        self.resting.iter().map(VecDeque::len).sum()
    }

    /// Lets an event rest. One that is told of meanwhile will be tried anyway.
    fn rest(&mut self, event: Event, tried: usize, now: Instant) -> bool {
        if matches!(self.seen.get(&event), Some(Seen::Waiting | Seen::Begun { again: true })) {
            return true;
        }
        let has_room = self.resting() < MAX_RESTING;
        let (Some(rest), Some(resting)) = (RESTS.get(tried), self.resting.get_mut(tried)) else {
            return false;
        };
        if has_room {
            resting.push_back((now + *rest, event.clone()));
            self.seen.insert(event, Seen::Resting { again: false });
        }
        has_room
    }

    /// Lets those wait again that rested long enough. What is told of anew has all its tries.
    fn end_rests(&mut self, now: Instant) {
        for tried in 0..RESTS.len() {
            while let Some(resting) = self.resting.get_mut(tried)
                && let Some((_, event)) = resting.pop_front_if(|(until, _)| *until <= now)
            {
                let again = self.seen.get(&event) == Some(&Seen::Resting { again: true });
                self.wait(event, if again { 0 } else { tried + 1 });
            }
        }
    }

    /// When a window or a rest ends next.
    fn wakes_at(&self) -> Option<Instant> {
        let window = self.begun.front().map(|(at, _)| *at + WINDOW);
        let rests = self.resting.iter().filter_map(|resting| resting.front());
        rests.map(|(until, _)| *until).chain(window).min()
    }

    fn end(&mut self, registry: &str) {
        self.running -= 1;
        if let Some(lane) = self.lanes.get_mut(registry) {
            lane.running -= 1;
            if lane.running == 0 && lane.waiting.is_empty() {
                self.lanes.remove(registry);
            }
        }
    }

    /// Forgets what was taken up long enough ago; what was told of again since then waits again.
    fn end_windows(&mut self, now: Instant) {
        while self.begun.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            let Some((_, event)) = self.begun.pop_front() else { return };
            let Some(Seen::Begun { again }) = self.seen.get(&event).copied() else { continue };
            self.seen.remove(&event);
            if again {
                self.wait(event, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
