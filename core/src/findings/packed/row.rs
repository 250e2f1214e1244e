//! One finding in, what is its own and the numbers of what it shares out.

use super::pool::{
    Interner, List, Package, PackageKey, Rare, RareKey, Vulnerability, VulnerabilityKey,
};
use super::said::Said;
use crate::findings::{Analysis, Epss, FixState, Score, Severity};

/// One finding, next to the pool that has its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) vulnerability: VulnerabilityKey,
    pub(super) package: PackageKey,
    pub(super) fixed: List,
    pub(super) rare: RareKey,
    pub(super) score: Option<Score>,
    pub(super) severity: Severity,
    /// From the lowest bit: two of the fix state, two of the analysis, two of whether it is known to
    /// be exploited.
    states: u8,
}

/// A million digests of a few hundred findings each are the goal.
const _: () = assert!(size_of::<Row>() <= 20);

const EXPLOITED: u8 = 1;
const NOT_EXPLOITED: u8 = 2;

impl Row {
    /// Of no finding.
    pub(super) const NOTHING: Self = Self {
        vulnerability: VulnerabilityKey::NOTHING,
        package: PackageKey::NOTHING,
        fixed: List::NOTHING,
        rare: RareKey::NOTHING,
        score: None,
        severity: Severity::Critical,
        states: 0,
    };

    pub(super) fn new<'f>(finding: &Said<'f>, interner: &mut Interner<'f>) -> Self {
        let package = Package {
            name: interner.stated(finding.package),
            purl: interner.stated(finding.purl),
            installed: interner.stated(finding.installed),
        };
        let known_exploited = match finding.known_exploited {
            None => 0,
            Some(true) => EXPLOITED,
            Some(false) => NOT_EXPLOITED,
        };
        let vulnerability = Vulnerability {
            id: interner.text(finding.id),
            aliases: interner.list(&finding.aliases),
            published: interner.instant(finding.published),
        };
        let rare = Rare {
            first_seen: interner.instant(finding.first_seen),
            epss: finding.epss.map_or(f32::NAN, Epss::as_f32).to_bits(),
        };
        Self {
            vulnerability: interner.vulnerability(vulnerability),
            package: interner.package(package),
            fixed: interner.list(&finding.fixed),
            rare: interner.rare(rare),
            score: finding.score,
            severity: finding.severity,
            states: finding.fix_state as u8 | (finding.analysis as u8) << 2 | known_exploited << 4,
        }
    }

    pub(super) const fn fix_state(&self) -> FixState {
        const FIXED: u8 = FixState::Fixed as u8;
        const NOT_FIXED: u8 = FixState::NotFixed as u8;
        const WONT_FIX: u8 = FixState::WontFix as u8;
        match self.states & 0b11 {
            FIXED => FixState::Fixed,
            NOT_FIXED => FixState::NotFixed,
            WONT_FIX => FixState::WontFix,
            _ => FixState::NotStated,
        }
    }

    pub(super) const fn analysis(&self) -> Analysis {
        const NOT_AFFECTED: u8 = Analysis::NotAffected as u8;
        const FIXED: u8 = Analysis::Fixed as u8;
        match self.states >> 2 & 0b11 {
            NOT_AFFECTED => Analysis::NotAffected,
            FIXED => Analysis::Fixed,
            _ => Analysis::Affected,
        }
    }

    pub(super) const fn known_exploited(&self) -> Option<bool> {
        match self.states >> 4 {
            EXPLOITED => Some(true),
            NOT_EXPLOITED => Some(false),
            _ => None,
        }
    }
}
