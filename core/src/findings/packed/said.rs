//! A finding in, what it says without a copy of its words out.

use smallvec::SmallVec;
use time::OffsetDateTime;

use crate::findings::{Analysis, Epss, Finding, FindingRef, FixState, Score, Severity};

/// What one finding says, wherever its words are. Its parts are described at [`Finding`].
pub(super) struct Said<'f> {
    pub(super) id: &'f str,
    pub(super) aliases: SmallVec<[&'f str; 4]>,
    pub(super) severity: Severity,
    pub(super) score: Option<Score>,
    pub(super) package: Option<&'f str>,
    pub(super) purl: Option<&'f str>,
    pub(super) installed: Option<&'f str>,
    pub(super) fixed: SmallVec<[&'f str; 4]>,
    pub(super) fix_state: FixState,
    pub(super) known_exploited: Option<bool>,
    pub(super) epss: Option<Epss>,
    pub(super) published: Option<OffsetDateTime>,
    pub(super) first_seen: Option<OffsetDateTime>,
    pub(super) analysis: Analysis,
}

impl<'f> From<&'f Finding> for Said<'f> {
    fn from(finding: &'f Finding) -> Self {
        Self {
            id: &finding.id,
            aliases: finding.aliases.iter().map(|text| &**text).collect(),
            severity: finding.severity,
            score: finding.score,
            package: finding.package.as_deref(),
            purl: finding.purl.as_deref(),
            installed: finding.installed.as_deref(),
            fixed: finding.fixed.iter().map(|text| &**text).collect(),
            fix_state: finding.fix_state,
            known_exploited: finding.known_exploited,
            epss: finding.epss,
            published: finding.published,
            first_seen: finding.first_seen,
            analysis: finding.analysis,
        }
    }
}

impl<'f> From<FindingRef<'f>> for Said<'f> {
    fn from(finding: FindingRef<'f>) -> Self {
        Self {
            id: finding.id(),
            aliases: finding.aliases().collect(),
            severity: finding.severity(),
            score: finding.score(),
            package: finding.package(),
            purl: finding.purl(),
            installed: finding.installed(),
            fixed: finding.fixed().collect(),
            fix_state: finding.fix_state(),
            known_exploited: finding.known_exploited(),
            epss: finding.epss(),
            published: finding.published(),
            first_seen: finding.first_seen(),
            analysis: finding.analysis(),
        }
    }
}
