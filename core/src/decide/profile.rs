//! Reports on one manifest in, what many rules ask about them out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use time::OffsetDateTime;

use super::subject::believed_from;
use super::{Clock, merge};
use crate::evidence::{Report, Reports, Statements};
use crate::findings::{Analysis, FindingRef, Findings, Severity};
use crate::image::Digest;
use crate::policy::{IdKey, Limit, Narrowing, Policy, Population};

/// The findings of one manifest from the most to the least severe, ready for many rules.
#[derive(Debug)]
pub(super) struct Profile {
    source: Source,
    /// Which findings have a name that some rule or exemption has, in order.
    named: Vec<(IdKey, u32)>,
    /// Those that no rule counts, in order, and why.
    cleared: Vec<(u32, ClearedBy)>,
    /// When the newest scan finished.
    pub(super) scanned_at: Option<OffsetDateTime>,
    /// When a VEX document that is not believed yet will be.
    pub(super) changes_at: Option<OffsetDateTime>,
}

#[derive(Debug)]
enum Source {
    One(Arc<Report>),
    Merged(Findings),
}

/// What says that a finding does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClearedBy {
    /// The report itself.
    Report,
    /// A VEX document: digest of its manifest.
    Vex(Digest),
}

/// How many findings one narrowing of limits looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// By population, and by [`level`]: of this level or higher; unknown ones by themselves.
    counts: [[u32; 6]; 3],
    /// The next instant at which that could change.
    pub(super) changes_at: Option<OffsetDateTime>,
}

const fn level(severity: Severity) -> usize {
    severity as usize
}

const fn population(population: Population) -> usize {
    population as usize
}

impl Profile {
    /// `reports` are the newest of all that are `known`, newest first.
    pub(super) fn new(
        policy: &Policy,
        reports: &[&Arc<Report>],
        known: &Reports,
        now: OffsetDateTime,
    ) -> Self {
        let source = match reports {
            [report] => Source::One(Arc::clone(report)),
            _ => Source::Merged(merge::merge(reports)),
        };
        let mut profile = Self {
            source,
            named: Vec::new(),
            cleared: Vec::new(),
            scanned_at: reports.first().map(|report| report.findings.scanned_at),
            changes_at: None,
        };
        let mut named = Vec::new();
        let mut buffer = String::new();
        for (place, finding) in profile.places() {
            let keys = finding.ids().filter_map(|id| policy.ids().find(id, &mut buffer));
            named.extend(keys.map(|key| (key, place)));
        }
        named.sort_unstable();
        named.dedup();
        profile.named = named;
        profile.clear(known.vex(), now);
        profile
    }

    fn findings(&self) -> &Findings {
        match &self.source {
            Source::One(report) => &report.findings,
            Source::Merged(findings) => findings,
        }
    }

    pub(super) fn finding(&self, place: u32) -> Option<FindingRef<'_>> {
        self.findings().get(usize::try_from(place).ok()?)
    }

    /// All findings with their places.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, FindingRef<'_>)> {
        (0..).zip(self.findings().iter())
    }

    /// The findings that have a name of this number, in order.
    pub(super) fn named(&self, key: IdKey) -> impl Iterator<Item = u32> + '_ {
        let from = self.named.partition_point(|(other, _)| *other < key);
        let rest = self.named.get(from..).unwrap_or_default();
        rest.iter().take_while(move |(other, _)| *other == key).map(|(_, place)| *place)
    }

    /// The numbers of all names that findings have, in order; one may be there several times.
    pub(super) fn keys(&self) -> &[(IdKey, u32)] {
        &self.named
    }

    /// Those that no rule counts, in order, and why.
    pub(super) fn cleared(&self) -> &[(u32, ClearedBy)] {
        &self.cleared
    }

    pub(super) fn is_cleared(&self, place: u32) -> bool {
        self.cleared.binary_search_by_key(&place, |(place, _)| *place).is_ok()
    }

    /// Counts what `narrowing` looks at.
    pub(super) fn tally(&self, narrowing: &Narrowing, now: OffsetDateTime) -> Tally {
        let mut tally = Tally::default();
        let mut clock = Clock { now, next: None };
        for (place, finding) in self.places() {
            if self.is_cleared(place)
                || !narrowing.counts(finding, now, |instant| clock.changes_at(instant))
            {
                continue;
            }
            for of in Population::ALL {
                if of.has(finding.fix_state())
                    && let Some(counts) = tally.counts.get_mut(population(of))
                    && let Some(count) = counts.get_mut(level(finding.severity()))
                {
                    *count += 1;
                }
            }
        }
        for counts in &mut tally.counts {
            let mut above = 0;
            for count in counts.iter_mut().skip(1).rev() {
                above += *count;
                *count = above;
            }
        }
        tally.changes_at = clock.next;
        tally
    }

    /// Which findings the report or a VEX document takes out of all counts: of several statements
    /// about one, the newest that is believed.
    fn clear(&mut self, vex: &[Arc<Statements>], now: OffsetDateTime) {
        let mut clock = Clock { now, next: None };
        let mut by_id: HashMap<String, Vec<(&Statements, &crate::findings::vex::Statement)>> =
            HashMap::new();
        for document in vex {
            for statement in &document.vex.statements {
                let from = believed_from(statement.issued_at);
                if let Some(from) = from {
                    clock.changes_at(from);
                }
                if from.is_none_or(|from| from <= now) {
                    let ids: BTreeSet<_> =
                        statement.ids.iter().map(|id| id.to_ascii_uppercase()).collect();
                    for id in ids {
                        by_id.entry(id).or_default().push((document, statement));
                    }
                }
            }
        }
        let mut cleared = Vec::new();
        for (place, finding) in self.places() {
            if finding.analysis() != Analysis::Affected {
                cleared.push((place, ClearedBy::Report));
                continue;
            }
            if by_id.is_empty() {
                continue;
            }
            let about = finding
                .ids()
                .filter_map(|id| by_id.get(&id.to_ascii_uppercase()))
                .flatten()
                .filter(|(_, statement)| statement.is_about(finding));
            // Of two at one time, the one that does not clear.
            let newest = about.max_by_key(|(document, statement)| {
                (statement.issued_at, !statement.status.clears(), document.digest)
            });
            if let Some((document, _)) = newest.filter(|(_, s)| s.status.clears()) {
                cleared.push((place, ClearedBy::Vex(document.digest)));
            }
        }
        self.cleared = cleared;
        self.changes_at = clock.next;
    }
}

impl Tally {
    /// How many findings `limit` is about. What has no stated severity could be as bad as the worst
    /// that the rule asks about, and so counts at each of its levels, unless the rule says itself
    /// what that counts for (CASES T032).
    pub(super) fn count(&self, limit: &Limit, names_unknown: bool) -> u32 {
        let Some(counts) = self.counts.get(population(limit.population)) else {
            return 0;
        };
        let at = |severity| counts.get(level(severity)).copied().unwrap_or_default();
        match limit.level {
            Severity::Unknown => at(Severity::Unknown),
            level if names_unknown => at(level),
            level => at(level) + at(Severity::Unknown),
        }
    }
}

/// Whether `limit` is about a finding of this severity and fix state.
pub(super) fn is_limited(limit: &Limit, names_unknown: bool, finding: FindingRef<'_>) -> bool {
    limit.population.has(finding.fix_state())
        && match (limit.level, finding.severity()) {
            (Severity::Unknown, severity) => severity == Severity::Unknown,
            (_, Severity::Unknown) => !names_unknown,
            (level, severity) => severity >= level,
        }
}
