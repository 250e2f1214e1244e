//! A registry in, evidence out: what is attached is listed, fetched, verified and read.
//!
//! The chain has two hops: image ← report ← signature. Whatever fails on the way has a name:
//! nothing attached is `Missing`, something attached that cannot be believed is `Rejected`, and what
//! the registry would not or could not tell is `Unavailable`, never one of the others.

mod read;

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Reason, Rejection, Source};
use portcullis_core::findings::MAX_REPORT;
use portcullis_core::image::Digest;
use portcullis_core::ports::Clock;
use portcullis_core::referrers::{self, Descriptor, Document, Manifest, Profile};
use portcullis_core::signature::envelope::MAX_ENVELOPE;
use portcullis_core::signature::{self, Artifact, Request};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::read::{Found, read, take};
use super::select::Selection;
use super::{EvidenceSource, Known, Question};
use crate::chain::detail;
use crate::registry::{Fetched, Registry, RegistryError};

/// The most attached artifacts of one digest that are looked at, newest first by their annotation.
pub const MAX_CANDIDATES: usize = 128;
/// The most of these that are read: those that have a signature.
pub const MAX_REPORTS: usize = 32;
/// The most VEX documents of one digest that are read: those that have a signature.
pub const MAX_VEX: usize = 32;
/// The most signatures that are checked for one digest, over all its reports, and as many over all its
/// VEX documents (CASES T022).
pub const MAX_SIGNATURES: usize = 32;

/// The most bytes of large reports that are held at a time, over all searches.
pub const MAX_BLOBS: usize = 256 * 1024 * 1024;

/// Finds evidence in a registry.
pub struct Collect {
    registry: Registry,
    profile: Profile,
    clock: Arc<dyn Clock>,
    /// Room for blobs, in KiB.
    room: Arc<Semaphore>,
}

/// Why one attached artifact, or the whole search, gives nothing.
enum Fault {
    /// This artifact cannot be believed.
    Rejected(Rejection),
    /// It is signed by someone trusted, at that time as they say, and cannot be used.
    Unreadable(Option<OffsetDateTime>, Rejection),
    /// More signatures would have to be checked than [`MAX_SIGNATURES`].
    Exhausted,
    /// The registry did not tell.
    Unavailable(RegistryError),
    /// The work was lost.
    Lost,
}

impl Collect {
    /// Looks in `registry` for artifacts of `profile`.
    #[must_use]
    pub fn new(registry: Registry, profile: Profile, clock: Arc<dyn Clock>) -> Self {
        let room = Arc::new(Semaphore::new(MAX_BLOBS >> 10));
        Self { registry, profile, clock, room }
    }

    async fn collect(&self, q: &Question, deadline: Instant) -> Result<Evidence, Fault> {
        let attached = self.registry.referrers(&q.image, q.digest, deadline).await?;
        let candidates = self.profile.reports(&attached);
        let mut selection = Selection::new(self.clock.now());
        let (mut signed, mut unsigned, mut budget) = (0, 0, MAX_SIGNATURES);
        for (looked, candidate) in candidates.iter().enumerate() {
            // What cannot be believed must not keep us from what can: unsigned artifacts take no place
            // among the signed.
            if looked == MAX_CANDIDATES || signed == MAX_REPORTS {
                if selection.rejections() > if looked == MAX_CANDIDATES { 0 } else { unsigned } {
                    selection.crowded(crowd(candidates.len()));
                }
                break;
            }
            match self.document(q, candidate, &mut budget, deadline).await {
                Ok(found) => take(found, &mut selection),
                Err(Fault::Unreadable(created, why)) => selection.unreadable(created, why),
                Err(Fault::Rejected(why)) => {
                    tracing::info!(image = %q.image, digest = %q.digest, report = %candidate.digest,
                        reason = why.reason.as_str(), detail = %why.detail, "report rejected");
                    let is_unsigned = why.reason == Reason::Unsigned;
                    selection.rejected(why);
                    if is_unsigned {
                        unsigned += 1;
                        continue;
                    }
                }
                Err(Fault::Exhausted) => {
                    selection.crowded(crowd(candidates.len()));
                    break;
                }
                Err(fault) => return Err(fault),
            }
            signed += 1;
        }
        if selection.has_reports() {
            self.vex(q, &self.profile.vex(&attached), &mut selection, deadline).await?;
        }
        Ok(selection.evidence())
    }

