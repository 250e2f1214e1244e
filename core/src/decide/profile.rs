//! Reports on one manifest in, what many rules ask about them out.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;
use time::OffsetDateTime;

use super::memo::{Memo, Term};
use super::merge;
use super::subject::believed_from;
use crate::evidence::{Report, Reports, Statements};
use crate::findings::vex::Statement;
use crate::findings::{Analysis, FindingRef, Findings, Severity};
use crate::image::Digest;
use crate::policy::{IdKey, Limit, Narrowing, Policy, Population};

/// The most narrowings whose counts are kept beside reports: those that rules asked for first. With more in
/// turns, each would else push out the one that is asked for next.
const MAX_TALLIES: usize = 16;
/// The most profiles that are kept beside reports: one, unless rules differ in which are too old.
const MAX_PROFILES: usize = 4;

/// Profiles of the same reports, made for one policy.
#[derive(Debug)]
pub(crate) struct Profiles {
    /// [`Policy::serial`].
    policy: u64,
    kept: SmallVec<[Arc<Profile>; 1]>,
}

impl Profiles {
    /// What one of them takes where it is kept, with the counts of a narrowing, in bytes.
    pub(crate) const ROOM: usize = {
        const COUNTS: usize = 2 * size_of::<usize>();
        3 * COUNTS + size_of::<Self>() + size_of::<Profile>() + size_of::<Tallies>()
    };
    /// What one of them keeps for each finding that does not count, in bytes.
    pub(crate) const CLEARED: usize = size_of::<(u32, ClearedBy)>();
}

/// The findings of one manifest from the most to the least severe, ready for many rules.
#[derive(Debug)]
pub(crate) struct Profile {
    reports: SmallVec<[Arc<Report>; 1]>,
    /// The findings of all, if there are several reports.
    merged: Option<Box<Findings>>,
    /// Which findings have a name that some rule or exemption has, in order.
    named: Box<[(IdKey, u32)]>,
    /// Those that no rule counts, in order, and why.
    cleared: Box<[(u32, ClearedBy)]>,
    /// How long the VEX documents say the same.
    pub(super) term: Term,
    /// Where the findings of each [`level`] or higher end; for unknown ones, where they begin.
    ends: [u32; 6],
    /// What limits that look at all findings count.
    all: Tally,
    /// What others do, by the number of their narrowing, as far as rules have asked.
    tallies: Memo<Tallies>,
}

/// What says that a finding does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClearedBy {
    /// The report itself.
    Report,
    /// A VEX document: digest of its manifest.
    Vex(Digest),
}

/// By number of a narrowing, the first first.
type Tallies = SmallVec<[(usize, Tally); 1]>;

/// How many findings one narrowing of limits looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// By population, and by [`level`]: of this level or higher; unknown ones by themselves.
    counts: [[u32; 6]; 3],
    /// How long it stays so.
    pub(super) term: Term,
}

const fn level(severity: Severity) -> usize {
    severity as usize
}

const fn population(population: Population) -> usize {
    population as usize
}

/// The profile of `reports`, which are the newest of all that are `known`, newest first.
pub(super) fn of(
    policy: &Policy,
    reports: &[&Arc<Report>],
    known: &Reports,
    now: OffsetDateTime,
) -> Arc<Profile> {
    let is_it = |profile: &&Arc<Profile>| {
        profile.term.holds(now)
            && profile.reports.len() == reports.len()
            && profile.reports.iter().zip(reports).all(|(a, b)| Arc::ptr_eq(a, b))
    };
    let serial = policy.serial();
    let of_policy = |all: &&Profiles| all.policy == serial;
    let find = |all: &Profiles| all.kept.iter().find(is_it).map(Arc::clone);
    let kept = known.memo().read(|all| Some(all).filter(of_policy).and_then(find));
    if let Some(profile) = kept {
        return profile;
    }
    let profiles = known.memo().get_or_make(
        |all| of_policy(&all) && all.kept.iter().any(|profile| is_it(&profile)),
        |all| {
            let old = all.filter(of_policy).map(|all| all.kept.as_slice()).unwrap_or_default();
            let new = Arc::new(Profile::new(policy, reports, known.vex(), now));
            let valid = old.iter().filter(|profile| profile.term.holds(now)).cloned();
            let kept = std::iter::once(new).chain(valid).take(MAX_PROFILES).collect();
            Profiles { policy: serial, kept }
        },
    );
    // Never made a second time: it was found, or made, above.
    find(&profiles).unwrap_or_else(|| Arc::new(Profile::new(policy, reports, known.vex(), now)))
}

