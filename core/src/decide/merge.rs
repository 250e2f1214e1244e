//! Reports of several scanners in, one list of findings out.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;

use crate::evidence::Report;
use crate::findings::Finding;

/// The most findings that are looked for by one name of one package, so that merging stays quick. Those
/// past it are findings of their own.
pub(super) const MAX_NAMESAKES: usize = 1000;

/// A finding of one report, or one that several scanners made.
#[derive(Debug)]
pub(super) enum Merged<'a> {
    Single(&'a Finding),
    Several(Box<Finding>),
}

impl Deref for Merged<'_> {
    type Target = Finding;

    fn deref(&self) -> &Finding {
        match self {
            Self::Single(finding) => finding,
            Self::Several(finding) => finding,
        }
    }
}

/// All findings in the order of the walk. What two scanners say of the same vulnerability in the
/// same package is one finding: the stricter of the two, by any of its names.
///
/// A finding takes up at most one of each report. So there are never fewer at a level or above than
/// any of the reports has alone. And two that name different CVEs are never one, whatever advisory
/// they share: who allows the one does not allow the other.
pub(super) fn merge<'a>(reports: &[&'a Report]) -> Vec<Merged<'a>> {
    let mut merged: Vec<Merged<'a>> = match reports {
        [report] => report.findings.list.iter().map(Merged::Single).collect(),
        _ => Merger::default().merge(reports),
    };
    // The list of a report is in order already, which costs one pass.
    merged.sort_by(|a, b| a.walk_order(b));
    merged
}

/// A name of a vulnerability in upper case, and a package.
type Name<'a> = (String, Option<&'a str>);

#[derive(Default)]
struct Merger<'a> {
    kept: Vec<Kept<'a>>,
    named: HashMap<Name<'a>, Vec<usize>>,
}

struct Kept<'a> {
    finding: Merged<'a>,
    /// The CVEs among its names, in upper case.
    cves: BTreeSet<String>,
    /// The last report that it took one of.
    taken: usize,
}

impl Kept<'_> {
    /// Whether `other`, which has a name in common with it, may be the same vulnerability: they name
    /// the same CVEs, or at most one.
    fn may_be(&self, other: &BTreeSet<String>) -> bool {
        self.cves == *other || self.cves.union(other).nth(1).is_none()
    }
}

impl<'a> Merger<'a> {
    fn merge(mut self, reports: &[&'a Report]) -> Vec<Merged<'a>> {
        for (number, report) in reports.iter().enumerate() {
            for finding in &report.findings.list {
                self.add(number, finding);
            }
        }
        self.kept.into_iter().map(|kept| kept.finding).collect()
    }

    fn add(&mut self, report: usize, finding: &'a Finding) {
        let package = finding.package.as_deref();
        let names: Vec<Name<'a>> =
            ids(finding).map(|id| (id.to_ascii_uppercase(), package)).collect();
        let cves: BTreeSet<String> =
            names.iter().map(|(id, _)| id).filter(|id| id.starts_with("CVE-")).cloned().collect();
        let place = self.same(report, finding, &names, &cves).unwrap_or(self.kept.len());
        match self.kept.get_mut(place) {
            Some(kept) => {
                kept.finding = stricter(&kept.finding, finding);
                kept.cves.extend(cves);
                kept.taken = report;
            }
            None => {
                self.kept.push(Kept { finding: Merged::Single(finding), cves, taken: report });
            }
        }
        for name in names {
            let places = self.named.entry(name).or_default();
            if places.len() < MAX_NAMESAKES && !places.contains(&place) {
                places.push(place);
            }
        }
    }

    /// The place of the vulnerability among those that have none of `report` yet: rather one of the
    /// same identifier than one with a name in common.
    fn same(
        &self,
        report: usize,
        finding: &Finding,
        names: &[Name<'a>],
        cves: &BTreeSet<String>,
    ) -> Option<usize> {
        let places = names.iter().filter_map(|name| self.named.get(name)).flatten();
        places
            .filter_map(|place| Some((*place, self.kept.get(*place)?)))
            .filter(|(_, kept)| kept.taken != report && kept.may_be(cves))
            .map(|(place, kept)| (!kept.finding.id.eq_ignore_ascii_case(&finding.id), place))
            .min()
            .map(|(_, place)| place)
    }
}

/// The more severe of the two with the names of both. A severity that is not stated is the least:
/// the other scanner knows.
fn stricter<'a>(a: &Finding, b: &Finding) -> Merged<'a> {
    let (mut kept, other) = if b.walk_order(a).is_lt() { (b.clone(), a) } else { (a.clone(), b) };
    for id in ids(other) {
        if !kept.is(id) {
            kept.aliases.push(id.into());
        }
    }
    Merged::Several(Box::new(kept))
}

pub(super) fn ids(finding: &Finding) -> impl Iterator<Item = &str> {
    std::iter::once(&*finding.id).chain(finding.aliases.iter().map(|alias| &**alias))
}
