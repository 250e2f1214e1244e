//! A decision in, the record of it out.

mod evidence;
mod grounds;
mod answered;
mod line;
pub mod frame;
pub mod stored;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::decide::{
    Action, Context, Decision, MAX_JUSTIFICATION, Notice, NoticeKind, instant, printable,
};
use crate::evidence::Subject;
use crate::image::{Digest, Platform, Reference};

pub use self::answered::{Answered, AnsweredBy, MAX_CAUSE, MAX_IMAGE, Told};
pub use self::evidence::{EvidenceRecord, ReportRecord};
use self::evidence::{evidence_record, is_cut};
pub use self::grounds::{Criteria, ExemptionRecord, ViolationRecord};
pub use self::line::{Line, ReportLine, VexLine};
use self::stored::Grounds;

/// The most violations that an event lists, the most exemptions, notices and manifests.
pub const MAX_LISTED: usize = 100;
/// The longest name in an event, in bytes.
pub const MAX_NAME: usize = 512;
/// The most labels of a namespace, and the most of a pod, that an event has.
pub const MAX_LABELS: usize = 256;
/// The longest detail in an event, in bytes.
const MAX_DETAIL: usize = 1024;

/// What the caller knows of a question and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Names the event; unique.
    pub id: &'a str,
    /// When the answer was given.
    pub time: OffsetDateTime,
    /// How long that took.
    pub took: Duration,
    /// The container within the pod: one context may be of several.
    pub container: &'a str,
}

/// The record of one decision. All names are foreign, and so cut at [`MAX_NAME`] and without
/// control characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Names the event; unique.
    pub id: String,
    /// When the answer was given.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The answer.
    pub action: Action,
    /// Cluster.
    pub cluster: String,
    /// Cloud provider.
    pub provider: String,
    /// Subscription, account or project.
    pub account: String,
    /// Region.
    pub region: String,
    /// Namespace.
    pub namespace: String,
    /// Labels of the namespace, at most [`MAX_LABELS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace_labels: BTreeMap<String, String>,
    /// Kind of the workload.
    pub workload_kind: String,
    /// Name of the workload.
    pub workload: String,
    /// Pod.
    pub pod: String,
    /// Labels of the pod, at most [`MAX_LABELS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Service account.
    pub service_account: String,
    /// Container within the pod.
    pub container: String,
    /// Why the image must run, as whoever asked says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub justification: String,
    /// The image, normalised.
    pub image: String,
    /// Digest of what the image names; `None` where it could not be found out.
    pub digest: Option<Digest>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Message of the deciding violation.
    pub reason: Option<String>,
    /// The violations, the deciding one first, at most [`MAX_LISTED`].
    pub violations: Vec<ViolationRecord>,
    /// How many violations there were.
    pub violations_total: usize,
    /// The exemptions that were applied, at most [`MAX_LISTED`].
    pub exemptions: Vec<ExemptionRecord>,
    /// How many exemptions were applied.
    pub exemptions_total: usize,
    /// Name of the policy's break-glass entry by which a denial was lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
    /// What passed and should not pass in silence, at most [`MAX_LISTED`].
    pub notices: Vec<NoticeRecord>,
    /// How many notices there were.
    pub notices_total: usize,
    /// What was known of each manifest, at most [`MAX_LISTED`].
    pub evidence: Vec<EvidenceRecord>,
    /// How many manifests there were.
    pub evidence_total: usize,
    /// Where not all violations, exemptions and notices are listed: digest of the JSON of all of them, so
    /// that a copy from elsewhere can be told to be the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Digest>,
    /// Whether something that the decision was made from is not whole in this record: a name was cut
    /// or escaped, or a list was cut. Then it cannot be decided again.
    #[serde(skip_serializing_if = "is_false")]
    pub cut: bool,
    /// Revision of the policy that was applied.
    pub policy_revision: String,
    /// How long the answer took, in microseconds.
    pub duration_us: u64,
    /// By whom and when it was given, where the service did not give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
}