impl Profile {
    fn new(
        policy: &Policy,
        reports: &[&Arc<Report>],
        vex: &[Arc<Statements>],
        now: OffsetDateTime,
    ) -> Self {
        let mut profile = Self {
            reports: reports.iter().copied().cloned().collect(),
            merged: (reports.len() != 1).then(|| Box::new(merge::merge(reports))),
            named: Box::default(),
            cleared: Box::default(),
            term: Term::default(),
            ends: [0; 6],
            all: Tally::default(),
            tallies: Memo::default(),
        };
        profile.name(policy);
        profile.clear(vex, now);
        let [ends, ..] = counts(profile.places()).counts;
        profile.ends = ends;
        let [unknown, known, ..] = &mut profile.ends;
        *unknown = *known;
        let counted = profile.places().filter(|(place, _)| !profile.is_cleared(*place));
        profile.all = counts(counted);
        profile
    }

    fn name(&mut self, policy: &Policy) {
        let mut named = Vec::new();
        let mut buffer = String::new();
        for (place, finding) in self.places() {
            let keys = finding.ids().filter_map(|id| policy.ids().find(id, &mut buffer));
            named.extend(keys.map(|key| (key, place)));
        }
        named.sort_unstable();
        named.dedup();
        self.named = named.into();
    }

    /// Which findings the report or a VEX document takes out of all counts: of several statements
    /// about one, the newest that is believed.
    fn clear(&mut self, vex: &[Arc<Statements>], now: OffsetDateTime) {
        let said = Said::new(vex, now, &mut self.term);
        let by = |(place, finding): (u32, FindingRef<'_>)| {
            let by = match finding.analysis() {
                Analysis::Affected => said.clears(finding).map(ClearedBy::Vex),
                Analysis::NotAffected | Analysis::Fixed => Some(ClearedBy::Report),
            };
            by.map(|by| (place, by))
        };
        self.cleared = self.places().filter_map(by).collect();
    }

    /// When the newest scan finished.
    pub(super) fn scanned_at(&self) -> Option<OffsetDateTime> {
        self.reports.first().map(|report| report.findings.scanned_at)
    }

    fn findings(&self) -> Option<&Findings> {
        match &self.merged {
            Some(findings) => Some(findings),
            None => self.reports.first().map(|report| &report.findings),
        }
    }

