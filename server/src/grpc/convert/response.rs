//! An answer in, the bytes of its message out: every admission passes here, so that what most answers
//! have is written without a message in between.

use portcullis_core::evidence::{Evidence, Report, Reports, Subject};
use portcullis_core::findings::Severity;
use portcullis_core::image::{Digest, Reference};
use portcullis_core::policy::Policy;

use super::explanation::{Detail, explain};
use super::{
    MAX_EXEMPTIONS, MAX_NOTICES, MAX_VIOLATIONS, action, break_glass, exemption, notice, source_of,
    status_of, violation,
};
use crate::check::{Answer, Decided, Purpose};
use crate::grpc::wire::Writer;

/// The room that most answers take for each container, and for all else, in bytes.
const USUAL: (usize, usize) = (512, 256);

/// The bytes of the text of a digest, with which that of an image ends that has one.
const DIGEST: usize = "sha256:".len() + 64;

/// Writes a `CheckResponse`. With explanations it may take long.
pub(in crate::grpc) fn answer(to: &mut Writer<'_>, answer: &Answer, detail: Detail) {
    to.reserve(answer.decided.len() * USUAL.0 + USUAL.1);
    let strictest = answer.decided.iter().map(|d| d.decision.action).max();
    to.number(1, strictest.map_or(0, |strictest| number(action(strictest).into())));
    for decided in &answer.decided {
        to.long_message(2, |to| decision(to, answer, decided, detail));
    }
    to.text(3, answer.policy.revision());
    to.timestamp(4, answer.evaluated_at);
    to.duration(5, answer.max_age);
    vary(to, 6, &answer.policy, answer.depends);
    to.number(7, u64::from(answer.purpose == Purpose::Advice));
    let changes = answer.decided.iter().filter_map(|decided| decided.decision.changes_at);
    if let Some(changes_at) = changes.min() {
        to.timestamp(8, changes_at);
    }
}

/// What the policy reads, and what the platforms that were looked at depend on.
pub(super) fn vary(to: &mut Writer<'_>, into: u32, policy: &Policy, depends: &[&str]) {
    let read = || policy.vary().iter().map(|field| field.as_str());
    for field in read() {
        to.element(into, field);
    }
    for field in depends.iter().filter(|field| !read().any(|read| read == **field)) {
        to.element(into, field);
    }
}

fn decision(to: &mut Writer<'_>, answer: &Answer, decided: &Decided, detail: Detail) {
    let Decided { container, image, subjects, decision, took: _ } = decided;
    let own = subjects.iter().find(|s| s.platform.is_none()).and_then(|s| s.digest);
    to.text(1, container);
    to.text(2, image.as_str());
    digest(to, 3, own, image);
    to.number(4, number(action(decision.action).into()));
    to.text(5, decision.rule.as_deref().unwrap_or_default());
    to.text(6, &decision.denial(container, image, answer.evaluated_at));
    let deciding = decision.violations.iter().filter(|v| v.deciding);
    let others = decision.violations.iter().filter(|v| !v.deciding);
    for shown in deciding.chain(others).take(MAX_VIOLATIONS) {
        to.generated(7, &violation(shown, image));
    }
    to.number(8, decision.violations.len() as u64);
    for subject in subjects {
        to.long_message(9, |to| evidence(to, subject, image));
    }
    let notices = || decision.notices.iter().take(MAX_NOTICES);
    for shown in notices() {
        to.element(10, &shown.message());
    }
    for shown in notices() {
        to.generated(11, &notice(shown));
    }
    to.number(12, decision.notices.len() as u64);
    for applied in decision.exemptions.iter().take(MAX_EXEMPTIONS) {
        to.generated(13, &exemption(applied));
    }
    to.number(14, decision.exemptions.len() as u64);
    if let Some(lifted) = &decision.break_glass {
        to.generated(15, &break_glass(lifted));
    }
    if detail == Detail::Explained {
        to.generated(20, &explain(answer, decided));
    }
}

/// The text of a digest, which most have in the text of the image already.
fn digest(to: &mut Writer<'_>, field: u32, digest: Option<Digest>, image: &Reference) {
    if digest.is_some()
        && digest == image.digest()
        && let Some(at) = image.as_str().len().checked_sub(DIGEST)
        && let Some(text) = image.as_str().get(at..)
    {
        return to.text(field, text);
    }
    to.digest(field, digest);
}

fn evidence(to: &mut Writer<'_>, subject: &Subject, image: &Reference) {
    digest(to, 1, subject.digest, image);
    if let Some(platform) = &subject.platform {
        to.display(2, platform);
    }
    to.number(3, number(status_of(&subject.evidence).into()));
    if let Evidence::Verified(list) = &*subject.evidence {
        // The same for each answer, until there are others.
        to.written(list.told(reports));
    } else {
        to.text(4, &subject.evidence.detail().unwrap_or_default());
    }
    to.number(6, number(source_of(subject.source).into()));
    to.timestamp(7, subject.fetched_at);
}

/// The reports in an `Evidence`.
pub(super) fn reports(reports: &Reports) -> Box<[u8]> {
    let mut told = Vec::with_capacity(reports.told_room());
    let mut to = Writer::new(&mut told);
    for shown in reports.iter() {
        to.message(5, |to| report(to, shown));
    }
    told.into_boxed_slice()
}

fn report(to: &mut Writer<'_>, report: &Report) {
    to.digest(1, Some(report.digest));
    to.text(2, &report.findings.scanner.name);
    to.timestamp(3, report.findings.scanned_at);
    to.text(4, &report.signer.subject);
    to.message(5, |to| {
        let severities = [
            (1, Severity::Critical),
            (2, Severity::High),
            (3, Severity::Medium),
            (4, Severity::Low),
            (5, Severity::Negligible),
            (6, Severity::Unknown),
        ];
        for (field, severity) in severities {
            to.number(field, report.findings.count(severity) as u64);
        }
    });
}

/// The number of a value of an enum of the contract, none of which is negative.
pub(super) const fn number(value: i32) -> u64 {
    value.cast_unsigned() as u64
}
