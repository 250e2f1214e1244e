//! A memory in, the same as something that can be told to look again out.

use portcullis_core::evidence::Evidence;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::Memory;
use super::entry::Entry;
use crate::evidence::{EvidenceSource, Known, Question};
use crate::refresh::{Aging, Remember};

impl<S: EvidenceSource> Remember for Memory<S> {
    async fn refresh(&self, question: &Question, deadline: Instant) -> Known {
        Self::refresh(self, question, deadline).await
    }

    fn remembered(&self, question: &Question) -> Option<(Known, OffsetDateTime)> {
        let hash = self.0.kept.hash(&question.asked());
        let shown = |entry: &Entry| (entry.plan.known.clone(), used_at(entry));
        self.0.kept.get(hash, |key| key.is(question), shown)
    }

    fn aging(&self, asked_since: OffsetDateTime, due_by: OffsetDateTime) -> Vec<Aging> {
        let mut found = Vec::new();
        self.0.kept.each(|key, entry| {
            let is_verified = matches!(*entry.plan.known.evidence, Evidence::Verified(_));
            if is_verified && entry.plan.due <= due_by && used_at(entry) >= asked_since {
                found.push((key.clone(), entry.plan.due));
            }
        });
        // Made while nobody waits for a part of the memory.
        let aging = found.into_iter().filter_map(|(key, due)| {
            // It was a reference before.
            let image = format!("{}@{}", key.name, key.digest).parse().ok()?;
            Some(Aging { image, access: key.access, trust: key.trust, due })
        });
        aging.collect()
    }

    fn expire(&self, question: &Question) {
        let image = &question.image;
        self.invalidate(image.registry(), image.repository(), question.digest);
        self.0.inner.doubt(question);
    }
}

fn used_at(entry: &Entry) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(entry.used_at()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
