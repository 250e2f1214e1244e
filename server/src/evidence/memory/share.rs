//! Evidence in, the same out with the words that it shares with others.

use std::sync::Arc;

use portcullis_core::evidence::Evidence;

use super::Shared;
use crate::caught::{joined, survive};
use crate::evidence::EvidenceSource;

impl<S: EvidenceSource> Shared<S> {
    /// The same, with the words that it has in common with others. What they have in common is found out where
    /// nobody waits for it.
    pub(super) fn share(self: &Arc<Self>, evidence: Arc<Evidence>) -> Arc<Evidence> {
        let (shared, lesson) = self.words.shared(evidence);
        self.kept.reserve(self.words.weight() as u64);
        if let Some(lesson) = lesson {
            let (this, metrics) = (Arc::clone(self), Arc::clone(&self.metrics));
            let learnt = tokio::task::spawn_blocking(move || {
                this.words.learn(lesson);
                this.kept.reserve(this.words.weight() as u64);
            });
            self.tasks.spawn(async move {
                survive("dictionary", &metrics, async { joined(learnt.await) }).await;
            });
        }
        shared
    }
}
