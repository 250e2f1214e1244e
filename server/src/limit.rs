//! A checker in, the same with a limit on the questions at a time out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

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
