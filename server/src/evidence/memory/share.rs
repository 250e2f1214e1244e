//! Evidence in, the same out with the words that it shares with others.

use std::sync::Arc;

use portcullis_core::evidence::Evidence;

use super::Shared;
use crate::evidence::EvidenceSource;

impl<S: EvidenceSource> Shared<S> {
    /// The same, with the words that it has in common with others. What they have in common is found out where
    /// nobody waits for it.
    pub(super) fn share(self: &Arc<Self>, evidence: Arc<Evidence>) -> Arc<Evidence> {
        let (shared, lesson) = self.words.shared(evidence);
        self.kept.reserve(self.words.weight() as u64);
        if let Some(lesson) = lesson {
            let this = Arc::clone(self);
            let learnt = tokio::task::spawn_blocking(move || {
                this.words.learn(lesson);
                this.kept.reserve(this.words.weight() as u64);
            });
            self.tasks.spawn(async move {
                if let Err(error) = learnt.await {
                    tracing::error!(%error, "a dictionary of reports was lost");
                }
            });
        }
        shared
    }
}
