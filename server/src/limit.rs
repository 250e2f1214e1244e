//! A checker in, the same with a limit on the questions at a time out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::check::bulk::{Bulk, BulkAnswer, BulkQuestion};
use crate::check::{Answer, Check, CheckError, Question};
use crate::metrics::Metrics;

/// When a caller that was turned away should ask again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Answers at most so many questions at a time and turns the others away at once; a question whose
/// deadline has passed is not worked on.
pub struct Limited<C> {
    inner: C,
    limit: usize,
    permits: Semaphore,
    metrics: Arc<Metrics>,
}

impl<C: Check> Limited<C> {
    /// Lets at most `limit` questions through to `inner` at a time.
    #[must_use]
    pub fn new(inner: C, limit: usize, metrics: Arc<Metrics>) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { inner, limit, permits: Semaphore::new(limit), metrics }
    }
}

impl<C: Check> Check for Limited<C> {
    /// What is known is told without a place: it takes none from those who wait.
    fn check_now(&self, question: &Question) -> Option<Result<Answer, CheckError>> {
        self.inner.check_now(question)
    }

    async fn check(&self, question: Question, deadline: Instant) -> Result<Answer, CheckError> {
        let Ok(_permit) = self.permits.try_acquire() else {
            self.metrics.no_answer("overloaded");
            return Err(CheckError::Overloaded { limit: self.limit, retry_after: RETRY_AFTER });
        };
        if deadline <= Instant::now() {
            self.metrics.no_answer("deadline_exceeded");
            return Err(CheckError::DeadlineExceeded);
        }
        let _counted = InFlight::new(&self.metrics);
        self.inner.check(question, deadline).await
    }
}

/// Nothing is waited for in it, and it lets others have their turn: it takes no place.
impl<C: Bulk> Bulk for Limited<C> {
    fn bulk(&self, question: BulkQuestion) -> impl Future<Output = BulkAnswer> + Send {
        self.inner.bulk(question)
    }
}

/// Counts a question for as long as it is being answered, also when its caller goes away.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.in_flight(1);
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight(-1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use portcullis_core::policy::Policy;
    use time::OffsetDateTime;

    use super::*;

    /// Answers when it is let.
    struct Slow {
        asked: AtomicUsize,
        gate: Arc<Semaphore>,
    }

    impl Check for Slow {
        async fn check(&self, _: Question, _: Instant) -> Result<Answer, CheckError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _passed = self.gate.acquire().await;
            Ok(Answer {
                context: Arc::default(),
                decided: Vec::new(),
                policy: Arc::new(Policy::default_policy()),
                evaluated_at: OffsetDateTime::UNIX_EPOCH,
                max_age: Duration::ZERO,
                depends: &[],
            })
        }
    }

    fn limited(limit: usize) -> (Limited<Slow>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let slow = Slow { asked: AtomicUsize::new(0), gate: Arc::clone(&gate) };
        (Limited::new(slow, limit, Arc::default()), gate)
    }

    fn question() -> Question {
        Question { context: Arc::default(), nodes: Default::default(), containers: Vec::new() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn one_past_the_limit_is_turned_away_at_once() {
        let (limited, gate) = limited(2);
        let mut first = Box::pin(limited.check(question(), soon()));
        let mut second = Box::pin(limited.check(question(), soon()));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        let third = limited.check(question(), soon()).await.unwrap_err();
        assert_eq!(third, CheckError::Overloaded { limit: 2, retry_after: RETRY_AFTER });
        assert_eq!(limited.inner.asked.load(Ordering::SeqCst), 2);

        // A caller that goes away makes room, and so does an answer.
        drop(first);
        let mut fourth = Box::pin(limited.check(question(), soon()));
        assert!(futures_util::poll!(&mut fourth).is_pending());
        gate.add_permits(1);
        assert!(second.await.is_ok());
        assert!(fourth.await.is_ok());
        assert!(limited.check(question(), soon()).await.is_ok());
    }

    #[tokio::test]
    async fn a_question_whose_time_is_up_is_not_worked_on() {
        let (limited, _gate) = limited(1);
        let late = limited.check(question(), Instant::now()).await;
        assert_eq!(late.unwrap_err(), CheckError::DeadlineExceeded);
        assert_eq!(limited.inner.asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_limit_that_no_semaphore_can_hold_is_cut() {
        let (limited, gate) = limited(usize::MAX);
        gate.add_permits(1);
        assert!(limited.check(question(), soon()).await.is_ok());
    }
}
