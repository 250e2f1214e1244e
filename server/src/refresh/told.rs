//! An event of a registry in, what it is about brought up to date, or forgotten, out.
//!
//! A report that was pushed does not say of which image it is, and its signature is attached to it and
//! not to the image: its manifest is asked for, and that of what it is attached to, and no more
//! ([`MAX_HOPS`]). Nothing of what an event claims is believed.

use std::sync::Arc;

use portcullis_core::image::{Digest, Reference};
use portcullis_core::referrers::{self, Document};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Outcome, Reason, Refresher, Remember};
use crate::caught::{lasting, survive};
use crate::chain::detail;
use crate::hooks::news::{Kind, Subject};
use crate::hooks::queue::{Event, Queue};
use crate::registry::RegistryError;

/// The most manifests that are asked for to find out of what image an event is.
pub const MAX_HOPS: usize = 2;
/// What cosign puts behind the fallback tag.
const SUFFIXES: [&str; 3] = ["att", "sig", "sbom"];

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acted {
    /// All that there was to do.
    Done,
    /// The registry did not say what it had to be asked for.
    Failed,
}

impl<M: Remember> Refresher<M> {
    /// Acts upon the events of `queue` until `stop`. Each is a task of `tasks`; one whose registry is away
    /// is tried again after a rest.
    pub async fn follow(
        self: Arc<Self>,
        queue: Queue,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) {
        let (metrics, until) = (Arc::clone(&self.metrics), stop.clone());
        let begin = || Arc::clone(&self).take_up(&queue, &stop, &tasks);
        lasting("registry_events", metrics, until, begin).await;
    }

    async fn take_up(
        self: Arc<Self>,
        queue: &Queue,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        loop {
            let turn = tokio::select! {
                () = stop.cancelled() => return,
                turn = queue.next() => turn,
            };
            self.metrics.registry_events_waiting(queue.len());
            let (this, stop, queue) = (Arc::clone(&self), stop.clone(), queue.clone());
            tasks.spawn(async move {
                // One that panics may have met with what is there for a moment only.
                let told = survive("registry_events", &this.metrics, this.told(&turn.event));
                let acted = tokio::select! {
                    () = stop.cancelled() => return,
                    acted = told => acted.unwrap_or(Acted::Failed),
                };
                let image = turn.event.image.clone();
                if acted == Acted::Failed && !turn.rest() {
                    let image = image.as_str();
                    tracing::warn!(image, "an event is given up: its registry does not say more");
                    this.metrics.refresh(Reason::Event.as_str(), "given_up");
                }
                this.metrics.registry_events_waiting(queue.len());
            });
        }
    }

    /// Acts upon one event.
    pub(super) async fn told(&self, event: &Event) -> Acted {
        let deadline = Instant::now() + self.config.timeout;
        let image = &event.image;
        let attached = image.tag().and_then(attached_to);
        let named = image.tag().filter(|_| attached.is_none()).and_then(|tag| self.tag(image, tag));
        let about = match (event.subject, attached, image.digest()) {
            (Subject::Told(from), ..)
            | (_, Some(from), _)
            | (Subject::Unsaid, None, Some(from)) => {
                self.seek(image, from, deadline).await.map(Some)
            }
            // What the tag named stands for what the event names without its digest.
            (Subject::Nothing | Subject::Unsaid, None, digest) => Ok(digest.or(named)),
        };
        match about {
            Ok(Some(digest)) => self.renew(image, digest, deadline).await,
            Ok(None) => Acted::Done,
            Err(error) => {
                let (image, error) = (image.as_str(), detail(&error));
                tracing::debug!(image, error, "of what image an event is cannot be found out");
                // What is deleted is not there the next time either.
                let is_gone = event.kind == Kind::Deleted;
                self.metrics.refresh("event", if is_gone { "unknown" } else { "failed" });
                if is_gone { Acted::Done } else { Acted::Failed }
            }
        }
    }

    /// The next question asks what the tag names. Gives what it was.
    fn tag(&self, image: &Reference, tag: &str) -> Option<Digest> {
        let tagged: Reference = format!("{}:{tag}", image.name()).parse().ok()?;
        self.resolver.expire(&tagged, &self.access.of(&tagged))
    }

    /// The first of `from` and what it is attached to of which something is remembered; without, the
    /// last one.
    async fn seek(
        &self,
        image: &Reference,
        from: Digest,
        deadline: Instant,
    ) -> Result<Digest, RegistryError> {
        let mut at = from;
        for _ in 0..MAX_HOPS {
            if self.memory.remembered(&self.question(image, at)).is_some() {
                return Ok(at);
            }
            let fetched = self.registry.manifest(image, at, deadline).await?;
            match referrers::parse(&fetched.bytes, &fetched.media_type) {
                Ok(Document::Manifest(manifest)) => match manifest.subject {
                    Some(subject) => at = subject.digest,
                    None => return Ok(at),
                },
                // An index is attached to nothing; what cannot be read is looked at when it is asked about.
                Ok(Document::Index(_)) | Err(_) => return Ok(at),
            }
        }
        Ok(at)
    }

    /// Looks again at what was asked about lately, and forgets what was not.
    async fn renew(&self, image: &Reference, digest: Digest, deadline: Instant) -> Acted {
        let question = self.question(image, digest);
        let asked_since = self.asked_since();
        match self.memory.remembered(&question) {
            Some((_, asked_at)) if asked_at >= asked_since => {
                let look = self.look(&question, Reason::Event, deadline).await;
                let (image, outcome) = (image.name(), look.outcome.as_str());
                tracing::debug!(image, %digest, outcome, "looked again after an event");
                if look.outcome == Outcome::Failed { Acted::Failed } else { Acted::Done }
            }
            _ => {
                self.memory.expire(&question);
                self.metrics.refresh("event", "forgotten");
                Acted::Done
            }
        }
    }
}

/// The manifest that a tag is about, as registries without the referrers API have it
/// (distribution-spec 1.1, "Referrers Tag Schema"), or as cosign has it.
fn attached_to(tag: &str) -> Option<Digest> {
    let rest = tag.strip_prefix("sha256-")?;
    let hex = match rest.split_once('.') {
        Some((hex, suffix)) if SUFFIXES.contains(&suffix) => hex,
        Some(_) => return None,
        None => rest,
    };
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_may_say_what_it_is_attached_to() {
        let digest = Digest::of(b"x");
        let tag = digest.fallback_tag();
        assert_eq!(attached_to(&tag), Some(digest));
        for suffix in SUFFIXES {
            assert_eq!(attached_to(&format!("{tag}.{suffix}")), Some(digest));
        }
        for other in ["v1", "sha256-", "sha256-abc", &format!("{tag}.x"), &format!("{tag}0")] {
            assert_eq!(attached_to(other), None, "{other}");
        }
    }
}
