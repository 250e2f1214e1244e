//! A checker in, the same with a limit on the questions that wait out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::places::Places;
use crate::check::bulk::{Bulk, BulkAnswer, BulkQuestion};
use crate::check::{Answer, Check, CheckError, Question};
use crate::metrics::Metrics;

mod places;

/// When a caller that was turned away should ask again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How many questions wait at a time at the most, where nothing else is configured.
pub const MAX_IN_FLIGHT: usize = 16 * 1024;

/// Whose share of what waits has which bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitConfig {
    /// The most questions of one caller.
    pub in_flight_per_caller: usize,
    /// The most questions that are about images of one registry.
    pub in_flight_per_registry: usize,
    /// The most searches under way.
    pub searches: usize,
    /// The most of one registry.
    pub searches_per_registry: usize,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            in_flight_per_caller: 4 * 1024,
            in_flight_per_registry: 12 * 1024,
            searches: 512,
            searches_per_registry: 128,
        }
    }
}

/// Answers what can be answered at once without a limit, and lets so many questions wait, of all, of
/// one caller and about one registry. The others are turned away at once. A question whose deadline has
/// passed is not worked on.
pub struct Limited<C> {
    inner: C,
    places: Places,
    metrics: Arc<Metrics>,
}

impl<C: Check> Limited<C> {
    /// Lets at most `limit` questions wait for `inner`, with the shares of `config`.
    #[must_use]
    pub fn new(inner: C, limit: usize, config: LimitConfig, metrics: Arc<Metrics>) -> Self {
        Self { inner, places: Places::new(limit, config), metrics }
    }
}

impl<C: Check> Check for Limited<C> {
    /// What is known is told without a place: it takes none from those who wait.
    fn check_now(&self, question: &Question) -> Option<Result<Answer, CheckError>> {
        self.inner.check_now(question)
    }

    async fn check(&self, question: Question, deadline: Instant) -> Result<Answer, CheckError> {
        if deadline <= Instant::now() {
            self.metrics.no_answer("expired_in_queue");
            return Err(CheckError::DeadlineExceeded);
        }
        let place = self.places.take(&question).map_err(|(of, limit)| {
            self.metrics.no_answer(of.outcome());
            CheckError::Overloaded { of, limit, retry_after: RETRY_AFTER }
        })?;
        let _counted = InFlight::new(&self.metrics);
        let answer = self.inner.check(question, deadline).await;
        drop(place);
        answer
    }
}

/// Nothing is waited for in it, and it lets others have their turn: it takes no place.
impl<C: Bulk> Bulk for Limited<C> {
    fn bulk(
        &self,
        question: BulkQuestion,
    ) -> impl Future<Output = Result<BulkAnswer, CheckError>> + Send {
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
    use tokio::sync::Semaphore;

    use super::*;
    use crate::check::Shared;

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
                purpose: Default::default(),
            })
        }
    }

    fn limited(limit: usize) -> (Limited<Slow>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let slow = Slow { asked: AtomicUsize::new(0), gate: Arc::clone(&gate) };
        (Limited::new(slow, limit, LimitConfig::default(), Arc::default()), gate)
    }

    fn question() -> Question {
        Question {
            context: Arc::default(),
            nodes: Default::default(),
            containers: Vec::new(),
            caller: Default::default(),
            purpose: Default::default(),
        }
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
        assert_eq!(
            third,
            CheckError::Overloaded { of: Shared::Service, limit: 2, retry_after: RETRY_AFTER }
        );
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
    async fn t135_a_question_whose_time_is_up_is_not_worked_on_and_is_counted() {
        let (limited, _gate) = limited(1);
        let late = limited.check(question(), Instant::now()).await;
        assert_eq!(late.unwrap_err(), CheckError::DeadlineExceeded);
        assert_eq!(limited.inner.asked.load(Ordering::SeqCst), 0);
        let text = limited.metrics.encode().unwrap();
        let line = "portcullis_no_answers_total{what=\"check\",outcome=\"expired_in_queue\"} 1";
        assert!(text.contains(line), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn t138_a_slow_answer_leaves_no_place_taken() {
        const TIMES: usize = 10_000;
        let (limited, _gate) = limited(1);
        for _ in 0..TIMES {
            let deadline = Instant::now() + Duration::from_secs(1);
            let late = tokio::time::timeout_at(deadline, limited.check(question(), deadline)).await;
            assert!(late.is_err());
        }
        assert_eq!(limited.inner.asked.load(Ordering::SeqCst), TIMES);
    }
}
