//! A checker in, the same out that survives a panic: its question has no answer, and all others have.
//!
//! Production code does not panic where anybody could see how. This is for what nobody saw.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::check::bulk::{Bulk, BulkAnswer, BulkQuestion};
use crate::check::{Answer, Check, CheckError, Question};
use crate::metrics::Metrics;

mod lasting;

pub(crate) use self::lasting::{Faults, lasting, said};

/// What `work` gives; none where it panics, which is counted as `what` and said.
pub(crate) async fn survive<T>(
    what: &'static str,
    metrics: &Metrics,
    work: impl Future<Output = T>,
) -> Option<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.map_err(|panic| lost(what, metrics, &*panic)).ok()
}

/// The same for work that waits for nothing.
pub(crate) fn survive_now<T>(
    what: &'static str,
    metrics: &Metrics,
    work: impl FnOnce() -> T,
) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.map_err(|panic| lost(what, metrics, &*panic)).ok()
}

/// What ran where blocking is allowed. A panic there goes on here; none where the runtime ends before it ran.
pub(crate) fn joined<T>(joined: Result<T, JoinError>) -> Option<T> {
    let error = match joined {
        Ok(done) => return Some(done),
        Err(error) => error,
    };
    if let Ok(panic) = error.try_into_panic() {
        resume_unwind(panic);
    }
    None
}

fn lost(what: &'static str, metrics: &Metrics, panic: &(dyn Any + Send)) {
    metrics.panicked(what);
    tracing::error!(what, panic = said(panic), "one piece of work was lost in a panic");
}

/// Turns a panic of the checker inside into [`CheckError::Lost`].
pub struct Caught<C> {
    inner: C,
    metrics: Arc<Metrics>,
}

impl<C> Caught<C> {
    /// Catches the panics of `inner`. What it shares must bear one: locks that are not poisoned, and
    /// counts that are taken back when they are dropped.
    #[must_use]
    pub const fn new(inner: C, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn lost(&self) -> CheckError {
        self.metrics.panicked("check");
        tracing::error!("a question was lost in a panic");
        CheckError::Lost
    }
}

impl<C: Check> Check for Caught<C> {
    fn check_now(&self, question: &Question) -> Option<Result<Answer, CheckError>> {
        catch_unwind(AssertUnwindSafe(|| self.inner.check_now(question)))
            .unwrap_or_else(|_panic| Some(Err(self.lost())))
    }

    async fn check(&self, question: Question, deadline: Instant) -> Result<Answer, CheckError> {
        let answer = AssertUnwindSafe(self.inner.check(question, deadline)).catch_unwind();
        answer.await.unwrap_or_else(|_panic| Err(self.lost()))
    }
}

impl<C: Bulk> Bulk for Caught<C> {
    async fn bulk(&self, question: BulkQuestion) -> Result<BulkAnswer, CheckError> {
        let answer = AssertUnwindSafe(self.inner.bulk(question)).catch_unwind();
        answer.await.unwrap_or_else(|_panic| Err(self.lost()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::decide::Context;
    use portcullis_core::policy::Policy;
    use time::OffsetDateTime;

    use super::*;
    use crate::limit::{LimitConfig, Limited};

    /// Panics where it is asked for no container: at once for the cluster `now`, else after a while.
    struct Faulty;

    fn answer() -> Answer {
        Answer {
            context: Arc::default(),
            decided: Vec::new(),
            policy: Arc::new(Policy::default_policy()),
            evaluated_at: OffsetDateTime::UNIX_EPOCH,
            max_age: Duration::ZERO,
            depends: &[],
            purpose: Default::default(),
        }
    }

    impl Check for Faulty {
        fn check_now(&self, question: &Question) -> Option<Result<Answer, CheckError>> {
            assert_ne!(&*question.context.cluster, "now", "a fault that was put here");
            None
        }

        async fn check(&self, question: Question, _: Instant) -> Result<Answer, CheckError> {
            tokio::task::yield_now().await;
            assert_ne!(&*question.context.cluster, "later", "a fault that was put here");
            Ok(answer())
        }
    }

    impl Bulk for Faulty {
        async fn bulk(&self, question: BulkQuestion) -> Result<BulkAnswer, CheckError> {
            tokio::task::yield_now().await;
            assert_ne!(&*question.context.cluster, "later", "a fault that was put here");
            Err(CheckError::DeadlineExceeded)
        }
    }

    fn context(cluster: &str) -> Arc<Context> {
        Arc::new(Context { cluster: cluster.into(), ..Context::default() })
    }

    fn question(cluster: &str) -> Question {
        Question {
            context: context(cluster),
            nodes: Default::default(),
            containers: Vec::new(),
            caller: Default::default(),
            purpose: Default::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn t141_a_panic_costs_its_own_question_and_no_other() {
        let metrics = Arc::new(Metrics::new());
        // One place, which a question that is lost gives back.
        let limited = Limited::new(Faulty, 1, LimitConfig::default(), Arc::clone(&metrics));
        let caught = Caught::new(limited, Arc::clone(&metrics));
        let soon = Instant::now() + Duration::from_secs(5);
        for _ in 0..3 {
            let now = caught.check_now(&question("now"));
            assert_eq!(now.unwrap().unwrap_err(), CheckError::Lost);
            assert!(caught.check_now(&question("good")).is_none());
            let later = caught.check(question("later"), soon).await;
            assert_eq!(later.unwrap_err(), CheckError::Lost);
            assert!(caught.check(question("good"), soon).await.is_ok());
        }
        let many = |cluster: &str| BulkQuestion {
            context: context(cluster),
            nodes: Default::default(),
            container: String::new(),
            images: Vec::new(),
            caller: Default::default(),
        };
        assert_eq!(caught.bulk(many("later")).await.unwrap_err(), CheckError::Lost);
        assert_eq!(caught.bulk(many("good")).await.unwrap_err(), CheckError::DeadlineExceeded);
        let text = metrics.encode().unwrap();
        assert!(text.contains("portcullis_panics_total{what=\"check\"} 7"), "{text}");
    }
}
