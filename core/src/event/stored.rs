//! A decision in, few bytes that say as much as its event out: JSON is made only when someone reads it.
//!
//! ```text
//! count 1 │ names of what was known 4 each │ when, how long, what │ image │ context │ manifests │ grounds
//! ```
//!
//! What was known of a manifest is [`known`] by a name of four bytes and written once for many decisions.
//! Numbers are varints (LEB128), texts stand behind their length. The grounds are JSON, because most
//! decisions have none.

mod read;
mod text;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::evidence::{Status, is_cut};
use super::grounds::{exemption_record, violation_record};
use super::{
    Answered, ExemptionRecord, MAX_LABELS, MAX_LISTED, MAX_NAME, NoticeRecord, Told,
    ViolationRecord, listed, name, notice_record,
};
use crate::decide::{Action, Context, Decision, MAX_JUSTIFICATION};
use crate::evidence::{Evidence, Subject};
use crate::image::{Digest, Reference};

pub use self::read::{KnownRecord, Stored, StoredError, StoredLine};

/// The longest grounds of one decision, in bytes of JSON: lists are made shorter until they fit.
pub const MAX_GROUNDS: usize = 256 * 1024;
/// The longest decision, in bytes: grounds, 512 labels of two names and a mark each, and the rest.
pub const MAX_STORED: usize = MAX_GROUNDS + 4 * MAX_LABELS * (MAX_NAME + 8) + 128 * 1024;
/// How much more than its bound is kept of a text, so that it shows that it was longer.
const OVER: usize = 4;
/// The room that most decisions need without their grounds, in bytes.
const USUAL: usize = 512;
/// In `flags`: something is not whole.
const CUT: u8 = 1;

/// What there is to say about one decision.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// When the answer was given.
    pub time: OffsetDateTime,
    /// How long that took.
    pub took: Duration,
    /// The image as asked, normalised.
    pub image: &'a Reference,
    /// What was known of the image and its platforms.
    pub subjects: &'a [Subject],
    /// Where it would run, whose own name of a container is not looked at.
    pub ctx: &'a Context,
    /// The container within the pod.
    pub container: &'a str,
    /// The decision.
    pub decision: &'a Decision,
}

/// Why a decision was made, in an event. All that a plain allow has not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Grounds {
    pub(super) rule: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) violations: Vec<ViolationRecord>,
    pub(super) violations_total: usize,
    pub(super) exemptions: Vec<ExemptionRecord>,
    pub(super) exemptions_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) break_glass: Option<String>,
    pub(super) notices: Vec<NoticeRecord>,
    pub(super) notices_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) whole: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answered: Option<Answered>,
}

impl Grounds {
    /// The grounds of `decision` about `image`; of each list at most `limit`. Where that is not all, with
    /// a digest of all.
    pub(super) fn new(decision: &Decision, image: &Reference, limit: usize) -> Self {
        let longest = decision.violations.len().max(decision.exemptions.len());
        let cut = longest.max(decision.notices.len()) > limit;
        let mut grounds = Self::listing(decision, image, limit);
        grounds.whole = cut.then(|| Self::listing(decision, image, usize::MAX).digest());
        grounds
    }

    fn listing(decision: &Decision, image: &Reference, limit: usize) -> Self {
        let mut violations: Vec<_> = decision.violations.iter().collect();
        violations.sort_by_key(|violation| !violation.deciding);
        Self {
            rule: decision.rule.as_deref().map(name),
            reason: decision.deciding().map(|violation| violation.message(image)),
            violations: listed(violations, limit, |violation| violation_record(violation, image)),
            violations_total: decision.violations.len(),
            exemptions: listed(&decision.exemptions, limit, exemption_record),
            exemptions_total: decision.exemptions.len(),
            break_glass: decision.break_glass.as_ref().map(|lifted| name(&lifted.name)),
            notices: listed(&decision.notices, limit, notice_record),
            notices_total: decision.notices.len(),
            whole: None,
            answered: None,
        }
    }

