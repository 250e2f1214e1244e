//! Events in, each to be acted upon once, in turns that no registry can keep for itself.
//!
//! An event that is like one that waits is the same work. One that is like work that was begun some
//! seconds ago may be a repetition or something new, so it is acted upon once more at the end of those
//! seconds: a storm of likes costs two refreshes, and nothing is lost.

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
    /// Whose turn it was last.
    last: String,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Event>,
    running: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Waiting,
    Begun { again: bool },
}

/// An event that is being acted upon, until it is dropped.
pub struct Turn {
    /// Which.
    pub event: Event,
    queue: Queue,
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

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.lock().waiting
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next event whose turn it is. One task alone may wait.
    pub async fn next(&self) -> Turn {
        loop {
            let (event, window) = {
                let mut state = self.0.state.lock();
                let now = Instant::now();
                state.end_windows(now);
                (state.take(now), state.begun.front().map(|(at, _)| *at + WINDOW))
            };
            if let Some(event) = event {
                return Turn { event, queue: self.clone() };
            }
            match window {
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
            if let Some(Seen::Begun { again }) = self.seen.get_mut(event) {
                *again = true;
            }
        }
        let accepted = new.len();
        new.into_iter().for_each(|event| self.wait(event));
        Ok(Offered { accepted, repeated: total - accepted })
    }

    fn wait(&mut self, event: Event) {
        self.waiting += 1;
        self.seen.insert(event.clone(), Seen::Waiting);
        let lane = self.lanes.entry(event.image.registry().to_owned()).or_default();
        lane.waiting.push_back(event);
    }

    /// The next event of the registry after that of the last one, if there is room.
    fn take(&mut self, now: Instant) -> Option<Event> {
        if self.running >= MAX_AT_ONCE {
            return None;
        }
        let is_ready = |lane: &Lane| !lane.waiting.is_empty() && lane.running < MAX_OF_ONE_REGISTRY;
        let after = (Bound::Excluded(self.last.clone()), Bound::Unbounded);
        let next = self.lanes.range(after).chain(&self.lanes).find(|(_, lane)| is_ready(lane));
        let name = next.map(|(name, _)| name.clone())?;
        let lane = self.lanes.get_mut(&name)?;
        let event = lane.waiting.pop_front()?;
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
        Some(event)
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
            if self.seen.remove(&event) == Some(Seen::Begun { again: true }) {
                self.wait(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(image: &str) -> Event {
        Event { kind: Kind::Pushed, image: image.parse().unwrap(), subject: Subject::Unsaid }
    }

    fn offer(queue: &Queue, images: &[&str]) -> (usize, usize) {
        let Offered { accepted, repeated } =
            queue.offer(&images.iter().map(|image| event(image)).collect::<Vec<_>>()).unwrap();
        (accepted, repeated)
    }

    /// The next turn, if there is one without waiting.
    async fn now(queue: &Queue) -> Option<Turn> {
        tokio::time::timeout(Duration::ZERO, queue.next()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn likes_that_wait_are_one_and_a_like_of_what_was_begun_comes_once_more() {
        let queue = Queue::default();
        assert_eq!(offer(&queue, &["a.io/x:1", "a.io/x:1", "a.io/y:1"]), (2, 1));
        assert_eq!(offer(&queue, &["a.io/x:1"]), (0, 1));
        drop(now(&queue).await.unwrap());
        drop(now(&queue).await.unwrap());
        assert!(now(&queue).await.is_none());
        for _ in 0..100 {
            assert_eq!(offer(&queue, &["a.io/x:1"]), (0, 1));
        }
        assert!(now(&queue).await.is_none());
        tokio::time::advance(WINDOW).await;
        let again = now(&queue).await.unwrap();
        assert_eq!(again.event, event("a.io/x:1"));
        drop(again);
        // Nothing was said of it since.
        tokio::time::advance(WINDOW).await;
        assert!(now(&queue).await.is_none());
        assert_eq!(offer(&queue, &["a.io/x:1"]), (1, 0));
        assert!(queue.0.state.lock().begun.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_at_the_end_of_the_window() {
        let queue = Queue::default();
        offer(&queue, &["a.io/x:1"]);
        drop(queue.next().await);
        offer(&queue, &["a.io/x:1"]);
        let begun = Instant::now();
        drop(queue.next().await);
        assert!(begun.elapsed() >= WINDOW - Duration::from_millis(2), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_past_the_bound_takes_none_of_its_request() {
        let queue = Queue::default();
        let events = |from: usize, to: usize| {
            (from..to).map(|n| event(&format!("a.io/x:{n}"))).collect::<Vec<_>>()
        };
        queue.offer(&events(0, MAX_WAITING - 1)).unwrap();
        assert_eq!(queue.offer(&events(MAX_WAITING - 1, MAX_WAITING + 1)), Err(Full));
        assert_eq!(queue.len(), MAX_WAITING - 1);
        queue.offer(&events(MAX_WAITING - 1, MAX_WAITING)).unwrap();
        assert_eq!(queue.offer(&events(MAX_WAITING, MAX_WAITING + 1)), Err(Full));
        // What is there already needs no room.
        assert_eq!(queue.offer(&events(0, MAX_EVENTS)).unwrap().repeated, MAX_EVENTS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_does_not_answer_leaves_turns_to_others() {
        let queue = Queue::default();
        let many: Vec<_> = (0..100).map(|n| event(&format!("slow.io/x:{n}"))).collect();
        queue.offer(&many).unwrap();
        let mut held = Vec::new();
        while let Some(turn) = now(&queue).await {
            held.push(turn);
        }
        assert_eq!(held.len(), MAX_OF_ONE_REGISTRY);
        offer(&queue, &["quick.io/y:1"]);
        assert_eq!(now(&queue).await.unwrap().event, event("quick.io/y:1"));
        held.pop();
        assert_eq!(now(&queue).await.unwrap().event.image.registry(), "slow.io");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_acted_upon_at_a_time_than_the_bound() {
        let queue = Queue::default();
        let events = (0..10).flat_map(|r| (0..10).map(move |n| event(&format!("r{r}.io/x:{n}"))));
        queue.offer(&events.collect::<Vec<_>>()).unwrap();
        let mut held = Vec::new();
        while let Some(turn) = now(&queue).await {
            held.push(turn);
        }
        assert_eq!(held.len(), MAX_AT_ONCE);
        drop(held);
        assert!(now(&queue).await.is_some());
    }
}
