//! A registry in, evidence out: what is attached is listed, fetched, verified and read.
//!
//! The chain has two hops: image ← report ← signature; an attestation of cosign has one. Whatever
//! fails on the way has a name: nothing attached is `Missing`, something attached that cannot be
//! believed is `Rejected`, and what the registry would not or could not tell is `Unavailable`, never
//! one of the others.

mod budget;
mod fetch;
mod cosign;
mod document;
mod read;
mod seen;
mod source;
mod turns;

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream::{self, Stream};
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Reason, Rejection};
use portcullis_core::ports::Clock;
use portcullis_core::referrers::{CREATED, Descriptor, Profiles};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use self::budget::Budget;
use self::document::Looked;
use self::fetch::Fetcher;
use self::read::{Found, take};
pub use self::seen::{Attached, Failure, Outcome, Role, SeenSignature};
use self::turns::Turns;
use super::select::Selection;
use super::store::Store;
use super::{Inspect, Question};
use crate::chain::detail;
use crate::registry::{Registry, RegistryError};
use crate::revocation::Revocation;

/// The most attached artifacts of one digest that are looked at, newest first by their annotation.
pub const MAX_CANDIDATES: usize = 128;
/// The most of these that are read: those that have a signature.
pub const MAX_REPORTS: usize = 32;
/// The most VEX documents of one digest that are read: those that have a signature.
pub const MAX_VEX: usize = 32;
/// The most signatures that are checked for one digest, over all its reports, and as many over all its
/// VEX documents (CASES T022).
pub const MAX_SIGNATURES: usize = 32;

/// The most bytes of reports and envelopes that are fetched for one digest, and as many for its VEX
/// documents.
pub const MAX_SEARCH_BYTES: usize = 128 * 1024 * 1024;
/// The most attached artifacts of one digest that are looked at at a time.
pub const MAX_AT_ONCE: usize = 8;
/// The most bytes of large reports that are held at a time, over all searches.
pub const MAX_BLOBS: usize = 256 * 1024 * 1024;
/// The most attestations by certificates that are verified at a time, over all searches. Each may take
/// tens of its bytes in memory.
pub const MAX_CERTIFIED_AT_ONCE: usize = 2;
/// The most documents that are verified and read at a time, over all searches: each may hold a multiple
/// of its bytes, and a thread.
pub const MAX_VERIFIED_AT_ONCE: usize = 8;

/// Finds evidence in a registry, and keeps what it was answered in a store.
#[derive(Clone)]
pub struct Collect {
    fetcher: Fetcher,
    profiles: Arc<Profiles>,
    revocation: Revocation,
    certified: Turns,
    verified: Turns,
    clock: Arc<dyn Clock>,
    store: Store,
}

/// Why one attached artifact, or the whole search, gives nothing.
enum Fault {
    /// This artifact cannot be believed.
    Rejected(Rejection),
    /// It is signed by someone trusted, at that time as they say, and cannot be used.
    Unreadable(Option<OffsetDateTime>, Rejection),
    /// More signatures would have to be checked than [`MAX_SIGNATURES`], or more bytes fetched than
    /// [`MAX_SEARCH_BYTES`].
    Exhausted,
    /// The registry did not tell.
    Unavailable(RegistryError),
    /// It is signed by someone of whom it is not known whether the certificate was revoked, and who is
    /// trusted else.
    Undecided(Cause),
    /// The work was lost.
    Lost,
}

impl Collect {
    /// Looks in `registry` for artifacts of `profiles`. `revocation` knows which signers were revoked.
    #[must_use]
    pub fn new(
        registry: Registry,
        profiles: Profiles,
        revocation: Revocation,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (fetcher, profiles) = (Fetcher::new(registry), Arc::new(profiles));
        let certified = Turns::new(MAX_CERTIFIED_AT_ONCE);
        let verified = Turns::new(MAX_VERIFIED_AT_ONCE);
        let store = Store::none();
        Self { fetcher, profiles, revocation, certified, verified, clock, store }
    }

