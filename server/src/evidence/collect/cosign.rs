//! What cosign attached in, what its attestations say out.
//!
//! An attestation is chosen as the in-toto statement that it holds, by the predicate type that its
//! pusher announced, and again by the one that it has once it is read. What is no report and no VEX
//! document is nothing to us, so the signature of an image, which cosign 3 writes as an attestation
//! too, is not rejected. Nothing of this is looked at where no entry of cosign's signers is for the
//! repository.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join;
use portcullis_core::findings::MAX_REPORT;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{
    self, Descriptor, Document, IN_TOTO, OCI_EMPTY, PREDICATE_TYPE, Profiles,
};
use portcullis_core::signature::Examination;
use portcullis_core::signature::cosign::{self, Attestation, CosignError, DSSE, Request};
use portcullis_telemetry::spans::SPANS;
use tokio::time::Instant;

use super::budget::Budget;
use super::fetch::{Fetch, Head, rejected};
use super::read::{Found, read};
use super::seen::{Attached, Failure, SeenSignature};
use super::{Collect, Fault, Question};
use crate::chain::detail;

/// Annotation with which cosign 3 says that an artifact is a bundle.
const BUNDLE_CONTENT: &str = "dev.sigstore.bundle.content";
/// Annotations in which the versions of cosign say what a statement states.
const PREDICATE_TYPES: [&str; 2] = ["dev.sigstore.bundle.predicateType", "predicateType"];

/// What is attached to a manifest.
pub(super) struct Listed {
    /// As profiles choose it: attestations as the statements that they hold.
    pub(super) attached: Vec<Descriptor>,
    /// Attestations as the registry lists them.
    originals: HashMap<Digest, Descriptor>,
}

impl Listed {
    fn new(listed: Vec<Descriptor>) -> Self {
        let mut originals = HashMap::new();
        let announced = |original: Descriptor| match announced(&original) {
            Some(statement) => {
                originals.insert(original.digest, original);
                statement
            }
            None => original,
        };
        let attached = listed.into_iter().map(announced).collect();
        Self { attached, originals }
    }

    /// Shows artifacts as the registry lists them.
    pub(super) fn restore(&self, seen: &mut [Attached]) {
        for attached in seen {
            if let Some(original) = self.originals.get(&attached.descriptor.digest) {
                attached.descriptor = original.clone();
            }
        }
    }
}

/// Whether its pusher said that it is a bundle.
pub(super) fn is_bundle(listed: &Descriptor) -> bool {
    listed.annotations.contains_key(BUNDLE_CONTENT)
}

/// The same as a statement, if it may be an attestation. Registries that do not know the type of an
/// artifact give that of its config.
fn announced(listed: &Descriptor) -> Option<Descriptor> {
    let may_be = match listed.artifact_type.as_deref() {
        Some(OCI_EMPTY) | None => listed.media_type == DSSE || is_bundle(listed),
        Some(IN_TOTO) => true,
        Some(artifact_type) => cosign::is_attestation(artifact_type),
    };
    if !may_be {
        return None;
    }
    let mut statement = listed.clone();
    statement.artifact_type = Some(IN_TOTO.to_owned());
    let stated = PREDICATE_TYPES.into_iter().find_map(|name| listed.annotations.get(name));
    if let Some(stated) = stated {
        statement.annotations.entry(PREDICATE_TYPE.to_owned()).or_insert_with(|| stated.clone());
    }
    Some(statement)
}

/// Whether a statement of this type is one that `profiles` choose.
fn is_wanted(profiles: &Profiles, candidate: &Descriptor, predicate_type: &str) -> bool {
    let mut candidate = candidate.clone();
    candidate.artifact_type = Some(IN_TOTO.to_owned());
    candidate.annotations.insert(PREDICATE_TYPE.to_owned(), predicate_type.to_owned());
    let candidate = [candidate];
    !profiles.reports(&candidate).is_empty() || !profiles.vex(&candidate).is_empty()
}

impl Collect {
    /// What is attached: what the registry lists and, where cosign's signers are trusted, what cosign 2
    /// keeps under a tag of its own.
    pub(super) async fn listed(&self, q: &Question, deadline: Instant) -> Result<Listed, Fault> {
        let referrers = self.fetcher.registry.referrers(&q.image, q.digest, deadline);
        if !q.trust.cosign().covers(q.image.name()) {
            return Ok(Listed { attached: referrers.await?, originals: HashMap::new() });
        }
        let (attached, tagged) = join(referrers, self.tagged(q, deadline)).await;
        let mut attached = attached?;
        attached.extend(tagged?);
        Ok(Listed::new(attached))
    }

