//! One attached artifact in, what it says out: if one of the signatures on it is good.
//!
//! What can be fetched side by side is: its signatures are listed while its manifest comes, and the
//! first of them comes while its layer does. That is three round trips to the registry, whatever is
//! attached.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream;
use portcullis_core::evidence::{Cause, CauseKind, Reason};
use portcullis_core::findings::MAX_REPORT;
use portcullis_core::referrers::{self, Descriptor};
use portcullis_core::signature::cosign::{DSSE, is_attestation};
use portcullis_core::signature::envelope::MAX_ENVELOPE;
use portcullis_core::signature::{self, Examination, Request, SignatureError};
use portcullis_telemetry::spans::SPANS;
use tokio::time::Instant;

use super::budget::Budget;
use super::fetch::{Fetch, blame, rejected};
use super::read::{Found, read};
use super::seen::{Failure, SeenSignature};
use super::{Collect, Fault, Question, cosign};
use crate::chain::detail;

/// How many signatures of one artifact are fetched at a time: one that nobody waits for while another is
/// verified would run into the time limit of its connection.
const AT_ONCE: usize = 1;

/// What became of an attached artifact, and what was seen on the way.
pub(super) struct Looked {
    pub(super) found: Result<Found, Fault>,
    pub(super) layer: Option<Descriptor>,
    pub(super) signatures: Vec<SeenSignature>,
}

/// What a report says whose signature was examined, or why that is not good.
type Examined = Result<Result<Found, Fault>, SignatureError>;

impl Looked {
    /// Whether it is an attestation, whose manifest nobody signed.
    pub(super) fn is_attestation(&self) -> bool {
        self.layer.as_ref().is_some_and(|layer| is_attestation(&layer.media_type))
    }
}

impl Collect {
    /// Looks at one attached artifact. It is believed if one of its signatures is good.
    pub(super) async fn document(
        &self,
        q: &Question,
        candidate: &Descriptor,
        budget: &Budget,
        deadline: Instant,
    ) -> Looked {
        let (mut layer, mut seen) = (None, Vec::new());
        let found = self.believed(q, candidate, budget, deadline, &mut layer, &mut seen).await;
        Looked { found, layer, signatures: seen }
    }

    async fn believed(
        &self,
        q: &Question,
        candidate: &Descriptor,
        budget: &Budget,
        deadline: Instant,
        layer: &mut Option<Descriptor>,
        seen: &mut Vec<SeenSignature>,
    ) -> Result<Found, Fault> {
        let name = candidate.digest;
        let unsigned =
            || rejected(name, Reason::Unsigned, "no signature is attached to the report");
        let attests = q.trust.cosign().covers(q.image.name());
        if attests && candidate.media_type == DSSE {
            *layer = Some(candidate.clone());
            return self.layer(q, candidate, budget, deadline, seen).await;
        }
        let signed = async {
            // What is signed within has no signatures attached.
            if attests && cosign::is_bundle(candidate) {
                return Ok(Vec::new());
            }
            self.fetcher.registry.referrers(&q.image, name, deadline).await
        };
        let (signed, head) = join(signed, self.fetcher.head(q, name, MAX_REPORT, deadline)).await;
        if let Ok(head) = &head {
            *layer = Some(head.layer.clone());
        }
        let head = match head {
            Ok(head) if attests && is_attestation(&head.layer.media_type) => {
                return self.attestation(q, candidate, head, budget, deadline, seen).await;
            }
            report => report,
        };
        let signed = signed.map_err(|error| blame(name, error))?;
        let signatures = referrers::signatures(&signed);
        if signatures.is_empty() {
            return Err(unsigned());
        }
        let head = head?;
        let signatures: Vec<_> = signatures
            .into_iter()
            .map(|signature| self.signature(q, signature, budget, deadline))
            .collect();
        let mut signatures = stream::iter(signatures).buffered(AT_ONCE);
        let (report, mut next) =
            join(self.fetcher.whole(q, head, budget, deadline), signatures.next()).await;
        let report = report?;
        let (mut first, mut undecided) = (None, None);
        while let Some((mut signature, fetched)) = next {
            if !budget.check() {
                return Err(Fault::Exhausted);
            }
            let checked = match fetched {
                Ok(fetched) => self.verify(q, (&report, &fetched), &mut signature, deadline).await,
                Err(fault) => Err(fault),
            };
            signature.failure = checked.as_ref().err().map(Failure::of);
            seen.push(signature);
            match checked {
                Err(Fault::Rejected(why)) => {
                    first.get_or_insert(why);
                }
                // Another one may be good without question.
                Err(Fault::Undecided(cause)) => {
                    undecided.get_or_insert(cause);
                }
                verified_or_lost => return verified_or_lost,
            }
            next = signatures.next().await;
        }
        if let Some(cause) = undecided {
            return Err(Fault::Undecided(cause));
        }
        // There was at least one signature, hence a reason.
        Err(first.map_or_else(unsigned, Fault::Rejected))
    }

