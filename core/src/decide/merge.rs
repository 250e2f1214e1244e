//! Reports of several scanners in, one list of findings out.

use std::collections::HashMap;
use std::ops::Deref;

use crate::evidence::Report;
use crate::findings::Finding;

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
/// any of the reports has alone.
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
    kept: Vec<Merged<'a>>,
    /// The last report that each kept finding took one of.
    taken: Vec<usize>,
    named: HashMap<Name<'a>, Vec<usize>>,
}

impl<'a> Merger<'a> {
    fn merge(mut self, reports: &[&'a Report]) -> Vec<Merged<'a>> {
        for (number, report) in reports.iter().enumerate() {
            for finding in &report.findings.list {
                self.add(number, finding);
            }
        }
        self.kept
    }

    fn add(&mut self, report: usize, finding: &'a Finding) {
        let package = finding.package.as_deref();
        let names: Vec<Name<'a>> =
            ids(finding).map(|id| (id.to_ascii_uppercase(), package)).collect();
        let same = names.iter().filter_map(|name| self.named.get(name)).flatten();
        let free = same.copied().filter(|kept| self.taken.get(*kept) != Some(&report)).min();
        let place = free.unwrap_or(self.kept.len());
        match (self.kept.get_mut(place), self.taken.get_mut(place)) {
            (Some(kept), Some(taken)) => {
                *kept = stricter(kept, finding);
                *taken = report;
            }
            _ => {
                self.kept.push(Merged::Single(finding));
                self.taken.push(report);
            }
        }
        for name in names {
            let places = self.named.entry(name).or_default();
            if !places.contains(&place) {
                places.push(place);
            }
        }
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
