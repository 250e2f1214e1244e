//! Messages of the contract in, core's values out, and back.

mod spare;
mod request;
mod response;
mod bulk;
mod explanation;
mod inspection;
mod refreshed;
mod reported;

use portcullis_core::decide::{Action, Applied, Lifted, Notice, Violation};
use portcullis_core::evidence::{Evidence, Report, Source, Subject};
use portcullis_core::findings::{Epss, FindingRef, Findings, FixState, Score, Severity};
use portcullis_core::image::{Digest, Platform, Reference};
use portcullis_proto::v1;
use time::OffsetDateTime;

pub(super) use self::bulk::{bulk_answer, bulk_question};
pub(super) use self::explanation::Detail;
pub use self::explanation::MAX_EXPLAINED;
pub use self::inspection::MAX_ATTACHED;
pub(crate) use self::inspection::inspection;
pub(crate) use self::refreshed::refreshed;
pub(super) use self::reported::reports;
pub use self::request::MAX_CONTEXT;
pub(super) use self::request::{StreamRequest, nodes, question, stream_request};
pub(super) use self::response::answer;
pub(super) use self::spare::done;

/// The most violations in one decision's message.
pub const MAX_VIOLATIONS: usize = 64;
/// The most notices in one decision's message.
pub const MAX_NOTICES: usize = 64;
/// The most applied exemptions in one decision's message.
pub const MAX_EXEMPTIONS: usize = 64;

fn notice(notice: &Notice) -> v1::Notice {
    v1::Notice {
        kind: notice.kind.as_str().to_owned(),
        rule: notice.rule.as_deref().unwrap_or_default().to_owned(),
        digest: digest(notice.subject),
        platform: platform(notice.platform.as_ref()),
        message: notice.message(),
    }
}

fn exemption(applied: &Applied) -> v1::AppliedExemption {
    v1::AppliedExemption {
        name: applied.name.to_string(),
        owner: applied.owner.clone(),
        reason: applied.reason.clone(),
        ticket: applied.ticket.clone().unwrap_or_default(),
        until: applied.until.map(timestamp),
        rule: applied.rule.to_string(),
        digest: digest(applied.subject),
        platform: platform(applied.platform.as_ref()),
        condition: applied.condition.unwrap_or_default().to_owned(),
        finding_ids: applied.findings().map(|finding| finding.id().to_owned()).collect(),
        findings_total: count(applied.total()),
    }
}

fn break_glass(lifted: &Lifted) -> v1::BreakGlass {
    v1::BreakGlass { name: lifted.name.to_string(), justification: lifted.justification.clone() }
}

fn digest(digest: Option<Digest>) -> String {
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

fn platform(platform: Option<&Platform>) -> String {
    platform.map(ToString::to_string).unwrap_or_default()
}

const fn action(action: Action) -> v1::Action {
    match action {
        Action::Allow => v1::Action::Allow,
        Action::Audit => v1::Action::Audit,
        Action::Deny => v1::Action::Deny,
    }
}

fn violation(violation: &Violation, image: &Reference) -> v1::Violation {
    v1::Violation {
        rule: violation.rule.to_string(),
        action: action(violation.action).into(),
        deciding: violation.deciding,
        condition: violation.condition.as_str().to_owned(),
        message: violation.message(image),
        digest: digest(violation.subject),
        platform: platform(violation.platform.as_ref()),
        findings: violation.findings().map(finding).collect(),
        findings_total: count(violation.total()),
        reason: violation.reason(),
    }
}

fn finding(finding: FindingRef<'_>) -> v1::Finding {
    let stated = |text: Option<&str>| text.unwrap_or_default().to_owned();
    v1::Finding {
        id: finding.id().to_owned(),
        aliases: finding.aliases().map(str::to_owned).collect(),
        severity: severity(finding.severity()).into(),
        package: stated(finding.package()),
        installed: stated(finding.installed()),
        fixed: finding.fixed().map(str::to_owned).collect(),
        purl: stated(finding.purl()),
        score: finding.score().map(Score::value),
        fix_state: fix_state(finding.fix_state()).into(),
        known_exploited: finding.known_exploited(),
        epss: finding.epss().map(Epss::as_f32),
        published: finding.published().map(timestamp),
        first_seen: finding.first_seen().map(timestamp),
    }
}

const fn fix_state(state: FixState) -> v1::FixState {
    match state {
        FixState::NotStated => v1::FixState::Unspecified,
        FixState::Fixed => v1::FixState::Fixed,
        FixState::NotFixed => v1::FixState::NotFixed,
        FixState::WontFix => v1::FixState::WontFix,
    }
}

const fn severity(severity: Severity) -> v1::Severity {
    match severity {
        Severity::Unknown => v1::Severity::Unspecified,
        Severity::Negligible => v1::Severity::Negligible,
        Severity::Low => v1::Severity::Low,
        Severity::Medium => v1::Severity::Medium,
        Severity::High => v1::Severity::High,
        Severity::Critical => v1::Severity::Critical,
    }
}

fn evidence(subject: &Subject) -> v1::Evidence {
    let reports = match subject.evidence.as_ref() {
        Evidence::Verified(reports) => reports.iter().map(|r| report(r)).collect(),
        _ => Vec::new(),
    };
    v1::Evidence {
        digest: digest(subject.digest),
        platform: platform(subject.platform.as_ref()),
        status: status_of(&subject.evidence).into(),
        detail: subject.evidence.detail().unwrap_or_default(),
        reports,
        source: source_of(subject.source).into(),
        fetched_at: Some(timestamp(subject.fetched_at)),
    }
}

fn report(report: &Report) -> v1::Report {
    v1::Report {
        digest: report.digest.to_string(),
        scanner: report.findings.scanner.name.to_string(),
        scanned_at: Some(timestamp(report.findings.scanned_at)),
        signer: report.signer.subject.clone(),
        counts: Some(counts(&report.findings)),
    }
}

fn counts(findings: &Findings) -> v1::SeverityCounts {
    let of = |severity| count(findings.count(severity));
    v1::SeverityCounts {
        critical: of(Severity::Critical),
        high: of(Severity::High),
        medium: of(Severity::Medium),
        low: of(Severity::Low),
        negligible: of(Severity::Negligible),
        unknown: of(Severity::Unknown),
    }
}

const fn source_of(source: Source) -> v1::EvidenceSource {
    match source {
        Source::Registry => v1::EvidenceSource::Registry,
        Source::Memory => v1::EvidenceSource::Memory,
        Source::Store => v1::EvidenceSource::Store,
        Source::Stale => v1::EvidenceSource::Stale,
    }
}

const fn status_of(evidence: &Evidence) -> v1::EvidenceStatus {
    match evidence {
        Evidence::Verified(_) => v1::EvidenceStatus::Verified,
        Evidence::Missing => v1::EvidenceStatus::Missing,
        Evidence::Rejected(_) => v1::EvidenceStatus::Rejected,
        Evidence::Stale { .. } => v1::EvidenceStatus::Stale,
        Evidence::Withheld => v1::EvidenceStatus::Withheld,
        Evidence::Unavailable(_) => v1::EvidenceStatus::Unavailable,
        Evidence::Unsupported => v1::EvidenceStatus::Unsupported,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn timestamp(at: OffsetDateTime) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.unix_timestamp(),
        // Below 10^9, and so never out of range.
        nanos: i32::try_from(at.nanosecond()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