    /// Looks at VEX documents. One that cannot be believed clears nothing, and is no fault of the
    /// reports; one that is believed and cannot be read may take back what older ones clear.
    async fn vex(
        &self,
        q: &Question,
        candidates: &[&Descriptor],
        selection: &mut Selection,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let (mut signed, mut budget) = (0, MAX_SIGNATURES);
        for (looked, candidate) in candidates.iter().enumerate() {
            let found = if looked == MAX_CANDIDATES || signed == MAX_VEX {
                Err(Fault::Exhausted)
            } else {
                self.document(q, candidate, &mut budget, deadline).await
            };
            match found {
                Ok(found) => take(found, selection),
                Err(Fault::Rejected(why)) => {
                    tracing::info!(image = %q.image, digest = %q.digest, vex = %candidate.digest,
                        reason = why.reason.as_str(), detail = %why.detail, "VEX document rejected");
                    if why.reason == Reason::Unsigned {
                        continue;
                    }
                }
                Err(Fault::Unreadable(created, why)) => {
                    tracing::info!(image = %q.image, digest = %q.digest, vex = %candidate.digest,
                        reason = why.reason.as_str(), detail = %why.detail, "VEX document unreadable");
                    // What is about something else says nothing of this image.
                    if why.reason != Reason::WrongSubject {
                        selection.unreadable_vex(created);
                    }
                }
                Err(Fault::Exhausted) => {
                    tracing::warn!(image = %q.image, digest = %q.digest, attached = candidates.len(),
                        "too many VEX documents to look at all of them: none counts");
                    selection.no_vex();
                    break;
                }
                Err(fault) => return Err(fault),
            }
            signed += 1;
        }
        Ok(())
    }

    async fn document(
        &self,
        q: &Question,
        candidate: &Descriptor,
        budget: &mut usize,
        deadline: Instant,
    ) -> Result<Found, Fault> {
        let name = candidate.digest;
        let unsigned =
            || rejected(name, Reason::Unsigned, "no signature is attached to the report");
        let signed = self
            .registry
            .referrers(&q.image, name, deadline)
            .await
            .map_err(|error| blame(name, error))?;
        let signatures = referrers::signatures(&signed);
        if signatures.is_empty() {
            return Err(unsigned());
        }
        let report = self.artifact(q, candidate, MAX_REPORT, deadline).await?;
        let mut first = None;
        for descriptor in signatures {
            *budget = budget.checked_sub(1).ok_or(Fault::Exhausted)?;
            let checked = match self.artifact(q, descriptor, MAX_ENVELOPE, deadline).await {
                Ok(signature) => self.verify(q, report.clone(), signature).await,
                Err(fault) => Err(fault),
            };
            match checked {
                Err(Fault::Rejected(why)) => {
                    first.get_or_insert(why);
                }
                verified_or_lost => return verified_or_lost,
            }
        }
        // There was at least one signature, hence a reason.
        Err(first.map_or_else(unsigned, Fault::Rejected))
    }

