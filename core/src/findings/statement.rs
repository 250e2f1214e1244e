//! A scanner's report file in, an in-toto statement that says the same out.
//!
//! This is what is attached to an image and signed where a scanner does not do so itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::content::JSON;
use super::in_toto::STATEMENT_V1;
use super::vulns::scanner_uri;
use super::{
    Analysis, Epss, Finding, Findings, FindingsError, FixState, Input, MAX_REPORT, MAX_TEXT,
    Scanner, Score, VULNS_V0_2, bounded, findings,
};
use crate::image::Digest;
use crate::referrers::CREATED;

/// An in-toto statement v1 with a vulns v0.2 predicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement as JSON: the bytes of the layer.
    pub bytes: Vec<u8>,
    /// Its predicate type, for the annotation of the manifest.
    pub predicate_type: &'static str,
    /// Which scanner made the report.
    pub scanner: Scanner,
    /// When the scan finished, as the report says.
    pub scanned_at: OffsetDateTime,
    /// How many findings it has.
    pub findings: usize,
}

/// Turns a scanner's report, in any format that is read, into a statement about `subject`, which is
/// called `name` in it. Read back by [`super::parse`], it gives the findings that the report itself
/// gives.
///
/// What the report does not say is not made up: `scanner.db` is empty, because not every scanner
/// writes when its database was updated, and the scan starts when it ends.
///
/// # Errors
/// When the report is of another format, is malformed or past a bound, does not say when it was
/// made, or did not cover the image.
pub fn from_report(report: &[u8], name: &str, subject: Digest) -> Result<Statement, FindingsError> {
    let too_large = FindingsError::TooLarge { what: "bytes", limit: MAX_REPORT };
    let name = bounded("bytes of subject name", name, MAX_TEXT)?;
    let annotations = &BTreeMap::new();
    let findings = findings(&Input { bytes: report, media_type: JSON, subject, annotations })?;
    let scanned_at = findings.scanned_at;
    let finished = written(scanned_at)?;
    let scanner = findings.scanner.name.as_str();
    let results = findings.iter().map(|f| result(&f.to_finding(), scanner));
    let statement = json!({
        "_type": STATEMENT_V1,
        "subject": [{ "name": name, "digest": { "sha256": subject.hex() } }],
        "predicateType": VULNS_V0_2,
        "predicate": {
            "scanner": {
                "uri": scanner_uri(scanner),
                "version": findings.scanner.version,
                "db": {},
                "result": results.collect::<Result<Vec<_>, _>>()?,
            },
            "metadata": { "scanStartedOn": finished, "scanFinishedOn": finished },
        },
    });
    let bytes = statement.to_string().into_bytes();
    if bytes.len() > MAX_REPORT {
        return Err(too_large);
    }
    let count = findings.len();
    let scanner = findings.scanner.as_ref().clone();
    Ok(Statement { bytes, predicate_type: VULNS_V0_2, scanner, scanned_at, findings: count })
}

/// What a scanner's report file says that nobody signed: for simulation alone, never for a decision
/// of the service. `made_at` is when the scan finished, where the report does not say it.
pub(crate) fn read_unverified(
    report: &[u8],
    made_at: OffsetDateTime,
) -> Result<Findings, FindingsError> {
    let annotations = &BTreeMap::from([(CREATED.to_owned(), written(made_at)?)]);
    // It is attached to nothing, and so a statement about something is not read.
    let subject = Digest::of(report);
    findings(&Input { bytes: report, media_type: JSON, subject, annotations })
}

/// A time as RFC 3339 has it.
fn written(at: OffsetDateTime) -> Result<String, FindingsError> {
    at.format(&Rfc3339).map_err(|_| FindingsError::Age { field: "time", value: at.to_string() })
}

/// A finding as a result of the predicate.
///
/// The severity is the scanner's own and stands alone in `severity`, where the worst counts. The
/// score of another source may be higher, so it is only an annotation.
fn result(finding: &Finding, scanner: &str) -> Result<Value, FindingsError> {
    let annotations = Annotations {
        package: finding.package.as_deref(),
        installed_version: finding.installed.as_deref(),
        purl: finding.purl.as_deref(),
        fixed_version: finding.fixed.join(", "),
        fix_state: finding.fix_state,
        aliases: &finding.aliases,
        severity: finding.severity.as_str(),
        cvss_score: finding.score,
        published: finding.published.map(written).transpose()?,
        first_seen: finding.first_seen.map(written).transpose()?,
        epss: finding.epss,
        known_exploited: finding.known_exploited,
        analysis: finding.analysis,
    };
    Ok(json!({
        "id": finding.id,
        "severity": [{ "method": scanner, "score": finding.severity.as_str() }],
        "annotations": [annotations],
    }))
}

/// The keys of carabiner-dev/osv, and from `fix_state` on those of what it has no key for.
#[derive(serde::Serialize)]
struct Annotations<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    fixed_version: String,
    #[serde(skip_serializing_if = "is_not_stated")]
    fix_state: FixState,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    aliases: &'a [Box<str>],
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvss_score: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epss: Option<Epss>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_exploited: Option<bool>,
    #[serde(skip_serializing_if = "Analysis::is_affected")]
    analysis: Analysis,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_not_stated(state: &FixState) -> bool {
    matches!(state, FixState::NotStated)
}
