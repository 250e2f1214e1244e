//! Reports in, what they found together out.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::evidence::Report;
use crate::findings::{Analysis, Finding, FixState};

/// The order of the walk: the most severe first, then by every field.
pub(super) fn order(a: &Finding, b: &Finding) -> Ordering {
    (b.severity, b.score).cmp(&(a.severity, a.score)).then_with(|| rest(a).cmp(&rest(b)))
}

fn rest(f: &Finding) -> impl Ord + '_ {
    let Finding { id, aliases, severity: _, score: _, package, purl, installed, fixed, .. } = f;
    let last = (f.fix_state, f.known_exploited, f.epss, f.published, f.first_seen, f.analysis);
    (id, package, installed, purl, aliases, fixed, last)
}

pub(super) fn names(finding: &Finding) -> Vec<&str> {
    std::iter::once(&*finding.id).chain(finding.aliases.iter().map(|alias| &**alias)).collect()
}

/// Whether it is the vulnerability of this name: an alias is one too, and case is not compared.
pub(super) fn is(finding: &Finding, id: &str) -> bool {
    names(finding).iter().any(|name| name.eq_ignore_ascii_case(id))
}

/// Whether what has these names may be one vulnerability: they name the same CVEs, or at most one.
fn may_be_one(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    let cves = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().filter(|name| name.starts_with("CVE-")).cloned().collect()
    };
    cves(a) == cves(b) || cves(a).union(&cves(b)).count() <= 1
}

/// What the scanners found, each vulnerability of a package once, and from the most severe on.
pub(super) fn merged(reports: &[Arc<Report>]) -> Vec<Finding> {
    let mut kept: Vec<(Vec<Finding>, usize, BTreeSet<String>)> = Vec::new();
    for (number, report) in reports.iter().enumerate() {
        for finding in report.findings.iter().map(|finding| finding.to_finding()) {
            let ids: BTreeSet<_> =
                names(&finding).iter().map(|id| id.to_ascii_uppercase()).collect();
            let same = kept.iter_mut().filter(|(others, taken, names)| {
                *taken != number
                    && others[0].package == finding.package
                    && !names.is_disjoint(&ids)
                    && may_be_one(names, &ids)
            });
            let same =
                same.min_by_key(|(others, ..)| !others[0].id.eq_ignore_ascii_case(&finding.id));
            match same {
                Some((others, taken, names)) => {
                    *taken = number;
                    names.extend(ids);
                    // The strictest stays in front.
                    if order(&finding, &others[0]).is_lt() {
                        let milder = std::mem::replace(&mut others[0], finding);
                        others.push(milder);
                    } else {
                        others.push(finding);
                    }
                }
                None => kept.push((vec![finding], number, ids)),
            }
        }
    }
    let mut findings: Vec<_> = kept.into_iter().map(|(said, ..)| one(&said)).collect();
    findings.sort_by(order);
    findings
}

/// The strictest of what scanners say of one vulnerability, with what makes it count more from
/// whoever states it, and with all names: its own first, as they are part of the order.
fn one(said: &[Finding]) -> Finding {
    let mut kept = said[0].clone();
    for other in &said[1..] {
        for id in names(other) {
            if !is(&kept, id) {
                kept.aliases.push(id.into());
            }
        }
        kept.score = kept.score.max(other.score);
        kept.epss = kept.epss.max(other.epss);
        kept.known_exploited = kept.known_exploited.max(other.known_exploited);
        kept.published = [kept.published, other.published].into_iter().flatten().min();
        kept.first_seen = [kept.first_seen, other.first_seen].into_iter().flatten().min();
        if kept.fix_state == FixState::NotStated || other.fix_state == FixState::Fixed {
            kept.fix_state = other.fix_state;
        }
        if kept.fixed.is_empty() {
            kept.fixed.clone_from(&other.fixed);
        }
        kept.purl = kept.purl.or(other.purl.clone());
        if other.analysis == Analysis::Affected {
            kept.analysis = Analysis::Affected;
        }
    }
    kept
}
