//! Messages of the contract in, core's values out, and back.

mod explanation;
mod inspection;

use std::time::Duration;

use portcullis_core::decide::{
    Action, Applied, Context, Lifted, MAX_JUSTIFICATION, Notice, Violation,
};
use portcullis_core::evidence::{Evidence, Report, Source, Subject};
use portcullis_core::findings::{Epss, FindingRef, Findings, FixState, Score, Severity};
use portcullis_core::image::{Digest, MAX_NODES, Nodes, Platform, Reference};
use portcullis_proto::v1;
use time::OffsetDateTime;
use tonic::Status;

pub use self::explanation::MAX_EXPLAINED;
pub(crate) use self::explanation::{Detail, explain};
pub use self::inspection::MAX_ATTACHED;
pub(crate) use self::inspection::inspection;
use super::status;
use crate::check::{Answer, Decided, MAX_CONTAINERS, Question};

/// The most violations in one decision's message.
pub const MAX_VIOLATIONS: usize = 64;
/// The most notices in one decision's message.
pub const MAX_NOTICES: usize = 64;
/// The most applied exemptions in one decision's message.
pub const MAX_EXEMPTIONS: usize = 64;

/// Reads a question.
///
/// # Errors
/// INVALID_ARGUMENT when there are no or too many containers, an image reference is malformed, or the
/// justification is longer than [`MAX_JUSTIFICATION`]; the details name the field.
pub(crate) fn question(request: v1::CheckRequest) -> Result<Question, Status> {
    let v1::CheckRequest { context, containers, explain } = request;
    if containers.is_empty() {
        return Err(status::invalid("containers", "there are no `containers` to decide about"));
    }
    if containers.len() > MAX_CONTAINERS {
        let message = format!(
            "there are {} `containers`, more than the {MAX_CONTAINERS} allowed in one question",
            containers.len()
        );
        return Err(status::invalid("containers", &message));
    }
    explanation::check(&containers, explain)?;
    let read = |(index, container): (usize, v1::Container)| {
        let v1::Container { name, image } = container;
        let image: Reference = image.parse().map_err(|error| {
            status::invalid(&format!("containers[{index}].image"), &format!("{error}"))
        })?;
        Ok((name, image))
    };
    let containers = containers.into_iter().enumerate().map(read).collect::<Result<_, Status>>()?;
    let mut context = context.unwrap_or_default();
    let nodes = nodes("context.platforms", &std::mem::take(&mut context.platforms))?;
    Ok(Question { context: self::context(context)?, nodes, containers })
}

/// Reads the platforms that `field` names.
///
/// # Errors
/// INVALID_ARGUMENT when there are too many, or one is malformed.
pub(crate) fn nodes(field: &str, platforms: &[String]) -> Result<Nodes, Status> {
    if platforms.len() > MAX_NODES {
        let message = format!(
            "`{field}` has {} platforms, more than the {MAX_NODES} allowed",
            platforms.len()
        );
        return Err(status::invalid(field, &message));
    }
    let read = |(index, platform): (usize, &String)| {
        let platform = platform.parse::<Platform>();
        platform.map_err(|error| status::invalid(&format!("{field}[{index}]"), &format!("{error}")))
    };
    Ok(Nodes::new(platforms.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?))
}

fn context(context: v1::Context) -> Result<Context, Status> {
    let v1::Context {
        cluster,
        cloud,
        namespace,
        namespace_labels,
        workload,
        pod,
        pod_labels,
        service_account,
        break_glass,
        platforms: _,
    } = context;
    if break_glass.len() > MAX_JUSTIFICATION {
        let message = format!(
            "`context.break_glass` is {} bytes long, more than the {MAX_JUSTIFICATION} allowed",
            break_glass.len()
        );
        return Err(status::invalid("context.break_glass", &message));
    }
    let v1::Cloud { provider, account, region } = cloud.unwrap_or_default();
    let v1::Workload { kind, name } = workload.unwrap_or_default();
    Ok(Context {
        provider,
        account,
        region,
        cluster,
        namespace,
        namespace_labels: namespace_labels.into_iter().collect(),
        workload_kind: kind,
        workload: name,
        pod,
        pod_labels: pod_labels.into_iter().collect(),
        service_account,
        container: String::new(),
        break_glass: break_glass.trim().to_owned(),
    })
}

pub(crate) fn answer(answer: &Answer) -> v1::CheckResponse {
    let strictest = answer.decided.iter().map(|d| d.decision.action).max();
    v1::CheckResponse {
        action: strictest.map_or(v1::Action::Unspecified, action).into(),
        decisions: answer.decided.iter().map(|d| decision(d, answer.evaluated_at)).collect(),
        policy_revision: answer.policy.revision().to_owned(),
        evaluated_at: Some(timestamp(answer.evaluated_at)),
        max_age: Some(duration(answer.max_age)),
        vary: vary(answer),
    }
}

/// What the policy reads, and what the platforms that were looked at depend on.
fn vary(answer: &Answer) -> Vec<String> {
    let mut vary: Vec<_> = answer.policy.vary().iter().map(|field| field.as_str()).collect();
    let more = answer.depends.iter().filter(|field| !vary.contains(field));
    let more: Vec<_> = more.copied().collect();
    vary.extend(more);
    vary.into_iter().map(str::to_owned).collect()
}

fn decision(decided: &Decided, now: OffsetDateTime) -> v1::Decision {
    let Decided { context, image, subjects, decision, took: _ } = decided;
    let deciding = decision.violations.iter().filter(|v| v.deciding);
    let others = decision.violations.iter().filter(|v| !v.deciding);
    let own = subjects.iter().find(|s| s.platform.is_none()).and_then(|s| s.digest);
    let notices = || decision.notices.iter().take(MAX_NOTICES);
    v1::Decision {
        container: context.container.clone(),
        image: image.to_string(),
        digest: digest(own),
        action: action(decision.action).into(),
        rule: decision.rule.as_deref().unwrap_or_default().to_owned(),
        message: decision.denial(&context.container, image, now),
        violations: deciding
            .chain(others)
            .take(MAX_VIOLATIONS)
            .map(|v| violation(v, image))
            .collect(),
        violations_total: count(decision.violations.len()),
        evidence: subjects.iter().map(evidence).collect(),
        notices: notices().map(Notice::message).collect(),
        notice_details: notices().map(notice).collect(),
        notices_total: count(decision.notices.len()),
        exemptions: decision.exemptions.iter().take(MAX_EXEMPTIONS).map(exemption).collect(),
        exemptions_total: count(decision.exemptions.len()),
        break_glass: decision.break_glass.as_ref().map(break_glass),
        explanation: None,
    }
}

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
        source: match subject.source {
            Source::Registry => v1::EvidenceSource::Registry,
            Source::Memory => v1::EvidenceSource::Memory,
        }
        .into(),
        fetched_at: Some(timestamp(subject.fetched_at)),
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
    let mut counts = v1::SeverityCounts::default();
    for finding in findings.iter() {
        let count = match finding.severity() {
            Severity::Unknown => &mut counts.unknown,
            Severity::Negligible => &mut counts.negligible,
            Severity::Low => &mut counts.low,
            Severity::Medium => &mut counts.medium,
            Severity::High => &mut counts.high,
            Severity::Critical => &mut counts.critical,
        };
        *count = count.saturating_add(1);
    }
    counts
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

fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