    /// Fetches a signature.
    async fn signature(
        &self,
        q: &Question,
        descriptor: &Descriptor,
        budget: &Budget,
        deadline: Instant,
    ) -> (SeenSignature, Result<Fetch, Fault>) {
        let mut seen = SeenSignature::new(descriptor);
        let fetched = match self.fetcher.head(q, descriptor.digest, MAX_ENVELOPE, deadline).await {
            Ok(head) => {
                seen.layer = Some(head.layer.clone());
                self.fetcher.whole(q, head, budget, deadline).await
            }
            Err(fault) => Err(fault),
        };
        (seen, fetched)
    }

    /// Verifies a signature on a report and reads that. What must be asked first is asked.
    async fn verify(
        &self,
        q: &Question,
        (report, signature): (&Fetch, &Fetch),
        seen: &mut SeenSignature,
        deadline: Instant,
    ) -> Result<Found, Fault> {
        let mut examined = self.examine(q, (report, signature), seen, deadline).await?;
        if let Err(SignatureError::RevocationPending { questions }) = &examined {
            self.revocation.ask(questions, deadline).await;
            examined = self.examine(q, (report, signature), seen, deadline).await?;
        }
        examined.unwrap_or_else(|error| {
            let kind = match error {
                SignatureError::RevocationPending { .. } => CauseKind::Deadline,
                SignatureError::RevocationUnknown { .. } => CauseKind::Revocation,
                _ => return Err(rejected(report.digest, error.reason(), &detail(&error))),
            };
            Err(Fault::Undecided(Cause { kind, detail: detail(&error) }))
        })
    }

    async fn examine(
        &self,
        q: &Question,
        (report, signature): (&Fetch, &Fetch),
        seen: &mut SeenSignature,
        deadline: Instant,
    ) -> Result<Examined, Fault> {
        let span = tracing::debug_span!(
            target: SPANS,
            "verify",
            portcullis.report.digest = %report.digest,
            portcullis.signature.digest = %signature.digest,
        );
        let (question, report, signature) = (q.clone(), report.clone(), signature.clone());
        let (revocation, now) = (self.revocation.clone(), self.clock.now());
        let profiles = Arc::clone(&self.profiles);
        let examine = move || {
            let request = Request {
                scope: question.image.name(),
                subject: question.digest,
                report: report.as_artifact(),
                signature: signature.as_artifact(),
            };
            let Examination { checks, certificates, envelope, outcome, timestamp: _ } =
                signature::examine(&request, &question.trust, &revocation, now);
            (checks, certificates, envelope, outcome.map(|verified| read(&verified, &profiles)))
        };
        let examined = self.verified.do_blocking(q, span, deadline, examine).await?;
        let (checks, certificates, envelope, found) = examined;
        (seen.checks, seen.certificates, seen.envelope) = (checks, certificates, envelope);
        Ok(found)
    }
}
