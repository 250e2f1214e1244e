//! The lines of an event file in, questions that can be decided again out.
//!
//! What was known when a decision was made is in its event and in the lines of the reports that the
//! event names. Reading one is not believing it: for simulation alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use time::OffsetDateTime;

use crate::decide::{Action, Context, Decision, decide, printable};
use crate::evidence::{
    Cause, CauseKind, Evidence, Reason, Rejection, Report, Source, Statements, Subject,
};
use crate::findings::vex::{self, Status};
use crate::findings::{Finding, Findings, MAX_FINDINGS, Scanner, Vex};
use crate::image::{Digest, ImageError, Platform, Reference};
use crate::policy::Policy;

/// The longest line of an event file, in bytes: it is neither written nor read if it is longer.
pub const MAX_LINE: usize = 64 * 1024 * 1024;
/// The most of a foreign word that an error shows, in bytes.
const MAX_QUOTED: usize = 80;

/// Why a line of an event file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not JSON, or not with the fields of its kind.
    #[error("the line cannot be read")]
    Malformed(#[from] serde_json::Error),
    /// Longer than the bound.
    #[error("the line is longer than the {MAX_LINE} bytes allowed")]
    TooLong,
    /// A report with more findings than any report has.
    #[error("the line has more than the {MAX_FINDINGS} findings allowed")]
    TooMany,
    /// A kind that this version does not know.
    #[error("the line is of kind `{0}`, which is not known")]
    Kind(String),
    /// A report without a digest cannot be named.
    #[error("the line does not state `digest`")]
    NoDigest,
    /// A word that is none of those for a field.
    #[error("`{field}` is `{word}`, which is not known")]
    Word {
        /// The field.
        field: &'static str,
        /// What it holds.
        word: String,
    },
}

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A decision: read it with [`Recorded::read`].
    Decision,
    /// A decision of a version that did not record what was known.
    OldDecision,
    /// The report of this digest: read it with [`report`].
    Report(Digest),
    /// The VEX document of this digest: read it with [`statements`].
    Vex(Digest),
}

/// What `line` holds, from its outermost fields.
///
/// # Errors
/// When it is not one of the kinds.
pub fn kind(line: &[u8]) -> Result<Kind, LineError> {
    #[derive(Deserialize)]
    struct Head {
        kind: Option<String>,
        digest: Option<Digest>,
        action: Option<Action>,
    }
    let Head { kind, digest, action } = read(line)?;
    match kind.as_deref() {
        Some("decision") => Ok(Kind::Decision),
        Some("report") => digest.map(Kind::Report).ok_or(LineError::NoDigest),
        Some("vex") => digest.map(Kind::Vex).ok_or(LineError::NoDigest),
        None if action.is_some() => Ok(Kind::OldDecision),
        other => Err(LineError::Kind(quoted(other.unwrap_or_default()))),
    }
}

/// The report of a line, as if a trusted signer had signed it.
///
/// # Errors
/// When the line is not a report.
pub fn report(line: &[u8]) -> Result<Report, LineError> {
    #[derive(Deserialize)]
    struct Raw {
        digest: Digest,
        scanner: Scanner,
        #[serde(with = "time::serde::rfc3339")]
        scanned_at: OffsetDateTime,
        findings: Vec<Finding>,
    }
    let Raw { digest, scanner, scanned_at, findings } = read(line)?;
    if findings.len() > MAX_FINDINGS {
        return Err(LineError::TooMany);
    }
    Ok(super::report(digest, Findings::new(scanner, scanned_at, findings)))
}

/// The VEX document of a line, as if a trusted signer had signed it.
///
/// # Errors
/// When the line is not a VEX document.
pub fn statements(line: &[u8]) -> Result<Statements, LineError> {
    #[derive(Deserialize)]
    struct Raw {
        digest: Digest,
        author: String,
        statements: Vec<RawStatement>,
    }
    #[derive(Deserialize)]
    struct RawStatement {
        ids: Vec<Box<str>>,
        status: String,
        #[serde(default)]
        packages: Vec<Box<str>>,
        #[serde(with = "time::serde::rfc3339")]
        issued_at: OffsetDateTime,
    }
    let Raw { digest, author, statements } = read(line)?;
    let statement = |raw: RawStatement| {
        let RawStatement { ids, status, packages, issued_at } = raw;
        let known = Status::ALL.into_iter().find(|known| known.as_str() == status);
        let status =
            known.ok_or_else(|| LineError::Word { field: "status", word: quoted(&status) })?;
        Ok(vex::Statement { ids, status, packages, issued_at })
    };
    let statements = statements.into_iter().map(statement).collect::<Result<_, LineError>>()?;
    Ok(super::statements(digest, Vex { author, statements }))
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, LineError> {
    if line.len() > MAX_LINE {
        return Err(LineError::TooLong);
    }
    Ok(serde_json::from_slice(line)?)
}

fn quoted(text: &str) -> String {
    printable(text, MAX_QUOTED)
}

/// A decision as it was recorded.
#[derive(Debug, Clone, Deserialize)]
pub struct Recorded {
    /// Names the event.
    pub id: String,
    /// When it was decided.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// What was decided.
    pub action: Action,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The image, normalised.
    pub image: String,
    cluster: String,
    provider: String,
    account: String,
    region: String,
    /// Namespace.
    pub namespace: String,
    #[serde(default)]
    namespace_labels: BTreeMap<String, String>,
    /// Kind of the workload.
    pub workload_kind: String,
    /// Name of the workload.
    pub workload: String,
    pod: String,
    #[serde(default)]
    pod_labels: BTreeMap<String, String>,
    service_account: String,
    container: String,
    #[serde(default)]
    justification: String,
    evidence: Vec<Known>,
    #[serde(default)]
    cut: bool,
    /// Whoever answered without the service, whatever is said of it.
    answered: Option<IgnoredAny>,
}

/// What was known of one manifest.
#[derive(Debug, Clone, Deserialize)]
struct Known {
    digest: Option<Digest>,
    platform: Option<Platform>,
    status: String,
    reason: Option<String>,
    age_ms: Option<u64>,
    #[serde(default)]
    reports: Vec<Named>,
    #[serde(default)]
    vex: Vec<Digest>,
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    digest: Digest,
}

/// The reports and VEX documents that a decision names for one manifest, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attached {
    /// Digests of the reports' manifests.
    pub reports: Vec<Digest>,
    /// Digests of the VEX documents' manifests.
    pub vex: Vec<Digest>,
}

