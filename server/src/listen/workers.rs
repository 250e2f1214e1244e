//! Connections in, threads that serve them out: each thread has a runtime of its own.
//!
//! On a runtime with several threads a connection and the answers to it are polled in turns, so that
//! each answer is a system call of its own; on one thread all that is ready is written at once.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The most threads that may be configured.
pub const MAX_WORKERS: usize = 1024;
/// Threads of one worker for what blocks: explanations.
const BLOCKING: usize = 4;
/// How long a thread that ends waits for what blocks.
const LINGER: Duration = Duration::from_secs(1);

/// Threads that serve. They end when this is dropped.
pub(crate) struct Workers {
    dealer: Dealer,
    threads: Vec<JoinHandle<()>>,
    end: DropGuard,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the system gives no thread or no handle for its runtime.
    pub(crate) fn start(count: NonZeroUsize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let (mut desks, mut threads) = (Vec::new(), Vec::new());
        // Ends those that were started if another cannot be.
        let guard = end.clone().drop_guard();
        for number in 0..count.get().min(MAX_WORKERS) {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING)
                .thread_name(format!("explain-{number}"))
                .build()?;
            desks.push(Desk { runtime: runtime.handle().clone(), open: AtomicUsize::new(0) });
            let end = end.clone();
            let thread = std::thread::Builder::new().name(format!("serve-{number}"));
            threads.push(thread.spawn(move || run(runtime, &end))?);
        }
        Ok(Self {
            dealer: Dealer { desks: desks.into(), turn: Arc::default() },
            threads,
            end: guard,
        })
    }

    /// Gives connections to the threads.
    pub(crate) fn dealer(&self) -> Dealer {
        self.dealer.clone()
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.dealer.desks.iter().map(|desk| desk.open.load(Ordering::Relaxed)).sum()
    }

    /// Ends the threads, with whatever they still serve. Blocks until they have ended; tells whether
    /// all did so well.
    pub(crate) fn end(self) -> bool {
        let Self { dealer: _, threads, end } = self;
        drop(end);
        let ended = threads.into_iter().map(JoinHandle::join);
        // All are joined, whatever one of them says.
        ended.fold(true, |well, one| well & one.is_ok())
    }
}

fn run(runtime: Runtime, end: &CancellationToken) {
    runtime.block_on(end.cancelled());
    runtime.shutdown_timeout(LINGER);
}

/// Where connections are given to the threads.
#[derive(Clone)]
pub(crate) struct Dealer {
    desks: Arc<[Desk]>,
    turn: Arc<AtomicUsize>,
}

struct Desk {
    runtime: Handle,
    open: AtomicUsize,
}

impl Dealer {
    /// Gives `connection` to the thread that has the fewest, where it is a task of `tasks`.
    pub(crate) fn deal(
        &self,
        tasks: &TaskTracker,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(place) = self.place() else { return };
        let runtime = place.desk().map(|desk| desk.runtime.clone());
        let Some(runtime) = runtime else { return };
        let served = async move {
            let _place = place;
            connection.await;
        };
        tasks.spawn_on(served, &runtime);
    }

    fn place(&self) -> Option<Place> {
        let count = self.desks.len();
        // Of those that have as few as another, each gets its turn.
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let open = |number: &usize| {
            self.desks.get(*number).map_or(usize::MAX, |desk| desk.open.load(Ordering::Relaxed))
        };
        let number = (0..count).map(|n| first.wrapping_add(n) % count).min_by_key(open)?;
        self.desks.get(number)?.open.fetch_add(1, Ordering::Relaxed);
        Some(Place { desks: Arc::clone(&self.desks), number })
    }

    #[cfg(test)]
    fn open(&self) -> Vec<usize> {
        self.desks.iter().map(|desk| desk.open.load(Ordering::Relaxed)).collect()
    }
}

/// One connection on a thread.
struct Place {
    desks: Arc<[Desk]>,
    number: usize,
}

impl Place {
    fn desk(&self) -> Option<&Desk> {
        self.desks.get(self.number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(desk) = self.desk() {
            desk.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::sync::oneshot;

    use super::*;

    fn workers(count: usize) -> Workers {
        Workers::start(NonZeroUsize::new(count).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn few_connections_are_spread_evenly() {
        let workers = workers(3);
        let (dealer, tasks) = (workers.dealer(), TaskTracker::new());
        let mut ends = Vec::new();
        for _ in 0..7 {
            let (end, ended) = oneshot::channel::<()>();
            dealer.deal(&tasks, async move { drop(ended.await) });
            ends.push(end);
        }
        let mut open = dealer.open();
        open.sort_unstable();
        assert_eq!(open, [2, 2, 3]);

        // Three end on one thread, which is next in turn until it has as many as the others.
        let full = dealer.open().iter().position(|&open| open == 3).unwrap();
        ends.clear();
        tasks.close();
        tasks.wait().await;
        assert_eq!(dealer.open(), [0, 0, 0]);
        tasks.reopen();
        dealer.desks[full].open.fetch_add(2, Ordering::Relaxed);
        for _ in 0..4 {
            dealer.deal(&tasks, std::future::pending());
        }
        assert_eq!(dealer.open(), [2, 2, 2]);
        assert!(tokio::task::spawn_blocking(|| workers.end()).await.unwrap());
    }

    #[tokio::test]
    async fn each_thread_has_its_name_and_what_it_serves_stays_on_it() {
        let workers = workers(2);
        let (dealer, tasks) = (workers.dealer(), TaskTracker::new());
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        let mut names = BTreeSet::new();
        for _ in 0..2 {
            let (tell, told) = oneshot::channel();
            dealer.deal(&tasks, async move {
                let here = tokio::spawn(async move { name() }).await.unwrap();
                assert_eq!(here, name());
                drop(tell.send(here));
                std::future::pending::<()>().await;
            });
            names.insert(told.await.unwrap());
        }
        assert_eq!(names, BTreeSet::from(["serve-0".to_owned(), "serve-1".to_owned()]));
    }

    #[tokio::test]
    async fn what_is_still_served_ends_with_the_threads() {
        let workers = workers(1);
        let (dealer, tasks) = (workers.dealer(), TaskTracker::new());
        let (held, dropped) = oneshot::channel::<()>();
        dealer.deal(&tasks, async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(workers);
        assert!(dropped.await.is_err());
        // Afterwards nothing is taken, and nothing is left open.
        dealer.deal(&tasks, std::future::pending());
        tasks.close();
        tasks.wait().await;
        assert_eq!(dealer.open(), [0]);
    }
}
