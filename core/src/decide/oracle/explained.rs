//! The explanation is of the decision, and what it says would change it does.

use std::collections::BTreeSet;

use super::*;
use crate::evidence::Reports;
use crate::explain::{Remedy, Step, explain};
use crate::findings::Findings;

/// What the random reports do not have: a fix, for whatever is not also called CVE-3.
fn with_fixes(subjects: Vec<Subject>) -> Vec<Subject> {
    changed(subjects, |mut finding| {
        if !names(&finding).iter().any(|id| id.eq_ignore_ascii_case("CVE-3")) {
            finding.fix_state = FixState::Fixed;
            finding.fixed = vec!["2".into()];
        }
        Some(finding)
    })
}

fn changed(subjects: Vec<Subject>, change: impl Fn(Finding) -> Option<Finding>) -> Vec<Subject> {
    with_reports(subjects, usize::MAX, |report| {
        let list = report.findings.iter().filter_map(|finding| change(finding.to_finding()));
        let Findings { scanner, scanned_at, .. } = &report.findings;
        let findings = Findings::new(scanner.clone(), *scanned_at, list.collect());
        Arc::new(Report { findings, ..Report::clone(report) })
    })
}

fn with_one_report(subjects: Vec<Subject>) -> Vec<Subject> {
    with_reports(subjects, 1, Arc::clone)
}

fn with_reports(
    subjects: Vec<Subject>,
    most: usize,
    change: impl Fn(&Arc<Report>) -> Arc<Report>,
) -> Vec<Subject> {
    let subject = |subject: Subject| match &*subject.evidence {
        Evidence::Verified(reports) => {
            let reports: Vec<_> = reports.iter().take(most).map(&change).collect();
            Subject { evidence: Arc::new(Evidence::Verified(Reports::from(reports))), ..subject }
        }
        _ => subject,
    };
    subjects.into_iter().map(subject).collect()
}

/// The manifests after the packages were upgraded and the vulnerabilities exempted.
fn after_steps(subjects: &[Subject], steps: &[Step]) -> Vec<Subject> {
    let is_gone = |finding: &Finding| {
        steps.iter().any(|step| match step {
            Step::Upgrade { package, ids, .. } => {
                let of = finding.package.as_deref().unwrap_or(&finding.id);
                of.eq_ignore_ascii_case(package)
                    && !finding.fixed.is_empty()
                    && ids.iter().any(|id| **id == *finding.id)
            }
            Step::Exempt { id, .. } => is(finding, id),
            Step::Evidence { .. } => false,
        })
    };
    changed(subjects.to_vec(), |finding| (!is_gone(&finding)).then_some(finding))
}

fn is_milder(remedy: &Remedy, action: Action) -> bool {
    remedy.action.is_some_and(|milder| milder < action)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1000)))]

    #[test]
    fn an_explanation_is_of_the_decision(
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
        let explanation = explain(&policy, &reference, &subjects, &ctx, now);
        prop_assert_eq!(explanation.action, decision.action);
        prop_assert_eq!(&explanation.rule, &decision.rule);
        let mut met: Vec<_> = explanation
            .conditions
            .iter()
            .filter(|c| c.met)
            .map(|c| (shown(&c.rule, c.action, &c.condition, c.subject), c.deciding, c.count))
            .collect();
        let mut expected: Vec<_> = decision
            .violations
            .iter()
            .map(|v| (shown(&v.rule, v.action, &v.condition, v.subject), v.deciding, v.total()))
            .collect();
        met.sort();
        expected.sort();
        prop_assert_eq!(met, expected);
        // Each rule has its standing, and none out of scope has a condition.
        prop_assert_eq!(explanation.rules.len(), specs.len());
        let in_scope: BTreeSet<_> = specs
            .iter()
            .filter(|(_, s)| s.is_about(image, namespace) && !(s.unsupported_team && in_team(image)))
            .map(|(name, _)| name.as_str())
            .collect();
        let told: BTreeSet<_> = explanation
            .rules
            .iter()
            .filter(|rule| rule.standing.as_str() == "in_scope")
            .map(|rule| &*rule.name)
            .collect();
        prop_assert_eq!(&told, &in_scope);
        prop_assert!(explanation.conditions.iter().all(|c| told.contains(&*c.rule)));
    }

    #[test]
    fn what_would_change_the_answer_is_found_for_merged_reports_too(
        specs in specs(),
        deny_overrides in any::<bool>(),
        subjects in subjects(),
    ) {
        let subjects = with_fixes(subjects);
        let Some((action, remedy)) = remedied(&specs, deny_overrides, &subjects)? else {
            return Ok(());
        };
        prop_assert_eq!(is_milder(&remedy, action), !remedy.steps.iter().any(is_evidence));
    }

    #[test]
    fn what_would_change_the_answer_changes_it(
        specs in specs(),
        deny_overrides in any::<bool>(),
        subjects in subjects(),
    ) {
        // What several scanners say of one is merged, and then a step tells only one of its names.
        let subjects = with_one_report(with_fixes(subjects));
        let Some((action, remedy)) = remedied(&specs, deny_overrides, &subjects)? else {
            return Ok(());
        };
        let policy = compiled(&specs, deny_overrides);
        let after = |steps: &[Step]| {
            decide(&policy, &image(), &after_steps(&subjects, steps), &context(), NOW)
        };
        let about_findings = |decision: &Decision| {
            decision.violations.iter().filter(|v| v.action >= action && v.total() > 0).count()
        };
        let decision = after(&remedy.steps);
        prop_assert_eq!(about_findings(&decision), 0, "{:?}", remedy);
        if !remedy.steps.iter().any(is_evidence) {
            prop_assert!(decision.action < action, "{:?} after {:?}", decision, remedy);
        }
        // No upgrade is needless. (An exemption may cover what has another's name too.)
        for place in 0..remedy.steps.len() {
            let mut fewer = remedy.steps.clone();
            if !is_evidence(&fewer.remove(place)) && remedy.exemptions == 0 {
                prop_assert!(about_findings(&after(&fewer)) > 0, "without {}: {:?}", place, remedy);
            }
        }
    }
}

fn image() -> Reference {
    "reg.io/team/app:v1".parse().unwrap()
}

fn context() -> Context {
    Context { namespace: "a".to_owned(), ..Context::default() }
}

fn is_evidence(step: &Step) -> bool {
    matches!(step, Step::Evidence { .. })
}

/// The action, and what would make it milder; `None` for an allow.
fn remedied(
    specs: &[(String, Spec)],
    deny_overrides: bool,
    subjects: &[Subject],
) -> Result<Option<(Action, Remedy)>, TestCaseError> {
    let policy = compiled(specs, deny_overrides);
    let explanation = explain(&policy, &image(), subjects, &context(), NOW);
    prop_assert_eq!(explanation.remedy.is_some(), explanation.action != Action::Allow);
    let Some(remedy) = explanation.remedy else { return Ok(None) };
    prop_assert!(remedy.complete, "{:?}", remedy);
    Ok(Some((explanation.action, remedy)))
}