    /// Of its JSON.
    fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Whether `decision` has no grounds: what was asked may run, and there is nothing to say about it.
#[must_use]
pub const fn is_plain(decision: &Decision) -> bool {
    matches!(decision.action, Action::Allow)
        && decision.rule.is_none()
        && decision.violations.is_empty()
        && decision.exemptions.is_empty()
        && decision.notices.is_empty()
        && decision.break_glass.is_none()
}

/// The grounds of `decision` about `image`, at most [`MAX_GROUNDS`] bytes; empty for a plain allow.
#[must_use]
pub fn grounds(decision: &Decision, image: &Reference) -> Vec<u8> {
    if is_plain(decision) {
        return Vec::new();
    }
    let mut limit = MAX_LISTED;
    let mut grounds = Grounds::new(decision, image, limit);
    loop {
        // These types have no map and nothing that could fail.
        let json = serde_json::to_vec(&grounds).unwrap_or_default();
        if json.len() <= MAX_GROUNDS || limit == 0 {
            return json;
        }
        limit /= 2;
        let digest = || Grounds::listing(decision, image, usize::MAX).digest();
        let whole = Some(grounds.whole.unwrap_or_else(digest));
        grounds = Grounds { whole, ..Grounds::listing(decision, image, limit) };
    }
}

/// What was known of a manifest, as decisions name it.
#[must_use]
pub fn known(evidence: &Evidence) -> Vec<u8> {
    serde_json::to_vec(&Status::of(evidence)).unwrap_or_default()
}

/// Appends `made` with its `grounds` to `out`. `name_of` gives the name of what was known of a manifest.
/// Takes no memory beside what `out` takes.
pub fn write(
    out: &mut Vec<u8>,
    made: &Made<'_>,
    grounds: &[u8],
    mut name_of: impl FnMut(&Arc<Evidence>) -> u32,
) {
    let Made { time, took, image, subjects, ctx, container, decision } = made;
    let listed = subjects.get(..MAX_LISTED).unwrap_or(subjects);
    out.reserve(USUAL + grounds.len());
    // There are fewer than 256.
    out.push(u8::try_from(listed.len()).unwrap_or(0));
    for subject in listed {
        out.extend_from_slice(&name_of(&subject.evidence).to_le_bytes());
    }
    instant(out, *time);
    varint(out, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    out.push(word(decision.action));
    let cut = subjects.len() > MAX_LISTED
        || ctx.namespace_labels.len() > MAX_LABELS
        || ctx.pod_labels.len() > MAX_LABELS
        || subjects.iter().any(is_cut);
    out.push(if cut { CUT } else { 0 });
    text(out, image.undigested(), usize::MAX);
    optional(out, image.digest());
    let named = subjects.iter().find(|subject| subject.platform.is_none());
    let digest = named.and_then(|subject| subject.digest).or(image.digest());
    optional(out, digest.filter(|_| digest != image.digest()));
    place(out, ctx, container);
    text(out, &decision.policy_revision, MAX_NAME);
    varint(out, subjects.len() as u64);
    for subject in listed {
        manifest(out, subject, digest);
    }
    out.extend_from_slice(grounds);
}

/// Appends what is `told` to `out`.
pub fn write_told(out: &mut Vec<u8>, told: &Told<'_>) {
    out.reserve(USUAL);
    out.push(0);
    instant(out, told.time);
    varint(out, 0);
    out.push(word(told.action));
    out.push(if told.is_cut() { CUT } else { 0 });
    text(out, &told.image(), usize::MAX);
    optional(out, None);
    optional(out, told.digest);
    place(out, told.ctx, told.container);
    text(out, &name(told.policy_revision), MAX_NAME);
    varint(out, 0);
    // These types have no map and nothing that could fail.
    out.extend(serde_json::to_vec(&told.grounds()).unwrap_or_default());
}

const fn word(action: Action) -> u8 {
    match action {
        Action::Allow => 0,
        Action::Audit => 1,
        Action::Deny => 2,
    }
}

/// Where an image would run.
fn place(out: &mut Vec<u8>, ctx: &Context, container: &str) {
    for name in [
        ctx.cluster.as_str(),
        &ctx.provider,
        &ctx.account,
        &ctx.region,
        &ctx.namespace,
        &ctx.workload_kind,
        &ctx.workload,
        &ctx.pod,
        &ctx.service_account,
        container,
    ] {
        text(out, name, MAX_NAME);
    }
    text(out, &ctx.break_glass, MAX_JUSTIFICATION);
    for labels in [&ctx.namespace_labels, &ctx.pod_labels] {
        varint(out, labels.len().min(MAX_LABELS) as u64);
        for (key, value) in labels.iter().take(MAX_LABELS) {
            text(out, key, MAX_NAME);
            text(out, value, MAX_NAME);
        }
    }
}

/// Gives each name of what was known in `stored` a new one.
pub fn rename(stored: &mut [u8], mut name: impl FnMut(u32) -> u32) {
    let Some((count, mut rest)) = stored.split_first_mut() else { return };
    for _ in 0..*count {
        let Some((old, behind)) = rest.split_first_chunk_mut() else { return };
        *old = name(u32::from_le_bytes(*old)).to_le_bytes();
        rest = behind;
    }
}

/// What a manifest has of its own. Its digest is left out where it is that of the event.
fn manifest(out: &mut Vec<u8>, subject: &Subject, digest: Option<Digest>) {
    let same = subject.digest == digest;
    out.push(u8::from(same));
    if !same {
        optional(out, subject.digest);
    }
    out.push(u8::from(subject.platform.is_some()));
    if let Some(platform) = &subject.platform {
        text(out, &platform.os, MAX_NAME);
        text(out, &platform.architecture, MAX_NAME);
        out.push(u8::from(platform.variant.is_some()));
        text(out, platform.variant.as_deref().unwrap_or_default(), MAX_NAME);
    }
    text(out, subject.source.as_str(), MAX_NAME);
    instant(out, subject.fetched_at);
}

fn optional(out: &mut Vec<u8>, digest: Option<Digest>) {
    out.push(u8::from(digest.is_some()));
    if let Some(digest) = digest {
        out.extend_from_slice(digest.as_bytes());
    }
}

fn instant(out: &mut Vec<u8>, instant: OffsetDateTime) {
    out.extend_from_slice(&instant.unix_timestamp().to_le_bytes());
    out.extend_from_slice(&instant.nanosecond().to_le_bytes());
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// `text`, or a little more of it than `limit` bytes.
fn text(out: &mut Vec<u8>, text: &str, limit: usize) {
    // Nearly all are so: their length takes a byte, and no bound is near.
    if let Ok(length @ 0..0x80) = u8::try_from(text.len())
        && text.len() <= limit
    {
        out.push(length);
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let most = limit.saturating_add(OVER);
    let end = if text.len() > most { text.floor_char_boundary(most) } else { text.len() };
    let text = text.get(..end).unwrap_or_default();
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