/// Why a recorded decision cannot be decided again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotTell {
    /// The event has not what is needed.
    #[error("it was recorded by a version that did not keep what was known")]
    OldVersion,
    /// It is no decision of the rules.
    #[error("the service did not answer it: a shim told of it afterwards")]
    NotDecided,
    /// The event is not whole.
    #[error("names or lists were too long to be recorded whole")]
    Cut,
    /// A report is not there.
    #[error("report `{0}` is not in the files")]
    Report(Digest),
    /// A VEX document is not there.
    #[error("VEX document `{0}` is not in the files")]
    Vex(Digest),
    /// Something that this version does not know.
    #[error("it says of the evidence `{0}`, which is not known")]
    Evidence(String),
    /// The name of the image.
    #[error("`{name}` is not an image reference")]
    Image {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: ImageError,
    },
}

impl CannotTell {
    /// The word for it, for programs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::OldVersion => "old_version",
            Self::NotDecided => "not_decided",
            Self::Cut => "cut",
            Self::Report(_) => "report_missing",
            Self::Vex(_) => "vex_missing",
            Self::Evidence(_) => "unknown_evidence",
            Self::Image { .. } => "unknown_image",
        }
    }
}

/// All that a decision was made from, but the policy.
#[derive(Debug, Clone)]
pub struct Question {
    image: Reference,
    subjects: Vec<Subject>,
    context: Context,
    time: OffsetDateTime,
}

impl Question {
    /// Decides it by `policy`, at the time when it was asked.
    #[must_use]
    pub fn decide(&self, policy: &Policy) -> Decision {
        decide(policy, &self.image, &self.subjects, &self.context, self.time)
    }
}

impl Recorded {
    /// The decision of a line.
    ///
    /// # Errors
    /// When the line is not a decision.
    pub fn read(line: &[u8]) -> Result<Self, LineError> {
        read(line)
    }

    /// What was asked. `verified` gives the evidence of what was attached.
    ///
    /// # Errors
    /// When that is not known as a whole, and whatever `verified` gives as an error.
    pub fn question(
        &self,
        mut verified: impl FnMut(Attached) -> Result<Arc<Evidence>, CannotTell>,
    ) -> Result<Question, CannotTell> {
        if self.answered.is_some() {
            return Err(CannotTell::NotDecided);
        }
        if self.cut {
            return Err(CannotTell::Cut);
        }
        let image = self
            .image
            .parse()
            .map_err(|source| CannotTell::Image { name: quoted(&self.image), source })?;
        let mut subjects = Vec::with_capacity(self.evidence.len());
        for known in &self.evidence {
            let evidence = match known.status.as_str() {
                "verified" => verified(known.attached())?,
                _ => Arc::new(known.unverified()?),
            };
            subjects.push(Subject {
                digest: known.digest,
                platform: known.platform.clone(),
                evidence,
                fetched_at: self.time,
                source: Source::Memory,
            });
        }
        Ok(Question { image, subjects, context: self.context(), time: self.time })
    }

    fn context(&self) -> Context {
        Context {
            provider: self.provider.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            namespace_labels: self.namespace_labels.clone(),
            workload_kind: self.workload_kind.clone(),
            workload: self.workload.clone(),
            pod: self.pod.clone(),
            pod_labels: self.pod_labels.clone(),
            service_account: self.service_account.clone(),
            container: self.container.clone(),
            break_glass: self.justification.clone(),
        }
    }
}

impl Known {
    fn attached(&self) -> Attached {
        let reports = self.reports.iter().map(|named| named.digest).collect();
        Attached { reports, vex: self.vex.clone() }
    }

    fn unverified(&self) -> Result<Evidence, CannotTell> {
        let reason = self.reason.as_deref().unwrap_or_default();
        let unknown = |word: &str| CannotTell::Evidence(quoted(word));
        let detail = "as recorded".to_owned();
        Ok(match self.status.as_str() {
            "missing" => Evidence::Missing,
            "withheld" => Evidence::Withheld,
            "unsupported" => Evidence::Unsupported,
            "stale" => Evidence::Stale {
                age: Duration::from_millis(self.age_ms.ok_or_else(|| unknown("stale"))?),
            },
            "rejected" => {
                let known = Reason::ALL.into_iter().find(|known| known.as_str() == reason);
                let reason = known.ok_or_else(|| unknown(reason))?;
                Evidence::Rejected(Rejection { reason, report: None, detail })
            }
            "unavailable" => {
                let known = CauseKind::ALL.into_iter().find(|known| known.as_str() == reason);
                let kind = known.ok_or_else(|| unknown(reason))?;
                Evidence::Unavailable(Cause { kind, detail })
            }
            status => return Err(unknown(status)),
        })
    }
}

#[cfg(test)]
mod tests;