    /// The layers of the manifest that cosign 2 tags `sha256-….att`: each is an attestation. What is
    /// tagged and is no such manifest is given as it is, to be rejected like any other artifact.
    async fn tagged(&self, q: &Question, deadline: Instant) -> Result<Vec<Descriptor>, Fault> {
        let tag = format!("{}.att", q.digest.fallback_tag());
        let fetched = match self.fetcher.registry.attached_tag(&q.image, &tag, deadline).await {
            Ok(fetched) => fetched,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(Fault::Unavailable(error)),
        };
        match referrers::parse(&fetched.bytes, &fetched.media_type) {
            Ok(Document::Manifest(manifest)) => {
                Ok(manifest.layers.into_iter().filter(|layer| layer.media_type == DSSE).collect())
            }
            Ok(Document::Index(_)) | Err(_) => Ok(vec![Descriptor {
                media_type: fetched.media_type,
                digest: fetched.digest,
                size: fetched.bytes.len() as u64,
                artifact_type: Some(IN_TOTO.to_owned()),
                annotations: std::collections::BTreeMap::new(),
                platform: None,
            }]),
        }
    }

    /// Looks at an attestation that is a layer by itself.
    pub(super) async fn layer(
        &self,
        q: &Question,
        candidate: &Descriptor,
        budget: &Budget,
        deadline: Instant,
        seen: &mut Vec<SeenSignature>,
    ) -> Result<Found, Fault> {
        let head = Head::of_layer(candidate, MAX_REPORT)?;
        self.attestation(q, candidate, head, budget, deadline, seen).await
    }

    /// Fetches, reads and verifies an attestation.
    pub(super) async fn attestation(
        &self,
        q: &Question,
        candidate: &Descriptor,
        head: Head,
        budget: &Budget,
        deadline: Instant,
        seen: &mut Vec<SeenSignature>,
    ) -> Result<Found, Fault> {
        let mut signature = SeenSignature::new(candidate);
        signature.layer = Some(head.layer.clone());
        let fetched = self.fetcher.whole(q, head, budget, deadline).await?;
        let found = self.verified(q, candidate, fetched, budget, deadline, &mut signature).await;
        if !matches!(found, Ok(Found::Nothing)) {
            signature.failure = found.as_ref().err().map(Failure::of);
            seen.push(signature);
        }
        found
    }

    async fn verified(
        &self,
        q: &Question,
        candidate: &Descriptor,
        fetched: Fetch,
        budget: &Budget,
        deadline: Instant,
        seen: &mut SeenSignature,
    ) -> Result<Found, Fault> {
        let name = fetched.digest;
        let media_type = seen.layer.as_ref().map(|layer| layer.media_type.clone());
        let parse = {
            let fetched = fetched.clone();
            move || Attestation::parse(fetched.blob(), &media_type.unwrap_or_default())
        };
        let attestation = match self.verified.do_blocking(q, span(q), deadline, parse).await? {
            Ok(attestation) => attestation,
            // The signature of something that is not a statement.
            Err(CosignError::NoEnvelope) => return Ok(Found::Nothing),
            Err(error) => {
                let rejected = rejected(name, error.reason(), &detail(&error));
                seen.checks = cosign::unreadable(error).checks;
                return Err(rejected);
            }
        };
        if !is_wanted(&self.profiles, candidate, attestation.predicate_type()) {
            return Ok(Found::Nothing);
        }
        if !budget.check() {
            return Err(Fault::Exhausted);
        }
        let turn = if attestation.has_certificate() {
            Some(self.certified.take(deadline).await?)
        } else {
            None
        };
        let (question, now) = (q.clone(), self.clock.now());
        let profiles = Arc::clone(&self.profiles);
        let examine = move || {
            let request = Request {
                scope: question.image.name(),
                subject: question.digest,
                report: name,
                attestation: &attestation,
            };
            let Examination { checks, outcome, .. } =
                cosign::examine(&request, &question.trust, now);
            let found = outcome
                .map_err(|error| rejected(name, error.reason(), &detail(&error)))
                .and_then(|verified| read(&verified, &profiles));
            // Here, because the work goes on where nobody waits for it any more.
            drop((fetched, turn));
            (checks, found)
        };
        let (checks, found) = self.verified.do_blocking(q, span(q), deadline, examine).await?;
        seen.checks = checks;
        found
    }
}

fn span(q: &Question) -> tracing::Span {
    tracing::debug_span!(target: SPANS, "verify", oci.manifest.digest = %q.digest)
}
