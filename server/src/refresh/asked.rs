//! An image in, what was known of it and what its registry says now out.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream;
use portcullis_core::evidence::Subject;
use portcullis_core::image::{Digest, Nodes, Platform, Reference};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Look, Outcome, Reason, Refresher, Remember};
use crate::caller::Caller;
use crate::check::answer_by;
use crate::evidence::Known;

/// The most images that are refreshed at a time because somebody asks for it. Each asks a registry,
/// which memory does not spare it.
pub const MAX_REFRESHES: usize = 16;
/// The most manifests of one image that are looked at at a time.
const MAX_AT_ONCE: usize = 8;
/// When a caller that was turned away should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An image that was looked at again.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The image as asked, normalised.
    pub image: Reference,
    /// What the reference names and, for an index, each platform that is decided about.
    pub manifests: Vec<RefreshedManifest>,
    /// When it was done.
    pub refreshed_at: OffsetDateTime,
}

/// One manifest or index.
#[derive(Debug, Clone)]
pub struct RefreshedManifest {
    /// What was known of it; none where nothing was.
    pub before: Option<Subject>,
    /// What is known of it now.
    pub after: Subject,
    /// What came of it.
    pub outcome: Outcome,
}

/// Why nothing was looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// More at a time than [`MAX_REFRESHES`].
    #[error("{MAX_REFRESHES} images are being refreshed, which is as many as there may be")]
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
}

impl<M: Remember> Refresher<M> {
    /// Asks the registry of `image` what it names and what is attached to it, whatever is remembered,
    /// and remembers that. Of an index, what `nodes` would take is looked at.
    ///
    /// # Errors
    /// When too many others do so.
    pub async fn asked(
        &self,
        image: &Reference,
        nodes: &Nodes,
        deadline: Instant,
    ) -> Result<Refreshed, RefreshError> {
        let Ok(_turn) = self.turns.try_acquire() else {
            return Err(RefreshError::Busy { retry_after: RETRY_AFTER });
        };
        let deadline = answer_by(deadline);
        let access = self.access.of(image);
        self.resolver.expire(image, &access);
        // What is attached is asked for beside the manifest, where it is known which that is.
        let own = async {
            let question = self.question(image, image.digest()?);
            Some((question.digest, self.look(&question, Reason::Request, deadline).await))
        };
        let resolve = self.resolver.resolve(image, &access, Caller::default(), deadline);
        let (resolved, own) = join(resolve, own).await;
        let manifests = match resolved.answer {
            Ok(named) => {
                let (looked_at, left) = match own {
                    Some((digest, look)) => (Some(manifest(None, digest, look)), None),
                    None => (None, Some((None, named.digest))),
                };
                let platforms = named.taken_by(nodes).into_iter().map(|(p, d)| (Some(p), d));
                let looks = left.into_iter().chain(platforms).map(|(platform, digest)| {
                    let question = self.question(image, digest);
                    async move {
                        let look = self.look(&question, Reason::Request, deadline).await;
                        manifest(platform.as_ref(), digest, look)
                    }
                });
                let looks: Vec<_> = looks.collect();
                let looks = stream::iter(looks).buffered(MAX_AT_ONCE);
                stream::iter(looked_at).chain(looks).collect().await
            }
            Err(evidence) => {
                // What was looked at beside it is counted, and what was known of it told.
                let before = match own {
                    Some((digest, look)) => manifest(None, digest, look).before,
                    None => {
                        self.metrics.refresh(Reason::Request.as_str(), Outcome::Failed.as_str());
                        None
                    }
                };
                let (digest, fetched_at) = (image.digest(), resolved.confirmed_at);
                let source = resolved.source;
                let after = Subject { digest, platform: None, evidence, fetched_at, source };
                vec![RefreshedManifest { before, after, outcome: Outcome::Failed }]
            }
        };
        Ok(Refreshed { image: image.clone(), manifests, refreshed_at: self.clock.now() })
    }
}

fn manifest(platform: Option<&Platform>, digest: Digest, look: Look) -> RefreshedManifest {
    let Look { before, after, outcome } = look;
    let subject = |known: Known| Subject {
        digest: Some(digest),
        platform: platform.cloned(),
        evidence: known.evidence,
        fetched_at: known.fetched_at,
        source: known.source,
    };
    RefreshedManifest { before: before.map(subject), after: subject(after), outcome }
}
