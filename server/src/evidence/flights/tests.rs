//! One run for all who ask, whoever goes away.

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
async fn t090_followers_survive_a_cancelled_leader() {
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

/// Flights whose results are kept in `kept`, and how often they have begun.
#[cfg(test)]
struct Desk {
    flights: Flights<&'static str, usize>,
    kept: Arc<Mutex<Option<usize>>>,
    begun: Arc<AtomicUsize>,
}

impl Desk {
    fn new() -> Self {
        let flights = Flights::new(TaskTracker::new(), Handle::current());
        Self { flights, kept: Arc::default(), begun: Arc::default() }
    }

    /// Asks for work that takes a second and finds the number of its run.
    fn ask(&self, asked: Asked) -> Begun<usize> {
        let (begun, kept, keep) = (self.begun.clone(), self.kept.clone(), self.kept.clone());
        let work = move || {
            let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                number
            }
        };
        let keep = move |number: Option<&usize>| *keep.lock() = number.copied();
        self.flights.begin("key", asked, || *kept.lock(), work, keep)
    }

    fn forget(&self) {
        self.flights.supersede(&"key", |key| *key == "key", || *self.kept.lock() = None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_by_now_is_not_looked_for_again() {
    let desk = Desk::new();
    assert_eq!(desk.ask(Asked::Plainly).wait(soon()).await, Ok(1));
    assert_eq!(desk.ask(Asked::Plainly).wait(soon()).await, Ok(1));
    assert_eq!(desk.ask(Asked::Anew).wait(soon()).await, Ok(2));
    assert!(desk.flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_asks_anew_overtakes_what_is_under_way() {
    let desk = Desk::new();
    let old = desk.ask(Asked::Plainly);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let new = desk.ask(Asked::Anew);
    let follower = desk.ask(Asked::Plainly);
    assert_eq!(old.wait(soon()).await, Ok(1));
    assert_eq!(*desk.kept.lock(), None, "what began before is not kept");
    assert_eq!(new.wait(soon()).await, Ok(2));
    assert_eq!(follower.wait(soon()).await, Ok(2));
    assert_eq!(*desk.kept.lock(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_ask_anew_take_two_runs() {
    let desk = Desk::new();
    let first = desk.ask(Asked::Anew);
    let others: Vec<_> = (0..100).map(|_| desk.ask(Asked::Anew)).collect();
    assert_eq!(first.wait(soon()).await, Ok(1));
    assert_eq!(*desk.kept.lock(), Some(1), "a storm keeps no result from counting");
    for other in others {
        assert_eq!(other.wait(soon()).await, Ok(2));
    }
    assert_eq!(desk.begun.load(Ordering::SeqCst), 2);
    assert!(desk.flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_was_superseded_answers_and_leaves_nothing_behind() {
    let desk = Desk::new();
    let old = desk.ask(Asked::Plainly);
    tokio::time::sleep(Duration::from_millis(500)).await;
    desk.forget();
    assert_eq!(old.wait(soon()).await, Ok(1));
    assert_eq!(*desk.kept.lock(), None);
    assert!(desk.flights.is_empty());
    assert_eq!(desk.ask(Asked::Plainly).wait(soon()).await, Ok(2));
    // Who comes after it does not follow it.
    let old = desk.ask(Asked::Anew);
    desk.forget();
    let new = desk.ask(Asked::Plainly);
    assert_eq!((old.wait(soon()).await, new.wait(soon()).await), (Ok(3), Ok(4)));
    assert_eq!(*desk.kept.lock(), Some(4));
}

#[tokio::test(start_paused = true)]
async fn t092_a_slow_key_does_not_hold_up_a_fast_one() {
    let flights = Flights::new(TaskTracker::new(), Handle::current());
    let begun = Instant::now();
    // As many fast keys as there are parts and more, so that some are in the part of the slow one.
    let work = |seconds| move || tokio::time::sleep(Duration::from_secs(seconds));
    let slow = flights.begin(0, Asked::Plainly, || None, work(10), |_| {});
    for key in 1..100 {
        let fast = flights.begin(key, Asked::Plainly, || None, work(0), |_| {});
        assert_eq!(fast.wait(soon()).await, Ok(()));
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(slow.wait(Instant::now() + Duration::from_secs(20)).await, Ok(()));
}
