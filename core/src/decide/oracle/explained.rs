//! The explanation is of the decision, and what it says would change it does.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::case::Case;
use super::draws::{Draws, Random};
use super::merged::is;
use super::random::case;
use super::*;
use crate::evidence::Reports;
use crate::explain::{Explanation, Remedy, Step, explain};
use crate::findings::{Finding, Findings, FixState};

/// Questions of each property where nobody asks for more: an explanation costs many decisions.
const CASES: u32 = 500;

fn config() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.max(CASES);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A question that nobody wants an exception for, with at most one report for each manifest: what
/// several scanners say of one is merged, and then a step tells only one of its names.
fn with_one_report(draws: &mut Draws) -> Case {
    let mut case = case(draws);
    case.ctx.break_glass.clear();
    case.subjects = changed(&case.subjects, 1, Some);
    case
}

fn changed(
    subjects: &[Subject],
    most: usize,
    change: impl Fn(Finding) -> Option<Finding>,
) -> Vec<Subject> {
    let report = |report: &Arc<Report>| {
        let list = report.findings.iter().filter_map(|finding| change(finding.to_finding()));
        let Findings { scanner, scanned_at, .. } = &report.findings;
        let findings = Findings::new(scanner.clone(), *scanned_at, list.collect());
        Arc::new(Report { findings, ..Report::clone(report) })
    };
    let subject = |subject: &Subject| match &*subject.evidence {
        Evidence::Verified(reports) => {
            let list = reports.iter().take(most).map(report).collect();
            let reports = Reports::new(list, reports.vex().to_vec());
            Subject { evidence: Arc::new(Evidence::Verified(reports)), ..subject.clone() }
        }
        _ => subject.clone(),
    };
    subjects.iter().map(subject).collect()
}

/// The question after the packages were upgraded and the vulnerabilities exempted.
fn after(case: &Case, steps: &[Step]) -> Case {
    let has_fix = |f: &Finding| f.fix_state == FixState::Fixed || !f.fixed.is_empty();
    let is_gone = |finding: &Finding| {
        steps.iter().any(|step| match step {
            Step::Upgrade { package, ids, .. } => {
                let of = finding.package.as_deref().or(finding.purl.as_deref());
                of.unwrap_or(&finding.id) == package
                    && has_fix(finding)
                    && ids.iter().any(|id| **id == *finding.id)
            }
            Step::Exempt { id, .. } => is(finding, id),
            Step::Evidence { .. } => false,
        })
    };
    let left = |finding: Finding| (!is_gone(&finding)).then_some(finding);
    Case { subjects: changed(&case.subjects, usize::MAX, left), ..case.clone() }
}

fn explained(case: &Case) -> Explanation {
    explain(&case.policy(), &case.image, &case.subjects, &case.ctx, case.now)
}

fn is_evidence(step: &Step) -> bool {
    matches!(step, Step::Evidence { .. })
}

/// What would make the answer milder; `None` for an allow.
fn remedied(case: &Case) -> Result<Option<(Action, Remedy)>, TestCaseError> {
    let explanation = explained(case);
    let deciding = case.decision().deciding().map(|violation| violation.action);
    prop_assert_eq!(explanation.remedy.is_some(), deciding.is_some());
    let (Some(remedy), Some(action)) = (explanation.remedy, deciding) else { return Ok(None) };
    prop_assert!(remedy.complete, "{remedy:?}");
    prop_assert_eq!(remedy.action.is_some(), !remedy.steps.iter().any(is_evidence));
    prop_assert!(remedy.action.is_none_or(|milder| milder < action), "{remedy:?}");
    Ok(Some((action, remedy)))
}

fn shown(rule: &str, action: Action, condition: &Condition, subject: Option<Digest>) -> String {
    format!("{rule} {action:?} {condition:?} {subject:?}")
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_explanation_is_of_the_decision(case in Random(case)) {
        let (decision, explanation) = (case.decision(), explained(&case));
        prop_assert_eq!(explanation.action, decision.action);
        prop_assert_eq!(&explanation.rule, &decision.rule);
        let met = explanation.conditions.iter().filter(|c| c.met);
        let mut met: Vec<_> = met
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
        // An exemption is applied where a condition says so, and nowhere else.
        let applied: BTreeSet<_> =
            decision.exemptions.iter().map(|e| (&*e.rule, e.subject, e.platform.clone())).collect();
        let exempt: BTreeSet<_> = explanation
            .conditions
            .iter()
            .filter(|c| c.exempt > 0)
            .map(|c| (&*c.rule, c.subject, c.platform.clone()))
            .collect();
        prop_assert!(applied.is_subset(&exempt), "{applied:?} {exempt:?}");
        // Each rule has its standing, and only those in scope have conditions.
        let in_scope: BTreeSet<_> = explanation
            .rules
            .iter()
            .filter(|rule| rule.standing.as_str() == "in_scope")
            .map(|rule| &*rule.name)
            .collect();
        prop_assert_eq!(explanation.rules.len(), case.document.rules.len());
        prop_assert!(explanation.conditions.iter().all(|c| in_scope.contains(&*c.rule)));
        let lifted = decision.break_glass.as_ref().map(|lifted| Arc::clone(&lifted.name));
        prop_assert_eq!(lifted.is_some(), explanation.break_glass.as_str() == "lifted");
    }

    #[test]
    fn what_would_change_the_answer_is_found_for_merged_reports_too(case in Random(case)) {
        remedied(&case)?;
    }

    #[test]
    fn what_would_change_the_answer_changes_it(case in Random(with_one_report)) {
        let Some((action, remedy)) = remedied(&case)? else { return Ok(()) };
        let about_findings = |steps: &[Step]| {
            let decision = after(&case, steps).decision();
            decision.violations.iter().filter(|v| v.action >= action && v.total() > 0).count()
        };
        prop_assert_eq!(about_findings(&remedy.steps), 0, "{:?}", remedy);
        if !remedy.steps.iter().any(is_evidence) {
            let decision = after(&case, &remedy.steps).decision();
            prop_assert!(decision.action < action, "{decision:?} after {remedy:?}");
        }
        // No upgrade is needless. (An exemption may cover what has another's name too.)
        for place in 0..remedy.steps.len() {
            let mut fewer = remedy.steps.clone();
            if !is_evidence(&fewer.remove(place)) && remedy.exemptions == 0 {
                prop_assert!(about_findings(&fewer) > 0, "without {place}: {remedy:?}");
            }
        }
    }
}
