//! Many callers with one question in, one run of the work and its result for all of them out.
//!
//! The work runs as a task of its own: a caller that gives up, the first one included, takes nothing
//! away from the others (CASES T090), and a result that comes too late for its callers is still
//! kept by the work itself.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// The work that is under way, by key.
pub struct Flights<K, V> {
    running: Arc<DashMap<K, watch::Receiver<Option<V>>>>,
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

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No work yet; it will run on `background`, whoever asks, as tasks of `tasks`.
    #[must_use]
    pub fn new(tasks: TaskTracker, background: Handle) -> Self {
        Self { running: Arc::new(DashMap::new()), tasks, background }
    }

    /// How many keys are being worked on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether nothing is being worked on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
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
        let mut result = match self.running.entry(key) {
            Entry::Occupied(entry) => entry.get().clone(),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                let landing =
                    Landing { running: Arc::clone(&self.running), key: entry.key().clone() };
                entry.insert(receiver.clone());
                let work = start();
                let work = async move {
                    // Dropped last, also when the work panics: the key is free again.
                    let _landing = landing;
                    let value = work.await;
                    sender.send_replace(Some(value));
                };
                self.tasks.spawn_on(work, &self.background);
                receiver
            }
        };
        let landed = tokio::time::timeout_at(deadline, result.wait_for(Option::is_some)).await;
        match landed {
            Ok(Ok(value)) => value.clone().ok_or(NoResult::Lost),
            Ok(Err(_closed)) => Err(NoResult::Lost),
            Err(_elapsed) => Err(NoResult::Deadline),
        }
    }
}

/// Frees the key when the work ends, however it ends.
struct Landing<K: Eq + Hash, V> {
    running: Arc<DashMap<K, watch::Receiver<Option<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.running.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_share_one_run() {
        let flights = Arc::new(Flights::new(TaskTracker::new(), Handle::current()));
        let runs = Arc::new(AtomicUsize::new(0));
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (flights, runs) = (Arc::clone(&flights), Arc::clone(&runs));
                tokio::spawn(async move {
                    flights
                        .join("key", soon(), || async move {
                            tokio::time::sleep(Duration::from_secs(1)).await;
                            runs.fetch_add(1, Ordering::SeqCst)
                        })
                        .await
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(0));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn followers_survive_a_cancelled_leader() {
        let flights = Arc::new(Flights::new(TaskTracker::new(), Handle::current()));
        let gate = Arc::new(Semaphore::new(0));
        let leader = {
            let (flights, gate) = (Arc::clone(&flights), Arc::clone(&gate));
            tokio::spawn(async move {
                let work = async move { gate.acquire().await.map(|_| 7).unwrap_or(0) };
                flights.join("key", soon(), || work).await
            })
        };
        tokio::task::yield_now().await;
        assert_eq!(flights.len(), 1);
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        let follower = flights.join("key", soon(), || async { 0 });
        gate.add_permits(1);
        assert_eq!(follower.await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_result_is_not_waited_for_and_not_lost() {
        let flights = Flights::new(TaskTracker::new(), Handle::current());
        let kept = Arc::new(AtomicUsize::new(0));
        let work = {
            let kept = Arc::clone(&kept);
            || async move {
                tokio::time::sleep(Duration::from_secs(10)).await;
                kept.store(1, Ordering::SeqCst);
            }
        };
        assert_eq!(flights.join("key", soon(), work).await, Err(NoResult::Deadline));
        flights.tasks.close();
        flights.tasks.wait().await;
        assert_eq!(kept.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_frees_the_key_and_tells_its_callers() {
        let flights = Flights::new(TaskTracker::new(), Handle::current());
        let lost = flights.join("key", soon(), || async { panic!("boom") }).await;
        assert_eq!(lost, Err::<(), _>(NoResult::Lost));
        assert_eq!(flights.join("key", soon(), || async {}).await, Ok(()));
    }
}
