//! A question in, what a registry or a store says of it out.

use std::sync::Arc;

use portcullis_core::evidence::{Evidence, Source};
use tokio::time::Instant;

use super::{Collect, Fault};
use crate::evidence::store::{StoreKey, Stored};
use crate::evidence::{EvidenceSource, Known, Question};

impl Collect {
    async fn found(&self, question: &Question, deadline: Instant) -> Known {
        let searched = self.search(question, deadline, &mut Vec::new()).await;
        let evidence = searched.unwrap_or_else(Fault::evidence);
        let now = self.clock.now();
        Known {
            evidence: Arc::new(evidence),
            fetched_at: now,
            fresh_until: now,
            source: Source::Registry,
        }
    }
}

impl EvidenceSource for Collect {
    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        // What changes while it is looked at may not be seen: what is stored is as old as the first look.
        let begun = self.clock.now();
        let (registry, recording) = self.fetcher.registry.recording();
        let known = self.with_registry(registry).found(question, deadline).await;
        if is_settled(&known.evidence) {
            let key = StoreKey::evidence(&question.image, question.digest, &question.access);
            match recording.take() {
                Some(answers) => self.store.keep(key, begun, answers),
                // What was stored before is not true any more.
                None => self.store.forget(key),
            }
        }
        known
    }

    async fn stored(&self, question: &Question, deadline: Instant) -> Option<Known> {
        let key = StoreKey::evidence(&question.image, question.digest, &question.access);
        let Stored { at, is_doubted, answers } = self.store.find(&key).await?;
        let replayed = self.with_registry(self.fetcher.registry.replaying(answers));
        let known = replayed.found(question, deadline).await;
        let source = if is_doubted { Source::Stale } else { Source::Store };
        let known = Known { fetched_at: at, fresh_until: at, source, ..known };
        is_settled(&known.evidence).then_some(known)
    }

    fn doubt(&self, question: &Question) {
        let key = StoreKey::evidence(&question.image, question.digest, &question.access);
        self.store.doubt(key, self.clock.now());
    }
}

/// Whether the registry told all that there is to know.
const fn is_settled(evidence: &Evidence) -> bool {
    matches!(evidence, Evidence::Verified(_) | Evidence::Missing | Evidence::Rejected(_))
}
