//! A digest in, what is known of it out: an evidence source around an evidence source.

use std::future::Future;
use std::sync::Arc;

use portcullis_core::evidence::{Evidence, Source, Subject};
use portcullis_core::image::{Digest, Platform, Reference};
use portcullis_core::signature::Trust;
use time::OffsetDateTime;
use tokio::time::Instant;

use self::collect::Attached;

pub mod flights;
pub mod memory;
pub mod bulkhead;
pub mod marks;
pub mod collect;
mod select;

/// What is asked: a manifest of an image, under the trust that is in force now.
#[derive(Clone)]
pub struct Question {
    /// The image; its registry and repository say where to look.
    pub image: Reference,
    /// The manifest.
    pub digest: Digest,
    /// Who is trusted to sign reports.
    pub trust: Arc<Trust>,
    /// Whose credential the registry is asked with.
    pub access: Arc<str>,
}

impl Question {
    /// Everything that changes the answer.
    fn key(&self) -> Key {
        Key {
            access: Arc::clone(&self.access),
            registry: self.image.registry().to_owned(),
            repository: self.image.repository().to_owned(),
            digest: self.digest,
            trust: self.trust.revision(),
        }
    }
}

/// What makes two questions the same. Facts are kept under it, and one tenant's private image is
/// never answered from another's credential.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    access: Arc<str>,
    registry: String,
    repository: String,
    digest: Digest,
    trust: Digest,
}

/// What is known, since when, and from where it was answered.
#[derive(Clone, Debug)]
pub struct Known {
    /// What is known.
    pub evidence: Arc<Evidence>,
    /// When the registry last confirmed it.
    pub fetched_at: OffsetDateTime,
    /// Until when it may be used without asking again. In the past for what is not kept.
    pub fresh_until: OffsetDateTime,
    /// Where it was answered from.
    pub source: Source,
}

impl Known {
    /// What is known, as being about `digest`, the manifest for `platform`.
    pub(crate) fn about(self, platform: Option<Platform>, digest: Digest) -> Subject {
        let Self { evidence, fetched_at, source, .. } = self;
        Subject { digest: Some(digest), platform, evidence, fetched_at, source }
    }
}

/// Something that knows about digests.
pub trait EvidenceSource: Send + Sync + 'static {
    /// Tells what is known if that needs no waiting: what is kept and fresh. None where it would have to
    /// be looked for.
    fn peek(&self, _question: &Question) -> Option<Known> {
        None
    }

    /// Tells what is known by `deadline` at the latest. Never fails: not knowing is a value.
    fn evidence(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> impl Future<Output = Known> + Send;
}

/// Something that tells what it knows and what it saw on the way.
pub trait Inspect: Send + Sync + 'static {
    /// Looks now, and changes nothing that is remembered: what is known of the manifest, and of all
    /// that is attached to it what became of it, first what was looked at.
    fn inspect(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> impl Future<Output = (Evidence, Vec<Attached>)> + Send;
}

impl<S: Inspect> Inspect for Arc<S> {
    fn inspect(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> impl Future<Output = (Evidence, Vec<Attached>)> + Send {
        self.as_ref().inspect(question, deadline)
    }
}

impl<S: EvidenceSource> EvidenceSource for Arc<S> {
    fn peek(&self, question: &Question) -> Option<Known> {
        self.as_ref().peek(question)
    }

    fn evidence(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> impl Future<Output = Known> + Send {
        self.as_ref().evidence(question, deadline)
    }
}