    /// The same, which keeps what it was answered in `store` and looks there too.
    #[must_use]
    pub fn with_store(self, store: Store) -> Self {
        Self { store, ..self }
    }

    fn with_registry(&self, registry: Registry) -> Self {
        Self { fetcher: self.fetcher.with(registry), ..self.clone() }
    }

    async fn search(
        &self,
        q: &Question,
        deadline: Instant,
        seen: &mut Vec<Attached>,
    ) -> Result<Evidence, Fault> {
        let listed = self.listed(q, deadline).await?;
        let attached = &listed.attached;
        let (reports, vex) = (self.profiles.reports(attached), self.profiles.vex(attached));
        let mut selection = Selection::new(self.clock.now());
        let (mut seen_reports, mut seen_vex) = (Vec::new(), Vec::new());
        let looked = join(
            self.reports(q, &reports, &mut selection, &mut seen_reports, deadline),
            self.vex(q, &vex, &mut seen_vex, deadline),
        );
        let (looked_at_reports, looked_at_vex) = looked.await;
        for (role, seen_of_role, all) in
            [(Role::Report, seen_reports, &reports), (Role::Vex, seen_vex, &vex)]
        {
            let rest = all.iter().skip(seen_of_role.len());
            seen.extend(seen_of_role);
            seen.extend(rest.map(|descriptor| Attached::passed_over(descriptor, role)));
        }
        let is_of_profile = |d: &&Descriptor| {
            reports.iter().chain(&vex).any(|candidate| candidate.digest == d.digest)
        };
        let others = attached.iter().filter(|descriptor| !is_of_profile(descriptor));
        seen.extend(others.map(|descriptor| Attached::passed_over(descriptor, Role::Other)));
        listed.restore(seen);
        looked_at_reports?;
        // Without reports there is nothing that VEX documents could be about.
        if selection.has_reports() {
            for said in looked_at_vex? {
                said.tell(&mut selection);
            }
        }
        Ok(selection.evidence())
    }

    /// Looks at `candidates` side by side, and gives what became of each in their order.
    fn each<'a>(
        &'a self,
        q: &'a Question,
        candidates: &'a [&'a Descriptor],
        budget: &'a Budget,
        deadline: Instant,
    ) -> impl Stream<Item = (&'a Descriptor, Looked)> {
        let all: Vec<_> = candidates
            .iter()
            .take(MAX_CANDIDATES)
            .map(|candidate| async move {
                // On the heap: it is large, and there are several.
                (*candidate, Box::pin(self.document(q, candidate, budget, deadline)).await)
            })
            .collect();
        stream::iter(all).buffered(MAX_AT_ONCE)
    }

    /// Looks at reports. What cannot be believed must not keep us from what can: unsigned artifacts
    /// take no place among the signed.
    async fn reports(
        &self,
        q: &Question,
        candidates: &[&Descriptor],
        selection: &mut Selection,
        seen: &mut Vec<Attached>,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let budget = Budget::new();
        let (mut signed, mut unsigned, mut unplaced) = (0, 0, 0);
        let mut each = std::pin::pin!(self.each(q, candidates, &budget, deadline));
        while let Some((candidate, looked)) = each.next().await {
            if signed == MAX_REPORTS {
                if selection.rejections() > unsigned {
                    selection.crowded(crowd(candidates.len()));
                }
                return Ok(());
            }
            let is_attestation = looked.is_attestation();
            match told(candidate, Role::Report, looked, seen) {
                Ok(found) => {
                    let is_nothing = matches!(found, Found::Nothing);
                    take(found, selection);
                    // Whoever pushes an attestation chooses its annotation, and with it its place.
                    if is_attestation || is_nothing {
                        unplaced += 1;
                        continue;
                    }
                }
                Err(Fault::Undecided(cause)) => selection.undecided(created(candidate), cause),
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
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            }
            signed += 1;
        }
        if candidates.len() > MAX_CANDIDATES && selection.rejections() + unplaced > 0 {
            selection.crowded(crowd(candidates.len()));
        }
        Ok(())
    }

    /// Looks at VEX documents. One that cannot be believed clears nothing, and is no fault of the
    /// reports; one that is believed and cannot be read may take back what older ones clear.
    async fn vex(
        &self,
        q: &Question,
        candidates: &[&Descriptor],
        seen: &mut Vec<Attached>,
        deadline: Instant,
    ) -> Result<Vec<SaidOfVex>, Fault> {
        let budget = Budget::new();
        let (mut said, mut signed) = (Vec::new(), 0);
        let mut each = std::pin::pin!(self.each(q, candidates, &budget, deadline));
        let mut all_looked_at = candidates.len() <= MAX_CANDIDATES;
        while let Some((candidate, looked)) = each.next().await {
            if signed == MAX_VEX {
                all_looked_at = false;
                break;
            }
            match told(candidate, Role::Vex, looked, seen) {
                Ok(found) => said.push(SaidOfVex::Read(found)),
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
                        said.push(SaidOfVex::Unreadable(created));
                    }
                }
                Err(Fault::Exhausted) => {
                    all_looked_at = false;
                    break;
                }
                Err(fault) => return Err(fault),
            }
            signed += 1;
        }
        if !all_looked_at {
            tracing::warn!(image = %q.image, digest = %q.digest, attached = candidates.len(),
                "too many VEX documents to look at all of them: none counts");
            said.push(SaidOfVex::TooMuch);
        }
        Ok(said)
    }
}

