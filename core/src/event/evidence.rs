//! What was known of a manifest in, the record of it out.

use serde::Serialize;
use time::OffsetDateTime;

use super::{MAX_LISTED, detail, listed, name, platform};
use crate::evidence::{Evidence, Report, Subject};
use crate::findings::Scanner;
use crate::image::{Digest, Platform};

/// What was known of one manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvidenceRecord {
    /// The manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its platform, for a manifest of an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The word for what was known.
    pub status: &'static str,
    /// The word for why it was rejected or unavailable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// How long stale evidence could not be confirmed, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where it was answered from.
    pub source: &'static str,
    /// When it was last confirmed with the registry.
    #[serde(with = "time::serde::rfc3339")]
    pub fetched_at: OffsetDateTime,
    /// The reports that were used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<ReportRecord>,
    /// Digests of the manifests of the VEX documents that were used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vex: Vec<Digest>,
}

/// A report that was used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportRecord {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Who looked.
    pub scanner: Scanner,
    /// When the scan finished.
    #[serde(with = "time::serde::rfc3339")]
    pub scanned_at: OffsetDateTime,
    /// Subject of the certificate that signed it.
    pub signer: String,
    /// SHA-256 of that certificate, in hexadecimal.
    pub signer_fingerprint: String,
    /// The trust policy statement under which it is trusted.
    pub trust_policy: String,
}

/// Whether the record of `subject` does not have all of its evidence.
pub(super) fn is_cut(subject: &Subject) -> bool {
    let named = subject.platform.as_ref().is_some_and(|own| platform(own) != *own);
    let Evidence::Verified(reports) = &*subject.evidence else {
        return named;
    };
    named || reports.len() > MAX_LISTED || reports.vex().len() > MAX_LISTED
}

/// What was known of a manifest, whichever that is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Status {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reports: Vec<ReportRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vex: Vec<Digest>,
}

impl Status {
    pub(super) fn of(evidence: &Evidence) -> Self {
        let (mut reports, mut vex) = (Vec::new(), Vec::new());
        let (mut reason, mut age_ms) = (None, None);
        match evidence {
            Evidence::Verified(known) => {
                reports = listed(known.iter(), MAX_LISTED, |report| report_record(report));
                vex = listed(known.vex(), MAX_LISTED, |statements| statements.digest);
            }
            Evidence::Rejected(rejection) => reason = Some(rejection.reason.as_str()),
            Evidence::Unavailable(cause) => reason = Some(cause.kind.as_str()),
            Evidence::Stale { age } => {
                age_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            }
            Evidence::Missing | Evidence::Withheld | Evidence::Unsupported => {}
        }
        let detail = evidence.detail().map(|text| detail(&text));
        Self { status: evidence.status(), reason, age_ms, detail, reports, vex }
    }
}

pub(super) fn evidence_record(subject: &Subject) -> EvidenceRecord {
    let Status { status, reason, age_ms, detail, reports, vex } = Status::of(&subject.evidence);
    EvidenceRecord {
        digest: subject.digest,
        platform: subject.platform.as_ref().map(platform),
        status,
        reason,
        age_ms,
        detail,
        source: subject.source.as_str(),
        fetched_at: subject.fetched_at,
        reports,
        vex,
    }
}

fn report_record(report: &Report) -> ReportRecord {
    let scanner = &report.findings.scanner;
    ReportRecord {
        digest: report.digest,
        scanner: Scanner {
            name: name(&scanner.name),
            version: scanner.version.as_deref().map(name),
        },
        scanned_at: report.findings.scanned_at,
        signer: name(&report.signer.subject),
        signer_fingerprint: name(&report.signer.fingerprint),
        trust_policy: name(&report.signer.policy),
    }
}
