//! What a decision rests on besides reports in, the records of it out: violations with the criteria of
//! rules, and exemptions.

use serde::Serialize;
use time::OffsetDateTime;

use super::{detail, name, platform};
use crate::decide::{Action, Applied, Condition, Violation};
use crate::findings::Severity;
use crate::image::{Digest, Platform, Reference};

/// A violation in an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViolationRecord {
    /// Name of the rule.
    pub rule: String,
    /// What the rule does about it.
    pub action: Action,
    /// The word for the condition.
    pub condition: &'static str,
    /// What the rule asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criteria: Option<Criteria>,
    /// Whether this is the one that decided.
    pub deciding: bool,
    /// The manifest.
    pub subject: Option<Digest>,
    /// Its platform, for a manifest of an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Identifiers of the worst findings that count for it.
    pub ids: Vec<String>,
    /// How many findings count for it.
    pub total: usize,
    /// What is wrong, with the criteria that were used.
    pub message: String,
}

/// What a rule asks for, where its condition has a number or a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Criteria {
    /// At most so many findings at a level or higher, of those that the condition counts.
    Limit {
        /// The level.
        level: Severity,
        /// How many are allowed.
        limit: u32,
    },
    /// Not this vulnerability.
    Id {
        /// Its identifier as the rule has it.
        id: String,
    },
    /// No report older than this.
    MaxFindingsAge {
        /// In seconds.
        max_findings_age_s: u64,
    },
}

/// An exemption that kept a rule from a violation, or made it smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExemptionRecord {
    /// Name of the exemption.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// Where it is tracked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The first instant at which it holds no longer.
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// Name of the rule.
    pub rule: String,
    /// The manifest.
    pub subject: Option<Digest>,
    /// Its platform, for a manifest of an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The word for the condition about the evidence or the image that it keeps from counting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<&'static str>,
    /// Identifiers of the worst findings that it keeps from counting.
    pub ids: Vec<String>,
    /// How many findings it keeps from counting.
    pub total: usize,
}

pub(super) fn violation_record(violation: &Violation, image: &Reference) -> ViolationRecord {
    ViolationRecord {
        rule: name(&violation.rule),
        action: violation.action,
        condition: violation.condition.as_str(),
        criteria: criteria(&violation.condition),
        deciding: violation.deciding,
        subject: violation.subject,
        platform: violation.platform.as_ref().map(platform),
        ids: violation.findings().map(|finding| name(finding.id())).collect(),
        total: violation.total(),
        message: violation.message(image),
    }
}

pub(super) fn criteria(condition: &Condition) -> Option<Criteria> {
    match condition {
        Condition::MaxAllowed { level, limit, .. } => {
            Some(Criteria::Limit { level: *level, limit: *limit })
        }
        Condition::Forbidden { id } => Some(Criteria::Id { id: name(id) }),
        Condition::Stale { max_age, .. } => {
            Some(Criteria::MaxFindingsAge { max_findings_age_s: max_age.as_secs() })
        }
        Condition::UntrustedImage
        | Condition::Unscanned
        | Condition::Rejected(_)
        | Condition::Unconfirmed { .. }
        | Condition::Withheld
        | Condition::Unavailable(_)
        | Condition::Unsupported => None,
    }
}

pub(super) fn exemption_record(applied: &Applied) -> ExemptionRecord {
    ExemptionRecord {
        name: name(&applied.name),
        owner: name(&applied.owner),
        reason: detail(&applied.reason),
        ticket: applied.ticket.as_deref().map(name),
        until: applied.until,
        rule: name(&applied.rule),
        subject: applied.subject,
        platform: applied.platform.as_ref().map(platform),
        condition: applied.condition,
        ids: applied.findings().map(|finding| name(finding.id())).collect(),
        total: applied.total(),
    }
}
