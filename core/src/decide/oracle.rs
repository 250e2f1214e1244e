//! A second, naive decision that reads like the design, and the proof that both agree (CASES T093).

mod explained;
mod random;
mod spec;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::evidence::{Evidence, Reason, Report};
use crate::findings::{Analysis, Finding, FixState};
use random::{specs, subjects};
use spec::{Spec, compiled};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const HOUR: i64 = 3600;
const LEVELS: [Severity; 5] =
    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Unknown];

fn in_team(image: &str) -> bool {
    image.starts_with("reg.io/team/") || image.starts_with("reg.io/team:")
}

fn after(seconds: i64) -> OffsetDateTime {
    NOW + time::Duration::seconds(seconds)
}

fn rfc3339(instant: OffsetDateTime) -> String {
    instant.format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// What the oracle finds: a rule, what it does, which condition of which manifest, and where in
/// the walk.
#[derive(Debug, Clone)]
struct Fault {
    rule: String,
    action: Action,
    condition: Condition,
    subject: Option<Digest>,
    at: Option<(Finding, usize)>,
}

/// Decides as section 4 of the design reads, one sentence after the other.
fn oracle(
    specs: &[(String, Spec)],
    deny_overrides: bool,
    image: &str,
    subjects: &[Subject],
    namespace: &str,
    now: OffsetDateTime,
) -> (Action, Option<String>, Vec<Fault>) {
    let in_scope: Vec<_> = specs
        .iter()
        .filter(|(_, spec)| spec.is_about(image, namespace))
        .filter(|(_, spec)| !(spec.unsupported_team && in_team(image)))
        .collect();
    let is_index = |s: &&Subject| s.platform.is_none();
    let index_speaks = subjects.iter().filter(is_index).any(|s| !believed(s, now).is_empty());
    let has_platforms = subjects.iter().any(|s| s.platform.is_some());
    let mut order: Vec<_> = subjects.iter().collect();
    order.sort_by_key(|s| (s.platform.clone(), s.digest));
    let mut answer: (Action, Option<String>) = (Action::Allow, None);
    let mut all = Vec::new();
    for subject in order {
        if *subject.evidence == Evidence::Missing {
            let spoken_for = if subject.platform.is_some() { index_speaks } else { has_platforms };
            if spoken_for {
                continue;
            }
        }
        let mut faults = Vec::new();
        for (name, spec) in &in_scope {
            faults.extend(faults_of(name, spec, subject, now));
        }
        let first = |among: &dyn Fn(&&Fault) -> bool| {
            faults.iter().filter(among).min_by(|a, b| {
                let overriding =
                    if deny_overrides { b.action.cmp(&a.action) } else { Ordering::Equal };
                overriding
                    .then_with(|| walk(a, b))
                    .then_with(|| b.action.cmp(&a.action))
                    .then_with(|| a.rule.cmp(&b.rule))
            })
        };
        // What is wrong with the evidence decides, unless the walk is stricter.
        let evidence = first(&|fault| fault.at.is_none());
        let vulnerability = first(&|fault| fault.at.is_some());
        let decider = match (evidence, vulnerability) {
            (Some(e), Some(v)) if v.action > e.action => Some(v),
            (Some(e), _) => Some(e),
            (None, v) => v,
        };
        if let Some(decider) = decider
            && decider.action > answer.0
        {
            answer = (decider.action, Some(decider.rule.clone()));
        }
        all.extend(faults);
    }
    (answer.0, answer.1, all)
}

/// Evidence first, then the vulnerabilities from the most severe to the least.
fn walk(a: &Fault, b: &Fault) -> Ordering {
    match (&a.at, &b.at) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some((a, m)), Some((b, n))) => order(a, b).then(m.cmp(n)),
    }
}

fn believed(subject: &Subject, now: OffsetDateTime) -> Vec<Arc<Report>> {
    let Evidence::Verified(reports) = &*subject.evidence else {
        return Vec::new();
    };
    let mut reports: Vec<_> =
        reports.iter().filter(|r| r.findings.scanned_at <= now + MAX_SKEW).cloned().collect();
    reports.sort_by_key(|r| (std::cmp::Reverse(r.findings.scanned_at), r.digest));
    reports
}

