//! One finding in, what is its own and the numbers of what it shares out.

use super::pool::{Instant, Interner, List, Package, PackageKey, Text};
use crate::findings::{Analysis, Epss, Finding, FixState, Score, Severity};

/// One finding, next to the pool that has its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) id: Text,
    pub(super) package: PackageKey,
    pub(super) aliases: List,
    pub(super) fixed: List,
    pub(super) published: Instant,
    pub(super) first_seen: Instant,
    /// The bits of the probability, or of what is none.
    epss: u32,
    pub(super) score: Option<Score>,
    pub(super) severity: Severity,
    /// From the lowest bit: two of the fix state, two of the analysis, two of whether it is known to
    /// be exploited.
    states: u8,
}

/// A million digests of a few hundred findings each are the goal.
const _: () = assert!(size_of::<Row>() <= 32);

const EXPLOITED: u8 = 1;
const NOT_EXPLOITED: u8 = 2;

impl Row {
    pub(super) fn new<'f>(finding: &'f Finding, interner: &mut Interner<'f>) -> Self {
        let package = Package {
            name: interner.stated(finding.package.as_deref()),
            purl: interner.stated(finding.purl.as_deref()),
            installed: interner.stated(finding.installed.as_deref()),
        };
        let known_exploited = match finding.known_exploited {
            None => 0,
            Some(true) => EXPLOITED,
            Some(false) => NOT_EXPLOITED,
        };
        Self {
            id: interner.text(&finding.id),
            package: interner.package(package),
            aliases: interner.list(&finding.aliases),
            fixed: interner.list(&finding.fixed),
            published: interner.instant(finding.published),
            first_seen: interner.instant(finding.first_seen),
            epss: finding.epss.map_or(f32::NAN, Epss::as_f32).to_bits(),
            score: finding.score,
            severity: finding.severity,
            states: finding.fix_state as u8 | (finding.analysis as u8) << 2 | known_exploited << 4,
        }
    }

    pub(super) fn epss(&self) -> Option<Epss> {
        Epss::from_f64(f32::from_bits(self.epss).into())
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
