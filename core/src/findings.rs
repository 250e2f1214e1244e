//! A `Verified` report in, findings in one normal form out.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::image::Digest;
use crate::json;
use crate::signature::Verified;

mod error;
mod capped;
mod score;
mod epss;
mod packed;
mod rating;
mod draft;
mod loose;
mod content;
mod trivy;
mod grype;
mod sarif;
mod cyclonedx;
mod cosign_vuln;
mod vulns;
mod in_toto;
mod openvex;
pub mod vex;
pub mod statement;

pub(crate) use capped::Capped;
pub use content::{Content, Format, REPORT_MEDIA_TYPES, Reading, VEX_MEDIA_TYPES};
pub use epss::Epss;
pub use error::FindingsError;
pub(crate) use in_toto::Head as StatementHead;
pub(crate) use openvex::is_type as is_openvex;
pub use packed::{Dictionary, FindingRef, Findings, Remains};
pub use score::Score;
pub use vex::Vex;

/// The most findings that one report may hold (CASES T031).
pub const MAX_FINDINGS: usize = 100_000;
/// The largest report that is read, in bytes (as notation-go's bound on a blob).
pub const MAX_REPORT: usize = 32 * 1024 * 1024;
/// The longest vulnerability identifier, in bytes.
pub const MAX_ID: usize = 256;
/// The longest other text of a report that is kept, in bytes: a package, a version, a package URL.
pub const MAX_TEXT: usize = 2_048;
/// The most aliases, and the most fixed versions, that one finding may have.
pub const MAX_LIST: usize = 256;
/// The most subjects that one statement may name.
pub const MAX_SUBJECTS: usize = 1_024;
/// The most digests that one subject of a statement may have.
pub const MAX_DIGESTS: usize = 32;
/// The most results (scanned targets) that one Trivy report may list.
pub const MAX_RESULTS: usize = 100_000;
/// The most runs that one SARIF document may have.
pub const MAX_RUNS: usize = 64;
/// The most components that one CycloneDX document may list, at any depth.
pub const MAX_COMPONENTS: usize = 100_000;
/// The most text that a report may have read again for each of its findings, in bytes: what a format
/// states once for many, in a rule of SARIF or a vulnerability of CycloneDX.
pub const MAX_REPEATED: usize = 8 * MAX_REPORT;
/// The most statements that one VEX document may make.
pub const MAX_STATEMENTS: usize = 10_000;
/// The most products that one statement of a VEX document may name, and the most subcomponents that
/// one of them may have.
pub const MAX_PRODUCTS: usize = 1_024;

/// Predicate type of an OpenVEX document, which versions may follow: `/v0.2.0`.
pub const OPENVEX: &str = "https://openvex.dev/ns";
/// Predicate type of in-toto vulns v0.1.
pub const VULNS_V0_1: &str = "https://in-toto.io/attestation/vulns/v0.1";
/// Predicate type of in-toto vulns v0.2, which Defender publishes.
pub const VULNS_V0_2: &str = "https://in-toto.io/attestation/vulns/v0.2";
/// Predicate type of cosign's vulnerability attestation.
pub const COSIGN_VULN_V1: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// The predicate types that are read as findings.
pub(crate) const REPORT_PREDICATES: [&str; 3] = [VULNS_V0_2, VULNS_V0_1, COSIGN_VULN_V1];

/// How bad a finding is. The order is the one in which rules count: `high` and higher is `High`
/// and `Critical`.
///
/// `Unknown` is a value of its own: the report does not state a severity, nor a score to derive it
/// from. It sorts last and rules say what it counts as.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not stated.
    Unknown,
    /// Known to be of no consequence (CVSS 0.0, or a vendor's "negligible"): no limit counts it.
    Negligible,
    /// CVSS 0.1 to 3.9.
    Low,
    /// CVSS 4.0 to 6.9.
    Medium,
    /// CVSS 7.0 to 8.9.
    High,
    /// CVSS 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// What a vendor's word means, whatever its case and the space around it:
    ///
    /// | word | severity | said by |
    /// |---|---|---|
    /// | `critical` | critical | all |
    /// | `high`, `important` | high | all; Red Hat, SUSE |
    /// | `medium`, `moderate` | medium | all; Red Hat, SUSE, GitHub |
    /// | `low`, `minor`, `unimportant` | low | all; Debian (Trivy reads it as low too) |
    /// | `negligible`, `none`, `info` | negligible | Ubuntu, Grype; CVSS; CycloneDX |
    ///
    /// Every other word, and `unknown`, is [`Severity::Unknown`]: it is not guessed.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" | "important" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" | "minor" | "unimportant" => Self::Low,
            "negligible" | "none" | "info" => Self::Negligible,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a fixed version exists.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum FixState {
    /// The report does not say.
    #[default]
    NotStated,
    /// A fixed version is out.
    Fixed,
    /// None is out yet.
    NotFixed,
    /// None will come.
    WontFix,
}

impl FixState {
    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStated => "not_stated",
            Self::Fixed => "fixed",
            Self::NotFixed => "not_fixed",
            Self::WontFix => "wont_fix",
        }
    }
}

/// What the maker of a report says about a vulnerability that they listed (CycloneDX
/// `analysis.state`, FACTS 3.5).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Analysis {
    /// It counts: nothing was said, or that it is exploitable, or that nobody looked yet.
    #[default]
    Affected,
    /// The image is not affected by it: no rule counts it.
    NotAffected,
    /// It was fixed in the image: no rule counts it.
    Fixed,
}

