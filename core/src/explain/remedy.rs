//! Violations in, the few package upgrades that make the action milder out.
//!
//! The smallest set of packages that takes every count under its limit is a covering problem; this
//! takes the package that helps most, again and again, and then drops what was not needed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Asked;
use crate::decide::{Action, Counted, Decision, decide, printable, recount};
use crate::evidence::{Evidence, Report, Reports, Subject};
use crate::findings::{FindingRef, Findings, FixState};
use crate::image::Platform;
use crate::policy::{MAX_SHOWN, Rule};

/// The most steps of a remedy.
pub const MAX_STEPS: usize = 64;
/// The most vulnerabilities that a step names, and the most versions and packages.
pub const MAX_STEP_IDS: usize = 20;
/// How often what was found is tried, and added to: reports of several scanners are merged anew
/// without the findings that are gone.
const MAX_ROUNDS: usize = 3;
/// The most cures that are looked at by one name, so that trying stays quick. What is past them is
/// taken not to be cured.
const MAX_NAMESAKES: usize = 1000;

/// What would make the action milder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// What to do, at most [`MAX_STEPS`]: all of it.
    pub steps: Vec<Step>,
    /// The action after it; `None` where it also depends on what a new report says, or where the
    /// steps are not enough.
    pub action: Option<Action>,
    /// How many exemptions it needs, because no fix exists.
    pub exemptions: usize,
    /// Whether the steps are enough. They are not where there would be more than [`MAX_STEPS`].
    pub complete: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Upgrade a package.
    Upgrade {
        /// Its name; where none is stated, its package URL or the vulnerability.
        package: String,
        /// The versions that are installed.
        installed: Vec<String>,
        /// The versions that fix what is to be cured. Where there are several, each finding is cured
        /// by some of them.
        fixed: Vec<String>,
        /// How many findings it cures.
        cures: usize,
        /// Their identifiers, worst first, each once, at most [`MAX_STEP_IDS`].
        ids: Vec<String>,
    },
    /// Exempt a vulnerability that has no fix.
    Exempt {
        /// Its identifier.
        id: String,
        /// The packages that have it.
        packages: Vec<String>,
        /// How many findings that covers.
        covers: usize,
    },
    /// Give the evidence that is missing, or use another image.
    Evidence {
        /// Name of the rule that asks for it.
        rule: Arc<str>,
        /// The word for the condition.
        condition: &'static str,
        /// Which platform it is missing for, in an index.
        platform: Option<Platform>,
        /// What to do.
        todo: &'static str,
    },
}

/// What makes the action of `decision` milder: cures every violation that asks for it.
pub(super) fn remedy(
    asked: &Asked<'_>,
    subjects: &[Subject],
    in_scope: &[&Rule],
    decision: &Decision,
) -> Option<Remedy> {
    let action = decision.deciding()?.action.max(decision.action);
    let mut steps: Vec<Step> = Vec::new();
    let mut cures: BTreeSet<Cure> = BTreeSet::new();
    let mut left = subjects.to_vec();
    let mut evidence = 0;
    let mut after = None;
    for round in 0..=MAX_ROUNDS {
        let counted = recount(asked.policy, &asked.target, &left, asked.now, in_scope);
        let violated: Vec<_> = counted.iter().filter(|c| c.met && c.action >= action).collect();
        if round == 0 {
            steps = self::evidence(&violated);
            evidence = steps.len();
        }
        let about_findings: Vec<_> = violated.into_iter().filter(|c| c.limit().is_some()).collect();
        if about_findings.is_empty() {
            let milder = decide(asked.policy, asked.image, &left, asked.ctx, asked.now).action;
            after = Some(milder).filter(|milder| evidence == 0 && *milder < action);
            break;
        }
        let room = MAX_STEPS.saturating_sub(steps.len());
        let picked = Cover::new(&about_findings).pick(room);
        if round == MAX_ROUNDS || picked.is_empty() {
            break;
        }
        cures.extend(picked.iter().flat_map(|unit| unit.cures()));
        steps.extend(picked.iter().map(Unit::step));
        left = without(subjects, &cures);
    }
    let exemptions = steps.iter().filter(|step| matches!(step, Step::Exempt { .. })).count();
    let complete =
        after.is_some() || (evidence > 0 && left_is_clean(asked, &left, in_scope, action));
    Some(Remedy { steps, action: after, exemptions, complete })
}

/// Whether no finding asks for `action` any more.
fn left_is_clean(asked: &Asked<'_>, left: &[Subject], in_scope: &[&Rule], action: Action) -> bool {
    let counted = recount(asked.policy, &asked.target, left, asked.now, in_scope);
    !counted.iter().any(|c| c.met && c.action >= action && c.limit().is_some())
}

