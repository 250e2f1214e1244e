//! What VEX documents say: that an image is not affected by what a scanner found, or was cured.

use time::OffsetDateTime;

use super::FindingRef;

/// What one VEX document says (OpenVEX 0.2.0), as far as it is about the image that it is attached
/// to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vex {
    /// Who says so, as the document has it.
    pub author: String,
    /// Its statements, in the order of the document.
    pub statements: Vec<Statement>,
}

/// One statement about vulnerabilities of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The vulnerability by all its names.
    pub ids: Vec<Box<str>>,
    /// What is said of it.
    pub status: Status,
    /// The packages that it is about, as package URLs without or with version; empty for all of the
    /// image.
    pub packages: Vec<Box<str>>,
    /// When it was said: the statement's own time, or the document's.
    pub issued_at: OffsetDateTime,
}

/// What is said of a vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The image has it.
    Affected,
    /// The image does not have it, or it cannot be used against it.
    NotAffected,
    /// It was fixed in the image.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

impl Status {
    /// Each of them.
    pub const ALL: [Self; 4] =
        [Self::Affected, Self::NotAffected, Self::Fixed, Self::UnderInvestigation];

    /// The word for it, as OpenVEX has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Affected => "affected",
            Self::NotAffected => "not_affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
        }
    }

    /// Whether findings are not counted because of it.
    #[must_use]
    pub const fn clears(self) -> bool {
        matches!(self, Self::NotAffected | Self::Fixed)
    }
}

impl Vex {
    /// What it takes on the heap, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let list =
            |l: &[Box<str>]| l.iter().map(|t| size_of::<Box<str>>() + t.len()).sum::<usize>();
        let statement = |s: &Statement| size_of::<Statement>() + list(&s.ids) + list(&s.packages);
        self.author.len() + self.statements.iter().map(statement).sum::<usize>()
    }
}

impl Statement {
    /// Whether it is about `finding`: one of its names is one of the finding's, and its package is
    /// among those named. A finding without a package URL is only covered by a statement about the
    /// whole image. Where both name CVEs, one of these must be the same: an advisory that they share
    /// may be about several.
    #[must_use]
    pub fn is_about(&self, finding: FindingRef<'_>) -> bool {
        self.names(finding)
            && (self.packages.is_empty()
                || finding.purl().is_some_and(|purl| {
                    self.packages.iter().any(|package| is_version_of(purl, package))
                }))
    }
}

impl Statement {
    fn names(&self, finding: FindingRef<'_>) -> bool {
        let is_cve =
            |id: &str| id.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("CVE-"));
        let by_cve = self.ids.iter().any(|id| is_cve(id)) && finding.ids().any(is_cve);
        self.ids.iter().any(|id| (!by_cve || is_cve(id)) && finding.is(id))
    }
}

/// Whether `purl` names `package`, or a version of it where that names none. Qualifiers and the
/// subpath are not compared (purl-spec).
fn is_version_of(purl: &str, package: &str) -> bool {
    let bare = |purl: &str| purl.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let (purl, package) = (bare(purl), bare(package));
    purl == package || purl.strip_prefix(&package).is_some_and(|rest| rest.starts_with('@'))
}