/// One vulnerability in one package. `None` and empty lists mean "not stated", never "none".
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// Its identifier as the report has it, without a scanner's suffix: `CVE-2024-1234`. Compare it
    /// by [`FindingRef::is`], which knows the aliases and no case.
    pub id: Box<str>,
    /// Other identifiers of the same vulnerability, sorted without case, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Box<str>>,
    /// How bad it is.
    pub severity: Severity,
    /// CVSS v3 or v4 base score, the highest that is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// Name of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Box<str>>,
    /// Package URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<Box<str>>,
    /// Installed version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Box<str>>,
    /// Versions that fix it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<Box<str>>,
    /// Whether there is a fix.
    pub fix_state: FixState,
    /// Whether it is known to be exploited (CISA's catalogue, or what the scanner has of it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_exploited: Option<bool>,
    /// How likely it is to be exploited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epss: Option<Epss>,
    /// When it was published, in whole seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub published: Option<OffsetDateTime>,
    /// When a scanner first saw it in this image, in whole seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub first_seen: Option<OffsetDateTime>,
    /// What the report itself says about it.
    #[serde(default, skip_serializing_if = "Analysis::is_affected")]
    pub analysis: Analysis,
}

impl Analysis {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    fn is_affected(&self) -> bool {
        *self == Self::Affected
    }
}

/// Which scanner made a report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scanner {
    /// Its name or URI: `trivy`, `MDVM`. Trivy is `trivy` in every format.
    pub name: String,
    /// Its version, where stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Scanner {
    /// A scanner from what a report says, within bounds.
    fn new(name: &str, version: Option<&str>) -> Result<Self, FindingsError> {
        let name = bounded("scanner name", name, MAX_TEXT)?.to_owned();
        let version = version.map(|v| bounded("scanner version", v, MAX_TEXT)).transpose()?;
        Ok(Self { name, version: version.filter(|v| !v.is_empty()).map(ToOwned::to_owned) })
    }
}

/// Reads what a verified report says: findings.
///
/// # Errors
/// As [`read`], and when it is a VEX document.
pub fn parse(report: &Verified) -> Result<Findings, FindingsError> {
    findings(&Input::of(report))
}

/// Reads what a verified document says.
///
/// The format follows from the layer's media type and the document's fields: an in-toto statement
/// (vulns v0.1 or v0.2, cosign's vuln v1, or OpenVEX), JSON of Trivy or Grype, SARIF of Trivy or
/// Grype, CycloneDX with vulnerabilities, or an OpenVEX document. A statement must name the verified
/// subject; a plain report is bound to it by the signed manifest, and the digests that it names
/// itself are not compared, because they may be those of the index where the report is on a
/// platform's manifest.
///
/// SARIF and CycloneDX do not state for what systems the scan has no advisories, so that an image of
/// one cannot be told from one without vulnerabilities.
///
/// # Errors
/// When the document is of no format that is read, is malformed or past a bound, is about something
/// else, does not say when the scan finished, or did not cover the image.
pub fn read(report: &Verified) -> Result<Reading, FindingsError> {
    content::read(&Input::of(report))
}

/// What is read of a [`Verified`].
struct Input<'a> {
    bytes: &'a [u8],
    media_type: &'a str,
    subject: Digest,
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> Input<'a> {
    fn of(report: &'a Verified) -> Self {
        Self {
            bytes: report.bytes(),
            media_type: report.media_type(),
            subject: report.subject(),
            annotations: report.annotations(),
        }
    }
}

fn findings(input: &Input<'_>) -> Result<Findings, FindingsError> {
    match content::read(input)?.content {
        Content::Findings(findings) => Ok(findings),
        Content::Vex(_) => Err(FindingsError::NotAReport("it is a VEX document".to_owned())),
    }
}

/// A whole foreign document, checked to have one reading.
fn document<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FindingsError> {
    json::from_slice(bytes).map_err(FindingsError::Malformed)
}

/// A part of a [`document`]: its bounds and keys were checked with the whole.
fn part<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, FindingsError> {
    serde_json::from_str(raw.get()).map_err(|e| FindingsError::Malformed(e.into()))
}

/// `text` without the space around it.
fn bounded<'a>(what: &'static str, text: &'a str, limit: usize) -> Result<&'a str, FindingsError> {
    let text = text.trim();
    if text.len() > limit {
        return Err(FindingsError::TooLarge { what, limit });
    }
    Ok(text)
}

/// The time in `field`, in UTC. There is no default: a report without its time is not evidence, and
/// neither is one with the zero time of Go, which means that nobody set it.
fn time(field: &'static str, value: Option<&str>) -> Result<OffsetDateTime, FindingsError> {
    let value = bounded(field, value.unwrap_or_default(), MAX_TEXT)?;
    if value.is_empty() {
        return Err(FindingsError::Missing(field));
    }
    let stated = OffsetDateTime::parse(value, &Rfc3339).map_err(|source| FindingsError::Time {
        field,
        value: value.to_owned(),
        source,
    })?;
    stated
        .checked_to_offset(UtcOffset::UTC)
        .filter(|t| (1970..=9999).contains(&t.year()))
        .ok_or_else(|| FindingsError::Age { field, value: value.to_owned() })
}

/// The time in a fact beside a finding. One that cannot be read, or at which nothing can have been, is
/// not stated: rules say what that counts for, and the finding itself is none the less.
fn moment(value: Option<&str>) -> Option<OffsetDateTime> {
    time("time", value).ok()
}

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod tests;