/// What to do about the evidence and the image, each once.
fn evidence(violated: &[&Counted<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    for counted in violated.iter().filter(|c| c.limit().is_none()) {
        let step = Step::Evidence {
            rule: Arc::clone(counted.rule.name()),
            condition: counted.condition.as_str(),
            platform: counted.platform.clone(),
            todo: counted.condition.cure(),
        };
        if steps.len() < MAX_STEPS && !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

/// What one step would be about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    /// A package with findings that have a fix.
    Package(String),
    /// A vulnerability without a fix.
    Vulnerability(String),
}

/// Findings that one step cures.
struct Unit<'a> {
    name: Name,
    /// How many it cures of each violation.
    helps: HashMap<usize, usize>,
    /// Each once for every violation that it is in.
    findings: Vec<FindingRef<'a>>,
}

/// Counts that are over their limits, and what would make them fewer.
struct Cover<'a> {
    /// How many findings are too many in each violation.
    needs: Vec<usize>,
    units: Vec<Unit<'a>>,
}

impl<'a> Cover<'a> {
    fn new(violated: &[&'a Counted<'_>]) -> Self {
        let needs = violated.iter().map(|c| c.count().saturating_sub(c.limit().unwrap_or(0)));
        let mut cover = Self { needs: needs.collect(), units: Vec::new() };
        let mut places: HashMap<Name, usize> = HashMap::new();
        for (violation, counted) in violated.iter().enumerate() {
            for finding in counted.findings() {
                let name = name_of(finding);
                let place = *places.entry(name.clone()).or_insert(cover.units.len());
                if place == cover.units.len() {
                    cover.units.push(Unit { name, helps: HashMap::new(), findings: Vec::new() });
                }
                if let Some(unit) = cover.units.get_mut(place) {
                    *unit.helps.entry(violation).or_default() += 1;
                    unit.findings.push(finding);
                }
            }
        }
        cover
    }

    /// The units to take, at most `room`: packages first, and vulnerabilities without a fix only as
    /// far as these are not enough.
    fn pick(mut self, room: usize) -> Vec<Unit<'a>> {
        let mut open = self.needs.clone();
        let mut picked: Vec<Unit<'a>> = Vec::new();
        for is_package in [true, false] {
            while picked.len() < room {
                let helps = |unit: &Unit<'_>| {
                    let kind = matches!(unit.name, Name::Package(_)) == is_package;
                    if kind { unit.helps_with(&open) } else { 0 }
                };
                // Of two that help alike, the first: it has the worse finding.
                let best = self.units.iter().enumerate().rev().max_by_key(|(_, unit)| helps(unit));
                let Some((place, _)) = best.filter(|(_, unit)| helps(unit) > 0) else {
                    break;
                };
                let unit = self.units.remove(place);
                unit.take_from(&mut open);
                picked.push(unit);
            }
        }
        self.drop_needless(&mut picked);
        picked
    }

    /// Takes out what the others make needless, the least first.
    fn drop_needless(&self, picked: &mut Vec<Unit<'_>>) {
        let open_without = |picked: &[Unit<'_>], left_out: Option<usize>| {
            let mut open = self.needs.clone();
            for (place, unit) in picked.iter().enumerate() {
                if Some(place) != left_out {
                    unit.take_from(&mut open);
                }
            }
            open
        };
        loop {
            let reached = open_without(picked, None);
            let mut least: Vec<usize> = (0..picked.len()).collect();
            least.sort_by_key(|place| picked.get(*place).map_or(0, |unit| unit.findings.len()));
            let needless = least.into_iter().find(|p| open_without(picked, Some(*p)) == reached);
            match needless {
                Some(place) => drop(picked.remove(place)),
                None => return,
            }
        }
    }
}

impl Unit<'_> {
    fn helps_with(&self, open: &[usize]) -> usize {
        let with = |(violation, cured): (&usize, &usize)| {
            open.get(*violation).map_or(0, |need| *need.min(cured))
        };
        self.helps.iter().map(with).sum()
    }

    fn take_from(&self, open: &mut [usize]) {
        for (violation, cured) in &self.helps {
            if let Some(need) = open.get_mut(*violation) {
                *need = need.saturating_sub(*cured);
            }
        }
    }

    fn cures(&self) -> impl Iterator<Item = Cure> + '_ {
        self.findings.iter().map(|finding| Cure::new(*finding, &self.name))
    }

    fn step(&self) -> Step {
        let mut distinct: Vec<FindingRef<'_>> = Vec::new();
        let mut seen = BTreeSet::new();
        for finding in &self.findings {
            if seen.insert((finding.id(), finding.package(), finding.installed(), finding.purl())) {
                distinct.push(*finding);
            }
        }
        match &self.name {
            Name::Package(package) => Step::Upgrade {
                package: printable(package, MAX_SHOWN),
                installed: once(distinct.iter().filter_map(|finding| finding.installed())),
                fixed: once(distinct.iter().flat_map(|finding| finding.fixed())),
                cures: distinct.len(),
                ids: once(distinct.iter().map(|finding| finding.id())),
            },
            Name::Vulnerability(_) => Step::Exempt {
                id: distinct.first().map_or_else(String::new, |f| printable(f.id(), MAX_SHOWN)),
                packages: once(distinct.iter().filter_map(|finding| finding.package())),
                covers: distinct.len(),
            },
        }
    }
}

