//! Many callers with one question in, one run of the work and its result for all of them out.
//!
//! The work runs as a task of its own, on a runtime that is given: a caller that
//! gives up, the first one included, takes nothing away from the others (CASES T090), and a result that
//! comes too late for its callers is still kept by the work itself. Who asks anew gets what began after
//! he asked, and what began before never takes its place.

use std::future::Future;
use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) use self::board::Asked;
use self::board::{Board, Landing, Place};

mod board;

/// In how many parts the flights are, each with a lock of its own.
const PARTS: usize = 16;

type Sender<V> = watch::Sender<Option<V>>;
type Receiver<V> = watch::Receiver<Option<V>>;
type Part<K, V> = Mutex<Board<K, Sender<V>, Receiver<V>>>;

/// The work that is under way, by key. All keys with one hash are in one part.
pub struct Flights<K, V> {
    parts: Arc<[Part<K, V>]>,
    random: RandomState,
    tasks: TaskTracker,
    background: Handle,
}

/// Why a caller has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoResult {
    /// The caller's deadline passed; the work goes on.
    Deadline,
    /// The work ended without a result: it panicked or the service is shutting down.
    Lost,
}

/// A question that was asked.
pub(crate) enum Begun<V> {
    /// It is known.
    Kept(V),
    /// It is being found out.
    Flying(Flying<V>),
}

/// A result that may come.
pub(crate) struct Flying<V> {
    result: Receiver<V>,
    is_first: bool,
}

impl<V: Clone> Begun<V> {
    /// Whether nobody was finding it out before.
    pub(crate) const fn is_first(&self) -> bool {
        matches!(self, Self::Flying(Flying { is_first: true, .. }))
    }

    /// Waits for the result until `deadline`.
    pub(crate) async fn wait(self, deadline: Instant) -> Result<V, NoResult> {
        let mut result = match self {
            Self::Kept(value) => return Ok(value),
            Self::Flying(Flying { result, .. }) => result,
        };
        let landed = tokio::time::timeout_at(deadline, result.wait_for(Option::is_some)).await;
        match landed {
            Ok(Ok(value)) => value.clone().ok_or(NoResult::Lost),
            Ok(Err(_closed)) => Err(NoResult::Lost),
            Err(_elapsed) => Err(NoResult::Deadline),
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No work yet; it will run on `background`, whoever asks, as tasks of `tasks`.
    #[must_use]
    pub fn new(tasks: TaskTracker, background: Handle) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::new(Board::new())).collect();
        Self { parts, random: RandomState::default(), tasks, background }
    }

    /// How many keys are being worked on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().len()).sum()
    }

    /// Whether nothing is being worked on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Joins the work for `key`, or begins it with `start`, and waits for the result until
    /// `deadline`.
    ///
    /// # Errors
    /// When the deadline passes first, or the work was lost.
    pub async fn join<F>(
        &self,
        key: K,
        deadline: Instant,
        start: impl FnOnce() -> F,
    ) -> Result<V, NoResult>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let place = self.place(&key, Asked::Plainly, || None);
        let again = || None;
        self.take_off(key, place, start, again, |_| {}).wait(deadline).await
    }

    /// Joins the work for `key` as it is `asked` for, or begins it with `work`. `kept` looks whether the
    /// result is there by now; `keep` is called with a result that counts, or with none where the work
    /// was lost. Nobody joins or supersedes the work while either runs.
    pub(crate) fn begin<F>(
        &self,
        key: K,
        asked: Asked,
        kept: impl FnOnce() -> Option<V>,
        work: impl Fn() -> F + Send + 'static,
        keep: impl Fn(Option<&V>) + Send + 'static,
    ) -> Begun<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let place = self.place(&key, asked, kept);
        let Place::Lead(number, sender, waiters) = place else {
            return self.take_off(key, place, work, || None, keep);
        };
        let first = work();
        let place = Place::Lead(number, sender, waiters);
        self.take_off(key, place, || first, move || Some(work()), keep)
    }

    /// Supersedes the work whose keys `are` meant and hash as `like`; `forget` is called before anybody
    /// can join or land it.
    pub(crate) fn supersede(&self, like: &K, are: impl Fn(&K) -> bool, forget: impl FnOnce()) {
        if let Some(part) = self.part(like) {
            let mut board = part.lock();
            board.supersede(are);
            forget();
        }
    }

    fn index(&self, key: &K) -> usize {
        usize::try_from(self.random.hash_one(key) >> 32).unwrap_or(0) % PARTS
    }

    fn part(&self, key: &K) -> Option<&Part<K, V>> {
        self.parts.get(self.index(key))
    }

    fn place(
        &self,
        key: &K,
        asked: Asked,
        kept: impl FnOnce() -> Option<V>,
    ) -> Place<V, Sender<V>, Receiver<V>> {
        let open = || watch::channel(None);
        match self.part(key) {
            Some(part) => part.lock().join(key, asked, kept, open),
            None => Place::Follow(watch::channel(None).1),
        }
    }

    fn take_off<F>(
        &self,
        key: K,
        place: Place<V, Sender<V>, Receiver<V>>,
        start: impl FnOnce() -> F,
        again: impl Fn() -> Option<F> + Send + 'static,
        keep: impl Fn(Option<&V>) + Send + 'static,
    ) -> Begun<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (number, mut sender, waiters) = match place {
            Place::Kept(value) => return Begun::Kept(value),
            Place::Follow(result) => {
                return Begun::Flying(Flying { result, is_first: false });
            }
            Place::Lead(number, sender, waiters) => (number, sender, waiters),
        };
        let (parts, part) = (Arc::clone(&self.parts), self.index(&key));
        let mut flight = Flight { parts, part, key, number, keep };
        let first = start();
        let task = async move {
            let mut work = Some(first);
            while let Some(now) = work.take() {
                let value = now.await;
                let landing = flight.land(&value);
                sender.send_replace(Some(value));
                if let Landing::Again(number, next) = landing {
                    (flight.number, sender) = (number, next);
                    work = again();
                }
            }
        };
        self.tasks.spawn_on(task, &self.background);
        Begun::Flying(Flying { result: waiters, is_first: true })
    }
}

/// Frees the key when the work ends, however it ends.
struct Flight<K: Eq + Hash + Clone, V, F: Fn(Option<&V>)> {
    parts: Arc<[Part<K, V>]>,
    part: usize,
    key: K,
    number: u64,
    keep: F,
}

impl<K: Eq + Hash + Clone, V, F: Fn(Option<&V>)> Flight<K, V, F> {
    fn land(&self, value: &V) -> Landing<Sender<V>> {
        match self.parts.get(self.part) {
            Some(part) => part.lock().land(&self.key, self.number, || (self.keep)(Some(value))),
            None => Landing::Superseded,
        }
    }
}

impl<K: Eq + Hash + Clone, V, F: Fn(Option<&V>)> Drop for Flight<K, V, F> {
    fn drop(&mut self) {
        if let Some(part) = self.parts.get(self.part) {
            part.lock().lost(&self.key, self.number, || (self.keep)(None));
        }
    }
}

#[cfg(test)]
mod tests;