    /// Verification and parsing can take long for a large report, so they run where blocking is
    /// allowed.
    async fn verify(&self, q: &Question, report: Fetch, signature: Fetch) -> Result<Found, Fault> {
        let question = q.clone();
        let now = self.clock.now();
        let read = move || {
            let verified = signature::verify(
                &Request {
                    scope: question.image.name(),
                    subject: question.digest,
                    report: report.as_artifact(),
                    signature: signature.as_artifact(),
                },
                &question.trust,
                now,
            )
            .map_err(|error| rejected(report.digest, error.reason(), &detail(&error)))?;
            read(&verified)
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, image = %q.image, "verification was lost");
                Err(Fault::Lost)
            }
        }
    }

    /// Fetches an artifact: its manifest and its one layer.
    async fn artifact(
        &self,
        q: &Question,
        descriptor: &Descriptor,
        limit: usize,
        deadline: Instant,
    ) -> Result<Fetch, Fault> {
        let digest = descriptor.digest;
        let gone = |error| blame(digest, error);
        let fetched = self.registry.manifest(&q.image, digest, deadline).await.map_err(gone)?;
        let manifest = manifest(&fetched)
            .map_err(|error| rejected(digest, Reason::Malformed, &detail(error.as_ref())))?;
        let [layer] = manifest.layers.as_slice() else {
            let detail =
                format!("its manifest has {} layers instead of one", manifest.layers.len());
            return Err(rejected(digest, Reason::Malformed, &detail));
        };
        if usize::try_from(layer.size).map_or(true, |size| size > limit) {
            let detail =
                format!("its layer is {} bytes long, more than the {limit} allowed", layer.size);
            return Err(rejected(digest, Reason::TooLarge, &detail));
        }
        let room = self.room_for(layer, deadline).await?;
        let blob = self.registry.blob(&q.image, layer, limit, deadline).await.map_err(gone)?;
        let Fetched { bytes: manifest, media_type, .. } = fetched;
        Ok(Fetch { digest, manifest, media_type, blob, _room: Arc::new(room) })
    }

    /// Waits until a large blob has room. Envelopes and small reports take none, so that whoever has
    /// room for a report never waits for more.
    async fn room_for(
        &self,
        layer: &Descriptor,
        deadline: Instant,
    ) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        let kib = match u32::try_from(layer.size >> 10) {
            Ok(kib) if layer.size > MAX_ENVELOPE as u64 => kib,
            _ => return Ok(None),
        };
        let room = Arc::clone(&self.room).acquire_many_owned(kib);
        match tokio::time::timeout_at(deadline, room).await {
            Ok(Ok(room)) => Ok(Some(room)),
            Ok(Err(_closed)) => Err(Fault::Lost),
            Err(_elapsed) => Err(Fault::Unavailable(RegistryError::Deadline)),
        }
    }
}

impl EvidenceSource for Collect {
    async fn evidence(&self, question: &Question, deadline: Instant) -> Known {
        let evidence = match self.collect(question, deadline).await {
            Ok(evidence) => evidence,
            Err(Fault::Rejected(why) | Fault::Unreadable(_, why)) => Evidence::Rejected(why),
            Err(Fault::Unavailable(error)) => failed(&error),
            Err(Fault::Lost | Fault::Exhausted) => Evidence::Unavailable(Cause {
                kind: CauseKind::Unreachable,
                detail: "verification ended without a result; ask again".to_owned(),
            }),
        };
        let now = self.clock.now();
        Known {
            evidence: Arc::new(evidence),
            fetched_at: now,
            fresh_until: now,
            source: Source::Registry,
        }
    }
}

/// What a registry's failure means.
pub(crate) fn failed(error: &RegistryError) -> Evidence {
    if error.is_not_configured() {
        return Evidence::Unsupported;
    }
    match error.reason() {
        // More than its bound: the registry answered, and it is not to be believed.
        Some(reason) => {
            Evidence::Rejected(Rejection { reason, report: None, detail: detail(error) })
        }
        None => Evidence::Unavailable(error.cause()),
    }
}

/// An artifact as it was fetched.
#[derive(Clone)]
struct Fetch {
    digest: Digest,
    manifest: Bytes,
    media_type: String,
    blob: Bytes,
    /// Given back when the last copy is dropped.
    _room: Arc<Option<OwnedSemaphorePermit>>,
}

impl Fetch {
    fn as_artifact(&self) -> Artifact<'_> {
        Artifact { manifest: &self.manifest, media_type: &self.media_type, blob: &self.blob }
    }
}

fn manifest(fetched: &Fetched) -> Result<Manifest, Box<dyn Error + Send + Sync>> {
    match referrers::parse(&fetched.bytes, &fetched.media_type)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err("it is an index, not an artifact".into()),
    }
}

/// Whether an artifact or the registry is to blame for `error`.
fn blame(artifact: Digest, error: RegistryError) -> Fault {
    match error.reason() {
        // As the fallback list can be after a deletion.
        _ if error.is_not_found() => {
            rejected(artifact, Reason::Malformed, "it is listed, and the registry does not have it")
        }
        Some(reason) => rejected(artifact, reason, &detail(&error)),
        None => Fault::Unavailable(error),
    }
}

fn crowd(attached: usize) -> String {
    format!(
        "{attached} reports are attached, and so many of them cannot be believed that not all were \
         looked at"
    )
}

fn rejected(report: Digest, reason: Reason, detail: &str) -> Fault {
    Fault::Rejected(Rejection { reason, report: Some(report), detail: detail.to_owned() })
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        Self::Unavailable(error)
    }
}
