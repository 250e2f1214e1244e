//! Work that is to go on for as long as the service in, the same begun again after a panic out.
//!
//! A task or a thread that panics ends, and nobody is told: the sweep that keeps evidence fresh would be gone until
//! a restart, and all would look well.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How long is waited before work that panicked is begun again; twice as long each time.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these waits, so that a fault which comes each time neither spins nor floods the log.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How long after a panic the next one counts as the first again.
const CALM: Duration = Duration::from_secs(600);

/// What became of one piece of work: how often it panicked of late.
pub(crate) struct Faults {
    what: &'static str,
    metrics: Arc<Metrics>,
    count: u32,
    last: Option<Instant>,
}

impl Faults {
    /// Of the work that metrics and logs call `what`.
    pub(crate) const fn new(what: &'static str, metrics: Arc<Metrics>) -> Self {
        Self { what, metrics, count: 0, last: None }
    }

    /// Counts a panic and says it; gives how long to wait before the work is begun again.
    pub(crate) fn caught(&mut self, panic: &(dyn Any + Send)) -> Duration {
        let now = Instant::now();
        let is_calm = |last| now.saturating_duration_since(last) >= CALM;
        if self.last.replace(now).is_none_or(is_calm) {
            self.count = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.count.min(16)).min(MAX_PAUSE);
        self.count = self.count.saturating_add(1);
        self.metrics.panicked(self.what);
        tracing::error!(
            what = self.what,
            panic = said(panic),
            pause_seconds = pause.as_secs(),
            "work of the service was lost in a panic; it begins again"
        );
        pause
    }
}

/// Runs what `begin` gives, until that ends or `stop` comes. Where it panics, it is counted as `what`, and begun again
/// after a pause that grows.
pub(crate) async fn lasting<F>(
    what: &'static str,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    mut begin: impl FnMut() -> F,
) where
    F: Future<Output = ()>,
{
    let mut faults = Faults::new(what, metrics);
    loop {
        let work = AssertUnwindSafe(async { begin().await });
        let Err(panic) = Box::pin(work.catch_unwind()).await else { return };
        let pause = faults.caught(&*panic);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// The words of a panic, where it has some.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn t141_work_that_panics_begins_again_after_a_pause_that_grows() {
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let begun = Arc::new(AtomicUsize::new(0));
        let work = {
            let begun = Arc::clone(&begun);
            move || {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                async move {
                    // The ninth goes well for long, and the eleventh to the end.
                    match number {
                        8 => sleep(CALM).await,
                        10 => return,
                        _ => {}
                    }
                    panic!("a fault that was put here: {number}");
                }
            }
        };
        let start = Instant::now();
        let lasting = lasting("sweep", Arc::clone(&metrics), stop.clone(), work);
        let run = tokio::spawn(lasting);
        // 1 + 2 + 4 + … + 32, then as long each time.
        for (count, after) in [(1, 0), (2, 1), (3, 3), (4, 7), (5, 15), (6, 31), (7, 63), (8, 123)]
        {
            tokio::time::sleep_until(start + Duration::from_secs(after)).await;
            tokio::task::yield_now().await;
            assert_eq!(begun.load(Ordering::SeqCst), count, "after {after} s");
        }
        run.await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 11);
        // What went well for long begins with the shortest pause again.
        assert_eq!(start.elapsed(), Duration::from_secs(123 + 60 + 600 + 1 + 2));
        let text = metrics.encode().unwrap();
        assert!(text.contains("portcullis_panics_total{what=\"sweep\"} 10"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_does_not_hold_up_the_end() {
        let stop = CancellationToken::new();
        let broken = || async { panic!("a fault that was put here") };
        let run = tokio::spawn(lasting("sweep", Arc::default(), stop.clone(), broken));
        sleep(Duration::from_secs(500)).await;
        let asked = Instant::now();
        stop.cancel();
        run.await.unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }

    #[test]
    fn the_words_of_a_panic_are_found() {
        let panic = |work: fn()| std::panic::catch_unwind(work).unwrap_err();
        assert_eq!(said(&*panic(|| panic!("a fault"))), "a fault");
        assert_eq!(said(&*panic(|| panic!("fault {}", std::hint::black_box(7)))), "fault 7");
        assert_eq!(said(&*panic(|| std::panic::panic_any(7))), "it says nothing");
    }
}
