//! What two rules count in, findings that they count and that they do not count out.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;

use crate::findings::{Analysis, Epss, Finding, Findings, FixState, Scanner, Score, Severity};
use crate::policy::Narrowing;

/// The most findings that are tried for two narrowings.
const MAX_TRIED: usize = 2_000;
/// The most package URLs among them.
const MAX_PACKAGES: usize = 8;
/// When examples are looked at.
pub(in crate::policy) const NOW: OffsetDateTime = datetime!(2020-01-01 0:00 UTC);

/// A finding of an example; its severity and its name are set where it is used.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) finding: Finding,
    /// What is told of it beside its severity, with a space before it.
    pub(super) told: String,
    /// Whether the first rule's limits look at it, and the second's.
    pub(super) counted: [bool; 2],
}

/// One kind for each fix state and each way in which limits with these narrowings can look at it, as
/// far as one is found.
pub(super) fn kinds(first: &Narrowing, second: &Narrowing, tells_fix: TellsFix) -> Vec<Kind> {
    let both = [first, second];
    let mut kinds: Vec<Kind> = Vec::new();
    for finding in candidates(&both).into_iter().take(MAX_TRIED) {
        let counted = both.map(|narrowing| counts(narrowing, &finding));
        let known = |k: &Kind| k.counted == counted && k.finding.fix_state == finding.fix_state;
        if !kinds.iter().any(known) {
            let told = told(&finding, tells_fix);
            kinds.push(Kind { finding, told, counted });
        }
    }
    kinds
}

/// Whether an example should tell if there is a fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TellsFix {
    Yes,
    No,
}

/// Whether limits with `narrowing` look at `finding`.
pub(super) fn counts(narrowing: &Narrowing, finding: &Finding) -> bool {
    if narrowing.is_all() {
        return true;
    }
    let scanner = Scanner { name: String::new(), version: None };
    let findings = Findings::new(scanner, NOW, vec![finding.clone()]);
    findings.get(0).is_some_and(|finding| narrowing.counts(finding, NOW, |_| {}))
}

/// All combinations of what the narrowings look at. What neither looks at is not stated.
fn candidates(both: &[&Narrowing; 2]) -> Vec<Finding> {
    let mut list = vec![blank(FixState::Fixed), blank(FixState::NotFixed)];
    let scores: Vec<Score> = both.iter().filter_map(|n| n.min_cvss).collect();
    if !scores.is_empty() {
        let below = scores.iter().filter_map(|score| Score::from_f64(score.value() - 0.1));
        let values: Vec<_> = scores.iter().copied().chain(below).collect();
        list = each(&list, &values, |finding, score| finding.score = Some(*score));
    }
    let packages = packages(both);
    if !packages.is_empty() {
        list = each(&list, &packages, |finding, purl| finding.purl = Some(purl.as_str().into()));
    }
    if both.iter().any(|narrowing| narrowing.known_exploited) {
        list = each(&list, &[true, false], |finding, known| finding.known_exploited = Some(*known));
    }
    let mut chances: Vec<Epss> = both.iter().filter_map(|n| n.min_epss).collect();
    if !chances.is_empty() {
        chances.extend(Epss::from_f64(0.0));
        list = each(&list, &chances, |finding, epss| finding.epss = Some(*epss));
    }
    let published = times(both, |narrowing| narrowing.min_published_age);
    if !published.is_empty() {
        list = each(&list, &published, |finding, at| finding.published = Some(*at));
    }
    let first_seen = times(both, |narrowing| narrowing.min_first_seen_age);
    if !first_seen.is_empty() {
        list = each(&list, &first_seen, |finding, at| finding.first_seen = Some(*at));
    }
    list
}

/// Just as long ago as each grace period, and now.
fn times(
    both: &[&Narrowing; 2],
    grace: impl Fn(&Narrowing) -> Option<Duration>,
) -> Vec<OffsetDateTime> {
    let ages = both.iter().filter_map(|narrowing| grace(narrowing));
    let ages = ages.filter_map(|age| time::Duration::try_from(age).ok());
    let mut times: Vec<_> = ages.filter_map(|age| NOW.checked_sub(age)).collect();
    if !times.is_empty() {
        times.push(NOW);
    }
    times
}

fn each<T>(list: &[Finding], values: &[T], set: impl Fn(&mut Finding, &T)) -> Vec<Finding> {
    let with = |(finding, value): (&Finding, &T)| {
        let mut finding = finding.clone();
        set(&mut finding, value);
        finding
    };
    let all = list.iter().flat_map(|finding| values.iter().map(move |value| (finding, value)));
    all.take(MAX_TRIED).map(with).collect()
}

fn packages(both: &[&Narrowing; 2]) -> Vec<String> {
    let globs = both.iter().flat_map(|n| n.packages.iter().chain(&n.not_packages));
    let mut packages: Vec<String> = globs.take(MAX_PACKAGES).map(|glob| glob.example()).collect();
    if !packages.is_empty() {
        packages.push("pkg:generic/other".to_owned());
    }
    packages
}

fn blank(fix_state: FixState) -> Finding {
    Finding {
        id: "".into(),
        aliases: Vec::new(),
        severity: Severity::Unknown,
        score: None,
        package: None,
        purl: None,
        installed: None,
        fixed: Vec::new(),
        fix_state,
        known_exploited: None,
        epss: None,
        published: None,
        first_seen: None,
        analysis: Analysis::Affected,
    }
}

fn told(finding: &Finding, tells_fix: TellsFix) -> String {
    let mut told = Vec::new();
    if tells_fix == TellsFix::Yes {
        let fixed = finding.fix_state == FixState::Fixed;
        told.push(if fixed { "with a fix" } else { "without a fix" }.to_owned());
    }
    told.extend(finding.score.map(|score| format!("of CVSS {score}")));
    told.extend(finding.purl.as_ref().map(|purl| format!("in `{purl}`")));
    told.extend(finding.known_exploited.map(|known| {
        if known { "known to be exploited" } else { "not known to be exploited" }.to_owned()
    }));
    told.extend(finding.epss.map(|epss| format!("of EPSS {}", epss.as_f32())));
    let since = |at: OffsetDateTime| {
        let age = NOW - at;
        match age.whole_days() {
            _ if age.is_zero() => "just now".to_owned(),
            days if age == time::Duration::days(days) => format!("{days}d ago"),
            _ => format!("{}s ago", age.whole_seconds()),
        }
    };
    told.extend(finding.published.map(|at| format!("published {}", since(at))));
    told.extend(finding.first_seen.map(|at| format!("first seen {}", since(at))));
    if told.is_empty() { String::new() } else { format!(" {}", told.join(", ")) }
}
