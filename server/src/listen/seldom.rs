//! A future that is rarely ready in, the same out that costs next to nothing to ask.
//!
//! A connection is asked for each of its questions, and timers and signals beside it would be asked as often. They
//! say themselves when they are to be asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Asks the future inside only where it has called for it.
pub(super) struct Seldom<F> {
    future: F,
    call: Arc<Call>,
    waker: Waker,
}

struct Call {
    came: AtomicBool,
    task: Asker,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.came.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}

impl<F> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let call = Arc::new(Call { came: AtomicBool::new(true), task: Asker::default() });
        let waker = Waker::from(Arc::clone(&call));
        Self { future, call, waker }
    }
}

impl<F: Future + Unpin> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        // Whoever calls from here on wakes this task.
        this.call.task.is(cx.waker());
        if !this.call.came.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker));
        if polled.is_ready() {
            // One that is ready again and again, as an interval is, is asked for the next time.
            this.call.came.store(true, Ordering::SeqCst);
        }
        polled
    }
}

/// Who asked last, and is woken.
#[derive(Default)]
pub(super) struct Asker(Mutex<Option<Waker>>);

impl Asker {
    /// It is `waker`.
    pub(super) fn is(&self, waker: &Waker) {
        let mut known = self.0.lock();
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.0.lock() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_when_it_calls_and_at_no_other_time() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let mut timer = Box::pin(sleep(Duration::from_secs(5)));
        let mut seldom = Seldom::new(poll_fn(move |cx| {
            count.fetch_add(1, Ordering::Relaxed);
            timer.as_mut().poll(cx)
        }));
        for _ in 0..100 {
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut seldom).poll(cx))).await;
            assert!(polled.is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        // From another task, too.
        let begun = Instant::now();
        tokio::spawn(seldom).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 5);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
