//! Answers in, the same answers out for as long as they hold: what a client keeps near itself.
//!
//! An answer is given again for the same containers in a context that agrees in the fields of its
//! `vary`, until its `max_age` is over, by our own clock from before it was asked for. It is given only
//! while `Watch` is heard of the replica that it is from, so that it is known not to have changed: a
//! change of a digest drops the answers that name it, another policy drops those of the policy before,
//! and where changes may have been missed, all of the replica are dropped. A question with a
//! justification is never answered from here, and neither is one that wants an explanation.

mod key;
mod kept;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_proto::v1;
use tokio::time::Instant;

use self::kept::{Draft, Kept};
use self::key::Mask;
use crate::stats::NearStats;

/// The longest that an answer is kept, whatever it says.
pub const MAX_AGE: Duration = Duration::from_secs(600);
/// How long nothing may be heard of a replica before its answers are not used any more. It says
/// something every 5 seconds.
pub(crate) const STALL: Duration = Duration::from_secs(15);

/// Answers that are kept. See the module.
pub(crate) struct NearCache {
    kept: Mutex<Kept>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What was known of a replica when it was asked: without it, its answer is not kept.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) replica: u64,
    /// When it was asked; its answer is from later.
    pub(crate) asked: Instant,
    /// Changes that were heard before.
    pub(crate) changes: u64,
    /// How often changes of the replica may have been missed before.
    pub(crate) resyncs: u64,
}

impl NearCache {
    /// Keeps `max_bytes` of answers at the most.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let kept = Mutex::new(Kept::new(max_bytes));
        Self { kept, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The answer to `request` that is kept, if it holds at `now`.
    pub(crate) fn find(
        &self,
        request: &v1::CheckRequest,
        now: Instant,
    ) -> Option<Arc<v1::CheckResponse>> {
        let found = if is_plain(request) { self.look(request, now) } else { None };
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn look(&self, request: &v1::CheckRequest, now: Instant) -> Option<Arc<v1::CheckResponse>> {
        let masks = self.kept.lock().masks();
        // Keys are made while nobody waits for it.
        masks.into_iter().flatten().find_map(|mask| {
            let key = key::of(request, mask);
            self.kept.lock().find(&key, now)
        })
    }

    /// What is known of `replica`, which is asked at `now`; none where its changes are not heard.
    pub(crate) fn ticket(&self, replica: u64, now: Instant) -> Option<Ticket> {
        self.kept.lock().ticket(replica, now)
    }

    /// Keeps an answer, if nothing changed since it was asked for.
    pub(crate) fn keep(
        &self,
        ticket: &Ticket,
        request: &v1::CheckRequest,
        response: &Arc<v1::CheckResponse>,
        now: Instant,
    ) {
        let Some(draft) = draft(ticket, request, response) else { return };
        self.kept.lock().keep(ticket, draft, now);
    }

    /// Takes in what a replica says of its changes.
    pub(crate) fn heard(&self, replica: u64, message: &v1::WatchResponse, now: Instant) {
        self.kept.lock().heard(replica, message, now);
    }

    /// Where a call to `Watch` goes on.
    pub(crate) fn position(&self, replica: u64) -> Vec<u8> {
        self.kept.lock().position(replica)
    }

    /// Nothing is heard of a replica any more. Its answers are not used until it is heard again.
    pub(crate) fn lost(&self, replica: u64) {
        self.kept.lock().lost(replica);
    }

    /// A replica is no more.
    pub(crate) fn forget(&self, replica: u64) {
        self.kept.lock().forget(replica);
    }

    pub(crate) fn stats(&self) -> NearStats {
        NearStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            ..self.kept.lock().stats()
        }
    }
}

/// What an answer to `request` depends on that says `vary`, as bytes: two questions with the same key
/// have the same answer. None where `vary` has a word that is not known.
#[must_use]
pub fn answer_key(request: &v1::CheckRequest, vary: &[String]) -> Option<Box<[u8]>> {
    Some(key::of(request, Mask::read(vary)?))
}

/// Whether a question may be answered from what is kept. White space is no justification.
fn is_plain(request: &v1::CheckRequest) -> bool {
    let justified = request.context.as_ref().is_some_and(|c| !c.break_glass.trim().is_empty());
    !request.explain && !justified
}

/// What would be kept of an answer; none where it says that it may not be, or in words that we do not
/// know.
fn draft(
    ticket: &Ticket,
    request: &v1::CheckRequest,
    response: &Arc<v1::CheckResponse>,
) -> Option<Draft> {
    if !is_plain(request) {
        return None;
    }
    let max_age = Duration::try_from(response.max_age?).ok().filter(|age| !age.is_zero())?;
    let mask = Mask::read(&response.vary)?;
    let evaluated_at = response.evaluated_at.map(|at| (at.seconds, at.nanos))?;
    let mut digests = Vec::new();
    for decision in &response.decisions {
        digests.push(key::digest(&decision.digest)?);
        for evidence in &decision.evidence {
            digests.push(key::digest(&evidence.digest)?);
        }
    }
    digests.sort_unstable();
    digests.dedup();
    digests.shrink_to_fit();
    Some(Draft {
        mask,
        key: key::of(request, mask),
        until: ticket.asked + max_age.min(MAX_AGE),
        evaluated_at,
        digests,
        response: Arc::clone(response),
    })
}

#[cfg(test)]
mod tests;
