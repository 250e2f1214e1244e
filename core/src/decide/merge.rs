//! Reports of several scanners in, one list of findings out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::evidence::Report;
use crate::findings::{Analysis, Finding, FindingRef, Findings, FixState, Scanner};

/// The most findings that are looked for by one name of one package, so that merging stays quick. Those
/// past it are findings of their own.
pub(super) const MAX_NAMESAKES: usize = 1000;

/// All findings in the order of the walk. What two scanners say of the same vulnerability in the
/// same package is one finding: the stricter of the two, by any of its names, with whatever only the
/// other states.
///
/// A finding takes up at most one of each report. So there are never fewer at a level or above than
/// any of the reports has alone. And two that name different CVEs are never one, whatever advisory
/// they share: who allows the one does not allow the other.
pub(super) fn merge(reports: &[&Arc<Report>]) -> Findings {
    let mut merger = Merger::default();
    for (number, report) in reports.iter().enumerate() {
        for finding in report.findings.iter() {
            merger.add(number, finding);
        }
    }
    let list = merger.kept.into_iter().map(|kept| kept.finding.finish()).collect();
    // Of no consequence for the walk: who looked, and when, is read in the reports.
    let scanner = Scanner { name: String::new(), version: None };
    Findings::with_repeats(scanner, OffsetDateTime::UNIX_EPOCH, list)
}

/// A name of a vulnerability in upper case, and a package.
type Name<'a> = (Cow<'a, str>, Option<&'a str>);

#[derive(Default)]
struct Merger<'a> {
    kept: Vec<Kept<'a>>,
    numbers: HashMap<Name<'a>, usize>,
    /// By number of a name, the places of those that have it.
    places: Vec<Vec<usize>>,
}

struct Kept<'a> {
    finding: Merged<'a>,
    /// The CVEs among its names, in upper case, in order, each once.
    cves: Vec<Cow<'a, str>>,
    /// The last report that it took one of.
    taken: usize,
}

/// The strictest of what the scanners say of one vulnerability, and the milder ones.
struct Merged<'a> {
    strictest: FindingRef<'a>,
    others: Vec<FindingRef<'a>>,
}

impl<'a> Merged<'a> {
    /// A severity that is not stated is the least: the other scanner knows.
    fn add(&mut self, mut finding: FindingRef<'a>) {
        if finding.walk_order(self.strictest).is_lt() {
            std::mem::swap(&mut self.strictest, &mut finding);
        }
        self.others.push(finding);
    }

    /// One finding with the names of all. What makes it count more is taken from whoever states it.
    fn finish(self) -> Finding {
        let mut kept = self.strictest.to_finding();
        for other in self.others {
            for id in other.ids() {
                let same = |own: &str| own.eq_ignore_ascii_case(id);
                if !same(&kept.id) && !kept.aliases.iter().any(|own| same(own)) {
                    kept.aliases.push(id.into());
                }
            }
            kept.score = kept.score.max(other.score());
            kept.epss = kept.epss.max(other.epss());
            kept.known_exploited = kept.known_exploited.max(other.known_exploited());
            kept.published = earliest(kept.published, other.published());
            kept.first_seen = earliest(kept.first_seen, other.first_seen());
            if kept.fix_state == FixState::NotStated || other.fix_state() == FixState::Fixed {
                kept.fix_state = other.fix_state();
            }
            if kept.fixed.is_empty() {
                kept.fixed = other.fixed().map(Box::from).collect();
            }
            if kept.purl.is_none() {
                kept.purl = other.purl().map(Box::from);
            }
            if other.analysis() == Analysis::Affected {
                kept.analysis = Analysis::Affected;
            }
        }
        kept
    }
}

/// Most are so as they are, and are not copied.
fn in_upper_case(id: &str) -> Cow<'_, str> {
    if id.bytes().any(|b| b.is_ascii_lowercase()) {
        id.to_ascii_uppercase().into()
    } else {
        id.into()
    }
}

/// The earlier of two times, as far as they are stated.
fn earliest<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Kept<'_> {
    /// Whether `other`, which has a name in common with it, may be the same vulnerability: they name
    /// the same CVEs, or at most one.
    fn may_be(&self, other: &[Cow<'_, str>]) -> bool {
        match (self.cves.as_slice(), other) {
            ([], [] | [_]) | ([_], []) => true,
            (own, other) => own == other,
        }
    }
}

impl<'a> Merger<'a> {
    fn add(&mut self, report: usize, finding: FindingRef<'a>) {
        let package = finding.package();
        let ids: Vec<Cow<'a, str>> = finding.ids().map(in_upper_case).collect();
        let mut cves: Vec<_> = ids.iter().filter(|id| id.starts_with("CVE-")).cloned().collect();
        cves.sort_unstable();
        cves.dedup();
        let names: Vec<usize> = ids.into_iter().map(|id| self.number((id, package))).collect();
        let place = self.same(report, finding, &names, &cves).unwrap_or(self.kept.len());
        match self.kept.get_mut(place) {
            Some(kept) => {
                kept.finding.add(finding);
                // They are the same, or one of the two has none.
                if kept.cves.is_empty() {
                    kept.cves = cves;
                }
                kept.taken = report;
            }
            None => {
                let finding = Merged { strictest: finding, others: Vec::new() };
                self.kept.push(Kept { finding, cves, taken: report });
            }
        }
        for name in names {
            if let Some(places) = self.places.get_mut(name)
                && places.len() < MAX_NAMESAKES
                && !places.contains(&place)
            {
                places.push(place);
            }
        }
    }

    /// Looked up once, to find those that have the name and to become one of them.
    fn number(&mut self, name: Name<'a>) -> usize {
        *self.numbers.entry(name).or_insert_with(|| {
            self.places.push(Vec::new());
            self.places.len() - 1
        })
    }

    /// The place of the vulnerability among those that have none of `report` yet: rather one of the
    /// same identifier than one with a name in common.
    fn same(
        &self,
        report: usize,
        finding: FindingRef<'_>,
        names: &[usize],
        cves: &[Cow<'_, str>],
    ) -> Option<usize> {
        let places = names.iter().filter_map(|name| self.places.get(*name)).flatten();
        places
            .filter_map(|place| Some((*place, self.kept.get(*place)?)))
            .filter(|(_, kept)| kept.taken != report && kept.may_be(cves))
            .map(|(place, kept)| {
                (!kept.finding.strictest.id().eq_ignore_ascii_case(finding.id()), place)
            })
            .min()
            .map(|(_, place)| place)
    }
}