/// Each text once, in order, as it may be shown, at most [`MAX_STEP_IDS`].
fn once<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts
        .filter(|text| seen.insert(*text))
        .take(MAX_STEP_IDS)
        .map(|text| printable(text, MAX_SHOWN))
        .collect()
}

/// What one would do about `finding`.
fn name_of(finding: FindingRef<'_>) -> Name {
    if !has_fix(finding) {
        return Name::Vulnerability(finding.id().to_ascii_uppercase());
    }
    let package = finding.package().or(finding.purl());
    Name::Package(package.unwrap_or_else(|| finding.id()).to_owned())
}

fn has_fix(finding: FindingRef<'_>) -> bool {
    finding.fix_state() == FixState::Fixed || finding.fixed().len() > 0
}

/// A vulnerability that is gone from one package, or from all.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cure {
    /// All its names, in upper case.
    names: BTreeSet<String>,
    package: Option<Option<Box<str>>>,
}

impl Cure {
    fn new(finding: FindingRef<'_>, name: &Name) -> Self {
        let package = match name {
            Name::Package(_) => Some(finding.package().map(Box::from)),
            Name::Vulnerability(_) => None,
        };
        Self { names: names(finding), package }
    }

    /// Whether `finding` of one report is, or is a part of, what is gone: it is of the package, has a
    /// name in common, and does not name another CVE. Scanners' findings are merged by the same, and
    /// then it is enough that one of them knows a fix.
    fn covers(&self, finding: FindingRef<'_>, is_merged: bool) -> bool {
        let is_cve = |name: &&String| name.starts_with("CVE-");
        let names = names(finding);
        let cves =
            |of: &BTreeSet<String>| of.iter().filter(is_cve).cloned().collect::<BTreeSet<_>>();
        let (own, other) = (cves(&self.names), cves(&names));
        let is_cured = |package: &Option<Box<str>>| {
            package.as_deref() == finding.package() && (is_merged || has_fix(finding))
        };
        self.package.as_ref().is_none_or(is_cured)
            && !self.names.is_disjoint(&names)
            && (own == other || own.union(&other).nth(1).is_none())
    }
}

fn names(finding: FindingRef<'_>) -> BTreeSet<String> {
    finding.ids().map(str::to_ascii_uppercase).collect()
}

/// What would be known of the manifests without what is cured.
pub(super) fn without(subjects: &[Subject], cures: &BTreeSet<Cure>) -> Vec<Subject> {
    let mut by_name: HashMap<&str, Vec<&Cure>> = HashMap::new();
    for cure in cures {
        for name in &cure.names {
            let namesakes = by_name.entry(name).or_default();
            if namesakes.len() < MAX_NAMESAKES {
                namesakes.push(cure);
            }
        }
    }
    let is_left = |finding: FindingRef<'_>, is_merged: bool| {
        let names = names(finding);
        let mut about = names.iter().filter_map(|name| by_name.get(name.as_str())).flatten();
        !about.any(|cure| cure.covers(finding, is_merged))
    };
    let report = |report: &Arc<Report>, is_merged: bool| {
        let Findings { scanner, scanned_at, .. } = &report.findings;
        let left = report.findings.iter().filter(|finding| is_left(*finding, is_merged));
        let left = left.map(FindingRef::to_finding).collect();
        let findings = Findings::new(scanner.clone(), *scanned_at, left);
        Arc::new(Report { findings, ..Report::clone(report) })
    };
    let subject = |subject: &Subject| match &*subject.evidence {
        Evidence::Verified(reports) => {
            let is_merged = reports.len() > 1;
            let list = reports.iter().map(|of| report(of, is_merged)).collect();
            let evidence = Evidence::Verified(Reports::new(list, reports.vex().to_vec()));
            Subject { evidence: Arc::new(evidence), ..subject.clone() }
        }
        _ => subject.clone(),
    };
    subjects.iter().map(subject).collect()
}
