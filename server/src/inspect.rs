//! An image in, the whole chain from it to who vouches for what is said of it out, as its registry has
//! it now.
//!
//! It looks as a search does that finds nothing in memory, and changes nothing that is remembered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_core::evidence::{Evidence, Source, Subject};
use portcullis_core::image::{Digest, Nodes, Platform, Reference};
use portcullis_core::ports::Clock;
use portcullis_core::referrers::{self, Document};
use portcullis_core::signature::Trust;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::access::AccessScopes;
use crate::check::answer_by;
use crate::evidence::collect::{Attached, failed};
use crate::evidence::{Inspect, Question};
use crate::registry::{Fetched, Registry};
use crate::resolve;

/// The most inspections at a time. Each asks a registry for all that is attached to an image, which
/// memory does not spare it.
pub const MAX_INSPECTIONS: usize = 8;
/// When a caller that was turned away should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of an image, and why.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The image as asked, normalised.
    pub image: Reference,
    /// What the reference names and, for an index, each platform that is decided about.
    pub manifests: Vec<Inspected>,
    /// When it was looked at.
    pub evaluated_at: OffsetDateTime,
    /// The trust that was applied.
    pub trust: Digest,
}

/// One manifest or index, and what is attached to it.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// What is known of it.
    pub subject: Subject,
    /// Its media type and its length in bytes, where they are known.
    pub document: Option<(String, u64)>,
    /// What is attached: first what was looked at, in that order.
    pub attached: Vec<Attached>,
}

/// Why there is no inspection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// More at a time than [`MAX_INSPECTIONS`].
    #[error("{MAX_INSPECTIONS} inspections are under way, which is as many as there may be")]
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Gives the trust that is in force.
type InForce = dyn Fn() -> Arc<Trust> + Send + Sync;

/// Inspects images.
pub struct Inspector<S> {
    registry: Registry,
    source: S,
    trust: Box<InForce>,
    clock: Arc<dyn Clock>,
    access: AccessScopes,
    turns: Semaphore,
}

impl<S: Inspect> Inspector<S> {
    /// Resolves with `registry` and looks with `source`, under the trust that `trust` gives at each inspection.
    #[must_use]
    pub fn new(
        registry: Registry,
        source: S,
        trust: impl Fn() -> Arc<Trust> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
        access: AccessScopes,
    ) -> Self {
        let turns = Semaphore::new(MAX_INSPECTIONS);
        Self { registry, source, trust: Box::new(trust), clock, access, turns }
    }

    /// Looks at `image`, at what of an index `nodes` would take, and at all that is attached, as far as it can be had by `deadline`.
    ///
    /// # Errors
    /// When too many others do so.
    pub async fn inspect(
        &self,
        image: &Reference,
        nodes: &Nodes,
        deadline: Instant,
    ) -> Result<Inspection, InspectError> {
        let Ok(_turn) = self.turns.try_acquire() else {
            return Err(InspectError::Busy { retry_after: RETRY_AFTER });
        };
        let deadline = answer_by(deadline);
        let trust = (self.trust)();
        let manifests = match self.registry.resolve(image, deadline).await {
            Ok(fetched) => match resolve::read(&fetched) {
                Ok(resolved) => {
                    let access = self.access.of(image);
                    let (image, digest) = (image.clone(), resolved.digest);
                    let question = Question { image, digest, trust: Arc::clone(&trust), access };
                    self.all(&question, &fetched, &resolved.taken_by(nodes), deadline).await
                }
                Err(evidence) => {
                    let document = Some((fetched.media_type, length(fetched.bytes.len())));
                    vec![self.alone(Some(fetched.digest), document, evidence)]
                }
            },
            Err(error) => vec![self.alone(image.digest(), None, Arc::new(failed(&error)))],
        };
        Ok(Inspection {
            image: image.clone(),
            manifests,
            evaluated_at: self.clock.now(),
            trust: trust.revision(),
        })
    }

    async fn all(
        &self,
        question: &Question,
        fetched: &Fetched,
        platforms: &[(Platform, Digest)],
        deadline: Instant,
    ) -> Vec<Inspected> {
        let own =
            (None, question.digest, Some((fetched.media_type.clone(), fetched.bytes.len() as u64)));
        let listed = entries(fetched);
        let platforms = platforms.iter().map(|(platform, digest)| {
            let entry = listed.iter().find(|(listed, _)| listed == digest);
            (Some(platform.clone()), *digest, entry.map(|(_, document)| document.clone()))
        });
        let looks = std::iter::once(own).chain(platforms).map(|(platform, digest, document)| {
            let question = Question { digest, ..question.clone() };
            async move { self.one(&question, platform, document, deadline).await }
        });
        join_all(looks).await
    }

    async fn one(
        &self,
        question: &Question,
        platform: Option<Platform>,
        document: Option<(String, u64)>,
        deadline: Instant,
    ) -> Inspected {
        let (evidence, attached) = self.source.inspect(question, deadline).await;
        let subject = self.subject(Some(question.digest), platform, Arc::new(evidence));
        Inspected { subject, document, attached }
    }

    fn alone(
        &self,
        digest: Option<Digest>,
        document: Option<(String, u64)>,
        evidence: Arc<Evidence>,
    ) -> Inspected {
        let subject = self.subject(digest, None, evidence);
        Inspected { subject, document, attached: Vec::new() }
    }

    fn subject(
        &self,
        digest: Option<Digest>,
        platform: Option<Platform>,
        evidence: Arc<Evidence>,
    ) -> Subject {
        let fetched_at = self.clock.now();
        Subject { digest, platform, evidence, fetched_at, source: Source::Registry }
    }
}

/// What an index says of each of its entries: media type and length.
fn entries(index: &Fetched) -> Vec<(Digest, (String, u64))> {
    match referrers::parse(&index.bytes, &index.media_type) {
        Ok(Document::Index(index)) => {
            let entries = index.manifests.into_iter();
            entries.map(|entry| (entry.digest, (entry.media_type, entry.size))).collect()
        }
        // What cannot be read was refused before, and a manifest has no entries.
        Ok(Document::Manifest(_)) | Err(_) => Vec::new(),
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