/// A notice in an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoticeRecord {
    /// The word for it.
    pub kind: &'static str,
    /// The rule that let it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The manifest, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Event {
    /// Records `decision`, made for `image` with its manifests `subjects` in `ctx`, whose own name of a
    /// container is not looked at.
    #[must_use]
    pub fn new(
        call: Call<'_>,
        image: &Reference,
        subjects: &[Subject],
        ctx: &Context,
        decision: &Decision,
    ) -> Self {
        let named = subjects.iter().find(|subject| subject.platform.is_none());
        let grounds = Grounds::new(decision, image, MAX_LISTED);
        let mut cut = subjects.len() > MAX_LISTED || subjects.iter().any(is_cut);
        let mut whole = |text: &str, limit| kept(text, limit, &mut cut);
        let justification = whole(&ctx.break_glass, MAX_JUSTIFICATION);
        let mut name = |text: &str| whole(text, MAX_NAME);
        Self {
            id: name(call.id),
            time: call.time,
            action: decision.action,
            cluster: name(&ctx.cluster),
            provider: name(&ctx.provider),
            account: name(&ctx.account),
            region: name(&ctx.region),
            namespace: name(&ctx.namespace),
            namespace_labels: labels(&ctx.namespace_labels, &mut name),
            workload_kind: name(&ctx.workload_kind),
            workload: name(&ctx.workload),
            pod: name(&ctx.pod),
            pod_labels: labels(&ctx.pod_labels, &mut name),
            service_account: name(&ctx.service_account),
            container: name(call.container),
            justification,
            image: image.to_string(),
            digest: named.and_then(|subject| subject.digest).or(image.digest()),
            rule: grounds.rule,
            reason: grounds.reason,
            violations: grounds.violations,
            violations_total: grounds.violations_total,
            exemptions: grounds.exemptions,
            exemptions_total: grounds.exemptions_total,
            break_glass: grounds.break_glass,
            notices: grounds.notices,
            notices_total: grounds.notices_total,
            evidence: listed(subjects, MAX_LISTED, evidence_record),
            evidence_total: subjects.len(),
            whole: grounds.whole,
            cut: cut
                || ctx.namespace_labels.len() > MAX_LABELS
                || ctx.pod_labels.len() > MAX_LABELS,
            policy_revision: decision.policy_revision.to_string(),
            duration_us: u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX),
            answered: None,
        }
    }
}

fn listed<T, R>(
    items: impl IntoIterator<Item = T>,
    limit: usize,
    record: impl FnMut(T) -> R,
) -> Vec<R> {
    items.into_iter().take(limit).map(record).collect()
}

fn name(text: &str) -> String {
    printable(text, MAX_NAME)
}

/// A text as a record has it; notes in `cut` if that is not the whole text.
fn kept(text: &str, limit: usize, cut: &mut bool) -> String {
    let kept = printable(text, limit);
    *cut |= kept != text;
    kept
}

fn labels(
    labels: &BTreeMap<String, String>,
    mut name: impl FnMut(&str) -> String,
) -> BTreeMap<String, String> {
    labels.iter().take(MAX_LABELS).map(|(key, value)| (name(key), name(value))).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn detail(text: &str) -> String {
    printable(text, MAX_DETAIL)
}

fn platform(platform: &Platform) -> Platform {
    Platform {
        os: name(&platform.os),
        architecture: name(&platform.architecture),
        variant: platform.variant.as_deref().map(name),
    }
}

fn notice_record(notice: &Notice) -> NoticeRecord {
    let text = match &notice.kind {
        NoticeKind::Unscanned
        | NoticeKind::Unsupported
        | NoticeKind::OutOfScope
        | NoticeKind::UnsupportedRegistry
        | NoticeKind::BreakGlassRefused(_) => None,
        NoticeKind::AllowedImage { pattern } => Some(detail(&format!("pattern {pattern}"))),
        NoticeKind::Cleared { by, ids, total } => {
            let by = by.map_or("the report".to_owned(), |digest| digest.to_string());
            Some(detail(&format!("{total} by {by}: {}", ids.join(", "))))
        }
        NoticeKind::Unavailable(cause) => Some(detail(&cause.to_string())),
        NoticeKind::OldReport { report, scanned_at }
        | NoticeKind::EarlyReport { report, scanned_at } => {
            Some(format!("report {report}, scanned at {}", instant(*scanned_at)))
        }
        NoticeKind::Signature { report, detail: text } => {
            Some(detail(&format!("report {report}: {text}")))
        }
    };
    NoticeRecord {
        kind: notice.kind.as_str(),
        rule: notice.rule.as_deref().map(name),
        subject: notice.subject,
        detail: text,
    }
}

/// Doors for fuzz targets.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use super::frame::{Found, Frames};
    use super::stored::{KnownRecord, Stored};

    /// Reads `bytes` as the records of a segment, and each record as whatever it may be.
    pub fn segment(bytes: &[u8]) {
        let _ = Stored::read(bytes);
        let mut frames = Frames::new(bytes, 0);
        let mut last = 0;
        while let Some(found) = frames.next() {
            assert!(frames.at() > last, "a reader goes on");
            last = frames.at();
            let Found::Record(record) = found else { continue };
            let known = KnownRecord::read(record.body);
            if let Ok(known) = &known {
                let _ = known.attached();
            }
            if let Ok(stored) = Stored::read(record.body) {
                let line = stored.line("id", record.number, |_| known.as_ref().ok());
                let _ = serde_json::to_vec(&line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