/// When an artifact was made, as the list says. Its signer said so too if it is signed as Notary
/// Project signs.
fn created(descriptor: &Descriptor) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(descriptor.annotations.get(CREATED)?, &Rfc3339).ok()
}

/// Writes down what was seen of an artifact, and gives what became of it.
fn told(
    candidate: &Descriptor,
    role: Role,
    looked: Looked,
    seen: &mut Vec<Attached>,
) -> Result<Found, Fault> {
    let Looked { found, layer, signatures } = looked;
    let outcome = Outcome::of(&found);
    seen.push(Attached { descriptor: candidate.clone(), role, layer, signatures, outcome });
    found
}

/// What became of a VEX document that counts for something.
enum SaidOfVex {
    Read(Found),
    /// Signed by someone trusted, at that time as they say, and not readable.
    Unreadable(Option<OffsetDateTime>),
    /// Not all were looked at, so that it is not known which is the newest.
    TooMuch,
}

impl SaidOfVex {
    fn tell(self, selection: &mut Selection) {
        match self {
            Self::Read(found) => take(found, selection),
            Self::Unreadable(created) => selection.unreadable_vex(created),
            Self::TooMuch => selection.no_vex(),
        }
    }
}

impl Inspect for Collect {
    async fn inspect(&self, q: &Question, deadline: Instant) -> (Evidence, Vec<Attached>) {
        let mut seen = Vec::new();
        let evidence = self.search(q, deadline, &mut seen).await.unwrap_or_else(Fault::evidence);
        seen.iter_mut().for_each(|attached| attached.settle(&evidence));
        (evidence, seen)
    }
}

impl Fault {
    /// What is known where this ended the search.
    fn evidence(self) -> Evidence {
        match self {
            Self::Rejected(why) | Self::Unreadable(_, why) => Evidence::Rejected(why),
            Self::Unavailable(error) => failed(&error),
            Self::Undecided(cause) => Evidence::Unavailable(cause),
            Self::Lost | Self::Exhausted => Evidence::Unavailable(Cause {
                kind: CauseKind::Unreachable,
                detail: "verification ended without a result; ask again".to_owned(),
            }),
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

fn crowd(attached: usize) -> String {
    format!(
        "{attached} reports are attached, and so many of them cannot be believed that not all were \
         looked at"
    )
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        Self::Unavailable(error)
    }
}