fn faults_of(name: &str, spec: &Spec, subject: &Subject, now: OffsetDateTime) -> Vec<Fault> {
    let fault = |action, condition| Fault {
        rule: name.to_owned(),
        action,
        condition,
        subject: subject.digest,
        at: None,
    };
    let absent = |condition| {
        if spec.block_unscanned { vec![fault(spec.action, condition)] } else { vec![] }
    };
    let unusable = |condition| {
        let action = if spec.block_unscanned { spec.action } else { Action::Audit };
        vec![fault(action, condition)]
    };
    match &*subject.evidence {
        Evidence::Missing => absent(Condition::Unscanned),
        Evidence::Unsupported => absent(Condition::Unsupported),
        Evidence::Withheld => unusable(Condition::Withheld),
        Evidence::Stale { age } => unusable(Condition::Unconfirmed { age: *age }),
        Evidence::Rejected(rejection) => unusable(Condition::Rejected(rejection.clone())),
        Evidence::Unavailable(cause) => match spec.on_unavailable {
            Action::Allow => vec![],
            action => vec![fault(action, Condition::Unavailable(cause.clone()))],
        },
        Evidence::Verified(reports) => {
            let believed = believed(subject, now);
            if believed.is_empty() {
                let first = reports.first();
                let rejection = Rejection {
                    reason: Reason::Malformed,
                    report: first.map(|report| report.digest),
                    detail: match first {
                        Some(report) => format!(
                            "its scan finishes in the future, at {}",
                            rfc3339(report.findings.scanned_at)
                        ),
                        None => "there is no report in it".to_owned(),
                    },
                };
                return unusable(Condition::Rejected(rejection));
            }
            let max_age = spec.max_age_hours.map(|hours| time::Duration::hours(hours));
            let fresh: Vec<_> = believed
                .iter()
                .filter(|r| max_age.is_none_or(|age| r.findings.scanned_at >= now - age))
                .collect();
            let (mut faults, walked) = if fresh.is_empty() {
                let scanned_at = believed[0].findings.scanned_at;
                let max_age = max_age.unwrap().unsigned_abs();
                // They may no longer say clean; what they say is bad still is.
                (unusable(Condition::Stale { scanned_at, max_age }), believed.iter().collect())
            } else {
                (vec![], fresh)
            };
            let fulfilled = conditions(spec, &merged(&walked), now).into_iter();
            faults.extend(
                fulfilled
                    .map(|(at, condition)| Fault { at: Some(at), ..fault(spec.action, condition) }),
            );
            faults
        }
    }
}

/// Whether what has these names may be one vulnerability: they name the same CVEs, or at most one.
fn may_be_one(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    let cves = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().filter(|name| name.starts_with("CVE-")).cloned().collect()
    };
    cves(a) == cves(b) || cves(a).union(&cves(b)).count() <= 1
}

/// The order of the walk: the most severe first, then by every field.
fn order(a: &Finding, b: &Finding) -> Ordering {
    (b.severity, b.score).cmp(&(a.severity, a.score)).then_with(|| rest(a).cmp(&rest(b)))
}

fn rest(f: &Finding) -> impl Ord + '_ {
    let Finding { id, aliases, severity: _, score: _, package, purl, installed, fixed, .. } = f;
    let last = (f.fix_state, f.known_exploited, f.epss, f.published, f.first_seen, f.analysis);
    (id, package, installed, purl, aliases, fixed, last)
}

fn names(finding: &Finding) -> Vec<&str> {
    std::iter::once(&*finding.id).chain(finding.aliases.iter().map(|alias| &**alias)).collect()
}

fn is(finding: &Finding, id: &str) -> bool {
    names(finding).iter().any(|name| name.eq_ignore_ascii_case(id))
}

/// What the scanners found, each vulnerability of a package once, and from the most severe on.
fn merged(reports: &[&Arc<Report>]) -> Vec<Finding> {
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
    let mut findings: Vec<_> = kept.into_iter().map(|(said, ..)| one(said)).collect();
    findings.sort_by(order);
    findings
}

/// The strictest of what scanners say of one vulnerability, with what makes it count more from
/// whoever states it, and with all names: its own first, as they are part of the order.
fn one(said: Vec<Finding>) -> Finding {
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
            kept.fixed = other.fixed.clone();
        }
        kept.purl = kept.purl.or(other.purl.clone());
        if other.analysis == Analysis::Affected {
            kept.analysis = Analysis::Affected;
        }
    }
    kept
}

