//! A deadline in, a turn at work of which little may go on at a time out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::MAX_CERTIFIED_AT_ONCE;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_turns_as_there_are() {
        let turns = Turns::new(MAX_CERTIFIED_AT_ONCE);
        let soon = || Instant::now() + Duration::from_secs(1);
        let mut taken = Vec::new();
        for _ in 0..MAX_CERTIFIED_AT_ONCE {
            taken.extend(turns.take(soon()).await.ok());
        }
        assert_eq!(taken.len(), MAX_CERTIFIED_AT_ONCE);
        let refused = turns.take(soon()).await.err();
        assert!(matches!(refused, Some(Fault::Unavailable(RegistryError::Deadline))));
        taken.pop();
        assert!(turns.take(soon()).await.is_ok());
    }
}
