//! Manifests and what is known of each in, what has to be decided out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use time::OffsetDateTime;

use super::{Clock, MAX_SIGNATURE_NOTICES, MAX_SKEW, Notice, NoticeKind, instant};
use crate::evidence::{Cause, CauseKind, Evidence, Reason, Rejection, Report, Reports, Subject};
use crate::image::{Digest, Platform};

/// Some of the reports on a manifest; more than four scanners are rare.
type Several<'a> = SmallVec<[&'a Arc<Report>; 4]>;

/// A manifest that has to be decided.
#[derive(Debug)]
pub(super) struct Looked<'a> {
    pub(super) digest: Option<Digest>,
    pub(super) platform: Option<&'a Platform>,
    pub(super) known: Known<'a>,
}

/// What is known of it, at the time of the question.
#[derive(Debug)]
pub(super) enum Known<'a> {
    /// At least one report, newest scan first.
    Reports(Several<'a>, &'a Reports),
    Missing,
    Rejected(Cow<'a, Rejection>),
    Unconfirmed(Duration),
    Withheld,
    Unavailable(Cow<'a, Cause>),
    Unsupported,
}

impl Looked<'_> {
    pub(super) fn notice(&self, kind: NoticeKind) -> Notice {
        let (subject, platform) = (self.digest, self.platform.cloned());
        Notice { rule: None, subject, platform, kind }
    }
}

/// The subjects that have to be decided, by platform: an index and its platforms may speak for each
/// other where one of them has no evidence.
pub(super) fn look<'a>(
    subjects: &'a [Subject],
    clock: &mut Clock,
    notices: &mut Vec<Notice>,
) -> SmallVec<[Looked<'a>; 2]> {
    let mut looked: SmallVec<[_; 2]> = SmallVec::new();
    for subject in subjects {
        looked.push(look_at(subject, clock, notices));
    }
    // What stands alone is spoken for by nobody.
    if looked.len() == 1 {
        return looked;
    }
    let covers = |l: &Looked<'_>| l.platform.is_none() && matches!(l.known, Known::Reports(..));
    let covered = looked.iter().any(covers);
    let has_platforms = looked.iter().any(|l| l.platform.is_some());
    looked.retain(|l| {
        let spoken_for = if l.platform.is_some() { covered } else { has_platforms };
        !(spoken_for && matches!(l.known, Known::Missing))
    });
    looked.sort_by(|a, b| (a.platform, a.digest).cmp(&(b.platform, b.digest)));
    if looked.is_empty() {
        // Nothing was looked at, and that must not pass for nothing found.
        let detail = "no manifest of the image is known".to_owned();
        let cause = Cow::Owned(Cause { kind: CauseKind::NotFound, detail });
        looked.push(Looked { digest: None, platform: None, known: Known::Unavailable(cause) });
    }
    looked
}

fn look_at<'a>(subject: &'a Subject, clock: &mut Clock, notices: &mut Vec<Notice>) -> Looked<'a> {
    let known = match &*subject.evidence {
        Evidence::Verified(reports) => Known::Reports(SmallVec::new(), reports),
        Evidence::Missing => Known::Missing,
        Evidence::Rejected(rejection) => Known::Rejected(Cow::Borrowed(rejection)),
        Evidence::Stale { age } => Known::Unconfirmed(*age),
        Evidence::Withheld => Known::Withheld,
        Evidence::Unavailable(cause) => Known::Unavailable(Cow::Borrowed(cause)),
        Evidence::Unsupported => Known::Unsupported,
    };
    let mut looked = Looked { digest: subject.digest, platform: subject.platform.as_ref(), known };
    let Evidence::Verified(reports) = &*subject.evidence else {
        return looked;
    };
    // Hardly any is early.
    let (mut believed, mut early) = (Several::new(), Vec::new());
    for report in reports.iter() {
        let scanned_at = report.findings.scanned_at;
        // Nearly all are of the past, and a time is cheaper compared than reckoned with.
        let from = if scanned_at <= clock.now { None } else { believed_from(scanned_at) };
        if let Some(from) = from {
            clock.changes_at(from);
        }
        if from.is_none_or(|from| from <= clock.now) {
            believed.push(report);
        } else {
            early.push(report);
        }
    }
    if believed.is_empty() {
        let first = early.iter().min_by_key(|r| (r.findings.scanned_at, r.digest));
        let detail = match first {
            Some(report) => {
                let at = instant(report.findings.scanned_at);
                format!("its scan finishes in the future, at {at}")
            }
            None => "there is no report in it".to_owned(),
        };
        let report = first.map(|report| report.digest);
        let rejection = Rejection { reason: Reason::Malformed, report, detail };
        looked.known = Known::Rejected(Cow::Owned(rejection));
        return looked;
    }
    for report in early {
        let (report, scanned_at) = (report.digest, report.findings.scanned_at);
        notices.push(looked.notice(NoticeKind::EarlyReport { report, scanned_at }));
    }
    for report in &believed {
        for detail in report.notices.iter().take(MAX_SIGNATURE_NOTICES) {
            let (report, detail) = (report.digest, detail.clone());
            notices.push(looked.notice(NoticeKind::Signature { report, detail }));
        }
    }
    if believed.len() > 1 {
        believed.sort_by_key(|r| (std::cmp::Reverse(r.findings.scanned_at), r.digest));
    }
    looked.known = Known::Reports(believed, reports);
    looked
}

/// The first instant at which a scan time is believed; `None` if that is before all time.
pub(super) fn believed_from(scanned_at: OffsetDateTime) -> Option<OffsetDateTime> {
    scanned_at.checked_sub(time::Duration::try_from(MAX_SKEW).ok()?)
}