/// Each condition with the finding that fulfils it first.
fn conditions(
    spec: &Spec,
    findings: &[Finding],
    now: OffsetDateTime,
) -> Vec<((Finding, usize), Condition)> {
    let mut fulfilled = Vec::new();
    let counted: Vec<_> =
        findings.iter().enumerate().filter(|(_, f)| !spec.allows(f, now)).collect();
    for id in &spec.forbidden {
        if let Some((place, finding)) = counted.iter().find(|(_, f)| is(f, id)) {
            let condition = Condition::Forbidden { id: (*id).to_owned() };
            fulfilled.push((((*finding).clone(), *place), condition));
        }
    }
    let names_unknown = spec.max_allowed[4].is_some();
    for (level, limit) in LEVELS.into_iter().zip(spec.max_allowed) {
        let Some(limit) = limit else { continue };
        let counts = |finding: &Finding| match (level, finding.severity) {
            (Severity::Unknown, severity) => severity == Severity::Unknown,
            (_, Severity::Unknown) => !names_unknown,
            (level, severity) => severity >= level,
        };
        let mut count = 0;
        let mut at = None;
        for (place, finding) in &counted {
            if counts(finding) {
                count += 1;
                if count == limit as usize + 1 {
                    at = Some(((*finding).clone(), *place));
                }
            }
        }
        if let Some(at) = at {
            fulfilled.push((
                at,
                Condition::MaxAllowed { population: Population::All, level, limit, count },
            ));
        }
    }
    fulfilled
}

fn shown(rule: &str, action: Action, condition: &Condition, subject: Option<Digest>) -> String {
    format!("{rule} {action:?} {condition:?} {subject:?}")
}

proptest! {
    // `PROPTEST_CASES` asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2000)))]

    #[test]
    fn the_decision_is_the_oracles(
        specs in specs(),
        deny_overrides in any::<bool>(),
        image in prop::sample::select(vec!["reg.io/team/app:v1", "reg.io/team-evil/app:v1"]),
        subjects in subjects(),
        namespace in prop::sample::select(vec!["a", "b", ""]),
        later in prop::sample::select(vec![0, 60, HOUR, 4 * HOUR]),
    ) {
        let policy = compiled(&specs, deny_overrides);
        let reference: Reference = image.parse().unwrap();
        let ctx = Context { namespace: namespace.to_owned(), ..Context::default() };
        let now = after(later);
        let decision = decide(&policy, &reference, &subjects, &ctx, now);
        let (action, rule, faults) =
            oracle(&specs, deny_overrides, image, &subjects, namespace, now);
        prop_assert_eq!(decision.action, action);
        prop_assert_eq!(decision.rule.as_deref(), rule.as_deref());
        let mut expected: Vec<_> = faults
            .iter()
            .map(|f| shown(&f.rule, f.action, &f.condition, f.subject))
            .collect();
        let mut found: Vec<_> = decision
            .violations
            .iter()
            .map(|v| shown(&v.rule, v.action, &v.condition, v.subject))
            .collect();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
        let deciding: Vec<_> = decision.violations.iter().filter(|v| v.deciding).collect();
        prop_assert_eq!(deciding.len(), usize::from(!decision.violations.is_empty()));
        if let Some(deciding) = decision.deciding() {
            prop_assert_eq!(deciding.action, decision.action);
            prop_assert_eq!(Some(&deciding.rule), decision.rule.as_ref());
        }
    }

    #[test]
    fn an_answer_holds_until_it_says(
        specs in specs(),
        subjects in subjects(),
        later in 0..4 * HOUR,
    ) {
        let policy = compiled(&specs, false);
        let reference: Reference = "reg.io/app:v1".parse().unwrap();
        let at = |now| decide(&policy, &reference, &subjects, &Context::default(), now);
        let now = at(after(later));
        let last = match now.changes_at {
            Some(instant) => instant - time::Duration::NANOSECOND,
            None => after(10_000 * HOUR),
        };
        prop_assert!(last >= after(later));
        prop_assert_eq!(at(last), now);
    }
}
