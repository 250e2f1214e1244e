//! A connection in, the same with its answers found on its own task out.
//!
//! hyper gives each request to an executor. A task of its own for each costs more than most answers do: it
//! is made, queued, and wakes the connection again. Here the requests that were read together are looked at
//! one after the other, by the connection itself, once it has nothing more to read; the answers that are
//! known then go out in one write. What has to wait becomes a task.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;

use super::connection::Graceful;

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the requests of one connection wait for it. There are never more of them than the connection may
/// have streams.
#[derive(Clone, Default)]
pub(super) struct Inline(Arc<Mutex<Vec<Answer>>>);

impl Inline {
    /// Has `answer` found by the connection.
    pub(super) fn add(&self, answer: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().push(Box::pin(answer));
    }
}

/// A connection whose requests wait in an [`Inline`].
pub(super) struct Answering<C> {
    connection: Pin<Box<C>>,
    waiting: Inline,
    /// Empty; its room is used again.
    taken: Vec<Answer>,
}

impl<C> Answering<C> {
    pub(super) fn new(connection: C, waiting: Inline) -> Self {
        Self { connection: Box::pin(connection), waiting, taken: Vec::new() }
    }

    /// Looks once at the requests that wait. `false` if there are none.
    fn look(&mut self, cx: &mut Context<'_>) -> bool {
        std::mem::swap(&mut *self.waiting.0.lock(), &mut self.taken);
        let any = !self.taken.is_empty();
        for mut answer in self.taken.drain(..) {
            // One that panics ends alone: its stream is reset, as if it were a task.
            let looked = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
            if let Ok(Poll::Pending) = looked {
                // It is looked at again there, and wakes that task from then on.
                tokio::spawn(answer);
            }
        }
        any
    }
}

impl<C: Future> Future for Answering<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        loop {
            let polled = this.connection.as_mut().poll(cx);
            // After the answers, the connection is asked once more, to write them.
            if !this.look(cx) || polled.is_ready() {
                return polled;
            }
        }
    }
}

impl<C: Graceful> Graceful for Answering<C> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.get_mut().connection.as_mut().graceful_shutdown();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A connection that has requests each time it is asked, and ends when it has none.
    fn connection(
        inline: &Inline,
        mut requests: Vec<Vec<Answer>>,
    ) -> Answering<impl Future<Output = ()> + use<>> {
        let executor = inline.clone();
        let connection = poll_fn(move |_| match requests.pop() {
            None => Poll::Ready(()),
            Some(answers) => {
                answers.into_iter().for_each(|answer| executor.add(answer));
                Poll::Pending
            }
        });
        Answering::new(connection, inline.clone())
    }

    #[tokio::test]
    async fn what_is_known_is_answered_by_the_connection_and_what_is_not_by_a_task() {
        let done = Arc::new(AtomicUsize::new(0));
        let known = || -> Answer {
            let done = Arc::clone(&done);
            Box::pin(async move {
                done.fetch_add(1, Ordering::Relaxed);
            })
        };
        let (told, asked) = tokio::sync::oneshot::channel();
        let waits: Answer = Box::pin(async move {
            tokio::task::yield_now().await;
            let _ = told.send(());
        });
        let inline = Inline::default();
        connection(&inline, vec![vec![known()], vec![known(), waits, known()]]).await;
        // No other task has had a turn yet.
        assert_eq!(done.load(Ordering::Relaxed), 3);
        asked.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_panics_ends_alone() {
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        let panics: Answer = Box::pin(async { panic!("of a test") });
        let good: Answer = Box::pin(async move {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let never: Answer = Box::pin(pending());
        let inline = Inline::default();
        connection(&inline, vec![vec![panics, good, never]]).await;
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
}
