//! A `Verified` report in, findings in one normal form out.

use std::cmp::Ordering;
use std::fmt;

use time::OffsetDateTime;

/// The most findings that one report may hold (CASES T031).
pub const MAX_FINDINGS: usize = 100_000;
/// The largest report that is read, in bytes (as notation-go's bound on a blob).
pub const MAX_REPORT: usize = 32 * 1024 * 1024;

/// Predicate type of in-toto vulns v0.1.
pub const VULNS_V0_1: &str = "https://in-toto.io/attestation/vulns/v0.1";
/// Predicate type of in-toto vulns v0.2, which Defender publishes.
pub const VULNS_V0_2: &str = "https://in-toto.io/attestation/vulns/v0.2";
/// Predicate type of cosign's vulnerability attestation.
pub const COSIGN_VULN_V1: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// How bad a finding is. The order is the one in which rules count: `high` and higher is `High`
/// and `Critical`.
///
/// `Unknown` is a value of its own: the report does not state a severity, nor a score to derive it
/// from. It sorts last and rules say what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
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
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a fixed version exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FixState {
    /// The report does not say.
    NotStated,
    /// A fixed version is out.
    Fixed,
    /// None is out yet.
    NotFixed,
    /// None will come.
    WontFix,
}

/// One vulnerability in one package. `None` and empty lists mean "not stated", never "none".
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Finding {
    /// Its identifier as the report has it, without a scanner's suffix: `CVE-2024-1234`.
    pub id: String,
    /// Other identifiers of the same vulnerability.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// CVSS base score, 0.0 to 10.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Name of the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Package URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// Installed version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// Versions that fix it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<String>,
    /// Whether there is a fix.
    pub fix_state: FixState,
}

impl Finding {
    /// The order of the documented evaluation: most severe first, then a fixed order so that every
    /// replica walks alike.
    #[must_use]
    pub fn walk_order(&self, other: &Self) -> Ordering {
        let key = |f: &Self| (f.severity, f.score.map_or(-1_i32, |s| (s * 100.0) as i32));
        key(other)
            .cmp(&key(self))
            .then_with(|| self.id.cmp(&other.id))
            .then_with(|| self.package.cmp(&other.package))
            .then_with(|| self.installed.cmp(&other.installed))
    }

    /// Whether `id` names this vulnerability, by identifier or alias, whatever its case.
    #[must_use]
    pub fn is(&self, id: &str) -> bool {
        self.id.eq_ignore_ascii_case(id) || self.aliases.iter().any(|a| a.eq_ignore_ascii_case(id))
    }
}

/// Which scanner made a report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Scanner {
    /// Its name or URI: `trivy`, `MDVM`.
    pub name: String,
    /// Its version, where stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What one report says, in the normal form.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Who looked.
    pub scanner: Scanner,
    /// When the scan finished, as the signed report says (`scanFinishedOn`, `CreatedAt`).
    pub scanned_at: OffsetDateTime,
    /// What was found, in [`Finding::walk_order`].
    pub list: Vec<Finding>,
}
