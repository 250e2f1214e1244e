//! A digest in, what is known of it out: an evidence source around an evidence source.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use portcullis_core::evidence::{Evidence, Source, Subject};
use portcullis_core::image::{Digest, Meant, Platform, Reference};
use portcullis_core::signature::Trust;
use time::OffsetDateTime;
use tokio::time::Instant;

use self::collect::Attached;
use crate::clock::Now;

pub mod flights;
pub mod memory;
pub mod bulkhead;
pub mod marks;
pub mod collect;
pub mod store;
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
            name: self.image.name().into(),
            registry: self.image.registry().len(),
            digest: self.digest,
            trust: self.trust.revision(),
        }
    }

    /// The same as something to look for.
    fn at(&self, now: Now) -> Glance<'_> {
        let Self { image, digest, trust, access } = self;
        Glance { image: image.into(), digest: *digest, trust, access, now, hash: None }
    }

    /// What hashes as its key does, without making one.
    fn asked(&self) -> Asked<'_> {
        Asked { name: self.image.name(), digest: &self.digest }
    }
}

/// A question that is only looked for in what is kept: it owns nothing, and has the time.
#[derive(Clone, Copy)]
pub struct Glance<'a> {
    /// The image.
    pub image: Meant<'a>,
    /// The manifest.
    pub digest: Digest,
    /// Who is trusted.
    pub trust: &'a Arc<Trust>,
    /// Whose credential the registry would be asked with.
    pub access: &'a Arc<str>,
    /// The time for which it is asked.
    pub now: Now,
    /// What the name of the image and the digest hash to, where that is known.
    pub hash: Option<u64>,
}

impl Glance<'_> {
    fn question(&self) -> Question {
        Question {
            image: self.image.to_reference(),
            digest: self.digest,
            trust: Arc::clone(self.trust),
            access: Arc::clone(self.access),
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked { name: self.image.name(), digest: &self.digest }
    }
}

/// What makes two questions the same. Facts are kept under it, and one tenant's private image is
/// never answered from another's credential.
///
/// Its hash is that of the registry, the repository and the digest alone, so that all that is kept of
/// an image is found together, whoever may see it and whoever is trusted; each part is compared.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Key {
    access: Arc<str>,
    /// `registry/repository`.
    name: Box<str>,
    /// Where the registry ends in it.
    registry: usize,
    digest: Digest,
    trust: Digest,
}

/// The parts of a key that are hashed: the name of an image, and the digest of its manifest.
#[derive(Hash)]
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    pub(crate) digest: &'a Digest,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Asked { name: &self.name, digest: &self.digest }.hash(state);
    }
}

impl Key {
    /// A key with the hash of all keys of an image.
    fn like(registry: &str, repository: &str, digest: Digest) -> Self {
        Self {
            access: Arc::from(""),
            name: format!("{registry}/{repository}").into(),
            registry: registry.len(),
            digest,
            trust: digest,
        }
    }

    /// Whether both are of one image.
    fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest && self.registry == other.registry && self.name == other.name
    }

    /// Whether it is the key of `question`.
    fn is(&self, question: &Question) -> bool {
        self.has((&question.image).into(), &question.digest, &question.trust, &question.access)
    }

    /// Whether it is the key of what is looked for.
    fn is_of(&self, glance: &Glance<'_>) -> bool {
        self.has(glance.image, &glance.digest, glance.trust, glance.access)
    }

    fn has(&self, image: Meant<'_>, digest: &Digest, trust: &Trust, access: &Arc<str>) -> bool {
        self.digest == *digest
            && self.trust == trust.revision()
            && *self.name == *image.name()
            && self.registry == image.registry().len()
            && (Arc::ptr_eq(&self.access, access) || self.access == *access)
    }

    /// The bytes behind it that are its own.
    fn weight(&self) -> usize {
        self.name.len()
    }
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
    fn glance(&self, _glance: &Glance<'_>) -> Option<Known> {
        None
    }

    /// Tells what is known by `deadline` at the latest. Never fails: not knowing is a value.
    fn evidence(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> impl Future<Output = Known> + Send;

    /// What was known before the service was started, verified again, as old as it is; `None` where
    /// nothing was kept.
    fn stored(
        &self,
        _question: &Question,
        _deadline: Instant,
    ) -> impl Future<Output = Option<Known>> + Send {
        std::future::ready(None)
    }

    /// What was kept of it was said to be old: [`Self::stored`] gives it as stale until a registry answers
    /// anew, also after the service was started again.
    fn doubt(&self, _question: &Question) {}
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
    fn glance(&self, glance: &Glance<'_>) -> Option<Known> {
        self.as_ref().glance(glance)
    }

    fn evidence(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> impl Future<Output = Known> + Send {
        self.as_ref().evidence(question, deadline)
    }

    fn stored(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> impl Future<Output = Option<Known>> + Send {
        self.as_ref().stored(question, deadline)
    }

    fn doubt(&self, question: &Question) {
        self.as_ref().doubt(question);
    }
}
