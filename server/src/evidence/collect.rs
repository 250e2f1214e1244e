//! A registry in, evidence out: what is attached is listed, fetched, verified and read.
//!
//! The chain has two hops: image ← report ← signature. Whatever fails on the way has a name:
//! nothing attached is `Missing`, something attached that cannot be believed is `Rejected`, and what
//! the registry would not or could not tell is `Unavailable`, never one of the others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Reason, Rejection, Report, Source};
use portcullis_core::findings::{self, MAX_REPORT};
use portcullis_core::ports::Clock;
use portcullis_core::referrers::{self, Descriptor, Document, Manifest, Profile};
use portcullis_core::signature::envelope::MAX_ENVELOPE;
use portcullis_core::signature::{self, Artifact, Request, Verified};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{EvidenceSource, Known, Question};
use crate::registry::{Fetched, Registry, RegistryError};

/// The most reports on one digest that are looked at, newest first by their annotation.
pub const MAX_REPORTS: usize = 32;
/// The most signatures that are checked for one digest, over all its reports (CASES T022).
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
        let mut budget = MAX_SIGNATURES;
        let mut newest: BTreeMap<String, Arc<Report>> = BTreeMap::new();
        let mut rejection = None;
        for candidate in candidates.iter().take(MAX_REPORTS) {
            match self.report(q, candidate, &mut budget, deadline).await {
                Ok(report) => keep_newest(&mut newest, report),
                Err(Fault::Rejected(why)) => {
                    tracing::info!(image = %q.image, digest = %q.digest, report = %candidate.digest,
                        reason = why.reason.as_str(), detail = %why.detail, "report rejected");
                    rejection.get_or_insert(why);
                }
                Err(fault) => return Err(fault),
            }
        }
        if !newest.is_empty() {
            return Ok(Evidence::Verified(newest.into_values().collect()));
        }
        if candidates.len() > MAX_REPORTS {
            return Ok(Evidence::Rejected(Rejection {
                reason: Reason::TooMany,
                report: None,
                detail: format!(
                    "{} reports are attached and none of the newest {MAX_REPORTS} can be believed",
                    candidates.len()
                ),
            }));
        }
        Ok(rejection.map_or(Evidence::Missing, Evidence::Rejected))
    }

    async fn report(
        &self,
        q: &Question,
        candidate: &Descriptor,
        budget: &mut usize,
        deadline: Instant,
    ) -> Result<Report, Fault> {
        let name = candidate.digest;
        let signed = self.registry.referrers(&q.image, name, deadline).await?;
        let signatures = referrers::signatures(&signed);
        if signatures.is_empty() {
            return Err(rejected(name, Reason::Unsigned, "no signature is attached to the report"));
        }
        let report = self.artifact(q, candidate, MAX_REPORT, deadline).await?;
        let mut first = None;
        for descriptor in signatures {
            let Some(left) = budget.checked_sub(1) else {
                let detail =
                    format!("more than {MAX_SIGNATURES} signatures would have to be checked");
                return Err(rejected(name, Reason::TooMany, &detail));
            };
            *budget = left;
            let checked = match self.artifact(q, descriptor, MAX_ENVELOPE, deadline).await {
                Ok(signature) => self.verify(q, report.clone(), signature).await,
                Err(fault) => Err(fault),
            };
            match checked {
                Ok(report) => return Ok(report),
                Err(Fault::Rejected(why)) => {
                    first.get_or_insert(why);
                }
                Err(fault) => return Err(fault),
            }
        }
        // There was at least one signature, hence a reason.
        Err(first.map_or_else(
            || rejected(name, Reason::Unsigned, "no signature is attached to the report"),
            Fault::Rejected,
        ))
    }

    /// Verification and parsing can take long for a large report, so they run where blocking is
    /// allowed.
    async fn verify(&self, q: &Question, report: Fetch, signature: Fetch) -> Result<Report, Fault> {
        let question = q.clone();
        let now = self.clock.now();
        let read = move || {
            let verified = signature::verify(
                &Request {
                    scope: &question.image.name(),
                    subject: question.digest,
                    report: report.as_artifact(),
                    signature: signature.as_artifact(),
                },
                &question.trust,
                now,
            )
            .map_err(|error| rejected(report.digest, error.reason(), &chain(&error)))?;
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
        let gone = |error: RegistryError| {
            let missing = "it is listed, and the registry does not have it";
            match error.reason() {
                // Listed and not there: as the fallback list can be after a deletion.
                _ if error.is_not_found() => rejected(digest, Reason::Malformed, missing),
                Some(reason) => rejected(digest, reason, &chain(&error)),
                None => Fault::Unavailable(error),
            }
        };
        let fetched = self.registry.manifest(&q.image, digest, deadline).await.map_err(gone)?;
        let manifest = manifest(&fetched)
            .map_err(|error| rejected(digest, Reason::Malformed, &chain(error.as_ref())))?;
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
            Err(Fault::Rejected(rejection)) => Evidence::Rejected(rejection),
            Err(Fault::Unavailable(error)) => failed(&error),
            Err(Fault::Lost) => Evidence::Unavailable(Cause {
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
            Evidence::Rejected(Rejection { reason, report: None, detail: chain(error) })
        }
        None => Evidence::Unavailable(error.cause()),
    }
}

/// An artifact as it was fetched.
#[derive(Clone)]
struct Fetch {
    digest: portcullis_core::image::Digest,
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

fn read(verified: &Verified) -> Result<Report, Fault> {
    let findings = findings::parse(verified)
        .map_err(|error| rejected(verified.report(), error.reason(), &chain(&error)))?;
    Ok(Report { digest: verified.report(), signer: Arc::clone(verified.signer()), findings })
}

/// Of two reports by one scanner, the one with the later signed scan time counts.
fn keep_newest(newest: &mut BTreeMap<String, Arc<Report>>, report: Report) {
    let age = |r: &Report| -> (OffsetDateTime, _) { (r.findings.scanned_at, r.digest) };
    match newest.entry(report.findings.scanner.name.clone()) {
        Entry::Vacant(entry) => {
            entry.insert(Arc::new(report));
        }
        Entry::Occupied(mut entry) => {
            if age(&report) > age(entry.get()) {
                entry.insert(Arc::new(report));
            }
        }
    }
}

fn rejected(report: portcullis_core::image::Digest, reason: Reason, detail: &str) -> Fault {
    Fault::Rejected(Rejection { reason, report: Some(report), detail: detail.to_owned() })
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        Self::Unavailable(error)
    }
}

/// An error and all that is behind it, in one line for people.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