    pub(super) fn finding(&self, place: u32) -> Option<FindingRef<'_>> {
        self.findings()?.get(usize::try_from(place).ok()?)
    }

    /// All findings with their places.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, FindingRef<'_>)> {
        (0..).zip(self.findings().into_iter().flat_map(Findings::iter))
    }

    /// The places that `limit` may be about: those of its level or higher, and the unknown ones.
    pub(super) fn range(&self, limit: &Limit) -> impl Iterator<Item = u32> + Clone {
        let end = |severity| self.ends.get(level(severity)).copied().unwrap_or_default();
        let stated = match limit.level {
            Severity::Unknown => 0..0,
            level => 0..end(level),
        };
        let all = self.findings().map_or(0, Findings::len);
        stated.chain(end(Severity::Unknown)..u32::try_from(all).unwrap_or(u32::MAX))
    }

    /// The findings that have a name which a rule or exemption has, by its number, in order.
    pub(super) fn named(&self) -> &[(IdKey, u32)] {
        &self.named
    }

    /// Those that no rule counts, in order, and why.
    pub(super) fn cleared(&self) -> &[(u32, ClearedBy)] {
        &self.cleared
    }

    pub(super) fn is_cleared(&self, place: u32) -> bool {
        !self.cleared.is_empty()
            && self.cleared.binary_search_by_key(&place, |(place, _)| *place).is_ok()
    }

    /// Counts what the narrowing of this number looks at; `None` if the policy has none.
    pub(super) fn tally(
        &self,
        policy: &Policy,
        number: usize,
        now: OffsetDateTime,
    ) -> Option<Cow<'_, Tally>> {
        if number == 0 {
            return Some(Cow::Borrowed(&self.all));
        }
        let narrowing = policy.narrowings().get(number)?;
        let find = |all: &Tallies| {
            let mut all = all.iter();
            all.find(|(of, tally)| *of == number && tally.term.holds(now)).map(|(_, tally)| *tally)
        };
        if let Some(tally) = self.tallies.read(find) {
            return Some(Cow::Owned(tally));
        }
        let tally = self.count(narrowing, now);
        self.tallies.replace(|all| {
            let others = all.into_iter().flatten();
            let others = others.filter(|(of, tally)| *of != number && tally.term.holds(now));
            others.copied().chain([(number, tally)]).take(MAX_TALLIES).collect()
        });
        Some(Cow::Owned(tally))
    }

    fn count(&self, narrowing: &Narrowing, now: OffsetDateTime) -> Tally {
        let mut term = Term::default();
        let mut counted = Vec::new();
        for (place, finding) in self.places() {
            let looks = narrowing.counts(finding, now, |change| term.cut(now, change));
            if looks && !self.is_cleared(place) {
                counted.push((place, finding));
            }
        }
        Tally { term, ..counts(counted.into_iter()) }
    }
}

fn counts<'f>(places: impl Iterator<Item = (u32, FindingRef<'f>)>) -> Tally {
    let mut tally = Tally::default();
    for (_, finding) in places {
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
    tally
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

/// Whether `limit` is about `finding`.
pub(super) fn is_limited(limit: &Limit, names_unknown: bool, finding: FindingRef<'_>) -> bool {
    limit.is_about(names_unknown, finding.severity(), finding.fix_state())
}

/// What the VEX documents that are believed say, by the names of vulnerabilities in upper case.
struct Said<'v>(HashMap<String, Vec<(&'v Statements, &'v Statement)>>);

impl<'v> Said<'v> {
    fn new(documents: &'v [Arc<Statements>], now: OffsetDateTime, term: &mut Term) -> Self {
        let mut said: HashMap<String, Vec<_>> = HashMap::new();
        for document in documents {
            for statement in &document.vex.statements {
                let from = believed_from(statement.issued_at);
                if let Some(from) = from {
                    term.cut(now, from);
                }
                if from.is_some_and(|from| from > now) {
                    continue;
                }
                let ids: BTreeSet<_> =
                    statement.ids.iter().map(|id| id.to_ascii_uppercase()).collect();
                for id in ids {
                    said.entry(id).or_default().push((&**document, statement));
                }
            }
        }
        Self(said)
    }

    /// The document that takes `finding` out of all counts.
    fn clears(&self, finding: FindingRef<'_>) -> Option<Digest> {
        if self.0.is_empty() {
            return None;
        }
        let named = finding.ids().filter_map(|id| self.0.get(&id.to_ascii_uppercase()));
        let about = named.flatten().filter(|(_, statement)| statement.is_about(finding));
        // Of two at one time, the one that does not clear.
        let newest = about.max_by_key(|(document, statement)| {
            (statement.issued_at, !statement.status.clears(), document.digest)
        });
        newest.filter(|(_, s)| s.status.clears()).map(|(document, _)| document.digest)
    }
}

#[cfg(test)]
mod tests;
