//! A deadline in, a turn at work of which little may go on at a time out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::super::Question;
use super::Fault;
use crate::registry::RegistryError;

/// A number of turns, for all searches together. Clones share them.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Waits for a turn, which ends when it is dropped.
    pub(super) async fn take(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Fault> {
        let turn = Arc::clone(&self.0).acquire_owned();
        match tokio::time::timeout_at(deadline, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_closed)) => Err(Fault::Lost),
            Err(_elapsed) => Err(Fault::Unavailable(RegistryError::Deadline)),
        }
    }

    /// Does `work` for `q` at its turn, where blocking is allowed: verifying and reading can take long
    /// for a large document. `span` is what it is traced as.
    pub(super) async fn do_blocking<T: Send + 'static>(
        &self,
        q: &Question,
        span: tracing::Span,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let turn = self.take(deadline).await?;
        let work = move || {
            let done = span.in_scope(work);
            // Here, because the work goes on where nobody waits for it any more.
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, image = %q.image, "verification was lost");
            Fault::Lost
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use portcullis_core::image::Digest;
    use portcullis_core::signature::Trust;

    use portcullis_testkit::clock::TestClock;
    use time::macros::datetime;
    use tokio_util::task::TaskTracker;

    use super::super::{Collect, MAX_CERTIFIED_AT_ONCE, MAX_VERIFIED_AT_ONCE};
    use super::*;
    use crate::registry::{Downloads, Registry, RegistryConfig};
    use crate::revocation::Revocation;

    fn collect() -> Collect {
        let config = RegistryConfig::default();
        let clock = Arc::new(TestClock::new(datetime!(2026-08-01 12:00 UTC)));
        let revocation = Revocation::new(
            Downloads::new(&config, &BTreeSet::new()).unwrap(),
            &Default::default(),
            clock.clone(),
            Arc::default(),
            TaskTracker::new(),
        );
        Collect::new(Registry::new(config).unwrap(), Default::default(), revocation, clock)
    }

    #[tokio::test(start_paused = true)]
    async fn one_document_past_those_that_are_verified_at_a_time_waits_for_its_turn() {
        let Collect { certified, verified, .. } = collect();
        for (turns, count) in [(certified, MAX_CERTIFIED_AT_ONCE), (verified, MAX_VERIFIED_AT_ONCE)]
        {
            let soon = || Instant::now() + Duration::from_secs(1);
            let mut taken = Vec::new();
            for _ in 0..count {
                taken.extend(turns.take(soon()).await.ok());
            }
            assert_eq!(taken.len(), count);
            let refused = turns.take(soon()).await.err();
            assert!(matches!(refused, Some(Fault::Unavailable(RegistryError::Deadline))));
            taken.pop();
            assert!(turns.take(soon()).await.is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_blocks_waits_for_its_turn_and_gives_it_back() {
        let question = Question {
            image: "reg.io/team/app:v1".parse().unwrap(),
            digest: Digest::of(b"image"),
            trust: Arc::new(Trust::nobody()),
            access: Arc::from("anonymous"),
        };
        let turns = Turns::new(1);
        let work = |done: &'static str| {
            let soon = Instant::now() + Duration::from_secs(1);
            turns.do_blocking(&question, tracing::Span::none(), soon, move || done)
        };
        let taken = turns.take(Instant::now() + Duration::from_secs(1)).await.ok();
        assert!(taken.is_some());
        let late = work("never").await;
        assert!(matches!(late, Err(Fault::Unavailable(RegistryError::Deadline))));
        drop(taken);
        assert_eq!(work("first").await.ok(), Some("first"));
        assert_eq!(work("second").await.ok(), Some("second"));
    }
}
